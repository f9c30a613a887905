"""`alphakite db prune`: remove what retention no longer keeps, or what is before a date. Part of `alphakite db`.

A day at a time, each in a transaction of its own that also writes it down in removed_days.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import date

from alphakite.cli.db_room import megabytes, utc_day
from alphakite.cli.output import TextWriter, write_all
from alphakite.config import Settings
from alphakite.errors import UsageError
from alphakite.recorder.governor import retention_days
from alphakite.store.partitions import DAY_US, EPOCH
from alphakite.store.room import opened, windows
from alphakite.store.size import TABLES, Pruned, Size


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument(
        "--table",
        action="append",
        choices=TABLES,
        metavar="T",
        help=f"this table only, again for more: {', '.join(TABLES)}",
    )
    parser.add_argument(
        "--before",
        metavar="DATE",
        help="the days (UTC) before DATE of the tables named by --table, whatever retention says",
    )


def run(settings: Settings, args: argparse.Namespace) -> int:
    """0, also when nothing was to be removed. What was removed is said even if a later day could not be."""
    before = _date(args.before)
    if before is not None and not args.table:
        raise UsageError("--before needs the tables", next_step="name each by --table")
    tables = tuple(dict.fromkeys(args.table or TABLES))
    found: list[tuple[str, Pruned]] = []
    try:
        asyncio.run(_prune(settings, tables, before, dry_run=args.dry_run, into=found))
    except BaseException:
        if found:
            _show(found, dry_run=args.dry_run, as_json=args.json)
        raise
    _show(found, dry_run=args.dry_run, as_json=args.json)
    return 0


async def _prune(
    settings: Settings, tables: tuple[str, ...], before: date | None, *, dry_run: bool, into: list[tuple[str, Pruned]]
) -> None:
    async with opened(settings) as room:
        size = await room.size()
        for table, edge_us in _edges(size, tables, retention_days(settings), before).items():
            reason = "retention" if before is None else "asked"
            for since_us, before_us in windows(size, table, edge_us):
                pruned = await room.prune(table, before_us, since_us, reason=reason, dry_run=dry_run)
                into += [(table, one) for one in pruned]


def _edges(size: Size, tables: tuple[str, ...], kept: dict[str, int], before: date | None) -> dict[str, int]:
    """Table → before when days go (µs since 1970); none where all are kept."""
    if before is not None:
        edge_us = (before - EPOCH).days * DAY_US
        if edge_us > size.now_us:
            raise UsageError(
                f"{before} is not over, it is still being recorded",
                next_step=f"--before {utc_day(size.now_us)} at most",
            )
        return dict.fromkeys(tables, edge_us)
    return {table: size.now_us - kept[table] * DAY_US for table in tables if kept[table]}


def _show(found: list[tuple[str, Pruned]], *, dry_run: bool, as_json: bool) -> None:
    rows, freed = sum(one.rows for _, one in found), sum(one.bytes for _, one in found)
    if as_json:
        removed = [
            {
                "table": table,
                "from": None if one.low_us is None else utc_day(one.low_us),
                "before": utc_day(one.high_us),
                "rows": one.rows,
                "bytes": one.bytes,
            }
            for table, one in found
        ]
        print(json.dumps({"schema": 1, "dry_run": dry_run, "removed": removed, "rows": rows, "bytes": freed}))
        return
    if found:
        shown = [(table, _days(one), one.rows, megabytes(one.bytes)) for table, one in found]
        write_all(TextWriter(sys.stdout), ("table", "days (UTC)", "rows", "MB"), (), shown)
        print()
    verb = "would be removed" if dry_run else "removed"
    print(
        f"{rows:,} rows {verb}, {megabytes(freed)} MB {'would be ' if dry_run else ''}free"
        if found
        else "nothing to remove"
    )
    if any(one.rows and not one.bytes for _, one in found):
        print("rows of which no MB are free lay beside the days: their space is used again, not given back")


def _days(one: Pruned) -> str:
    """`2026-11-20`, `2026-11-18 to 2026-11-20`, `up to 2026-11-20`."""
    last = utc_day(one.high_us - 1)
    if one.low_us is None:
        return f"up to {last}"
    return last if one.high_us - one.low_us == DAY_US else f"{utc_day(one.low_us)} to {last}"


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"not a date: {text!r}", next_step="such as 2026-11-20") from None
