"""SMA9: the mean of the eight newest completed one-minute closes and the forming bar's last price.

In:   the window of bars.py.      Out:  a value × INDICATOR_SCALE and its flags.
Definition 1: regular-session bars, carried over from the previous session, seeded by its candles. While the current
minute has not traded the nine completed bars are averaged. Fewer than nine bars → no value, never a shorter mean.
"""

from __future__ import annotations

from alphakite.derive.bars import HOLE_AFTER, SEEDED, TOUCHED, WINDOW, Bar
from alphakite.derive.indicators.rounding import ratio
from alphakite.model import Flag

GAP, SEEDED_FLAG = int(Flag.SMA9_GAP), int(Flag.SMA9_SEEDED)


def sma9(window: list[Bar], hole_first: bool = False) -> tuple[int | None, int]:
    """The mean of nine closes (None if there are fewer) and its flags. `hole_first`: a gap took the first bars."""
    total = marks = 0
    for bar in window:
        total += bar.close
        marks |= bar.marks
    flags = GAP if marks & (TOUCHED | HOLE_AFTER) else 0
    if len(window) < WINDOW:
        return None, flags or (GAP if hole_first else 0)
    if marks & SEEDED:
        flags |= SEEDED_FLAG
    return ratio(total, WINDOW), flags
