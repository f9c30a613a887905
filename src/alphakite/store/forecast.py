"""When the database will be full: what a session takes, what retention drops, day by day over the trading calendar.

In:   a Size, the limit, the days that each table is kept.      Out:  a Forecast. Pure: no clock, no I/O.
A day is a day of UTC, as partitions are, and belongs to the session of that date. What a session takes is the middle
(the upper one of two) of a table's newest complete sessions, so that neither a day begun at noon nor a wild one decides
alone; half-days count by the length of their regular hours. Weekends take what the last one took: metrics, and
Friday's last hour in winter. What lies outside days (catalogues, default partitions, the days before
there were partitions) stays as it is.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from alphakite.sessions import FIRST_YEAR, FULL_DAY_US, LAST_YEAR, Session, session_on
from alphakite.store.partitions import DAY_US, EPOCH
from alphakite.store.size import TABLES, Part, Size

SESSIONS = 5
"""So many of the newest complete ones are looked at."""
LEAST_US = 900_000_000
"""Less than a quarter of an hour of a first session says nothing."""
NOT_KNOWN = "not known yet"
YEAR_DAYS, WEEK_DAYS = 365, 8
"""WEEK_DAYS before a day there is always a weekend."""
AHEAD_DAYS = 5 * YEAR_DAYS


@dataclass(frozen=True)
class Forecast:
    """What is ahead.

    `bytes_per_session`: of a full one; None while not known. `full_on`: the day (UTC) at whose end the limit is passed.
    `steady_bytes`: the most that it takes once it levels off below the limit. Neither: still growing at `until`, where
    the calendar or five years end. `known`: what this rests on, in words. `by_table`: bytes of a session.
    """

    bytes_per_session: int | None
    full_on: date | None
    steady_bytes: int | None
    known: str
    until: date | None = None
    by_table: dict[str, int] = field(default_factory=dict)


def forecast(
    size: Size,
    *,
    max_bytes: int,
    retention_days: Mapping[str, int],
    hours: str = "extended",
    since_us: int | None = None,
) -> Forecast:
    """Look ahead.

    Args:
        max_bytes: where writing stops; 0: nowhere.
        retention_days: table → days to keep; 0 or absent: for ever.
        hours: `extended` or `regular`: those that are recorded.
        since_us: when recording began, for a first session that is not over. None: before the session.
    """
    today = _date(size.now_us)
    if not FIRST_YEAR <= today.year <= LAST_YEAR:
        return Forecast(None, None, None, NOT_KNOWN)
    rates, known = _rates(size, today, hours, since_us)
    if not any(rates.values()):
        return Forecast(None, today if 0 < max_bytes < size.bytes else None, None, NOT_KNOWN)
    a_session, by_table = round(sum(rates.values())), {table: round(rate) for table, rate in rates.items()}
    if 0 < max_bytes < size.bytes:
        return Forecast(a_session, today, None, known, by_table=by_table)
    until = min(today + timedelta(AHEAD_DAYS), date(LAST_YEAR, 12, 31))
    totals = _ahead(size, today, until, rates, retention_days)
    for at, total in enumerate(totals):
        if 0 < max_bytes < total:
            return Forecast(a_session, today + timedelta(at), None, known, until, by_table)
    settled = max((retention_days.get(table, 0) for table, rate in rates.items() if rate), default=0) + 1
    grows = any(rate and not retention_days.get(table, 0) for table, rate in rates.items())
    if grows or settled >= len(totals):
        return Forecast(a_session, None, None, known, until, by_table)
    steady = round(max(totals[-min(YEAR_DAYS, len(totals) - settled) :]))
    return Forecast(a_session, None, steady, known, until, by_table)


def _rates(size: Size, today: date, hours: str, since_us: int | None) -> tuple[dict[str, float], str]:
    """What a full session takes, by table, and what that rests on."""
    complete = sorted(
        {day for part in size.parts if (day := _day(part)) is not None and day < today and _session(day) is not None}
    )[-SESSIONS:]
    seen: dict[str, list[float]] = {table: [] for table in TABLES}
    todays: dict[str, float] = {}
    spent_us, whole_us = _spent(today, size.now_us, hours, since_us)
    for part in size.parts:
        day = _day(part)
        if day in complete:
            seen.setdefault(part.table, []).append(part.bytes / _weight(_session(day)))
        elif day == today and spent_us > LEAST_US:
            todays[part.table] = part.bytes * whole_us / spent_us / _weight(_session(day))
    rates = {table: float(statistics.median_high(found)) for table, found in seen.items() if found}
    begun = {table: rate for table, rate in todays.items() if table not in rates}
    if complete:
        known = f"from {len(complete)} session{'' if len(complete) == 1 else 's'}"
    else:
        known = f"from {spent_us // 60_000_000} minutes of today's session"
    return rates | begun, known


def _spent(today: date, now_us: int, hours: str, since_us: int | None) -> tuple[int, int]:
    """How much of today's session was recorded, and its length, in µs."""
    session = _session(today)
    if session is None:
        return 0, 1
    low, high = session.extended_open_us, session.extended_close_us
    if hours == "regular":
        low, high = session.regular_open_us, session.regular_close_us
    return min(now_us, high) - max(low, since_us or 0), high - low


def _ahead(
    size: Size, today: date, until: date, rates: Mapping[str, float], retention_days: Mapping[str, int]
) -> list[float]:
    """The database's size at the end of each day from today on. In the morning retention has dropped what was over."""
    total = float(size.bytes)
    stored: dict[str, deque[tuple[date, float]]] = {}
    for table in sorted({part.table for part in size.parts}):
        stored[table] = deque((_date(part.low_us or 0), float(part.bytes)) for part in size.days(table))
    weekends = {table: _between_sessions(stored.get(table, deque()), today) for table in rates}
    totals = []
    day = today
    while day <= until:
        session = _session(day)
        for table, kept in stored.items():
            keep = retention_days.get(table, 0)
            while keep and kept and kept[0][0] < day - timedelta(keep):
                total -= kept.popleft()[1]
        for table, rate in rates.items():
            written = rate * _weight(session) if session is not None else weekends[table]
            kept = stored.setdefault(table, deque())
            there = sum(took for one, took in kept if one >= day) if day <= today + timedelta(1) else 0.0
            if written > there:
                total += written - there
                kept.append((day, written - there))
        totals.append(total)
        day += timedelta(1)
    return totals


def _between_sessions(kept: deque[tuple[date, float]], today: date) -> float:
    """What a table took on a day without a session, on average of the newest since it began; 0 if there was none."""
    if not kept:
        return 0.0
    took = dict(kept)
    free = [
        day for at in range(1, WEEK_DAYS + 1) if _session(day := today - timedelta(at)) is None and day >= kept[0][0]
    ]
    return sum(took.get(day, 0.0) for day in free) / len(free) if free else 0.0


def _weight(session: Session | None) -> float:
    """A session's share of a full one's regular hours."""
    return (session.regular_close_us - session.regular_open_us) / FULL_DAY_US if session is not None else 1.0


def _session(day: date) -> Session | None:
    return session_on(day) if FIRST_YEAR <= day.year <= LAST_YEAR else None


def _day(part: Part) -> date | None:
    """The day that a partition is of, None if it is of many."""
    return _date(part.low_us) if part.is_day and part.low_us is not None else None


def _date(us: int) -> date:
    return EPOCH + timedelta(us // DAY_US)
