"""Our volatilities against those the simulator made its quotes from: a whole chain at one instant, its own maths."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from alphakite.derive.greeks import Greeks, OptionQuote, act365_sec, expiry_of, value_chain
from alphakite.model import PRICE_SCALE
from alphakite.sessions import EXCHANGE, session_on
from alphakite.simulator.option_book import RATE, YEAR_MS, OptionBook
from alphakite.simulator.option_state import spots_of
from alphakite.simulator.synthetic import synthetic_tape

FRIDAY = date(2026, 11, 20)
AGREES = 1e-4
LEAST_TIME_VALUE = 1e-9
"""Of the price: what less than this hides is rounding."""


@pytest.fixture(scope="module")
def book() -> OptionBook:
    session = session_on(FRIDAY)
    assert session is not None
    return OptionBook(7, session, {symbol: spots_of(synthetic_tape(symbol, session, 7)) for symbol in ("QQQ", "$SPX")})


@pytest.mark.parametrize("symbol", ["QQQ", "$SPX"])
@pytest.mark.parametrize("clock", ["09:31", "12:00", "15:30", "15:55"])
def test_the_simulators_true_volatilities_come_back(book: OptionBook, symbol: str, clock: str) -> None:
    """To 1e-4 from unrounded mids; within the published half-width from its penny quotes."""
    at_ms = int(datetime.combine(FRIDAY, time.fromisoformat(clock), EXCHANGE).astimezone(UTC).timestamp() * 1000)
    chain = [one for one in book.chain(symbol) if one.expiry == FRIDAY and one.settlement == "P"]
    for one in chain:
        book.quote(one, at_ms)
    exact, rounded, truth = [], [], []
    for one in chain:
        known = book._known[one.symbol]
        spot = known.spots.at(at_ms)
        assert spot is not None
        years = (known.settles_ms - at_ms) / YEAR_MS
        truth.append(book._volatility(known, spot / PRICE_SCALE, years, at_ms))
        middle = book._value(known, spot, at_ms)
        bid, ask, _ = book._market(known, at_ms)
        strike = one.strike / PRICE_SCALE
        exact.append(OptionQuote(one.right == "C", strike, middle, middle))
        rounded.append(OptionQuote(one.right == "C", strike, bid / PRICE_SCALE, ask / PRICE_SCALE))
    left = act365_sec(at_ms * 1000, expiry_of(chain[0].root, FRIDAY, "P"))
    found = value_chain(exact, left, RATE)
    assert found.forward is not None
    compared = 0
    for quote, value, iv in zip(exact, found.values, truth, strict=True):
        inside = max(0.0, found.forward.value - quote.strike if quote.is_call else quote.strike - found.forward.value)
        if inside == 0 and (quote.bid or 0.0) > LEAST_TIME_VALUE * quote.strike:
            assert isinstance(value, Greeks) and abs(value.iv - iv) < AGREES, quote
            compared += 1
    assert compared
    penny = value_chain(rounded, left, RATE)
    solved = 0
    for quote, value, half_width, iv in zip(rounded, penny.values, penny.half_widths, truth, strict=True):
        if isinstance(value, Greeks) and half_width is not None:
            assert abs(value.iv - iv) <= half_width, quote
            solved += 1
    assert solved
