"""`alphakite export TABLE`: a table, in key order, as CSV or JSON lines of one document; streamed, however large."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TextIO

import asyncpg

from alphakite.cli.output import day, json_value, text
from alphakite.config import Settings, load
from alphakite.errors import UsageError
from alphakite.store.database import Database
from alphakite.store.errors import classify

KEYS = {
    "equity_data": ("timestamp", "ticker, timestamp, journal_no, seq, item"),
    "indicators": ("timestamp", "ticker, timestamp, journal_no, seq, item"),
    "option_prices": ("timestamp", "option_symbol, timestamp"),
    "streaming_metrics": ("timestamp", "id"),
    "stream_gaps": ("start_at", "ticker, start_at"),
    "quality_events": ("timestamp", "journal_no, seq, item, ticker, kind"),
    "equity_data_stats": ("date", "ticker, date"),
}
"""Per table: its time column and its key."""
FETCH_ROWS = 5000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("export", help="write a table as CSV or JSON")
    parser.add_argument("table", metavar="TABLE", help=", ".join(KEYS))
    parser.add_argument("--ticker", metavar="T", help="this ticker only")
    parser.add_argument("--from", dest="start", metavar="T", help="from this time (RFC 3339, UTC if no offset) on")
    parser.add_argument("--to", dest="end", metavar="T", help="before this time")
    parser.add_argument("--out", default="-", metavar="FILE", help="a file, which appears whole; - is stdout")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="CSV (the default)")
    form.add_argument("--json", action="store_true", help="JSON")


def run(args: argparse.Namespace) -> int:
    """0 when all is written."""
    if args.table not in KEYS:
        raise UsageError(f"no table {args.table!r}", next_step=f"one of: {', '.join(KEYS)}")
    try:
        times = [day(value) if value else None for value in (args.start, args.end)]
    except ValueError as error:
        raise UsageError(f"not a time: {error}", next_step="use RFC 3339, as 2026-11-24T14:30:00Z") from error
    with _output(args.out) as out:
        asyncio.run(export(load(args), args.table, args.ticker, times[0], times[1], out, as_json=args.json))
    return 0


async def export(
    settings: Settings,
    table: str,
    ticker: str | None,
    start: datetime | None,
    end: datetime | None,
    out: TextIO,
    *,
    as_json: bool,
) -> None:
    """Write the rows in key order."""
    at, key = KEYS[table]
    database = Database(settings)
    try:
        connection = await database.connect()
        try:
            kind = "date" if at == "date" else "timestamptz"
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                where = f"where ($1::{kind} is null or {at} >= $1) and ($2::{kind} is null or {at} < $2)"
                values: list[object] = [start, end] if kind != "date" else [start and start.date(), end and end.date()]
                if ticker is not None:
                    where += " and ticker = $3"
                    values.append(ticker.upper())
                statement = await connection.prepare(f"select * from public.{table} {where} order by {key}")
                columns = [attribute.name for attribute in statement.get_attributes()]
                rows = statement.cursor(*values, prefetch=FETCH_ROWS)
                if as_json:
                    await _json(out, columns, rows)
                else:
                    writer = csv.writer(out, lineterminator="\n")
                    writer.writerow(columns)
                    async for row in rows:
                        writer.writerow([text(value) for value in row])
        except asyncpg.PostgresError as error:
            raise classify(error) from error
        finally:
            await connection.close()
    finally:
        await database.close()


async def _json(out: TextIO, columns: list[str], rows: asyncpg.cursor.CursorFactory) -> None:
    out.write(json.dumps({"schema": 1, "columns": columns})[:-1] + ', "rows": [')
    first = True
    async for row in rows:
        out.write(("" if first else ",") + "\n" + json.dumps({name: json_value(row[name]) for name in columns}))
        first = False
    out.write("\n]}\n")


@contextlib.contextmanager
def _output(name: str) -> Iterator[TextIO]:
    """Standard output, or a file that appears whole."""
    if name == "-":
        yield sys.stdout
        return
    path = Path(name)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        yield file
    temporary.replace(path)
