"""Following against the local Schwab: what is asked, subscribed, journaled, kept. Prices are the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Recording, output, until

from alphakite.clock import make_clock
from alphakite.config import Settings, load
from alphakite.feed.schwab.rest import SchwabRest
from alphakite.feed.schwab.tokens import TokenFile
from alphakite.journal.reader import JournalReader
from alphakite.journal.record import Kind, Record
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import Status
from alphakite.model import PRICE_SCALE
from alphakite.recorder import options as options_module
from alphakite.recorder.asking import Asking
from alphakite.recorder.capture import Capture
from alphakite.recorder.options import Chains
from alphakite.simulator import Simulator, SimulatorOptions, start
from alphakite.symbols import parse_option

FRIDAY = date(2026, 11, 20)
DEADLINE_S = 30.0
OPTIONS = "LEVELONE_OPTIONS"


class Watching:
    """A recorder without its database side: capture, and the following of option chains."""

    def __init__(self, simulator: Simulator, data: Path, **environ: str) -> None:
        self.simulator = simulator
        self.environ = simulator.env() | {"DATA_DIR": str(data), "OPTION_STRIKES": "5"} | environ
        self.settings = load(environ=self.environ)
        data.mkdir(exist_ok=True)
        self.journal = JournalWriter(data / "journal", segment_bytes=64_000_000)
        self.clock = make_clock(self.settings.clock)
        self.clock.raise_floor(self.journal.last_ts_ns)
        tokens = TokenFile(self.settings.schwab_token_file, lambda: self.clock.now_ns() / 1e9)
        self.rest = SchwabRest(
            self.settings.schwab_api_url,
            self.settings.schwab_app_key,
            self.settings.schwab_app_secret,
            tokens,
            lambda date_ms: None if self.capture.connected else self.clock.observe_ms(date_ms),
        )
        self.status, self.stopping, self.prices = Status(), asyncio.Event(), dict[str, int]()
        asking = Asking(self.settings, self.clock, self.journal, self.rest, self.stopping)
        asking.wants_history = lambda _ticker: False
        parts = self.settings, self.clock, self.journal, self.rest
        self.capture = Capture(*parts, asking, self.status, self.stopping)
        self.chains = chains = Chains(*parts, self.status, self.stopping)
        chains.begun, self.capture.settled = self.capture.begun, chains.settled
        chains.price_of, chains.cap, chains.tell = self.prices.get, self.capture.option_cap, self.capture.want_options
        self.capture.note_refusals = chains.refused
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Watching:
        self.tasks = [asyncio.create_task(self.capture.run()), asyncio.create_task(self.chains.run())]
        return self

    async def __aexit__(self, *_error: object) -> None:
        with contextlib.suppress(Exception):
            await self.capture.stop()
        await self.die()

    async def die(self) -> None:
        """As a kill would end it: nothing is said, nothing more is written."""
        for task in self.tasks:
            task.cancel()
        _, alive = await asyncio.wait(self.tasks, timeout=DEADLINE_S)
        assert not alive, "a cancellation was swallowed"
        await self.rest.close()
        self.journal.close()

    async def until(self, holds: Callable[[], Any], what: str = "it") -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not holds():
                    for task in self.tasks:
                        assert not task.done(), task.result()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"not in time: {what}; {self.changes()}; {len(self.held())} held") from None

    def price(self, ticker: str, dollars: float) -> None:
        """The underlying trades there now."""
        self.prices[ticker] = round(dollars * PRICE_SCALE)
        self.chains.progressed()

    def money(self, ticker: str = "QQQ") -> float:
        """Where the window is."""
        return self.chains._state.tickers[ticker].centre / PRICE_SCALE

    def held(self) -> list[str]:
        """What the streamer has of options for the connection that is up."""
        active = self.simulator._player.active
        return list(active.keys[OPTIONS]) if active is not None else []

    def strikes(self, root: str = "QQQ") -> list[float]:
        found = [option for symbol in self.held() if (option := parse_option(symbol)) and option.root == root]
        return sorted({option.strike / PRICE_SCALE for option in found})

    def promised(self, price: float, each: int) -> bool:
        """Whether so many strikes are watched on both sides of a price."""
        strikes = self.strikes()
        return sum(one < price for one in strikes) >= each <= sum(one > price for one in strikes)

    def watched(self) -> bool:
        """Whether every ticker has contracts, and the streamer all of them."""
        wanted = [symbol for symbols in self.capture._contracts_wanted.values() for symbol in symbols]
        states = self.chains._state.tickers.values()
        return bool(wanted) and set(wanted) == set(self.held()) and not any(state.waiting for state in states)

    def records(self) -> list[Record]:
        return list(JournalReader(self.journal.folder))

    def events(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(one.payload) for one in self.records() if one.kind == Kind.CONFIG]
        return [event for event in found if event["event"] == name]

    def changes(self) -> list[dict[str, Any]]:
        return [change for event in self.events("following") for change in event["changes"]]

    def reasons(self) -> list[str]:
        return [change["reason"] for change in self.changes()]

    def asked(self, part: str = "") -> list[dict[str, str]]:
        """The queries of REST records whose path has this part."""
        heads = [json.loads(one.payload.partition(b"\n")[0]) for one in self.records() if one.kind == Kind.REST]
        return [head["params"] for head in heads if part in head["path"]]

    def connections(self) -> int:
        return sum(b'"event":"up"' in one.payload for one in self.records() if one.kind == Kind.CONNECTION)


@pytest.fixture
async def schwab(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    """Plays QQQ (and more, if the test says so) from 10:00 at ten times the speed."""
    asked: dict[str, Any] = {"symbols": ("QQQ",), "session": FRIDAY, "start": time(10), "speed": 10.0}
    simulator = await start(SimulatorOptions(**(asked | getattr(request, "param", {}))))
    yield simulator
    await simulator.stop()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again at once."""
    monkeypatch.setattr(options_module, "AGAIN_FIRST_S", 0.05)
    monkeypatch.setattr(options_module, "LOOK_S", 0.05)


async def test_the_first_slice(schwab: Simulator, tmp_path: Path) -> None:
    """Expiries, one chain, one subscription; images with the equities'; each answer is a record before it is used."""
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(watching.watched)
        assert len(watching.strikes()) in (12, 13)
        assert {parse_option(symbol).expiry for symbol in watching.held()} == {FRIDAY}  # type: ignore[union-attr]
        await watching.until(
            lambda: b'"LEVELONE_OPTIONS", "timestamp"' in b"".join(r.payload for r in watching.records())
        )
        chain = watching.asked("/chains")
        assert [(one["fromDate"], one["toDate"]) for one in chain] == [("2026-11-20", "2026-11-20")]
        kinds = [record.payload for record in watching.records()]
        place = {name: next(i for i, payload in enumerate(kinds) if name in payload) for name in
                 (b'"event":"start"', b"/expirationchain", b"/marketdata/v1/chains", b'"reason":"started"',
                  b'"event":"options"', b'"event":"up"', b'"service":"LEVELONE_OPTIONS"')}  # fmt: skip
        assert list(place) == sorted(place, key=lambda name: place[name])
        wanted = watching.events("options")[-1]["contracts"]
        assert list(wanted) == ["QQQ"] and set(wanted["QQQ"]) == set(watching.held())
        status = watching.status.options["QQQ"]
        assert (status.watched, status.expiries, status.cut) == (len(watching.held()), ["2026-11-20"], 0)
        assert status.low == watching.strikes()[0] and status.high == watching.strikes()[-1]
    frames = [one for one in watching.records() if one.kind == Kind.FRAME and b'{"data"' in one.payload]
    equity, option = (next(f for f in frames if name in f.payload) for name in (b"LEVELONE_EQ", b"LEVELONE_OP"))
    assert option.ts_ns - equity.ts_ns < 1_000_000_000  # one message asks for both


async def test_off_asks_nothing(schwab: Simulator, tmp_path: Path) -> None:
    """No request, no record."""
    async with Watching(schwab, tmp_path / "data", OPTIONS="off") as watching:
        await watching.until(lambda: watching.status.capture == "streaming")
        await watching.until(lambda: len(watching.records()) > 20)
    assert watching.asked() == [] and watching.events("options") == [] and watching.events("following") == []
    assert watching.held() == [] and not (tmp_path / "data" / "following.json").exists()


async def test_the_window_follows_in_place(schwab: Simulator, tmp_path: Path) -> None:
    """New strikes are added on the same connection, and none is ever taken away."""
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(watching.watched)
        money, first = watching.money(), set(watching.held())
        for price in (money + step for step in (1, 3, 5, 3, -4)):
            watching.price("QQQ", price)
            await watching.until(lambda: watching.promised(price, 5), f"{price}")  # noqa: B023
            assert first <= set(watching.held())
        assert "recentred" in watching.reasons() and set(watching.reasons()) <= {"started", "recentred"}
        assert watching.connections() == 1
        assert not any(change["removed"] for change in watching.changes())
        # What is new is expected before it is asked for.
        assert set(watching.events("options")[-1]["contracts"]["QQQ"]) == set(watching.held())


async def test_more_strikes_are_asked_for_at_the_edge(schwab: Simulator, tmp_path: Path) -> None:
    """The first answer had a strike or two more than the window: when those are used up, Schwab is asked again."""
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(watching.watched)
        money = watching.money()
        watching.price("QQQ", money + 17)
        watching.clock.observe_ms(watching.clock.now_ns() // 10**6 + 61_000)
        await watching.until(lambda: len(watching.asked("/chains")) > 1, "another request")


@pytest.mark.parametrize("schwab", [{"faults": ("rest=toobigx3",)}], indirect=True)
async def test_a_chain_too_big_is_asked_for_in_parts(schwab: Simulator, tmp_path: Path) -> None:
    """Below and above the money, calls and puts: the same contracts in the end."""
    async with Watching(schwab, tmp_path / "data", OPTION_STRIKES="all") as watching:
        await watching.until(watching.watched)
        assert len(watching.held()) == 2 * 121
        assert {one.get("range") for one in watching.asked("/chains")} >= {"SAK"}


@pytest.mark.parametrize("schwab", [{"faults": ("rest=500:/chainsx2", "rest=503:/expirationchainx2")}], indirect=True)
async def test_what_schwab_does_not_answer_is_asked_again(schwab: Simulator, tmp_path: Path) -> None:
    """Equities stream meanwhile."""
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(watching.watched)
        assert len(watching.asked("/expirationchain")) == 1 and len(watching.asked("/chains")) == 1


@pytest.mark.parametrize("schwab", [{"faults": ("rest=404:/expirationchainx0",)}], indirect=True)
async def test_a_ticker_without_options(schwab: Simulator, tmp_path: Path) -> None:
    """Said once; not asked again for a quarter of an hour, and nobody waits for it."""
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(lambda: watching.status.capture == "streaming")
        await watching.until(lambda: len(watching.records()) > 20)
        assert watching.held() == [] and watching.asked("/chains") == []
        assert watching.status.options["QQQ"].waiting == "an expiry"


@pytest.mark.parametrize("schwab", [{"caps": ((OPTIONS, 10),), "switches": ("strike-count=total",)}], indirect=True)
async def test_a_cap_that_schwab_tells_is_planned_for(schwab: Simulator, tmp_path: Path) -> None:
    """The nearest strikes stay; refused once, cut, and nothing desired beyond it."""
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(lambda: "capped" in watching.reasons())
        await watching.until(watching.watched)
        money = watching.money()
        assert len(watching.held()) == 10 and all(abs(strike - money) < 4 for strike in watching.strikes())
        assert watching.reasons().count("refused") == 1
        status = watching.status.options["QQQ"]
        assert status.watched == 10 and status.cut > 10
        watching.price("QQQ", money + 6)
        await watching.until(lambda: watching.watched() and all(s > money + 3 for s in watching.strikes()), "near ones")
        assert len(watching.held()) == 10 and watching.connections() == 1


@pytest.mark.parametrize("code", [21, 24])
async def test_a_refusal_is_recorded_once(tmp_path: Path, code: int) -> None:
    """An ADD that Schwab refuses for good: said in the journal, and equities go on."""
    options = SimulatorOptions(
        symbols=("QQQ",), session=FRIDAY, start=time(10), speed=10.0, faults=(f"code={code}:ADDx0",)
    )
    simulator = await start(options)
    try:
        async with Watching(simulator, tmp_path / "data") as watching:
            await watching.until(watching.watched)
            watching.price("QQQ", watching.money() + 4)
            await watching.until(lambda: "refused" in watching.reasons())
            frames = len(watching.records())
            await watching.until(lambda: len(watching.records()) > frames + 5)
            assert watching.reasons().count("refused") == 1 and watching.connections() == 1
            refused = next(change for change in watching.changes() if change["reason"] == "refused")
            assert refused["ticker"] == "QQQ" and refused["detail"].startswith(f"{code} ")
            assert watching.status.refused[OPTIONS] > 0
    finally:
        await simulator.stop()


@pytest.mark.parametrize("schwab", [{"symbols": ("QQQ", "$SPX", "ZZILQ")}], indirect=True)
async def test_several_tickers(schwab: Simulator, tmp_path: Path) -> None:
    """An index by its root of the close; each as its own settings say; a ticker removed ends, added again begins."""
    data, own = tmp_path / "data", {"OPTION_STRIKES": "5,$SPX:2", "OPTIONS": "on,ZZILQ:off"}
    async with Watching(schwab, data, **own) as watching:
        await watching.until(watching.watched)
        roots = {parse_option(symbol).root for symbol in watching.held()}  # type: ignore[union-attr]
        assert roots == {"QQQ", "SPXW"}
        assert len(watching.strikes("SPXW")) in (6, 7) and len(watching.strikes("QQQ")) in (12, 13)
        assert {one["symbol"] for one in watching.asked("/expirationchain")} == {"QQQ", "$SPX"}

        def read_again(tickers: str) -> None:
            fresh: Settings = load(environ=watching.environ | {"STREAM_TICKER": tickers})
            watching.capture.want(fresh.tickers)
            watching.chains.want(fresh)

        read_again("QQQ")
        await watching.until(lambda: watching.held() and not watching.strikes("SPXW"), "$SPX is let go")
        assert watching.changes()[-1]["reason"] == "ended" and watching.changes()[-1]["ticker"] == "$SPX"
        await watching.until(lambda: list(watching.events("options")[-1]["contracts"]) == ["QQQ"])
        read_again("QQQ,$SPX")
        await watching.until(lambda: watching.watched() and len(watching.strikes("SPXW")) >= 6)
        assert watching.connections() == 1


async def test_sticky_through_a_kill(schwab: Simulator, tmp_path: Path) -> None:
    """What was watched is watched again by the next process, at once, before Schwab has answered anything."""
    data = tmp_path / "data"
    async with Watching(schwab, data) as watching:
        await watching.until(watching.watched)
        money = watching.money()
        watching.price("QQQ", money + 5)
        await watching.until(lambda: watching.watched() and watching.promised(money + 5, 5))
        held = set(watching.held())
        assert watching.promised(money, 5)
        await watching.die()
    assert (data / "following.json").stat().st_mode & 0o777 == 0o600
    schwab._faults.orders.extend(type(schwab._faults)(("rest=500:/chainsx0", "rest=500:/expirationx0")).orders)
    async with Watching(schwab, data) as second:
        await second.until(lambda: set(second.held()) == held, "the same contracts")
        assert set(second.events("options")[-1]["contracts"]["QQQ"]) == held


async def test_killed_between_the_file_and_the_journal(schwab: Simulator, tmp_path: Path) -> None:
    """What was kept and not yet journaled is journaled by the next process, once."""
    data = tmp_path / "data"
    async with Watching(schwab, data) as watching:
        await watching.until(watching.watched)
        money, noted = watching.money(), len(watching.changes())

        def die(_step: str) -> None:
            raise ConnectionAbortedError

        watching.chains.on_step = die
        watching.price("QQQ", money + 4)
        await watching.until(lambda: watching.tasks[1].done() and watching.tasks.pop())
        assert len(watching.changes()) == noted
        await watching.die()
    for _life in range(2):
        async with Watching(schwab, data) as second:
            await second.until(lambda: second.watched() and second.promised(money + 4, 5))
            assert second.reasons() == ["started", "recentred"]


async def test_a_reconnect_subscribes_at_once(tmp_path: Path) -> None:
    """From the state: no request is waited for, and the contracts are in the journal again."""
    options = SimulatorOptions(
        symbols=("QQQ",),
        session=FRIDAY,
        start=time(10),
        speed=10.0,
        faults=("drop@10:00:20", "rest=500:/chainsx0@10:00:20"),
    )
    simulator = await start(options)
    try:
        async with Watching(simulator, tmp_path / "data") as watching:
            await watching.until(watching.watched)
            held, asked = set(watching.held()), len(watching.asked("/chains"))
            await watching.until(lambda: watching.connections() == 2 and set(watching.held()) == held)
            assert len(watching.asked("/chains")) == asked
            ups = [i for i, one in enumerate(watching.records()) if b'"event":"up"' in one.payload]
            assert b'"event":"options"' in watching.records()[ups[1] - 1].payload
    finally:
        await simulator.stop()


async def test_switched_off_between_two_lives(schwab: Simulator, tmp_path: Path) -> None:
    """What the life before had wanted is let go: derivation expects it no more."""
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(watching.watched)
    async with Watching(schwab, tmp_path / "data", OPTIONS="off") as second:
        await second.until(lambda: second.status.capture == "streaming" and second.events("options"))
        await second.until(lambda: second.events("options")[-1]["contracts"] == {})
        assert second.reasons()[-1] == "ended" and second.held() == []


@pytest.mark.parametrize("schwab", [{"speed": None, "faults": ("drop@10:01",), "end": time(10, 5)}], indirect=True)
async def test_images_come_with_those_of_equities(schwab: Simulator, tmp_path: Path) -> None:
    """In lock-step, where the tape waits for nothing but equities: at its start, and after a reconnection."""
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(lambda: watching.connections() >= 2)
        await watching.until(lambda: watching.clock.now_ns() // 10**6 >= schwab.programme.end_ms)
        held = set(watching.events("options")[0]["contracts"]["QQQ"])
    for number in (1, 2):
        frames = [one for one in watching.records() if one.kind == Kind.FRAME and one.conn == number]
        image = next(one for one in frames if b'"LEVELONE_EQUITIES", "timestamp"' in one.payload)
        options = next(one for one in frames if b'"LEVELONE_OPTIONS", "timestamp"' in one.payload)
        assert options.ts_ns == image.ts_ns
        assert {item["key"] for item in json.loads(options.payload)["data"][0]["content"]} >= held


@pytest.mark.parametrize("content", [b"", b"{", b'{"version":1,"journal":"another","state":{}}'])
async def test_a_broken_file_is_ignored(schwab: Simulator, tmp_path: Path, content: bytes) -> None:
    """Said, and begun anew."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "following.json").write_bytes(content)
    async with Watching(schwab, tmp_path / "data") as watching:
        await watching.until(watching.watched)
        assert "started" in watching.reasons()


def test_a_whole_recorder(tmp_path: Path) -> None:
    """Signalled as soon as it can be; a ticker added while it runs has its options; the status says so."""
    play = ("--symbol", "QQQ", "--symbol", "$SPX", "--session", "2026-11-20", "--start", "10:00", "--speed", "20")
    env = {"OPTIONS": "on", "OPTION_STRIKES": "4,$SPX:2"}
    with Recording(tmp_path, *play, env=env) as recording:
        told = recording.env_file.read_text().replace("STREAM_TICKER=QQQ,$SPX", "STREAM_TICKER=QQQ")
        recording.env_file.write_text(told)
        recorder = recording.begin()
        until(lambda: (recording.data / "run" / "recorder.pid").exists(), what="its pid")
        recorder.send_signal(signal.SIGHUP)
        recording.until(lambda status: status.get("options", {}).get("QQQ", {}).get("watched", 0) > 8)
        output("tickers", "add", "$SPX", "--data", str(recording.data))
        found = recording.until(lambda status: status["options"].get("$SPX", {}).get("watched", 0) > 4)
        assert list(found["options"]) == ["QQQ", "$SPX"] and found["conn"] == 1
        assert recording.events().count("settings_read") == 2
        recording.until(lambda status: status["option_contracts"] > 14 and status["option_updates"] > 0)
        shown = output("status", "--data", str(recording.data))
        assert "QQQ 2026-11-20, " in shown and "$SPX 2026-11-20, " in shown and " contracts, strikes " in shown
        recording.end()
        assert recording.status()["committed"] == recording.status()["appended"]
