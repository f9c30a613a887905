"""What `status` and `health` say of the database: how full it is, how far behind, what to do. Not a command."""

from __future__ import annotations

import time
from typing import Any

from alphakite.config import Settings


async def ask(settings: Settings) -> dict[str, Any]:
    """Gaps and size, asked of the database the settings name. Raises: our errors, and asyncpg's."""
    from alphakite.store.database import Database  # `health --live` needs none

    if settings.supabase_url and not settings.database_url:
        from alphakite.store import rest

        said = await rest.ask(settings.supabase_url, settings.supabase_service_role_key, "recorder_condition", {})
        return {"reachable": True, "embedded": False} | _shown(said)
    database = Database(settings)
    try:
        connection = await database.connect(start=False)
        try:
            row = await connection.fetchrow(
                "select (select count(*) from public.stream_gaps) gaps,"
                " (select count(*) from public.stream_gaps where end_at is null) open_gaps,"
                " pg_database_size(current_database()) bytes"
            )
            return {"reachable": True, "embedded": not settings.database_url} | _shown(row)
        finally:
            await connection.close()
    finally:
        await database.close()


def _shown(row: Any) -> dict[str, Any]:
    return {"gaps": row["gaps"], "open_gaps": row["open_gaps"], "megabytes": round(row["bytes"] / 1e6, 1)}


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """For `alphakite status`: reachable or not, how full, how far behind."""
    database = found["database"]
    first = (
        f"{database['megabytes']} MB, {database['gaps']} gaps ({database['open_gaps']} open)"
        if database.get("reachable")
        else f"not reachable: {database.get('error', '')}"
    )
    return [("database", first), ("", room_words(found["room"])), ("", catch_up_words(found["catch_up"]))]


def room_words(room: dict[str, Any]) -> str:
    """`412 of 500 MB (82 %), full on 2026-12-11 at 21.4 MB a session`."""
    if not room["measured_us"]:
        return ""
    limit, words = room["limit_bytes"], [f"{room['bytes'] / 1e6:,.0f} MB of no limit"]
    if limit:
        words = [f"{room['bytes'] / 1e6:,.0f} of {limit / 1e6:,.0f} MB ({100 * room['bytes'] / limit:.0f} %)"]
    if room["forecast"]:
        words.append(room["forecast"])
    if room["last_removed"]:
        words.append(f"{room['removed_days']} days removed, the newest: {room['last_removed']}")
    return ", ".join(words)


def catch_up_words(catch_up: dict[str, Any] | None) -> str:
    """`behind by 3 h 12 min (1,204,300 records), catching up at 38x real time, 5 min left`."""
    if catch_up is None:
        return ""
    words = [f"behind by {span(catch_up['behind_s'])} ({catch_up['records']:,} records)"]
    if catch_up["times_real"]:
        words.append(f"catching up at {catch_up['times_real']:,.0f}x real time")
    if catch_up["left_s"] is not None:
        words.append(f"{span(catch_up['left_s'])} left")
    return ", ".join(words)


def problems(found: dict[str, Any]) -> list[str]:
    """What a person should know or do about it."""
    room, state = found["room"], found["database_state"]
    if found["state"] in ("database_away", "database_full"):
        since_us = found["database_since_us"]
        lasting = f" for {span(time.time() - since_us / 1e6)}" if since_us else ""
        word = f" ({state})" if state not in ("", "away", "full") else ""
        return [f"the database takes no rows{lasting}{word}, the journal keeps everything: {found['database_error']}"]
    said: list[str] = []
    if room["state"] in ("warning", "crowded") and found["alive"]:
        said = [f"the database fills: {room_words(room)}; at 95 % rows wait in the journal: alphakite db forecast"]
    if room["kept_because"] and found["alive"]:
        said.append(f"days of the database that should go are kept: {room['kept_because']}")
    return said


def span(seconds: float) -> str:
    """`6 d 4 h`, `3 h 12 min`, `25 min`, `40 s`."""
    whole = int(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"
