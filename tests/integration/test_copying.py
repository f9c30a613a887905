"""Rows out of the database: a taker that fails, and a cancellation, end soon; the connection is of use, or closed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.acceptance.sinks import plain_server

from alphakite.store.cluster import Endpoint
from alphakite.store.copying import copy_out
from alphakite.store.database import connect

WITHIN_S = 60.0
ROWS = 20_000
MUCH = f"select n, repeat('x', 1000) as text from generate_series(1, {ROWS}) n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with plain_server(tmp_path_factory.mktemp("plain")) as endpoint:
        yield endpoint


@pytest_asyncio.fixture
async def connection(server: Endpoint) -> AsyncIterator[Any]:
    found = await connect(server.dsn)
    yield found
    found.terminate()


async def test_all_rows_in_pieces_of_their_order(connection: Any) -> None:
    pieces: list[bytes] = []
    async with asyncio.timeout(WITHIN_S):
        assert await copy_out(connection, MUCH, pieces.append, chunk_bytes=100_000) == ROWS
    lines = b"".join(pieces).splitlines()
    assert lines[0] == b"n,text" and [int(line.partition(b",")[0]) for line in lines[1:]] == list(range(1, ROWS + 1))
    assert len(pieces) > 10 and max(map(len, pieces)) < 1_000_000


async def test_a_taker_that_fails(connection: Any) -> None:
    """Its error is raised, nothing is taken after it, and the connection goes on: asyncpg alone may wait for ever."""
    pieces: list[bytes] = []
    async with asyncio.timeout(WITHIN_S):
        await copy_out(connection, MUCH, pieces.append, chunk_bytes=100_000)
    for at in (0, 1, 2, 5, len(pieces) - 1):
        calls = itertools.count()

        def take(piece: bytes, calls: Iterator[int] = calls, at: int = at) -> None:
            if next(calls) == at or piece.endswith(f"{ROWS},{'x' * 1000}\n".encode()):
                raise OSError("No space left on device")

        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(OSError, match="No space"):
                await copy_out(connection, MUCH, take, chunk_bytes=100_000)
            assert next(calls) <= at + 1
            assert await connection.fetchval("select 1") == 1


async def test_a_cancellation_ends_it(connection: Any) -> None:
    """In the middle of the rows, while a piece is taken; it is not taken for an error of the database."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def take(_piece: bytes) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(WITHIN_S)

    async with asyncio.timeout(WITHIN_S):
        copying = asyncio.create_task(copy_out(connection, MUCH, take, chunk_bytes=100_000))
        await begun.wait()
        copying.cancel()
        loop.call_later(0.1, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert connection.is_closed()
