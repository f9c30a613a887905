"""LEVELONE_EQUITIES: Schwab's field numbers, our names, and which values mean "absent".

Source: Schwab's Streamer Guide, corrected by the captures named in the project's Schwab reference (the guide's
example numbers are shifted by one from field 12 on). A number that stands in no table here is unknown: it is counted,
and stays in the journal.
"""

from __future__ import annotations

EQUITY_FIELDS: dict[int, str] = {
    1: "bid",
    2: "ask",
    3: "last",
    4: "bid_size",
    5: "ask_size",
    8: "volume",
    9: "last_size",
    34: "quote_time_ms",
    35: "trade_time_ms",
    36: "regular_trade_time_ms",
}
"""The fields that derivation reads."""

EQUITY_OTHER = (6, 7, *range(10, 34), *range(37, 52))
"""Known fields that are recorded in the journal and not read here."""

META = ("key", "delayed", "assetMainType", "assetSubType", "cusip")
"""Names beside the numbered fields; all but `key` come with the first image only."""

EQUITY_REQUEST = ",".join(str(number) for number in range(52))
"""Every field is asked for: what is not recorded is gone."""

PRICES = ("bid", "ask", "last")

ABSENT: dict[str, tuple[float, ...]] = {
    "bid": (0, -999),
    "ask": (0, -999),
    "last": (0, -999),
    "bid_size": (-999,),
    "ask_size": (-999,),
    "volume": (-999,),
    "last_size": (-999,),
    "quote_time_ms": (0, -999),
    "trade_time_ms": (0, -999),
    "regular_trade_time_ms": (0, -999),
}
"""Values that say "none": a price of 0 is no price, a size or volume of 0 is one; a time of 0 is no time.
The strings "NaN" and "" and a JSON null are absent in every field."""

MAX_PRICE = 90_000_000_000
MAX_WHOLE = 2**63 - 1
MAX_TIME_MS = 9_223_372_036_854
"""A price in dollars, a size or volume, a time: what is greater is garbage that no column or record could hold."""

DATA_SERVICES = frozenset({"LEVELONE_EQUITIES", "CHART_EQUITY"})
"""Services whose data this version expects; CHART_EQUITY is journaled only."""
