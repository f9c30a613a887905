"""What is quoted of options through a day: §2.4's contract and sentinel lines, §3.10's fields, §3.7's resets."""

from __future__ import annotations

import itertools
import json
import math
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.sessions import EXCHANGE
from alphakite.simulator.contracts import Contract
from alphakite.simulator.market import Market
from alphakite.simulator.option_wire import number_text
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.pricing import priced, value_of
from alphakite.simulator.programme import make_programme

DAY = date(2026, 11, 24)
MODEL = ("10", "28", "29", "30", "31", "32")


def ms(wall: str, day: date = DAY) -> int:
    return int(datetime.combine(day, time.fromisoformat(wall), EXCHANGE).timestamp() * 1000)


def market_at(wall: str, *symbols: str, day: date = DAY, **options: Any) -> Market:
    market = Market(make_programme(SimulatorOptions(symbols=symbols or ("QQQ",), session=day, **options)))
    market.play(ms(wall, day))
    return market


@lru_cache(maxsize=32)
def shared_market_at(wall: str) -> Market:
    return market_at(wall, "QQQ", "$SPX", "AAPL")


def near(market: Market, underlying: str = "QQQ", right: str = "C", expiry: int = 0, root: str = "") -> Contract:
    """The contract nearest to the money of an expiry, by its place."""
    chain = [one for one in market.chain(underlying) if one.right == right and (not root or one.root == root)]
    expiries = sorted({one.expiry for one in chain})
    spot = market.option_quote(chain[0]).underlying_price
    return min((one for one in chain if one.expiry == expiries[expiry]), key=lambda one: abs(one.strike - spot))


def item(market: Market, contract: Contract) -> dict[str, Any]:
    """The contract's image."""
    meta, texts = market.option_texts(contract)
    values = "".join(f',"{number}":{text}' for number, text in texts.items())
    image: dict[str, Any] = json.loads(f'{{"key":"{contract.symbol}",{meta}{values}}}')
    return image


def test_3_10_image_has_every_field_in_order() -> None:
    """1 to 55, behind key, delayed and assetMainType; no assetSubType, no cusip (captures of late 2025 and 2026)."""
    market = shared_market_at("12:00")
    image = item(market, near(market))
    assert list(image) == ["key", "delayed", "assetMainType", *map(str, range(1, 56))]
    assert (image["delayed"], image["assetMainType"]) == (False, "OPTION")


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ("2 3 4 5 6 7 10 11 13 15 19 20 25 28 29 30 31 32 34 35 37 44 45 46 47 50 51 52 53", (int, float)),
        ("8 9 12 14 16 17 18 23 26 27 38 39 42 54", int),
        ("1 21 22 24 33 36 40 41 43 49 55", str),
        ("48", bool),
    ],
)
def test_3_10_types(numbers: str, kind: Any) -> None:
    """Doubles, whole numbers, strings and the one boolean as the table says."""
    market = shared_market_at("12:00")
    image = item(market, near(market))
    for number in numbers.split():
        assert isinstance(image[number], kind) and (kind is bool or not isinstance(image[number], bool)), number


def test_3_10_static_fields() -> None:
    """What a contract is: description, expiry, strike, deliverable, last trading day at 20:00, root, exercise."""
    market = shared_market_at("12:00")
    contract = near(market)
    image = item(market, contract)
    strike = contract.strike / 1e8
    assert image["1"] == f"QQQ 11/24/2026 {strike:.2f} C"
    assert (image["12"], image["23"], image["26"], image["27"]) == (2026, 11, 24, 0)
    assert (image["13"], image["14"], image["20"], image["21"], image["22"]) == (100, 2, strike, "C", "QQQ")
    assert (image["24"], image["36"], image["40"], image["41"]) == ("100 QQQ", "W", "O", "OPR")
    assert (image["42"], image["43"], image["49"], image["55"]) == (ms("20:00"), "P", "QQQ", "A")
    index = item(market, near(market, "$SPX"))
    assert (index["22"], index["24"], index["49"], index["55"]) == ("$SPX", "100 $SPX(Cash)", "SPXW", "E")
    assert index["48"] is False and image["48"] is True


def test_3_10_money_fields_follow_from_prices() -> None:
    """11 signed, 25 = last - max(11, 0), 19 and 44 against the close, 37 the middle, 45 and 46 of the mark."""
    market = shared_market_at("12:00")
    for right, sign in (("C", 1), ("P", -1)):
        chain = [one for one in market.chain("QQQ") if one.right == right and one.expiry == DAY]
        image = item(market, max(chain, key=lambda one: market.option_quote(one).volume))
        intrinsic = sign * (image["35"] - image["20"])
        assert image["11"] == pytest.approx(intrinsic)
        assert image["25"] == pytest.approx(image["4"] - max(0, intrinsic))
        assert image["19"] == pytest.approx(image["4"] - image["7"])
        assert image["44"] == pytest.approx(100 * image["19"] / image["7"], abs=1e-7)
        assert image["37"] == pytest.approx((image["2"] + image["3"]) / 2)
        assert image["45"] == pytest.approx(image["37"] - image["7"])
        assert image["46"] == pytest.approx(100 * image["45"] / image["7"], abs=1e-7)
        assert image["51"] <= image["6"] <= image["4"] <= image["5"] <= image["50"]


def test_2_4_greeks_are_black_scholes_of_the_iv() -> None:
    """Field 10 in percent; delta, gamma, vega per point, rho; put and call of a strike share one IV."""
    market = shared_market_at("12:00")
    call = near(market, "$SPX", expiry=3)
    put = market.contract(swap(call.symbol))
    assert put is not None
    one, other = item(market, call), item(market, put)
    assert 5 < one["10"] < 60
    assert 0 < one["28"] < 1 and -1 < other["28"] < 0
    assert one["29"] > 0 and one["31"] > 0 and one["30"] < 0 and one["32"] > 0 > other["32"]
    assert abs(one["28"] - other["28"] - 1) < 0.02


def swap(symbol: str) -> str:
    return symbol[:12] + ("P" if symbol[12] == "C" else "C") + symbol[13:]


def test_2_4_theta_of_the_last_day_is_what_is_left() -> None:
    """Intrinsic value - price on the expiry day, as both vendors print it."""
    market = shared_market_at("12:00")
    image = item(market, near(market, "$SPX"))
    left = image["34"] - max(0, image["11"])
    assert image["30"] == pytest.approx(-left, abs=0.6)


def test_3_8_model_is_computed_every_quarter_minute() -> None:
    """IV, greeks and theoretical value change together every 15 s; between, only the market moves."""
    market = market_at("12:00")
    contract = near(market)
    models, quotes = [], []
    for _ in range(120):
        market.play(market.window_end_ms())
        image = item(market, contract)
        models.append(tuple(image[name] for name in (*MODEL, "34")))
        quotes.append(image["38"])
    changes = [place for place in range(1, 120) if models[place] != models[place - 1]]
    assert 7 <= len(changes) <= 8
    assert {b - a for a, b in itertools.pairwise(changes)} <= {*range(9, 22)}
    assert len(set(quotes)) > 50


def test_3_10_volume_grows_with_the_day() -> None:
    """Never falls; high, low and open follow the trades; the trade time is one of today."""
    market = market_at("09:29:59")
    contract = near(market)
    before = item(market, contract)
    assert (before["8"], before["5"], before["6"], before["15"]) == (0, 0, 0, 0)
    known = 0
    for minute in range(31, 60):
        market.play(ms(f"09:{minute}"))
        image = item(market, contract)
        assert image["8"] >= known
        known = image["8"]
        if known:
            assert image["6"] <= image["15"] <= image["5"] and image["39"] >= ms("09:30")
    assert known > 0


def test_same_moment_same_answer() -> None:
    """A pure function of contract, prices and time: the way to the moment, and the order of questions, do not count."""
    walked, jumped = market_at("10:00"), market_at("11:00")
    for wall in ("10:05", "10:17:33", "10:40", "11:00"):
        walked.play(ms(wall))
        for contract in walked.chain("QQQ")[:400:7]:
            walked.option_texts(contract)
    for contract in reversed(walked.chain("QQQ")[:400:7]):
        assert walked.option_texts(contract) == jumped.option_texts(contract)
    assert walked.option_texts(near(walked))[1] is walked.option_texts(near(walked))[1]
    assert market_at("11:00", seed=5).chain("QQQ") != walked.chain("QQQ")


def test_contract_by_symbol() -> None:
    """Every contract of the chain is found by its symbol; anything else is none."""
    market = shared_market_at("12:00")
    for underlying in ("QQQ", "$SPX", "AAPL"):
        chain = market.chain(underlying)
        assert len(chain) > 1000 and len({one.symbol for one in chain}) == len(chain)
        assert all(market.contract(one.symbol) is one for one in chain[::97])
    for symbol in ("IBM   261127C00100000", "QQQ", "QQQ   261124C99999000", ""):
        assert market.contract(symbol) is None
    assert market.chain("IBM") == []


# ── sentinels ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_2_4_sentinels_before_the_model_of_the_day() -> None:
    """Expiring today, before 07:30: -999 in 10 and 28-32, theoretical -1, quote time and sizes 0, status Unknown."""
    market = shared_market_at("05:00")
    image = item(market, near(market))
    assert [image[name] for name in MODEL] == [-999] * 6
    assert (image["34"], image["38"], image["16"], image["17"], image["33"]) == (-1, 0, 0, 0, "Unknown")
    assert image["2"] > 0 and image["4"] > 0 and image["39"] > 0


def test_2_4_iv_is_0_after_the_reset_until_computed() -> None:
    """Expiring later, before 07:30: IV 0, greeks -999; bid, ask and sizes are the close's, status Normal."""
    market = shared_market_at("05:00")
    image = item(market, near(market, expiry=2))
    assert image["10"] == 0 and [image[name] for name in MODEL[1:]] == [-999] * 5
    assert image["33"] == "Normal" and image["16"] > 0 and image["38"] < ms("04:00")


def test_3_7_option_resets() -> None:
    """Volume, high and low are 0 from the first second (03:30), the open from 07:28."""
    early, later = shared_market_at("07:27"), shared_market_at("07:29")
    before, after = item(early, near(early)), item(later, near(later))
    assert (before["8"], before["5"], before["6"], after["8"]) == (0, 0, 0, 0)
    assert before["15"] > 0 and after["15"] == 0


def test_2_4_model_of_yesterdays_close_before_the_opening() -> None:
    """At 08:05, as captured: IV and greeks are there; expiring today: sizes and quote time still 0, Unknown."""
    market = shared_market_at("08:05")
    image = item(market, near(market))
    assert image["10"] > 0 and image["28"] > 0 and image["34"] > 0
    assert (image["38"], image["16"], image["17"], image["33"]) == (0, 0, 0, "Unknown")
    later = item(market, near(market, expiry=1))
    assert later["10"] > 0 and later["16"] > 0 and later["33"] == "Normal"


def test_2_4_zero_bid_is_a_quote_and_has_no_model() -> None:
    """Far out of the money: bid 0 by an ask, bid size 0, -999, theoretical "NaN"."""
    market = shared_market_at("12:00")
    today = [one for one in market.chain("QQQ") if one.expiry == DAY and one.right == "P"]
    image = item(market, min(today, key=lambda one: one.strike))
    assert (image["2"], image["16"], image["34"]) == (0, 0, "NaN") and image["3"] > 0
    assert [image[name] for name in MODEL] == [-999] * 6


def test_2_4_deep_in_the_money_has_no_model() -> None:
    """Nothing above the intrinsic value: -999."""
    market = shared_market_at("15:00")
    today = [one for one in market.chain("QQQ") if one.expiry == DAY and one.right == "C"]
    image = item(market, min(today, key=lambda one: one.strike))
    assert image["2"] > 0 and image["10"] == -999 and image["28"] == -999


def test_2_4_expired_today_is_nan_after_the_close() -> None:
    """The string "NaN" in IV, greeks and theoretical value, and nothing moves any more."""
    market = market_at("16:20", "QQQ", "$SPX")
    for underlying in ("QQQ", "$SPX"):
        contract = near(market, underlying)
        image = item(market, contract)
        assert [image[name] for name in (*MODEL, "34")] == ["NaN"] * 7
        quote = market.option_quote(contract)
        assert quote.nan and quote.iv is None and quote.theoretical is None
    frozen = market.option_texts(near(market, expiry=2))
    market.play(ms("19:00"))
    assert market.option_texts(near(market, expiry=2)) == frozen


def test_close_of_day_by_product() -> None:
    """Single names stop at 16:00, ETFs at 16:15: after it their quote time stands."""
    market = market_at("16:10", "QQQ", "AAPL")
    for underlying, moves in (("QQQ", True), ("AAPL", False)):
        contract = near(market, underlying, expiry=1)
        assert (market.option_quote(contract).quote_time_ms >= ms("16:00")) is moves
    market.play(ms("19:00"))
    assert ms("16:14") < market.option_quote(near(market, "QQQ", expiry=1)).quote_time_ms < ms("16:15")


def test_am_settled_contract_has_no_market_on_its_last_day() -> None:
    """SPX monthly on its third Friday: settled at 09:30; "NaN" from then on."""
    day = date(2026, 12, 18)
    market = market_at("10:00", "$SPX", day=day)
    contract = near(market, "$SPX", root="SPX")
    assert (contract.settlement, contract.expiry) == ("A", day)
    assert item(market, contract)["10"] == "NaN"
    assert item(market, near(market, "$SPX", root="SPXW"))["10"] > 0


def test_decay_to_the_settlement() -> None:
    """At the money, the price falls towards what is intrinsic; one second before the end nothing else is left."""
    market = market_at("09:45")
    contract = near(market)
    values = []
    for wall in ("09:45", "12:00", "14:00", "15:30", "15:59:59"):
        market.play(ms(wall))
        quote = market.option_quote(contract)
        sign = 1 if contract.right == "C" else -1
        values.append(quote.mark - max(0, sign * (quote.underlying_price - contract.strike)))
    assert values[-1] <= 3_000_000
    assert values[0] > values[-1]


# ── pricing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pricing_textbook() -> None:
    """S 100, K 100, one year, 20 %, 5 %: 10.4506 and 5.5735; greeks of the call."""
    call, put = (priced(right, 100, 100, 1, 0.2, 0.05) for right in "CP")
    assert call.value == pytest.approx(10.450584, abs=1e-6)
    assert put.value == pytest.approx(5.573526, abs=1e-6)
    assert (call.delta, call.gamma) == (pytest.approx(0.636831, abs=1e-6), pytest.approx(0.018762, abs=1e-6))
    assert (call.vega, call.rho) == (pytest.approx(0.375240, abs=1e-6), pytest.approx(0.532325, abs=1e-6))
    assert call.theta == pytest.approx(-6.414028 / 365, abs=1e-6)


@given(st.floats(1, 1e4), st.floats(0.2, 5), st.floats(1e-6, 3), st.floats(0.02, 3), st.floats(0, 0.1))
def test_put_call_parity(spot: float, ratio: float, years: float, volatility: float, rate: float) -> None:
    """C - P = S - K e^-rT; `value_of` agrees with `priced`."""
    strike = spot * ratio
    call, put = (priced(right, spot, strike, years, volatility, rate) for right in "CP")
    assert call.value - put.value == pytest.approx(spot - strike * math.exp(-rate * years), abs=1e-8 * spot)
    assert value_of("C", spot, strike, years, volatility, rate) == pytest.approx(call.value, abs=1e-9 * spot)
    assert value_of("C", spot, strike, 0, volatility, rate) == max(0.0, spot - strike)


@pytest.mark.parametrize(
    ("number", "text"), [(0.0, "0"), (-1e-12, "0"), (235.0, "235"), (0.123456789, "0.12345679"), (-1.0, "-1")]
)
def test_number_texts(number: float, text: str) -> None:
    """Eight decimals, no trailing zeros, no exponent, no minus zero."""
    assert number_text(number) == text
