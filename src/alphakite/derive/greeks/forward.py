"""The forward that a chain's own quotes imply, by put-call parity: F = K + (call − put)/discount.

In:   the two-sided quotes of both sides at each strike, one moment, one expiry.      Out:  a Forward, or None.
Of the NEAREST strikes, those where call and put are worth most nearly the same, the weighted median: a pair weighs by
the inverse square of its spread, and one frozen quote moves nothing. No price of the underlying enters: a stale index
or a late print can neither bend the smile nor choose the strikes.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import NamedTuple

NEAREST = 7
TICK = 0.01
"""Keeps the weight of a locked pair finite."""
STRADDLE = 0.8
"""A straddle at the money costs 0.8 standard deviations (√(2/π))."""
DEVIATIONS = 4.0
"""Of what may happen between two quotes: four, for calendar time has nights in which nothing moves."""
YEAR_S = 365 * 86_400


class Pair(NamedTuple):
    """Call and put of one strike: dollars."""

    strike: float
    call_bid: float
    call_ask: float
    put_bid: float
    put_ask: float


PairValues = tuple[float, float, float, float, float]
"""A Pair, or a plain tuple of the same."""


class Forward(NamedTuple):
    """The forward of one expiry at one moment."""

    value: float
    half_width: float
    """How far the tightest pair's quotes leave it open to either side; 0 from a spot."""
    pairs: int
    """How many pairs it is the median of; 0 from a spot."""
    source: str
    """`parity` or `spot`."""
    straddle: float = 0.0
    """What call and put cost together where they are worth most nearly the same; 0 from a spot."""

    def pace(self, years: float) -> float:
        """Dollars per √second: how far quotes that are seconds apart may stand on different forwards.

        Quotes of a chain are not of one instant. What the underlying may move meanwhile, the chain's own straddle says.
        """
        return DEVIATIONS * self.straddle / (STRADDLE * sqrt(years * YEAR_S))


def parity_forward(pairs: Iterable[PairValues], discount: float = 1.0, nearest: int = NEAREST) -> Forward | None:
    """The weighted median over the pairs near the money; None without one usable pair."""
    found: list[tuple[float, float, float, float]] = []
    for strike, call_bid, call_ask, put_bid, put_ask in pairs:
        if 0 < call_bid <= call_ask and 0 < put_bid <= put_ask:
            difference = 0.5 * (call_bid + call_ask - put_bid - put_ask)
            width = 0.5 * (call_ask - call_bid + put_ask - put_bid)
            straddle = 0.5 * (call_bid + call_ask + put_bid + put_ask)
            found.append((abs(difference), strike + difference / discount, width, straddle))
    if not found:
        return None
    found.sort()
    near = found[:nearest]
    value = _weighted_median(sorted((forward, 1 / (width + TICK) ** 2) for _, forward, width, _ in near))
    half_width = min(width for _, _, width, _ in near) / discount
    return Forward(value, half_width, len(near), "parity", near[0][3])


def _weighted_median(weighed: list[tuple[float, float]]) -> float:
    """Between the two values whose weights' middles lie around half of all; weighed: (value, weight), sorted."""
    half = 0.5 * sum(weight for _, weight in weighed)
    reached, last_value, last_middle = 0.0, weighed[0][0], 0.0
    for value, weight in weighed:
        middle = reached + 0.5 * weight
        if middle >= half:
            if last_middle == 0.0:
                return value
            return last_value + (value - last_value) * (half - last_middle) / (middle - last_middle)
        reached, last_value, last_middle = reached + weight, value, middle
    return weighed[-1][0]
