"""Settlement instants, ends of trading and clocks, by product, over half-days, holidays, week-ends and zone changes."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from alphakite.derive.greeks import CLOCKS, act365_sec, cboe_calendar, expiry_of, schwab_weekday, trading_end_us

NEW_YORK = ZoneInfo("America/New_York")
TUESDAY = date(2024, 10, 15)
HALF_DAY = date(2024, 11, 29)
MONTHLY = date(2024, 10, 18)
HOUR = 1 / 8760


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("root", "day", "field", "settlement"),
    [
        ("SPXW", TUESDAY, "P", "2024-10-15T16:00"),
        ("SPXW", TUESDAY, "", "2024-10-15T16:00"),
        ("SPX", MONTHLY, "A", "2024-10-18T09:30"),
        ("SPX", MONTHLY, "", "2024-10-18T09:30"),
        ("SPXW", MONTHLY, "", "2024-10-18T16:00"),
        ("SPX", MONTHLY, "P", "2024-10-18T16:00"),
        ("XSP", TUESDAY, "", "2024-10-15T16:00"),
        ("NDX", MONTHLY, "", "2024-10-18T09:30"),
        ("NDXP", MONTHLY, "", "2024-10-18T16:00"),
        ("SPY", TUESDAY, "", "2024-10-15T16:00"),
        ("AAPL", MONTHLY, "", "2024-10-18T16:00"),
        ("SPXX", MONTHLY, "", "2024-10-18T16:00"),
        ("SPY", HALF_DAY, "P", "2024-11-29T13:00"),
        ("SPXW", HALF_DAY, "P", "2024-11-29T13:00"),
        ("SPY", date(2024, 3, 29), "", "2024-03-28T16:00"),
        ("AAPL", date(2015, 1, 17), "", "2015-01-16T16:00"),
        ("SPXW", date(2030, 12, 20), "", "2030-12-20T16:00"),
    ],
)
def test_settlement(root: str, day: date, field: str, settlement: str) -> None:
    """Schwab's field decides where it is known, else the whole root; half-days end early; holidays move it back."""
    assert expiry_of(root, day, field).settlement_us == us(settlement)


@pytest.mark.parametrize(
    ("root", "day", "on", "end"),
    [
        ("SPY", TUESDAY, TUESDAY, "2024-10-15T16:15"),
        ("QQQ", MONTHLY, TUESDAY, "2024-10-15T16:15"),
        ("SPY1", TUESDAY, TUESDAY, "2024-10-15T16:15"),
        ("AAPL", MONTHLY, MONTHLY, "2024-10-18T16:00"),
        ("SPXW", TUESDAY, TUESDAY, "2024-10-15T16:00"),
        ("SPXW", MONTHLY, TUESDAY, "2024-10-15T16:15"),
        ("SPX", MONTHLY, date(2024, 10, 17), "2024-10-17T16:15"),
        ("SPX", MONTHLY, MONTHLY, None),
        ("SPY", HALF_DAY, HALF_DAY, "2024-11-29T13:15"),
        ("SPXW", HALF_DAY, HALF_DAY, "2024-11-29T13:00"),
        ("SPY", TUESDAY, date(2024, 10, 16), None),
        ("SPY", MONTHLY, date(2024, 10, 13), None),
    ],
)
def test_end_of_trading(root: str, day: date, on: date, end: str | None) -> None:
    """ETF options trade on for a quarter of an hour, index options but on their last day; AM ones not then."""
    assert trading_end_us(root, expiry_of(root, day), on) == (us(end) if end else None)


def test_the_default_clock() -> None:
    """Seconds to the settlement over a year of 365 days, one second at least; nothing at and after the settlement."""
    expiry = expiry_of("SPXW", TUESDAY)
    assert act365_sec(us("2024-10-15T09:30"), expiry) == pytest.approx(6.5 * HOUR, rel=1e-15)
    assert act365_sec(us("2024-10-14T16:00"), expiry) == pytest.approx(24 * HOUR, rel=1e-15)
    assert act365_sec(expiry.settlement_us - 1, expiry) == pytest.approx(HOUR / 3600, rel=1e-15)
    assert act365_sec(expiry.settlement_us, expiry) is None
    assert act365_sec(expiry.settlement_us + 10**9, expiry) is None
    assert set(CLOCKS) == {"act365_sec", "schwab_weekday", "cboe_calendar"}


def test_the_hour_that_the_zone_skips_is_no_time() -> None:
    """From Friday's close to Monday's over the change to summer time are 71 hours."""
    assert act365_sec(us("2024-03-08T16:00"), expiry_of("SPXW", date(2024, 3, 11))) == pytest.approx(71 * HOUR)


def test_vendors_clocks() -> None:
    """Schwab: hours of weekdays to 16:15 × 1.4; CBOE: hours to 16:30. On half-days as much past the early close."""
    expiry = expiry_of("SPXW", TUESDAY)
    assert schwab_weekday(us("2024-10-15T11:15"), expiry) == pytest.approx(5 * 1.4 * HOUR)
    assert cboe_calendar(us("2024-10-15T11:30"), expiry) == pytest.approx(5 * HOUR)
    assert schwab_weekday(us("2024-10-15T16:10"), expiry) is not None
    assert schwab_weekday(us("2024-10-15T16:15"), expiry) is None
    assert cboe_calendar(us("2024-10-15T16:30"), expiry) is None
    half = expiry_of("SPXW", HALF_DAY)
    assert schwab_weekday(us("2024-11-29T12:15"), half) == pytest.approx(1.4 * HOUR)


@pytest.mark.parametrize(
    ("now", "weekday_hours"),
    [
        ("2024-10-14T16:15", 24),
        ("2024-10-11T16:15", 48),
        ("2024-10-12T12:00", 24 + 16.25),
        ("2024-10-13T23:00", 24 + 16.25),
        ("2024-10-04T16:15", 24 * 7),
        ("2024-10-05T08:00", 24 * 6 + 16.25),
        ("2024-10-01T16:15", 24 * 10),
    ],
)
def test_schwabs_clock_stands_still_on_weekends(now: str, weekday_hours: float) -> None:
    """Saturdays and Sundays are no time, from whatever day one looks."""
    assert schwab_weekday(us(now), expiry_of("SPXW", TUESDAY)) == pytest.approx(weekday_hours * 1.4 * HOUR)
