"""One-minute bars of the regular session, from trades as they are seen, and the window that SMA9 reads.

In:   trades of one instrument in ts_recv order; candles that seed the window; gaps.      Out:  closes with marks.
State is bounded: nine completed bars and the forming one. A minute without a trade has no bar. A minute that a gap
touched keeps the bar it has, marked TOUCHED; a lost minute without a bar marks the bar before it HOLE_AFTER.
"""

from __future__ import annotations

import msgspec

from alphakite.model import Candle

WINDOW = 9
MINUTE_US = 60_000_000
TOUCHED, SEEDED, HOLE_AFTER = 1, 2, 4


class Bar(msgspec.Struct):
    """One minute: prices × PRICE_SCALE, volume in shares, `marks` of TOUCHED, SEEDED, HOLE_AFTER."""

    minute_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    marks: int = 0

    def trade(self, price: int, volume: int) -> None:
        """Take a trade into the bar."""
        self.close = price
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.volume += volume


class Bars(msgspec.Struct):
    """The nine newest completed bars and the forming one."""

    completed: list[Bar] = []
    forming: Bar | None = None
    hole_first: bool = False
    """A minute was lost before the oldest bar: a window that is not full lacks what was lost."""

    def roll(self, minute_us: int) -> None:
        """Time has come to this minute: a forming bar of an earlier one is complete."""
        if self.forming is not None and self.forming.minute_us < minute_us:
            self.completed.append(self.forming)
            del self.completed[:-WINDOW]
            self.forming = None

    def trade(self, minute_us: int, price: int, volume: int) -> Bar:
        """A trade in this minute; the bar it went into."""
        bar = self.forming
        if bar is None or bar.minute_us != minute_us:
            self.roll(minute_us)
            bar = self.forming = Bar(minute_us, price, price, price, price, volume)
        else:
            bar.trade(price, volume)
        return bar

    def window(self, minute_us: int) -> list[Bar]:
        """The bars that SMA9 averages in a row of this minute; fewer than nine if there are not enough."""
        self.roll(minute_us)
        if self.forming is not None:
            return [*self.completed[1 - WINDOW :], self.forming]
        return self.completed[-WINDOW:]

    def hole(self) -> bool:
        """A minute was lost of which no bar is known; whether that is news."""
        if self.completed:
            news = not self.completed[-1].marks & HOLE_AFTER
            self.completed[-1].marks |= HOLE_AFTER
        else:
            news, self.hole_first = not self.hole_first, True
        return news

    def unhole(self) -> None:
        """The newest hole was none."""
        if self.completed:
            self.completed[-1].marks &= ~HOLE_AFTER
        else:
            self.hole_first = False

    def seed(self, candles: list[Candle], marks: int) -> None:
        """Put candles before the bars that exist; those not older than the first of these are left out."""
        first_us = self.completed[0].minute_us if self.completed else self.forming.minute_us if self.forming else None
        older = [candle for candle in candles if first_us is None or candle.minute_us < first_us]
        seeds = [Bar(c.minute_us, c.open, c.high, c.low, c.close, c.volume, marks) for c in older[-WINDOW:]]
        self.completed = (seeds + self.completed)[-WINDOW:]
