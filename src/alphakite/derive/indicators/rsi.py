"""RSI after Wilder: 100 · G / (G + L), G and L the averaged gains and losses from close to close. `rsi`, `rsi14`.

Begun with the mean of the first n changes, then a = ((n − 1) · a + change) / n: TA-Lib's RSI, first with bar n + 1.
Without any movement there is no value (TA-Lib says 0, others 50 or 100).
"""

from __future__ import annotations

from alphakite.derive.indicators.base import Indicator, MinuteBar


class RSI(Indicator):
    """Relative strength index of closes, 0 to 100."""

    changes: int = 0
    last: float | None = None
    gain: float = 0.0
    loss: float = 0.0

    length = 14
    parameters = ("length",)

    def bar(self, bar: MinuteBar) -> None:
        """One change, but for the first bar."""
        last, self.last = self.last, bar.close
        if last is None:
            return
        self.changes += 1
        gain, loss = max(bar.close - last, 0.0), max(last - bar.close, 0.0)
        if self.changes <= self.length:
            self.gain += gain / self.length
            self.loss += loss / self.length
        else:
            self.gain = (self.gain * (self.length - 1) + gain) / self.length
            self.loss = (self.loss * (self.length - 1) + loss) / self.length

    def value(self) -> float | None:
        """None before n changes, and while nothing moves."""
        if self.changes < self.length or self.gain + self.loss == 0:
            return None
        return 100.0 * self.gain / (self.gain + self.loss)
