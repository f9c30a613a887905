"""The solver: round trips over seconds to years and deep wings, and a reason wherever there is no number."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from alphakite.derive.greeks import (
    ExpiryModel,
    Greeks,
    Reason,
    implied_volatility,
    iv_half_width,
    quote_fault,
    solve,
    solve_quote,
)
from alphakite.derive.greeks.implied import _bracketed, total_volatility

SECOND = 1 / 86400 / 365
MODEL = ExpiryModel(610.0, 3600 * SECOND, 0.043, 0.006)


def model_at(seconds: float) -> ExpiryModel:
    return ExpiryModel(610.0, seconds * SECOND, 0.043, 0.006)


@settings(max_examples=600)
@given(
    log_seconds=st.floats(0, math.log(3 * 365 * 86400)),
    sigma=st.floats(0.02, 3),
    z=st.floats(-8, 8),
    rate=st.floats(-0.01, 0.08),
)
@example(log_seconds=0.0, sigma=0.02, z=8.0, rate=0.04)
@example(log_seconds=0.0, sigma=0.02, z=0.0, rate=0.04)
@example(log_seconds=math.log(3 * 365 * 86400), sigma=3.0, z=0.0, rate=0.04)
@example(log_seconds=math.log(3 * 365 * 86400), sigma=3.0, z=-8.0, rate=0.0)
def test_round_trip_out_of_the_money(log_seconds: float, sigma: float, z: float, rate: float) -> None:
    """Volatility → price → the same volatility to 1e-9, from one second to three years, eight deviations out."""
    model = ExpiryModel(610.0, math.exp(log_seconds) * SECOND, rate)
    strike = 610.0 * math.exp(z * sigma * model.root_years)
    is_call = strike >= 610.0
    greeks = model.greeks(is_call, strike, sigma)
    assume(greeks.price > 1e-250)
    assert implied_volatility(model, is_call, strike, greeks.price) == pytest.approx(sigma, abs=1e-9)


@settings(max_examples=300)
@given(log_seconds=st.floats(0, math.log(3 * 365 * 86400)), sigma=st.floats(0.02, 2), z=st.floats(-6, 6))
def test_round_trip_in_the_money(log_seconds: float, sigma: float, z: float) -> None:
    """In the money the price's own rounding limits it: to 1e-9 and what 4 ulp of the price are worth."""
    model = model_at(math.exp(log_seconds))
    strike = 610.0 * math.exp(z * sigma * model.root_years)
    is_call = strike < 610.0
    greeks = model.greeks(is_call, strike, sigma)
    found = implied_volatility(model, is_call, strike, greeks.price)
    if found is Reason.VEGA_TOO_SMALL:
        assert model.price(not is_call, strike, sigma) < 2e-12 * 610
        return
    rounding = 8 * math.ulp(max(610.0, strike)) / (100 * greeks.vega)
    assume(rounding < 1e-3)
    assert found == pytest.approx(sigma, abs=1e-9 + rounding)


@settings(max_examples=300)
@given(strike=st.floats(1, 1e5), price=st.floats(0, 1e5), is_call=st.booleans(), log_seconds=st.floats(0, 20))
def test_every_price_has_an_answer(strike: float, price: float, is_call: bool, log_seconds: float) -> None:
    """A finite volatility that gives the price back, or a reason: never an exception, never nonsense."""
    model = model_at(math.exp(log_seconds))
    found = implied_volatility(model, is_call, strike, price)
    if isinstance(found, Reason):
        assert found in {Reason.BELOW_INTRINSIC, Reason.ABOVE_MAXIMUM, Reason.VEGA_TOO_SMALL}
        return
    assert 0 < found < math.inf
    assert model.price(is_call, strike, found) == pytest.approx(price, rel=1e-9, abs=1e-9 * max(610, strike))


@pytest.mark.parametrize(("total", "z"), [(0.0003, 0.5), (0.02, -3.0), (0.4, 1.0), (2.0, 0.3)])
def test_the_bracket_gives_the_same(total: float, z: float) -> None:
    """The slow way that stands behind the fast one finds the same number."""
    high = 610.0 * math.exp(abs(z) * total)
    value = ExpiryModel(610.0, 1.0).price(True, high, total)
    slow = _bracketed(value, 610.0, high, math.log(high / 610.0))
    assert slow == pytest.approx(total, rel=1e-9)
    assert total_volatility(value, 610.0, high) == pytest.approx(slow, rel=1e-9)


def test_reasons_of_a_price() -> None:
    """Below the intrinsic value, above what any volatility reaches, and nothing but the intrinsic value."""
    assert implied_volatility(MODEL, True, 600, 9.9) is Reason.BELOW_INTRINSIC
    assert implied_volatility(MODEL, True, 620, -0.01) is Reason.BELOW_INTRINSIC
    assert implied_volatility(MODEL, True, 620, 611) is Reason.ABOVE_MAXIMUM
    assert implied_volatility(MODEL, False, 600, 601) is Reason.ABOVE_MAXIMUM
    assert implied_volatility(MODEL, True, 620, 0.0) is Reason.VEGA_TOO_SMALL
    assert implied_volatility(MODEL, True, 620, math.nan) is Reason.VEGA_TOO_SMALL
    last = ExpiryModel.on_spot(610, 300 * SECOND, 0.043, 0.006)
    deep = last.price(True, 600, 0.4)
    assert deep == pytest.approx(10.00021062)
    assert implied_volatility(last, True, 600, deep) is Reason.VEGA_TOO_SMALL, "py_vollib answers 0.0 here"


@pytest.mark.parametrize(
    ("bid", "ask", "fault"),
    [
        (1.0, 1.1, None),
        (0.05, 0.10, None),
        (0.01, 0.06, None),
        (1.1, 1.1, None),
        (0.01, 0.07, Reason.TOO_WIDE),
        (1.0, 3.1, Reason.TOO_WIDE),
        (1.2, 1.1, Reason.CROSSED),
        (0.0, 0.05, Reason.NO_BID),
        (None, 0.05, Reason.NO_BID),
        (-999.0, 0.05, Reason.NO_BID),
        (0.05, -999.0, Reason.NO_ASK),
        (1.0, 0.0, Reason.NO_ASK),
        (1.0, None, Reason.NO_ASK),
        (None, None, Reason.NO_ASK),
    ],
)
def test_reasons_of_a_quote(bid: float | None, ask: float | None, fault: Reason | None) -> None:
    """A mid is used only where both sides stand, in order, and near enough to each other."""
    assert quote_fault(bid, ask) is fault
    answer = solve_quote(MODEL, True, 611, bid, ask)
    assert isinstance(answer, Greeks) if fault is None else answer is fault


def test_half_width() -> None:
    """Never below what bid and ask would give, and no more than twice that unless the bid is next to nothing."""
    for price in (0.5, 0.1, 0.03, 0.01, 0.006):
        for half_spread in (0.005, 0.02):
            greeks = solve(MODEL, True, 612.25, price)
            assert isinstance(greeks, Greeks)
            width = iv_half_width(greeks, price, greeks.delta, half_spread, 0.0)
            high = implied_volatility(MODEL, True, 612.25, price + half_spread)
            assert isinstance(high, float) and width >= high - greeks.iv
            low = implied_volatility(MODEL, True, 612.25, price - half_spread)
            if isinstance(low, float):
                assert greeks.iv - low <= width
                assert width < 2 * (greeks.iv - low) or price < 0.03
    wider = iv_half_width(greeks, price, greeks.delta, 0.001, 0.01)
    assert wider > iv_half_width(greeks, price, greeks.delta, 0.001, 0.0)
    assert iv_half_width(greeks._replace(vega=0.0), 0.05, 0.1, 0.01, 0.0) == math.inf
