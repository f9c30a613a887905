"""The calendar agrees with two others on every day, and time is cut where definitions.md cuts it."""

from __future__ import annotations

import csv
import gzip
import warnings
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.errors import ConfigError
from alphakite.sessions import (
    EXCHANGE,
    exchange_date,
    exchange_time,
    next_session,
    previous_session,
    session_at,
    session_on,
    volume_epoch,
)

FIRST, LAST = date(2010, 1, 1), date(2028, 12, 31)
DAYS = [FIRST + timedelta(number) for number in range((LAST - FIRST).days + 1)]


def at(day: date, hour: int, minute: int = 0, second: int = 0) -> int:
    """Exchange wall time as microseconds."""
    return int(datetime.combine(day, time(hour, minute, second), EXCHANGE).timestamp()) * 1_000_000


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_every_day_equals_exchange_calendars() -> None:
    """Open days, opens, closes and half-days of XNYS, 2010 through 2028."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns about its own future at import
        import exchange_calendars

        calendar = exchange_calendars.get_calendar("XNYS", start=FIRST.isoformat(), end=LAST.isoformat())
        theirs = {day.date(): (calendar.session_open(day), calendar.session_close(day)) for day in calendar.sessions}
    differing = []
    for day in DAYS:
        ours = session_on(day)
        found = (ours.regular_open_us, ours.regular_close_us) if ours else None
        expected = tuple(int(one.timestamp()) * 1_000_000 for one in theirs[day]) if day in theirs else None
        if found != expected:
            differing.append((day, found, expected))
    assert differing == []


def test_every_day_equals_the_shared_calendar(shared_data: Path) -> None:
    """Every weekday of the shared file, its closed days and early closes included."""
    with gzip.open(shared_data / "calendar_XNYS_2024_2027.csv.gz", "rt") as lines:
        rows = list(csv.DictReader(lines))
    assert rows
    for row in rows:
        session = session_on(date.fromisoformat(row["session"]))
        if not row["open_utc"]:
            assert session is None, row
        else:
            assert session is not None, row
            assert (session.regular_open_us, session.regular_close_us) == (us(row["open_utc"]), us(row["close_utc"]))
            assert session.half_day == (row["early_close"] == "True"), row


@pytest.mark.parametrize(
    ("day", "open_day"),
    [
        (date(2010, 12, 31), True),  # New Year's Day on a Saturday: not observed on the Friday
        (date(2021, 12, 31), True),
        (date(2023, 1, 2), False),  # on a Sunday: observed on the Monday
        (date(2021, 6, 18), True),  # Juneteenth: from 2022
        (date(2022, 6, 20), False),
        (date(2024, 3, 29), False),  # Good Friday
        (date(2012, 10, 29), False),  # hurricane Sandy
        (date(2018, 12, 5), False),  # a day of mourning
        (date(2025, 1, 9), False),
    ],
)
def test_known_days(day: date, open_day: bool) -> None:
    """The rules that are easily got wrong."""
    assert (session_on(day) is not None) == open_day


def test_a_half_day_closes_at_one() -> None:
    """The day after Thanksgiving: regular hours end at 13:00, extended hours as always."""
    session = session_on(date(2026, 11, 27))
    assert session is not None and session.half_day
    assert session.regular_close_us == at(session.date, 13)
    assert session.extended_close_us == at(session.date, 20)


def test_wall_time_holds_across_the_change_of_clocks() -> None:
    """The Friday before and the Monday after are one hour apart in UTC, not in New York."""
    friday, monday = session_on(date(2026, 3, 6)), session_on(date(2026, 3, 9))
    assert friday is not None and monday is not None
    assert monday.extended_open_us - friday.extended_open_us == (3 * 24 - 1) * 3_600_000_000
    assert exchange_time(monday.extended_open_us) == "2026-03-09 04:00:00"


@pytest.mark.parametrize(
    ("day", "opens", "reset", "regular", "closes", "ends"),
    [  # each in UTC: 04:00, 07:28, 09:30, 16:00 or 13:00, 20:00 of New York
        ("2027-03-12", "12 09:00", "12 12:28", "12 14:30", "12 21:00", "13 01:00"),  # the Friday before summer time
        ("2027-03-15", "15 08:00", "15 11:28", "15 13:30", "15 20:00", "16 00:00"),
        ("2026-10-30", "30 08:00", "30 11:28", "30 13:30", "30 20:00", "31 00:00"),
        ("2026-11-02", "02 09:00", "02 12:28", "02 14:30", "02 21:00", "03 01:00"),  # the Monday after summer time
        ("2026-11-27", "27 09:00", "27 12:28", "27 14:30", "27 18:00", "28 01:00"),  # a half-day in winter
        ("2028-07-03", "03 08:00", "03 11:28", "03 13:30", "03 17:00", "04 00:00"),  # one in summer
        ("2028-02-29", "29 09:00", "29 12:28", "29 14:30", "29 21:00", "01 01:00"),
    ],
)
def test_the_bounds_of_a_session_in_utc(day: str, opens: str, reset: str, regular: str, closes: str, ends: str) -> None:
    """By zone data, never by an offset; half-days close at 13:00 and are recorded until 20:00 all the same."""
    session = session_on(date.fromisoformat(day))
    assert session is not None
    found = (
        session.extended_open_us,
        session.volume_reset_us,
        session.regular_open_us,
        session.regular_close_us,
        session.extended_close_us,
    )
    assert [f"{datetime.fromtimestamp(us / 1e6, UTC):%d %H:%M}" for us in found] == [
        opens,
        reset,
        regular,
        closes,
        ends,
    ]


@pytest.mark.parametrize(("sunday", "hours"), [(date(2027, 3, 14), 23), (date(2026, 11, 1), 25)])
def test_a_day_with_a_change_of_clocks_keeps_its_date(sunday: date, hours: int) -> None:
    """23 and 25 hours belong to it, and none of them to a session."""
    start = at(sunday, 0)
    inside = [start + hour * 3_600_000_000 for hour in range(hours)]
    assert {exchange_date(ts_us) for ts_us in inside} == {sunday}
    assert exchange_date(start + hours * 3_600_000_000) == sunday + timedelta(1)
    assert all(session_at(ts_us) is None for ts_us in inside)


def test_the_year_ends() -> None:
    """From the last session of 2025 to the first of 2026; the volume epoch stays the old year's until 07:28."""
    assert next_session(date(2025, 12, 31)).date == date(2026, 1, 2)
    assert previous_session(date(2026, 1, 2)).date == date(2025, 12, 31)
    assert volume_epoch(at(date(2026, 1, 2), 7, 27)) == at(date(2025, 12, 31), 7, 28)
    assert next_session(date(2026, 12, 31)).date == date(2027, 1, 4)


def test_session_at_is_open_at_its_end() -> None:
    """[04:00, 20:00): the first second belongs to it, the last moment does not."""
    day = date(2026, 11, 24)
    assert session_at(at(day, 4)) == session_on(day)
    assert session_at(at(day, 4) - 1) is None
    assert session_at(at(day, 20) - 1) == session_on(day)
    assert session_at(at(day, 20)) is None
    assert session_at(at(date(2026, 11, 26), 12)) is None  # Thanksgiving


def test_previous_and_next_are_strict_and_jump_closed_days() -> None:
    """From a Thanksgiving Thursday, from the Friday after it and over the weekend."""
    assert previous_session(date(2026, 11, 26)).date == date(2026, 11, 25)
    assert next_session(date(2026, 11, 26)).date == date(2026, 11, 27)
    assert previous_session(date(2026, 11, 27)).date == date(2026, 11, 25)
    assert next_session(date(2026, 11, 27)).date == date(2026, 11, 30)


def test_volume_epoch_changes_at_the_reset() -> None:
    """07:28 New York of a trading day; a weekend keeps Friday's."""
    day = date(2026, 11, 23)  # a Monday
    assert volume_epoch(at(day, 7, 28)) == at(day, 7, 28)
    assert volume_epoch(at(day, 7, 28) - 1) == at(date(2026, 11, 20), 7, 28)
    assert volume_epoch(at(day, 23)) == at(day, 7, 28)


@given(st.integers(us("2010-01-08T00:00:00Z"), us("2028-12-20T00:00:00Z")))
def test_the_answers_fit_together(ts_us: int) -> None:
    """Any moment: its date is New York's, its session contains it, its volume epoch is the newest not after it."""
    local = datetime.fromtimestamp(ts_us // 1_000_000, UTC).astimezone(EXCHANGE)
    assert exchange_date(ts_us) == local.date()
    session = session_at(ts_us)
    inside = session_on(local.date()) is not None and 4 <= local.hour < 20
    assert (session is not None) == inside
    if session is not None:
        assert session.extended_open_us <= ts_us < session.extended_close_us
    epoch = volume_epoch(ts_us)
    following = next_session(exchange_date(epoch))
    assert epoch <= ts_us < following.volume_reset_us


@pytest.mark.parametrize("day", [date(2009, 12, 31), date(2029, 1, 2)])
def test_outside_the_calendar_is_a_clear_error(day: date) -> None:
    """Never a guess: the message names the range, the next step where it is extended."""
    with pytest.raises(ConfigError, match="2010 to 2028") as caught:
        session_on(day)
    assert "sessions.py" in caught.value.next_step
