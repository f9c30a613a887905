"""The service clock: one source of `ts_recv`, in nanoseconds since 1970-01-01 UTC, that never goes back.

`system`  wall time anchored to the monotonic clock; a step of the wall clock shows in `step_ns()` and becomes a
          journal record.
`feed`    the greatest time that the feed itself has told: frame timestamps, heartbeats and, before the first frame,
          the `Date` of HTTP answers. A session of any date can then be played at any hour and any speed.
"""

from __future__ import annotations

import time
from typing import Protocol

UNKNOWN_NS = 0
"""What a feed clock answers before it was told any time."""
STEP_TOLERANCE_NS = 500_000_000


class Clock(Protocol):
    """Where `ts_recv` comes from."""

    mode: str

    def now_ns(self) -> int:
        """The service time; never smaller than an earlier answer."""

    def observe_ms(self, stamp_ms: int) -> None:
        """The feed has told a time (epoch milliseconds)."""

    def raise_floor(self, floor_ns: int) -> None:
        """Never answer less than this: the journal's last `ts_recv`."""

    def step_ns(self) -> int:
        """How far the wall clock has been stepped since the last call, 0 if it was not."""


class SystemClock:
    """Wall time anchored to the monotonic clock.

    A forward step of the wall clock is followed; after a backward step the clock runs on from where it was, because
    `ts_recv` may not go back. Both are reported once by `step_ns()`.
    """

    mode = "system"

    def __init__(self) -> None:
        self._anchor_ns = time.time_ns() - time.monotonic_ns()
        self._reported_ns = self._anchor_ns
        self._last_ns = 0

    def now_ns(self) -> int:
        now = time.monotonic_ns() + self._anchor_ns
        if now < self._last_ns:
            return self._last_ns
        self._last_ns = now
        return now

    def observe_ms(self, stamp_ms: int) -> None:
        """The feed's own times do not move the system clock."""

    def raise_floor(self, floor_ns: int) -> None:
        self._last_ns = max(self._last_ns, floor_ns)

    def step_ns(self) -> int:
        anchor = time.time_ns() - time.monotonic_ns()
        step = anchor - self._reported_ns
        if abs(step) < STEP_TOLERANCE_NS:
            return 0
        self._reported_ns = anchor
        self._anchor_ns = max(self._anchor_ns, anchor)
        return step


class FeedClock:
    """The greatest time that the feed has told."""

    mode = "feed"

    def __init__(self) -> None:
        self._last_ns = UNKNOWN_NS

    def now_ns(self) -> int:
        return self._last_ns

    def observe_ms(self, stamp_ms: int) -> None:
        stamp_ns = stamp_ms * 1_000_000
        if stamp_ns > self._last_ns:
            self._last_ns = stamp_ns

    def raise_floor(self, floor_ns: int) -> None:
        self._last_ns = max(self._last_ns, floor_ns)

    def step_ns(self) -> int:
        return 0


def make_clock(mode: str) -> Clock:
    """Args: mode: `system` or `feed`, the setting CLOCK."""
    return FeedClock() if mode == "feed" else SystemClock()
