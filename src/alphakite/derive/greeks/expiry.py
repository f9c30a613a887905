"""When an option is settled, when its trading ends, and how many years that is: by product, and by a named clock.

In:   a root, an expiry's date, Schwab's settlement type (field 43: A opening, P close) where it is known; a moment in
      microseconds since 1970 UTC.      Out:  an Expiry; years, or None at and after the settlement (`expired`).
*Settlement* is what time value counts down to; the *end of trading* is another instant, and no clock of ours uses it.
The product is looked up by the whole root, never guessed from a prefix: SPX settles at the opening, SPXW at the close.
Half-days and holidays come from sessions.py; past its last year an expiry counts as a full day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from alphakite.sessions import (
    EXCHANGE,
    LAST_YEAR,
    OPTIONS_LATE_US,
    REGULAR_CLOSE,
    REGULAR_OPEN,
    exchange_date,
    previous_session,
    session_on,
)

OPENING, CLOSE = "A", "P"
"""Schwab's letters of the settlement type."""
OPENING_INDICES = frozenset({"SPX", "NDX", "RUT", "DJX", "VIX", "VIXW"})
CLOSING_INDICES = frozenset({"SPXW", "XSP", "NDXP", "XND", "RUTW", "MRUT", "OEX", "XEO"})
LATE_ETFS = frozenset({"SPY", "QQQ", "IWM", "DIA"})
"""Their options trade a quarter of an hour past the close, on their last day too."""
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
YEAR_US = 365 * DAY_US
LEAST_US = 1_000_000
"""One second: less is no time that a price could be computed over."""
SATURDAY = 5


class Expiry(NamedTuple):
    """The last day of a contract. Instants in microseconds since 1970 UTC."""

    day: date
    """The session on which it is settled."""
    settlement_us: int
    close_us: int
    """The regular close of that session."""
    settles: str
    """OPENING or CLOSE."""


@lru_cache(maxsize=4096)
def expiry_of(root: str, day: date, settlement_type: str = "") -> Expiry:
    """When a contract is settled.

    Args:
        day: as the symbol says; where the exchange is closed, the session before it counts.
        settlement_type: A or P; anything else: by the table of roots.
    """
    settles = settlement_type if settlement_type in (OPENING, CLOSE) else settlement_of(root)
    if day.year > LAST_YEAR:
        opens_us, close_us = (
            int(datetime.combine(day, wall, EXCHANGE).timestamp()) * 1_000_000 for wall in (REGULAR_OPEN, REGULAR_CLOSE)
        )
    else:
        session = session_on(day) or previous_session(day)
        day, opens_us, close_us = session.date, session.regular_open_us, session.regular_close_us
    return Expiry(day, opens_us if settles == OPENING else close_us, close_us, settles)


def settlement_of(root: str) -> str:
    """OPENING or CLOSE by the table of roots; what is not in it settles at the close."""
    return OPENING if root in OPENING_INDICES else CLOSE


def trading_end_us(root: str, expiry: Expiry, day: date) -> int | None:
    """When trading in a contract ends on a date; None if it does not trade then."""
    session = session_on(day)
    last_day = day == expiry.day
    if session is None or day > expiry.day or (last_day and expiry.settles == OPENING):
        return None
    is_index = root in OPENING_INDICES or root in CLOSING_INDICES
    late = root.rstrip("0123456789") in LATE_ETFS or (is_index and not last_day)
    return session.regular_close_us + (OPTIONS_LATE_US if late else 0)


def act365_sec(now_us: int, expiry: Expiry) -> float | None:
    """The default clock: seconds to the settlement over 365 × 86,400; at least one second."""
    left_us = expiry.settlement_us - now_us
    return max(left_us, LEAST_US) / YEAR_US if left_us > 0 else None


def schwab_weekday(now_us: int, expiry: Expiry) -> float | None:
    """Schwab's, as fitted to its $SPX chain of 2024-10-15: hours of weekdays to a quarter past the close, × 1.4 / 8760.

    Only the last day is fitted; that weekends are what the 7/5 makes up for is our reading of it.
    """
    end_us = expiry.close_us + OPTIONS_LATE_US
    left_us = end_us - now_us - _weekend_us(now_us, expiry.day)
    return max(left_us, LEAST_US) * 1.4 / YEAR_US if now_us < end_us else None


def cboe_calendar(now_us: int, expiry: Expiry) -> float | None:
    """CBOE's, as fitted to its SPXW intervals of 2018-01-05: hours to half an hour past the close, / 8760."""
    left_us = expiry.close_us + 2 * OPTIONS_LATE_US - now_us
    return max(left_us, LEAST_US) / YEAR_US if left_us > 0 else None


Clock = Callable[[int, Expiry], float | None]
"""(now, expiry) → years."""
CLOCKS: dict[str, Clock] = {clock.__name__: clock for clock in (act365_sec, schwab_weekday, cboe_calendar)}
"""By the id that is stored beside a model value."""


def _weekend_us(now_us: int, last: date) -> int:
    """How much of Saturdays and Sundays lies between now and a date's end."""
    today = exchange_date(now_us)
    total = 0
    if today.weekday() >= SATURDAY:
        midnight = datetime.combine(today + timedelta(1), datetime.min.time(), EXCHANGE)
        total = int(midnight.timestamp()) * 1_000_000 - now_us
    days = (last - today).days
    weeks, rest = divmod(max(days, 0), 7)
    whole = 2 * weeks + sum((today.weekday() + 1 + ahead) % 7 >= SATURDAY for ahead in range(rest))
    return total + whole * DAY_US
