"""An HTTP CONNECT proxy on the loopback that leads Schwab's host names to the simulator.

In:   `CONNECT host:port`.      Out:  a tunnel to the simulator's TLS port for the names in NAMES at 443 and for the
simulator's own address; 403 for everything else, so that a client under test reaches nothing but the simulator.
"""

from __future__ import annotations

import asyncio
import contextlib

from alphakite.simulator.tls import API_HOST, STREAMER_HOST

NAMES = frozenset({API_HOST, STREAMER_HOST})
HTTPS_PORT = 443
LARGEST_HEAD_BYTES = 65_536
HEAD_WITHIN_S = 10.0
CHUNK_BYTES = 65_536
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"


class Proxy:
    """`url` is known once it is started; `host` and `port` are where the tunnels end."""

    def __init__(self, host: str, port: int) -> None:
        self.url = ""
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LARGEST_HEAD_BYTES)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """End every tunnel; may be called twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for tunnel in list(self._tunnels):
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        try:
            async with asyncio.timeout(HEAD_WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
            if not self._leads_here(head.split(b"\r\n", 1)[0].decode("latin-1")):
                writer.write(REFUSED)
                await writer.drain()
                return
            onward_reader, onward_writer = await asyncio.open_connection(self._host, self._port)
            try:
                writer.write(ESTABLISHED)
                await _join(reader, writer, onward_reader, onward_writer)
            finally:
                await _close(onward_writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            if self._server is not None:
                raise
        finally:
            await _close(writer)
            self._tunnels.discard(task)

    def _leads_here(self, line: str) -> bool:
        method, _, rest = line.partition(" ")
        host, _, port = rest.partition(" ")[0].rpartition(":")
        if method != "CONNECT" or not port.isdigit():
            return False
        if int(port) == HTTPS_PORT and host.lower() in NAMES:
            return True
        return int(port) == self._port and host in ("127.0.0.1", "localhost", self._host)


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    onward_reader: asyncio.StreamReader,
    onward_writer: asyncio.StreamWriter,
) -> None:
    """Carry bytes both ways until one side ends."""
    ways = {
        asyncio.create_task(_carry(reader, onward_writer)),
        asyncio.create_task(_carry(onward_reader, writer)),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
