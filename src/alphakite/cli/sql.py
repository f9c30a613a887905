"""`alphakite sql QUERY`: one query on whichever database the settings name."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import asyncpg

from alphakite.cli.output import document, write_csv, write_table
from alphakite.config import Settings, load
from alphakite.errors import UsageError
from alphakite.store.database import Database
from alphakite.store.errors import classify


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("sql", help="run one query on the database")
    parser.add_argument("query", metavar="QUERY", help="one SQL statement")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="CSV")
    form.add_argument("--json", action="store_true", help="JSON")


def run(args: argparse.Namespace) -> int:
    """0; 2 when the query is wrong."""
    columns, rows = asyncio.run(query(load(args), args.query))
    if args.json:
        print(document(columns, rows))
    elif args.csv:
        write_csv(sys.stdout, columns, rows)
    elif columns:
        write_table(columns, rows)
    return 0


async def query(settings: Settings, text: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of one statement."""
    database = Database(settings)
    try:
        connection = await database.connect()
        try:
            statement = await connection.prepare(text)
            columns = [attribute.name for attribute in statement.get_attributes()]
            return columns, [tuple(record) for record in await statement.fetch()]
        except asyncpg.PostgresError as error:
            if isinstance(error, asyncpg.SyntaxOrAccessError | asyncpg.DataError):
                raise UsageError(f"the query is refused: {error}", next_step="correct the query") from error
            raise classify(error) from error
        finally:
            await connection.close()
    finally:
        await database.close()
