"""`alphakite db size` and `alphakite db forecast`: what the database takes, and will take. Part of `alphakite db`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from alphakite.cli.output import TextWriter, write_all
from alphakite.config import Settings
from alphakite.recorder.governor import STOP_SHARE, retention_days
from alphakite.store.forecast import Forecast, forecast
from alphakite.store.partitions import DAY_US, EPOCH
from alphakite.store.room import opened
from alphakite.store.size import TABLES, Size

MB = 1_000_000


def size(settings: Settings, *, as_json: bool) -> int:
    """0."""
    found = asyncio.run(_measured(settings))
    limit, tables = settings.database_max_mb * MB, [_table(found, table) for table in found.by_table()]
    other = found.bytes - sum(table["bytes"] for table in tables)
    if as_json:
        said = {
            "schema": 1,
            "bytes": found.bytes,
            "limit_bytes": limit or None,
            "share": round(found.bytes / limit, 4) if limit else None,
            "tables": tables,
            "other_bytes": other,
        }
        print(json.dumps(said))
        return 0
    rows = [
        (
            one["table"],
            one["days"],
            megabytes(one["bytes"]),
            one["oldest"],
            one["newest"],
            megabytes(one["beside_bytes"]),
        )
        for one in tables
    ]
    _print_table(("table", "days", "MB", "oldest", "newest", "other MB"), rows, numbers=(1, 2, 5))
    share = f", {100 * found.bytes / limit:.1f} % of {settings.database_max_mb} MB" if limit else ", no limit is set"
    print(f"\nthe database takes {megabytes(found.bytes)} MB{share}")
    print(f"{megabytes(other)} MB of it are in no day: catalogues and other tables")
    return 0


def _table(found: Size, table: str) -> dict[str, Any]:
    """`beside_bytes`: in the default partition and in the days before there were partitions."""
    days, whole = found.days(table), found.by_table()[table]
    return {
        "table": table,
        "bytes": whole,
        "days": len(days),
        "oldest": utc_day(days[0].low_us) if days else None,
        "newest": utc_day(days[-1].low_us) if days else None,
        "beside_bytes": whole - sum(day.bytes for day in days),
    }


def ahead(settings: Settings, *, as_json: bool) -> int:
    """0, whatever is ahead."""
    found = asyncio.run(_measured(settings))
    kept, limit = retention_days(settings), int(settings.database_max_mb * MB * STOP_SHARE)
    seen = forecast(found, max_bytes=limit, retention_days=kept, hours=settings.stream_hours)
    tables: list[dict[str, Any]] = [
        {
            "table": table,
            "bytes_per_session": seen.by_table.get(table) if seen.bytes_per_session is not None else None,
            "kept_days": kept[table] or None,
            "oldest": utc_day(days[0].low_us) if (days := found.days(table)) else None,
            "oldest_goes_on": utc_day((days[0].high_us or 0) + kept[table] * DAY_US) if days and kept[table] else None,
        }
        for table in TABLES
    ]
    if as_json:
        said = {
            "schema": 1,
            "bytes": found.bytes,
            "limit_bytes": settings.database_max_mb * MB or None,
            "stops_at_bytes": limit or None,
            "bytes_per_session": seen.bytes_per_session,
            "full_on": seen.full_on.isoformat() if seen.full_on else None,
            "steady_bytes": seen.steady_bytes,
            "until": seen.until.isoformat() if seen.until else None,
            "known": seen.known,
            "tables": tables,
        }
        print(json.dumps(said))
        return 0
    rows = [
        (
            one["table"],
            "" if one["bytes_per_session"] is None else megabytes(one["bytes_per_session"]),
            f"{one['kept_days']} days" if one["kept_days"] else "for ever",
            one["oldest"],
            one["oldest_goes_on"],
        )
        for one in tables
    ]
    _print_table(("table", "MB a session", "kept", "oldest day", "goes on"), rows, numbers=(1,))
    print()
    for line in words(seen, found, limit, settings.database_max_mb):
        print(line)
    return 0


def words(seen: Forecast, found: Size, limit: int, max_mb: int) -> list[str]:
    """What is ahead, in sentences. Args: limit: where writing stops, bytes; 0: nowhere."""
    if seen.bytes_per_session is None:
        lines = [f"what a session adds is {seen.known}: that takes a quarter of an hour of one"]
    else:
        lines = [f"a session adds {megabytes(seen.bytes_per_session)} MB ({seen.known})"]
    now = f"it takes {megabytes(found.bytes)} MB now"
    if limit:
        now += f", writing stops at {megabytes(limit)} MB ({100 * STOP_SHARE:.0f} % of {max_mb} MB)"
    lines.append(now)
    if seen.full_on is not None:
        is_now = seen.full_on <= _date(found.now_us)
        lines.append("it is full" if is_now else f"full on {seen.full_on.isoformat()}")
    elif seen.steady_bytes is not None:
        never = ": never full" if limit else ""
        lines.append(f"with what retention removes it levels off at {megabytes(seen.steady_bytes)} MB{never}")
    elif seen.until is not None:
        lines.append(
            f"it grows for ever, and is not full before {seen.until.isoformat()}" if limit else "it grows for ever"
        )
    return lines


def utc_day(us: int | None) -> str:
    """`2026-11-20`."""
    return _date(us or 0).isoformat()


def megabytes(size: int) -> str:
    """10^6 bytes."""
    return f"{size / MB:,.1f}"


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[int]) -> None:
    """Aligned, numbers to the right although they are text."""
    widths = {at: max(len(columns[at]), *(len(str(row[at])) for row in rows)) if rows else 0 for at in numbers}
    shown = [[str(one).rjust(widths[at]) if at in widths else one for at, one in enumerate(row)] for row in rows]
    write_all(TextWriter(sys.stdout), columns, (), shown)


def _date(us: int) -> date:
    return EPOCH + timedelta(us // DAY_US)


async def _measured(settings: Settings) -> Size:
    async with opened(settings) as room:
        return await room.size()
