"""The released schwab-py and Schwabdev against `alphakite simulate`: every REST call, a whole session of the stream.

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
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.harness import CHECKOUT, output

from alphakite.model import PRICE_SCALE
from alphakite.sessions import EXCHANGE, session_at, session_on
from alphakite.simulator.market import Market
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.programme import Programme, make_programme
from alphakite.simulator.tape import Prints

DAY = date(2026, 11, 20)
SYMBOLS = ("QQQ", "ZZILL", "$SPX")
"""One liquid share, one that hardly trades, an index: what schwab-py reads in a minute."""
EQUITIES, OPTIONS, CHART = "LEVELONE_EQUITIES", "LEVELONE_OPTIONS", "CHART_EQUITY"
SCHWAB_PY, SCHWABDEV = "outside_schwab_py.py", "outside_schwabdev.py"
READY_WITHIN_S, CLIENT_WITHIN_S, ENDED_WITHIN_S = 60, 420, 60
"""Against hanging; alone on two cores a client takes a minute."""
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
        pytest.param(SCHWABDEV, {}, (), id="Schwabdev-Stream", marks=pytest.mark.slow),  # make faults
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


def test_the_comparison_notices_what_is_lost_swapped_or_misread(tmp_path: Path) -> None:
    """A client that has missed one item, one field, one bar or one frame is found out; the faithful one is not."""
    items = {EQUITIES: ['"3":1.5,"8":10', '"3":1.5'], OPTIONS: ['"2":1,"3":2'], CHART: ['"2":1,"7":5', '"2":2,"7":6']}
    texts = [
        f'{{"data":[{{"service":"{name}", "timestamp":1,"command":"SUBS","content":[{{"key":"A",{item}}}]}}]}}'
        for name, told in items.items()
        for item in told
    ]
    log = tmp_path / "send.jsonl"
    log.write_text("".join(json.dumps({"conn": 1, "lost_s": 0, "frame": text}) + "\n" for text in texts))
    sent = folded(log)

    def known() -> dict[str, Any]:
        copied: dict[str, Any] = json.loads(json.dumps(vars(sent)))
        return copied

    assert same_as_sent(known(), sent) > 0
    wrong = [known() for _ in range(6)]
    wrong[0]["last"][EQUITIES]["A"]["3"] = 1.4
    wrong[1]["seen"][EQUITIES]["A"]["3"] = 1
    wrong[2]["bars"]["A"].reverse()
    wrong[3]["sha256"] = "other"
    wrong[4]["items"][OPTIONS] = 2
    del wrong[5]["last"][OPTIONS]["A"]["2"]
    for one in wrong:
        with pytest.raises(AssertionError):
            same_as_sent(one, sent)


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
    regular = {place for place in bars if is_regular(place[1])}
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
            quote = [Decimal(tape.quotes.bids[-1]), Decimal(tape.quotes.asks[-1])]
            assert [decimal(last[name]) * PRICE_SCALE for name in ("1", "2")] == quote
            assert (last["4"], last["5"]) == (tape.quotes.bid_sizes[-1], tape.quotes.ask_sizes[-1])
            assert last["34"] == tape.quotes.times_ms[-1]
        compared += len(market.symbols[symbol].fields)
        if symbol.startswith("$"):
            assert symbol not in sent.bars, "an index has no chart"
            assert decimal(last["1"]) == decimal(last["3"]) - Decimal("1.41"), "its bid follows every print"
            compared += 1
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
        assert last["3"] > last["2"] >= 0 and last["4"] > 0
        assert (last["8"] > 0) is (contract.settlement == "P"), "what settled at the opening has not traded"
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


# --------------------------------------------------------------------------------------------------------------- REST

QUARTER_PAST_TEN = time(10, 15)
MINUTES = {"minutes": 1, "fives": 5, "tens": 10, "fifteens": 15, "thirties": 30}
CALLS = {
    *("userPreference", "quote", "quoteWhole", "quotes", "optionQuotes", "chain", "chainCalls", "expirationchain"),
    *(*MINUTES, "span", "days", "weeks", "months", "markets", "everyMarket", "movers", "instruments", "cusip"),
}
"""What both clients have; Schwabdev has a call for a single market, too."""
Bar = tuple[int, list[float]]


async def test_every_rest_call_is_answered_right(tmp_path: Path) -> None:
    """At 10:15 of the session: both clients read the same, and the values are those of the tape's own lines."""
    played = [part for symbol in SYMBOLS for part in ("--symbol", symbol)]
    async with simulated(tmp_path, *played, "--session", DAY.isoformat(), "--start", "10:15") as simulator:
        reports = {script: await reported(script, simulator) for script in (SCHWAB_PY, SCHWABDEV)}
        address = str(simulator.ready["api_url"]).replace("https", "wss") + "/ws"
    programme = make_programme(SimulatorOptions(symbols=SYMBOLS, session=DAY, start=QUARTER_PAST_TEN))
    bodies: dict[str, dict[str, Any]] = {}
    for script, report in reports.items():
        answers = report["answers"]
        assert set(answers) == CALLS | ({"market"} if script == SCHWABDEV else set())
        assert {name: one["status"] for name, one in answers.items()} == dict.fromkeys(answers, 200)
        body = bodies[script] = {name: one["body"] for name, one in answers.items()}
        streamer = body["userPreference"]["streamerInfo"][0]
        assert (streamer["streamerSocketUrl"], streamer["schwabClientChannel"]) == (address, "N9")
        quotes_are_the_tapes(body, programme)
        chains_are_of_the_day(body)
        history_is_the_tapes(body, programme)
        hours_are_the_sessions(body)
        assert [one["symbol"] for one in body["movers"]["screeners"]] == ["QQQ", "ZZILL"]
        assert body["movers"]["screeners"][0]["lastPrice"] == body["quote"]["QQQ"]["quote"]["lastPrice"]
        assert body["instruments"] == body["cusip"]
        (instrument,) = body["cusip"]["instruments"]
        assert (instrument["symbol"], instrument["assetType"]) == ("QQQ", "ETF")
    shared = CALLS - {"userPreference"}  # its ids are new each time
    assert {name: bodies[SCHWAB_PY][name] for name in shared} == {name: bodies[SCHWABDEV][name] for name in shared}
    print(f"\nREST: {' and '.join(str(len(body)) for body in bodies.values())} calls, {len(shared)} the same for both")


def quotes_are_the_tapes(body: dict[str, Any], programme: Programme) -> None:
    """The last print and quote before 10:15, the volume since 07:28, the prices since 09:30."""
    prints, quotes = programme.tapes["QQQ"].prints, programme.tapes["QQQ"].quotes
    assert quotes is not None
    past = [row for row in zip(prints.times_ms, prints.prices, prints.sizes, strict=True) if row[0] < at(time(10, 15))]
    regular = [price / PRICE_SCALE for time_ms, price, _ in past if time_ms >= at(time(9, 30))]
    place = sum(time_ms < at(time(10, 15)) for time_ms in quotes.times_ms) - 1
    wanted = {
        "lastPrice": past[-1][1] / PRICE_SCALE,
        "tradeTime": past[-1][0],
        "totalVolume": sum(size for time_ms, _, size in past if time_ms >= at(time(7, 28))),
        "openPrice": regular[0],
        "highPrice": max(regular),
        "lowPrice": min(regular),
        "bidPrice": quotes.bids[place] / PRICE_SCALE,
        "askPrice": quotes.asks[place] / PRICE_SCALE,
        "bidSize": quotes.bid_sizes[place],
        "askSize": quotes.ask_sizes[place],
    }
    assert set(body["quote"]["QQQ"]) >= {"symbol", "quote"} and "reference" not in body["quote"]["QQQ"]
    whole = body["quoteWhole"]["QQQ"]
    assert set(whole) >= {"quote", "fundamental", "extended", "reference", "regular"}
    for quote in (body["quote"]["QQQ"]["quote"], whole["quote"], body["quotes"]["QQQ"]["quote"]):
        assert {name: quote[name] for name in wanted} == wanted
    assert whole["regular"]["regularMarketLastPrice"] == wanted["lastPrice"]
    assert set(body["quotes"]) == {"QQQ", "$QQQ.IV", "errors"}
    assert body["quotes"]["errors"]["invalidSymbols"] == ["ZZZZ9"]


def chains_are_of_the_day(body: dict[str, Any]) -> None:
    """Four strikes on each side of the money; the calls alone; the same contracts quoted by their symbols."""
    chain, calls, spot = body["chain"], body["chainCalls"], body["quote"]["QQQ"]["quote"]["lastPrice"]
    assert chain["numberOfContracts"] == 16 and chain["underlying"]["last"] == spot
    for side in (chain["callExpDateMap"], chain["putExpDateMap"]):
        assert list(side) == [f"{DAY}:0"]
        strikes = [float(strike) for strike in side[f"{DAY}:0"]]
        assert len(strikes) == 8 and sum(strike < spot for strike in strikes) == 4
    assert calls["putExpDateMap"] == {} and calls["numberOfContracts"] == 4
    contracts = {one["symbol"]: one for strike in calls["callExpDateMap"][f"{DAY}:0"].values() for one in strike}
    assert {one["putCall"] for one in contracts.values()} == {"CALL"}
    assert set(body["optionQuotes"]) == set(contracts)
    for symbol, one in contracts.items():
        quote = body["optionQuotes"][symbol]["quote"]
        assert (quote["bidPrice"], quote["askPrice"], quote["totalVolume"], quote["openInterest"]) == (
            *(one["bid"], one["ask"], one["totalVolume"], one["openInterest"]),
        )
    expirations = body["expirationchain"]["expirationList"]
    assert expirations[0]["expirationDate"] == DAY.isoformat()
    for one in expirations:
        expiry = date.fromisoformat(one["expirationDate"])
        assert session_on(expiry) is not None and one["daysToExpiration"] == (expiry - DAY).days


def history_is_the_tapes(body: dict[str, Any], programme: Programme) -> None:
    """Minutes of both days that there are, their multiples, and the days, weeks and months of regular hours."""
    tape = programme.tapes["QQQ"]
    earlier: list[Bar] = [
        (
            candle.minute_us // 1000,
            [*(price / PRICE_SCALE for price in (candle.open, candle.high, candle.low, candle.close)), candle.volume],
        )
        for candle in tape.history
        if datetime.fromtimestamp(candle.minute_us / 1e6, EXCHANGE).hour >= 7
    ]
    today = [bar for bar in minutes_of(tape.prints) if bar[0] < at(QUARTER_PAST_TEN)]
    assert earlier and today
    for name, minutes in MINUTES.items():
        assert body[name]["candles"] == merged(earlier + today, floored(minutes * 60_000)), name
    regular = [bar for bar in earlier + today if is_regular(bar[0])]
    assert body["span"]["candles"] == merged([bar for bar in today if is_regular(bar[0])], floored(1))
    assert body["days"]["candles"] == merged(regular, lambda ms: midnight(day_of(ms)))
    assert body["weeks"]["candles"] == merged(
        regular, lambda ms: midnight(day_of(ms) - timedelta(day_of(ms).weekday()))
    )
    assert body["months"]["candles"] == merged(regular, lambda ms: midnight(day_of(ms).replace(day=1)))
    closed = [bar for bar in earlier if is_regular(bar[0])][-1]
    assert body["minutes"]["previousClose"] == closed[1][3]
    assert all(body[name]["symbol"] == "QQQ" and body[name]["empty"] is False for name in (*MINUTES, "days", "weeks"))


def merged(bars: list[Bar], stamp_of: Callable[[int], int]) -> list[dict[str, float]]:
    """The bars as `pricehistory` spells them, those of one stamp made into one."""
    grown: dict[int, list[float]] = {}
    for time_ms, (first, high, low, last, volume) in bars:
        held = grown.setdefault(stamp_of(time_ms), [first, high, low, last, 0])
        held[1:] = [max(held[1], high), min(held[2], low), last, held[4] + volume]
    names = ("open", "high", "low", "close", "volume")
    return [dict(zip(names, values, strict=True)) | {"datetime": stamp} for stamp, values in grown.items()]


def hours_are_the_sessions(body: dict[str, Any]) -> None:
    """09:30 to 16:00, options on ETFs and indices a quarter hour later; five markets; one by its own path."""
    equity, option = body["markets"]["equity"]["EQ"], body["markets"]["option"]
    assert equity["isOpen"] is True and equity["date"] == DAY.isoformat()
    spans = equity["sessionHours"] | {"IND": option["IND"]["sessionHours"]["regularMarket"]}
    moments = {
        name: [datetime.fromisoformat(span[0][end]).astimezone(EXCHANGE).time() for end in ("start", "end")]
        for name, span in spans.items()
    }
    assert moments["regularMarket"] == [time(9, 30), time(16)]
    assert moments["preMarket"] == [time(7), time(9, 30)] and moments["postMarket"] == [time(16), time(20)]
    assert moments["IND"] == [time(9, 30), time(16, 15)]
    assert set(body["everyMarket"]) == {"equity", "option", "bond", "future", "forex"}
    assert {name: body["everyMarket"][name] for name in ("equity", "option")} == body["markets"]
    if "market" in body:
        assert body["market"]["equity"] == body["markets"]["equity"]


def is_regular(time_ms: int) -> bool:
    session = session_at(time_ms * 1000)
    return session is not None and session.regular_open_us <= time_ms * 1000 < session.regular_close_us


def day_of(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, EXCHANGE).date()


def floored(step_ms: int) -> Callable[[int], int]:
    return lambda time_ms: time_ms // step_ms * step_ms


def monday_of(time_ms: int) -> date:
    return day_of(time_ms) - timedelta(day_of(time_ms).weekday())


def midnight(day: date) -> int:
    """In Chicago, as Schwab stamps a day."""
    return int(datetime(day.year, day.month, day.day, 1, tzinfo=EXCHANGE).timestamp()) * 1000
