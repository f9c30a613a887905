"""Real chains: Schwab's $SPX of 2024-10-15 and CBOE's SPXW morning of 2018-01-05, each by its own clock and units."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alphakite.derive.greeks import (
    CBOE,
    SCHWAB,
    ExpiryModel,
    Greeks,
    OptionQuote,
    act365_sec,
    as_printed,
    expiry_of,
    solve,
    value_chain,
)

SCHWAB_DAY, CBOE_DAY = date(2024, 10, 15), date(2018, 1, 5)
CBOE_RATE = 0.0139
NONE_FOUND = "0.02"
NEW_YORK = ZoneInfo("America/New_York")
PRINTED = ("delta", "gamma", "theta", "vega", "rho")


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def schwab_chain(shared_data: Path) -> tuple[list[dict[str, str]], dict[str, Any], float]:
    """The contracts, the reply's head, and Schwab's years left at its newest quote."""
    name = "schwab_chain_SPX_0DTE_20241015T151556Z"
    contracts = rows(shared_data / f"{name}.csv.gz")
    head = json.loads(gzip.decompress((shared_data / f"{name}.json.gz").read_bytes()))
    now_us = max(int(row["quoteTimeInLong"]) for row in contracts) * 1000
    years = SCHWAB.clock(now_us, expiry_of("SPXW", SCHWAB_DAY, contracts[0]["settlementType"]))
    assert years is not None
    return contracts, head, years


def quotes_of(contracts: list[dict[str, str]], *, theoretical: bool) -> list[OptionQuote]:
    """The market's quotes, or Schwab's theoretical value as both sides."""
    names = ("theoreticalOptionValue", "theoreticalOptionValue") if theoretical else ("bid", "ask")
    return [
        OptionQuote(row["putCall"] == "CALL", float(row["strikePrice"]), *(float(row[name]) for name in names))
        for row in contracts
    ]


def test_schwabs_chain_by_schwabs_clock(shared_data: Path) -> None:
    """From its theoretical values, out of the money: delta and vega to 1e-3, gamma to 1 % or its digits."""
    contracts, head, years = schwab_chain(shared_data)
    quotes = quotes_of(contracts, theoretical=True)
    found = value_chain(quotes, years, head["interestRate"] / 100)
    assert found.forward is not None
    compared = 0
    for row, quote, value in zip(contracts, quotes, found.values, strict=True):
        assert isinstance(value, Greeks)
        if (quote.strike >= found.forward.value) is not quote.is_call:
            continue
        ours = as_printed(SCHWAB, value, quote.is_call, quote.strike, head["underlyingPrice"], last_day=True)
        assert ours.iv == pytest.approx(float(row["volatility"]) / 100, abs=1e-4)
        assert ours.delta == pytest.approx(float(row["delta"]), abs=1e-3)
        assert ours.vega == pytest.approx(float(row["vega"]), abs=1e-3)
        assert ours.gamma == pytest.approx(float(row["gamma"]), rel=0.01, abs=0.0005), "three decimals are printed"
        assert ours.theta == pytest.approx(float(row["theta"]), abs=0.001)
        assert ours.rho == pytest.approx(float(row["rho"]), abs=0.0006)
        compared += 1
    assert compared == 10


def test_schwabs_underlying_was_stale(shared_data: Path) -> None:
    """The quotes' own forward lay 55 cents above Schwab's; that is what its deltas are off by."""
    contracts, head, years = schwab_chain(shared_data)
    rate = head["interestRate"] / 100
    market = value_chain(quotes_of(contracts, theoretical=False), years, rate, spot=head["underlyingPrice"])
    theirs = value_chain(quotes_of(contracts, theoretical=True), years, rate)
    assert market.forward is not None and theirs.forward is not None
    assert market.forward.value - theirs.forward.value == pytest.approx(0.55, abs=0.05)
    for row, quote, value in zip(contracts, quotes_of(contracts, theoretical=False), market.values, strict=True):
        assert isinstance(value, Greeks)
        assert abs(value.delta - float(row["delta"])) < 0.013
        assert (quote.bid or 0) <= value.price <= (quote.ask or 0), "one volatility a strike prices both sides"


def test_cboes_morning_by_cboes_clock(shared_data: Path) -> None:
    """Out of the money: volatility, delta, vega, rho to 1e-3, gamma to 1 % or its digits, theta = −mid."""
    expiry = expiry_of("SPXW", CBOE_DAY)
    compared, capped = 0, 0
    for row in rows(shared_data / "cboe_SPXW_0DTE_20180105_am_1m_greeks.csv.gz"):
        if row["implied_volatility"] == NONE_FOUND:
            continue
        moment = datetime.fromisoformat(row["time_ny_naive"]).replace(tzinfo=NEW_YORK)
        years = CBOE.clock(int(moment.timestamp()) * 1_000_000, expiry)
        assert years is not None
        is_call, strike = row["right"] == "C", float(row["strike"])
        spot = float(row["implied_underlying_price"])
        model = ExpiryModel.on_spot(spot, years, CBOE_RATE)
        if (strike >= model.forward) is not is_call:
            continue
        value = solve(model, is_call, strike, (float(row["bid"]) + float(row["ask"])) / 2)
        assert isinstance(value, Greeks), row
        ours = as_printed(CBOE, value, is_call, strike, spot, last_day=True)
        assert ours.iv == pytest.approx(float(row["implied_volatility"]), abs=1e-3), row
        assert ours.delta == pytest.approx(float(row["delta"]), abs=1e-3), row
        assert ours.vega == pytest.approx(float(row["vega"]), abs=1e-3), row
        assert ours.gamma == pytest.approx(float(row["gamma"]), rel=0.01, abs=0.00006), row
        assert ours.rho == pytest.approx(float(row["rho"]), abs=1e-3), row
        capped += abs(ours.theta - float(row["theta"])) > 0.005
        compared += 1
    assert compared > 1300
    assert capped < 0.005 * compared, "theta is −mid in 99.7 % of them"


def test_cboes_morning_by_its_own_quotes(shared_data: Path) -> None:
    """With our forward instead of CBOE's: within 20 cents of it, volatilities within half a point, in 99 of 100."""
    expiry = expiry_of("SPXW", CBOE_DAY)
    minutes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows(shared_data / "cboe_SPXW_0DTE_20180105_am_1m_greeks.csv.gz"):
        minutes[row["time_ny_naive"]].append(row)
    forwards, differences = [], []
    for minute, lines in minutes.items():
        moment = datetime.fromisoformat(minute).replace(tzinfo=NEW_YORK)
        years = CBOE.clock(int(moment.timestamp()) * 1_000_000, expiry)
        quotes = [
            OptionQuote(row["right"] == "C", float(row["strike"]), float(row["bid"]), float(row["ask"]))
            for row in lines
        ]
        found = value_chain(quotes, years, CBOE_RATE)
        assert found.forward is not None and years is not None
        spot = ExpiryModel(found.forward.value, years, CBOE_RATE).spot
        forwards.append(abs(spot - float(lines[0]["implied_underlying_price"])))
        for row, quote, value in zip(lines, quotes, found.values, strict=True):
            outside = (quote.strike >= found.forward.value) is quote.is_call
            if isinstance(value, Greeks) and outside and row["implied_volatility"] != NONE_FOUND:
                differences.append(abs(value.iv - float(row["implied_volatility"])))
    forwards.sort()
    differences.sort()
    assert forwards[len(forwards) * 98 // 100] < 0.2
    assert differences[len(differences) * 99 // 100] < 0.005 and len(differences) > 1200


def test_a_real_chain_of_a_single_name(shared_data: Path) -> None:
    """GOOG, one day and a half-day left: the quotes' forward lies within cents of the shares, and vols are a day's."""
    expiry = expiry_of("GOOG", date(2015, 12, 24))
    assert expiry.settlement_us == int(datetime(2015, 12, 24, 13, tzinfo=NEW_YORK).timestamp()) * 1_000_000
    shares = {row["epoch_ms"]: float(row["close"]) for row in rows(shared_data / "lean_GOOG_20151223_trade_1m.csv.gz")}
    minutes: dict[str, list[OptionQuote]] = defaultdict(list)
    for row in rows(shared_data / "lean_GOOG_options_20151223_quote_1m.csv.gz"):
        sides = (float(row[name]) if row[name] else None for name in ("bid_close", "ask_close"))
        minutes[row["epoch_ms"]].append(OptionQuote(row["right"] == "C", float(row["strike"]), *sides))
    distances, near = [], []
    for minute, quotes in minutes.items():
        found = value_chain(quotes, act365_sec((int(minute) + 60_000) * 1000, expiry), 0.003)
        if found.forward is None or minute not in shares:
            continue
        distances.append(abs(found.forward.value - shares[minute]))
        for quote, value in zip(quotes, found.values, strict=True):
            if isinstance(value, Greeks) and abs(quote.strike - found.forward.value) < 5:
                near.append(value.iv)
    distances.sort()
    near.sort()
    assert len(distances) > 380 and distances[len(distances) // 2] < 0.15 and distances[-1] < 1.0
    assert len(near) > 1000 and 0.15 < near[len(near) // 2] < 0.22


def test_interactive_brokers_calls(shared_data: Path) -> None:
    """Its model's calls (American, no dividend before the expiries) by our own clock: delta to 2e-3, gamma to 5 %."""
    compared = 0
    for row in rows(shared_data / "ibkr_SPY_model_greeks_20230804.csv.gz"):
        if row["right"] != "C":
            continue
        moment = datetime.strptime(f"{row['time_utc']}+0000", "%Y%m%d %H:%M:%S.%f%z")
        years = act365_sec(int(moment.timestamp() * 1e6), expiry_of("SPY", date.fromisoformat(row["expiry"])))
        assert years is not None
        model = ExpiryModel.on_spot(float(row["undPrice"]), years, 0.053)
        ours = model.greeks(True, float(row["strike"]), float(row["impliedVol"]))
        assert ours.delta == pytest.approx(float(row["delta"]), abs=2e-3), row
        assert ours.gamma == pytest.approx(float(row["gamma"]), rel=0.05), row
        compared += 1
    assert compared > 100
