"""Whether an option's quote can be true, and whether the vendor's greeks are alive: flags and events, nothing deleted.

In:   the contracts of one chain at one moment, and the forward that their quotes imply.
Out:  OptionFlag bits of a row; QualityEvents `greeks_divergence` and `greeks_frozen`, one an episode and contract.

Bounds and parity are judged by a forward from quotes alone, within its half-width: without a pair of two-sided quotes,
and after the settlement, no quote contradicts anything. What the feed says it has not (NO_QUOTE, NO_IV, NO_GREEKS) and
what volumes do is not found here. Events are made in regular hours only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import sqrt
from typing import NamedTuple, Protocol

from alphakite.derive.greeks import CLOCKS, Expiry, ExpiryModel, Forward, Greeks, QuoteValues
from alphakite.derive.option_book import OptionBook
from alphakite.model import IV_SCALE, PRICE_SCALE, OptionFlag
from alphakite.sessions import exchange_date, session_on

CROSSED, BELOW_INTRINSIC, ABOVE_MAXIMUM = (
    int(OptionFlag.CROSSED),
    int(OptionFlag.BELOW_INTRINSIC),
    int(OptionFlag.ABOVE_MAXIMUM),
)
PARITY, FROZEN = int(OptionFlag.PARITY), int(OptionFlag.FROZEN)
"""Plain integers: an IntFlag's arithmetic costs more than the judgement."""

TICK = 0.01
"""Dollars: the least step of a price. Four rounded sides that contradict the forward by less say nothing."""
ROUNDING = 1e-6
"""Dollars: more than floats lose, less than any price's step."""
APART_S = 2.0
"""How old the forward's own quotes may be: near the money, of a feed at one update a second."""
FROZEN_US = 60_000_000
"""Between two quote times of one contract a recording of 2025-10-31 has 32 s at most; twice that is no pause."""
LASTING_US = 120_000_000
"""Schwab computes its model anew every 15 s: what eight of them did not mend is not a delay."""
ENDING_US = 120_000_000
"""Before the settlement volatilities run away, each by its own clock, and vendors stop solving: nothing is compared."""
MOST_POINTS = 0.05
"""Of volatility, as a fraction. Five points are more than rounding, a late spot or 15 s can make where vega counts."""
LEAST_VEGA = 0.01
"""Dollars a point: below it five points are within the spread of a cent on either side."""
MOVED = 0.05
"""Dollars that a mid has to move, and more than its spread: less is the quote's own noise."""
MOVED_PART = 0.10
"""Of the mid: so much of it changes delta or volatility in the digits that the vendor sends, by whatever model."""
PINNED = 0.02
"""A delta so near to 0 or 1 may stand still by right, however the price moves."""


class Watched(Protocol):
    """What of a contract is read, and the state that is kept in it. Prices × PRICE_SCALE, times in µs since 1970 UTC.

    `conn`: the connection of its image, 0 none. `valued_us`: when it was last valued. `diverging_us`: since when the
    vendor's volatility differs, 0 it does not; `diverged`: that is told. `vendor_moved_us`: when the vendor's iv and
    delta became `vendor_iv` and `vendor_delta`, 0 not known; `mid_then`: the mid at that time, 0 none;
    `vendor_told`: that they stand still is told.
    """

    ticker: str
    root: str
    right: str
    strike: int
    expiry: date
    settlement: str
    book: OptionBook
    conn: int
    covered_us: int
    valued_us: int
    diverging_us: int
    diverged: bool
    vendor_moved_us: int
    vendor_iv: int | None
    vendor_delta: int | None
    mid_then: int
    vendor_told: bool

    @property
    def symbol(self) -> str: ...

    @property
    def halted(self) -> bool: ...


class Bounds(NamedTuple):
    """What quotes of a chain may not contradict at one moment."""

    forward: Forward
    model: ExpiryModel
    pace: float
    """The forward's: dollars per √second."""
    torn: frozenset[float]
    """Strikes whose call and put imply another forward."""


def bounds_of(
    chain: Sequence[Watched],
    quotes: Sequence[QuoteValues],
    forward: Forward | None,
    model: ExpiryModel | None,
    now_us: int,
) -> Bounds | None:
    """None: nothing can be contradicted. Args: quotes: of the contracts of `chain`, in its order."""
    if forward is None or model is None or not forward.pairs:
        return None
    value, half_width, discount = forward.value, forward.half_width, model.discount
    carried = model.spot * abs(1 - model.carry)
    calls = {quote[1]: (index, quote) for index, quote in enumerate(quotes) if quote[0]}
    doubted = []
    for index, (is_call, strike, bid, ask) in enumerate(quotes):
        if is_call or not bid or not ask or bid > ask or strike not in calls:
            continue
        other, (_, _, call_bid, call_ask) = calls[strike]
        if call_bid and call_ask and call_bid <= call_ask:
            off = abs(strike + 0.5 * (call_bid + call_ask - bid - ask) / discount - value)
            # an American side deep in the money is worth up to the interest, or the dividends, until the expiry more
            early = strike * (1 - discount) + carried
            off -= 0.5 * (call_ask - call_bid + ask - bid) / discount + half_width + TICK + early
            if off > 0:
                doubted.append((strike, off, index, other))
    pace = forward.pace(model.years)
    torn = [
        strike
        for strike, off, index, other in doubted
        if off > pace * sqrt(max(apart_s(chain[index], now_us), apart_s(chain[other], now_us)))
    ]
    return Bounds(forward, model, pace, frozenset(torn))


def quote_flags(contract: Watched, quote: QuoteValues, bounds: Bounds | None, now_us: int) -> int:
    """CROSSED, BELOW_INTRINSIC, ABOVE_MAXIMUM and PARITY of one contract.

    Args:
        quote: the contract's, in dollars; without sides if it does not count for the model.
    """
    book = contract.book
    flags = CROSSED if book.bid and book.ask and book.bid > book.ask else 0
    is_call, strike, bid, ask = quote
    if bid and not is_call and bid > strike + ROUNDING:
        flags |= ABOVE_MAXIMUM
    if bounds is None:
        return flags
    forward, model, pace, torn = bounds
    intrinsic = model.discount * (forward.value - strike if is_call else strike - forward.value)
    if ask and ask < intrinsic:
        loose = forward.half_width * model.discount + ROUNDING + pace * sqrt(apart_s(contract, now_us))
        if ask < intrinsic - loose:
            flags |= BELOW_INTRINSIC
    if bid and is_call and bid > model.spot + forward.half_width + ROUNDING:
        flags |= ABOVE_MAXIMUM
    if strike in torn and bid and ask and bid <= ask:
        flags |= PARITY
    return flags


def apart_s(contract: Watched, now_us: int) -> float:
    """How far a quote and those of the forward may lie apart in time."""
    quoted_ms = contract.book.quote_time_ms
    age_us = FROZEN_US if not quoted_ms else min(max(now_us - quoted_ms * 1000, 0), FROZEN_US)
    return age_us / 1_000_000 + APART_S


def is_frozen(quote_time_ms: int | None, now_us: int, open_us: int) -> bool:
    """FROZEN of a row: within regular hours (`open_us`: their start, 0 outside) its quote stood still for a minute."""
    return bool(open_us and quote_time_ms and now_us - max(quote_time_ms * 1000, open_us) > FROZEN_US)


def open_us_of(now_us: int) -> int:
    """Start of the regular hours in which the microsecond before this moment lies; 0 if in none."""
    session = session_on(exchange_date(now_us - 1))
    return session.regular_open_us if session and session.regular_open_us < now_us <= session.regular_close_us else 0


def clock_span(years: float, expiry: Expiry, now_us: int) -> tuple[float, float]:
    """What a volatility that stands on `years` is multiplied by, at least and at most, to stand on any known clock."""
    ratios = [1.0, *(sqrt(years / left) for clock in CLOCKS.values() if (left := clock(now_us, expiry)))]
    return min(ratios), max(ratios)


def divergence(
    contract: Watched, greeks: Greeks, half_width: float, span: tuple[float, float], now_us: int, watch_us: int
) -> str | None:
    """What to tell about the vendor's volatility beside ours, once it has differed for LASTING_US.

    Which clock a vendor counts by is known from single days only, so ours is put on every known one, at the same total
    volatility (σ√T), and the vendor's differs if it lies outside what they span, and the quotes leave open, by more
    than MOST_POINTS. Half an hour before the end they span a factor of 1.45: a constant, a percentage as a fraction or
    yesterday's value still shows.

    Args:
        half_width: how far the quotes leave ours open.
        span: clock_span's.
        watch_us: start of the hours that are watched, 0 outside them.
    """
    vendor = contract.book.iv
    if not watch_us:
        contract.diverging_us, contract.diverged = 0, False
        return None
    if vendor is None:
        return None  # nothing to compare: that ends no episode and begins none
    theirs, low, high = vendor / IV_SCALE, greeks.iv * span[0], greeks.iv * span[1]
    loose = MOST_POINTS + half_width
    if low - loose <= theirs <= high + loose or greeks.vega < LEAST_VEGA:
        contract.diverging_us, contract.diverged = 0, False
        return None
    if contract.diverging_us < watch_us:
        contract.diverging_us, contract.diverged = now_us, False
    lasted_us = now_us - contract.diverging_us
    if contract.diverged or lasted_us <= LASTING_US:
        return None
    contract.diverged = True
    return (
        f"iv {100 * theirs:.2f} %, ours {100 * greeks.iv:.2f} % ± {100 * half_width:.2f} ("
        f"{100 * low:.2f} to {100 * high:.2f} by known clocks), vega {greeks.vega:.4f} a point, "
        f"for {lasted_us // 1_000_000} s"
    )


def standstill(contract: Watched, now_us: int, watch_us: int) -> str | None:
    """What to tell about a vendor's iv and delta that have stood still for LASTING_US while the mid moved away."""
    book = contract.book
    iv, delta = book.iv, book.delta
    if not watch_us or not iv or delta is None:
        contract.vendor_moved_us, contract.vendor_told = 0, False
        return None
    bid, ask = book.bid, book.ask
    mid = (bid + ask) // 2 if bid and ask and bid <= ask else 0
    if contract.vendor_moved_us < watch_us or (iv, delta) != (contract.vendor_iv, contract.vendor_delta):
        contract.vendor_iv, contract.vendor_delta = iv, delta
        contract.vendor_moved_us, contract.mid_then, contract.vendor_told = now_us, mid, False
        return None
    if not contract.mid_then:
        contract.mid_then = mid
    lasted_us = now_us - contract.vendor_moved_us
    if contract.vendor_told or lasted_us <= LASTING_US or not mid or bid is None or ask is None:
        return None
    if not PINNED < abs(delta) / PRICE_SCALE < 1 - PINNED:
        return None
    least = max(ask - bid, MOVED * PRICE_SCALE, MOVED_PART * contract.mid_then)
    if abs(mid - contract.mid_then) <= least:
        return None
    contract.vendor_told = True
    return (
        f"iv {100 * iv / IV_SCALE:.2f} % and delta {delta / PRICE_SCALE:.4f} for {lasted_us // 1_000_000} s, "
        f"while the mid went from {contract.mid_then / PRICE_SCALE:.3f} to {mid / PRICE_SCALE:.3f}"
    )
