"""What is sent of options is what a whole comparison would send, though most contracts are passed over each second."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphakite.sessions import EXCHANGE, session_on
from alphakite.simulator.conflation import OptionStream
from alphakite.simulator.market import Market
from alphakite.simulator.option_book import OptionBook
from alphakite.simulator.option_state import spots_of
from alphakite.simulator.option_wire import option_fields
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.programme import make_programme
from alphakite.simulator.synthetic import TRENDING, synthetic_tape

DAY = date(2026, 11, 20)
ALL = frozenset(range(56))
SESSION = session_on(DAY)
assert SESSION is not None
TAPES = {symbol: synthetic_tape(symbol, SESSION, 3) for symbol in ("QQQ", "$SPX", "AAPL", TRENDING)}


def ms(wall: str) -> int:
    return int(datetime.combine(DAY, time.fromisoformat(wall), EXCHANGE).timestamp() * 1000)


def book() -> OptionBook:
    assert SESSION is not None
    return OptionBook(3, SESSION, {symbol: spots_of(tape) for symbol, tape in TAPES.items()})


@pytest.mark.parametrize("symbol", ["QQQ", "$SPX", "AAPL"])
@pytest.mark.parametrize(
    ("begin", "end"),
    [("07:29:50", "07:32:30"), ("09:29:50", "09:31"), ("15:59:30", "16:00:30"), ("16:14:30", "16:15:30")],
)
def test_deltas_add_up_to_what_is_known(symbol: str, begin: str, end: str) -> None:
    """After each second the client has what an image would tell; a text that has not changed is not sent again."""
    market = Market(make_programme(SimulatorOptions(symbols=(symbol,), session=DAY, seed=3)))
    market.play(ms(begin))
    stream = OptionStream()
    keys = dict.fromkeys([one.symbol for one in market.chain(symbol)[:480:17]], ALL)
    told = {key: json.loads(stream.image(market, key, ALL)) for key in keys}
    items = 0
    while market.position_ms < ms(end):
        market.play(market.position_ms + 1000)
        for text in stream.deltas(market, keys):
            item = json.loads(text)
            known = told[item.pop("key")]
            assert item and all(known[number] != value for number, value in item.items())
            known.update(item)
            items += 1
        for key, known in told.items():
            contract = market.contract(key)
            assert contract is not None
            quote = market.option_quote(contract)
            fresh = option_fields(contract, quote, DAY)
            assert {name: value for name, value in known.items() if name.isdigit()} == {
                str(number): json.loads(text) for number, text in fresh.items()
            }
    assert items or (begin == "16:14:30" and symbol != "QQQ"), "nothing moved"


@settings(max_examples=30)
@given(
    st.sampled_from(sorted(TAPES)),
    st.integers(0, 400),
    st.integers(ms("03:31"), ms("17:00")),
    st.integers(0, 1_000_000),
)
def test_a_quote_holds_as_long_as_it_says(symbol: str, place: int, position_ms: int, later: int) -> None:
    """Up to its last moment, and any moment before it, another book gives the same quote."""
    first, second = book(), book()
    contract = first.chain(symbol)[place]
    quote, since_ms, until_ms = first.quoted(contract, position_ms)
    assert since_ms <= position_ms <= until_ms
    last_ms = min(until_ms, ms("20:00"))
    for moment_ms in (last_ms, position_ms + later % (last_ms - position_ms + 1)):
        assert second.quote(contract, moment_ms) == quote
    assert first.quote(contract, position_ms) is quote


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_the_trending_symbol_rises_by_three_per_cent(seed: int) -> None:
    """Steadily, with noise: in every half-hour by about its part, and as liquid as any."""
    assert SESSION is not None
    tape = synthetic_tape(TRENDING, SESSION, seed)
    prices = dict(zip(tape.prints.times_ms, tape.prints.prices, strict=True))
    opened, closed = prices[ms("09:30") + 100], prices[ms("16:00") + 200]
    assert 0.025 < closed / opened - 1 < 0.035
    times = [time_ms for time_ms in tape.prints.times_ms if ms("09:30") <= time_ms < ms("16:00")]
    marks = [
        prices[min(times, key=lambda time_ms: abs(time_ms - mark))] for mark in range(times[0], times[-1], 1_800_000)
    ]
    assert all(abs(mark / opened - 1 - 0.03 * place / 13) < 0.012 for place, mark in enumerate(marks))
    assert len({price for time_ms, price in prices.items() if ms("12:00") <= time_ms < ms("12:10")}) > 5
    assert max(abs(new - old) for old, new in pairwise(prices.values())) <= 5 * 1_000_000
    assert synthetic_tape(TRENDING, SESSION, seed) == tape


def test_strikes_that_a_trend_passes_are_near_the_money() -> None:
    """They quote every second, at the day's end as at its beginning."""
    model = book()
    prices = TAPES[TRENDING].prints.prices
    for price in (prices[0], prices[-1]):
        contract = min(model.chain(TRENDING), key=lambda one: (abs(one.strike - price), one.symbol))
        times = {model.quote(contract, ms("12:00") + 1000 * second).quote_time_ms for second in range(20)}
        assert len(times) == 20
