"""A minimal streamer client on a bare TCP socket: it sees pieces, pings, close frames, ends and resets as they come.

Shares no code with feed/. Answers pings while `pongs` is True, and close frames while `polite` is.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime
from datetime import time as wall_time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp

from alphakite.simulator import Simulator, SimulatorOptions, TapeFile, start

EXCHANGE = ZoneInfo("America/New_York")
DAY = date(2013, 10, 8)
ALL_FIELDS = ",".join(map(str, range(56)))
DEADLINE_S = 20.0
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def ms(wall: str, day: date = DAY) -> int:
    """Exchange wall time → epoch ms."""
    return int(datetime.combine(day, wall_time.fromisoformat(wall), EXCHANGE).timestamp() * 1000)


class Client:
    """One connection. `frames`: texts as received, bytes that are no UTF-8 as surrogates."""

    def __init__(self, http: aiohttp.ClientSession, env: dict[str, str]) -> None:
        self.http, self.env = http, env
        self.pongs, self.polite, self.reading = True, True, asyncio.Event()
        self.reading.set()
        self.frames: list[str] = []
        self.times: list[float] = []
        self.pings: list[bytes] = []
        self.pongs_got: list[bytes] = []
        self.pieces: list[int] = []
        self.news = asyncio.Event()
        self.close_code: int | None = None
        self.ended = self.was_reset = False
        self.token = json.loads(Path(env["SCHWAB_TOKEN_FILE"]).read_text())["token"]["access_token"]
        self.requests = 0
        self.headers = ""
        self.ids: dict[str, Any] = {}

    async def get(self, path: str) -> Any:
        url = self.env["SCHWAB_API_URL"] + path
        async with self.http.get(url, headers={"Authorization": f"Bearer {self.token}"}) as answer:
            return await answer.json()

    async def connect(self) -> None:
        preference = await self.get("/trader/v1/userPreference")
        self.ids = preference["streamerInfo"][0]
        place = self.ids["streamerSocketUrl"].removeprefix("ws://")
        address, _, path = place.partition("/")
        host, _, port = address.partition(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(
            f"GET /{path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
        )
        self.headers = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        assert self.headers.startswith("HTTP/1.1 101")
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        buffer = bytearray()
        try:
            while piece := await self.reader.read(1 << 16):
                await self.reading.wait()
                self.pieces.append(len(piece))
                buffer += piece
                self._parse(buffer)
                self.news.set()
        except ConnectionError:
            self.was_reset = True
        self.writer.close()
        self.ended = True
        self.news.set()

    def _parse(self, buffer: bytearray) -> None:
        """Take whole frames off the buffer's front."""
        while len(buffer) >= 2:
            length, head = buffer[1] & 127, 2
            if length >= 126:
                if len(buffer) < 10:
                    return
                head = 4 if length == 126 else 10
                length = int.from_bytes(buffer[2:head], "big")
            if len(buffer) < head + length:
                return
            payload, kind = bytes(buffer[head : head + length]), buffer[0] & 15
            del buffer[: head + length]
            if kind == TEXT:
                self.frames.append(payload.decode("utf-8", "surrogateescape"))
                self.times.append(asyncio.get_running_loop().time())
            elif kind == PING:
                self.pings.append(payload)
                if self.pongs:
                    self.write(PONG, payload)
            elif kind == PONG:
                self.pongs_got.append(payload)
            elif kind == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")
                if self.polite:
                    self.write(CLOSE, payload[:2])

    def write(self, kind: int, payload: bytes) -> None:
        """A masked frame; the mask is zeros."""
        if self.writer.is_closing():
            return
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | kind, 0x80 | length))
        elif length < 1 << 16:
            head = bytes((0x80 | kind, 0x80 | 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((0x80 | kind, 0x80 | 127)) + length.to_bytes(8, "big")
        self.writer.write(head + bytes(4) + payload)

    def say(self, text: str) -> None:
        self.write(TEXT, text.encode())

    def request(self, service: str, command: str, number: int | str = 0, **parameters: str) -> dict[str, Any]:
        self.requests += 1
        return {
            "service": service,
            "requestid": number or self.requests,
            "command": command,
            "SchwabClientCustomerId": self.ids["schwabClientCustomerId"],
            "SchwabClientCorrelId": self.ids["schwabClientCorrelId"],
            "parameters": parameters,
        }

    async def command(self, service: str, command: str, **parameters: str) -> dict[str, Any]:
        """Send one command and wait for its (first) response."""
        one = self.request(service, command, **parameters)
        self.say(json.dumps({"requests": [one]}))
        return (await self.answers(one["requestid"]))[0]

    async def answers(self, number: int | str, count: int = 1) -> list[dict[str, Any]]:
        """The responses to a request, once there are so many."""
        mark = f'"requestid":"{number}"'
        await self.until(lambda: sum(mark in frame for frame in self.frames) >= count)
        return [json.loads(frame)["response"][0] for frame in self.frames if mark in frame]

    async def log_in(self) -> dict[str, Any]:
        await self.connect()
        return await self.command("ADMIN", "LOGIN", Authorization=self.token)

    async def subscribe(
        self, keys: str = "SPY", fields: str = ALL_FIELDS, service: str = "LEVELONE_EQUITIES", command: str = "SUBS"
    ) -> dict[str, Any]:
        answer = await self.command(service, command, keys=keys, fields=fields)
        assert answer["content"] == {"code": 0, "msg": f"{command} command succeeded"}
        return answer

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                self.news.clear()
                await self.news.wait()

    async def gone(self) -> None:
        """Wait for the end."""
        await self.until(lambda: self.ended)

    async def kill(self) -> None:
        """Drop the socket without a word, as kill -9 does."""
        self.writer.transport.abort()
        await asyncio.wait({self.task})

    def data(self, service: str = "LEVELONE_EQUITIES") -> list[str]:
        return [frame for frame in self.frames if f'"{service}", "timestamp"' in frame]

    def items(self, service: str = "LEVELONE_EQUITIES") -> list[dict[str, Any]]:
        """Content items of the service, in order."""
        elements = [element for frame in self.data(service) for element in json.loads(frame)["data"]]
        return [item for element in elements if element["service"] == service for item in element["content"]]

    def heartbeats(self) -> list[int]:
        return [int(json.loads(frame)["notify"][0]["heartbeat"]) for frame in self.frames if '"heartbeat"' in frame]

    def notices(self) -> list[dict[str, Any]]:
        return [json.loads(f)["notify"][0]["content"] for f in self.frames if '"notify"' in f and '"content"' in f]


def second_tape(folder: Path, symbol: str, seconds: int) -> TapeFile:
    """A print a second, each at another price, from 10:15:00 on."""
    path = folder / f"lean_{symbol}_trades.csv"
    first = ms("10:15")
    lines = [f"{first + 1000 * n + 100},{166 + n % 7 * 0.01:.2f},{100 + n},0\n" for n in range(seconds)]
    path.write_text("epoch_ms,price,size,sale_condition_hex\n" + "".join(lines))
    return TapeFile("trades", path)


@asynccontextmanager
async def playing(
    *, seconds: int = 0, stands: bool = False, **options: Any
) -> AsyncIterator[tuple[Simulator, Callable[[], Client]]]:
    """A simulator in lock-step on a few minutes of a synthetic SPY, and clients to it.

    Args:
    seconds: play so many prints of a handmade tape instead, one a second
    stands: with two more symbols, so that with SPY alone subscribed the tape stands
    """
    folder = tempfile.TemporaryDirectory(prefix="alphakite-test-")
    chosen = {
        "symbols": ("SPY",),
        "session": DAY,
        "start": wall_time(10, 15),
        "end": wall_time(10, 17),
        "speed": None,
        "on_disconnect": "hold",
        **options,
    }
    if seconds or stands:
        symbols = ("SPY", "QQQ", "IWM") if stands else ("SPY",)
        tapes = tuple(second_tape(Path(folder.name), symbol, seconds or 10) for symbol in symbols)
        chosen |= {"symbols": symbols, "tapes": tapes}
    simulator = await start(SimulatorOptions(**chosen))
    made: list[Client] = []
    try:
        async with aiohttp.ClientSession() as http:

            def client_of() -> Client:
                made.append(Client(http, simulator.env()))
                return made[-1]

            yield simulator, client_of
            for client in made:
                if hasattr(client, "task") and not client.ended:
                    await client.kill()
    finally:
        await simulator.stop()
        folder.cleanup()
