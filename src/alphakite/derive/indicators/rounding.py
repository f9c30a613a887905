"""The one rounding of indicator values: exact integers, and numbers of custom indicators → 1e-6, half to even."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from alphakite.model import INDICATOR_SCALE, PRICE_SCALE

PER_UNIT = PRICE_SCALE // INDICATOR_SCALE
LIMIT = 10**12
"""Dollars from which on a value counts as none: × INDICATOR_SCALE it still fits 64 bits."""


def ratio(numerator: int, denominator: int) -> int:
    """numerator / denominator of prices × PRICE_SCALE → a value × INDICATOR_SCALE, half to even."""
    divisor = denominator * PER_UNIT
    quotient, rest = divmod(numerator, divisor)
    twice = 2 * rest
    if twice > divisor or (twice == divisor and quotient & 1):
        quotient += 1
    return quotient


def units(value: float | Decimal | Fraction | None) -> int | None:
    """A number in dollars → a value × INDICATOR_SCALE: the nearest one to its exact value, half to even.

    None, NaN, infinities and what no price can be (LIMIT) → None.
    Raises: TypeError for what is no number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (float, int, Decimal, Fraction)):
        raise TypeError(f"a value must be a number or None, not {type(value).__name__}")
    try:
        numerator, denominator = value.as_integer_ratio()
    except (ValueError, OverflowError):  # NaN, infinite
        return None
    if abs(numerator) >= LIMIT * denominator:
        return None
    return ratio(numerator * PRICE_SCALE, denominator)
