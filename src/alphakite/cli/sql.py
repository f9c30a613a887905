"""`alphakite sql`: one query on whichever database the settings name."""

from __future__ import annotations

import argparse
import asyncio
import sys

import asyncpg

from alphakite.cli.output import write_all, writer_for
from alphakite.config import Settings, load
from alphakite.errors import ConfigError, RejectedError, UsageError
from alphakite.store.database import Database
from alphakite.store.faults import DATABASE_ERRORS, classify


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("sql", help="run one query on the database")
    parser.add_argument("query", metavar="QUERY", help="one statement; it may also change something")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--csv", dest="style", action="store_const", const="csv", help="comma-separated values")
    style.add_argument("--json", dest="style", action="store_const", const="json", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """0; a query that the database refuses is wrong use."""
    return asyncio.run(_run(load(args), args.query, args.style or "text"))


async def _run(settings: Settings, query: str, style: str) -> int:
    database = Database(settings)
    try:
        connection = await database.connect(check=False)
        try:
            statement = await connection.prepare(query)
            rows = await statement.fetch()
            attributes = statement.get_attributes()
            if attributes:
                columns = [attribute.name for attribute in attributes]
                types = [attribute.type.name for attribute in attributes]
                write_all(writer_for(style, sys.stdout), columns, types, (tuple(row) for row in rows))
            else:
                print(statement.get_statusmsg(), file=sys.stderr)
        finally:
            await connection.close()
    except BrokenPipeError:
        raise
    except DATABASE_ERRORS as error:
        known = classify(error)
        if isinstance(error, asyncpg.PostgresError) and isinstance(known, (ConfigError, RejectedError)):
            raise UsageError(str(error), next_step=error.hint or "correct the query") from error
        raise known from error
    finally:
        await database.close()
    return 0
