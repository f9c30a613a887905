"""Changed fields → whole quote and which fields changed.

In:   EquityUpdate messages of one instrument.      Out:  its Book, and a mask of what the last message changed.
An image replaces the whole book: fields it does not name are unknown, not as they were.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from alphakite.model import PRICE_SCALE, EquityUpdate

FIELDS = (
    "bid",
    "ask",
    "last",
    "bid_size",
    "ask_size",
    "volume",
    "last_size",
    "quote_time_ms",
    "trade_time_ms",
    "regular_trade_time_ms",
)
BIT = {name: 1 << index for index, name in enumerate(FIELDS)}
LAST, VOLUME, TRADE_TIME, REGULAR_TRADE_TIME = (
    BIT["last"],
    BIT["volume"],
    BIT["trade_time_ms"],
    BIT["regular_trade_time_ms"],
)
TRADE = LAST | TRADE_TIME


class Book(msgspec.Struct):
    """The whole quote of one instrument; prices × PRICE_SCALE, times in epoch ms, None = not known."""

    bid: int | None = None
    ask: int | None = None
    last: int | None = None
    bid_size: int | None = None
    ask_size: int | None = None
    volume: int | None = None
    last_size: int | None = None
    quote_time_ms: int | None = None
    trade_time_ms: int | None = None
    regular_trade_time_ms: int | None = None

    def clear(self) -> None:
        """Forget everything: what comes next is an image."""
        for name in FIELDS:
            setattr(self, name, None)

    def is_older(self, update: EquityUpdate) -> bool:
        """Whether this message tells of a later quote or trade than any before."""
        quoted, traded = update.quote_time_ms or 0, update.trade_time_ms or 0
        return quoted > (self.quote_time_ms or 0) or traded > (self.trade_time_ms or 0)

    def merge(self, update: EquityUpdate) -> int:
        """Take over the changed fields; the mask of those the message named."""
        mask = 0
        if (price := update.bid) is not UNSET:
            self.bid = scaled(price)
            mask |= 1
        if (price := update.ask) is not UNSET:
            self.ask = scaled(price)
            mask |= 2
        if (price := update.last) is not UNSET:
            self.last = scaled(price)
            mask |= LAST
        if (size := update.bid_size) is not UNSET:
            self.bid_size = size
            mask |= 8
        if (size := update.ask_size) is not UNSET:
            self.ask_size = size
            mask |= 16
        if (volume := update.volume) is not UNSET and volume is not None:
            self.volume = volume
            mask |= VOLUME
        if (size := update.last_size) is not UNSET:
            self.last_size = size
            mask |= 64
        if (time := update.quote_time_ms) is not UNSET:
            self.quote_time_ms = time
            mask |= 128
        if (time := update.trade_time_ms) is not UNSET:
            self.trade_time_ms = time
            mask |= TRADE_TIME
        if (time := update.regular_trade_time_ms) is not UNSET:
            self.regular_trade_time_ms = time
            mask |= REGULAR_TRADE_TIME
        return mask


def scaled(price: float | None) -> int | None:
    """Dollars as sent → exact integer of 1e-8 dollars."""
    return None if price is None else round(price * PRICE_SCALE)
