"""The one rounding of indicator values: exact integers → 1e-6, half to even."""

from __future__ import annotations

from alphakite.model import INDICATOR_SCALE, PRICE_SCALE

PER_UNIT = PRICE_SCALE // INDICATOR_SCALE


def ratio(numerator: int, denominator: int) -> int:
    """numerator / denominator of prices × PRICE_SCALE → a value × INDICATOR_SCALE, half to even."""
    divisor = denominator * PER_UNIT
    quotient, rest = divmod(numerator, divisor)
    twice = 2 * rest
    if twice > divisor or (twice == divisor and quotient & 1):
        quotient += 1
    return quotient
