"""`alphakite export`: a table in key order, as CSV or JSON, row by row whatever its size."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from alphakite.cli.output import opened, writer_for
from alphakite.config import Settings, load
from alphakite.errors import UsageError
from alphakite.store.database import Database
from alphakite.store.faults import DATABASE_ERRORS, classify

PREFETCH_ROWS = 5000


@dataclass(frozen=True)
class Exported:
    """A table that can be exported: its key, its time column ("": none), whether it has tickers."""

    key: tuple[str, ...]
    time: str = "timestamp"
    by_ticker: bool = True


TABLES = {
    "equity_data": Exported(("ticker", "timestamp", "journal_no", "seq", "item")),
    "indicators": Exported(("ticker", "timestamp", "journal_no", "seq", "item")),
    "indicator_values": Exported(("ticker", "timestamp", "journal_no", "seq", "item", "definition_id")),
    "all_indicators": Exported(("ticker", "timestamp", "journal_no", "seq", "item")),
    "option_prices": Exported(("option_symbol", "timestamp", "journal_no", "seq", "item")),
    "option_images": Exported(("option_symbol", "timestamp", "journal_no", "seq", "item")),
    "option_contracts": Exported(("option_symbol", "valid_from"), time="valid_from"),
    "option_following": Exported(("journal_no", "seq", "item")),
    "model_definitions": Exported(("id",), time="", by_ticker=False),
    "streaming_metrics": Exported(("timestamp", "id"), by_ticker=False),
    "equity_data_stats": Exported(("ticker", "date"), time="date"),
    "stream_gaps": Exported(("ticker", "start_at"), time="start_at"),
    "removed_days": Exported(("id",), time="removed_at", by_ticker=False),
    "quality_events": Exported(("journal_no", "seq", "item", "ticker", "kind")),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("export", help="write a table as CSV or JSON")
    parser.add_argument("table", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--ticker", metavar="T", help="this ticker only; of options their underlying")
    parser.add_argument("--from", dest="start", metavar="T", help="from this time on (RFC 3339, or a date: UTC)")
    parser.add_argument("--to", dest="end", metavar="T", help="before this time")
    parser.add_argument("--out", metavar="FILE", default="-", help="write to FILE (default -: stdout)")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--csv", dest="style", action="store_const", const="csv", help="the default")
    style.add_argument("--json", dest="style", action="store_const", const="json", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """0; an unknown table or an unreadable time is wrong use."""
    if args.table not in TABLES:
        raise UsageError(f"there is no table {args.table!r}", next_step=f"one of {', '.join(TABLES)}")
    sql, values = select(args.table, args.ticker, parse_time(args.start), parse_time(args.end))
    return asyncio.run(write_table(load(args), sql, values, args.style or "csv", args.out))


def select(table: str, ticker: str | None, start: datetime | None, end: datetime | None) -> tuple[str, list[Any]]:
    """The statement and its values. Args: table: a key of TABLES. start: inclusive. end: exclusive."""
    exported = TABLES[table]
    conditions: list[str] = []
    values: list[Any] = []
    if ticker is not None:
        if not exported.by_ticker:
            raise UsageError(f"{table} has no tickers", next_step="leave out --ticker")
        values.append(ticker.upper())
        conditions.append("ticker = $1")
    for bound, sign in ((start, ">="), (end, "<")):
        if bound is not None:
            if not exported.time:
                raise UsageError(f"{table} has no times", next_step="leave out --from and --to")
            values.append(bound.date() if exported.time == "date" else bound)
            conditions.append(f'"{exported.time}" {sign} ${len(values)}')
    where = f" where {' and '.join(conditions)}" if conditions else ""
    order = ", ".join(f'"{column}"' for column in exported.key)
    return f"select * from public.{table}{where} order by {order}", values


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339; without a zone, and a date alone: UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"not a time: {text!r}", next_step=f"such as {date.today().isoformat()}T14:30:00Z or 2026-11-20"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


async def write_table(settings: Settings, sql: str, values: list[Any], style: str, out: str) -> int:
    """The rows of one statement, as one moment saw them."""
    database = Database(settings)
    try:
        connection = await database.connect()
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                statement = await connection.prepare(sql)
                attributes = statement.get_attributes()
                with opened(out) as file:
                    writer = writer_for(style, file)
                    writer.begin([one.name for one in attributes], [one.type.name for one in attributes])
                    async for row in statement.cursor(*values, prefetch=PREFETCH_ROWS):
                        writer.row(tuple(row))
                    writer.end()
        finally:
            await connection.close()
    except DATABASE_ERRORS as error:
        if isinstance(error, OSError) and (error.filename is not None or isinstance(error, BrokenPipeError)):
            raise  # of the output, not of the database
        raise classify(error) from error
    finally:
        await database.close()
    return 0
