"""Partitions a day: taken over with data, made ahead, dropped whole, reached by nobody."""

from __future__ import annotations

import asyncio
import re
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.migration.servers import VERSIONS, on

from alphakite.model import Batch, EquityRow, IndicatorRow, Metrics
from alphakite.store import migrate
from alphakite.store.partitions import DAY_US, Call, Days, days_of
from alphakite.store.postgres import PostgresSink

VERSION = "20261126010000"
TABLES = ("equity_data", "indicators", "indicator_values", "option_prices", "option_images", "streaming_metrics")
SECONDS = "generate_series('2026-11-20T20:00:00Z'::timestamptz, '2026-11-24T14:00:00Z', interval '1 hour') t"
OPTION = "'QQQ', t, 'CALL', 600.5, '2026-11-24', 'QQQ   261124C00600500'"
FILL = (
    f"insert into store.equity_data (ticker, timestamp, price, volume) select 'QQQ', t, 1.50, 7 from {SECONDS}",
    f"insert into store.indicators (ticker, timestamp, sma9, vwap) select 'QQQ', t, 1.5, 2 from {SECONDS}",
    "insert into store.indicator_values (ticker, timestamp, definition_id, value)"
    f" select 'QQQ', t, 1, 3 from {SECONDS}",
    *(
        f"insert into store.{table} (ticker, timestamp, option_type, strike_price, expiration_date, option_symbol)"
        f" select {OPTION} from {SECONDS}"
        for table in ("option_prices", "option_images")
    ),
    "insert into store.streaming_metrics (timestamp, records_processed, error_count, service_status)"
    f" select t, 1, 0, 'streaming' from {SECONDS}",
)
ROWS = 91
VIEWS = (*TABLES, "all_indicators")
DAY = "select count(*) from store_private."


async def before_partitions(connection: Any) -> dict[str, list[Any]]:
    """The schema as it was, with rows; what the views show."""
    await connection.execute(migrate.LEDGER)
    for one in migrate.migrations():
        if one.version < VERSION:
            await connection.execute(one.sql)
            await connection.execute(
                "insert into supabase_migrations.schema_migrations values ($1, $2, $3)",
                one.version,
                [one.sql],
                one.name,
            )
    for sql in FILL:
        await connection.execute(sql)
    return await shown(connection)


async def shown(connection: Any) -> dict[str, list[Any]]:
    found = {view: await connection.fetch(f"select * from public.{view} order by timestamp") for view in VIEWS}
    for question in ("get_chain('QQQ', '2026-11-21T05:30Z')", "get_chain('QQQ', '2026-11-23T22:30Z')"):
        found[question] = await connection.fetch(f"select * from public.{question}")
        assert found[question], question
    return found


async def kinds(connection: Any) -> list[Any]:
    """What stands under the tables' names."""
    rows = await connection.fetch(
        "select relname::text, relkind from pg_class where relnamespace = 'store'::regnamespace order by 1"
    )
    return [tuple(row) for row in rows]


@on(*VERSIONS)
async def test_taken_over_with_data(connection: Any) -> None:
    """Every row stays, and reads as it did; numbers go on; new days begin behind the old rows."""
    was = await before_partitions(connection)
    assert {len(was[view]) for view in VIEWS} == {ROWS}
    await migrate.apply(connection)
    assert await shown(connection) == was
    for table in TABLES:
        assert await connection.fetchval(f"{DAY}{table}_before") == ROWS
        assert await connection.fetchval(f"{DAY}{table}_default") == 0
    assert await connection.fetchval("select store.ensure_partitions('2026-11-23', '2026-11-26')") == 0
    found = await connection.fetch("select partition, low, high from store.partitions('option_prices')")
    assert [row["partition"] for row in found if row["low"]] == ["option_prices_20261125", "option_prices_20261126"]
    assert [row["high"] for row in found if row["partition"].endswith("before")] == [datetime(2026, 11, 25, tzinfo=UTC)]
    again = (
        "insert into store.streaming_metrics (timestamp, records_processed, error_count, service_status)"
        " values ('2026-11-25Z', 1, 0, 'streaming') returning id"
    )
    assert await connection.fetchval(again) == ROWS + 1
    await connection.execute("select public.refresh_equity_data_stats()")
    stats = await connection.fetch("select rows, volume, open from public.equity_data_stats order by date")
    assert sum(row["rows"] for row in stats) == ROWS
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(FILL[0])
    sizes = await connection.fetch("select * from store.partition_sizes()")
    assert len(sizes) == 6 * 4
    assert [row["partition"] for row in sizes[:6]] == sorted(f"{table}_before" for table in TABLES)
    assert all(row["bytes"] > 0 for row in sizes)


async def test_rows_of_before_are_deleted_and_then_dropped(connection: Any) -> None:
    """Its days go one by one; the last takes the table with it."""
    await before_partitions(connection)
    await migrate.apply(connection)
    gone = "select store.drop_days('equity_data', $1)"
    assert await connection.fetchval(gone, datetime(2026, 11, 21, 12, tzinfo=UTC)) == 4
    assert await connection.fetchval(gone, datetime(2026, 11, 21, 23, tzinfo=UTC)) == 0
    assert await connection.fetchval(gone, datetime(2026, 11, 25, tzinfo=UTC)) == ROWS - 4
    assert await connection.fetchval("select to_regclass('store_private.equity_data_before')") is None


async def test_a_migration_that_fails_leaves_everything(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, tables and version are what they were, and the next try succeeds."""
    was = await before_partitions(connection)
    stood = await kinds(connection)
    known = migrate.migrations()
    broken = tuple(
        migrate.Migration(one.version, one.name, one.sql + (";\nselect 1 / 0" if one.version == VERSION else ""))
        for one in known
    )
    monkeypatch.setattr(migrate, "migrations", lambda: broken)
    with pytest.raises(Exception, match="division by zero"):
        await migrate.apply(connection)
    assert await kinds(connection) == stood
    assert await shown(connection) == was
    assert await connection.fetchval("select to_regnamespace('store_private')") is None
    monkeypatch.setattr(migrate, "migrations", lambda: known)
    await migrate.apply(connection)
    assert await shown(connection) == was


@on(*VERSIONS)
async def test_a_row_always_finds_a_home(connection: Any) -> None:
    """Without its day in the default partition; it moves when the day is made, and none is lost or doubled."""
    await migrate.apply(connection)
    for sql in FILL:
        await connection.execute(sql)
    was = await shown(connection)
    assert await connection.fetchval("select store.ensure_partitions('2026-11-21', '2026-11-23')") == 0
    assert await shown(connection) == was
    for table in TABLES:
        assert await connection.fetchval(f"{DAY}{table}_20261121") == 24
        assert await connection.fetchval(f"{DAY}{table}_default") == ROWS - 72
    assert await connection.fetchval("select store.ensure_partitions('2026-11-20', '2026-11-24')") == 0
    assert await connection.fetchval(f"{DAY}equity_data_default") == 0
    assert await shown(connection) == was


async def test_a_long_reader_puts_a_day_off(connection: Any, empty_dsn: str) -> None:
    """Nothing waits for long: the answer says what is missing, the row is stored, a later call mends it."""
    await migrate.apply(connection)
    reader = await asyncpg.connect(empty_dsn)
    transaction = reader.transaction()
    await transaction.start()
    await reader.fetch("select * from public.equity_data")
    ensure = "select store.ensure_partitions('2026-11-24', '2026-11-24', array['equity_data'])"
    assert await connection.fetchval(ensure) == 1
    await connection.execute("insert into store.equity_data (ticker, timestamp) values ('QQQ', '2026-11-24T15:00Z')")
    await transaction.rollback()
    assert await connection.fetchval(ensure) == 0
    assert await connection.fetchval(f"{DAY}equity_data_20261124") == 1
    await reader.close()


async def test_a_vacuum_of_another_day_puts_nothing_off(connection: Any, empty_dsn: str) -> None:
    """Vacuum and analyze hold a day for minutes: others are made and dropped meanwhile."""
    await migrate.apply(connection)
    await connection.execute("select store.ensure_partitions('2026-11-20', '2026-11-21')")
    other = await asyncpg.connect(empty_dsn)
    try:
        async with other.transaction():
            await other.execute(
                "lock table only store_private.equity_data_20261121 in share update exclusive mode"  # as VACUUM does
            )
            assert await connection.fetchval("select store.ensure_partitions('2026-11-23', '2026-11-24')") == 0
            await connection.execute("set statement_timeout = '3s'")
            await connection.fetchval("select store.drop_days('equity_data', '2026-11-21')")
        days = await connection.fetch("select partition from store.partitions('equity_data')")
        assert "equity_data_20261120" not in {row["partition"] for row in days}
    finally:
        await other.close()


async def test_two_make_the_same_days(connection: Any, empty_dsn: str) -> None:
    """Whoever is second finds them made."""
    await migrate.apply(connection)
    others = [await asyncpg.connect(empty_dsn) for _ in range(3)]
    ensure = "select store.ensure_partitions('2026-11-20', '2026-11-24', array['indicators'])"
    assert await asyncio.gather(*(one.fetchval(ensure) for one in others)) == [0, 0, 0]
    assert await connection.fetchval("select count(*) from store.partitions('indicators')") == 6
    for one in others:
        await one.close()


@pytest.mark.parametrize(
    "arguments",
    [
        "null, '2026-11-24'",
        "'2026-11-24', '2026-11-23'",
        "'2020-01-01', '2026-11-23'",
        "'-infinity', 'infinity'",
        "'2026-11-24', '2026-11-24', array['stream_gaps']",
        "'2026-11-24', '2026-11-24', array['equity_data', 'x']",
        "'2026-11-24', '2026-11-24', array[null]",
    ],
)
async def test_only_days_of_our_tables(connection: Any, arguments: str) -> None:
    """Who may call it cannot make just any table, nor very many."""
    await migrate.apply(connection)
    with pytest.raises(asyncpg.DataError):
        await connection.execute(f"select store.ensure_partitions({arguments})")


@on(*VERSIONS)
async def test_old_days_are_dropped(connection: Any) -> None:
    """Whole days (UTC) that are over so long; the answer counts the rows; the default partition's go too."""
    await migrate.apply(connection)
    await connection.execute("select store.ensure_partitions('2026-11-20', '2026-11-22')")
    for sql in FILL:
        await connection.execute(sql)
    await connection.execute("update store.service_clock set mode = 'feed', last_ts = '2026-11-24T14:00:00Z'")
    assert await connection.fetchval("select public.cleanup_old_equity_data(4)") == 0, "the 20th is not 4 days over"
    assert await connection.fetchval("select public.cleanup_old_equity_data(3)") == 4
    assert await connection.fetchval("select to_regclass('store_private.equity_data_20261120')") is None
    assert await connection.fetchval("select public.cleanup_old_option_prices(1)") == 2 * (4 + 24 + 24)
    assert await connection.fetchval("select public.cleanup_old_indicators(0)") == 4 + 72
    assert await connection.fetchval("select public.cleanup_old_indicator_values(0)") == 4 + 72
    assert await connection.fetchval("select public.cleanup_old_streaming_metrics(0)") == 4 + 72
    assert await connection.fetchval("select count(*) from public.indicators") == ROWS - 76, "today's stay"
    for days in ("-1", "null"):
        with pytest.raises(asyncpg.DataError):
            await connection.execute(f"select public.cleanup_old_equity_data({days})")


async def test_documented_queries_run_as_written(connection: Any) -> None:
    """The guide's block "Keeping it small"."""
    await migrate.apply(connection)
    text = (Path(__file__).parents[2] / "docs" / "guides" / "looking.md").read_text()
    block = text.split("## Keeping it small")[1].split("##")[0]
    queries = re.findall(r"^    (select .*)$", block, re.MULTILINE)
    assert len(queries) >= 6
    for query in queries:
        assert await connection.fetchval(query) == 0


@on(*VERSIONS)
async def test_no_role_reaches_a_partition(project: Any) -> None:
    """Through the table, with the table's rights; anon nothing, unless its owner says so."""
    await before_partitions(project)
    await migrate.apply(project)
    await project.execute("select store.ensure_partitions('2026-11-25', '2026-11-25')")
    days = [f"store_private.equity_data_{end}" for end in ("before", "default", "20261125")]
    for role in ("anon", "authenticated", "service_role"):
        await project.execute(f"set role {role}")
        for refused in (*days, "store_private.equity_data_stats"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await project.execute(f"select * from {refused}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await project.execute("select store.allow_anon_read(true)")
        if role != "anon":
            assert await project.fetchval("select count(*) from public.equity_data") == ROWS
            assert await project.fetchval("select count(*) from public.equity_data_stats") > 3
        if role != "service_role":
            for refused in ("public.recorder_days", "store.ensure_partitions"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await project.execute(f"select {refused}('2026-11-26', '2026-11-26')")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await project.execute("select store.drop_days('equity_data', now())")
    assert await project.fetchval("select public.recorder_days('2026-11-26', '2026-11-26', array['equity_data'])") == 0
    await project.execute("insert into store.equity_data (ticker, timestamp) values ('QQQ', '2026-11-26T15:00Z')")
    await project.execute(FILL[5].replace("t, 1, 0", "t + interval '10 days', 1, 0"))
    assert await project.fetchval("select public.cleanup_old_equity_data(0)") is not None


async def test_anonymous_readers(project: Any) -> None:
    """A switch, both ways: what authenticated reads, and nothing written."""
    await migrate.apply(project)
    asked = [
        f"select * from public.{view}" for view in (*VIEWS, "equity_data_stats", "stream_gaps", "option_contracts")
    ]
    asked += ["select * from public.get_chain('QQQ')", "select * from public.get_streaming_health('QQQ')"]
    for allowed in (True, False):
        await project.execute("reset role")
        await project.execute("select store.allow_anon_read($1)", allowed)
        await project.execute("set role anon")
        for sql in asked:
            if allowed:
                await project.fetch(sql)
                continue
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await project.fetch(sql)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await project.execute("insert into store.equity_data (ticker, timestamp) values ('QQQ', now())")


async def test_the_sink_makes_its_days(connection: Any, empty_dsn: str) -> None:
    """Before a batch that holds a new day; one day ahead; metrics too."""
    await migrate.apply(connection)

    async def provide() -> str:
        return empty_dsn

    journal, noon = str(uuid.uuid4()), 20_000 * DAY_US + DAY_US // 2
    sink = PostgresSink(provide, clock_mode="feed")
    await sink.open(journal)
    for seq in range(3):
        times = [noon + seq * DAY_US, noon + seq * DAY_US + 1_000_000]
        equity = [EquityRow("QQQ", at, 10**8, 1, 0) for at in times]
        indicators = [IndicatorRow("QQQ", at, None, None, 0) for at in times]
        await sink.write(Batch(journal, seq, seq + 1, times[-1], equity, indicators))
    await sink.write_metrics(Metrics(noon, 1, 0, "streaming", {}))
    await sink.close()
    for table, days in {"equity_data": 4, "indicators": 4, "streaming_metrics": 2, "option_prices": 0}.items():
        assert (
            await connection.fetchval("select count(*) from store.partitions($1) where low is not null", table) == days
        )
        assert await connection.fetchval(f"{DAY}{table}_default") == 0
    assert await connection.fetchval("select count(*) from public.equity_data") == 6


def test_days_are_asked_for_once() -> None:
    """Each day once, days in a row together, the next one ahead; a day that was put off again after a while."""
    now = [100.0]
    days = Days(clock=lambda: now[0])
    assert days.calls({"a": {1, 2, 5}}) == [
        Call("a", date(1970, 1, 2), date(1970, 1, 4)),
        Call("a", date(1970, 1, 6), date(1970, 1, 7)),
    ]
    for call in days.calls({"a": {1, 2, 5}}):
        days.made(call, 0)
    assert days.calls({"a": {1, 2, 5}}) == []
    (call,) = days.calls({"a": {6}})
    assert call == Call("a", date(1970, 1, 7), date(1970, 1, 8))
    days.made(call, 1)
    assert days.calls({"a": {6}}) == []
    now[0] += 61
    assert days.calls({"a": {6}}) == [call]
    assert days.calls({"b": set(range(0, 100, 2))}) == [], "no recording: into the default partition"
    days.forget()
    assert days.calls({"a": {1}}) == [Call("a", date(1970, 1, 2), date(1970, 1, 3))]


def test_days_of_a_batch() -> None:
    """UTC days of the tables that it has rows of."""
    rows = [EquityRow("QQQ", at, None, None, 0) for at in (0, DAY_US - 1, DAY_US, -1)]
    assert days_of(Batch("j", 0, 1, 0, rows, [])) == {"equity_data": {0, 1, -1}}
