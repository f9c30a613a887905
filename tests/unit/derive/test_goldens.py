"""The indicator code, fed from minute bars, equals the goldens and TA-Lib."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest

from alphakite.derive.bars import Bars
from alphakite.derive.indicators.sma9 import sma9
from alphakite.derive.indicators.vwap import Vwap
from alphakite.model import INDICATOR_SCALE, PRICE_SCALE, Candle
from alphakite.sessions import exchange_date, session_on

GOLDENS = (
    "lean_AAPL_20140609_trade_1m",
    "lean_GOOG_20151223_trade_1m",
    "lean_SPY_20131008_trade_1m",
    "lean_SPY_20230803_trade_1m",
    "mattheis_QQQ_1m_201412_201503",
    "tda_MSFT_pricehistory_1m_20200710_0715",
)
SIXTH = Decimal("0.000001")


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.DictReader(file)


def scaled(text: str) -> int:
    return int(Decimal(text) * PRICE_SCALE)


def shown(value: int | None) -> Decimal | None:
    return None if value is None else (Decimal(value) / INDICATOR_SCALE).quantize(SIXTH)


def expected(text: str) -> Decimal | None:
    return Decimal(text).quantize(SIXTH, ROUND_HALF_EVEN) if text else None


def candle(row: dict[str, str]) -> Candle:
    prices = (scaled(row[name]) for name in ("open", "high", "low", "close"))
    return Candle(int(row["epoch_ms"]) * 1000, *prices, int(row["volume"]))


def regular(minute_us: int) -> bool:
    session = session_on(exchange_date(minute_us))
    return session is not None and session.regular_open_us <= minute_us < session.regular_close_us


@pytest.mark.parametrize("name", GOLDENS)
def test_sma9_and_vwap_equal_the_goldens(shared_data: Path, name: str) -> None:
    """SMA9 by closes, VWAP by closes, and the seed by typical prices, to six decimals, half to even."""
    bars_by_minute = {int(row["epoch_ms"]) * 1000: row for row in rows(shared_data / f"{name}.csv.gz")}
    goldens = list(rows(shared_data / f"golden_{name}.csv.gz"))
    assert goldens
    bars, by_close, by_seed = Bars(), Vwap(), Vwap()
    day: date | None = None
    compared = 0
    for golden in goldens:
        minute_us = int(golden["epoch_ms"]) * 1000
        if not regular(minute_us):
            continue
        if exchange_date(minute_us) != day:  # goldens restart both each session
            day = exchange_date(minute_us)
            bars, by_close, by_seed = Bars(), Vwap(), Vwap()
        one = candle(bars_by_minute[minute_us])
        bars.trade(minute_us, one.close, one.volume)
        by_close.add(one.volume, one.close)
        by_seed.seed([one])
        assert shown(sma9(bars.window(minute_us))[0]) == expected(golden["sma9_close"])
        assert shown(by_close.value()[0]) == expected(golden["vwap_close"])
        assert shown(by_seed.value()[0]) == expected(golden["vwap_hlc3"])
        compared += 1
    assert compared > 200


def vector() -> list[Candle]:
    """The reference's 60 bars: a linear congruential generator, so that anyone can make the same."""
    state = 12345

    def draw() -> int:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return state >> 8

    candles: list[Candle] = []
    price = 61000
    for index in range(60):
        opened = price
        close = opened + draw() % 41 - 20
        high = max(opened, close) + draw() % 11
        low = min(opened, close) - draw() % 11
        volume = 1000 + draw() % 9000
        price = close + draw() % 5 - 2
        cents = PRICE_SCALE // 100
        candles.append(Candle(index * 60_000_000, opened * cents, high * cents, low * cents, close * cents, volume))
    return candles


def test_the_published_vector() -> None:
    """SMA9 and both VWAPs on the published vector: the figures that TA-Lib printed."""
    bars, by_close, by_seed = Bars(), Vwap(), Vwap()
    seen: dict[int, tuple[Decimal | None, ...]] = {}
    for index, one in enumerate(vector()):
        bars.trade(one.minute_us, one.close, one.volume)
        by_close.add(one.volume, one.close)
        by_seed.seed([one])
        values = (sma9(bars.window(one.minute_us))[0], by_seed.value()[0], by_close.value()[0])
        seen[index] = tuple(map(shown, values))
    table = {
        8: ("610.25111111", "610.22912138", "610.23352576"),
        20: ("610.63444444", "610.43073673", "610.44851734"),
        33: ("610.71777778", "610.55256240", "610.55819194"),
        40: ("610.44333333", "610.52268599", "610.52351785"),
        59: ("611.18000000", "610.62860015", "610.63510769"),
    }
    for index, texts in table.items():
        assert seen[index] == tuple(map(expected, texts)), index
    assert seen[7][0] is None


def test_sma9_equals_talib() -> None:
    """Bar for bar on the vector, TA-Lib computing beside us."""
    import numpy
    import talib

    candles = vector()
    theirs = talib.SMA(numpy.array([one.close / PRICE_SCALE for one in candles]), 9)
    bars = Bars()
    for one, other in zip(candles, theirs, strict=True):
        bars.trade(one.minute_us, one.close, one.volume)
        ours = sma9(bars.window(one.minute_us))[0]
        assert (ours is None) == bool(numpy.isnan(other))
        if ours is not None:
            assert abs(ours / INDICATOR_SCALE - other) <= 5.1e-7
