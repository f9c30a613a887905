"""The day the database is full: by hand for what has a name, and against a slow simulation for everything else."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphakite.sessions import session_on
from alphakite.store.forecast import NOT_KNOWN, Forecast, forecast
from alphakite.store.partitions import DAY_US, EPOCH
from alphakite.store.size import TABLES, Part, Size

MB = 1_000_000
NOON_US = 12 * 3_600_000_000
WEEK = [date(2026, 11, day) for day in (16, 17, 18, 19, 20)]
KEEP_90 = dict.fromkeys(TABLES, 90)


def us(day: date) -> int:
    return (day - EPOCH).days * DAY_US


def part(table: str, day: date, size: int) -> Part:
    return Part(table, f"{table}_{day:%Y%m%d}", us(day), us(day) + DAY_US, False, size)


def default(table: str, size: int = 0) -> Part:
    return Part(table, f"{table}_default", None, None, True, size)


def sized(now_us: int, *parts: Part, other: int = 50 * MB) -> Size:
    return Size(other + sum(one.bytes for one in parts), now_us, parts)


def week(size: int, table: str = "equity_data") -> list[Part]:
    return [part(table, day, size) for day in WEEK]


SATURDAY_US = us(date(2026, 11, 21)) + NOON_US


def test_full_on_a_day() -> None:
    """10 MB a session, 75 MB of room: Monday to Wednesday, Thanksgiving, then Friday of 210 of 390 minutes."""
    size = sized(SATURDAY_US, *week(10 * MB))
    assert size.bytes == 100 * MB
    for room, day in ((29, (11, 25)), (35, (11, 27)), (36, (11, 30)), (45, (11, 30)), (46, (12, 1))):
        found = forecast(size, max_bytes=size.bytes + room * MB, retention_days={})
        assert (found.bytes_per_session, found.full_on) == (10 * MB, date(2026, *day)), room
        assert found.known == "from 5 sessions"
        assert found.steady_bytes is None


def test_levels_off() -> None:
    """With retention it never is full where 90 days fit: at most so many sessions."""
    size = sized(SATURDAY_US, *week(10 * MB))
    found = forecast(size, max_bytes=10**12, retention_days=KEEP_90)
    assert found.full_on is None
    assert found.steady_bytes is not None
    assert 50 * MB + 60 * 10 * MB < found.steady_bytes < 50 * MB + 66 * 10 * MB
    assert forecast(size, max_bytes=found.steady_bytes, retention_days=KEEP_90) == found
    short = forecast(size, max_bytes=found.steady_bytes - 1, retention_days=KEEP_90)
    assert short.full_on is not None and short.steady_bytes is None
    unlimited = forecast(size, max_bytes=0, retention_days=KEEP_90)
    assert unlimited == found


def test_one_table_for_ever_never_levels_off() -> None:
    """Then it says up to when it looked: as far as the calendar goes."""
    size = sized(SATURDAY_US, *week(10 * MB), *week(MB, "indicators"))
    found = forecast(size, max_bytes=10**15, retention_days=KEEP_90 | {"indicators": 0})
    assert (found.full_on, found.steady_bytes, found.until) == (None, None, date(2028, 12, 31))


def test_a_table_that_is_no_longer_written_does_not_grow() -> None:
    """Of the newest sessions of any table: options that ended a month ago take no more, and keep what they take."""
    old = [part("option_prices", date(2026, 10, day), 40 * MB) for day in (12, 13, 14)]
    found = forecast(sized(SATURDAY_US, *old, *week(10 * MB)), max_bytes=0, retention_days=KEEP_90)
    assert found.bytes_per_session == 10 * MB


def test_half_days_count_by_their_length() -> None:
    """One half-day alone: a whole one takes so much more."""
    half = date(2026, 11, 27)
    found = forecast(sized(us(half) + 2 * DAY_US, part("equity_data", half, 21 * MB)), max_bytes=0, retention_days={})
    assert (found.bytes_per_session, found.known) == (39 * MB, "from 1 session")


def test_weekends_take_what_they_took() -> None:
    """Metrics are written when nothing else is."""
    days = [part("streaming_metrics", date(2026, 11, day), MB) for day in range(13, 21)]
    size = sized(SATURDAY_US, *days)
    found = forecast(size, max_bytes=size.bytes + 9 * MB, retention_days={})
    assert found.full_on == date(2026, 11, 30)  # Saturday is the first day that adds, but for the half-day


@pytest.mark.parametrize("minutes, known", [(10, False), (15, False), (16, True), (480, True), (1000, True)])
def test_the_first_session(minutes: int, known: bool) -> None:
    """After a quarter of an hour it is extrapolated to the session's length; after the close it is what it is."""
    day = WEEK[0]
    session = session_on(day)
    assert session is not None
    now_us = session.extended_open_us + minutes * 60_000_000
    now_us = min(now_us, us(day) + DAY_US - 1)
    size = sized(now_us, part("equity_data", day, MB * minutes), default("indicators"))
    found = forecast(size, max_bytes=10**9, retention_days={})
    if not known:
        assert found == Forecast(None, None, None, NOT_KNOWN)
        return
    recorded = min((now_us - session.extended_open_us) // 60_000_000, 960)
    assert found.bytes_per_session == pytest.approx(MB * minutes * 960 / recorded, rel=0.01)
    assert found.known == f"from {recorded} minutes of today's session"


def test_the_first_session_since_recording_began() -> None:
    """Begun at 12:00, an hour of the regular hours' six and a half."""
    session = session_on(WEEK[0])
    assert session is not None
    noon_us = session.regular_open_us + 150 * 60_000_000
    size = sized(noon_us + 3_600_000_000, part("equity_data", WEEK[0], 10 * MB))
    found = forecast(size, max_bytes=0, retention_days={}, hours="regular", since_us=noon_us)
    assert found.bytes_per_session == 65 * MB


def test_a_table_that_began_today_counts_too() -> None:
    """Options were switched on this morning."""
    day = date(2026, 11, 23)
    session = session_on(day)
    assert session is not None
    size = sized(session.extended_open_us + 8 * 3_600_000_000, *week(10 * MB), part("option_prices", day, 50 * MB))
    assert forecast(size, max_bytes=0, retention_days={}).bytes_per_session == 110 * MB


def test_above_the_limit_is_full_today() -> None:
    """Also where nothing is known yet."""
    today = date(2026, 11, 21)
    assert forecast(sized(SATURDAY_US, *week(MB)), max_bytes=40 * MB, retention_days={}).full_on == today
    assert forecast(sized(SATURDAY_US), max_bytes=40 * MB, retention_days={}).full_on == today
    assert forecast(sized(SATURDAY_US), max_bytes=60 * MB, retention_days={}) == Forecast(None, None, None, NOT_KNOWN)


@pytest.mark.parametrize("year", [1970, 2009, 2029, 2100])
def test_outside_the_calendar_nothing_is_known(year: int) -> None:
    """A clock that is wrong is no reason to fail."""
    now_us = int(datetime(year, 6, 1, tzinfo=UTC).timestamp()) * MB
    size = sized(now_us, part("equity_data", date(year, 5, 31), MB))
    assert forecast(size, max_bytes=10**9, retention_days={}).known == NOT_KNOWN


def slowly(size: Size, limit: int, retention: dict[str, int], rates: dict[str, int]) -> date | None:
    """Day by day, every stored day looked at anew. Of tables without weekends, on days that are over."""
    held = {(one.table, one.low_us or 0): float(one.bytes) for one in size.parts if one.is_day}
    other = size.bytes - sum(held.values())
    today = EPOCH + timedelta(size.now_us // DAY_US)
    for at in itertools.count():
        day = today + timedelta(at)
        if day > min(date(2028, 12, 31), today + timedelta(5 * 365)):
            return None
        session = session_on(day)
        for table, rate in rates.items():
            if session is not None:
                held[table, us(day)] = rate * (210 / 390 if session.half_day else 1)
        for table, low_us in list(held):
            if (keep := retention.get(table, 0)) and low_us + DAY_US <= us(day) - keep * DAY_US:
                del held[table, low_us]
        if other + sum(held.values()) > limit:
            return day
    raise AssertionError


@settings(max_examples=30, deadline=None)
@given(
    st.dates(date(2026, 1, 5), date(2028, 6, 1)),
    st.dictionaries(st.sampled_from(TABLES), st.integers(1, 50), min_size=1),
    st.dictionaries(st.sampled_from(TABLES), st.sampled_from([0, 1, 7, 30, 90])),
    st.integers(1, 3000),
    st.integers(0, 5),
)
def test_as_a_slow_simulation_says(
    today: date, rates: dict[str, int], retention: dict[str, int], room: int, before: int
) -> None:
    """The same day, whatever is written and kept; a higher limit is never reached earlier; never past the peak."""
    while (session := session_on(today)) is not None:
        today += timedelta(1)
    days = [
        day for at in range(1, 12) if (session := session_on(day := today - timedelta(at))) and not session.half_day
    ]
    parts = [part(table, day, rate * MB) for table, rate in rates.items() for day in days[: 5 + before]]
    size = sized(us(today) + NOON_US, *parts, default("equity_data", 3))
    limit = size.bytes + room * MB
    found = forecast(size, max_bytes=limit, retention_days=retention)
    full_rates = {table: rate * MB for table, rate in rates.items()}
    assert found.full_on == slowly(size, limit, retention, full_rates)
    assert found.bytes_per_session == sum(full_rates.values())
    higher = forecast(size, max_bytes=limit + 20 * MB, retention_days=retention)
    if found.full_on is None:
        assert higher.full_on is None
        if found.steady_bytes is not None:
            assert found.steady_bytes <= limit
    elif higher.full_on is not None:
        assert higher.full_on >= found.full_on
