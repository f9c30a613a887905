"""How fast Schwab's REST may be asked: a token bucket that halves its rate when Schwab says 429.

No quota of GETs is published; the reference §2.1 advises two in a second, ten at once. Monotonic time throughout.
"""

from __future__ import annotations

import time
from collections.abc import Callable

RATE_PER_S = 2.0
BURST = 10
LEAST_PER_S = 0.05
THROTTLED_S = 30.0
"""The least wait after a 429."""
RECOVER_S = 300.0
"""So long after the last 429 the rate doubles, and again, until it is the first."""


class Pace:
    """One bucket for all GETs. Args: monotonic: a test's own clock, seconds."""

    def __init__(
        self, rate_per_s: float = RATE_PER_S, burst: int = BURST, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._full_rate, self._burst, self._monotonic = rate_per_s, burst, monotonic
        self.rate_per_s = rate_per_s
        self._tokens = float(burst)
        self._filled = monotonic()
        self._closed_until = 0.0
        self._changed = self._filled

    def reserve(self) -> float:
        """Take a place in the queue; the seconds to wait before asking."""
        now = self._monotonic()
        if self.rate_per_s < self._full_rate and now - self._changed >= RECOVER_S:
            self.rate_per_s, self._changed = min(self._full_rate, self.rate_per_s * 2), now
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self.rate_per_s)
        self._filled = now
        self._tokens -= 1
        return max(-self._tokens / self.rate_per_s, self._closed_until - now, 0.0)

    def closed_s(self) -> float:
        """How much of the wait after a 429 is left."""
        return max(0.0, self._closed_until - self._monotonic())

    def throttled(self, retry_after_s: float = 0.0) -> None:
        """Schwab said 429: half the rate from now on, and silence for half a minute or what Schwab asks."""
        now = self._monotonic()
        self.rate_per_s, self._changed = max(LEAST_PER_S, self.rate_per_s / 2), now
        self._closed_until = now + max(THROTTLED_S, retry_after_s)
        self._tokens = min(self._tokens, 1.0)
