"""ATR after Wilder: the averaged true range, max(high − low, |high − last close|, |low − last close|). `atr`, `atr14`.

TA-Lib's ATR: the first bar has no true range, so the first value comes with bar n + 1. Bars carry over from session to
session, so that the first true range of a day holds the night's jump.
"""

from __future__ import annotations

from alphakite.derive.indicators.base import Indicator, MinuteBar


class ATR(Indicator):
    """Average true range, USD."""

    ranges: int = 0
    last: float | None = None
    average: float = 0.0

    length = 14
    parameters = ("length",)

    def bar(self, bar: MinuteBar) -> None:
        """One true range, but for the first bar."""
        last, self.last = self.last, bar.close
        if last is None:
            return
        true_range = max(bar.high - bar.low, abs(bar.high - last), abs(bar.low - last))
        self.ranges += 1
        if self.ranges <= self.length:
            self.average += true_range / self.length
        else:
            self.average = (self.average * (self.length - 1) + true_range) / self.length

    def value(self) -> float | None:
        """None before n true ranges."""
        return self.average if self.ranges >= self.length else None
