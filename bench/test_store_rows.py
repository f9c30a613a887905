"""What supabase-py is handed is what the sinks are handed; and a month is what its days are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from alphakite.model import IV_SCALE, PRICE_SCALE, ModelValues
from bench import bench_sizes
from bench.store_rows import make_batches, make_option_batches, objects


def test_equity_objects_are_the_rows() -> None:
    """Floats print as the very decimals that the rows mean."""
    (batch,) = make_batches(150, 150)
    found = objects(batch, 1)
    assert set(found) == {"equity_data", "indicators"}
    for row, one in zip(batch.equity, found["equity_data"], strict=True):
        assert Decimal(repr(one["price"])) * PRICE_SCALE == row.price and one["volume"] == row.volume
    for of, one in zip(batch.indicators, found["indicators"], strict=True):
        assert Decimal(repr(one["sma9"])) * 10**6 == of.sma9 and Decimal(repr(one["vwap"])) * 10**6 == of.vwap
        assert one["timestamp"].endswith("+00:00")


def test_option_objects_are_the_rows() -> None:
    """Each row has a model's answer: its values, or why there are none."""
    batches = make_option_batches(300, 200)
    assert [len(batch) for batch in batches] == [200, 100]
    assert [(batch.after_seq, batch.last_seq) for batch in batches] == [(0, 200), (200, 300)]
    keys = set()
    for batch in batches:
        for row, one in zip(batch.options, objects(batch, 7)["option_prices"], strict=True):
            assert isinstance(row.model, ModelValues) and one["model_def"] == 7
            assert (one["iv_model"] is None) is bool(row.model.reason)
            for name, scale in (("bid", PRICE_SCALE), ("delta", PRICE_SCALE), ("implied_volatility", IV_SCALE)):
                value = row.iv if name == "implied_volatility" else getattr(row, name)
                assert value is None or Decimal(repr(one[name])) * scale == value
            keys.add((row.symbol, row.timestamp_us))
    assert len(keys) == 300


@pytest.mark.parametrize("seconds", [3600, 23_400])
def test_what_fits(seconds: int) -> None:
    """An hour counts for a session; the project's own and the schema are taken first."""
    part = {"bytes": 5_000_000}
    chain: dict[str, Any] = {"name": "x", "seconds": seconds, "bytes": 100_000_000 * seconds / 23_400}
    found = bench_sizes.extrapolated(
        {"bare_bytes": 8_000_000, "empty_bytes": 10_000_000, "parts": [part, part, part], "chains": [chain]}
    )
    assert found["rooms_mb"] == {"Free": 475 - 52, "Pro": 7600 - 52}
    assert found["equity_kept_mb"] == 620 and found["metrics_kept_mb"] == 150
    first = found["chains"][0]
    assert first["contracts"] == 100 and first["kept_mb"] == pytest.approx(2100)
    assert first["fits"]["Free"] == pytest.approx(423 / 115)
