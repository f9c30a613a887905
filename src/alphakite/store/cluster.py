"""One embedded cluster on disk: make, start, prove, stop. The caller (embedded.py) holds the lock.

Its folders and files are listed at the top of embedded.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
import msgspec

from alphakite import log
from alphakite.errors import ConfigError, TransientError, UnavailableError
from alphakite.store import privileges, processes
from alphakite.store.binaries import configuration, has_socket, program
from alphakite.store.faults import DATABASE_ERRORS
from alphakite.store.privileges import Way

START_WITHIN_S = 120.0
"""Crash recovery included."""
ORPHANS_WITHIN_S = 1.0
"""Children of a dead postmaster end by themselves, unless they compute; then they are killed: nothing more is lost."""
STOP_FAST_WITHIN_S = 5.0
STOP_WITHIN_S = 8.0
CONNECT_WITHIN_S = 5.0
POLL_S = 0.02
LOG_BYTES = 10_000_000
"""A larger server log is put aside (one old one is kept) at a start."""

_log = log.get("postgres")
_children: set[int] = set()
"""Postmasters that this process started, to be reaped."""


@dataclass(frozen=True)
class Endpoint:
    """Where a proved server listens."""

    dsn: str
    """By TCP, for people and psql."""
    local_dsn: str
    """By Unix socket where there is one, else as `dsn`."""
    port: int
    pid: int


class ClusterSettings(msgspec.Struct):
    """settings.json: what was decided once and is kept."""

    port: int = 0
    cluster: str = ""
    way: str = ""


class Cluster:
    """The embedded cluster of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        data_dir = data_dir.expanduser().resolve()
        self.root = data_dir / "postgres"
        self.run = data_dir / "run"
        self.folder = self.root / "data"
        self.sockets = self.root / "socket"
        self.keep = self.root / "keep"
        self._server_log = self.root / "postgres.log"
        self._settings_file = self.root / "settings.json"
        self.settings = ClusterSettings()
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self.settings = msgspec.json.decode(self._settings_file.read_bytes(), type=ClusterSettings)

    def make_folders(self) -> None:
        """The folders that locks and files need."""
        for folder in (self.root.parent, self.root, self.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def ensure(self) -> Endpoint:
        """A running, proved server: adopted, or made and started."""
        _reap()
        self._reload()
        if (endpoint := self.proved()) is None:
            self._check_folder()
            self._choose_way()
            if not self.folder.exists():
                self._make()
            endpoint = self._start()
        (self.run / "postgres.pid").write_text(f"{endpoint.pid}\n")
        return endpoint

    def endpoint(self) -> Endpoint:
        """Where the server listens when it runs; pid 0 if it does not."""
        login = f"postgresql://postgres:{quote(self._password(), safe='')}@"
        port = self.settings.port
        dsn = f"{login}127.0.0.1:{port}/postgres"
        local = f"{login}/postgres?host={quote(str(self.sockets), safe='/')}&port={port}"
        return Endpoint(dsn, local if has_socket(self.sockets) else dsn, port, self._written_pid())

    def proved(self) -> Endpoint | None:
        """The server, if it answers and is ours."""
        if not self.folder.exists() or not self.settings.port:
            return None
        endpoint = self.endpoint()
        if has_socket(self.sockets) and not (self.sockets / f".s.PGSQL.{endpoint.port}").exists():
            return None  # who listens on the port is a stranger
        return endpoint if _answers(endpoint.local_dsn, self.folder) else None

    def stop(self) -> None:
        """Fast shutdown; if that takes too long, an immediate one, from which the next start recovers."""
        self._reload()
        found = processes.find(self.folder, self.settings.cluster)
        if found.postmaster is not None:
            for number, within_s in (
                (signal.SIGINT, STOP_FAST_WITHIN_S),
                (signal.SIGQUIT, STOP_WITHIN_S - STOP_FAST_WITHIN_S),
                (signal.SIGKILL, 1.0),
            ):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found.postmaster, number)
                if _wait_gone(found.postmaster, within_s):
                    break
                _log.warning("postgres_stop_slow", pid=found.postmaster, signal=number.name)
        (self.run / "postgres.pid").unlink(missing_ok=True)

    def _reload(self) -> None:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self.settings = msgspec.json.decode(self._settings_file.read_bytes(), type=ClusterSettings)

    def _save(self) -> None:
        _write_whole(self._settings_file, msgspec.json.encode(self.settings))

    def _password(self) -> str:
        try:
            return (self.root / "password").read_text().strip()
        except FileNotFoundError:
            raise ConfigError(
                f"the password of the embedded PostgreSQL is missing: {self.root / 'password'}",
                next_step="put the file back from a backup of the data folder",
            ) from None

    def _check_folder(self) -> None:
        if self.folder.exists() and not (self.folder / "PG_VERSION").exists():
            raise ConfigError(
                f"{self.folder} is not a PostgreSQL data folder", next_step="move it away, or choose another --data"
            )

    def _choose_way(self) -> None:
        """How to run it, and the files in the hands of whom it runs as."""
        kept = next((way for way in Way if way == self.settings.way), None)
        way = privileges.choose(self.root, program("postgres"), kept)
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        privileges.own(self.sockets, way)
        if way is not kept:
            if self.folder.exists():
                privileges.own(self.folder, way, recursive=True)
            _log.info("postgres_way", way=str(way))
            self.settings.way = way
            self._save()

    def _make(self) -> None:
        """initdb beside the final name, then rename: a kill leaves nothing half-made."""
        for old in self.root.glob("data.new-*"):
            shutil.rmtree(old, ignore_errors=True)
        way = Way(self.settings.way)
        started = time.monotonic()
        if not (self.root / "password").exists():
            _write_whole(self.root / "password", secrets.token_urlsafe(24).encode())
        self.settings.cluster = f"alphakite-{secrets.token_hex(4)}"
        self.settings.port = self.settings.port or _free_port()
        self._save()
        fresh = self.root / f"data.new-{secrets.token_hex(4)}"
        fresh.mkdir(mode=0o700)
        privileges.own(fresh, way)
        password = self.root / f"{fresh.name}.password"
        try:
            _write_whole(password, self._password().encode())
            privileges.own(password, way)
            arguments = [
                *("-D", str(fresh), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(password)),
                *("-E", "UTF8", "--locale=C.UTF-8" if os.uname().sysname == "Linux" else "--locale=C"),
                *("--no-instructions", "--data-checksums"),
            ]
            done = subprocess.run(
                [*privileges.prefix(way), str(program("initdb")), *arguments],
                capture_output=True,
                text=True,
                cwd="/",
                env=_environment(),
                check=False,
            )
        finally:
            password.unlink(missing_ok=True)
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise UnavailableError(
                f"PostgreSQL's initdb failed: {_last_lines(done.stdout + done.stderr)}",
                next_step=f"see that {self.root} lies on a local disk with free space",
            )
        with (fresh / "postgresql.conf").open("a") as file:
            file.write("\ninclude_if_exists = 'alphakite.conf'\n")
        fresh.rename(self.folder)
        _sync_folder(self.root)
        _log.info("postgres_made", folder=str(self.folder), seconds=round(time.monotonic() - started, 2))

    def _start(self) -> Endpoint:
        """Start it when nothing of an earlier one is left; wait until it answers."""
        deadline = time.monotonic() + START_WITHIN_S
        orphans_until = time.monotonic() + ORPHANS_WITHIN_S
        spawned: int | None = None
        log_from = 0
        while True:
            _reap()
            if (endpoint := self.proved()) is not None:
                if spawned is not None:
                    _log.info("postgres_started", pid=endpoint.pid, port=endpoint.port)
                return endpoint
            found = processes.find(self.folder, self.settings.cluster)
            if time.monotonic() > deadline:
                raise TransientError(
                    f"PostgreSQL did not answer within {START_WITHIN_S:.0f} s:"
                    f" {_last_lines(self._said_since(log_from))}",
                    next_step=f"see {self._server_log}; if it is still recovering, start again",
                )
            if found.postmaster is None and found.children:
                if time.monotonic() > orphans_until:
                    for pid in found.children:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
            elif found.postmaster is None:
                if spawned is not None:
                    self._judge_end(self._said_since(log_from))
                self._sweep()
                log_from = self._log_size()
                spawned = self._spawn()
                orphans_until = time.monotonic() + ORPHANS_WITHIN_S
            time.sleep(POLL_S)

    def _judge_end(self, said: str) -> None:
        """It ended while starting: what is worth another try passes, with a new port where that was the trouble."""
        if "Address already in use" in said and "TCP/IP" in said:
            old, self.settings.port = self.settings.port, _free_port()
            self._save()
            _log.warning("postgres_port_taken", old=old, new=self.settings.port)
        elif "shared memory block" not in said:
            raise TransientError(
                f"PostgreSQL does not start: {_last_lines(said) or 'it ended without a word'}",
                next_step=f"see {self._server_log}",
            )

    def _sweep(self) -> None:
        """Remove lock files of nobody: the pid in them may be a zombie's or, by now, a stranger's."""
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        for left in self.sockets.glob(".s.PGSQL.*"):
            left.unlink(missing_ok=True)

    def _spawn(self) -> int:
        """In a session of its own: Ctrl-C in our terminal is not meant for it. Returns the postmaster's pid."""
        way = Way(self.settings.way)
        conf = self.folder / "alphakite.conf"
        _write_whole(conf, configuration(self.settings.port, self.sockets, self.settings.cluster).encode())
        privileges.own(conf, way)
        if self._log_size() > LOG_BYTES:
            self._server_log.replace(self._server_log.with_suffix(".log.1"))
        command = [*privileges.prefix(way), str(program("postgres")), "-D", str(self.folder)]
        out = os.open(self._server_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            pid = os.posix_spawn(
                command[0],
                command,
                _environment(),
                file_actions=[(os.POSIX_SPAWN_DUP2, nothing, 0), *((os.POSIX_SPAWN_DUP2, out, to) for to in (1, 2))],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP),
            )
        finally:
            os.close(out)
            os.close(nothing)
        _children.add(pid)
        return pid

    def _written_pid(self) -> int:
        try:
            return int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return 0

    def _log_size(self) -> int:
        return self._server_log.stat().st_size if self._server_log.exists() else 0

    def _said_since(self, position: int) -> str:
        try:
            with self._server_log.open("rb") as file:
                file.seek(position)
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def _answers(dsn: str, folder: Path) -> bool:
    """A real connection to a server that knows our password (SCRAM proves both sides) and works in our folder.

    In a thread of its own, so that it may be asked from anywhere.
    """

    async def ask() -> bool:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_WITHIN_S, statement_cache_size=0)
        try:
            served = Path(await connection.fetchval("select current_setting('data_directory')"))
            return served.exists() and served.samefile(folder)
        finally:
            await connection.close(timeout=CONNECT_WITHIN_S)

    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(asyncio.run, ask()).result()
        except DATABASE_ERRORS:
            return False


def _wait_gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while processes.alive(pid):
        _reap()
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    _reap()
    return True


_reaping = threading.Lock()


def _reap() -> None:
    """Take leave of postmasters that we started and that have ended."""
    with _reaping:
        for pid in list(_children):
            try:
                ended = os.waitpid(pid, os.WNOHANG)[0] == pid
            except ChildProcessError:
                ended = True
            if ended:
                _children.discard(pid)


def _environment() -> dict[str, str]:
    """Nothing of ours that PostgreSQL would obey (PGDATA, PGPORT, …)."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")} | {"LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_whole(path: Path, content: bytes) -> None:
    """0600; whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _last_lines(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return " | ".join(lines[-4:])
