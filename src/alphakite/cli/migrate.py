"""`alphakite migrate`: bring the database's schema up to date."""

from __future__ import annotations

import argparse
import asyncio

from alphakite.config import Settings, load
from alphakite.store import embedded
from alphakite.store.database import connect
from alphakite.store.migrate import Migration, migrate, migrations, pending


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("migrate", help="bring the database's schema up to date")
    parser.add_argument("--dry-run", action="store_true", help="say what would be applied, change nothing")
    parser.add_argument("--sql", action="store_true", help="print all migrations as one SQL file, change nothing")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")


def run(args: argparse.Namespace) -> int:
    """0 when the schema is up to date afterwards."""
    if args.sql:
        print("\n".join(f"-- {one.version}_{one.name}.sql\n{one.sql}" for one in migrations()))
        return 0
    done = asyncio.run(_apply(load(args), dry_run=args.dry_run))
    for one in done:
        print(f"{'would apply' if args.dry_run else 'applied'} {one.version}_{one.name}")
    if not done:
        print("the schema is up to date")
    return 0


async def _apply(settings: Settings, *, dry_run: bool) -> list[Migration]:
    lease = None if settings.database_url else embedded.Lease(settings.data_dir)
    try:
        dsn = settings.database_url if lease is None else (await asyncio.to_thread(lease.join)).dsn
        connection = await connect(dsn)
        try:
            return await pending(connection) if dry_run else await migrate(connection)
        finally:
            await connection.close()
    finally:
        if lease is not None:
            await asyncio.to_thread(lease.leave)
