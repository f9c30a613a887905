"""The local Schwab as one object: start, wait for its end, stop.

In:   SimulatorOptions.      Out:  HTTP and WebSocket on one port of the loopback, a token file, perhaps an env file;
with `tls` the same port speaks https and wss, and a CONNECT proxy on another leads Schwab's host names to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from aiohttp import web

from alphakite.errors import UnavailableError
from alphakite.simulator.faults import Faults
from alphakite.simulator.market import Market
from alphakite.simulator.oauth import TokenStore, write_private
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.player import Player
from alphakite.simulator.programme import Programme, make_programme
from alphakite.simulator.proxy import Proxy
from alphakite.simulator.rest import Rest
from alphakite.simulator.sendlog import SendLog
from alphakite.simulator.streamer import Streamer
from alphakite.simulator.switches import parse_switches
from alphakite.simulator.tls import Identity, make_identity

STOP_WITHIN_S = 2.0


class Simulator:
    """A running local Schwab. Made by `start`."""

    def __init__(self, options: SimulatorOptions, programme: Programme) -> None:
        self.options = options
        self.programme = programme
        self.api_url = ""
        self.token_file = Path()
        self._log = SendLog(options.send_log)
        self._faults = Faults(options.faults)
        self._switches = parse_switches(options.switches)
        self._player = Player(Market(programme), options, self._log, faults=self._faults, switches=self._switches)
        self._tokens = TokenStore(
            self._tape_s if options.token_clock == "tape" else time.time,
            access_life_s=options.access_life_s,
            refresh_life_s=options.refresh_life_s,
            code_life_s=options.code_life_s,
            callbacks=options.callbacks,
        )
        self._streamer = Streamer(
            self._player,
            self._tokens,
            self._log,
            faults=self._faults,
            switches=self._switches,
            caps=dict(options.caps),
        )
        self._rest = Rest(self._player, self._tokens, self._streamer, faults=self._faults, switches=self._switches)
        self._identity: Identity | None = None
        self._proxy: Proxy | None = None
        self._runner: web.AppRunner | None = None
        self._playing: asyncio.Task[None] | None = None
        self._folder: Path | None = None

    @property
    def position_ms(self) -> int:
        """How far the tape has been played: everything before this moment."""
        return self._player.market.position_ms

    @property
    def frames_sent(self) -> int:
        """Text frames sent so far, to all connections."""
        return self._log.frames

    def env(self) -> dict[str, str]:
        """The settings that a recorder needs to reach this simulator."""
        settings = {
            "SCHWAB_API_URL": self.api_url,
            "SCHWAB_APP_KEY": self._tokens.app_key,
            "SCHWAB_APP_SECRET": self._tokens.app_secret,
            "SCHWAB_CALLBACK_URL": self.options.callbacks[0],
            "SCHWAB_TOKEN_FILE": str(self.token_file),
            "STREAM_TICKER": ",".join(self.programme.tapes),
            "CLOCK": "feed",
        }
        if self._identity is not None:
            settings["SSL_CERT_FILE"] = str(self._identity.ca_file)
        return settings

    def ready(self) -> dict[str, object]:
        """What the READY line tells."""
        return {
            "api_url": self.api_url,
            "proxy": self._proxy.url if self._proxy else None,
            "ca": str(self._identity.ca_file) if self._identity else None,
            "pid": os.getpid(),
            "token_file": str(self.token_file),
            "env_file": str(self.options.env_file.absolute()) if self.options.env_file else None,
            "session": self.programme.session.date.isoformat(),
            "symbols": list(self.programme.tapes),
        }

    async def wait_ended(self) -> None:
        """Until the session has been played to its end and the client has its last heartbeat.

        Raises whatever made the player fail.
        """
        assert self._playing is not None
        await asyncio.shield(self._playing)

    async def stop(self) -> None:
        """Close everything; may be called twice."""
        if self._playing is not None:
            self._playing.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._playing
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._streamer.close()
        self._rest.close()
        if self._proxy is not None:
            await self._proxy.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._log.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/ws", self._streamer.serve)
        self._rest.add_to(app)
        runner = self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_WITHIN_S)
        await runner.setup()
        self._choose_folder()
        context = self._make_identity().server_context() if self.options.tls else None
        try:
            await web.TCPSite(runner, self.options.host, self.options.port, ssl_context=context).start()
        except OSError as error:
            raise UnavailableError(
                f"--listen {self.options.host}:{self.options.port}: {error.strerror}",
                next_step="use port 0: any free port",
            ) from error
        host, port = runner.addresses[0][:2]
        self._rest.address = f"{host}:{port}"
        self.api_url = f"{'https' if self.options.tls else 'http'}://{host}:{port}"
        if self.options.tls:
            self._proxy = Proxy(host, port)
            await self._proxy.start()
        self._write_files()
        self._playing = asyncio.create_task(self._player.run(), name="simulator-player")

    def _choose_folder(self) -> None:
        """Where the token file and the certificates go: beside the env file, else into a folder of our own."""
        env_file = self.options.env_file
        if env_file is not None:
            self.token_file = env_file.absolute().with_name(f"{env_file.name}.token.json")
        else:
            self._folder = Path(tempfile.mkdtemp(prefix="alphakite-simulator-"))
            self.token_file = self._folder / "token.json"

    def _make_identity(self) -> Identity:
        name = self.options.env_file.name if self.options.env_file else "simulator"
        try:
            self._identity = make_identity(self.token_file.parent, name, self.options.host)
        except OSError as error:
            raise _unwritable(self.options.env_file, error) from error
        return self._identity

    def _write_files(self) -> None:
        env_file = self.options.env_file
        try:
            write_private(self.token_file, self._tokens.token_file_text())
            if env_file is not None:
                write_private(env_file, "".join(f"{name}={value}\n" for name, value in self.env().items()))
        except OSError as error:
            raise _unwritable(env_file, error) from error

    def _tape_s(self) -> float:
        return self._player.tape_ms() / 1000


async def start(options: SimulatorOptions) -> Simulator:
    """Read or make the tapes, listen, and wait for a client to subscribe.

    Raises: UsageError: the tapes or times cannot be played; UnavailableError: the address or a folder cannot be used.
    """
    simulator = Simulator(options, make_programme(options))
    try:
        await simulator._start()
    except BaseException:
        await simulator.stop()
        raise
    return simulator


def _unwritable(env_file: Path | None, error: OSError) -> UnavailableError:
    return UnavailableError(f"--env-file {env_file}: {error}", next_step="name a file in a folder you may write")
