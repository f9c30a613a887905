"""Rows out of the database as CSV, in pieces, through asyncpg's COPY.

In:   a connection, a query.      Out:  the pieces, handed to a function on a thread; how many rows there were.
One piece is taken while the next is gathered, so that memory is bounded. asyncpg (0.31, 0.32) may wait for ever for the
end of a COPY whose sink failed: it stops reading, and the server's last word is never read (`copy_out` in its
protocol.pyx). So nothing fails inside of it here: after an error of the taker the rest of the rows pass by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

CHUNK_BYTES = 1 << 20
WITHIN_S = 3600.0
"""For one query."""


async def copy_out(connection: Any, query: str, take: Callable[[bytes], Any], *, chunk_bytes: int = CHUNK_BYTES) -> int:
    """A query's rows as CSV with a header.

    Args:
        connection: asyncpg.Connection. A cancellation closes it.
        take: called on a thread with one piece after the other, never two at once.
    Raises: what `take` raises, asyncpg's errors.
    """
    gathered = bytearray()
    taking: asyncio.Future[Any] | None = None
    failed: Exception | None = None

    async def hand_on() -> None:
        nonlocal taking, failed
        try:
            if taking is not None:
                await taking
        except Exception as error:
            failed = error
        taking = asyncio.ensure_future(asyncio.to_thread(take, bytes(gathered))) if failed is None else None
        gathered.clear()

    async def gather(data: bytes) -> None:
        if failed is None:
            gathered.extend(data)
            if len(gathered) >= chunk_bytes:
                await hand_on()

    try:
        answer = await connection.copy_from_query(query, output=gather, format="csv", header=True, timeout=WITHIN_S)
        if failed is None:
            await hand_on()
    except asyncio.CancelledError:
        connection.terminate()
        raise
    finally:
        if taking is not None:
            await asyncio.wait([taking])  # a file is not closed under a thread that writes to it
    if failed is not None:
        raise failed
    if taking is not None:
        taking.result()
    return int(str(answer).split()[-1])
