"""All model values of one expiry at one moment.

In:   quotes of its contracts, years left, rate and dividend yield, and the underlying's price as a fallback.
Out:  for each contract, or each wanted one, in the same order, Greeks or the Reason why there are none, and how far its
      volatility is open; and the forward they stand on, which is that of all quotes, whichever are wanted.
A strike has one volatility, that of its out-of-the-money side: a deep contract's own spread is wider than its time
value. Where that side has none, an in-the-money contract is solved by its own price, if its time value is more than
its spread and the forward's half-width could make. A contract whose own quote is faulty has no values all the same:
what nobody quotes is not modelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from alphakite.derive.greeks.black_scholes import ExpiryModel, Greeks, make
from alphakite.derive.greeks.forward import Forward, PairValues, parity_forward
from alphakite.derive.greeks.implied import implied_volatility, iv_half_width, quote_fault, solve
from alphakite.derive.greeks.reasons import Reason


class OptionQuote(NamedTuple):
    """One contract's quote: dollars; None or 0 is no bid, no ask."""

    is_call: bool
    strike: float
    bid: float | None
    ask: float | None


QuoteValues = tuple[bool, float, float | None, float | None]
"""An OptionQuote, or a plain tuple of the same."""


class ChainValues(NamedTuple):
    """What a chain, or what is wanted of it, is worth by the model."""

    forward: Forward | None
    values: list[Greeks | Reason]
    half_widths: list[float | None]
    """Of the volatilities, as fractions: what spreads and the forward's half-width leave open. None beside a Reason."""


class _Strike(NamedTuple):
    """What a strike's out-of-the-money side says."""

    volatility: float | Reason
    price: float
    half_spread: float


def value_chain(
    quotes: Sequence[QuoteValues],
    years: float | None,
    rate: float = 0.0,
    dividend: float = 0.0,
    spot: float | None = None,
    *,
    spot_stale: bool = False,
    wanted: Sequence[int] | None = None,
    apart_s: Sequence[float] | None = None,
) -> ChainValues:
    """Args:
    years: by a clock of expiry.py; None: expired.
    rate, dividend: continuous per year; the dividend yield only moves the implied spot where parity gives the forward.
    spot, spot_stale: used only where no pair gives a forward.
    wanted: indices of the quotes whose values are asked for; None: all. Their values are the same bits either way.
    apart_s: how far the quote of each wanted one may lie from the others in time; None: they are of one instant.
    """
    if wanted is None:
        wanted = range(len(quotes))
    if years is None:
        return _nothing(wanted, Reason.EXPIRED)
    discount = ExpiryModel(1.0, years, rate).discount
    forward = parity_forward(_pairs(quotes), discount)
    if forward is None:
        if not spot or spot_stale:
            return _nothing(wanted, Reason.STALE_UNDERLYING if spot else Reason.NO_UNDERLYING)
        forward = Forward(ExpiryModel.on_spot(spot, years, rate, dividend).forward, 0.0, 0, "spot")
    model = ExpiryModel(forward.value, years, rate, dividend)
    strikes = _strikes(model, quotes, {quotes[index][1] for index in wanted})
    values: list[Greeks | Reason] = []
    half_widths: list[float | None] = []
    pace = forward.pace(years) if apart_s is not None else 0.0
    for place, index in enumerate(wanted):
        moved = pace * sqrt(apart_s[place]) if apart_s is not None else 0.0
        value, half_width = _value(model, quotes[index], strikes.get(quotes[index][1]), forward.half_width, moved)
        values.append(value)
        half_widths.append(half_width)
    return ChainValues(forward, values, half_widths)


def _nothing(wanted: Sequence[int], reason: Reason) -> ChainValues:
    return ChainValues(None, [reason] * len(wanted), [None] * len(wanted))


def _pairs(quotes: Sequence[QuoteValues]) -> list[PairValues]:
    calls = {strike: (bid, ask) for is_call, strike, bid, ask in quotes if is_call and bid and ask}
    return [
        (strike, *calls[strike], bid, ask)
        for is_call, strike, bid, ask in quotes
        if not is_call and bid and ask and strike in calls
    ]


def _strikes(model: ExpiryModel, quotes: Sequence[QuoteValues], wanted: set[float]) -> dict[float, _Strike]:
    """Wanted strike → what its out-of-the-money side says; at the money that is the call."""
    found: dict[float, _Strike] = {}
    forward = model.forward
    for is_call, strike, bid, ask in quotes:
        if (strike >= forward) is is_call and strike in wanted:
            fault = quote_fault(bid, ask)
            if fault is not None or bid is None or ask is None:
                found[strike] = _Strike(fault or Reason.NO_BID, 0.0, 0.0)
                continue
            price = 0.5 * (bid + ask)
            volatility = implied_volatility(model, is_call, strike, price)
            found[strike] = make(_Strike, (volatility, price, 0.5 * (ask - bid)))
    return found


def _value(
    model: ExpiryModel, quote: QuoteValues, outside: _Strike | None, loose: float, moved: float
) -> tuple[Greeks | Reason, float | None]:
    """A contract's values and its volatility's half-width.

    Args:
        loose: the forward's half-width.
        moved: how far the forward may have moved since the quote: alone in the money, a delta of one is all noise.
    """
    is_call, strike, bid, ask = quote
    if outside is not None and (strike >= model.forward) is is_call:
        volatility, price, half_spread = outside
        if isinstance(volatility, Reason):
            return volatility, None
        greeks = model.greeks(is_call, strike, volatility)
        return greeks, iv_half_width(greeks, price, greeks.delta, half_spread, loose)
    fault = quote_fault(bid, ask)
    if fault is not None or bid is None or ask is None:
        return fault or Reason.NO_BID, None
    inside = model.discount * abs(model.forward - strike)
    loose *= model.discount
    if ask < inside - loose - moved:
        return Reason.BELOW_INTRINSIC, None
    if outside is not None and isinstance(outside.volatility, float):
        greeks = model.greeks(is_call, strike, outside.volatility)
        outside_delta = model.carry - abs(greeks.delta)
        return greeks, iv_half_width(greeks, outside.price, outside_delta, outside.half_spread, loose)
    half_spread = 0.5 * (ask - bid)
    loose += moved
    price = bid + half_spread - inside
    if price <= half_spread + loose:  # all of its time value may be its spread, or the forward's
        return Reason.VEGA_TOO_SMALL, None
    alone = solve(model, is_call, strike, bid + half_spread)
    if isinstance(alone, Reason):
        return alone, None
    return alone, iv_half_width(alone, price, alone.delta, half_spread, loose)
