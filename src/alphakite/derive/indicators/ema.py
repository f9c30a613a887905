"""EMA: e += 2/(n+1) · (close − e), begun with the mean of the first n closes. `ema`, `ema21`.

The same as TA-Lib's EMA; the first value comes with bar n. (Wilder's average of n is the EMA of 2n − 1.)
"""

from __future__ import annotations

from alphakite.derive.indicators.base import Indicator, MinuteBar


class EMA(Indicator):
    """Exponential moving average of closes."""

    seen: int = 0
    total: float = 0.0
    ema: float = 0.0

    length = 9
    parameters = ("length",)

    def bar(self, bar: MinuteBar) -> None:
        """The seed's sum, then the recursion."""
        self.seen += 1
        if self.seen > self.length:
            self.ema += 2.0 / (self.length + 1) * (bar.close - self.ema)
        else:
            self.total += bar.close
            self.ema = self.total / self.length

    def value(self) -> float | None:
        """None before bar n."""
        return self.ema if self.seen >= self.length else None
