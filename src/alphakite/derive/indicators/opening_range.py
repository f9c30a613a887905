"""Opening range: high and low of a session's first minutes. `opening_range`, `opening_range_30`.

While the range still forms: so far. Then it stands until the next session. A session whose first minutes are not known
(no bar of them, own or from price history) has none.
"""

from __future__ import annotations

from alphakite.derive.indicators.base import Indicator, MinuteBar


class OpeningRange(Indicator):
    """High and low of the first `minutes` of the regular session."""

    high: float | None = None
    low: float | None = None

    minutes = 30
    parameters = ("minutes",)
    outputs = ("high", "low")
    carries = "regular, anew each session"

    def session(self) -> None:
        """No range yet."""
        self.high = self.low = None

    def bar(self, bar: MinuteBar) -> None:
        """Only the first minutes count."""
        if bar.minute < self.minutes:
            self.high = bar.high if self.high is None else max(self.high, bar.high)
            self.low = bar.low if self.low is None else min(self.low, bar.low)

    def value(self) -> tuple[float | None, float | None]:
        """High, low."""
        return self.high, self.low
