"""What every sink says of the database's size, and how it removes a day."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Protocol

import asyncpg
import pytest
import pytest_asyncio
from tests.contract.conftest import Maker

from alphakite.errors import RejectedError, TransientError
from alphakite.model import Batch, EquityRow, Metrics
from alphakite.store.partitions import DAY_US
from alphakite.store.size import TABLES, Removed, Size

JOURNAL = str(uuid.UUID(int=7))
FRIDAY_US = 1_795_132_800_000_000
"""2026-11-20."""


class Roomy(Protocol):
    """A sink, with what this file is about."""

    async def open(self, journal_id: str) -> int: ...
    async def write(self, batch: Batch) -> int: ...
    async def write_metrics(self, metrics: Metrics) -> None: ...
    async def close(self) -> None: ...
    async def size(self) -> Size: ...
    async def remove(
        self, tables: tuple[str, ...], low_us: int, high_us: int, reason: str, archive: str | None = None
    ) -> Removed: ...


@pytest_asyncio.fixture
async def sink(database_url: str, sink_of: Maker) -> AsyncIterator[Roomy]:
    """Friday and Saturday, a row every minute of an hour each."""
    made: Any = sink_of(database_url)
    await made.open(JOURNAL)
    rows = [EquityRow("QQQ", FRIDAY_US + day * DAY_US + 60_000_000 * at, 1, 1, 0) for day in (0, 1) for at in range(60)]
    await made.write(Batch(JOURNAL, 0, 1, FRIDAY_US, rows, []))
    yield made
    await made.close()


@pytest_asyncio.fixture
async def reader(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_supabase_counts_all_databases_of_a_project(sink: Roomy, reader: Any) -> None:
    """Where Supabase's own role exists, the limit is for the sum; elsewhere others' databases are not ours."""
    own = await reader.fetchval("select pg_database_size(current_database())")
    await reader.execute("create role supabase_admin")
    try:
        found = await sink.size()
        whole = await reader.fetchval("select sum(pg_database_size(oid))::bigint from pg_database")
    finally:
        await reader.execute("drop role supabase_admin")
    assert found.bytes == pytest.approx(whole, rel=0.05)
    assert found.bytes > own + 15_000_000, "template0, template1 and postgres are counted too"


async def test_size(sink: Roomy, reader: Any) -> None:
    """The database, the recording's time, and each partition: those made for the rows and the one ahead."""
    found = await sink.size()
    assert found.bytes == pytest.approx(await reader.fetchval("select pg_database_size(current_database())"), rel=0.2)
    assert found.now_us == pytest.approx(datetime.now(UTC).timestamp() * 1e6, abs=60e6)
    assert set(found.by_table()) == set(TABLES)
    days = found.days("equity_data")
    assert [(day.low_us, day.high_us) for day in days] == [
        (FRIDAY_US + at * DAY_US, FRIDAY_US + (at + 1) * DAY_US) for at in range(3)
    ]
    assert all(day.bytes > 0 and not day.is_default for day in days)
    assert found.days("option_prices") == ()
    defaults = [part for part in found.parts if part.is_default]
    assert len(defaults) == len(TABLES)
    assert not any(part.is_day for part in defaults)
    assert sum(found.by_table().values()) <= found.bytes


async def test_remove(sink: Roomy, reader: Any) -> None:
    """That day of those tables, written down; asked again, nothing is left to remove."""
    was = {part.name: part.bytes for part in (await sink.size()).parts}
    found = await sink.remove(("equity_data", "option_prices"), FRIDAY_US, FRIDAY_US + DAY_US, "thinned", "a/b.json")
    assert found == Removed({"equity_data": 60, "option_prices": 0}, was["equity_data_20261120"])
    assert await reader.fetchval("select count(*) from public.equity_data") == 60
    (row,) = await reader.fetch("select * from public.removed_days")
    assert (row["table_name"], row["rows"], row["bytes"], row["reason"], row["archive"]) == (
        "equity_data", 60, found.bytes, "thinned", "a/b.json",
    )  # fmt: skip
    assert (row["low"], row["high"]) == (datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))
    again = await sink.remove(("equity_data",), FRIDAY_US, FRIDAY_US + DAY_US, "thinned")
    assert again == Removed({"equity_data": 0}, 0)
    assert await reader.fetchval("select count(*) from public.removed_days") == 1


async def test_a_removed_day_is_made_again(sink: Roomy, reader: Any) -> None:
    """Rows that come late find a home, also through a sink that knew the day."""
    await sink.remove(("equity_data",), FRIDAY_US, FRIDAY_US + DAY_US, "asked")
    await sink.write(Batch(JOURNAL, 1, 2, FRIDAY_US, [EquityRow("QQQ", FRIDAY_US, 1, 1, 0)], []))
    assert await reader.fetchval("select count(*) from public.equity_data") == 61
    assert await reader.fetchval("select count(*) from store_private.equity_data_default") == 0


@pytest.mark.parametrize(
    "tables, low_us, high_us, reason",
    [
        (("equity_data",), FRIDAY_US + 1, FRIDAY_US + DAY_US, "thinned"),
        (("equity_data",), FRIDAY_US, FRIDAY_US + 2 * DAY_US, "thinned"),
        (("equity_data",), FRIDAY_US + 36_500 * DAY_US, FRIDAY_US + 36_501 * DAY_US, "thinned"),
        (("stream_gaps",), FRIDAY_US, FRIDAY_US + DAY_US, "thinned"),
        ((), FRIDAY_US, FRIDAY_US + DAY_US, "thinned"),
        (("equity_data",), FRIDAY_US, FRIDAY_US + DAY_US, "because"),
    ],
)
async def test_what_is_no_day_is_refused(
    sink: Roomy, reader: Any, tables: tuple[str, ...], low_us: int, high_us: int, reason: str
) -> None:
    """A day that is not over, no day, no table, no reason: nothing happens."""
    with pytest.raises(RejectedError):
        await sink.remove(tables, low_us, high_us, reason)
    assert await reader.fetchval("select count(*) from public.equity_data") == 120
    assert await reader.fetchval("select count(*) from public.removed_days") == 0


async def test_a_long_reader_is_waited_for_five_seconds(sink: Roomy, reader: Any) -> None:
    """Then it is another time's business, and nothing was removed of any table; metrics go on."""
    async with reader.transaction():
        await reader.fetch("select * from public.equity_data limit 1")
        with pytest.raises(TransientError):
            await sink.remove(("equity_data",), FRIDAY_US, FRIDAY_US + DAY_US, "retention")
    assert await reader.fetchval("select count(*) from public.equity_data") == 120
    await sink.write_metrics(Metrics(None, 1, 0, "streaming", {}))
    assert await reader.fetchval("select count(*) from public.streaming_metrics") == 1
