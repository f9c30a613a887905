"""The local Schwab over real sockets, seen by a minimal client that shares no code with feed/ or with the truth."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from datetime import time as wall_time
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from alphakite.simulator import Simulator, SimulatorOptions, TapeFile, start
from alphakite.simulator.report import write_truth
from alphakite.simulator.truth import compute_truth

EXCHANGE = ZoneInfo("America/New_York")
DAY = date(2013, 10, 8)
ALL_FIELDS = ",".join(map(str, range(52)))
DEADLINE_S = 20.0


def ms(wall: str) -> int:
    """Exchange wall time of DAY → epoch ms."""
    return int(datetime.combine(DAY, wall_time.fromisoformat(wall), EXCHANGE).timestamp() * 1000)


class Client:
    """Just enough of a streamer client; pongs only while `pongs` is True."""

    def __init__(self, http: aiohttp.ClientSession, env: dict[str, str]) -> None:
        self.http, self.env, self.pongs = http, env, True
        self.frames: list[str] = []
        self.pings: list[bytes] = []
        self.news = asyncio.Event()
        self.close_code: int | None = None
        self.token = json.loads(Path(env["SCHWAB_TOKEN_FILE"]).read_text())["token"]["access_token"]
        self.requests = 0
        self.ended = False

    async def get(self, path: str) -> tuple[aiohttp.ClientResponse, Any]:
        answer = await self.http.get(
            self.env["SCHWAB_API_URL"] + path, headers={"Authorization": f"Bearer {self.token}"}
        )
        return answer, await answer.json()

    async def connect(self) -> None:
        _, preference = await self.get("/trader/v1/userPreference")
        self.ids = preference["streamerInfo"][0]
        self.ws = await self.http.ws_connect(self.ids["streamerSocketUrl"], autoping=False)
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.frames.append(message.data)
            elif message.type is aiohttp.WSMsgType.PING:
                self.pings.append(bytes(message.data))
                if self.pongs:
                    await self.ws.pong(message.data)
            self.news.set()
        self.close_code, self.ended = self.ws.close_code, True
        self.news.set()

    async def command(self, service: str, command: str, **parameters: str) -> dict[str, Any]:
        """Send one command and wait for its response's content."""
        self.requests += 1
        number = str(self.requests)
        await self.ws.send_str(self.request(number, service, command, **parameters))
        mark = f'"requestid":"{number}"'
        await self.until(lambda: any(mark in frame for frame in self.frames))
        return next(json.loads(f)["response"][0] for f in self.frames if mark in f)

    def request(self, number: str, service: str, command: str, **parameters: str) -> str:
        one = {
            "service": service,
            "command": command,
            "requestid": int(number),
            "SchwabClientCustomerId": self.ids["schwabClientCustomerId"],
            "SchwabClientCorrelId": self.ids["schwabClientCorrelId"],
            "parameters": parameters,
        }
        return json.dumps({"requests": [one]})

    async def log_in(self) -> dict[str, Any]:
        await self.connect()
        return await self.command("ADMIN", "LOGIN", Authorization=self.token)

    async def subscribe(self, keys: str = "SPY", fields: str = ALL_FIELDS, service: str = "LEVELONE_EQUITIES") -> None:
        assert (await self.command(service, "SUBS", keys=keys, fields=fields))["content"]["code"] == 0

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                self.news.clear()
                await self.news.wait()

    async def kill(self) -> None:
        """Drop the socket without a word, as kill -9 does."""
        connection = self.ws._response.connection
        assert connection is not None and connection.transport is not None
        connection.transport.abort()
        await asyncio.wait({self.reader})

    def data(self, service: str = "LEVELONE_EQUITIES") -> list[str]:
        return [frame for frame in self.frames if f'"{service}", "timestamp"' in frame]

    def stamps(self) -> list[int]:
        return [json.loads(frame)["data"][0]["timestamp"] for frame in self.data()]


@asynccontextmanager
async def playing(**options: Any) -> AsyncIterator[tuple[Simulator, Callable[[], Client]]]:
    """A simulator in lock-step, and clients to it."""
    simulator = await start(SimulatorOptions(**{"speed": None, "on_disconnect": "hold", **options}))
    try:
        async with aiohttp.ClientSession() as http:
            yield simulator, lambda: Client(http, simulator.env())
    finally:
        await simulator.stop()


def tape(folder: Path, *lines: str, symbol: str = "SPY") -> tuple[TapeFile, ...]:
    """Lines `wall price size [condition]` as a trades tape."""
    path = folder / f"lean_{symbol}_trades.csv"
    rows = [(line + " 0").split()[:4] for line in lines]
    text = "".join(f"{ms(wall)},{price},{size},{condition}\n" for wall, price, size, condition in rows)
    path.write_text("epoch_ms,price,size,sale_condition_hex\n" + text)
    return (TapeFile("trades", path),)


TAPE = (
    "04:00:01.100 166.5 100",
    "04:00:02.200 166.5 200",
    "04:00:02.700 166.55 300",
    "07:27:59.500 167 100",
    "07:28:00.000 167.1 7",
    "09:29:59.900 167.2 10",
    "09:30:00.000 167.4 1000",
    "09:30:30.000 167.5 100",
    "09:31:00.500 235 50",
    "15:59:59.999 168.25 40",
    "16:00:00.300 168.5 5000 80",
    "16:00:01.000 168.4 30",
    "16:04:59.000 168.5 5 1000000",
    "16:05:00.000 169 5 80",
    "19:59:59.000 168 1",
)


async def test_images_deltas_and_end(tmp_path: Path) -> None:
    """A full image, changed fields only, bars after their minute's frame, a last heartbeat, close 1000."""
    async with playing(tapes=tape(tmp_path, *TAPE), heartbeat_s=0) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        assert client.frames[1] == f'{{"notify":[{{"heartbeat":"{ms("04:00")}"}}]}}'
        await client.subscribe(service="CHART_EQUITY", fields="0,1,2,3,4,5,6,7,8")
        await client.subscribe(fields="0,1,3,8,9,10,17,35,36")
        await client.until(lambda: client.ended)
        await simulator.wait_ended()
    t0 = ms("04:00")
    head = '{"data":[{"service":"LEVELONE_EQUITIES", "timestamp":%d,"command":"SUBS","content":[{"key":"SPY",%s}]}]}'
    meta = '"delayed":false,"assetMainType":"EQUITY","assetSubType":"ETF","cusip":"78462F103"'
    frames = client.data()
    assert frames[0] == head % (t0, meta + ',"8":0,"10":0,"17":0')
    assert frames[1] == head % (t0 + 1999, f'"1":166.49,"3":166.5,"8":100,"9":100,"35":{t0 + 1100}')
    assert frames[2] == head % (t0 + 2999, f'"1":166.54,"3":166.55,"8":600,"9":300,"35":{t0 + 2700}')
    reset = ms("07:28:00")
    assert frames[4] == head % (reset + 999, f'"1":167.09,"3":167.1,"8":7,"9":7,"35":{reset}')
    opening = ms("09:30:00")
    regular = f'"10":167.4,"17":167.4,"35":{opening},"36":{opening}'
    assert frames[6] == head % (opening + 999, f'"1":167.39,"3":167.4,"8":1017,"9":1000,{regular}')
    fields36 = [json.loads(frame)["data"][0]["content"][0].get("36") for frame in frames[9:]]
    assert fields36 == [ms("15:59:59.999"), ms("16:00:00.300"), None, ms("16:04:59"), None, None]
    bars = client.data("CHART_EQUITY")
    assert bars[0] == (
        f'{{"data":[{{"service":"CHART_EQUITY", "timestamp":{ms("07:27:59.999")},"command":"SUBS","content":[{{"seq":0,'
        f'"key":"SPY","1":27,"2":167,"3":167,"4":167,"5":167,"6":100.0,"7":{ms("07:27")},"8":15986}}]}}]}}'
    )
    assert len(bars) == 10
    assert client.frames.index(bars[0]) == client.frames.index(frames[3]) + 1
    assert client.frames[-1] == f'{{"notify":[{{"heartbeat":"{ms("20:00")}"}}]}}'
    assert client.close_code == 1000


async def test_reset_is_an_update_without_trades(tmp_path: Path) -> None:
    """At 07:28 volume 0 is sent even where it was 0 before."""
    async with playing(tapes=tape(tmp_path, "08:00:00 10 5"), end=wall_time(7, 30)) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(fields="0,8")
        await client.until(lambda: client.ended)
    assert [json.loads(frame)["data"][0] for frame in client.data()[1:]] == [
        {
            "service": "LEVELONE_EQUITIES",
            "timestamp": ms("07:28:00") + 999,
            "command": "SUBS",
            "content": [{"key": "SPY", "8": 0}],
        }
    ]


async def test_the_tape_stands_until_the_pong(tmp_path: Path) -> None:
    """Without a pong nothing more is sent, whatever else the client does; with it, the next second comes."""
    async with playing(tapes=tape(tmp_path, *TAPE)) as (simulator, client_of):
        client = client_of()
        client.pongs = False
        await client.log_in()
        assert simulator.position_ms == ms("04:00")
        await client.subscribe()
        await client.until(lambda: len(client.pings) == 1)
        for _ in range(20):
            answer, _body = await client.get("/marketdata/v1/pricehistory?symbol=SPY")
            assert answer.headers["Date"] == "Tue, 08 Oct 2013 08:00:02 GMT"
        await client.command("LEVELONE_EQUITIES", "VIEW", fields=ALL_FIELDS)
        await client.ws.pong(b"77")
        await client.command("LEVELONE_EQUITIES", "VIEW", fields=ALL_FIELDS)
        assert (len(client.pings), len(client.data()), simulator.position_ms) == (1, 2, ms("04:00:02"))
        await client.ws.pong(client.pings[0])
        await client.until(lambda: len(client.pings) == 2)
        assert client.stamps()[-1] == ms("04:00:02.999")


async def test_starts_when_all_symbols_are_named(tmp_path: Path) -> None:
    """With two symbols the tape stands until both are subscribed; one frame then holds both."""
    lines = ("04:00:01 10 1", "04:00:05 11 1")
    tapes = tape(tmp_path, *lines) + tape(tmp_path, *lines, symbol="QQQ")
    async with playing(tapes=tapes) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe("SPY,UNKNOWN")
        await client.command("LEVELONE_EQUITIES", "VIEW", fields=ALL_FIELDS)
        assert (simulator.position_ms, client.pings) == (ms("04:00"), [])
        await client.command("LEVELONE_EQUITIES", "ADD", keys="QQQ", fields="0,3")
        await client.until(lambda: len(client.data()) == 4)
        content = json.loads(client.data()[2])["data"][0]["content"]
        assert [item["key"] for item in content] == ["SPY", "QQQ"]
        assert content[1] == {"key": "QQQ", "3": 10}


async def test_hold_loses_nothing(tmp_path: Path) -> None:
    """After a kill the image has the state through the last second sent, stamped with its end; then the next one."""
    log = tmp_path / "send.jsonl"
    async with playing(tapes=tape(tmp_path, *TAPE), send_log=log) as (_, client_of):
        client = client_of()
        client.pongs = False
        await client.log_in()
        await client.subscribe()
        await client.until(lambda: len(client.pings) == 1)
        await client.kill()
        again = client_of()
        await again.log_in()
        await again.subscribe()
        await again.until(lambda: len(again.data()) >= 2)
        assert again.stamps()[:2] == [ms("04:00:02"), ms("04:00:02.999")]
        image = json.loads(again.data()[0])["data"][0]["content"][0]
        assert (image["8"], image["delayed"]) == (100, False)
        await again.until(lambda: again.ended)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["frame"] for line in lines if line["conn"] == 2] == again.frames
    assert {line["lost_s"] for line in lines} == {0}


async def test_run_loses_seeded_seconds(tmp_path: Path) -> None:
    """Under run each disconnection costs 3 to 120 tape seconds, named on the image, the same for the same seed."""
    losses: list[list[int]] = []
    for trial in range(2):
        log = tmp_path / f"send{trial}.jsonl"
        lost: list[int] = []
        async with playing(symbols=("SPY",), session=DAY, on_disconnect="run", seed=5, send_log=log) as (
            sim,
            client_of,
        ):
            for _ in range(4):
                client = client_of()
                await client.log_in()
                left_ms = sim.position_ms
                client.pongs = False
                await client.subscribe()
                image_ms = client.stamps()[0] if client.data() else 0
                await client.until(lambda client=client: bool(client.pings))  # type: ignore[misc]
                image_ms = client.stamps()[0]
                lost.append((image_ms - left_ms) // 1000)
                await client.kill()
        logged = [
            line["lost_s"] for line in map(json.loads, log.read_text().splitlines()) if '"cusip"' in line["frame"]
        ]
        assert logged == lost
        losses.append(lost)
    assert losses[0] == losses[1]
    assert losses[0][0] == 0 and all(3 <= seconds <= 120 for seconds in losses[0][1:])


async def test_codes(tmp_path: Path) -> None:
    """Each refusal has its code; a second LOGIN evicts the first connection."""
    async with playing(tapes=tape(tmp_path, *TAPE), switches=("early-command=stays",)) as (_, client_of):
        client = client_of()
        await client.connect()
        early = await client.command("LEVELONE_EQUITIES", "SUBS", keys="SPY", fields="0,3")
        assert early["content"]["code"] == 20 and early["requestid"] == "1"
        for text in ("{", "[]", '{"requests":[]}', '{"requests":[{"service":"ADMIN","command":"LOGIN"}]}'):
            count = len(client.frames)
            await client.ws.send_str(text)
            await client.until(lambda count=count: len(client.frames) > count)  # type: ignore[misc]
            assert json.loads(client.frames[-1])["response"][0]["content"]["code"] == 21
        granted = await client.command("ADMIN", "LOGIN", Authorization=client.token)
        assert granted["content"] == {"code": 0, "msg": "server=s0sim-1;status=NP"}
        assert (await client.command("TIMESALE_EQUITY", "SUBS", keys="X", fields="0"))["content"]["code"] == 11
        assert (await client.command("LEVELONE_EQUITIES", "SUBS", keys="SPY"))["content"]["code"] == 21
        assert (await client.command("LEVELONE_EQUITIES", "BUY", keys="SPY"))["content"]["code"] == 21
        second = client_of()
        await second.log_in()
        await client.until(lambda: client.ended)
        assert json.loads(client.frames[-1])["response"][0]["content"]["code"] == 12
        assert (await second.command("LEVELONE_EQUITIES", "UNSUBS", keys="SPY"))["content"]["code"] == 0
        assert (await second.command("ADMIN", "LOGOUT"))["content"]["msg"] == "SUCCESS"
        await second.until(lambda: second.ended)
        assert second.close_code == 1000
        third = client_of()
        third.token = "I0.other@"
        await third.http.get(third.env["SCHWAB_API_URL"] + "/trader/v1/userPreference")
        third.ids = second.ids
        third.ws = await third.http.ws_connect(second.ids["streamerSocketUrl"], autoping=False)
        third.reader = asyncio.create_task(third._read())
        assert (await third.command("ADMIN", "LOGIN", Authorization=third.token))["content"]["code"] == 3
        await third.until(lambda: third.ended)


async def test_sign_in(tmp_path: Path) -> None:
    """The token endpoint, the refusals' bodies, tape time in every Date, and a token file that works again."""
    env_file = tmp_path / "sim.env"
    async with playing(tapes=tape(tmp_path, *TAPE), env_file=env_file, start=wall_time(10, 15)) as (sim, client_of):
        env = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
        assert env == sim.env()
        assert env["STREAM_TICKER"] == "SPY" and env["CLOCK"] == "feed"
        for path in (env_file, Path(env["SCHWAB_TOKEN_FILE"])):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        saved = json.loads(Path(env["SCHWAB_TOKEN_FILE"]).read_text())
        assert saved["creation_timestamp"] == ms("10:15") // 1000
        assert saved["token"]["expires_at"] == saved["creation_timestamp"] + 1800
        client = client_of()
        url = env["SCHWAB_API_URL"] + "/v1/oauth/token"
        pair = base64.b64encode(f"{env['SCHWAB_APP_KEY']}:{env['SCHWAB_APP_SECRET']}".encode()).decode()
        form = {"grant_type": "refresh_token", "refresh_token": saved["token"]["refresh_token"]}
        answer = await client.http.post(url, data=form, headers={"Authorization": f"Basic {pair}"})
        fresh = await answer.json()
        assert (answer.status, fresh["expires_in"], fresh["token_type"]) == (200, 1800, "Bearer")
        assert answer.headers["Date"] == "Tue, 08 Oct 2013 14:15:00 GMT"
        form["refresh_token"] = "another"
        answer = await client.http.post(url, data=form, headers={"Authorization": f"Basic {pair}"})
        assert answer.status == 400 and "refresh_token_authentication_error" in await answer.text()
        assert (await client.http.post(url, data=form)).status == 401
        client.token = "wrong"
        answer, body = await client.get("/trader/v1/userPreference")
        assert (answer.status, body["errors"][0]["detail"]) == (401, "Client not authorized")
        assert answer.headers["Date"] == "Tue, 08 Oct 2013 14:15:00 GMT"
        for token in (saved["token"]["access_token"], fresh["access_token"]):
            client = client_of()
            client.token = token
            assert (await client.log_in())["content"]["code"] == 0


async def test_price_history(tmp_path: Path) -> None:
    """Earlier sessions from bars=, the played date's completed minutes from its prints; range and hours honoured."""
    bars = tmp_path / "lean_SPY_bars.csv"
    yesterday = ms("15:59") - 86_400_000
    rows = [(yesterday, 10), (yesterday + 60_000, 20), (yesterday - 10 * 3_600_000, 30)]
    bars.write_text("epoch_ms,open,high,low,close,volume\n" + "".join(f"{t},1.5,3,1,2,{v}\n" for t, v in rows))
    tapes = (*tape(tmp_path, *TAPE), TapeFile("bars", bars))
    async with playing(tapes=tapes, start=wall_time(9, 31)) as (_, client_of):
        client = client_of()

        async def history(query: str) -> Any:
            return (await client.get(f"/marketdata/v1/pricehistory?symbol=SPY&periodType=day&{query}"))[1]

        whole = await history("needPreviousClose=true")
        minutes = [yesterday, yesterday + 60_000, ms("07:27"), ms("07:28"), ms("09:29"), ms("09:30")]
        assert [candle["datetime"] for candle in whole["candles"]] == minutes
        assert whole["candles"][-1] == {
            "open": 167.4,
            "high": 167.5,
            "low": 167.4,
            "close": 167.5,
            "volume": 1100,
            "datetime": ms("09:30"),
        }
        assert (whole["previousClose"], whole["empty"]) == (2.0, False)
        regular = await history("needExtendedHoursData=false")
        assert [candle["datetime"] for candle in regular["candles"]] == [yesterday, ms("09:30")]
        part = await history(f"startDate={ms('07:28')}&endDate={ms('09:29')}")
        assert [candle["datetime"] for candle in part["candles"]] == [ms("07:28"), ms("09:29")]
        other = (await client.get("/marketdata/v1/pricehistory?symbol=X"))[1]
        assert other == {"candles": [], "symbol": "X", "empty": True}


async def test_clocked_run_goes_on_alone(tmp_path: Path) -> None:
    """At a numeric speed the tape runs on while nobody is there, and says how much was missed."""
    log = tmp_path / "send.jsonl"
    options = {"speed": 2000.0, "on_disconnect": "run", "end": wall_time(6), "send_log": log}
    async with playing(symbols=("SPY",), session=DAY, **options) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe()
        await client.until(lambda: len(client.data()) > 5)
        await client.kill()
        left_ms = simulator.position_ms
        async with asyncio.timeout(DEADLINE_S):
            while simulator.position_ms < left_ms + 60_000:  # noqa: ASYNC110 (nobody is there to be told)
                await asyncio.sleep(0)
        again = client_of()
        await again.log_in()
        await again.subscribe()
        await again.until(lambda: again.ended)
        await simulator.wait_ended()
    assert again.close_code == 1000
    lost = [line["lost_s"] for line in map(json.loads, log.read_text().splitlines()) if '"cusip"' in line["frame"]]
    assert lost[0] == 0 and lost[1] >= 60
    stamps = again.stamps()
    assert stamps == sorted(stamps)


async def test_clocked_hold_stands_still() -> None:
    """Under hold the clock stops with the connection, and goes on with the next whole second."""
    async with playing(symbols=("SPY",), session=DAY, speed=500.0, end=wall_time(4, 20)) as (simulator, client_of):
        client = client_of()
        answer, _ = await client.get("/marketdata/v1/pricehistory?symbol=SPY")
        assert answer.headers["Date"] == "Tue, 08 Oct 2013 08:00:00 GMT"
        await client.log_in()
        await client.subscribe()
        await client.until(lambda: len(client.data()) > 5)
        await client.kill()
        again = client_of()
        await again.log_in()
        dates = {(await again.get("/marketdata/v1/pricehistory?symbol=X"))[0].headers["Date"] for _ in range(50)}
        left_ms = simulator.position_ms
        assert len(dates) == 1
        await again.subscribe()
        await again.until(lambda: bool(again.data()))
        assert again.stamps()[0] == left_ms
        await again.until(lambda: again.ended)
        assert json.loads(again.frames[-1]) == {"notify": [{"heartbeat": str(ms("04:20"))}]}


class Recount:
    """Rows from frames, by definitions alone: what a recorder must make of one ticker's frames and candles."""

    def __init__(self, candles: list[dict[str, Any]]) -> None:
        self.open_ms, self.close_ms, self.reset_ms = ms("09:30"), ms("16:00"), ms("07:28")
        regular = [c for c in candles if wall_time(9, 30) <= self.wall(c["datetime"]) < wall_time(16)]
        self.closes = [Fraction(str(c["close"])) for c in regular][-9:]
        self.amount = self.shares = Fraction(0)
        for c in regular:
            if c["datetime"] >= self.open_ms:
                self.amount += sum(Fraction(str(c[name])) for name in ("high", "low", "close")) / 3 * c["volume"]
                self.shares += c["volume"]
        self.fields: dict[str, Any] = {}
        self.minute = 0
        self.forming: Fraction | None = None
        self.rows: list[str] = []

    @staticmethod
    def wall(at_ms: int) -> wall_time:
        return datetime.fromtimestamp(at_ms / 1000, EXCHANGE).time()

    def take(self, stamp_ms: int, item: dict[str, Any]) -> None:
        image = not self.fields
        before = self.fields.get("8", 0)
        if self.last_ms < self.reset_ms <= stamp_ms:
            before = 0
        traded, crossed = "35" in item, "36" in item
        self.fields.update(item)
        self.last_ms = stamp_ms
        if image:
            return
        second = stamp_ms // 1000 * 1000
        change = self.fields["8"] - before
        known = self.fields.get("35", 0) >= ms("04:00")
        price = Fraction(self.fields["3"]) if known else None
        regular = self.open_ms <= second < self.close_ms
        if price is not None and (regular or (self.close_ms <= second < self.close_ms + 300_000 and crossed)):
            self.amount += price * change
            self.shares += change
        if regular and second // 60_000 != self.minute:
            self.closes += [self.forming] if self.forming is not None else []
            self.minute, self.forming = second // 60_000, None
        if regular and traded:
            self.forming = price
        window = [*self.closes[-8:], self.forming] if self.forming is not None else self.closes[-9:]
        sma9 = sum(window, Fraction()) / 9 if regular and len(window) == 9 else None
        vwap = self.amount / self.shares if regular and self.shares else None
        stamp = datetime.fromtimestamp(second // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        shown = "" if price is None else str(self.fields["3"])
        cells = [item["key"], stamp, shown, str(change), str(self.fields["8"]), six(sma9), six(vwap)]
        self.rows.append(",".join(cells))

    last_ms = 0


def six(value: Fraction | None) -> str:
    """Six decimals, half to even, from the exact fraction."""
    if value is None:
        return ""
    return str(Decimal(round(value * 1_000_000)).scaleb(-6).quantize(Decimal("1e-6"), ROUND_HALF_EVEN))


async def play_and_compare(options: dict[str, Any], symbol: str) -> tuple[int, float]:
    """Frames of a whole play, recounted, equal the truth line by line. Rows and wall seconds."""
    async with playing(**options) as (simulator, client_of):
        client = client_of()
        _, history = await client.get(f"/marketdata/v1/pricehistory?symbol={symbol}&needExtendedHoursData=false")
        recount = Recount(history["candles"])
        await client.log_in()
        began = time.monotonic()
        await client.subscribe(symbol)
        async with asyncio.timeout(120):
            await client.reader
        took_s = time.monotonic() - began
        truth = compute_truth(simulator.programme)
    for frame in client.data():
        element = json.loads(frame, parse_float=str)["data"][0]
        item = {
            name: value if isinstance(value, str | bool) or name in ("8", "35", "36") else str(value)
            for name, value in element["content"][0].items()
        }
        recount.take(element["timestamp"], item)
    out = StringIO()
    write_truth(truth, "seconds", "csv", out)
    expected = out.getvalue().splitlines()[1:]
    assert len(expected) == len(recount.rows)
    assert [pair for pair in zip(expected, recount.rows, strict=True) if pair[0] != pair[1]] == []
    return len(expected), took_s


async def test_truth_of_a_handmade_tape(tmp_path: Path) -> None:
    """The truth, worked out by hand for the first rows and recounted from the frames for all."""
    options = {"tapes": tape(tmp_path, *TAPE)}
    rows, _ = await play_and_compare(options, "SPY")
    assert rows == 14


@pytest.mark.parametrize("align", ["second", "random"])
@pytest.mark.parametrize(
    ("begin", "end"),
    [("04:00", "07:40"), ("09:20", "09:50"), ("10:15", "10:30"), ("15:50", "16:10"), ("16:30", "16:40")],
)
async def test_truth_of_a_synthetic_session(align: str, begin: str, end: str) -> None:
    """Over the reset, the opening, history, the closing cross, and with a random phase, truth and frames agree."""
    span = {"start": wall_time.fromisoformat(begin), "end": wall_time.fromisoformat(end)}
    rows, _ = await play_and_compare({"symbols": ("SPY",), "session": DAY, "align": align, "seed": 3, **span}, "SPY")
    assert rows > 300


async def test_the_real_day(shared_data: Path) -> None:
    """SPY 2013-10-08: 451,545 trades with quotes; every row equal, well under 40 s."""
    names = {"trades": "20131008_trade_tick", "quotes": "20131008_quote_1s", "bars": "20131007_trade_1m"}
    tapes = tuple(TapeFile(kind, shared_data / f"lean_SPY_{name}.csv.gz") for kind, name in names.items())
    rows, took_s = await play_and_compare({"tapes": tapes}, "SPY")
    print(f"\nreal SPY day in lock-step: {rows} rows in {took_s:.1f} s")
    assert rows == 30_344
    assert took_s < 40


COMMAND = """
import argparse, sys
from alphakite.cli import simulate
from alphakite.errors import AlphakiteError
parser = argparse.ArgumentParser()
simulate.add_parser(parser.add_subparsers(required=True))
try:
    sys.exit(simulate.run(parser.parse_args()))
except AlphakiteError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


async def test_command_exits_at_the_end(tmp_path: Path) -> None:
    """With --exit-at-end the process exits 0 once the client has the last heartbeat, and not before."""
    env_file, log = tmp_path / "sim.env", tmp_path / "send.jsonl"
    arguments = [
        "simulate",
        "--symbol",
        "SPY",
        "--session",
        str(DAY),
        "--end",
        "04:30",
        "--speed",
        "max",
        "--exit-at-end",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, *arguments, "--env-file", str(env_file), "--send-log", str(log)),
        env=environment,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            assert (await process.stdout.readline()).startswith(b"READY {")
        async with aiohttp.ClientSession() as http:
            client = Client(http, dict(line.split("=", 1) for line in env_file.read_text().splitlines()))
            await client.log_in()
            assert process.returncode is None
            await client.subscribe()
            await client.until(lambda: client.ended)
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert json.loads(client.frames[-1]) == {"notify": [{"heartbeat": str(ms("04:30"))}]}
    assert [json.loads(line)["frame"] for line in log.read_text().splitlines()] == client.frames


def test_command(tmp_path: Path) -> None:
    """READY on stdout, the truth as CSV, exit 2 with the line of a bad tape, SIGTERM ends it with 0."""
    files = tape(tmp_path, *TAPE)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", COMMAND, "simulate", "--tape", f"trades=SPY:{files[0].path}"]
    truth = subprocess.run([*command, "--truth", "session"], env=env, capture_output=True, text=True, timeout=30)
    assert truth.stdout.splitlines()[1] == "SPY,2013-10-08,167.4,235,167.4,168.5,6248,14,168.841404"
    bad = tmp_path / "bad.csv"
    bad.write_text("epoch_ms,price,size,sale_condition_hex\n1381219217034,1e5,1,0\n")
    refused = subprocess.run(
        [*command[:-1], f"trades={bad}"], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert refused.returncode == 2 and f"{bad}: line 2" in refused.stderr
    with subprocess.Popen([*command, "--speed", "max"], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        word, _, told = process.stdout.readline().partition(" ")
        ready = json.loads(told)
        assert (word, ready["pid"], ready["session"]) == ("READY", process.pid, "2013-10-08")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
    assert not Path(ready["token_file"]).exists()
