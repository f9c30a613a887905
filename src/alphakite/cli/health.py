"""`alphakite health`: is fresh data arriving, for each ticker; asked of the database, from anywhere."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from alphakite.config import Settings, load
from alphakite.store.database import Database


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("health", help="whether fresh data is arriving, for people and monitors")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    parser.add_argument("--ticker", metavar="T", help="this ticker only")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """0 healthy, 1 not."""
    settings = load(args)
    tickers = (args.ticker.upper(),) if args.ticker else settings.tickers
    rows = asyncio.run(_ask(settings, tickers))
    healthy = all(row["status"] in HEALTHY for row in rows)
    if args.json:
        print(json.dumps({"schema": 1, "healthy": healthy, "tickers": rows}))
    else:
        for row in rows:
            age = "never" if row["data_age_seconds"] is None else f"{row['data_age_seconds']:.0f} s ago"
            print(
                f"{row['ticker']:8} {row['status']:10} last row {age},"
                f" {row['records_last_hour']} rows in the last hour,"
                f" session {row['session_state']}, {row['open_gaps']} open gaps"
            )
    return 0 if healthy else 1


HEALTHY = ("healthy", "closed")
"""A closed market is a state, not a failure."""


async def _ask(settings: Settings, tickers: tuple[str, ...]) -> list[dict[str, Any]]:
    database = Database(settings)
    try:
        connection = await database.connect(start=True)
        try:
            rows = []
            for ticker in tickers:
                row = dict(await connection.fetchrow("select * from public.get_streaming_health($1)", ticker))
                last = row["last_data_at"]
                row["last_data_at"] = last.isoformat().replace("+00:00", "Z") if last is not None else None
                for name in ("data_age_seconds", "error_rate_percent"):
                    row[name] = float(row[name]) if row[name] is not None else None
                rows.append(row)
            return rows
        finally:
            await connection.close()
    finally:
        await database.close()
