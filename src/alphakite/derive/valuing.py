"""What the contracts of one chain are worth by our own model at one moment, and what of their quotes cannot be true.

In:   the watched contracts of one ticker, root and expiry, which of them have a row, the settings, the spot.
Out:  for each row its OptionFlag bits and its ModelValues, None while the contract was valued less than
      GREEKS_INTERVAL ago; quality events. The time of valuing, and what is watched of the vendor, stay in the contract.

The moment is the END of the second: quotes are those known then, and the time to expiry counts from there.
Numbers are × PRICE_SCALE, rounded half to even. They depend on the chain's books alone, not on which contracts are due
or in what order they come: the forward is taken from all two-sided quotes. A quote counts from its image on: after a
reconnection those that wait for theirs count no more, and a halted contract's never.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from alphakite.derive.greeks import (
    CONVENTIONS,
    Convention,
    ExpiryModel,
    Forward,
    Greeks,
    QuoteValues,
    Reason,
    as_printed,
    expiry_of,
    value_chain,
)
from alphakite.derive.moment import SECOND_US, DeriveSettings
from alphakite.derive.quality import (
    ENDING_US,
    FROZEN,
    Watched,
    apart_s,
    bounds_of,
    clock_span,
    divergence,
    is_frozen,
    open_us_of,
    quote_flags,
    standstill,
)
from alphakite.model import PRICE_SCALE, ModelDefinition, ModelValues, OptionFlag, QualityEvent
from alphakite.sessions import exchange_date

SPOT = int(OptionFlag.SPOT)
MOST = 1e9
"""A greater number is the model's edge, not a value: it becomes `vega_too_small`."""
DIVERGENCE, STANDSTILL = "greeks_divergence", "greeks_frozen"


class Valued(NamedTuple):
    """Of the rows, in the order in which they were asked for."""

    flags: list[int]
    values: list[ModelValues | None]
    events: list[QualityEvent]


class _Now(NamedTuple):
    """What all contracts of the chain share at the moment. `open_us`, `watch_us`: 0 outside the hours that count."""

    us: int
    stamp_us: int
    open_us: int
    watch_us: int
    span: tuple[float, float]
    last_day: bool
    conn: int
    convention: Convention
    definition: ModelDefinition
    forward: Forward | None
    model: ExpiryModel | None


def value_chain_at(
    chain: Sequence[Watched],
    emitted: Sequence[int],
    second_us: int,
    settings: DeriveSettings,
    spot: int | None,
    spot_stale: bool,
    *,
    at_us: int = 0,
    seq: int = 0,
) -> Valued:
    """Value and judge the contracts that have a row.

    Args:
        emitted: indices of those.
        second_us: the second that is over.
        spot: the underlying's price × PRICE_SCALE, used only where no pair of quotes gives a forward.
        at_us: the moment instead of the second's end, where every update makes a row.
        seq: the newest record, for the key of events.
    """
    valued = Valued([], [], [])
    if not emitted:
        return valued
    us, stamp_us = at_us or second_us + SECOND_US, at_us or second_us
    first = chain[0]
    expiry = expiry_of(first.root, first.expiry, max(contract.settlement for contract in chain))
    convention = CONVENTIONS[settings.greeks_convention]
    rate, dividend = settings.greeks_rate, settings.greeks_dividends.get(first.ticker, 0.0)
    years = convention.clock(us, expiry)
    conn = max(contract.conn for contract in chain)
    quotes = [_quote(contract, conn) for contract in chain]
    due = _due(chain, emitted, stamp_us, settings)
    price = spot / PRICE_SCALE if spot else None
    apart = [apart_s(chain[index], us) for index in due]
    found = value_chain(quotes, years, rate, dividend, price, spot_stale=spot_stale, wanted=due, apart_s=apart)
    model = ExpiryModel(found.forward.value, years, rate, dividend) if found.forward and years else None
    values = dict(zip(due, zip(found.values, found.half_widths, strict=True), strict=True))
    bounds = bounds_of(chain, quotes, found.forward, model, us)
    open_us = open_us_of(us)
    watch_us = open_us if expiry.settlement_us - us > ENDING_US else 0
    span = clock_span(years, expiry, us) if years else (1.0, 1.0)
    last_day = exchange_date(us) == expiry.day
    definition = definition_of(convention.name, rate, dividend)
    now = _Now(us, stamp_us, open_us, watch_us, span, last_day, conn, convention, definition, found.forward, model)
    for index in emitted:
        contract = chain[index]
        flags = quote_flags(contract, quotes[index], bounds, us)
        if is_frozen(contract.book.quote_time_ms, us, open_us):
            flags |= FROZEN
        model_values = _model_values(contract, *values[index], now, valued.events, seq) if index in values else None
        if model_values and not model_values.reason and found.forward and not found.forward.pairs:
            flags |= SPOT
        _tell(contract, STANDSTILL, standstill(contract, us, watch_us), us, seq, valued.events)
        valued.flags.append(flags)
        valued.values.append(model_values)
    return valued


def _model_values(
    contract: Watched,
    value: Greeks | Reason,
    half_width: float | None,
    now: _Now,
    events: list[QualityEvent],
    seq: int,
) -> ModelValues:
    """What is stored of a contract that is due; what its vendor's values differ by goes to events."""
    contract.valued_us = now.stamp_us
    if value is not Reason.EXPIRED:
        value = _fault(contract, now.conn) or value
    if isinstance(value, Greeks) and half_width is not None and now.model is not None:
        strike = contract.strike / PRICE_SCALE
        is_call, spot = contract.right == "C", now.model.spot
        if (strike >= now.model.forward) is is_call:  # only there is the volatility the quote's own, for either model
            detail = divergence(contract, value, half_width, now.span, now.us, now.watch_us)
            _tell(contract, DIVERGENCE, detail, now.us, seq, events)
        value = as_printed(now.convention, value, is_call, strike, spot, last_day=now.last_day)
    return _stored(now.definition, value, half_width, now.forward)


def _tell(contract: Watched, kind: str, detail: str | None, now_us: int, seq: int, events: list[QualityEvent]) -> None:
    if detail is not None:
        events.append(QualityEvent(contract.symbol, now_us, kind, detail, seq, 0))


@lru_cache(maxsize=256)
def definition_of(convention: str, rate: float, dividend: float) -> ModelDefinition:
    """How values are made; its digest is the md5 of `convention|clock|rate|dividend`, numbers as Python's repr."""
    rate, dividend = float(rate) + 0.0, float(dividend) + 0.0  # -0.0 is 0.0
    clock = CONVENTIONS[convention].clock.__name__
    text = f"{convention}|{clock}|{rate!r}|{dividend!r}"
    return ModelDefinition(
        convention, clock, rate, dividend, hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    )


def _due(chain: Sequence[Watched], emitted: Sequence[int], stamp_us: int, settings: DeriveSettings) -> list[int]:
    interval_us = round(settings.greeks_interval_s * SECOND_US)
    if interval_us <= 0:
        return []
    return [index for index in emitted if not (last := chain[index].valued_us) or stamp_us - last >= interval_us]


def _quote(contract: Watched, conn: int) -> QuoteValues:
    """In dollars; without sides if it does not count."""
    book = contract.book
    bid, ask = book.bid, book.ask
    if contract.halted or contract.conn != conn:
        bid = ask = None
    return (
        contract.right == "C",
        contract.strike / PRICE_SCALE,
        None if bid is None else bid / PRICE_SCALE,
        None if ask is None else ask / PRICE_SCALE,
    )


def _fault(contract: Watched, conn: int) -> Reason | None:
    if contract.conn != conn or not contract.covered_us:
        return Reason.NOT_QUOTED
    return Reason.HALTED if contract.halted else None


def _stored(
    definition: ModelDefinition, value: Greeks | Reason, half_width: float | None, forward: Forward | None
) -> ModelValues:
    at = None if forward is None else round(forward.value * PRICE_SCALE)
    if isinstance(value, Greeks) and half_width is not None:
        iv, _, delta, gamma, theta, vega, rho = value
        if all(map(_bounded, (iv, delta, gamma, theta, vega, rho, half_width))):
            return ModelValues(
                definition, "", round(iv * PRICE_SCALE), round(delta * PRICE_SCALE), round(gamma * PRICE_SCALE),
                round(theta * PRICE_SCALE), round(vega * PRICE_SCALE), round(rho * PRICE_SCALE),
                round(half_width * PRICE_SCALE), at,
            )  # fmt: skip
        value = Reason.VEGA_TOO_SMALL
    return ModelValues(definition, str(value), forward=at)


def _bounded(number: float) -> bool:
    return -MOST < number < MOST
