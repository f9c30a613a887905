"""What the market plays, over a real socket: options beside equities, several days, symbols with a character."""

from __future__ import annotations

import json
from datetime import date
from datetime import time as wall_time
from typing import Any

from tests.integration.sim_client import Client, ms, playing

from alphakite.derive.engine import Engine
from alphakite.derive.moment import DeriveSettings
from alphakite.derive.rows import Rows
from alphakite.feed.schwab.decode import decode
from alphakite.simulator.market import Market
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.programme import make_programme
from alphakite.simulator.truth import compute_truth
from alphakite.simulator.wire import data_frame

DAY = date(2026, 11, 25)
"""A Wednesday; Thanksgiving and a half-day follow."""
LATER = date(2026, 11, 27)
OPTION_FIELDS = ",".join(map(str, range(56)))
SENTINELS = ("10", "28", "29", "30", "31", "32")


async def chain_symbols(client: Client, underlying: str, count: int) -> list[str]:
    """Contracts around the money that expire today, by the chain itself."""
    query = f"symbol={underlying}&fromDate={DAY}&toDate={DAY}&strikeCount={count}"
    answer = await client.get(f"/marketdata/v1/chains?{query}")
    maps = [answer["callExpDateMap"], answer["putExpDateMap"]]
    return [
        one["symbol"]
        for found in maps
        for strikes in found.values()
        for contracts in strikes.values()
        for one in contracts
    ]


def merged(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The state of each key after its items."""
    state: dict[str, dict[str, Any]] = {}
    for item in items:
        state.setdefault(item["key"], {}).update(item)
    return state


async def test_options_stream_beside_their_underlying() -> None:
    """Images with all 55 fields, then changes only; what was told at last is what the market says."""
    options = {"symbols": ("QQQ", "$SPX"), "session": DAY, "start": wall_time(9, 28), "end": wall_time(9, 33)}
    async with playing(**options) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        keys = [*await chain_symbols(client, "QQQ", 4), *await chain_symbols(client, "$SPX", 4)]
        assert len(keys) >= 16 and {len(key) for key in keys} == {21}
        await client.subscribe(",".join(keys), OPTION_FIELDS, "LEVELONE_OPTIONS")
        await client.subscribe("QQQ,$SPX")
        await client.gone()
    items = client.items("LEVELONE_OPTIONS")
    images, changes = items[: len(keys)], items[len(keys) :]
    assert [list(image) for image in images] == [["key", "delayed", "assetMainType", *map(str, range(1, 56))]] * len(
        keys
    )
    assert len(changes) > 50 * len(keys)
    assert not any("delayed" in item or "1" in item for item in changes)
    market = simulator._player.market
    for key, state in merged(items).items():
        contract = market.contract(key)
        assert contract is not None
        told = {number: json.loads(text) for number, text in market.option_texts(contract)[1].items()}
        assert {number: state[str(number)] for number in told} == told
    assert sum(len(item) - 1 for item in changes) / len(changes) < 15


async def test_2_4_sentinels_over_the_socket() -> None:
    """At 04:00 the day's options carry -999 and -1; at the model's time the values come as an ordinary change."""
    options = {"symbols": ("QQQ",), "session": DAY, "start": wall_time(7, 29), "end": wall_time(7, 31)}
    async with playing(**options) as (_, client_of):
        client = client_of()
        await client.log_in()
        (key, *_) = await chain_symbols(client, "QQQ", 1)
        await client.subscribe(key, OPTION_FIELDS, "LEVELONE_OPTIONS")
        await client.subscribe("QQQ")
        await client.gone()
    image, *changes = client.items("LEVELONE_OPTIONS")
    assert [image[name] for name in SENTINELS] == [-999] * 6 and (image["34"], image["38"]) == (-1, 0)
    assert len(changes) == 1 and {*SENTINELS, "34"} <= changes[0].keys()
    assert changes[0]["10"] > 0


async def test_several_days_in_lockstep() -> None:
    """Two sessions over Thanksgiving: nothing of equities in between, resets in the first item, bars of both days."""
    options = {
        "symbols": ("ZZILL",),
        "session": DAY,
        "days": 2,
        "start": wall_time(15, 30),
        "end": wall_time(12, 0),
        "heartbeat_s": 600,
        "token_clock": "wall",
    }
    async with playing(**options) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe("ZZILL", "0,1,2,3,4,5,6,7,8", "CHART_EQUITY")
        await client.subscribe("ZZILL")
        await client.gone()
        await simulator.wait_ended()
        market = simulator._player.market
        assert market.session.date == LATER
        history = await client.get("/marketdata/v1/pricehistory?symbol=ZZILL&needPreviousClose=true")
    stamped = [(json.loads(frame)["data"][0]["timestamp"], json.loads(frame)) for frame in client.data()]
    night = [at for at, _ in stamped if ms("20:00", DAY) <= at < ms("04:00", LATER)]
    assert night == []
    first = next(frame for at, frame in stamped if at >= ms("04:00", LATER))["data"][0]["content"][0]
    assert first["32"] == "Unknown" and first["12"] > 0
    days = {item["8"] for item in client.items("CHART_EQUITY")}
    assert len(days) == 2
    assert history["previousClose"] == first["12"]
    assert client.heartbeats()[-1] == ms("12:00", LATER) and client.close_code == 1000


async def test_characters_over_the_socket() -> None:
    """A halt is an item with field 32 alone; a symbol that never trades has no last price; sizes come in lots."""
    options = {
        "symbols": ("ZZHLT", "ZZNEV"),
        "session": DAY,
        "start": wall_time(10, 59),
        "end": wall_time(11, 11),
        "switches": ("sizes=lots",),
    }
    async with playing(**options) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe("ZZHLT,ZZNEV")
        await client.gone()
    items = client.items()
    statuses = [item for item in items if item["key"] == "ZZHLT" and "32" in item][1:]
    assert statuses[0] == {"key": "ZZHLT", "32": "Halted"} and statuses[1]["32"] == "Normal"
    assert not any("3" in item for item in items if item["key"] == "ZZNEV")
    sizes = {item["4"] for item in items if item["key"] == "ZZHLT" and "4" in item}
    assert sizes <= set(range(1, 10))


def test_derivation_of_several_days_equals_the_truth() -> None:
    """Three sessions, a symbol of each character: every row that derivation makes of the frames is the truth's."""
    symbols = ("ZZILL", "ZZNEV", "ZZGAP", "$SPX")
    programme = make_programme(
        SimulatorOptions(symbols=symbols, session=DAY, days=3, start=wall_time(15, 50), end=wall_time(9, 45))
    )
    market, engine, everything = Market(programme), Engine(1), frozenset(range(52))
    start_us = programme.start_ms * 1000
    engine.started(start_us)
    engine.configure(start_us, DeriveSettings(symbols))
    engine.connecting(start_us)
    for symbol in symbols:
        engine.history(start_us, symbol, market.candles(symbol))
    made: list[Rows] = []
    frames = [(programme.start_ms, [one.image(everything) for one in market.symbols.values()])]
    while frames or market.position_ms < programme.end_ms:
        for stamp_ms, items in frames:
            decoded = decode(data_frame("LEVELONE_EQUITIES", stamp_ms, items).encode())
            assert not decoded.rejected
            engine.frame(stamp_ms, stamp_ms * 1000, 1, decoded.updates, 0)
            engine.done(stamp_ms)
        made.append(engine.take())
        frames = []
        if market.position_ms < programme.end_ms:
            end_ms = max(market.window_end_ms(), market.next_ms() // 1000 * 1000 + 1000)
            market.play(min(end_ms, programme.end_ms))
            items = [text for one in market.moved if (text := one.delta(everything))]
            frames = [(market.position_ms - 1, items)] if items else []
    engine.frame(programme.end_ms, programme.end_ms * 1000 + 1_000_000, 1, [], 0)
    made.append(engine.take())
    derived = {
        (row.ticker, row.timestamp_us // 1_000_000): (row.price, row.volume, value.sma9, value.vwap)
        for rows in made
        for row, value in zip(rows.equity, rows.indicators, strict=True)
    }
    truth = {
        (row.ticker, row.timestamp_s): (row.price, row.volume, row.sma9, row.vwap)
        for row in compute_truth(programme).seconds
    }
    assert derived == truth
