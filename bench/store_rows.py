"""The rows that are stored in the store's part: as batches for a sink, as a driver takes them, and as JSON objects.

Equity and indicator rows are made up, seeded; rows of options are derived from a lively chain, each with model values.
A JSON object has every column that the row has, under the table's names, prices and greeks as floats: what a script
would have that hands them to supabase-py.
"""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from alphakite.derive.moment import DeriveSettings
from alphakite.model import IV_SCALE, PRICE_SCALE, Batch, EquityRow, IndicatorRow, ModelValues, OptionRow
from alphakite.store.tables import EPOCH
from bench.size_days import LIVELY, TICKER, option_day

JOURNAL = "00000000-0000-0000-0000-00000000b3bc"
START_US = 1_763_650_800_000_000
RIGHTS = {"C": "CALL", "P": "PUT"}
Objects = dict[str, list[dict[str, Any]]]
"""By table: the rows of one batch."""


def make_batches(rows: int, size: int) -> list[Batch]:
    """`rows` equity rows and as many indicator rows, of 100 tickers; so many of each in a batch."""
    chance = random.Random(1)
    batches = []
    for first in range(0, rows, size):
        span = range(first, min(first + size, rows))
        keys = [(f"T{at % 100:03}", START_US + at // 100 * 1_000_000) for at in span]
        equity = [EquityRow(k, t, chance.randrange(10_000, 60_000) * 10**6, chance.randrange(5000), 0) for k, t in keys]
        values = [(chance.randrange(10**8, 6 * 10**8), chance.randrange(10**8, 6 * 10**8)) for _ in keys]
        found = [IndicatorRow(k, t, sma9, vwap, 0) for (k, t), (sma9, vwap) in zip(keys, values, strict=True)]
        batches.append(Batch(JOURNAL, first, span[-1] + 1, keys[-1][1], equity, found))
    return batches


def make_option_batches(rows: int, size: int) -> list[Batch]:
    """`rows` rows of 100 contracts, all with model values."""
    derived = option_day(LIVELY, DeriveSettings((TICKER,), greeks_interval_s=1))
    valued = (row for part in derived for row in part.options if row.model is not None)
    batches = []
    for first in range(0, rows, size):
        options = list(itertools.islice(valued, min(size, rows - first)))
        batches.append(Batch(JOURNAL, first, first + len(options), options[-1].timestamp_us, options=options))
    return batches


def records(batch: Batch) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Equity and indicator rows as a driver takes them."""

    def decimal(value: int | None, places: int) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-places)

    def at(us: int) -> datetime:
        return EPOCH + timedelta(microseconds=us)

    equity = [(r.ticker, at(r.timestamp_us), decimal(r.price, 8), r.volume, r.flags, 0, 0, 0) for r in batch.equity]
    indicators = [
        (r.ticker, at(r.timestamp_us), decimal(r.sma9, 6), decimal(r.vwap, 6), r.flags, 0, 0, 0)
        for r in batch.indicators
    ]
    return equity, indicators


def objects(batch: Batch, model_def: int) -> Objects:
    """The same rows as JSON objects. Args: model_def: the id that the model values' definition has."""
    found: Objects = {
        "equity_data": [
            {
                "ticker": row.ticker, "timestamp": _iso(row.timestamp_us), "price": _float(row.price, PRICE_SCALE),
                "volume": row.volume, "flags": row.flags,
            }
            for row in batch.equity
        ],
        "indicators": [
            {
                "ticker": row.ticker, "timestamp": _iso(row.timestamp_us), "sma9": _float(row.sma9, 10**6),
                "vwap": _float(row.vwap, 10**6), "flags": row.flags,
            }
            for row in batch.indicators
        ],
        "option_prices": [_option(row, model_def) for row in batch.options],
    }  # fmt: skip
    return {table: rows for table, rows in found.items() if rows}


def _option(row: OptionRow, model_def: int) -> dict[str, Any]:
    model = row.model or ModelValues
    scaled = {name: _float(getattr(row, name), PRICE_SCALE) for name in ("bid", "ask", "last", "delta", "gamma")}
    scaled |= {name: _float(getattr(row, name), PRICE_SCALE) for name in ("theta", "vega", "rho")}
    ours = {f"{name}_model": name for name in ("iv", "delta", "gamma", "theta", "vega", "rho")}
    ours |= {"iv_half_width": "half_width", "forward": "forward"}
    return {
        "ticker": row.ticker, "timestamp": _iso(row.timestamp_us), "option_symbol": row.symbol,
        "option_type": RIGHTS[row.right], "strike_price": _float(row.strike, PRICE_SCALE),
        "expiration_date": row.expiry.isoformat(), "bid_size": row.bid_size, "ask_size": row.ask_size,
        "volume": row.volume, "day_volume": row.day_volume, "open_interest": row.open_interest,
        "implied_volatility": _float(row.iv, IV_SCALE), "flags": row.flags, **scaled,
        **{column: _float(getattr(model, name), PRICE_SCALE) for column, name in ours.items()},
        "model_reason": model.reason or None, "model_def": model_def,
    }  # fmt: skip


def _float(value: int | None, scale: int) -> float | None:
    return None if value is None else value / scale


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).isoformat()
