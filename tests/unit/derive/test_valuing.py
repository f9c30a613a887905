"""Model values of watched contracts: when, which, by which convention, and why not; the same whatever else is due."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alphakite.derive.contract import Contract
from alphakite.derive.greeks import CBOE, ExpiryModel, Greeks, OptionQuote, act365_sec, expiry_of, value_chain
from alphakite.derive.moment import SECOND_US, DeriveSettings
from alphakite.derive.valuing import Valued, definition_of, value_chain_at
from alphakite.model import PRICE_SCALE, ModelValues, OptionFlag

NEW_YORK = ZoneInfo("America/New_York")
DAY = date(2026, 11, 24)
CBOE_DAY, CBOE_RATE = date(2018, 1, 5), 0.0139
SPOT, RATE, DIVIDEND = 610.0, 0.04, 0.006
SETTINGS = DeriveSettings(greeks_rate=RATE, greeks_dividends={"QQQ": DIVIDEND})


def us(day: date, clock: str) -> int:
    return int(datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=NEW_YORK).timestamp()) * SECOND_US


TWO = us(DAY, "14:00:00")


def contract_of(ticker: str, root: str, day: date, right: str, strike: float) -> Contract:
    """A contract with an image, and nothing in it."""
    found = Contract.named(f"{root:6}{day:%y%m%d}{right}{round(strike * 1000):08d}", ticker, "P")
    assert found is not None
    found.conn = found.covered_us = 1
    return found


def put_quote(contract: Contract, bid: float | None, ask: float | None) -> None:
    book = contract.book
    book.bid, book.ask = (None if side is None else round(side * PRICE_SCALE) for side in (bid, ask))


def chain(second_us: int = TWO) -> list[Contract]:
    """QQQ from 604 to 616, quoted a tenth of a cent around the model of the second's end."""
    years = act365_sec(second_us + SECOND_US, expiry_of("QQQ", DAY))
    assert years is not None
    model = ExpiryModel.on_spot(SPOT, years, RATE, DIVIDEND)
    found = []
    for strike in range(604, 617):
        for right in "CP":
            price = model.price(right == "C", strike, smile(strike))
            found.append(contract_of("QQQ", "QQQ", DAY, right, strike))
            put_quote(found[-1], price - min(0.001, price / 2), price + 0.001)
    return found


def smile(strike: float) -> float:
    return 0.16 + 0.0001 * (strike - 612) ** 2


def valued(
    contracts: Sequence[Contract],
    emitted: Sequence[int] | None = None,
    second_us: int = TWO,
    settings: DeriveSettings = SETTINGS,
    spot: float | None = None,
    *,
    stale: bool = False,
) -> Valued:
    price = None if spot is None else round(spot * PRICE_SCALE)
    return value_chain_at(
        contracts, range(len(contracts)) if emitted is None else emitted, second_us, settings, price, stale
    )


def known(values: ModelValues | None) -> ModelValues:
    assert values is not None and values.reason == "", values
    return values


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_seconds_end_is_the_moment() -> None:
    """Volatilities are those that made the prices of the second's end, and all numbers stand at 1e-8."""
    contracts = chain()
    found = valued(contracts)
    years = act365_sec(TWO + SECOND_US, expiry_of("QQQ", DAY))
    assert years is not None
    for contract, values in zip(contracts, found.values, strict=True):
        strike = contract.strike / PRICE_SCALE
        if abs(strike - SPOT) > 3:
            continue
        one = known(values)
        model = ExpiryModel(one.forward / PRICE_SCALE if one.forward else 0, years, RATE, DIVIDEND)
        greeks = model.greeks(contract.right == "C", strike, (one.iv or 0) / PRICE_SCALE)
        stored = (one.iv, one.delta, one.gamma, one.theta, one.vega, one.rho)
        expected = (greeks.iv, greeks.delta, greeks.gamma, greeks.theta, greeks.vega, greeks.rho)
        assert stored == pytest.approx([number * PRICE_SCALE for number in expected], rel=1e-5, abs=2)
        assert one.half_width is not None and one.iv is not None and one.half_width >= 0
        assert abs(one.iv - smile(strike) * PRICE_SCALE) <= one.half_width
    assert set(found.flags) == {0} and found.events == []


def test_a_definition_says_what_makes_the_numbers() -> None:
    """Convention, clock, rate and the ticker's dividend; its digest is the md5 of these, and they are one object."""
    first, second = (known(valued(chain()).values[12]).definition for _ in range(2))
    assert first is second
    assert (first.convention, first.clock, first.rate, first.dividend) == ("model", "act365_sec", RATE, DIVIDEND)
    assert first.digest == hashlib.md5(b"model|act365_sec|0.04|0.006").hexdigest()
    assert definition_of("schwab", 0, -0.0).digest == hashlib.md5(b"schwab|schwab_weekday|0.0|0.0").hexdigest()
    assert len({definition_of(name, 0.04, 0.0).digest for name in ("model", "schwab", "cboe")}) == 3


@pytest.mark.parametrize("seed", range(5))
def test_the_same_numbers_whatever_is_due_and_in_whatever_order(seed: int) -> None:
    """All at once, one at a time, shuffled: one contract's values and flags are the same bits."""
    contracts = chain()
    put_quote(contracts[0], 0.3, 0.4)
    put_quote(contracts[5], 0.0, 0.05)
    whole = valued(contracts)
    expected = {one.symbol: (whole.flags[n], whole.values[n]) for n, one in enumerate(contracts)}
    chance = random.Random(seed)
    chance.shuffle(contracts)
    for emitted in (range(len(contracts)), chance.sample(range(len(contracts)), 7), [3], [20, 4]):
        for one in contracts:
            one.valued_us = 0
        found = valued(contracts, emitted)
        for index, flags, values in zip(emitted, found.flags, found.values, strict=True):
            assert (flags, values) == expected[contracts[index].symbol]
    assert len({values.reason for _, values in expected.values() if values}) >= 3


def test_a_stale_underlying_changes_nothing() -> None:
    """50 cents off, absent or stale: every flag and number is the same, for the quotes give the forward."""
    fresh = valued(chain(), spot=SPOT)
    assert fresh == valued(chain(), spot=SPOT + 0.5) == valued(chain()) == valued(chain(), spot=SPOT - 0.5, stale=True)


def test_what_is_wanted_of_a_chain_equals_the_whole() -> None:
    """greeks.value_chain itself: wanted indices give the same bits, in the order of asking."""
    quotes = [OptionQuote(one.right == "C", one.strike / 1e8, *_sides(one)) for one in chain()]
    whole = value_chain(quotes, 2e-4, RATE)
    for wanted in ([], [4], [20, 3, 3], list(range(26))[::-1]):
        part = value_chain(quotes, 2e-4, RATE, wanted=wanted)
        assert part.forward == whole.forward
        assert part.values == [whole.values[index] for index in wanted]
        assert part.half_widths == [whole.half_widths[index] for index in wanted]


def _sides(contract: Contract) -> tuple[float, float]:
    return (contract.book.bid or 0) / PRICE_SCALE, (contract.book.ask or 0) / PRICE_SCALE


# ── when ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_interval() -> None:
    """A contract is valued in its first row and then not within five seconds; each by its own rows; flags always."""
    contracts = chain()
    rows = {0: [10, 12], 1: [12], 4: [10, 11], 5: [10, 12], 9: [11, 10], 10: [10]}
    made = {}
    for second, emitted in rows.items():
        found = valued(contracts, emitted, TWO + second * SECOND_US)
        made[second] = [index for index, values in zip(emitted, found.values, strict=True) if values is not None]
        assert len(found.flags) == len(emitted)
    assert made == {0: [10, 12], 1: [], 4: [11], 5: [10, 12], 9: [11], 10: [10]}
    assert contracts[10].valued_us == TWO + 10 * SECOND_US and contracts[0].valued_us == 0


@pytest.mark.parametrize(
    ("interval_s", "seconds"), [(0.0, []), (1.0, [0, 1, 2, 3]), (0.5, [0, 1, 2, 3]), (2.5, [0, 3])]
)
def test_other_intervals(interval_s: float, seconds: list[int]) -> None:
    """0: never; shorter than a second: each row; between: the first second that is late enough."""
    contracts = chain()
    settings = DeriveSettings(greeks_interval_s=interval_s)
    made = [n for n in range(4) if valued(contracts, [12], TWO + n * SECOND_US, settings).values != [None]]
    assert made == seconds


def test_a_reason_counts_as_valued() -> None:
    """A contract that has no values is looked at again after the interval, not in every row."""
    contracts = chain()
    put_quote(contracts[12], None, 0.05)
    assert [valued(contracts, [12], TWO + n * SECOND_US).values[0] is not None for n in range(6)] == [
        True, False, False, False, False, True,
    ]  # fmt: skip


def test_each_update_as_a_row() -> None:
    """`at_us`: the moment itself is what counts, for the interval and for the time to expiry."""
    contracts = chain()
    for moment_us, made in ((TWO + 1, True), (TWO + 4_999_999, False), (TWO + 5_000_001, True)):
        found = value_chain_at(contracts, [12], TWO, SETTINGS, None, True, at_us=moment_us)
        assert (found.values[0] is not None) is made
    assert contracts[12].valued_us == TWO + 5_000_001
    assert valued(contracts, []) == Valued([], [], [])


# ── why not ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "name", "bid", "ask"),
    [
        ("no_bid", "C613", 0.0, 0.05),
        ("no_bid", "C613", None, 0.05),
        ("no_ask", "C613", 0.05, None),
        ("no_ask", "P606", 0.05, 0.0),
        ("crossed", "C613", 0.30, 0.20),
        ("too_wide", "C613", 0.05, 0.50),
        ("below_intrinsic", "C606", 3.20, 3.30),
        ("above_maximum", "C613", 615.0, 615.1),
    ],
)
def test_a_quote_that_has_no_value(reason: str, name: str, bid: float | None, ask: float | None) -> None:
    """The reason instead of numbers; the chain's forward is said all the same, and the others keep their values."""
    contracts = chain()
    at = next(n for n, one in enumerate(contracts) if one.right + str(one.strike // PRICE_SCALE) == name)
    before = known(valued(contracts).values[12])
    put_quote(contracts[at], bid, ask)
    for one in contracts:
        one.valued_us = 0
    found = valued(contracts)
    assert found.values[at] == ModelValues(before.definition, reason, forward=before.forward)
    assert known(found.values[12]).iv == pytest.approx(before.iv, rel=1e-4)


def test_no_time_value_left() -> None:
    """An in-the-money contract whose other side has no bid, at its intrinsic value: every volatility gives it."""
    contracts = chain()
    put_quote(contracts[0], 6.0, 6.02)
    put_quote(contracts[1], 0.0, 0.01)
    found = valued(contracts, [0, 1])
    assert [values.reason for values in found.values if values] == ["vega_too_small", "no_bid"]


def test_a_number_beyond_the_edge_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Infinite or absurd numbers never reach a column."""
    contracts = chain()
    for bad in (float("inf"), float("nan"), 1e9, -1e12):
        greeks = Greeks(0.2, 1.0, 0.5, 0.1, bad, 0.01, 0.01)
        monkeypatch.setattr("alphakite.derive.valuing.as_printed", lambda *_, made=greeks, **__: made)
        contracts[12].valued_us = 0
        (values,) = valued(contracts, [12]).values
        assert values is not None and (values.reason, values.theta) == ("vega_too_small", None)


def test_without_a_pair_the_spot_stands_in() -> None:
    """Calls alone: by the underlying's price, and the row says so; not by a stale one, nor by none."""
    calls = [one for one in chain() if one.right == "C"]
    at = next(n for n, one in enumerate(calls) if one.strike == 611 * PRICE_SCALE)
    by_spot = valued(calls, [at], spot=SPOT)
    assert known(by_spot.values[0]).iv == pytest.approx(smile(611) * PRICE_SCALE, abs=20)
    assert by_spot.flags == [OptionFlag.SPOT]
    for spot, stale, reason in (
        (SPOT, True, "stale_underlying"),
        (None, False, "no_underlying"),
        (0.0, False, "no_underlying"),
    ):
        calls[at].valued_us = 0
        found = valued(calls, [at], spot=spot, stale=stale)
        assert found.values[0] is not None and found.values[0].reason == reason
        assert (found.flags, found.values[0].forward) == ([0], None)


def test_expired_halted_and_not_quoted() -> None:
    """At the settlement; while trading is halted; without an image on the connection that others have one on."""
    contracts = chain()
    after = valued(contracts, [12], us(DAY, "15:59:59"))
    assert after.values[0] == ModelValues(definition_of("model", RATE, DIVIDEND), "expired")
    contracts = chain()
    before = known(valued(contracts, [14]).values[0])
    contracts[12].status = "Halted"
    contracts[13].conn = 0
    contracts[10].covered_us = 0
    for one in contracts:
        one.valued_us = 0
    put_quote(contracts[12], 9.0, 9.1)
    put_quote(contracts[13], 9.0, 9.1)
    found = valued(contracts, [12, 13, 10, 14])
    reasons = [values.reason for values in found.values if values]
    assert reasons == ["halted", "not_quoted", "not_quoted", ""]
    after_fault = known(found.values[3])
    assert after_fault.iv is not None and after_fault.iv == pytest.approx(before.iv, rel=0.01), "they do not count"


def test_while_no_connection_is_up_the_last_quotes_count() -> None:
    """The last second before a loss is judged by the books as they were."""
    contracts = chain()
    before = valued(contracts, [12])
    for one in contracts:
        one.conn = one.valued_us = 0
    assert valued(contracts, [12]) == before


def test_an_opening_settlement() -> None:
    """The settlement of any contract of the chain is the chain's: SPX of a Friday has expired at 09:30."""
    day = date(2026, 12, 18)
    contracts = [contract_of("$SPX", "SPX", day, right, 6000) for right in "CP"]
    for one, settlement in zip(contracts, ("", "A"), strict=True):
        one.settlement = settlement
        put_quote(one, 10.0, 10.2)
    early = valued(contracts, [0], us(day, "09:00:00")).values[0]
    late = valued(contracts, [1], us(day, "10:00:00")).values[0]
    assert known(early).iv and late is not None and late.reason == "expired"


# ── vendors' conventions, on their own chains ───────────────────────────────────────────────────────────────


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def unscaled(values: ModelValues) -> dict[str, float]:
    return {
        name: getattr(values, name) / PRICE_SCALE
        for name in ("iv", "delta", "gamma", "theta", "vega", "rho", "forward")
    }


def test_schwabs_chain_by_schwabs_convention(shared_data: Path) -> None:
    """From its theoretical values, out of the money: delta and vega to 1e-3, gamma to 1 % or its digits."""
    name = "schwab_chain_SPX_0DTE_20241015T151556Z"
    lines = rows(shared_data / f"{name}.csv.gz")
    head: dict[str, Any] = json.loads(gzip.decompress((shared_data / f"{name}.json.gz").read_bytes()))
    contracts = []
    for line in lines:
        one = contract_of("$SPX", "SPXW", date(2024, 10, 15), line["putCall"][0], float(line["strikePrice"]))
        put_quote(one, *[float(line["theoreticalOptionValue"])] * 2)
        contracts.append(one)
    moment_us = max(int(line["quoteTimeInLong"]) for line in lines) * 1000
    settings = DeriveSettings(greeks_convention="schwab", greeks_rate=head["interestRate"] / 100)
    for spot in (head["underlyingPrice"], head["underlyingPrice"] + 0.5):
        for one in contracts:
            one.valued_us = 0
        found = value_chain_at(
            contracts, range(len(contracts)), 0, settings, round(spot * PRICE_SCALE), False, at_us=moment_us
        )
        compared = 0
        for line, one, values in zip(lines, contracts, found.values, strict=True):
            ours = unscaled(known(values))
            if (one.strike / PRICE_SCALE >= ours["forward"]) is not (one.right == "C"):
                continue
            assert ours["iv"] == pytest.approx(float(line["volatility"]) / 100, abs=1e-4)
            assert ours["delta"] == pytest.approx(float(line["delta"]), abs=1e-3)
            assert ours["vega"] == pytest.approx(float(line["vega"]), abs=1e-3)
            assert ours["gamma"] == pytest.approx(float(line["gamma"]), rel=0.01, abs=0.0005)
            assert ours["theta"] == pytest.approx(float(line["theta"]), abs=0.001)
            assert ours["rho"] == pytest.approx(float(line["rho"]), abs=0.0006)
            compared += 1
        assert compared == 10
        assert set(found.flags) == {0}


def cboe_minutes(shared_data: Path) -> dict[str, list[dict[str, str]]]:
    minutes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for line in rows(shared_data / "cboe_SPXW_0DTE_20180105_am_1m_greeks.csv.gz"):
        minutes[line["time_ny_naive"]].append(line)
    return minutes


def test_cboes_morning_by_cboes_convention(shared_data: Path) -> None:
    """Out-of-the-money mids, the other side put by CBOE's underlying: volatility, delta, vega, rho to 1e-3, gamma to
    1 % or its digits, theta = −mid.
    """
    settings = DeriveSettings(greeks_convention="cboe", greeks_rate=CBOE_RATE)
    compared, capped = 0, 0
    for minute, lines in cboe_minutes(shared_data).items():
        at_us = us(CBOE_DAY, minute[11:19])
        years = CBOE.clock(at_us, expiry_of("SPXW", CBOE_DAY))
        assert years is not None
        watched, outside = [], []
        for line in lines:
            spot, strike, is_call = float(line["implied_underlying_price"]), float(line["strike"]), line["right"] == "C"
            model = ExpiryModel.on_spot(spot, years, CBOE_RATE)
            if (strike >= model.forward) is not is_call or line["implied_volatility"] == "0.02":
                continue
            mid = (float(line["bid"]) + float(line["ask"])) / 2
            for right in "CP":
                intrinsic = 0.0 if right == line["right"] else model.discount * abs(model.forward - strike)
                one = contract_of("$SPX", "SPXW", CBOE_DAY, right, strike)
                put_quote(one, *[mid + intrinsic] * 2)
                if right == line["right"]:
                    outside.append((len(watched), line))
                watched.append(one)
        found = value_chain_at(watched, [n for n, _ in outside], 0, settings, None, True, at_us=at_us)
        for (_, line), values in zip(outside, found.values, strict=True):
            ours = unscaled(known(values))
            assert ours["iv"] == pytest.approx(float(line["implied_volatility"]), abs=1e-3), line
            assert ours["delta"] == pytest.approx(float(line["delta"]), abs=1e-3), line
            assert ours["vega"] == pytest.approx(float(line["vega"]), abs=1e-3), line
            assert ours["gamma"] == pytest.approx(float(line["gamma"]), rel=0.01, abs=0.00006), line
            assert ours["rho"] == pytest.approx(float(line["rho"]), abs=1e-3), line
            capped += abs(ours["theta"] - float(line["theta"])) > 0.005
            compared += 1
    assert compared > 1300
    assert capped < 0.005 * compared


def test_cboes_morning_by_its_own_quotes(shared_data: Path) -> None:
    """Minute by minute through one watched chain, on the quotes' forward instead of CBOE's: 95 of 100 within these."""
    contracts: dict[tuple[str, str], Contract] = {}
    settings = DeriveSettings(greeks_convention="cboe", greeks_rate=CBOE_RATE)
    off: dict[str, list[float]] = defaultdict(list)
    for minute, lines in cboe_minutes(shared_data).items():
        for one in contracts.values():
            put_quote(one, None, None)
        for line in lines:
            key = (line["right"], line["strike"])
            if key not in contracts:
                contracts[key] = contract_of("$SPX", "SPXW", CBOE_DAY, line["right"], float(line["strike"]))
            put_quote(contracts[key], float(line["bid"]), float(line["ask"]))
        watched = list(contracts.values())
        emitted = [watched.index(contracts[line["right"], line["strike"]]) for line in lines]
        at_us = us(CBOE_DAY, minute[11:19])
        found = value_chain_at(watched, emitted, 0, settings, None, True, at_us=at_us)
        for line, values in zip(lines, found.values, strict=True):
            if values is None or values.reason or line["implied_volatility"] == "0.02":
                continue
            ours = unscaled(values)
            if (float(line["strike"]) >= ours["forward"]) is (line["right"] == "C"):
                off["iv"].append(abs(ours["iv"] - float(line["implied_volatility"])))
                off["vega"].append(abs(ours["vega"] - float(line["vega"])))
                off["delta"].append(abs(ours["delta"] - float(line["delta"])))
                off["theta"].append(abs(ours["theta"] + (float(line["bid"]) + float(line["ask"])) / 2))
    within = {name: sorted(each)[len(each) * 95 // 100] for name, each in off.items()}
    assert len(off["iv"]) > 1200
    assert within["iv"] < 1.5e-3 and within["vega"] < 1e-3 and within["delta"] < 3e-3 and within["theta"] < 1e-8
