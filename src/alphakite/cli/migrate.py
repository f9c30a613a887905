"""`alphakite migrate`: bring the database's schema up to date."""

from __future__ import annotations

import argparse
import asyncio
import sys

from alphakite.config import Settings, load
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
    if args.sql and settings.supabase_url and not settings.database_url:
        print(migrate.script(migrate.migrations()))  # Supabase's REST cannot tell what is pending
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
            print(migrate.script(todo))
        return 0
    for one in todo:
        print(f"{'would apply' if look_only else 'applied'} {one.version} {one.name}")
    print(f"schema {migrate.newest()}: {len(todo)} {'pending' if look_only else 'applied'}", file=sys.stderr)
    return 0
