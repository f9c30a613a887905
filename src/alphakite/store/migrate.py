"""The schema: which migrations there are, which a database has, and bringing it up to date.

One true folder, supabase/migrations; it also ships with the package. Ledger: supabase_migrations.schema_migrations, the
same that `supabase db push` keeps, so that either may apply them. Each file in one transaction, forward only, one
runner at a time. `store.schema_version()` says which of ours was last, whoever applied it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg

import alphakite
from alphakite.errors import ConfigError, FatalError
from alphakite.store.faults import classify

FILE_NAME = re.compile(r"(\d{14})_(\w+)\.sql")
ADVISORY_KEY = 4_240_961_107_126_001
"""Arbitrary, ours: two runners wait for each other on it."""
APPLIED_SQL = "select exists (select from supabase_migrations.schema_migrations where version = $1)"
NAMES = (
    "equity_data",
    "indicators",
    "indicator_values",
    "option_prices",
    "option_images",
    "option_contracts",
    "option_following",
    "model_definitions",
    "streaming_metrics",
    "stream_gaps",
    "quality_events",
    "removed_days",
)
LEDGER = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
    version text primary key, statements text[], name text
);
"""


@dataclass(frozen=True)
class Migration:
    """One file."""

    version: str
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """All of ours, oldest first. Raises: FatalError if the installation lacks them."""
    found = sorted(path for path in _files() if FILE_NAME.fullmatch(path.name))
    if not found:
        raise FatalError("the migrations are missing from this installation", next_step="install alphakite again")
    return tuple(Migration(path.name[:14], path.stem[15:], path.read_text(encoding="utf-8")) for path in found)


def newest() -> str:
    """The version that this code needs."""
    return migrations()[-1].version


async def pending(connection: Any) -> list[Migration]:
    """What `apply` would apply. Raises: ConfigError for a foreign or a newer database."""
    version = await _version(connection)
    await _refuse_foreign(connection, version)
    _refuse_newer(version)
    known: set[str] = set()
    if await connection.fetchval("select to_regclass('supabase_migrations.schema_migrations')") is not None:
        rows = await connection.fetch("select version from supabase_migrations.schema_migrations")
        known = {row["version"] for row in rows}
    return [one for one in migrations() if one.version not in known]


async def apply(connection: Any) -> list[Migration]:
    """Apply what is pending; what was applied. Raises: ConfigError, TransientError."""
    applied = []
    try:
        async with _alone(connection):
            todo = await pending(connection)
            if todo:
                await connection.execute(LEDGER)
        for one in todo:
            async with _alone(connection):
                if await connection.fetchval(APPLIED_SQL, one.version):
                    continue  # by somebody else, meanwhile
                await connection.execute(one.sql)
                await connection.execute(
                    "insert into supabase_migrations.schema_migrations (version, statements, name) values ($1, $2, $3)",
                    one.version,
                    [one.sql],
                    one.name,
                )
                applied.append(one)
    except asyncpg.PostgresError as error:
        raise classify(error) from error
    return applied


@contextlib.asynccontextmanager
async def _alone(connection: Any) -> AsyncIterator[None]:
    """A transaction that nobody else migrates in. Its lock ends with it: a session's would stay in a pooler."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1::bigint)", ADVISORY_KEY)
        yield


def script(todo: Iterable[Migration]) -> str:
    """One file for psql or Supabase's SQL editor, all or nothing, that keeps the ledger too.

    What is applied already may be in it: each file changes nothing the second time.
    """
    parts = ["begin;", f"select pg_advisory_xact_lock({ADVISORY_KEY});", LEDGER.strip()]
    for one in todo:
        parts.append(f"\n-- {one.version}_{one.name}.sql\n{one.sql.strip()}")
        parts.append(
            "insert into supabase_migrations.schema_migrations (version, statements, name)"
            f" values ('{one.version}', '{{}}', '{one.name}') on conflict (version) do nothing;"
        )
    return "\n".join([*parts, "\ncommit;"])


async def keep_anon_read(connection: Any, allowed: bool) -> None:
    """Lay down ALLOW_ANON_READ where the role `anon` exists and has it otherwise. Raises: asyncpg's errors."""
    now = await connection.fetchval(
        "select has_table_privilege(oid, 'public.equity_data', 'select') from pg_catalog.pg_roles"
        " where rolname = 'anon'"
    )
    if now is not None and now != allowed:
        await connection.execute("select store.allow_anon_read($1)", allowed)


async def require_current(connection: Any) -> None:
    """Raises: ConfigError if the schema is absent, older or newer than this code needs."""
    version = await _version(connection)
    _refuse_newer(version)
    if version != newest():
        await _refuse_foreign(connection, version)
        state = f"is at {version}" if version else "is not there"
        raise ConfigError(
            f"the database's schema {state}, this alphakite needs {newest()}", next_step="run `alphakite migrate`"
        )


async def _version(connection: Any) -> str:
    """The newest of our migrations that the database has seen, "" for none."""
    if await connection.fetchval("select to_regprocedure('store.schema_version()')") is None:
        return ""
    return str(await connection.fetchval("select store.schema_version()"))


async def _refuse_foreign(connection: Any, version: str) -> None:
    """Tables of our names that we did not make are somebody's data."""
    if version:
        return
    rows = await connection.fetch(
        "select n.nspname || '.' || c.relname as name from pg_catalog.pg_class c"
        " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('public', 'store') and c.relname = any($1) and c.relkind in ('r', 'p', 'v', 'm', 'f')"
        " order by 1",
        list(NAMES),
    )
    if rows:
        raise ConfigError(
            f"this database has tables of the same names that alphakite did not make: "
            f"{', '.join(row['name'] for row in rows)}",
            next_step="name another database by DATABASE_URL, or rename those tables; nothing was changed",
        )


def _refuse_newer(version: str) -> None:
    if version > newest():
        raise ConfigError(
            f"the database's schema {version} is newer than this alphakite knows ({newest()})",
            next_step="install the newer alphakite that made it",
        )


def _files() -> list[Path]:
    """In a checkout its own folder, else what the installation brought along."""
    checkout = Path(alphakite.__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").exists() and (checkout / "supabase" / "migrations").is_dir():
        return list((checkout / "supabase" / "migrations").glob("*.sql"))
    try:
        listed = importlib.metadata.files("alphakite") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in listed if "share/alphakite/migrations" in file.as_posix()]
