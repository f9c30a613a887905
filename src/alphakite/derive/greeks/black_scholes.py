"""Black–Scholes–Merton on the forward: prices and greeks of one expiry at one moment, in closed form.

In:   forward and strike in dollars (index points), years to settlement by a stated clock (expiry.py), the rate and the
      dividend yield continuous per year as fractions, volatility as a fraction per √year.
Out:  per 1 share:
        price  dollars, discounted                       delta  per $1 of the spot; a put's is negative
        gamma  delta per $1                              vega   dollars per point of volatility (0.01)
        theta  dollars per calendar day (1/365 year)     rho    dollars per point of the rate (0.01), the spot held
The spot is the one that the forward implies, F·e^(−(r−q)T): a stale index or a late print changes nothing.
Closed forms only: on the last hour a one-day or one-point bump is no derivative. Tails by erfc, never as 1 − N.
European: for contracts that end today the American premium is under a tenth of a cent at the money.
"""

from __future__ import annotations

from math import erfc, exp, log, log1p, pi, sqrt
from typing import NamedTuple

ROOT_HALF = sqrt(0.5)
ONE_BY_ROOT_TWO_PI = 1 / sqrt(2 * pi)
DAYS = 365.0
MINUTES_A_DAY = 1440.0
make = tuple.__new__
"""A NamedTuple by its own constructor takes three times as long."""


class Greeks(NamedTuple):
    """One contract's model values; units in the module's docstring."""

    iv: float
    price: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float

    @property
    def theta_min(self) -> float:
        """Dollars per minute: what a theta per day cannot say on the last day."""
        return self.theta / MINUTES_A_DAY


class ExpiryModel:
    """What all contracts of one expiry share at one moment, computed once."""

    __slots__ = ("_forward_now", "carry", "discount", "dividend", "forward", "rate", "root_years", "spot", "years")

    def __init__(self, forward: float, years: float, rate: float = 0.0, dividend: float = 0.0) -> None:
        """Args: forward, years: above 0. Raises ValueError for others."""
        if not (forward > 0 and years > 0):
            raise ValueError(f"a forward and a time above 0 are needed, not {forward} and {years}")
        self.forward = forward
        self.years = years
        self.rate = rate
        self.dividend = dividend
        self.root_years = sqrt(years)
        self.discount = exp(-rate * years)
        self.spot = forward * exp((dividend - rate) * years)
        self.carry = exp(-dividend * years)
        self._forward_now = self.discount * forward

    @classmethod
    def on_spot(cls, spot: float, years: float, rate: float = 0.0, dividend: float = 0.0) -> ExpiryModel:
        """The same from the underlying's price: the fallback where no pair of quotes gives a forward."""
        return cls(spot * exp((rate - dividend) * years), years, rate, dividend)

    def price(self, is_call: bool, strike: float, volatility: float) -> float:
        """The discounted price. Args: volatility: above 0."""
        return self.greeks(is_call, strike, volatility).price

    def greeks(self, is_call: bool, strike: float, volatility: float) -> Greeks:
        """Price and greeks. Args: strike, volatility: above 0."""
        forward, root_years, forward_now = self.forward, self.root_years, self._forward_now
        total = volatility * root_years
        gap = (forward - strike) / strike
        middle = (log1p(gap) if gap > -0.5 else log(forward / strike)) / total
        d1 = middle + 0.5 * total
        d2 = middle - 0.5 * total
        if is_call:
            n1 = 0.5 * erfc(-d1 * ROOT_HALF)
            n2 = 0.5 * erfc(-d2 * ROOT_HALF)
        else:
            n1 = -0.5 * erfc(d1 * ROOT_HALF)
            n2 = -0.5 * erfc(d2 * ROOT_HALF)
        density = ONE_BY_ROOT_TWO_PI * exp(-0.5 * d1 * d1)
        raw_vega = forward_now * density * root_years
        strike_now = strike * self.discount * n2
        spread = forward_now * n1
        return make(
            Greeks,
            (
                volatility,
                spread - strike_now,
                self.carry * n1,
                self.carry * density / (self.spot * total),
                (self.dividend * spread - self.rate * strike_now - 0.5 * raw_vega * volatility / self.years) / DAYS,
                0.01 * raw_vega,
                0.01 * self.years * strike_now,
            ),
        )
