"""The released schwab-py and Schwabdev against `alphakite simulate`: every REST call, and a whole session of the stream.

Each client runs as a process of its own, untouched, led by environment alone (tests/judges/outside_*.py). The tape is
lock-step: it moves on when the client's own library answers a ping. What the client knows at the end is held against
the send log (an independent fold), the printed truth, and the tape's own lines. `-s` shows the figures.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.faults.kill_session import output

from alphakite.model import PRICE_SCALE
from alphakite.sessions import EXCHANGE, session_at, session_on
from alphakite.simulator.market import Market
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.programme import Programme, make_programme
from alphakite.simulator.tape import Prints

CHECKOUT = Path(__file__).parents[2]
DAY = date(2026, 11, 20)
SYMBOLS = ("QQQ", "ZZILL", "$SPX")
"""One liquid share, one that hardly trades, an index: what schwab-py reads in a minute."""
EQUITIES, OPTIONS, CHART = "LEVELONE_EQUITIES", "LEVELONE_OPTIONS", "CHART_EQUITY"
SCHWAB_PY, SCHWABDEV = "outside_schwab_py.py", "outside_schwabdev.py"
READY_WITHIN_S, CLIENT_WITHIN_S, ENDED_WITHIN_S = 30, 150, 20
NAMES = {
    EQUITIES: {"BID_PRICE": 1, "ASK_PRICE": 2, "LAST_PRICE": 3, "TOTAL_VOLUME": 8, "HIGH_PRICE": 10, "LOW_PRICE": 11}
    | {"OPEN_PRICE": 17, "REGULAR_MARKET_LAST_PRICE": 29, "QUOTE_TIME_MILLIS": 34, "TRADE_TIME_MILLIS": 35},
    OPTIONS: {"BID_PRICE": 2, "ASK_PRICE": 3, "LAST_PRICE": 4, "TOTAL_VOLUME": 8, "OPEN_INTEREST": 9, "VOLATILITY": 10}
    | {"DELTA": 28, "UNDERLYING_PRICE": 35, "QUOTE_TIME_MILLIS": 38, "TRADE_TIME_MILLIS": 39},
    CHART: {"OPEN_PRICE": 2, "HIGH_PRICE": 3, "LOW_PRICE": 4, "CLOSE_PRICE": 5, "VOLUME": 6, "CHART_TIME_MILLIS": 7},
}
"""What schwab-py's names must mean: its table is its own, this one is the reference's §3.8 to §3.11."""

Last = dict[str, dict[str, dict[str, Any]]]


@dataclass
class Sent:
    """The send log, folded: the last value of each field by service and key, and how often each was sent."""

    last: Last = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    seen: dict[str, dict[str, Counter[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Counter)))
    bars: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    messages: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    sha256: str = ""
    final: str = ""


def folded(log: Path) -> Sent:
    """Every frame of the one connection, in order."""
    sent, digest = Sent(), hashlib.sha256()
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            assert (record["conn"], record["lost_s"]) == (1, 0)
            sent.frames += 1
            sent.final = record["frame"]
            digest.update(sent.final.encode() + b"\n")
            for element in json.loads(sent.final).get("data", ()):
                service = element["service"]
                sent.messages[service] += 1
                sent.items[service] += len(element["content"])
                for item in element["content"]:
                    sent.last[service][item["key"]].update(item)
                    sent.seen[service][item["key"]].update(item.keys())
                    if service == CHART:
                        sent.bars[item["key"]].append(item)
    sent.sha256 = digest.hexdigest()
    return sent


@dataclass
class Simulated:
    """A running `alphakite simulate`."""

    process: asyncio.subprocess.Process
    folder: Path
    ready: dict[str, Any]

    @property
    def log(self) -> Path:
        return self.folder / "send.jsonl"

    async def ended(self) -> int:
        """Wait until the session is over and the command has ended."""
        async with asyncio.timeout(ENDED_WITHIN_S):
            return await self.process.wait()


@asynccontextmanager
async def simulated(folder: Path, *arguments: str) -> AsyncIterator[Simulated]:
    """With TLS and its proxy, in lock-step, tokens aged by the wall as these clients do."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alphakite", "simulate", "--tls", "--token-clock", "wall", "--speed", "max"),
        *("--send-log", str(folder / "send.jsonl"), "--env-file", str(folder / "sim.env"), *arguments),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT / "src"), "HOME": str(folder)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            word, _, told = (await process.stdout.readline()).partition(b" ")
        assert word == b"READY"
        yield Simulated(process, folder, json.loads(told))
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(ENDED_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def reported(script: str, simulator: Simulated, **wishes: str) -> dict[str, Any]:
    """What a client of others reports; warnings of its own code are its own affair."""
    lines = (simulator.folder / "sim.env").read_text(encoding="utf-8").splitlines()
    told = dict(line.split("=", 1) for line in lines)
    names = {name: told[name] for name in ("SCHWAB_APP_KEY", "SCHWAB_APP_SECRET", "SCHWAB_CALLBACK_URL")}
    authority = str(simulator.ready["ca"])
    led = {"HTTPS_PROXY": str(simulator.ready["proxy"]), "NO_PROXY": "127.0.0.1", "SSL_CERT_FILE": authority}
    rest = {"PATH": os.environ["PATH"], "REQUESTS_CA_BUNDLE": authority, "API_URL": str(simulator.ready["api_url"])}
    here = {"TOKEN_PATH": str(simulator.folder / f"{script}.token"), "HOME": str(simulator.folder)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CHECKOUT / "tests" / "judges" / script)),
        env=names | led | rest | here | {"SYMBOL": "QQQ", "DAY": DAY.isoformat()} | wishes,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CLIENT_WITHIN_S):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-4000:]
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert (report["after_refresh"], report["token_changed"], report["asynchronous"]) == (200, True, 200)
    return report


# ------------------------------------------------------------------------------------------------------- the stream


@pytest.mark.parametrize(
    ("script", "wishes", "arguments"),
    [
        pytest.param(SCHWAB_PY, {}, (), id="schwab-py"),
        pytest.param(SCHWABDEV, {}, (), id="Schwabdev-Stream"),
        pytest.param(
            SCHWABDEV,
            {"STREAM_BY": "StreamAsync", "OPTIONS_OF": "QQQ,$SPX"},
            ("--start", "15:00", "--switch", "services=together"),
            id="Schwabdev-StreamAsync",
        ),
    ],
)
async def test_the_session_is_read_to_its_last_values(
    script: str, wishes: dict[str, str], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """What was sent is what the client knows, field by field and bar by bar; and both are the tape's truth."""
    played = (*(part for symbol in SYMBOLS for part in ("--symbol", symbol)), "--session", DAY.isoformat(), *arguments)
    asked = {"STREAM": ",".join(SYMBOLS), "OPTIONS_OF": "QQQ"} | wishes
    async with simulated(tmp_path, *played, "--exit-at-end") as simulator:
        known = (await reported(script, simulator, **asked))["stream"]
        assert await simulator.ended() == 0
    sent = folded(simulator.log)
    compared = same_as_sent(known, sent)
    start = time.fromisoformat(arguments[1]) if arguments else None
    programme = make_programme(SimulatorOptions(symbols=SYMBOLS, session=DAY, start=start))
    close_ms = programme.end_ms
    assert json.loads(sent.final) == {"notify": [{"heartbeat": str(close_ms)}]}
    compared += same_as_printed(sent, played)
    compared += same_as_tape(sent, programme, known["contracts"])
    print(
        f"\n{script}: {known['wall_s']:.1f} s, {sent.frames} frames, {sum(sent.items.values())} items "
        f"({dict(sent.items)}), {len(known['contracts'])} contracts, {compared} values compared"
    )


def same_as_sent(known: dict[str, Any], sent: Sent) -> int:
    """The client's last values, how often each field came, its bars and its counts are those of the send log."""
    names: dict[str, dict[str, str]] = {}
    for service, numbers in known.get("numbers", {}).items():
        assert {name: numbers[name] for name in NAMES[service]} == NAMES[service]
        assert len(set(numbers.values())) == len(numbers)
        names[service] = {name: str(number) for name, number in numbers.items()}

    def numbered(service: str, item: dict[str, Any]) -> dict[str, Any]:
        return {names.get(service, {}).get(name, name): value for name, value in item.items()}

    assert (known["messages"], known["items"]) == (sent.messages, sent.items)
    if "sha256" in known:
        assert (known["frames"], known["sha256"]) == (sent.frames, sent.sha256)
    compared = 0
    assert set(sent.last) == set(known["last"]) == {EQUITIES, OPTIONS, CHART}
    for service, keys in sent.last.items():
        assert set(known["last"][service]) == set(keys)
        for key, fields in keys.items():
            assert numbered(service, known["last"][service][key]) == fields, key
            assert numbered(service, known["seen"][service][key]) == sent.seen[service][key], key
            compared += 2 * len(fields)
    bars = {key: [numbered(CHART, bar) for bar in told] for key, told in known["bars"].items()}
    assert bars == sent.bars
    return compared + sum(len(bar) for told in bars.values() for bar in told)


def printed(table: str, played: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of `--truth`."""
    return list(csv.DictReader(io.StringIO(output("simulate", *played, "--truth", table, "--csv"))))


def same_as_printed(sent: Sent, played: tuple[str, ...]) -> int:
    """The session's sum, its last second, and every minute of the regular session."""
    compared = 0
    for day in printed("session", played):
        last, index = sent.last[EQUITIES][day["ticker"]], day["ticker"].startswith("$")
        wanted = {"17": day["open"], "10": day["high"], "11": day["low"], "29": day["close"]}
        wanted |= {} if index else {"8": day["volume"]}
        assert {name: decimal(last[name]) for name in wanted} == {name: Decimal(text) for name, text in wanted.items()}
        assert sent.seen[EQUITIES][day["ticker"]]["key"] == int(day["rows"]) + 1, "a row a delta, and the image"
        compared += len(wanted) + 1
    newest = {row["ticker"]: row for row in printed("seconds", played)}
    assert set(newest) == set(SYMBOLS)
    for symbol, row in newest.items():
        last = sent.last[EQUITIES][symbol]
        assert decimal(last["3"]) == Decimal(row["price"])
        assert last.get("8") == (int(row["day_volume"]) if row["day_volume"] else None)
        compared += 2
    minutes = [row for row in printed("minutes", played) if not row["ticker"].startswith("$")]
    bars = {(key, bar["7"]): bar for key, told in sent.bars.items() for bar in told[1:]}
    begun = {key: told[0]["7"] for key, told in sent.bars.items()}
    regular = {place for place in bars if in_regular(place[1])}
    places = [(row["ticker"], milliseconds(row["timestamp"])) for row in minutes]
    assert regular == {place for place in places if place[1] > begun[place[0]]}
    for place, row in zip(places, minutes, strict=True):
        if place in regular:
            bar = bars[place]
            assert decimal(bar["5"]) == Decimal(row["close"])
            assert int(bar["6"]) == int(row["volume"])
            assert decimal(bar["3"]) >= Decimal(row["high"]) and decimal(bar["4"]) <= Decimal(row["low"])
            compared += 4
    return compared


def same_as_tape(sent: Sent, programme: Programme, contracts: list[str]) -> int:
    """The tape's last lines, its minutes, and the whole state of a market that is played to the end in one step."""
    market = Market(programme)
    market.play(programme.end_ms)
    compared = 0
    for symbol, tape in programme.tapes.items():
        last = sent.last[EQUITIES][symbol]
        assert {str(number): json.loads(text) for number, text in market.symbols[symbol].fields.items()} == {
            name: value for name, value in last.items() if name.isdigit()
        }
        assert decimal(last["3"]) == Decimal(tape.prints.prices[-1]) / PRICE_SCALE
        assert last["35"] == tape.prints.times_ms[-1]
        if tape.quotes is not None:
            quote = (tape.quotes.bids[-1], tape.quotes.asks[-1])
            assert tuple(decimal(last[name]) * PRICE_SCALE for name in ("1", "2")) == quote
            assert (last["4"], last["5"]) == (tape.quotes.bid_sizes[-1], tape.quotes.ask_sizes[-1])
            assert last["34"] == tape.quotes.times_ms[-1]
        compared += len(market.symbols[symbol].fields)
        if symbol.startswith("$"):
            assert symbol not in sent.bars
            continue
        told = {bar["7"]: [bar[name] for name in "23456"] for bar in sent.bars[symbol][1:]}
        made = {start: bar for start, bar in minutes_of(tape.prints) if start + 60_000 > programme.start_ms}
        assert told == made
        assert [bar["1"] for bar in sent.bars[symbol][1:]] == [(start - at(time(7))) // 60_000 for start in told]
        compared += 6 * len(told)
    assert set(sent.last[OPTIONS]) == set(contracts) and len(contracts) >= 4
    for name in contracts:
        contract = market.contract(name)
        assert contract is not None
        _, texts = market.option_texts(contract)
        last = sent.last[OPTIONS][name]
        assert {str(number): json.loads(text) for number, text in texts.items()} == {
            place: value for place, value in last.items() if place.isdigit()
        }
        assert last["8"] > 0 and last["3"] > last["2"] >= 0 and last["4"] > 0
        compared += len(texts)
    return compared


def minutes_of(prints: Prints) -> Iterator[tuple[int, list[float]]]:
    """(start ms, open, high, low, close, volume) of each minute with a trade from 07:00 on, by the lines alone."""
    bars: dict[int, list[float]] = {}
    for time_ms, raw, size in zip(prints.times_ms, prints.prices, prints.sizes, strict=True):
        price, start = float(Decimal(raw) / PRICE_SCALE), time_ms // 60_000 * 60_000
        if start < at(time(7)):
            continue
        first, high, low, _, volume = bars.get(start, [price, price, price, price, 0])
        bars[start] = [first, max(high, price), min(low, price), price, volume + size]
    yield from bars.items()


def decimal(number: float) -> Decimal:
    """A number of JSON as it is written."""
    return Decimal(repr(number))


def at(wall: time) -> int:
    return int(datetime.combine(DAY, wall, EXCHANGE).timestamp()) * 1000


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def in_regular(time_ms: int) -> bool:
    return at(time(9, 30)) <= time_ms < at(time(16))
