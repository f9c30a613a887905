"""Measured program: the least that any recorder must do. It reads the same frames and COPYs ready bytes.

Arguments: the WebSocket's address, a file of chunks.      The database comes from DATABASE_URL. No decoding, no
journal, no keys in the tables (`bench.equity_data`, `bench.indicators`): each chunk is the COPY bytes of one batch,
sent in one transaction as soon as the frame that completes it was read. Told {"frames": N}, it answers when all
is committed.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

import asyncpg
import picows
import uvloop

from alphakite.store.binary import EQUITY_COLUMNS, INDICATOR_COLUMNS
from bench.child import listen, peak_rss_mb, say

CHUNK = struct.Struct("<III")
"""Before each chunk: the frames after which it is due, the bytes for equity_data, the bytes for indicators."""


class Reader(picows.WSListener):
    """Counts frames; `due` is set when the frame that somebody waits for was read."""

    def __init__(self) -> None:
        self.frames = 0
        self.wanted = 0
        self.due = asyncio.Event()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            self.frames += 1
            if self.frames >= self.wanted:
                self.due.set()

    async def read(self, frames: int) -> None:
        """Until so many frames were read."""
        self.wanted = frames
        if self.frames < frames:
            self.due.clear()
            await self.due.wait()


async def copy_all(reader: Reader, connection: Any, chunks: BinaryIO) -> None:
    """Each chunk when it is due."""
    while head := chunks.read(CHUNK.size):
        frames, equity_bytes, indicator_bytes = CHUNK.unpack(head)
        parts = chunks.read(equity_bytes), chunks.read(indicator_bytes)
        await reader.read(frames)
        await connection.execute("begin")
        await _copy(connection, "equity_data", EQUITY_COLUMNS, parts[0])
        await _copy(connection, "indicators", INDICATOR_COLUMNS, parts[1])
        await connection.execute("commit")


async def main() -> None:
    """Connect, wait for the word, measure once."""
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    reader = Reader()
    transport, _ = await picows.ws_connect(lambda: reader, sys.argv[1])
    with open(sys.argv[2], "rb") as chunks:  # noqa: ASYNC230, PTH123 - read from memory by the system, as a socket is
        say(ready=1)
        told = await asyncio.get_running_loop().run_in_executor(None, listen)
        if told is not None:
            cpu_s = time.process_time()
            say(started=1)
            await copy_all(reader, connection, chunks)
            last_s = time.monotonic()
            await reader.read(told["frames"])
            say(cpu_s=time.process_time() - cpu_s, last_s=last_s, rss_mb=peak_rss_mb(), frames=reader.frames)
    transport.disconnect(graceful=False)
    await connection.close()


async def _copy(connection: Any, table: str, columns: tuple[str, ...], packed: bytes) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield packed

    if packed:
        await connection.copy_to_table(table, source=once(), columns=columns, schema_name="bench", format="binary")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
