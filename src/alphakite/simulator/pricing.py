"""Black-Scholes as Schwab's greeks show it: no dividends, calendar time to the settlement instant.

In:   right, spot and strike in dollars, years left, volatility as a fraction, rate as a fraction.
Out:  Priced: dollars; theta per calendar day, vega and rho per point of 0.01.
On the last day theta is not the derivative but what is left to lose, intrinsic value - price, as in the captures.
European throughout: the simulator's own maths, shared with nothing that derives.
"""

from __future__ import annotations

from math import erfc, exp, log, pi, sqrt
from typing import NamedTuple

DAYS = 365.0
ROOT_TAU = sqrt(2 * pi)
ROOT_TWO = sqrt(2)


class Priced(NamedTuple):
    """One contract's model value and greeks."""

    value: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float


def value_of(right: str, spot: float, strike: float, years: float, volatility: float, rate: float) -> float:
    """The model value alone; the intrinsic value when no time is left."""
    if years <= 0:
        return max(0.0, spot - strike if right == "C" else strike - spot)
    spread = volatility * sqrt(years)
    d1 = (log(spot / strike) + rate * years) / spread + spread / 2
    paid = strike * exp(-rate * years)
    # `_below` written out: this is what most of a simulated session's time goes to.
    if right == "C":
        value = spot * (erfc(-d1 / ROOT_TWO) / 2) - paid * (erfc(-(d1 - spread) / ROOT_TWO) / 2)
    else:
        value = paid * (erfc(-(spread - d1) / ROOT_TWO) / 2) - spot * (erfc(d1 / ROOT_TWO) / 2)
    return value if value > 0.0 else 0.0


def priced(right: str, spot: float, strike: float, years: float, volatility: float, rate: float) -> Priced:
    """Value and greeks; `years` above 0."""
    root = sqrt(years)
    spread = volatility * root
    d1 = (log(spot / strike) + rate * years) / spread + spread / 2
    d2 = d1 - spread
    discount = exp(-rate * years)
    density = exp(-d1 * d1 / 2) / ROOT_TAU
    sign = 1.0 if right == "C" else -1.0
    paid = strike * discount * _below(sign * d2)
    value = max(0.0, sign * (spot * _below(sign * d1) - paid))
    theta = (-spot * density * volatility / (2 * root) - sign * rate * paid) / DAYS
    if years * DAYS < 1:
        theta = min(0.0, max(0.0, sign * (spot - strike)) - value)
    return Priced(
        value,
        sign * _below(sign * d1),
        density / (spot * spread),
        theta,
        spot * density * root / 100,
        sign * paid * years / 100,
    )


def _below(x: float) -> float:
    return erfc(-x / ROOT_TWO) / 2
