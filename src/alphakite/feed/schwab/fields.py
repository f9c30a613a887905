"""Schwab's field numbers, our names, and which values mean "absent": one table per service, one line per field.

Source of numbers: Schwab's Streamer Guide, corrected by captures (the guide's example numbers are shifted by one from
field 12 on; its table of CHART_EQUITY names the wrong order). Where a value means "absent", `source` says who says so.
In every field a JSON null, "NaN" and "" are absent, too. A number in no table here is unknown: it is counted, and
stays in the journal.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Kind(enum.Enum):
    """What a field is. All but CHANGE, GREEK and PERCENT are never negative: a negative one is absent."""

    PRICE = "US dollars (index points for an index)"
    CHANGE = "a signed difference of prices"
    SIZE = "shares as sent (contracts for options)"
    COUNT = "a whole number"
    RATIO = "a number without unit"
    TIME = "epoch milliseconds"
    TEXT = "text"
    FLAG = "true or false, or 1 or 0"
    PERCENT = "percent points, signed"
    GREEK = "signed"


class Field(NamedTuple):
    """One line of a table. `absent`: numbers that mean "no value here", `source`: who says so."""

    number: int
    name: str
    kind: Kind
    absent: tuple[float, ...] = ()
    source: str = ""


MAX_PRICE = 90_000_000_000
MAX_WHOLE = 2**63 - 1
MAX_TIME_MS = 9_223_372_036_854
MAX_RATE = 1_000_000_000
MAX_TEXT = 512
"""A price in dollars, a size or volume, a time, a percentage or greek, the length of a text: what is greater is garbage
that no column or record could hold."""

SIGNED = frozenset({Kind.CHANGE, Kind.GREEK, Kind.PERCENT})
MOST: dict[Kind, float] = {
    Kind.PRICE: MAX_PRICE,
    Kind.CHANGE: MAX_PRICE,
    Kind.SIZE: MAX_WHOLE,
    Kind.COUNT: MAX_WHOLE,
    Kind.RATIO: MAX_RATE,
    Kind.TIME: MAX_TIME_MS,
    Kind.PERCENT: MAX_RATE,
    Kind.GREEK: MAX_RATE,
}

NO_PRICE = "no price is 0 (our reading); -999 by the captures of 2026-09-28"
RESET = "0 until the first trade of the day (Streamer Guide, daily resets; capture of 2026-09-28, 08:05 ET)"
NO_TIME = "0 is never (capture of 2026-09-28, an option at 01:00 ET)"
NO_GREEK = "-999: Schwab's model has no solution (capture of 2026-09-28)"
NO_IV = "-999: no solution (capture of 2026-09-28); 0 from the reset of 03:30 ET to the first computation (guide)"
NO_THEORY = "-1 (capture of 2026-09-28, 01:00 ET), -999; 0 is a value"
NULL_1 = "-1 is null (Streamer Guide)"
FUNDS = "0 where there is none: no earnings, no fund (capture of 2025-08)"
INDEX_ONLY = "index options only, else 0 (Streamer Guide)"
SENTINEL = "-999 by the captures of 2026-09-28; 0 is a value"
BID = "-999 by the captures of 2026-09-28; 0 is a value: nobody bids"
ASK = "-999 by the captures of 2026-09-28; 0 is a value: nobody offers"

_P, _C, _S, _N, _R = Kind.PRICE, Kind.CHANGE, Kind.SIZE, Kind.COUNT, Kind.RATIO
_T, _X, _F, _Q, _G = Kind.TIME, Kind.TEXT, Kind.FLAG, Kind.PERCENT, Kind.GREEK

EQUITY = (
    Field(0, "symbol", _X),
    Field(1, "bid", _P, (0, -999), NO_PRICE),
    Field(2, "ask", _P, (0, -999), NO_PRICE),
    Field(3, "last", _P, (0, -999), NO_PRICE),
    Field(4, "bid_size", _S, (-999,), SENTINEL),
    Field(5, "ask_size", _S, (-999,), SENTINEL),
    Field(6, "ask_venue", _X),
    Field(7, "bid_venue", _X),
    Field(8, "volume", _S, (-999,), SENTINEL),
    Field(9, "last_size", _S, (-999,), SENTINEL),
    Field(10, "high", _P, (0, -999), RESET),
    Field(11, "low", _P, (0, -999), RESET),
    Field(12, "previous_close", _P, (0, -999), NO_PRICE),
    Field(13, "listing_venue", _X),
    Field(14, "marginable", _F),
    Field(15, "description", _X),
    Field(16, "last_venue", _X),
    Field(17, "open", _P, (0, -999), RESET),
    Field(18, "net_change", _C),
    Field(19, "high_52_week", _P, (0, -999), NO_PRICE),
    Field(20, "low_52_week", _P, (0, -999), NO_PRICE),
    Field(21, "pe_ratio", _R, (0, -999), FUNDS),
    Field(22, "dividend", _C),
    Field(23, "dividend_yield_percent", _Q),
    Field(24, "nav", _P, (0, -999), FUNDS),
    Field(25, "listing_venue_name", _X),
    Field(26, "dividend_date", _X),
    Field(27, "regular_quote", _F),
    Field(28, "regular_trade", _F),
    Field(29, "regular_last", _P, (0, -999), NO_PRICE),
    Field(30, "regular_last_size", _S, (-999,), SENTINEL),
    Field(31, "regular_net_change", _C),
    Field(32, "security_status", _X),
    Field(33, "mark", _P, (0, -999), NO_PRICE),
    Field(34, "quote_time_ms", _T, (0, -999), NO_TIME),
    Field(35, "trade_time_ms", _T, (0, -999), NO_TIME),
    Field(36, "regular_trade_time_ms", _T, (0, -999), NO_TIME),
    Field(37, "bid_time_ms", _T, (0, -999), NO_TIME),
    Field(38, "ask_time_ms", _T, (0, -999), NO_TIME),
    Field(39, "ask_mic", _X),
    Field(40, "bid_mic", _X),
    Field(41, "last_mic", _X),
    Field(42, "net_change_percent", _Q),
    Field(43, "regular_change_percent", _Q),
    Field(44, "mark_change", _C),
    Field(45, "mark_change_percent", _Q),
    Field(46, "hard_to_borrow_quantity", _S, (-1,), NULL_1),
    Field(47, "hard_to_borrow_rate", _R),
    Field(48, "hard_to_borrow", _F, (-1,), NULL_1),
    Field(49, "shortable", _F, (-1,), NULL_1),
    Field(50, "post_market_change", _C),
    Field(51, "post_market_change_percent", _Q),
)
"""LEVELONE_EQUITIES. Ask venue before bid venue, as nowhere else."""

OPTION = (
    Field(0, "symbol", _X),
    Field(1, "description", _X),
    Field(2, "bid", _P, (-999,), BID),
    Field(3, "ask", _P, (-999,), ASK),
    Field(4, "last", _P, (0, -999), NO_PRICE),
    Field(5, "high", _P, (0, -999), RESET),
    Field(6, "low", _P, (0, -999), RESET),
    Field(7, "previous_close", _P, (0, -999), NO_PRICE),
    Field(8, "volume", _S, (-999,), SENTINEL),
    Field(9, "open_interest", _S, (-999,), SENTINEL),
    Field(10, "implied_volatility_percent", _Q, (0, -999), NO_IV),
    Field(11, "intrinsic", _C),
    Field(12, "expiration_year", _N, (0, -999), "no such year (our reading)"),
    Field(13, "multiplier", _N, (0, -999), "no contract is for 0 (our reading)"),
    Field(14, "digits", _N),
    Field(15, "open", _P, (0, -999), RESET),
    Field(16, "bid_size", _S, (-999,), SENTINEL),
    Field(17, "ask_size", _S, (-999,), SENTINEL),
    Field(18, "last_size", _S, (-999,), SENTINEL),
    Field(19, "net_change", _C),
    Field(20, "strike", _P, (0, -999), NO_PRICE),
    Field(21, "contract_type", _X),
    Field(22, "underlying", _X),
    Field(23, "expiration_month", _N, (0, -999), "no such month (our reading)"),
    Field(24, "deliverables", _X),
    Field(25, "time_value", _C),
    Field(26, "expiration_day", _N, (0, -999), "no such day (our reading)"),
    Field(27, "days_to_expiration", _N),
    Field(28, "delta", _G, (-999,), NO_GREEK),
    Field(29, "gamma", _G, (-999,), NO_GREEK),
    Field(30, "theta", _G, (-999,), NO_GREEK),
    Field(31, "vega", _G, (-999,), NO_GREEK),
    Field(32, "rho", _G, (-999,), NO_GREEK),
    Field(33, "security_status", _X),
    Field(34, "theoretical", _P, (-1, -999), NO_THEORY),
    Field(35, "underlying_price", _P, (0, -999), NO_PRICE),
    Field(36, "expiration_type", _X),
    Field(37, "mark", _P, (0, -999), NO_PRICE),
    Field(38, "quote_time_ms", _T, (0, -999), NO_TIME),
    Field(39, "trade_time_ms", _T, (0, -999), NO_TIME),
    Field(40, "venue", _X),
    Field(41, "venue_name", _X),
    Field(42, "last_trading_day_ms", _T, (0, -999), NO_TIME),
    Field(43, "settlement_type", _X),
    Field(44, "net_change_percent", _Q),
    Field(45, "mark_change", _C),
    Field(46, "mark_change_percent", _Q),
    Field(47, "implied_yield_percent", _Q),
    Field(48, "penny_pilot", _F),
    Field(49, "root", _X),
    Field(50, "high_52_week", _P, (0, -999), NO_PRICE),
    Field(51, "low_52_week", _P, (0, -999), NO_PRICE),
    Field(52, "indicative_ask", _P, (0, -999), INDEX_ONLY),
    Field(53, "indicative_bid", _P, (0, -999), INDEX_ONLY),
    Field(54, "indicative_quote_time_ms", _T, (0, -999), INDEX_ONLY),
    Field(55, "exercise_type", _X),
)
"""LEVELONE_OPTIONS. Implied volatility, theta (a day) and vega (a volatility point) as Schwab gives them."""

CHART = (
    Field(0, "symbol", _X),
    Field(1, "minute_of_day", _N),
    Field(2, "open", _P, (0, -999), NO_PRICE),
    Field(3, "high", _P, (0, -999), NO_PRICE),
    Field(4, "low", _P, (0, -999), NO_PRICE),
    Field(5, "close", _P, (0, -999), NO_PRICE),
    Field(6, "volume", _S, (-999,), SENTINEL),
    Field(7, "minute_ms", _T, (0, -999), NO_TIME),
    Field(8, "day", _N),
)
"""CHART_EQUITY in its true order (captures; the guide's table is wrong). 1: minutes since 07:00 ET; 7: the bar's start;
8: days since 1970-01-01. `seq` beside them is an opaque counter."""

SERVICES: dict[str, tuple[Field, ...]] = {
    "LEVELONE_EQUITIES": EQUITY,
    "LEVELONE_OPTIONS": OPTION,
    "CHART_EQUITY": CHART,
}
"""Services whose data this version understands."""

META = ("delayed", "assetMainType", "assetSubType", "cusip", "seq")
"""Names beside `key` and the numbered fields; they come with the first image only, `seq` with every chart bar."""

REQUEST = {service: ",".join(str(field.number) for field in fields) for service, fields in SERVICES.items()}
"""Every field is asked for, ascending, with 0: what is not recorded is gone."""
