"""Black–Scholes–Merton: the reference's golden values, vendors' goldens, py_vollib, QuantLib, and identities."""

from __future__ import annotations

import csv
import gzip
import importlib
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.derive.greeks import ExpiryModel, Greeks, implied_volatility

NAMES = ("price", "delta", "gamma", "theta", "vega", "rho")
MINUTES = 365 * 24 * 60
REFERENCE = [
    (True, 610, 610, 390, 0.043, 0.006, 0.18),
    (False, 610, 610, 390, 0.043, 0.006, 0.18),
    (True, 610, 612, 30, 0.043, 0.006, 0.22),
    (False, 610, 612, 30, 0.043, 0.006, 0.22),
    (True, 6000, 6005, 1, 0.043, 0.012, 0.25),
    (False, 6000, 5950, 60, 0.043, 0.012, 0.30),
    (True, 610, 600, 5, 0.043, 0.006, 0.40),
]
"""call?, spot, strike, minutes, rate, dividend, volatility: the corners of the last day."""
REFERENCE_VALUES = [
    (1.201579642, 0.5032095644, 0.133378888, -2.233743496, 0.06628702343, 0.002268739332),
    (1.1848328, -0.4967859836, 0.133378888, -2.171910128, 0.06628702343, -0.002257371961),
    (0.009387432938, 0.02457450649, 0.05682102731, -1.403335249, 0.002654956014, 8.550834205e-06),
    (2.008094284, -0.975425151, 0.05682102731, -1.34126419, 0.002654956014, -0.000340763377),
    (0.005374590055, 0.007862003819, 0.01043332782, -32.16152301, 0.001786528736, 8.973867641e-07),
    (0.02699524433, -0.004481554771, 0.0006819280319, -3.024352553, 0.0084073319, -3.072639711e-05),
    (10.00021062, 0.9999999429, 5.499094864e-40, -0.0606575059, 7.786199386e-42, 5.707760222e-05),
]
GOLDENS = ("schwab_SPX_0DTE_20241015", *(f"cboe_SPXW_0DTE_20180105_{time}" for time in ("0945", "1030", "1200")))


def peer(name: str) -> Any:
    """A library that tests alone use (requirements/dev.txt); py_vollib warns about its own name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def greeks_of(
    is_call: bool, spot: float, strike: float, minutes: float, rate: float, dividend: float, volatility: float
) -> Greeks:
    model = ExpiryModel.on_spot(spot, minutes / MINUTES, rate, dividend)
    return model.greeks(is_call, strike, volatility)


@pytest.mark.parametrize(("case", "values"), list(zip(REFERENCE, REFERENCE_VALUES, strict=True)))
def test_the_references_values(case: tuple[Any, ...], values: tuple[float, ...]) -> None:
    """The golden values of the reference, to all of their ten digits."""
    assert greeks_of(*case)[1:] == pytest.approx(values, rel=2e-9)


@pytest.mark.parametrize("name", GOLDENS)
def test_goldens(shared_data: Path, name: str) -> None:
    """Vendor volatility in, py_vollib's and QuantLib's greeks out; and their implied volatility of the mid."""
    solved = 0
    with gzip.open(shared_data / f"golden_greeks_{name}.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            spot, years, rate, dividend, iv = (float(row[key]) for key in ("S", "T_years", "r", "q", "vendor_iv"))
            is_call, strike = row["right"] == "C", float(row["strike"])
            model = ExpiryModel.on_spot(spot, years, rate, dividend)
            greeks = model.greeks(is_call, strike, iv)
            for key in NAMES:
                assert getattr(greeks, key) == pytest.approx(float(row[f"bsm_{key}"]), abs=1e-6), (row, key)
            if row["bsm_iv_of_mid"]:
                found = implied_volatility(model, is_call, strike, (float(row["bid"]) + float(row["ask"])) / 2)
                assert found == pytest.approx(float(row["bsm_iv_of_mid"]), abs=1e-6), row
                solved += 1
    assert solved >= 15


GRID = [
    (is_call, 610.0, 610.0 * math.exp(z * sigma * math.sqrt(minutes / MINUTES)), minutes, 0.043, 0.006, sigma)
    for is_call in (True, False)
    for minutes in (1, 15, 390, 1440, 30 * 1440, MINUTES)
    for sigma in (0.08, 0.18, 0.6)
    for z in (-3.0, -1.0, 0.0, 0.4, 2.0)
]


def test_py_vollib_agrees() -> None:
    """Price and five greeks on the same time to 1e-6, and its implied volatility of our price where it finds one."""
    prices = peer("py_vollib.black_scholes_merton")
    theirs = peer("py_vollib.black_scholes_merton.greeks.analytical")
    implied = peer("py_vollib.black_scholes_merton.implied_volatility")
    for case in GRID:
        is_call, spot, strike, minutes, rate, dividend, sigma = case
        side, years = "c" if is_call else "p", minutes / MINUTES
        ours = greeks_of(*case)
        arguments = (side, spot, strike, years, rate, sigma, dividend)
        expected = (prices.black_scholes_merton(*arguments), *(getattr(theirs, name)(*arguments) for name in NAMES[1:]))
        assert ours[1:] == pytest.approx(expected, rel=1e-9, abs=1e-6), case
        if (strike >= spot) is is_call:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = implied.implied_volatility(ours.price, spot, strike, years, rate, dividend, side)
            assert found == pytest.approx(sigma, abs=1e-6), case


def test_quantlib_agrees() -> None:
    """Its Black formula, its Black calculator and its implied deviation, on the same time, to 1e-6."""
    lib = peer("QuantLib")
    for case in GRID:
        is_call, spot, strike, minutes, rate, dividend, sigma = case
        years = minutes / MINUTES
        model = ExpiryModel.on_spot(spot, years, rate, dividend)
        ours = model.greeks(is_call, strike, sigma)
        side = lib.Option.Call if is_call else lib.Option.Put
        deviation = sigma * math.sqrt(years)
        calculator = lib.BlackCalculator(lib.PlainVanillaPayoff(side, strike), model.forward, deviation, model.discount)
        expected = (
            calculator.value(),
            calculator.delta(spot),
            calculator.gamma(spot),
            calculator.theta(spot, years) / 365,
            calculator.vega(years) / 100,
            calculator.rho(years) / 100,
        )
        assert ours[1:] == pytest.approx(expected, rel=1e-9, abs=1e-6), case
        if (strike >= model.forward) is is_call:
            found = lib.blackFormulaImpliedStdDev(
                side, strike, model.forward, ours.price, model.discount, 0.0, deviation, 1e-12, 200
            )
            solved = implied_volatility(model, is_call, strike, ours.price)
            assert solved == pytest.approx(found / math.sqrt(years), abs=1e-6), case


@given(
    spot=st.floats(5, 7000),
    z=st.floats(-6, 6),
    log_seconds=st.floats(0, 18),
    sigma=st.floats(0.03, 2),
    rate=st.floats(-0.01, 0.08),
    dividend=st.floats(0, 0.05),
)
def test_parity_and_bounds(
    spot: float, z: float, log_seconds: float, sigma: float, rate: float, dividend: float
) -> None:
    """Call − put is the discounted forward less the strike, in the price and each greek; signs and bounds hold."""
    years = math.exp(log_seconds) / 86400 / 365
    model = ExpiryModel.on_spot(spot, years, rate, dividend)
    strike = model.forward * math.exp(z * sigma * math.sqrt(years))
    call, put = model.greeks(True, strike, sigma), model.greeks(False, strike, sigma)
    held = math.exp(-dividend * years)
    near = {"rel": 1e-9, "abs": 1e-9 * max(spot, strike)}
    assert call.price - put.price == pytest.approx(model.discount * (model.forward - strike), **near)
    assert call.delta - put.delta == pytest.approx(held, abs=1e-12)
    assert call.rho - put.rho == pytest.approx(0.01 * years * strike * model.discount, **near)
    assert (call.gamma, call.vega) == (put.gamma, put.vega)
    assert 0 <= call.delta <= held * (1 + 1e-15) and -held * (1 + 1e-15) <= put.delta <= 0
    assert call.gamma >= 0 and call.vega >= 0 and call.price >= -near["abs"] and put.price >= -near["abs"]
    assert model.spot == pytest.approx(spot, rel=1e-12)


def test_theta_per_minute() -> None:
    """One minute before the close a theta per day is 700 premiums; per minute it can be read."""
    last = greeks_of(True, 610, 610, 1, 0.043, 0.006, 0.18)
    assert last.theta == pytest.approx(-43.53, abs=0.01)
    assert last.theta_min == pytest.approx(-0.03023, abs=1e-5)


@pytest.mark.parametrize(("forward", "years"), [(0.0, 1.0), (610.0, 0.0), (-1.0, 1.0), (math.nan, 1.0)])
def test_a_model_needs_a_forward_and_time(forward: float, years: float) -> None:
    """Nothing is computed at or after the settlement, or on no price."""
    with pytest.raises(ValueError, match="above 0"):
        ExpiryModel(forward, years)
