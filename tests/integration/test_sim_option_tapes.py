"""Tapes of real options over a real socket, in lock-step: a client is told what a short reading of the csv says.

And the truth of options: its rows are those that anyone would make of the frames sent.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from datetime import date, datetime
from datetime import time as wall_time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sim_client import ALL_FIELDS, EXCHANGE, Client, ms, playing

from alphakite.simulator.option_truth import OptionSecond, option_seconds
from alphakite.simulator.options import SimulatorOptions, parse_tape
from alphakite.simulator.programme import make_programme

OPTIONS = "LEVELONE_OPTIONS"
STORED = ("2", "3", "16", "17", "4", "8", "9", "10", "28", "29", "30", "31", "32")
NAMES = ("bid", "ask", "bid_size", "ask_size", "last", "day_volume", "open_interest", "implied_volatility")
GREEKS = ("delta", "gamma", "theta", "vega", "rho")
Row = tuple[Decimal | None, ...]


def lines(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


def symbol_of(root: str, line: dict[str, str]) -> str:
    expiry = date.fromisoformat(line.get("expiry") or line["expiration"])
    return f"{root:<6}{expiry:%y%m%d}{line['right']}{int(Decimal(line['strike']) * 1000):08d}"


def lean_files(folder: Path, name: str) -> dict[str, Path]:
    kinds = ("quote", "trade", "openinterest")
    return {kind: folder / f"lean_{name}_{kind}_1m.csv.gz" for kind in kinds}


def expected_of_bars(files: dict[str, Path], root: str) -> tuple[dict[str, dict[str, Decimal]], dict[str, set[int]]]:
    """The last value of each field by contract, and the times at which it moved; of files in order of time."""
    state: dict[str, dict[str, Decimal]] = defaultdict(dict)
    moved: dict[str, set[int]] = defaultdict(set)
    for line in lines(files["openinterest"]):
        state[symbol_of(root, line)] |= {"9": Decimal(line["open_interest"]), "8": Decimal(0)}
    for line in lines(files["quote"]):
        key, at = symbol_of(root, line), int(line["epoch_ms"]) + 59_999
        moved[key].add(at)
        state[key] |= {"2": Decimal(line["bid_close"] or 0), "3": Decimal(line["ask_close"] or 0), "38": Decimal(at)}
        state[key] |= {"16": Decimal(line["bid_size"]), "17": Decimal(line["ask_size"])}
    for line in lines(files["trade"]):
        key, at = symbol_of(root, line), int(line["epoch_ms"]) + 59_999
        moved[key].add(at)
        volume = state[key].get("8", Decimal(0)) + int(line["volume"])
        state[key] |= {"4": Decimal(line["close"]), "8": volume, "39": Decimal(at)}
    return state, moved


def told(client: Client) -> tuple[dict[str, dict[str, Any]], dict[str, list[int]]]:
    """Each contract's state after all items, and the stamps of those behind its image."""
    state: dict[str, dict[str, Any]] = {}
    stamps: dict[str, list[int]] = defaultdict(list)
    for stamp, item in stamped(client):
        if item["key"] in state:
            stamps[item["key"]].append(stamp)
        state.setdefault(item["key"], {}).update(item)
    return state, stamps


def stamped(client: Client) -> list[tuple[int, dict[str, Any]]]:
    elements = [element for frame in client.data(OPTIONS) for element in json.loads(frame, parse_float=Decimal)["data"]]
    return [
        (element["timestamp"], item)
        for element in elements
        if element["service"] == OPTIONS
        for item in element["content"]
    ]


def rows_of(client: Client) -> dict[tuple[str, int], Row]:
    """The rows of option_prices by the rule: a second in which a stored column changed."""
    state: dict[str, dict[str, Any]] = {}
    before: dict[str, Row] = {}
    rows: dict[tuple[str, int], Row] = {}
    for stamp, item in stamped(client):
        key = item["key"]
        state.setdefault(key, {}).update(item)
        values = [state[key].get(number) for number in STORED]
        row: Row = tuple(None if one is None or one == -999 or one == "NaN" else Decimal(one) for one in values)
        row = (*row[:7], row[7] / 100 if row[7] else None, *row[8:])
        if key in before and before[key] != row:
            rows[key, stamp // 1000] = row
        before[key] = row
    return rows


def row_of(second: OptionSecond) -> Row:
    scales = {"bid": 8, "ask": 8, "last": 8, "implied_volatility": 10} | dict.fromkeys(GREEKS, 8)
    values = [(getattr(second, name), scales.get(name, 0)) for name in (*NAMES, *GREEKS)]
    return tuple(None if value is None else Decimal(value).scaleb(-scale) for value, scale in values)


def truth_rows(contracts: list[str], **options: Any) -> dict[tuple[str, int], Row]:
    chosen = options | {"tapes": options.get("tapes", ())}
    programme = make_programme(SimulatorOptions(speed=None, **chosen))
    return {(row.option_symbol, row.timestamp_s): row_of(row) for row in option_seconds(programme, contracts)}


async def watch(client: Client, underlying: str, keys: list[str]) -> None:
    """Follow contracts and their underlying to the end of the tape."""
    await client.log_in()
    await client.subscribe(",".join(keys), ALL_FIELDS, OPTIONS)
    await client.subscribe(underlying)
    await client.gone()


@pytest.mark.parametrize(
    ("name", "root", "underlying", "bars", "contracts", "updates"),
    [
        ("GOOG_options_20151223", "GOOG", "GOOG", "lean_GOOG_20151223_trade_1m.csv.gz", 118, 28_950),
        ("SPXW_options_20210104", "SPXW", "$SPX", "lean_SPX_20210104_index_1m.csv.gz", 15, 4_593),
    ],
)
async def test_minute_bars(
    shared_data: Path, name: str, root: str, underlying: str, bars: str, contracts: int, updates: int
) -> None:
    """Each bar whole in the frame (M + 59 s).999; open interest in the image; no IV, no greeks; rows as the truth."""
    files = lean_files(shared_data, name)
    expected, moved = expected_of_bars(files, root)
    texts = [*(f"options={path}" for path in files.values()), f"bars={shared_data / bars}"]
    tapes = tuple(map(parse_tape, texts))
    options = {"symbols": (), "session": None, "tapes": tapes, "start": wall_time(9, 25), "end": wall_time(16, 30)}
    async with playing(**options) as (_, client_of):
        client = client_of()
        await watch(client, underlying, sorted(expected))
    state, stamps = told(client)
    assert len(state) == contracts and state.keys() == expected.keys()
    for key, values in expected.items():
        assert {number: Decimal(state[key].get(number, -1)) for number in values} == values
        assert not state[key].keys() & {"10", "28", "29", "30", "31", "32"}
    assert {key: set(times) for key, times in stamps.items()} == moved
    assert sum(map(len, stamps.values())) == sum(map(len, moved.values())) == updates
    assert rows_of(client) == truth_rows([], tapes=tapes)
    price = next(item["3"] for item in reversed(client.items()) if "3" in item)
    played = [line for line in lines(shared_data / bars) if line["time_ny"][11:16] < "16:30"]
    assert price == float(played[-1]["close"])


async def test_snapshots_with_greeks(shared_data: Path) -> None:
    """CBOE: in the frame of their second; IV in percent, rho per point, -999 where none was found; $SPX beside them."""
    path = shared_data / "cboe_SPXW_0DTE_20180105_am_1m_greeks.csv.gz"
    state: dict[str, dict[str, Decimal]] = defaultdict(lambda: {"8": Decimal(0)})
    moved: dict[str, list[int]] = defaultdict(list)
    last: dict[int, str] = {}
    for line in lines(path):
        key = symbol_of("SPXW", line)
        at = int(datetime.fromisoformat(line["time_ny_naive"]).replace(tzinfo=EXCHANGE).timestamp())
        moved[key].append(at * 1000 + 999)
        values = {number: Decimal(line[name]) for number, name in zip(("28", "29", "30", "31"), GREEKS, strict=False)}
        values |= {"10": Decimal(line["implied_volatility"]) * 100, "32": Decimal(line["rho"]) / 100}
        if line["implied_volatility"] == "0.02":
            values = dict.fromkeys(values, Decimal(-999))
        values |= {"2": Decimal(line["bid"]), "3": Decimal(line["ask"]), "35": Decimal(line["active_underlying_price"])}
        values |= {"16": Decimal(line["bid_size"]), "17": Decimal(line["ask_size"])}
        if int(line["trade_volume"]):
            values |= {"4": Decimal(line["close"]), "8": state[key]["8"] + int(line["trade_volume"])}
        state[key] |= values
        last[at] = line["active_underlying_price"]
    tapes = (parse_tape(f"chain={path}"),)
    async with playing(symbols=(), session=None, tapes=tapes, start=wall_time(9), end=wall_time(13)) as (_, client_of):
        client = client_of()
        await watch(client, "$SPX", sorted(state))
    heard, stamps = told(client)
    for key, values in state.items():
        assert {number: Decimal(heard[key].get(number, -1)) for number in values} == values
        assert stamps[key] == moved[key]
        assert "9" not in heard[key]
    assert sum(map(len, stamps.values())) == 18_000
    assert rows_of(client) == truth_rows([], tapes=tapes)
    index = [item for item in client.items()[1:] if "35" in item]
    assert [(item["35"] // 1000) for item in index] == sorted(last)
    assert float(index[-1].get("3", last[max(last)])) == float(last[max(last)])


async def test_the_chain_of_a_tape(shared_data: Path) -> None:
    """/chains and /expirationchain know the tape's contracts alone, re-dated by sessions; /quotes one of them."""
    files = lean_files(shared_data, "SPXW_options_20210104")
    texts = [*(f"options={path}" for path in files.values())]
    texts.append(f"bars={shared_data / 'lean_SPX_20210104_index_1m.csv.gz'}")
    day = date(2026, 11, 25)
    """A Wednesday: two sessions on is Monday, four Wednesday; Thanksgiving lies between."""
    options = {"tapes": tuple(map(parse_tape, texts)), "session": day, "start": wall_time(10), "end": wall_time(10, 1)}
    async with playing(symbols=(), **options) as (simulator, client_of):
        client = client_of()
        found = await client.get("/marketdata/v1/expirationchain?symbol=%24SPX")
        chain = await client.get("/marketdata/v1/chains?symbol=%24SPX&fromDate=2026-11-25&toDate=2026-11-25")
        key = "SPXW  261125C03700000"
        quote = (await client.get(f"/marketdata/v1/quotes?symbols={key.replace(' ', '%20')}"))[key]
        market = simulator._player.market
        assert market.contract("SPXW  261125C03701000") is None
        assert market.position_ms == ms("10:00", day)
    assert [one["expirationDate"] for one in found["expirationList"]] == ["2026-11-25", "2026-11-30", "2026-12-02"]
    assert {one["optionRoots"] for one in found["expirationList"]} == {"SPXW"}
    strikes = {
        line["strike"] for line in lines(files["quote"]) if (line["expiry"], line["right"]) == ("2021-01-04", "C")
    }
    assert {str(int(float(one))) for one in chain["callExpDateMap"]["2026-11-25:0"]} == strikes
    contract = chain["callExpDateMap"]["2026-11-25:0"]["3700.0"][0]
    line = next(one for one in lines(files["quote"]) if "T09:59" in one["time_ny"] and one["strike"] == "3700")
    assert (contract["symbol"], contract["bid"], contract["ask"]) == (
        key,
        float(line["bid_close"]),
        float(line["ask_close"]),
    )
    assert contract["volatility"] == -999.0 and contract["openInterest"] == 1732
    assert quote["quote"]["bidPrice"] == contract["bid"]


async def test_the_model_has_a_truth_too() -> None:
    """Two synthetic sessions of an illiquid underlying: every second's change in its own second, over the night."""
    days = {"session": date(2026, 11, 25), "days": 2, "start": wall_time(15, 58), "end": wall_time(9, 33)}
    symbols = ("ZZILL",)
    async with playing(symbols=symbols, **days) as (simulator, client_of):
        chain = simulator._player.market.chain("ZZILL")
        keys = [one.symbol for one in chain if one.expiry == min(one.expiry for one in chain)][110:134:4]
        client = client_of()
        await watch(client, "ZZILL", keys)
    rows = rows_of(client)
    assert len({stamp for _, stamp in rows}) > 120 + 120
    night = ms("20:00", date(2026, 11, 25)) // 1000, ms("04:00", date(2026, 11, 27)) // 1000
    live = {key: row for key, row in rows.items() if not night[0] <= key[1] < night[1]}
    assert {stamp for _, stamp in rows.keys() - live.keys()} == {ms("03:30", date(2026, 11, 27)) // 1000}
    truth = truth_rows(keys, symbols=symbols, **days)
    assert live == truth
