"""The frames that options are measured on: one update a second each, the shares that are promised, nothing refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from alphakite.feed.schwab.chains import parse_chain, parse_expirations
from alphakite.feed.schwab.decode import decode
from bench.option_chains import chain, expirations
from bench.option_frames import (
    DAY_MS,
    EXPIRIES,
    LOADS,
    MOST_KEYS,
    OF_MODEL,
    OF_PRICE,
    OF_SIZE,
    OF_SPOT,
    OF_TRADE,
    OPEN_S,
    TICKERS,
    Load,
    Market,
)

START_MS = DAY_MS + (OPEN_S + 3600) * 1000
SMALL = LOADS["200"]


def played(load: Load, seconds: int, *, seed: int = 1) -> list[list[tuple[int, bytes]]]:
    """Today's contracts, so many seconds of them."""
    market = Market(load, seed)
    market.watch(key for key, one in market.contracts.items() if one.at == 0)
    return [market.second(START_MS + 1000 * number) for number in range(seconds)]


def items_of(second: list[tuple[int, bytes]], service: str) -> list[dict[str, Any]]:
    """All changed fields of a second."""
    frames = [json.loads(frame)["data"][0] for _offset, frame in second]
    return [item for frame in frames if frame["service"] == service for item in frame["content"]]


def test_same_seed_same_bytes() -> None:
    """Two runs measure the same thing; another seed does not."""
    assert played(SMALL, 3) == played(SMALL, 3)
    assert played(SMALL, 3) != played(SMALL, 3, seed=2)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_each_key_once_a_second(load: Load) -> None:
    """So many contracts and five equities, in frames that are not too big."""
    assert load.contracts == int(load.name.split()[0])
    for second in played(load, 2):
        options = Counter(item["key"] for item in items_of(second, "LEVELONE_OPTIONS"))
        equities = Counter(item["key"] for item in items_of(second, "LEVELONE_EQUITIES"))
        assert len(options) == load.contracts and set(options.values()) == {1}
        assert equities == Counter(TICKERS)
        assert max(frame.count(b'"key"') for _offset, frame in second) <= MOST_KEYS
        assert [offset for offset, _frame in second] == sorted(offset for offset, _frame in second)


def test_mix_is_as_promised() -> None:
    """Shares of what changes, and fields in ascending order."""
    items = [item for second in played(SMALL, 50) for item in items_of(second, "LEVELONE_OPTIONS")]
    for share, numbers in (
        (OF_SPOT, ("11", "35")),
        (OF_SIZE, ("16", "17")),
        (OF_MODEL, ("10", "28", "29", "30", "31", "32", "34")),
        (OF_PRICE, ("2", "3", "37")),
        (OF_TRADE, ("4", "8", "39")),
        (1.0, ("38",)),
    ):
        found = sum(any(number in item for number in numbers) for item in items) / len(items)
        assert found == pytest.approx(share, abs=0.02)
    assert all([int(name) for name in list(item)[1:]] == sorted(map(int, list(item)[1:])) for item in items)


def test_nothing_is_rejected() -> None:
    """Every item takes the quick way of decoding; most contracts have a volatility."""
    market = Market(SMALL)
    new = market.watch(key for key, one in market.contracts.items() if one.at == 0)
    images = [update for frame in market.images(new, START_MS) for update in decode(frame).options]
    assert len(images) == SMALL.contracts
    assert sum(one.implied_volatility_percent is not None for one in images) > len(images) / 2
    for _offset, frame in market.second(START_MS + 1000):
        assert decode(frame).rejected == []


def test_chains_are_found() -> None:
    """The answers of REST name what is played, and say that this is all."""
    market = Market(SMALL)
    for ticker in TICKERS[: SMALL.optionable]:
        assert [one.date for one in parse_expirations(expirations(ticker)).expirations] == list(EXPIRIES)
        for expiry in EXPIRIES:
            found = parse_chain(chain(market, ticker, expiry))
            assert found.complete and not found.rejected and len(found.contracts) == 2 * SMALL.strikes
            assert {one.symbol for one in found.contracts} <= market.contracts.keys()


def test_what_is_left_is_not_sent() -> None:
    """After UNSUBS; asked for again, it has an image again."""
    market = Market(SMALL)
    keys = [key for key, one in market.contracts.items() if one.at == 0]
    assert len(market.watch(keys)) == SMALL.contracts and not market.watch(keys)
    market.leave(keys[:50])
    sent = {item["key"] for item in items_of(market.second(START_MS), "LEVELONE_OPTIONS")}
    assert sent == set(keys[50:])
    assert [one.key for one in market.watch(keys)] == keys[:50]
