"""The record of what was removed: complete, readable, written by nobody but the functions that remove."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from tests.migration.conftest import ROLES
from tests.migration.servers import VERSIONS, on

from alphakite.store import migrate

VERSION = "20261127000000"
FUNCTIONS = (
    "public.recorder_size()",
    "public.recorder_remove('{equity_data}', '2026-11-20Z', '2026-11-21Z', 'asked')",
    "public.recorder_prune('equity_data', '2026-11-20Z')",
    "store.drop_days('equity_data', '2026-11-20Z')",
    "store.drop_days('equity_data', '2026-11-20Z', 'asked')",
    "store.remove_before('equity_data', '2026-11-20Z', null, 'asked', true)",
)
DAYS = "select store.ensure_partitions('2026-11-17', '2026-11-20')"
ROWS = (
    "insert into store.equity_data (ticker, timestamp, price)"
    " select 'QQQ', '2026-11-15Z'::timestamptz + i * interval '1 hour', 1.5 from generate_series(0, 6 * 24 - 1) i"
)
LEDGER = (
    "select table_name, low::date::text, high::date::text, rows, bytes > 0, reason, archive from public.removed_days"
    " order by low, id"
)


@pytest_asyncio.fixture
async def filled(project: Any) -> Any:
    """Four days by themselves, two before them in the default partition; 24 rows each."""
    await migrate.apply(project)
    await project.execute(DAYS)
    await project.execute(ROWS)
    return project


async def ledger(connection: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(LEDGER)]


@on(*VERSIONS)
async def test_every_way_to_remove_is_written_down(filled: Any) -> None:
    """By the maintenance functions, by hand, by a recorder; a day each, and what lay beside the days."""
    assert await filled.fetchval("select store.drop_days('equity_data', '2026-11-18 13:00Z')") == 72
    remove = "select public.recorder_remove('{equity_data,indicators}', '2026-11-18Z', '2026-11-19Z', 'thinned', 'x')"
    await filled.execute(remove)
    await filled.execute("select public.recorder_prune('equity_data', '2026-11-20Z', reason => 'retention')")
    await filled.execute("update store.service_clock set mode = 'feed', last_ts = '2026-11-22Z'")
    assert await filled.fetchval("select public.cleanup_old_equity_data(1)") == 24
    assert await ledger(filled) == [
        ("equity_data", "2026-11-15", "2026-11-18", 48, False, "asked", None),
        ("equity_data", "2026-11-17", "2026-11-18", 24, True, "asked", None),
        ("equity_data", "2026-11-18", "2026-11-19", 24, True, "thinned", "x"),
        ("indicators", "2026-11-18", "2026-11-19", 0, True, "thinned", "x"),
        ("equity_data", "2026-11-19", "2026-11-20", 24, True, "retention", None),
        ("equity_data", "2026-11-20", "2026-11-21", 24, True, "asked", None),
    ]
    assert await filled.fetchval("select count(*) from public.equity_data") == 0


async def test_rolled_back_is_not_written_down(filled: Any) -> None:
    """Row and drop are one."""
    transaction = filled.transaction()
    await transaction.start()
    await filled.execute("select store.drop_days('equity_data', '2026-11-21Z')")
    await transaction.rollback()
    assert await ledger(filled) == []
    assert await filled.fetchval("select count(*) from public.equity_data") == 144


async def test_looking_locks_and_changes_nothing(filled: Any, empty_dsn: str) -> None:
    """dry_run while somebody writes."""
    other = await asyncpg.connect(empty_dsn)
    async with other.transaction():
        await other.execute("insert into store.equity_data (ticker, timestamp) values ('QQQ', '2026-11-17 01:30Z')")
        look = "select public.recorder_prune('equity_data', '2026-11-20Z', dry_run => true)"
        await asyncio.wait_for(filled.fetchval(look), 4.0)
    await other.close()
    assert await ledger(filled) == []


@pytest.mark.parametrize("role", ROLES)
async def test_who_may_what(filled: Any, role: str) -> None:
    """The service role calls; who is signed in reads what was removed; nobody writes it."""
    await filled.execute("select store.drop_days('equity_data', '2026-11-18Z')")
    await filled.execute(f"set role {role}")
    for function in FUNCTIONS:
        if role == "service_role":
            await filled.execute(f"select {function}")
            continue
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await filled.execute(f"select {function}")
    if role == "anon":
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ledger(filled)
    else:
        assert len(await ledger(filled)) >= 2
    for change in ("delete from store.removed_days", "update public.removed_days set rows = 0"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await filled.execute(change)


async def test_anonymous_readers_read_it_too(project: Any) -> None:
    """Where they may read the rest; also where that was so before this table was there."""
    for one in migrate.migrations():
        if one.version == VERSION:
            await project.execute("select store.allow_anon_read(true)")
        if one.version <= VERSION:
            await project.execute(one.sql)
    sees = "select has_table_privilege('anon', 'public.removed_days', 'select')"
    assert await project.fetchval(sees) is True
    await project.execute("set role anon")
    assert await ledger(project) == []
    await project.execute("reset role")
    await project.execute("select store.allow_anon_read(false)")
    assert await project.fetchval(sees) is False


@on(*VERSIONS)
async def test_size_names_each_partition(filled: Any) -> None:
    """Bytes as PostgreSQL says them."""
    found = await filled.fetchval("select public.recorder_size()")
    rows = await filled.fetch(
        "select p->>1 name, (p->>2)::bigint low, (p->>3)::bigint high, (p->>4)::bool is_default, (p->>5)::bigint bytes"
        " from jsonb_array_elements($1::jsonb->'partitions') p",
        found,
    )
    sizes = {row["partition"]: row["bytes"] for row in await filled.fetch("select * from store.partition_sizes()")}
    assert {row["name"]: row["bytes"] for row in rows} == sizes
    day = next(row for row in rows if row["name"] == "equity_data_20261117")
    low = datetime(2026, 11, 17, tzinfo=UTC).timestamp() * 1e6
    assert (day["low"], day["high"], day["is_default"]) == (low, low + 86_400e6, False)


@pytest.mark.parametrize("before, since, reason", [("null", "null", "'asked'"), ("now()", "null", "'x'")])
async def test_nonsense_is_refused(filled: Any, before: str, since: str, reason: str) -> None:
    """SQLSTATE 22023."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await filled.execute(f"select public.recorder_prune('equity_data', {before}, {since}, {reason})")
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await filled.execute("select public.recorder_prune('stream_gaps', now())")
