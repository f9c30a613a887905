"""MACD: EMA(fast) − EMA(slow), its EMA as signal, and their difference. `macd`, `macd_12_26_9`.

As TA-Lib aligns it: both averages begin with bar `slow` (the fast one with the mean of the `fast` bars that end there),
the signal with the mean of the first lines; all three are published together from bar slow + signal − 1 on.
"""

from __future__ import annotations

from alphakite.derive.indicators.base import Indicator, MinuteBar


class MACD(Indicator):
    """Moving average convergence/divergence of closes."""

    seen: int = 0
    fast_average: float = 0.0
    slow_average: float = 0.0
    signal_average: float = 0.0

    fast = 12
    slow = 26
    signal = 9
    parameters = ("fast", "slow", "signal")
    outputs = ("line", "signal", "histogram")

    def bar(self, bar: MinuteBar) -> None:
        """Sums of the seeds, then three recursions."""
        self.seen += 1
        if self.seen <= self.slow:
            self.slow_average += bar.close / self.slow
            if self.seen > self.slow - self.fast:
                self.fast_average += bar.close / self.fast
            if self.seen < self.slow:
                return
        else:
            self.slow_average += 2.0 / (self.slow + 1) * (bar.close - self.slow_average)
            self.fast_average += 2.0 / (self.fast + 1) * (bar.close - self.fast_average)
        line = self.fast_average - self.slow_average
        if self.seen < self.slow + self.signal:
            self.signal_average += line / self.signal
        else:
            self.signal_average += 2.0 / (self.signal + 1) * (line - self.signal_average)

    def value(self) -> tuple[float, float, float] | None:
        """Line, signal, histogram."""
        if self.seen < self.slow + self.signal - 1:
            return None
        line = self.fast_average - self.slow_average
        return line, self.signal_average, line - self.signal_average
