"""A chain's values: the forward by parity, what a stale underlying does (nothing), and the reasons of single quotes."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.derive.greeks import ExpiryModel, Forward, Greeks, OptionQuote, Pair, Reason, parity_forward, value_chain

YEARS = 3600 / 86400 / 365
RATE, DIVIDEND, SPOT = 0.043, 0.006, 610.0
TRUTH = ExpiryModel.on_spot(SPOT, YEARS, RATE, DIVIDEND)


def smile(strike: float) -> float:
    z = math.log(strike / SPOT) / TRUTH.root_years
    return 0.16 - 0.03 * z / 3 + 0.02 * z * z / 9


def chain(half_spread: float = 0.0, strikes: range = range(600, 621)) -> list[OptionQuote]:
    """Both sides of each strike, around the model's unrounded price; the bid stays above 0."""
    quotes = []
    for strike in strikes:
        for is_call in (True, False):
            mid = TRUTH.price(is_call, strike, smile(strike))
            half = min(half_spread, 0.4 * mid)
            quotes.append(OptionQuote(is_call, float(strike), mid - half, mid + half))
    return quotes


def ivs(values: list[Greeks | Reason]) -> list[float]:
    return [value.iv if isinstance(value, Greeks) else math.nan for value in values]


def test_true_volatilities_come_back() -> None:
    """From unrounded mids: forward to 1e-9, every contract's volatility to 1e-8, both sides of a strike the same."""
    quotes = chain(strikes=range(603, 618))
    found = value_chain(quotes, YEARS, RATE, DIVIDEND)
    assert found.forward is not None
    assert found.forward.value == pytest.approx(TRUTH.forward, rel=1e-12)
    assert (found.forward.source, found.forward.pairs) == ("parity", 7)
    assert ivs(found.values) == pytest.approx([smile(quote.strike) for quote in quotes], abs=1e-8)
    for quote, value in zip(quotes, found.values, strict=True):
        assert value == pytest.approx(TRUTH.greeks(quote.is_call, quote.strike, smile(quote.strike)), abs=1e-7)


def test_a_stale_underlying_changes_nothing() -> None:
    """An underlying's price 50 cents off, or none, gives the same bits; by the spot, deltas part."""
    quotes = chain(0.01, range(607, 614))
    fresh = value_chain(quotes, YEARS, RATE, DIVIDEND, SPOT)
    assert all(isinstance(value, Greeks) for value in fresh.values)
    for spot in (SPOT + 0.5, SPOT - 0.5, None):
        assert value_chain(quotes, YEARS, RATE, DIVIDEND, spot) == fresh
    bent = ExpiryModel.on_spot(SPOT + 0.5, YEARS, RATE, DIVIDEND).greeks(True, 610, 0.16)
    straight = fresh.values[quotes.index(next(quote for quote in quotes if quote.strike == 610))]
    assert isinstance(straight, Greeks) and abs(bent.delta - straight.delta) > 0.15


def test_one_frozen_quote_moves_nothing() -> None:
    """One contract's quote stands still while the market moves by 40 cents: the forward stays within a cent of true."""
    quotes = chain(0.01)
    at = quotes.index(next(quote for quote in quotes if quote.strike == 610 and quote.is_call))
    frozen = quotes[at]
    quotes[at] = OptionQuote(True, 610.0, (frozen.bid or 0) + 0.4, (frozen.ask or 0) + 0.4)
    found = value_chain(quotes, YEARS, RATE, DIVIDEND).forward
    assert found is not None and found.value == pytest.approx(TRUTH.forward, abs=0.01)


@given(seed=st.integers(0, 10_000))
def test_the_forward_on_penny_quotes(seed: int) -> None:
    """Quotes rounded outwards to cents: the forward is true to two and a half, and inside its half-width."""
    chance = random.Random(seed)
    pairs = []
    for strike in range(600, 621):
        sides = []
        for is_call in (True, False):
            mid = TRUTH.price(is_call, strike, smile(strike))
            sides += [math.floor((mid - chance.random() * 0.02) * 100) / 100]
            sides += [math.ceil((mid + chance.random() * 0.02) * 100) / 100]
        pairs.append(Pair(strike, *sides))
    found = parity_forward(pairs, TRUTH.discount)
    assert found is not None
    assert abs(found.value - TRUTH.forward) < min(0.025, found.half_width)


@given(seed=st.integers(0, 10_000), minutes=st.sampled_from([5, 60, 390]))
def test_true_volatilities_lie_within_the_half_width(seed: int, minutes: int) -> None:
    """From penny quotes around the truth: every volatility that is given is the true one within its half-width."""
    chance = random.Random(seed)
    truth = ExpiryModel.on_spot(SPOT, minutes / 1440 / 365, RATE, DIVIDEND)
    quotes = []
    for strike in range(600, 621):
        for is_call in (True, False):
            mid = truth.price(is_call, strike, smile(strike))
            bid, ask = mid - chance.random() * 0.02, mid + chance.random() * 0.02
            quotes.append(OptionQuote(is_call, float(strike), math.floor(bid * 100) / 100, math.ceil(ask * 100) / 100))
    found = value_chain(quotes, truth.years, RATE, DIVIDEND)
    known = 0
    for quote, value, half_width in zip(quotes, found.values, found.half_widths, strict=True):
        assert isinstance(value, Greeks) is (half_width is not None)
        if isinstance(value, Greeks) and half_width is not None:
            assert abs(value.iv - smile(quote.strike)) <= half_width, quote
            known += 1
    assert known >= 3 or minutes == 5, "five minutes before the end three strikes may have no bid"


def test_a_forward_needs_a_pair() -> None:
    """One-sided, crossed and absent quotes are no pair; one good pair is enough."""
    bad = [Pair(610, 1, 1.1, 0, 0.05), Pair(611, 1.2, 1.1, 1, 1.1), Pair(612, 0.0, 0.1, 2, 2.1)]
    assert parity_forward(bad) is None
    assert parity_forward([]) is None
    assert parity_forward([*bad, Pair(610, 1.0, 1.1, 0.5, 0.6)]) == Forward(
        pytest.approx(610.5), pytest.approx(0.1), 1, "parity", pytest.approx(1.6)
    )


def test_without_pairs_the_spot_stands_in() -> None:
    """One side alone: by the underlying's price; not if it is stale, nor if there is none."""
    calls = [quote for quote in chain(0.001, range(608, 614)) if quote.is_call]
    found = value_chain(calls, YEARS, RATE, DIVIDEND, SPOT)
    assert found.forward == Forward(pytest.approx(TRUTH.forward), 0.0, 0, "spot")
    assert ivs(found.values) == pytest.approx([smile(quote.strike) for quote in calls], abs=1e-7)
    assert set(value_chain(calls, YEARS, RATE, DIVIDEND).values) == {Reason.NO_UNDERLYING}
    assert set(value_chain(calls, YEARS, RATE, DIVIDEND, SPOT, spot_stale=True).values) == {Reason.STALE_UNDERLYING}
    assert set(value_chain(calls, None, RATE, DIVIDEND, SPOT).values) == {Reason.EXPIRED}
    assert value_chain([], YEARS) == (None, [], [])


@pytest.mark.parametrize(
    ("is_call", "strike", "bid", "ask", "reason"),
    [
        (True, 612.0, None, 0.05, Reason.NO_BID),
        (True, 612.0, 0.05, None, Reason.NO_ASK),
        (True, 612.0, 0.2, 0.1, Reason.CROSSED),
        (True, 612.0, 0.05, 0.5, Reason.TOO_WIDE),
        (True, 606.0, 0.0, 9.0, Reason.NO_BID),
        (True, 606.0, 3.5, 3.6, Reason.BELOW_INTRINSIC),
        (False, 612.0, 1.0, 1.05, Reason.BELOW_INTRINSIC),
    ],
)
def test_a_contract_without_values(is_call: bool, strike: float, bid: float, ask: float, reason: Reason) -> None:
    """Its own quote decides, also in the money where the strike's volatility would be known; the others keep theirs."""
    quotes = chain(0.005, range(605, 616))
    at = next(n for n, quote in enumerate(quotes) if quote.is_call is is_call and quote.strike == strike)
    quotes[at] = OptionQuote(is_call, strike, bid, ask)
    values = value_chain(quotes, YEARS, RATE, DIVIDEND).values
    assert values[at] is reason
    assert sum(isinstance(value, Greeks) for value in values) >= len(values) - 2


def test_in_the_money_alone_is_solved_by_its_own_price() -> None:
    """Where the other side has no bid, an in-the-money contract's own quote gives the volatility."""
    quotes = [
        quote._replace(bid=0.0) if quote.strike == 608 and not quote.is_call else quote
        for quote in chain(strikes=range(605, 616))
    ]
    values = value_chain(quotes, YEARS, RATE, DIVIDEND).values
    call, put = (values[n] for n, quote in enumerate(quotes) if quote.strike == 608)
    assert isinstance(call, Greeks) and call.iv == pytest.approx(smile(608), abs=1e-6)
    assert put is Reason.NO_BID


def test_quotes_of_other_instants_prove_less() -> None:
    """Alone in the money, what may have moved since a quote hides time value and excuses a low ask; no more."""
    quotes = [
        quote._replace(bid=0.0) if quote.strike == 608 and not quote.is_call else quote
        for quote in chain(strikes=range(605, 616))
    ]
    alone, low = (next(n for n, quote in enumerate(quotes) if quote[:2] == (True, strike)) for strike in (608, 606))
    quotes[low] = OptionQuote(True, 606.0, 3.85, 3.9)
    for apart_s, expected in ((0.0, Reason.BELOW_INTRINSIC), (9.0, None)):
        found = value_chain(quotes, YEARS, RATE, DIVIDEND, apart_s=[apart_s] * len(quotes))
        assert found.values[low] is expected or expected is None
        assert isinstance(found.values[alone], Greeks) is (apart_s == 0)
        whole = value_chain(quotes, YEARS, RATE, DIVIDEND)
        others = [n for n in range(len(quotes)) if n not in (alone, low)]
        assert [found.values[n] for n in others] == [whole.values[n] for n in others]
    assert found.values[alone] is Reason.VEGA_TOO_SMALL and found.values[low] is not Reason.BELOW_INTRINSIC


def test_the_pace_of_a_forward() -> None:
    """Four deviations a √second of the volatility that the straddle holds."""
    forward = parity_forward([Pair(610, *[TRUTH.price(True, 610, 0.16)] * 2, *[TRUTH.price(False, 610, 0.16)] * 2)])
    assert forward is not None
    assert forward.pace(YEARS) == pytest.approx(4 * SPOT * 0.16 / math.sqrt(365 * 86400), rel=0.01)
