"""A local Schwab that costs little: ready WebSocket bytes to one client, flat out or at a steady rate of quotes.

Arguments: the image's file, the frames' file.      Told: {"quotes_per_s": 0 for flat out, "sent": file}; answers with
`first_s` and `last_s` (monotonic) when all frames are handed to the socket, and writes into the file when each frame
was sent (doubles, seconds of the monotonic clock, which all processes of a machine share).
HTTP and WebSocket share one port of loopback, named by the first answer. A client that subscribes by Schwab's protocol
gets the answers and the image; one that only connects gets frames alone. No TLS, no compression, as few checks as do.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import hashlib
import json
import struct
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from bench.child import listen, say
from bench.frames import IMAGE_MS, read_frames

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHUNK_BYTES = 64 * 1024
PREVIOUS_CLOSE_MS = IMAGE_MS - 17 * 3_600_000 - 1_800_000 + 1000
"""16:00 of the day before, in New York."""
CANDLES = 12


class Server:
    """Everything one run needs. `client` is the newest WebSocket."""

    def __init__(self, image: bytes, frames: list[bytes]) -> None:
        self._image = wire(image)
        self._frames = [wire(frame) for frame in frames]
        self._quotes = array("d", (frame.count(b'"key"') for frame in frames))
        self._client: asyncio.StreamWriter | None = None
        self._port = 0
        self._now_ms = IMAGE_MS - 1000
        """What HTTP answers tell as the time."""

    async def run(self) -> None:
        """Until stdin ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        say(port=self._port)
        loop = asyncio.get_running_loop()
        while (told := await loop.run_in_executor(None, listen)) is not None:
            assert self._client is not None
            sent = array("d")
            if told["quotes_per_s"]:
                await self._send_paced(self._client, told["quotes_per_s"], told["frames"], sent)
            else:
                await self._send_flat_out(self._client, told["frames"], sent)
            Path(told["sent"]).write_bytes(sent.tobytes())
            say(first_s=sent[0], last_s=sent[-1])
        server.close()

    async def _send_flat_out(self, client: asyncio.StreamWriter, count: int, sent: array[float]) -> None:
        """As fast as the client reads."""
        start = 0
        while start < count:
            size, end = 0, start
            while end < count and size < CHUNK_BYTES:
                size += len(self._frames[end])
                end += 1
            sent.extend([time.monotonic()] * (end - start))
            client.write(b"".join(self._frames[start:end]))
            await client.drain()
            start = end

    async def _send_paced(
        self, client: asyncio.StreamWriter, quotes_per_s: float, count: int, sent: array[float]
    ) -> None:
        """Each frame by itself, when the quotes before it are due."""
        due = time.monotonic()
        for number in range(count):
            if (wait_s := due - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            sent.append(time.monotonic())
            client.write(self._frames[number])
            due += self._quotes[number] / quotes_per_s
        await client.drain()

    # ── HTTP and commands ───────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
                }
                if key := fields.get(b"sec-websocket-key"):
                    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
                    writer.write(
                        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
                    )
                    self._client = writer
                    return await self._commands(reader, writer)
                await reader.readexactly(int(fields.get(b"content-length", b"0")))
                body = self._answer(head.split(b" ")[1].decode())
                date = email.utils.formatdate(self._now_ms // 1000, usegmt=True).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (date, len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, target: str) -> bytes:
        path, _, query = target.partition("?")
        if path == "/marketdata/v1/pricehistory":
            symbol = query.partition("symbol=")[2].partition("&")[0]
            return candles(symbol)
        streamer = {
            "streamerSocketUrl": f"ws://127.0.0.1:{self._port}/ws",
            "schwabClientCustomerId": "customer",
            "schwabClientCorrelId": "correlation",
            "schwabClientChannel": "N9",
            "schwabClientFunctionId": "APIAPP",
        }
        return json.dumps({"streamerInfo": [streamer]}).encode()

    async def _commands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each command with success; after the subscription of quotes comes the image."""
        while (text := await read_message(reader)) is not None:
            for request in json.loads(text)["requests"]:
                writer.write(wire(acknowledged(request)))
                if request["service"] == "LEVELONE_EQUITIES":
                    writer.write(self._image)
        writer.close()


def wire(text: bytes) -> bytes:
    """One WebSocket text message as a server sends it."""
    if len(text) < 126:
        return struct.pack(">BB", 0x81, len(text)) + text
    if len(text) < 65_536:
        return struct.pack(">BBH", 0x81, 126, len(text)) + text
    return struct.pack(">BBQ", 0x81, 127, len(text)) + text


async def read_message(reader: asyncio.StreamReader) -> bytes | None:
    """A client's next text message, unmasked; None when it goes."""
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", await reader.readexactly(2))
        mask = await reader.readexactly(4)
        payload = await reader.readexactly(length)
        if first & 0x0F == 1:
            return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        if first & 0x0F == 8:
            return None


def acknowledged(request: dict[str, Any], stamp_ms: int = IMAGE_MS - 500) -> bytes:
    """The streamer's answer to a command that succeeded."""
    answer = {
        "service": request["service"],
        "command": request["command"],
        "requestid": request["requestid"],
        "SchwabClientCorrelId": "correlation",
        "timestamp": stamp_ms,
        "content": {"code": 0, "msg": f"{request['command']} command succeeded"},
    }
    return json.dumps({"response": [answer]}, separators=(",", ":")).encode()


def candles(symbol: str) -> bytes:
    """The last minutes of the session before, so that SMA9 has a value from the first row."""
    made = [
        {
            "open": 100,
            "high": 101,
            "low": 99,
            "close": 100.5,
            "volume": 1000,
            "datetime": PREVIOUS_CLOSE_MS - 60_000 * n,
        }
        for n in range(CANDLES, 0, -1)
    ]
    return json.dumps({"symbol": symbol, "empty": False, "candles": made}).encode()


if __name__ == "__main__":
    asyncio.run(Server(read_frames(Path(sys.argv[1]))[0], read_frames(Path(sys.argv[2]))).run())
