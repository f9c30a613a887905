"""`alphakite health`: is fresh data arriving, for each ticker; asked of the database, from anywhere.

`--live` asks only the data folder, for Docker and systemd: does the loop turn, is the journal written. It loads no
database driver and answers in a few tenths of a second.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import msgspec

from alphakite import health
from alphakite.cli import database_words
from alphakite.config import Settings, load
from alphakite.errors import UnavailableError
from alphakite.metrics import Status, lock_held, read_status

HEALTHY = ("healthy", "closed")
"""A closed market is a state, not a failure."""
AWAY = 4


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("health", help="whether fresh data is arriving, for people and monitors")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    parser.add_argument("--ticker", metavar="T", help="this ticker only")
    parser.add_argument(
        "--live",
        action="store_true",
        help="only whether the recorder of the data folder lives; asks no database (for Docker and systemd)",
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """0 healthy (--live: live), 1 not, 4 the database is away."""
    settings = load(args)
    status, verdict = look(settings)
    document: dict[str, Any] = {"schema": 1, **msgspec.to_builtins(verdict)}
    if args.live:
        if args.json:
            print(json.dumps(document))
        else:
            print(_line("recorder", verdict.state if verdict.live else "not live", verdict))
        return 0 if verdict.live else 1
    tickers = (args.ticker.upper(),) if args.ticker else settings.tickers
    away: UnavailableError | None = None
    rows: list[dict[str, Any]] = []
    try:
        rows = ask_database(settings, tickers)
    except UnavailableError as error:
        away = error
    healthy = away is None and all(row["status"] in HEALTHY for row in rows)
    parts = _parts(settings, status, verdict, away)
    if args.json:
        print(json.dumps({**document, "healthy": healthy, "tickers": rows, "parts": parts}))
    else:
        for row in rows:
            print(_ticker_line(row))
        for name, part in parts.items():
            print(f"{name:10} {part['state']:14} {part['detail']}".rstrip())
        if verdict.next_step and status is not None:
            print(f"next: {verdict.next_step}")
    if away is not None:
        raise away
    return 0 if healthy else 1


def look(settings: Settings) -> tuple[Status | None, health.Health]:
    """What the recorder of the data folder says, and what to think of it."""
    status = read_status(settings.data_dir)
    verdict = health.judge(
        status,
        lock_held=lock_held(settings.data_dir),
        now_wall_us=time.time_ns() // 1000,
        fsync_interval_s=settings.journal_fsync_interval,
        any_hour=settings.skip_market_hours,
    )
    return status, verdict


def ask_database(settings: Settings, tickers: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row of get_streaming_health for each ticker. Raises UnavailableError, ConfigError."""
    import asyncio

    from alphakite.store.database import Database

    async def ask() -> list[dict[str, Any]]:
        if settings.supabase_url and not settings.database_url:
            from alphakite.store import rest

            where = settings.supabase_url, settings.supabase_service_role_key
            return [_row((await rest.ask(*where, "get_streaming_health", {"ticker": one}))[0]) for one in tickers]
        database = Database(settings)
        try:
            connection = await database.connect(start=True)
            try:
                return [
                    _row(await connection.fetchrow("select * from public.get_streaming_health($1)", ticker))
                    for ticker in tickers
                ]
            finally:
                await connection.close()
        finally:
            await database.close()

    return asyncio.run(ask())


def _row(found: Any) -> dict[str, Any]:
    row = dict(found)
    last = row["last_data_at"]
    if last is not None:
        row["last_data_at"] = (last if isinstance(last, str) else last.isoformat()).replace("+00:00", "Z")
    for name in ("data_age_seconds", "error_rate_percent"):
        row[name] = float(row[name]) if row[name] is not None else None
    return row


def _parts(
    settings: Settings, status: Status | None, verdict: health.Health, away: UnavailableError | None
) -> dict[str, dict[str, str]]:
    """A line for each part: recorder, sign-in, journal, database."""
    kind = "DATABASE_URL" if settings.database_url else "Supabase REST" if settings.supabase_url else "embedded"
    parts = {"database": _database(status, away, kind)}
    if status is None:
        detail = f"no recorder has written to {settings.data_dir}"
        return {"recorder": {"state": "not_here", "detail": detail}} | parts
    sign_in = status.sign_in
    age = (time.time_ns() // 1000 - status.last_fsync_wall_us) / 1e6 if status.last_fsync_wall_us else None
    safe = "" if age is None or not verdict.live else f", last made safe {max(0.0, age):.1f} s ago"
    return {
        "recorder": {"state": verdict.state, "detail": "; ".join(verdict.reasons)},
        "sign-in": {"state": sign_in.state, "detail": sign_in.reason},
        "journal": {
            "state": "written" if verdict.live else "at_rest" if verdict.state in ("stopped", "dead") else "unknown",
            "detail": f"{status.appended} records{safe}",
        },
    } | parts


def _database(status: Status | None, away: UnavailableError | None, kind: str) -> dict[str, str]:
    """What it is, or why it takes no rows; how full, as the recorder of the data folder last measured it."""
    if status is not None and status.database_state:
        return {"state": status.database_state, "detail": status.database_error}
    if away is not None:
        return {"state": getattr(away, "state", "away"), "detail": str(away)}
    room = database_words.room_words(msgspec.to_builtins(status.room)) if status is not None else ""
    full = status is not None and status.room.state in ("warning", "crowded")
    detail = ", ".join(filter(None, (kind, room)))
    return {"state": status.room.state if status is not None and full else "ok", "detail": detail}


def _ticker_line(row: dict[str, Any]) -> str:
    age = "never" if row["data_age_seconds"] is None else f"{row['data_age_seconds']:.0f} s ago"
    return (
        f"{row['ticker']:8} {row['status']:10} last row {age},"
        f" {row['records_last_hour']} rows in the last hour,"
        f" session {row['session_state']}, {row['open_gaps']} open gaps"
    )


def _line(name: str, state: str, verdict: health.Health) -> str:
    words = [f"{name} {state}", *verdict.reasons]
    return "; ".join(words) + (f"\nnext: {verdict.next_step}" if verdict.next_step else "")
