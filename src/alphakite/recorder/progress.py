"""How far the tables are behind the journal, how fast that shrinks, and how long it will take.

In:   both positions, again and again.      Out:  a CatchUpStatus, None while the tables are up to date, or nearly.
Rates are those of the last `WINDOW_S` seconds of wall time, from when something was last begun to be committed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from alphakite.metrics import CatchUpStatus

WINDOW_S = 10.0
LEAST_WINDOW_S = 1.0
BEHIND_S, BEHIND_RECORDS = 10.0, 1_000
"""Less than either is how it always is: rows wait for their batch."""


class Look(NamedTuple):
    """Both positions at a moment of wall time. Times are µs since 1970 UTC by the service clock."""

    wall_s: float
    appended: int
    committed: int
    committed_us: int


class Progress:
    """Keeps the looks of the last seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[Look] = deque()

    def note(self, appended: int, committed: int, committed_us: int, now_us: int) -> CatchUpStatus | None:
        """What to show now. Args: committed_us: 0: nothing is committed yet, and it is not known how far behind."""
        now = Look(self._clock(), appended, committed, committed_us)
        self._looks.append(now)
        while len(self._looks) > 2 and (
            now.wall_s - self._looks[1].wall_s >= WINDOW_S or self._looks[0].committed == self._looks[1].committed
        ):
            self._looks.popleft()
        behind, behind_s = appended - committed, max(0.0, (now_us - committed_us) / 1e6) if committed_us else 0.0
        if behind < BEHIND_RECORDS or (committed_us and behind_s < BEHIND_S):
            return None
        found = CatchUpStatus(records=behind, behind_s=behind_s)
        first = self._looks[0]
        if (span_s := now.wall_s - first.wall_s) >= LEAST_WINDOW_S:
            found.records_per_s = (committed - first.committed) / span_s
            if first.committed_us:
                found.times_real = (committed_us - first.committed_us) / 1e6 / span_s
            nearer_per_s = found.records_per_s - (appended - first.appended) / span_s
            found.left_s = behind / nearer_per_s if nearer_per_s > 0 else None
        return found
