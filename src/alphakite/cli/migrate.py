"""`alphakite migrate`: bring the database's schema up to date."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable

from alphakite.config import Settings, load
from alphakite.errors import ConfigError
from alphakite.store import embedded, migrate
from alphakite.store.database import Database, connect
from alphakite.store.faults import DATABASE_ERRORS, classify


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("migrate", help="bring the database's schema up to date")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be applied")
    parser.add_argument("--sql", action="store_true", help="print the pending SQL instead of applying it")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")


def run(args: argparse.Namespace) -> int:
    """0, also when there was nothing to do."""
    settings = load(args)
    if settings.supabase_url and not settings.database_url:
        if not args.sql:
            raise ConfigError(
                "a service key cannot change a schema, and the settings name a Supabase project by SUPABASE_URL only",
                next_step="alphakite migrate --sql prints one file for the project's SQL editor, which may be run"
                " again; or set DATABASE_URL too: in the Supabase dashboard, Connect, Session pooler",
            )
        print(_script(settings, migrate.migrations()))  # what is pending Supabase's REST cannot tell
        return 0
    return asyncio.run(_run(settings, look_only=args.dry_run or args.sql, show_sql=args.sql))


async def _run(settings: Settings, *, look_only: bool, show_sql: bool) -> int:
    database = Database(settings)
    lease = None if settings.database_url else embedded.Lease(settings.data_dir)
    try:
        if lease is not None and look_only:
            connection = await connect((await asyncio.to_thread(lease.join)).local_dsn)  # without migrating it
        else:
            connection = await database.connect(check=False)
        try:
            todo = await (migrate.pending(connection) if look_only else migrate.apply(connection))
            if not look_only:
                await migrate.keep_anon_read(connection, settings.allow_anon_read)
        finally:
            await connection.close()
    except DATABASE_ERRORS as error:
        raise classify(error) from error
    finally:
        if lease is not None:
            await asyncio.to_thread(lease.leave)
        await database.close()
    if show_sql:
        if todo:
            print(_script(settings, todo))
        return 0
    for one in todo:
        print(f"{'would apply' if look_only else 'applied'} {one.version} {one.name}")
    print(f"schema {migrate.newest()}: {len(todo)} {'pending' if look_only else 'applied'}", file=sys.stderr)
    return 0


def _script(settings: Settings, todo: Iterable[migrate.Migration]) -> str:
    """One file, ALLOW_ANON_READ at its end."""
    anon = f"\nselect store.allow_anon_read({str(settings.allow_anon_read).lower()});"
    return migrate.script(todo) + anon
