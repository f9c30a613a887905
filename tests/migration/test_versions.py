"""The same files elsewhere: older PostgreSQL, Supabase's own command, the SQL editor.

TEST_POSTGRES_URLS names further servers to try (superuser, space-separated); SUPABASE_CLI the `supabase` command.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from alphakite.store import migrate
from alphakite.store.lint import lint

SERVERS = os.environ.get("TEST_POSTGRES_URLS", "").split()
SUPABASE = os.environ.get("SUPABASE_CLI") or shutil.which("supabase")
MIGRATIONS = Path(__file__).parents[2] / "supabase" / "migrations"
LEDGER = "select version, name from supabase_migrations.schema_migrations order by 1"
ROWS = (
    "insert into store.equity_data (ticker, timestamp, price)"
    " select 'QQQ', now() - i * interval '1 hour', 1.5 from generate_series(1, 100) i"
)


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


@pytest.mark.skipif(not SERVERS, reason="TEST_POSTGRES_URLS names no server")
@pytest.mark.parametrize("server", SERVERS, ids=range(len(SERVERS)))
@pytest.mark.parametrize("version", ["", *(one.version for one in migrate.migrations())])
async def test_other_servers(server: str, version: str) -> None:
    """From nothing and from each version with data; no row lost, no lint broken, partitions made and dropped."""
    name = f"test_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(server)
    await admin.execute(f"create database {name}")
    connection = await asyncpg.connect(f"{server.rpartition('/')[0]}/{name}")
    try:
        await until(connection, version)
        if version:
            await connection.execute(ROWS)
        await migrate.apply(connection)
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
        assert await lint(connection) == []
    finally:
        await connection.close()
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


async def push(dsn: str, folder: Path) -> str:
    """What `supabase db push` says."""
    assert SUPABASE
    shutil.copytree(MIGRATIONS, folder / "supabase" / "migrations", dirs_exist_ok=True)
    (folder / "supabase" / "config.toml").write_text('project_id = "test"\n')
    process = await asyncio.create_subprocess_exec(
        SUPABASE, "db", "push", "--db-url", dsn, "--yes",
        cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.skipif(not SUPABASE, reason="no `supabase` command")
@pytest.mark.parametrize("version", ["", *(one.version for one in migrate.migrations())])
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
    assert "up to date" in await push(empty_dsn, tmp_path)


@pytest.mark.parametrize("version", ["", migrate.migrations()[0].version, migrate.migrations()[-1].version])
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
