"""Implied volatility: from a price to the number that the model needs for it, or the reason why there is none.

In:   an ExpiryModel, a contract, a price or a quote.      Out:  volatility as a fraction, Greeks with it, or a Reason.

The price is first made that of the out-of-the-money side by parity: only there is time value not hidden behind the
intrinsic value's digits. The first guess inverts the normal (Bachelier) model, which the last day is all but equal to:
with v = gap/straddle and η = v/atanh v, σ√T = √(π/2)·straddle·√η·R(η) (after Choi, Kim, Kwak 2009; R was fitted here,
to 1e-4 for up to 37 deviations), times x/gap·(1 + s²/24) for the log-normal model (Hagan). From it one Householder step
of third order on ln(price) leaves an error below rounding; a large σ√T takes more, and what leaves the bounds is
bracketed.
"""

from __future__ import annotations

from math import erfc, exp, inf, isfinite, log, log1p, pi, sqrt

from alphakite.derive.greeks.black_scholes import ROOT_HALF, ExpiryModel, Greeks
from alphakite.derive.greeks.reasons import Reason

ROOT_HALF_PI = sqrt(pi / 2)
ROOT_TWO_BY_PI = sqrt(2 / pi)
P0, P1, P2, P3, P4 = 0.399451394147659, 13.569984891641989, 26.16222011107477, 32.61197354956848, 18.086513909580123
Q1, Q2, Q3 = 31.33154676640093, 12.374899967295105, 46.114398512554885
"""R(η) = (P0 + … + P4·η⁴) / (1 + … + Q3·η³)."""
CLOSE = 1e-3
"""A step below this part of σ√T is the last: what it leaves is its fourth power."""
ROUNDS = (1, 2, 3, 4, 5, 6)
MOST_TOTAL = 80.0
"""At this σ√T the price is its maximum to the last digit."""
LEAST = 1e-290
"""Below it a price has no logarithm that means something."""
ROUNDING = 1e-12
"""Of the forward: time value below it, behind an intrinsic value, is the price's own rounding."""
MOST_SPREAD = 1.0
"""Of the mid."""
FREE_SPREAD = 0.05
"""Dollars that are never too wide."""


def implied_volatility(model: ExpiryModel, is_call: bool, strike: float, price: float) -> float | Reason:
    """The volatility per √year at which the model gives a price. Args: price: discounted, as traded."""
    forward = model.forward
    value = price / model.discount
    gap = forward - strike if is_call else strike - forward
    if gap > 0:  # in the money: the rest is the other side's price
        value -= gap
        if value <= ROUNDING * forward:
            return Reason.VEGA_TOO_SMALL if value >= -ROUNDING * forward else Reason.BELOW_INTRINSIC
    elif value < 0:
        return Reason.BELOW_INTRINSIC
    if value < LEAST or value != value:
        return Reason.VEGA_TOO_SMALL
    low, high = (forward, strike) if forward < strike else (strike, forward)
    if value >= low * (1 - ROUNDING):
        return Reason.ABOVE_MAXIMUM if value >= low else Reason.VEGA_TOO_SMALL
    return total_volatility(value, low, high) / model.root_years


def solve(model: ExpiryModel, is_call: bool, strike: float, price: float) -> Greeks | Reason:
    """Implied volatility and greeks of a price: the hot path."""
    found = implied_volatility(model, is_call, strike, price)
    return found if isinstance(found, Reason) else model.greeks(is_call, strike, found)


def quote_fault(bid: float | None, ask: float | None) -> Reason | None:
    """Why a quote has no mid that means something; None if it has. Args: None, 0 or less: that side is absent."""
    if ask is None or ask <= 0:
        return Reason.NO_ASK
    if bid is None or bid <= 0:
        return Reason.NO_BID
    spread = ask - bid
    if spread < 0:
        return Reason.CROSSED
    if spread > FREE_SPREAD * (1 + 1e-9) and spread > MOST_SPREAD * 0.5 * (bid + ask):
        return Reason.TOO_WIDE
    return None


def solve_quote(
    model: ExpiryModel, is_call: bool, strike: float, bid: float | None, ask: float | None
) -> Greeks | Reason:
    """Implied volatility and greeks at the middle of a quote."""
    if (fault := quote_fault(bid, ask)) is not None or bid is None or ask is None:
        return fault or Reason.NO_BID
    return solve(model, is_call, strike, 0.5 * (bid + ask))


def iv_half_width(
    greeks: Greeks, outside_price: float, outside_delta: float, half_spread: float, loose: float
) -> float:
    """How far quotes leave the implied volatility open, to either side, as a fraction: a bound, not a guess.

    A price moves with the logarithm of volatility's wings, so the lower side is the wider one, and (price/vega)·
    ln(price/lowest price) is never below it.

    Args:
        outside_price, outside_delta: of the strike's out-of-the-money side.
        half_spread: of the quote that was solved.
        loose: the forward's half-width.
    """
    if greeks.vega <= 0:
        return inf
    width = half_spread + abs(outside_delta) * loose
    if width >= outside_price:
        return max(greeks.iv, 0.01 * width / greeks.vega)
    return -0.01 * outside_price / greeks.vega * log1p(-width / outside_price)


def total_volatility(value: float, low: float, high: float) -> float:
    """σ√T of an undiscounted out-of-the-money price. Args: low, high: forward and strike, sorted; 0 < value < low."""
    gap = high - low
    straddle = gap + 2 * value
    root = sqrt(low * high)
    if gap > 1e-12 * low:
        x = log1p(gap / low)
        eta = 2 * gap / (straddle * log1p(gap / value))
        total = ROOT_HALF_PI * straddle * sqrt(eta) * x / gap
        total *= (P0 + eta * (P1 + eta * (P2 + eta * (P3 + eta * P4)))) / (1 + eta * (Q1 + eta * (Q2 + eta * Q3)))
    else:
        x = gap / low
        total = ROOT_HALF_PI * straddle / root
    total *= 1 + total * total * (1 / 24)
    scale = ROOT_TWO_BY_PI * root
    for _ in ROUNDS:
        middle = x / total
        half = 0.5 * total
        twice = low * erfc((middle - half) * ROOT_HALF) - high * erfc((middle + half) * ROOT_HALF)
        if twice <= 0:
            break
        square = middle * middle
        slope = scale * exp(-0.5 * (square + half * half)) / twice
        if slope <= 0:
            break
        newton = log(2 * value / twice) / slope
        curve = (square - half * half) / total
        second = curve - slope
        third = curve * (curve - 3 * slope) + 2 * slope * slope - 3 * square / (total * total) - 0.25
        step = newton * (1 + 0.5 * second * newton) / (1 + newton * (second + third * newton * (1 / 6)))
        total += step
        if -CLOSE * total < step < CLOSE * total:
            return total
        if not 0 < total < MOST_TOTAL:
            break
    return _bracketed(value, low, high, x)


def _bracketed(value: float, low: float, high: float, x: float) -> float:
    """The same by halving, in σ√T's logarithm: slow, and it always ends."""
    least, most = log(max(x / 60, 1e-12)), log(MOST_TOTAL)
    for _ in range(200):
        at = 0.5 * (least + most)
        if not least < at < most:
            break
        total = exp(at)
        middle, half = x / total, 0.5 * total
        price = 0.5 * (low * erfc((middle - half) * ROOT_HALF) - high * erfc((middle + half) * ROOT_HALF))
        if not isfinite(price) or price < value:
            least = at
        else:
            most = at
    return exp(0.5 * (least + most))
