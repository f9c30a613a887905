"""Migrations: from nothing, twice, from an older state, onto somebody else's tables, two at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from alphakite.errors import ConfigError
from alphakite.model import FLAG_NAMES, OPTION_FLAG_NAMES
from alphakite.store import migrate

OPTION_ROW = (
    "insert into store.option_prices (ticker, timestamp, option_type, strike_price, expiration_date, bid,"
    " option_symbol, flags)"
    " values ('QQQ', '2026-11-24T15:00:00Z', 'CALL', 600.5, '2026-11-24', 1.23, 'QQQ   261124C00600500', 1)"
)
DESCRIBED = """
select c.relname::text, c.relkind, a.attname::text, a.atttypid::regtype::text, a.attnotnull,
       col_description(c.oid, a.attnum), case c.relkind when 'v' then pg_get_viewdef(c.oid) end
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace in ('store'::regnamespace, 'public'::regnamespace)
union all
select p.proname::text, 'f', null, pg_get_functiondef(p.oid), null, obj_description(p.oid, 'pg_proc'), null
from pg_proc p where p.pronamespace in ('store'::regnamespace, 'public'::regnamespace)
order by 1, 2, 3, 4
"""
"""All relations, columns and functions, and what is said of them."""
OPTION_PRICES = (
    "ticker timestamp option_type strike_price expiration_date bid ask last bid_size ask_size volume day_volume"
    " open_interest implied_volatility delta gamma theta vega rho option_symbol flags iv_model delta_model gamma_model"
    " theta_model vega_model rho_model iv_half_width forward model_reason model_def"
)
OPTION_VIEWS = ("option_prices", "option_images", "option_contracts", "option_following", "model_definitions")
OPTION_FUNCTIONS = ("get_chain", "atm_straddle", "get_smile", "put_call_volume", "gamma_exposure")
ROLES = ("anon", "authenticated", "service_role")


async def test_from_nothing_and_again(connection: Any) -> None:
    """All files apply in order; a second run changes nothing; the ledger is the one `supabase db push` reads."""
    assert [one.version for one in await migrate.apply(connection)] == [one.version for one in migrate.migrations()]
    assert await migrate.apply(connection) == []
    ledger = await connection.fetch("select version, name, statements from supabase_migrations.schema_migrations")
    assert sorted(row["version"] for row in ledger) == [one.version for one in migrate.migrations()]
    assert all(row["name"] and row["statements"] for row in ledger)
    await migrate.require_current(connection)


async def test_every_file_may_run_twice(connection: Any) -> None:
    """Somebody may apply them by hand and lose the ledger: running them again does no harm."""
    await migrate.apply(connection)
    await connection.execute("insert into store.equity_data (ticker, timestamp) values ('QQQ', now())")
    await connection.execute(OPTION_ROW + " returning 1")
    before = await connection.fetch(DESCRIBED)
    await connection.execute("drop schema supabase_migrations cascade")
    assert len(await migrate.apply(connection)) == len(migrate.migrations())
    assert await connection.fetchval("select count(*) from public.equity_data") == 1
    assert await connection.fetchval("select count(*) from public.option_prices") == 1
    assert await connection.fetch(DESCRIBED) == before


@pytest.mark.parametrize("applied", range(len(migrate.migrations())))
async def test_an_older_schema_is_refused_and_then_mended(connection: Any, applied: int) -> None:
    """The service does not start on a schema older than it needs, says how to migrate, and can be migrated."""
    for one in migrate.migrations()[:applied]:
        await connection.execute(one.sql)
        await connection.execute(migrate.LEDGER)
        await connection.execute(
            "insert into supabase_migrations.schema_migrations values ($1, $2, $3)", one.version, [one.sql], one.name
        )
    if applied >= 1:
        await connection.execute("insert into store.equity_data (ticker, timestamp, price) values ('QQQ', now(), 1.5)")
    if applied >= 2:
        await connection.execute(OPTION_ROW)
    with pytest.raises(ConfigError) as caught:
        await migrate.require_current(connection)
    assert "alphakite migrate" in caught.value.next_step
    assert len(await migrate.apply(connection)) == len(migrate.migrations()) - applied
    await migrate.require_current(connection)
    described = await connection.fetch(DESCRIBED)
    await connection.execute(migrate.migrations()[-1].sql)
    assert await connection.fetch(DESCRIBED) == described, "the newest once more changes nothing"
    assert await connection.fetch("select price::text from public.equity_data") == [("1.5",)] * (applied >= 1)
    kept = "select option_symbol, strike_price::text, bid::text, flags, journal_no, seq, item from public.option_prices"
    row = ("QQQ   261124C00600500", "600.5", "1.23", "gap", 0, 0, 0)
    assert await connection.fetch(kept) == [row] * (applied >= 2)
    assert await connection.fetchval("select count(*) from public.get_chain('QQQ', '2026-11-24T15:00:01Z')") == len(
        await connection.fetch(kept)
    )


async def test_a_newer_schema_is_refused(connection: Any) -> None:
    """Older code does not touch what newer code made."""
    await migrate.apply(connection)
    await connection.execute(
        "create or replace function store.schema_version() returns text language sql immutable as"
        " $$ select '29990101000000' $$"
    )
    for attempt in (migrate.require_current, migrate.apply):
        with pytest.raises(ConfigError, match="newer"):
            await attempt(connection)


async def test_a_foreign_database_is_left_alone(connection: Any) -> None:
    """Tables of our names that we did not make: a clear error, and nothing is changed."""
    await connection.execute("create table public.equity_data (mine int)")
    for attempt in (migrate.require_current, migrate.apply, migrate.pending):
        with pytest.raises(ConfigError, match=r"public\.equity_data") as caught:
            await attempt(connection)
        assert caught.value.next_step
    assert await connection.fetchval("select to_regnamespace('store')") is None


async def test_a_failing_file_leaves_the_schema_as_it_was(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file is one transaction."""
    await migrate.apply(connection)
    broken = migrate.Migration("29990101000000", "broken", "create table store.half (a int); select 1/0")
    known = migrate.migrations()
    monkeypatch.setattr(migrate, "migrations", lambda: (*known, broken))
    with pytest.raises(Exception, match="division by zero"):
        await migrate.apply(connection)
    assert await connection.fetchval("select to_regclass('store.half')") is None


async def test_two_at_once(empty_dsn: str) -> None:
    """Two commands that start together migrate once."""
    connections = [await asyncpg.connect(empty_dsn) for _ in range(2)]
    done = await asyncio.gather(*(migrate.apply(connection) for connection in connections))
    assert sorted(one.version for by in done for one in by) == [one.version for one in migrate.migrations()]
    for connection in connections:
        await connection.close()


async def test_supabase_roles(connection: Any) -> None:
    """Where Supabase's roles exist: anon reads nothing, authenticated reads, service_role writes and cleans."""
    for role in ROLES:
        await connection.execute(f"drop role if exists {role}")
        await connection.execute(f"create role {role} {'bypassrls' if role == 'service_role' else ''}")
    try:
        await migrate.apply(connection)
        await connection.execute("insert into store.equity_data (ticker, timestamp) values ('QQQ', now())")
        await connection.execute(OPTION_ROW)
        await connection.execute("set role anon")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select * from public.equity_data")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select * from public.all_indicators")
        for view in OPTION_VIEWS:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"select * from public.{view}")
        for function in OPTION_FUNCTIONS:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"select * from public.{function}('QQQ')")
        await connection.execute("set role authenticated")
        for view in OPTION_VIEWS:
            assert await connection.fetchval(f"select count(*) from public.{view}") == (view == "option_prices")
        for function in OPTION_FUNCTIONS:
            await connection.fetch(f"select * from public.{function}('QQQ')")
        assert await connection.fetchval("select flags from public.get_chain('QQQ', '2026-11-24T15:00:01Z')") == "gap"
        assert await connection.fetchval("select count(*) from public.equity_data") == 1
        assert await connection.fetchval("select count(*) from public.all_indicators") == 0
        assert (await connection.fetchrow("select * from public.get_streaming_health('QQQ')"))["last_data_at"]
        for refused in (
            "select public.cleanup_old_equity_data()",
            "select public.cleanup_old_indicator_values()",
            "select public.cleanup_old_option_prices()",
            "select public.cleanup_old_option_following()",
            "select store.model_definition_id('model', 'act365_sec', 0.04, 0, 'hash')",
            "delete from store.option_contracts",
            "select store.definition_id('x', 'value', '{}', 'bars', 'regular', 'none', '1', 'hash')",
            "select public.refresh_equity_data_stats()",
            "delete from store.equity_data",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(refused)
        await connection.execute("set role service_role")
        await connection.execute("select public.refresh_equity_data_stats()")
        assert await connection.fetchval("select rows from public.equity_data_stats") == 1
        assert await connection.fetchval("select public.cleanup_old_equity_data()") == 0
        define = "select store.definition_id('x', 'value', '{}', 'bars', 'regular', 'none', '1', 'hash')"
        assert [await connection.fetchval(define) for _ in range(2)] == [100, 100]
        await connection.execute(
            "insert into store.indicator_values (ticker, timestamp, definition_id, value)"
            " values ('QQQ', now() - interval '1 day', 100, 1)"
        )
        assert await connection.fetchval("select public.cleanup_old_indicator_values(0)") == 1
        define = "select store.model_definition_id('model', 'act365_sec', 0.04, 0, $1)"
        assert [await connection.fetchval(define, one) for one in ("a", "b", "a")] == [1, 2, 1]
        await connection.execute("delete from store.option_contracts")
        assert await connection.fetchval("select public.cleanup_old_option_following(0)") == 0
    finally:
        await connection.execute("reset role")
        for role in ROLES:
            await connection.execute(f"drop owned by {role}")
            await connection.execute(f"drop role {role}")


async def test_everything_is_described_and_guarded(connection: Any) -> None:
    """Each table, view and column says what it is; tables have row level security, views the reader's rights."""
    await migrate.apply(connection)
    rows = await connection.fetch(
        "select c.relname, c.relkind, c.relrowsecurity, c.reloptions, obj_description(c.oid, 'pg_class') said,"
        " array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0"
        "       and not a.attisdropped and col_description(c.oid, a.attnum) is null) silent"
        " from pg_class c where c.relnamespace in ('store'::regnamespace, 'public'::regnamespace)"
        " and c.relkind in ('r', 'p', 'v', 'm') or c.oid = 'store_private.equity_data_stats'::regclass"
    )
    assert len(rows) > 15
    assert [row["relname"] for row in rows if not row["said"] or row["silent"]] == []
    assert [row["relname"] for row in rows if row["relkind"] in (b"r", b"p") and not row["relrowsecurity"]] == []
    assert [r["relname"] for r in rows if r["relkind"] == b"v" and "security_invoker=true" not in r["reloptions"]] == []
    loose = await connection.fetch(
        "select proname from pg_proc where pronamespace in ('store'::regnamespace, 'public'::regnamespace)"
        " and not coalesce('search_path=\"\"' = any(proconfig), false)"
    )
    assert [row["proname"] for row in loose] == []


async def test_flag_names_are_the_models(connection: Any) -> None:
    """SQL spells each flag as model.FLAG_NAMES does, and a clean row as NULL."""
    await migrate.apply(connection)
    for bits in range(2 * max(FLAG_NAMES)):
        expected = ",".join(name for flag, name in FLAG_NAMES.items() if bits & flag) or None
        assert await connection.fetchval("select store.flag_names($1)", bits) == expected


async def test_option_flag_names_are_the_models(connection: Any) -> None:
    """SQL spells each flag as model.OPTION_FLAG_NAMES does; a clean row is NULL in both views."""
    await migrate.apply(connection)
    rows = await connection.fetch(
        "select bits, store.option_flag_names(bits::smallint) words from generate_series(0, $1) bits",
        2 * max(OPTION_FLAG_NAMES) - 1,
    )
    for row in rows:
        assert row["words"] == (
            ",".join(name for flag, name in OPTION_FLAG_NAMES.items() if row["bits"] & flag) or None
        )
    for view in ("option_prices", "option_images"):
        await connection.execute(OPTION_ROW.replace("option_prices", view).replace(", 1)", ", 2049)"))
        assert await connection.fetchval(f"select flags from public.{view}") == "gap,model:spot"
        await connection.execute(f"update store.{view} set flags = 0")
        assert await connection.fetchval(f"select flags from public.{view}") is None


async def test_questions_have_answers_described(connection: Any) -> None:
    """Each public function says its units and conventions; all of them only read, with the reader's rights."""
    await migrate.apply(connection)
    rows = await connection.fetch(
        "select proname, obj_description(oid, 'pg_proc') said, provolatile, prosecdef, proparallel from pg_proc"
        " where proname = any($1::text[])",
        list(OPTION_FUNCTIONS),
    )
    assert len(rows) == len(OPTION_FUNCTIONS)
    for row in rows:
        assert "default" in row["said"], row["proname"]
        assert (row["provolatile"], row["prosecdef"], row["proparallel"]) == (b"s", False, b"s")


async def test_documented_columns_come_first(connection: Any) -> None:
    """The public names and columns are an interface."""
    await migrate.apply(connection)
    for table, columns in {
        "equity_data": ["ticker", "timestamp", "price", "volume"],
        "indicators": ["ticker", "timestamp", "sma9", "vwap"],
        "indicator_values": ["ticker", "timestamp", "name", "output", "value", "flags"],
        "all_indicators": ["ticker", "timestamp", "sma9", "vwap", "custom", "flags"],
        "streaming_metrics": ["timestamp", "records_processed", "error_count", "service_status"],
        "stream_gaps": ["ticker", "start_at", "end_at", "reason", "volume"],
        "option_prices": OPTION_PRICES.split(),
    }.items():
        statement = await connection.prepare(f"select * from public.{table}")
        assert [one.name for one in statement.get_attributes()][: len(columns)] == columns


def test_files_are_plain_sql() -> None:
    """What Supabase, psql and our runner all take: no psql commands, no extension, no lz4, 14-digit versions."""
    for one in migrate.migrations():
        assert len(one.version) == 14
        lowered = one.sql.lower()
        for foreign in ("\n\\", "create extension", "lz4", "concurrently if", "alter system"):
            assert foreign not in lowered, (one.name, foreign)
        assert f"select '{one.version}'" in one.sql, f"{one.name} does not say its version"


def test_the_wheel_carries_them() -> None:
    """pyproject.toml names the one true folder."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '"share/alphakite/migrations" = ["supabase/migrations/*.sql"]' in text
