"""Waits between tries: capped, jittered, growing."""

from __future__ import annotations

import random


class Backoff:
    """Capped, jittered, growing waits; `reset` after success."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self.failures = 0

    def reset(self) -> None:
        self.failures = 0

    def next_s(self) -> float:
        """How long to wait now: between half and the whole of a doubling span."""
        span: float = min(self._most_s, self._first_s * 2 ** min(self.failures, 16))
        self.failures += 1
        return span * random.uniform(0.5, 1.0)
