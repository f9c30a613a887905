"""A TCP gate of the tests: passes connections on to a server, until it is shut.

Runs beside the test. Shut, it ends the connections that it has, and each new one at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from tests.beside import beside

CHUNK_BYTES = 65_536


class Gate:
    """To one server. Args: host, port: the server's. delay_s: what the way takes in each direction, at least."""

    def __init__(self, host: str, port: int, delay_s: float = 0.0) -> None:
        self._place, self._delay_s = (host, port), delay_s
        self._loop: asyncio.AbstractEventLoop
        self._held: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True
        self.refused = 0
        """Connections that came while it was shut."""
        self.port = 0

    def shut(self) -> None:
        """The server is away."""
        self._told(False)

    def opened(self) -> None:
        """The server is back."""
        self._told(True)

    def _told(self, is_open: bool) -> None:
        done = threading.Event()

        def change() -> None:
            self._open = is_open
            for writer in () if is_open else tuple(self._held):
                writer.transport.abort()
            done.set()

        self._loop.call_soon_threadsafe(change)
        assert done.wait(10)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """For the length of a block."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._come, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            self.refused += 1
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            beyond, to_server = await asyncio.open_connection(*self._place)
            self._held |= {writer, to_server}
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._forward(reader, to_server))
                    group.create_task(self._forward(beyond, writer))
            finally:
                self._held -= {writer, to_server}
                to_server.transport.abort()
                writer.transport.abort()
        writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


@contextmanager
def gate(host: str, port: int, delay_s: float = 0.0) -> Iterator[Gate]:
    """Open for the length of a block, as long as nobody shuts it."""
    with beside(Gate(host, port, delay_s).running()) as made:
        yield made
