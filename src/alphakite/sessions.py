"""Trading sessions of the US equity exchanges, by rule; no I/O.

All `*_us` are microseconds since 1970-01-01 UTC; wall times are New York's, by zone data. NYSE holidays and half-days
from 2010 through 2028; outside that range a ConfigError says so. To extend the range: raise LAST_YEAR, check the new
years against the exchange's published calendar (or `exchange_calendars`, as the test does), and add one-off closures
to CLOSED and EARLY.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from alphakite.errors import ConfigError

EXCHANGE = ZoneInfo("America/New_York")
FIRST_YEAR, LAST_YEAR = 2010, 2028
CLOSED = frozenset({date(2012, 10, 29), date(2012, 10, 30), date(2018, 12, 5), date(2025, 1, 9)})
"""One-off closures: hurricane Sandy, two days of mourning."""
EARLY: frozenset[date] = frozenset()
"""One-off early closes."""
EXTENDED_OPEN, REGULAR_OPEN, REGULAR_CLOSE, HALF_DAY_CLOSE, EXTENDED_CLOSE, VOLUME_RESET, OPTION_RESET = (
    time(4),
    time(9, 30),
    time(16),
    time(13),
    time(20),
    time(7, 28),
    time(3, 30),
)
OPTIONS_LATE_US = 900_000_000
"""Options trade a quarter of an hour after the close: ETFs', since 2026-08 some stocks', and an index's later ones."""
FULL_DAY_US = 23_400_000_000
"""390 minutes: the regular hours of a day that is not a half-day."""


class Session(msgspec.Struct, frozen=True):
    """One trading day: extended 04:00–20:00, regular 09:30–16:00 (13:00 on half-days), volume reset 07:28 New York."""

    date: date
    extended_open_us: int
    regular_open_us: int
    regular_close_us: int
    extended_close_us: int
    volume_reset_us: int

    @property
    def half_day(self) -> bool:
        """Whether the regular hours end early."""
        return self.regular_close_us - self.regular_open_us < FULL_DAY_US


@lru_cache(maxsize=4096)
def session_on(day: date) -> Session | None:
    """The session of a date, None when the exchange is closed. Raises ConfigError outside the calendar."""
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ConfigError(
            f"the trading calendar covers {FIRST_YEAR} to {LAST_YEAR}, asked for {day}",
            next_step="update alphakite; alphakite/sessions.py says how its calendar is extended",
        )
    if day.weekday() >= 5 or day in holidays(day.year) or day in CLOSED:
        return None
    half = day in half_days(day.year) or day in EARLY
    close = HALF_DAY_CLOSE if half else REGULAR_CLOSE
    return Session(
        day,
        extended_open_us=_us(day, EXTENDED_OPEN),
        regular_open_us=_us(day, REGULAR_OPEN),
        regular_close_us=_us(day, close),
        extended_close_us=_us(day, EXTENDED_CLOSE),
        volume_reset_us=_us(day, VOLUME_RESET),
    )


def session_at(ts_us: int) -> Session | None:
    """The session whose extended hours contain this time."""
    session = session_on(exchange_date(ts_us))
    if session is not None and session.extended_open_us <= ts_us < session.extended_close_us:
        return session
    return None


def previous_session(day: date) -> Session:
    """The newest session before a date."""
    return _step(day, -1)


def next_session(day: date) -> Session:
    """The first session after a date."""
    return _step(day, 1)


@lru_cache(maxsize=4096)
def _step(day: date, days: int) -> Session:
    while True:
        day += timedelta(days)
        if (session := session_on(day)) is not None:
            return session


def volume_epoch(ts_us: int) -> int:
    """The latest volume reset (07:28 New York of a trading day) at or before this time."""
    day = exchange_date(ts_us)
    session = session_on(day)
    if session is not None and ts_us >= session.volume_reset_us:
        return session.volume_reset_us
    return previous_session(day).volume_reset_us


def option_epoch(ts_us: int) -> int:
    """The latest reset of options' volumes (03:30 New York of a trading day) at or before this time."""
    day = exchange_date(ts_us)
    if session_on(day) is not None and ts_us >= (reset_us := option_reset(day)):
        return reset_us
    return option_reset(previous_session(day).date)


@lru_cache(maxsize=64)
def option_reset(day: date) -> int:
    """03:30 New York of a date."""
    return _us(day, OPTION_RESET)


def exchange_date(ts_us: int) -> date:
    """The date in New York."""
    return _quarter_hour(ts_us // 900_000_000)


@lru_cache(maxsize=4096)
def _quarter_hour(quarter: int) -> date:
    return datetime.fromtimestamp(quarter * 900, UTC).astimezone(EXCHANGE).date()


def exchange_time(ts_us: int) -> str:
    """For people: `2026-11-24 10:15:00` in New York, `-` for 0."""
    return f"{datetime.fromtimestamp(ts_us / 1e6, UTC).astimezone(EXCHANGE):%Y-%m-%d %H:%M:%S}" if ts_us else "-"


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[date]:
    """NYSE's full holidays of a year, as observed."""
    found = [
        _observed(date(year, 1, 1), saturday_moves=False),
        _nth(year, 1, 0, 3),
        _nth(year, 2, 0, 3),
        _easter(year) - timedelta(2),
        _last_monday(year, 5),
        _observed(date(year, 7, 4)),
        _nth(year, 9, 0, 1),
        _nth(year, 11, 3, 4),
        _observed(date(year, 12, 25)),
    ]
    if year >= 2022:
        found.append(_observed(date(year, 6, 19)))
    return frozenset(found)


@lru_cache(maxsize=64)
def half_days(year: int) -> frozenset[date]:
    """Days that close at 13:00: before Independence Day, after Thanksgiving, Christmas Eve."""
    found = [_nth(year, 11, 3, 4) + timedelta(1), date(year, 12, 24), date(year, 7, 3)]
    return frozenset(day for day in found if day.weekday() < 5 and day not in holidays(year))


def _us(day: date, wall: time) -> int:
    return int(datetime.combine(day, wall, EXCHANGE).timestamp()) * 1_000_000


def _observed(day: date, *, saturday_moves: bool = True) -> date:
    if day.weekday() == 6:
        return day + timedelta(1)
    if day.weekday() == 5 and saturday_moves:
        return day - timedelta(1)
    return day


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta((weekday - first.weekday()) % 7 + 7 * (number - 1))


def _last_monday(year: int, month: int) -> date:
    last = date(year, month + 1, 1) - timedelta(1)
    return last - timedelta(last.weekday())


def _easter(year: int) -> date:
    """Gregorian Easter (anonymous algorithm of 1876)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)
