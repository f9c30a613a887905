"""Bollinger bands: the mean of n closes, and `deviations` population standard deviations around it. `bollinger_20_2`.

σ divides by n, as TA-Lib's BBANDS. Two passes over the window: no cancellation, however small the movement.
"""

from __future__ import annotations

from math import fsum, sqrt

import msgspec

from alphakite.derive.indicators.base import Indicator, MinuteBar


class Bollinger(Indicator):
    """Bollinger bands of closes."""

    window: list[float] = msgspec.field(default_factory=list)

    length = 20
    deviations = 2
    parameters = ("length", "deviations")
    outputs = ("upper", "middle", "lower")

    def bar(self, bar: MinuteBar) -> None:
        """The window holds the newest n closes."""
        self.window.append(bar.close)
        del self.window[: -self.length]

    def value(self) -> tuple[float, float, float] | None:
        """Upper, middle, lower."""
        if len(self.window) < self.length:
            return None
        middle = fsum(self.window) / self.length
        sigma = sqrt(fsum((close - middle) ** 2 for close in self.window) / self.length)
        return middle + self.deviations * sigma, middle, middle - self.deviations * sigma
