"""What a symbol is, on the wire: its kind, exchange, description and the other fields that do not move.

Known names have their own lines; others get a venue and a CUSIP from a hash of their name, so that a symbol always
looks the same.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

VENUES = (
    ("Q", "XNAS"),
    ("P", "ARCX"),
    ("Z", "BATS"),
    ("K", "EDGX"),
    ("V", "IEGX"),
    ("N", "XNYS"),
    ("J", "EDGA"),
    ("T", "XNAS"),
)
"""(venue letter, MIC), as captures pair them."""
OFF_EXCHANGE = ("D", "XADF")
UNKNOWN_TO_LENDERS = "ZZ"
"""Symbols that begin so have -1, Schwab's null, in the fields about borrowing (46, 48, 49)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """`sub_type` is empty for an index, which has no CUSIP either."""

    main_type: str
    sub_type: str
    cusip: str
    exchange: str
    exchange_name: str
    description: str

    @property
    def meta(self) -> str:
        """The meta keys of an image, as JSON text."""
        pairs = f'"delayed":false,"assetMainType":"{self.main_type}"'
        return f'{pairs},"assetSubType":"{self.sub_type}","cusip":"{self.cusip}"' if self.sub_type else pairs


_KNOWN = {
    "QQQ": Listing("EQUITY", "ETF", "46090E103", "Q", "NASDAQ", "INVSC QQQ TRUST SRS 1 ETF"),
    "SPY": Listing("EQUITY", "ETF", "78462F103", "P", "NYSE Arca", "SPDR S&P 500 ETF TRUST"),
    "IWM": Listing("EQUITY", "ETF", "464287655", "P", "NYSE Arca", "ISHARES RUSSELL 2000 ETF"),
    "$SPX": Listing("INDEX", "", "", "0", "Index", "S&P 500 INDEX"),
    "$NDX": Listing("INDEX", "", "", "0", "Index", "NASDAQ 100 INDEX"),
}


def listing_of(symbol: str) -> Listing:
    """A known listing, an index's, or a common stock's."""
    if symbol in _KNOWN:
        return _KNOWN[symbol]
    if symbol.startswith("$"):
        return Listing("INDEX", "", "", "0", "Index", f"{symbol[1:]} INDEX")
    number = zlib.crc32(symbol.encode())
    exchange, name = (("Q", "NASDAQ"), ("N", "NYSE"))[number & 1]
    return Listing("EQUITY", "COE", f"{number % 10**9:09d}", exchange, name, f"{symbol} INC COM")


def static_fields(symbol: str) -> dict[int, str]:
    """The LEVELONE_EQUITIES fields that do not move in a session."""
    listing = listing_of(symbol)
    number = zlib.crc32(symbol.encode())
    fields: dict[int, str | int | float | bool] = {13: listing.exchange, 15: listing.description}
    if listing.main_type != "INDEX":
        etf, unknown = listing.sub_type == "ETF", symbol.startswith(UNKNOWN_TO_LENDERS)
        fields |= {
            14: True,
            21: 0 if etf else 10 + number % 400 / 10,
            22: number % 300 / 100,
            23: number % 250 / 100,
            24: 0,
            25: listing.exchange_name,
            26: "2013-09-20 00:00:00.0",
            46: -1 if unknown else 1_000_000 + number % 50_000_000,
            47: 0,
            48: -1 if unknown else 0,
            49: -1 if unknown else 1,
        }
    return {place: json.dumps(_plain(value)) for place, value in fields.items()}


def _plain(value: str | int | float | bool) -> str | int | float | bool:
    """A double without a fraction prints as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
