"""The same files elsewhere: PostgreSQL 15 to 18, Supabase's own command, the SQL editor."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.migration.servers import NEWEST, VERSIONS, on
from tests.supabase.programs import SUPABASE, needs, supabase_command

from alphakite.store import migrate
from alphakite.store.lint import lint

KNOWN = [one.version for one in migrate.migrations()]
MIGRATIONS = Path(__file__).parents[2] / "supabase" / "migrations"
LEDGER = "select version, name from supabase_migrations.schema_migrations order by 1"
ROWS = (
    "insert into store.equity_data (ticker, timestamp, price)"
    " select 'QQQ', now() - i * interval '1 hour', 1.5 from generate_series(1, 100) i"
)

ALONE = {"DO_NOT_TRACK": "1", "SUPABASE_NO_KEYRING": "1", "SUPABASE_NO_UPDATE_NOTIFIER": "1",
         "SUPABASE_TELEMETRY_DISABLED": "1"}  # fmt: skip
"""The command talks to nobody but the database."""


async def until(connection: Any, version: str) -> None:
    """As `supabase db push` and `alphakite migrate` left it at some version."""
    await connection.execute(migrate.LEDGER)
    for one in migrate.migrations():
        if one.version <= version:
            await connection.execute(one.sql)
            await connection.execute(
                "insert into supabase_migrations.schema_migrations values ($1, $2, $3)",
                one.version,
                [one.sql],
                one.name,
            )


@on(*VERSIONS)
@pytest.mark.parametrize("version", ["", *KNOWN])
async def test_each_postgresql(connection: Any, version: str) -> None:
    """From nothing and from each version with data; no row lost, no lint broken, partitions made and dropped."""
    await until(connection, version)
    if version:
        await connection.execute(ROWS)
    assert [one.version for one in await migrate.apply(connection)] == [one for one in KNOWN if one > version]
    if not version:
        await connection.execute(ROWS)
    assert await connection.fetchval("select count(*) from public.equity_data") == 100
    ensure = "select store.ensure_partitions(current_date - 5, current_date + 1)"
    assert [await connection.fetchval(ensure) for _ in range(2)] == [0, 0]
    await connection.execute("select public.refresh_equity_data_stats()")
    assert await connection.fetchval("select sum(rows) from public.equity_data_stats") == 100
    await connection.fetch("select * from public.get_chain('QQQ')")
    gone = await connection.fetchval("select public.cleanup_old_equity_data(1)")
    assert await connection.fetchval("select count(*) from public.equity_data") == 100 - gone
    assert await migrate.apply(connection) == []
    assert await lint(connection) == []


async def push(dsn: str, folder: Path) -> str:
    """What `supabase db push` says."""
    shutil.copytree(MIGRATIONS, folder / "supabase" / "migrations", dirs_exist_ok=True)
    (folder / "supabase" / "config.toml").write_text('project_id = "test"\n')
    process = await asyncio.create_subprocess_exec(
        supabase_command(), "db", "push", "--db-url", dsn, "--yes",
        env=ALONE | {"HOME": str(folder), "PATH": os.environ["PATH"]}, cwd=folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, said.decode()
    return said.decode()


@needs(SUPABASE)
@pytest.mark.parametrize("version", ["", *KNOWN])
async def test_supabase_db_push(connection: Any, empty_dsn: str, tmp_path: Path, version: str) -> None:
    """From nothing and from each version that we applied: the same ledger, and we have nothing left to do."""
    if version:
        await until(connection, version)
        await connection.execute(ROWS)
    await push(empty_dsn, tmp_path)
    assert [tuple(row) for row in await connection.fetch(LEDGER)] == [(m.version, m.name) for m in migrate.migrations()]
    assert await migrate.apply(connection) == []
    assert await lint(connection) == []
    assert await connection.fetchval("select count(*) from public.equity_data") == (100 if version else 0)
    if version in ("", KNOWN[-1]):
        assert "up to date" in await push(empty_dsn, tmp_path)


@needs(SUPABASE)
@on(*(one for one in VERSIONS if one != NEWEST))
async def test_supabase_db_push_on_older(connection: Any, empty_dsn: str, tmp_path: Path) -> None:
    """What Supabase itself runs on: from nothing, and we have nothing left to do."""
    await push(empty_dsn, tmp_path)
    assert [row["version"] for row in await connection.fetch(LEDGER)] == KNOWN
    assert await migrate.apply(connection) == []
    assert await lint(connection) == []


@pytest.mark.parametrize("version", ["", KNOWN[0], KNOWN[-1]])
async def test_one_file_for_the_sql_editor(connection: Any, version: str) -> None:
    """The printed file alone brings any version up to date, again and again, with the ledger."""
    if version:
        await until(connection, version)
        await connection.execute(ROWS)
    for _ in range(2):
        await connection.execute(migrate.script(migrate.migrations()))
        await migrate.require_current(connection)
        assert await migrate.apply(connection) == []
    assert await connection.fetchval("select count(*) from public.equity_data") == (100 if version else 0)
    assert await lint(connection) == []
