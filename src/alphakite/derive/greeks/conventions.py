"""Whose greeks: ours, and how Schwab and CBOE print theirs, so that two columns of one name can be compared.

Delta, gamma and vega of all three are plain Black–Scholes once the time is the vendor's. What differs:
  clock   how many years are left (expiry.py)
  theta   on the last day both vendors print what is left to lose, intrinsic value − price, not the derivative
  rho     CBOE's is per 1.00 of the rate, not per point
Fitted to Schwab's $SPX chain of 2024-10-15 and CBOE's SPXW morning of 2018-01-05; a vendor may change it unannounced.
"""

from __future__ import annotations

from typing import NamedTuple

from alphakite.derive.greeks.black_scholes import Greeks
from alphakite.derive.greeks.expiry import Clock, act365_sec, cboe_calendar, schwab_weekday

POINTS = 100.0


class Convention(NamedTuple):
    """How somebody counts time and prints greeks."""

    name: str
    clock: Clock
    left_to_lose: bool
    """Theta on the last day = intrinsic value − price."""
    rho_per_unit: bool
    """Rho per 1.00 of the rate instead of per 0.01."""


MODEL = Convention("model", act365_sec, left_to_lose=False, rho_per_unit=False)
SCHWAB = Convention("schwab", schwab_weekday, left_to_lose=True, rho_per_unit=False)
CBOE = Convention("cboe", cboe_calendar, left_to_lose=True, rho_per_unit=True)
CONVENTIONS = {convention.name: convention for convention in (MODEL, SCHWAB, CBOE)}


def as_printed(
    convention: Convention, greeks: Greeks, is_call: bool, strike: float, spot: float, *, last_day: bool
) -> Greeks:
    """The same greeks in another's units.

    Args:
        spot: what the intrinsic value is counted from, undiscounted.
        last_day: whether the contract is settled today.
    """
    theta, rho = greeks.theta, greeks.rho
    if convention.left_to_lose and last_day:
        theta = max(spot - strike if is_call else strike - spot, 0.0) - greeks.price
    if convention.rho_per_unit:
        rho *= POINTS
    return greeks._replace(theta=theta, rho=rho)
