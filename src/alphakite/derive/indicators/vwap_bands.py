"""VWAP bands: session VWAP of bars at typical price, and volume-weighted standard deviations around it. `vwap_bands_2`.

    middle = Σ(p·v) / Σv      σ² = Σ(v·(p − middle)²) / Σv      p = (high + low + close) / 3

Starts anew each session; no volume yet → no value. By bars, so that it differs a little from `vwap`, which counts every
change of volume at its own price. West's update: no cancellation.
"""

from __future__ import annotations

from math import sqrt

from alphakite.derive.indicators.base import Indicator, MinuteBar


class VWAPBands(Indicator):
    """Session VWAP with bands."""

    volume: int = 0
    mean: float = 0.0
    squares: float = 0.0

    deviations = 2
    parameters = ("deviations",)
    outputs = ("upper", "middle", "lower")
    about = "typical prices and volumes of one-minute bars from last prices"
    carries = "regular, anew each session"

    def session(self) -> None:
        """Nothing has traded."""
        self.volume, self.mean, self.squares = 0, 0.0, 0.0

    def bar(self, bar: MinuteBar) -> None:
        """Weighted mean and squares, updated in place."""
        if bar.volume <= 0:
            return
        typical = (bar.high + bar.low + bar.close) / 3
        self.volume += bar.volume
        distance = typical - self.mean
        self.mean += distance * bar.volume / self.volume
        self.squares += bar.volume * distance * (typical - self.mean)

    def value(self) -> tuple[float, float, float] | None:
        """Upper, middle, lower."""
        if self.volume == 0:
            return None
        sigma = sqrt(max(self.squares, 0.0) / self.volume)
        return self.mean + self.deviations * sigma, self.mean, self.mean - self.deviations * sigma
