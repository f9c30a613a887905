"""Session VWAP: Σ(change of cumulative volume × last price) / Σ(change), regular session.

In:   changes of one instrument in ts_recv order; candles that seed it.      Out:  a value × INDICATOR_SCALE, flags.
Definition 1: starts anew with each regular session, counts the opening cross, and the closing cross for at most five
minutes after the close (engine.py decides which change counts). No volume yet → no value, not 0. While a late start
awaits its candles there is no value either: a VWAP of a part would pass for the whole.
"""

from __future__ import annotations

import msgspec

from alphakite.derive.indicators.rounding import ratio
from alphakite.model import Candle, Flag

GAP, SEEDED = int(Flag.VWAP_GAP), int(Flag.VWAP_SEEDED)


class Vwap(msgspec.Struct):
    """Exact sums of one session; `session_us` is its regular open."""

    session_us: int = 0
    volume: int = 0
    thrice: int = 0
    """3 × Σ(price × volume): the typical price of a candle is a third of a sum."""
    gap: bool = False
    seeded: bool = False
    awaiting: bool = False

    def begin(self, session_us: int) -> None:
        """Start anew if this is another session."""
        if self.session_us != session_us:
            self.session_us = session_us
            self.volume = self.thrice = 0
            self.gap = self.seeded = self.awaiting = False

    def restart(self) -> None:
        """Forget what was counted: the session's beginning was lost, candles will stand for it."""
        self.volume = self.thrice = 0
        self.seeded = False
        self.awaiting = True

    def add(self, volume: int, price: int) -> None:
        """A change of the cumulative volume at a last price × PRICE_SCALE."""
        self.volume += volume
        self.thrice += 3 * volume * price

    def seed(self, candles: list[Candle]) -> None:
        """Count candles at their typical price. An empty list leaves the value waiting."""
        for candle in candles:
            self.volume += candle.volume
            self.thrice += candle.volume * (candle.high + candle.low + candle.close)
        if candles:
            self.seeded, self.awaiting = True, False

    def value(self) -> tuple[int | None, int]:
        """The VWAP × INDICATOR_SCALE, None before the first volume, and its flags."""
        flags = GAP if self.gap else 0
        if self.seeded:
            flags |= SEEDED
        if self.volume == 0 or self.awaiting:
            return None, flags
        return ratio(self.thrice, 3 * self.volume), flags
