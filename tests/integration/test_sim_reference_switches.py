"""What is not certain about Schwab, either way: our own capture and derivation live with each value of each switch.

Capture runs in this process against the local Schwab and writes a real journal; rows are derived from that journal as
`rederive` does, and compared with the truth of the tape, which knows no frame.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sim_client import Client, playing

from alphakite.clock import FeedClock
from alphakite.config import load
from alphakite.derive.engine import Engine
from alphakite.derive.rows import Rows
from alphakite.errors import SignInError
from alphakite.feed.schwab.oauth import Login
from alphakite.feed.schwab.rest import SchwabRest
from alphakite.feed.schwab.tokens import TokenFile
from alphakite.journal.reader import JournalReader
from alphakite.journal.record import Kind, Record
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import Status
from alphakite.model import Flag
from alphakite.recorder.asking import Asking
from alphakite.recorder.capture import Capture
from alphakite.recorder.deriver import Deriver
from alphakite.recorder.selftest import SelfTest
from alphakite.simulator import Simulator
from alphakite.simulator.switches import SWITCHES
from alphakite.simulator.truth import compute_truth

DAY = date(2026, 11, 20)
DEADLINE_S = 30.0
IMAGE = b'"assetMainType":"EQUITY"'
EVERY = [f"{name}={value}" for name, switch in SWITCHES.items() for value in switch.values]
Row = tuple[str, int, int | None, int | None]


class Recorder:
    """Capture without a database; `seen` are its records so far, each derived as it comes."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        environ = simulator.env() | {"INDEX_POLL_INTERVAL": "0.05", "SILENCE_TIMEOUT": "20", "OPTIONS": "off"}
        settings = load(environ=environ, overrides={"DATA_DIR": str(folder)})
        self.simulator = simulator
        self.clock = FeedClock()
        self.journal = JournalWriter(folder / "journal", segment_bytes=64_000_000)
        tokens = TokenFile(settings.schwab_token_file, lambda: self.clock.now_ns() / 1e9)
        self.rest = SchwabRest(
            settings.schwab_api_url,
            settings.schwab_app_key,
            settings.schwab_app_secret,
            tokens,
            lambda date_ms: None if self.capture.connected else self.clock.observe_ms(date_ms),
        )
        stopping = asyncio.Event()
        self.status = Status()
        self.asking = Asking(settings, self.clock, self.journal, self.rest, stopping)
        self.asking.silent_tickers = self.silent
        self.capture = Capture(settings, self.clock, self.journal, self.rest, self.asking, self.status, stopping)
        self.seen: list[Record] = []
        self.rows = Rows()
        self._reader = JournalReader(folder / "journal")
        self._deriver = Deriver(Engine(1))
        self._selftest = SelfTest()

    def read(self) -> None:
        """Derive what has been written."""
        for record in self._reader:
            self.seen.append(record)
            self._deriver.apply(record)
            self._selftest.feed(record.kind, record.conn, record.ts_ns, record.seq, record.payload)
        made = self._deriver.engine.take()
        self.rows.equity += made.equity
        self.rows.gaps += made.gaps

    def silent(self) -> list[str]:
        self.read()
        state = self._deriver.engine.state
        names = state.settings.tickers
        return [name for name in names if state.conn and state.instruments[name].conn != state.conn]

    def fact(self, name: str) -> str:
        """What the self-test found."""
        return str(self._selftest.facts()[name]["value"])

    def frames(self, mark: bytes) -> int:
        """How many frames have this in them."""
        self.read()
        return sum(record.kind == Kind.FRAME and mark in record.payload for record in self.seen)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The connection records of this name."""
        self.read()
        texts = [json.loads(record.payload) for record in self.seen if record.kind == Kind.CONNECTION]
        return [text for text in texts if text["event"] == name]

    def found(self) -> set[Row]:
        """Rows that no gap, no poll touched."""
        self.read()
        rows = [row for row in self.rows.equity if not row.flags & (Flag.GAP | Flag.POLLED)]
        return {(row.ticker, row.timestamp_us // 1_000_000, row.price, row.volume) for row in rows}

    def truth(self) -> set[Row]:
        rows = compute_truth(self.simulator.programme).seconds
        return {(row.ticker, row.timestamp_s, row.price, row.volume) for row in rows}

    async def until(self, holds: Callable[[], object]) -> None:
        """Looks a hundred times a second."""
        async with asyncio.timeout(DEADLINE_S):
            while not holds():  # noqa: ASYNC110 - files are mute
                await asyncio.sleep(0.01)

    async def to_the_end(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.simulator.wait_ended()
        await self.capture.stop()


@asynccontextmanager
async def recorded(
    folder: Path, *switches: str, **options: Any
) -> AsyncIterator[tuple[Recorder, Callable[[], Client]]]:
    """A recorder of a few minutes, and other clients of the same Schwab."""
    given = {"symbols": ("SPY", "$SPX"), "session": DAY, "switches": switches, **options}
    async with AsyncExitStack() as stack:
        simulator, client_of = await stack.enter_async_context(playing(**given))
        recorder = Recorder(simulator, folder)
        tasks = [asyncio.create_task(recorder.capture.run()), asyncio.create_task(recorder.asking.poll_indices())]
        try:
            yield recorder, client_of
        finally:
            await recorder.capture.stop()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*tasks)
            await recorder.rest.close()
            recorder.journal.close()


@pytest.mark.parametrize("switch", EVERY)
async def test_a_recorder_with_every_value_of_every_switch(tmp_path: Path, switch: str) -> None:
    """Two minutes in lock-step: every row is the truth's, on one connection, nothing is rejected."""
    async with recorded(tmp_path, switch) as (recorder, _):
        await recorder.to_the_end()
        truth = {row for row in recorder.truth() if switch != "index=silent" or row[0] == "SPY"}
    assert recorder.found() == truth and len(truth) > 100
    assert len(recorder.events("up")) == 1 and not recorder.status.refused
    assert recorder._deriver.engine.state.rejected == 0


@pytest.mark.parametrize("frame", ["yes", "no"])
@pytest.mark.parametrize("who", ["older", "newer"])
async def test_3_1_another_program_whoever_is_evicted(tmp_path: Path, who: str, frame: str) -> None:
    """The older or the newer connection gets 12: ours is told as evicted, and stays away for a minute at least."""
    switches = (f"evicts={who}", f"close-frame={frame}")
    options: dict[str, Any] = {"symbols": ("SPY",), "speed": 1.0, "on_disconnect": "run"}
    async with playing(session=DAY, switches=switches, **options) as (simulator, client_of):
        other = client_of()
        if who == "newer":
            await other.log_in()
        recorder = Recorder(simulator, tmp_path)
        task = asyncio.create_task(recorder.capture.run())
        if who == "older":
            await recorder.until(lambda: recorder.status.capture == "streaming")
            await other.log_in()
        await recorder.until(lambda: recorder.events("waiting"))
        await recorder.capture.stop()
        async with asyncio.timeout(DEADLINE_S):
            await task
        await recorder.rest.close()
        recorder.journal.close()
    assert [event["reason"] for event in recorder.events("waiting")] == ["evicted"]
    assert [event["reason"] for event in recorder.events("down")] == ["evicted"]
    assert "another program took this stream" in recorder.status.notices[0]


@pytest.mark.parametrize("frame", ["yes", "no"])
async def test_3_5_30_a_stop_with_or_without_close_frame(tmp_path: Path, frame: str) -> None:
    """Both are `stopped`; the recorder comes back, and the rest of the tape is right."""
    async with recorded(tmp_path, f"close-frame={frame}", symbols=("SPY",), faults=("stop=slow@10:16",)) as (one, _):
        await one.to_the_end()
    assert next(event["reason"] for event in one.events("down")) == "stopped"
    assert len(one.events("up")) == 2 and one.found() <= one.truth() and len(one.found()) > 100


@pytest.mark.parametrize(("value", "images", "fact"), [("image", 2, "a fresh image"), ("nothing", 1, "no image")])
async def test_3_7_a_ticker_that_is_added_again(tmp_path: Path, value: str, images: int, fact: str) -> None:
    """What the self-test does once, an ADD of a ticker that is held: a second image or none, and no row differs."""
    async with recorded(tmp_path, f"re-add={value}", symbols=("SPY",), end=time(10, 25)) as (recorder, _):
        await recorder.until(lambda: recorder.status.capture == "streaming" and recorder.frames(IMAGE))
        assert await recorder.capture.readd()
        await recorder.to_the_end()
    assert recorder.frames(IMAGE) == images
    assert recorder.found() == recorder.truth()
    assert recorder.fact("re_add") == fact


@pytest.mark.parametrize(
    ("value", "connections", "fact"), [("ignored", 1, "the connection lives on"), ("closes", 2, "the socket closes")]
)
async def test_3_7_the_end_of_an_access_token(tmp_path: Path, value: str, connections: int, fact: str) -> None:
    """A socket that outlives its token stays; one that is cut is begun again with a fresh token."""
    options: dict[str, Any] = {"symbols": ("SPY",), "access_life_s": 360, "end": time(10, 25)}
    async with recorded(tmp_path, f"token-expiry={value}", **options) as (recorder, _):
        await recorder.to_the_end()
    assert len(recorder.events("up")) == connections
    assert recorder.found() <= recorder.truth() and len(recorder.found()) > 500
    assert recorder.fact("token_expiry") == fact


async def test_3_4_an_index_that_does_not_stream_is_asked_for(tmp_path: Path) -> None:
    """After half a minute (of the tape) without it `/quotes` is asked; its rows say POLLED, others are untouched."""
    async with recorded(tmp_path, "index=silent", speed=30.0, on_disconnect="run") as (recorder, _):
        await recorder.to_the_end()
    recorder.read()
    polled = [row for row in recorder.rows.equity if row.flags & Flag.POLLED]
    assert polled and {row.ticker for row in polled} == {"$SPX"} and {row.volume for row in polled} == {None}
    assert all(row.price for row in polled)
    assert {row[0] for row in recorder.found()} == {"SPY"}


@pytest.mark.parametrize("value", ["moves", "still"])
async def test_3_9_field_36_moves_with_the_closing_cross_or_not(tmp_path: Path, value: str) -> None:
    span = {"start": time(15, 58), "end": time(16, 6)}
    async with recorded(tmp_path, f"cross-trade-time={value}", symbols=("SPY",), **span) as (recorder, _):
        await recorder.to_the_end()
    assert recorder.found() == recorder.truth()
    assert recorder.fact("cross_trade_time")


@pytest.mark.parametrize("value", ["04:00", "07:00"])
async def test_3_1_equities_tick_from_four_or_from_seven(tmp_path: Path, value: str) -> None:
    span = {"start": time(6, 50), "end": time(7, 10)}
    async with recorded(tmp_path, f"first-tick={value}", symbols=("SPY",), **span) as (recorder, _):
        await recorder.to_the_end()
    assert recorder.found() == recorder.truth() != set()


@pytest.mark.parametrize("value", ["fresh", "kept"])
async def test_2_2_the_correlation_id_of_a_second_connection(tmp_path: Path, value: str) -> None:
    async with recorded(tmp_path, f"correl-id={value}", symbols=("SPY",), faults=("drop@10:16",)) as (recorder, _):
        await recorder.to_the_end()
    assert len(recorder.events("up")) == 2 and recorder.found() <= recorder.truth()


@pytest.mark.parametrize("error", SWITCHES["code-error"].values)
async def test_1_4_a_code_that_schwab_does_not_take(error: str) -> None:
    """Whatever the error is called: it is a matter of the code, not of a dead sign-in, and says what to do."""
    async with playing(switches=(f"code-error={error}",)) as (simulator, _):
        env = simulator.env()
        app = (env["SCHWAB_APP_KEY"], env["SCHWAB_APP_SECRET"], env["SCHWAB_CALLBACK_URL"])
        login = Login(env["SCHWAB_API_URL"], *app, lambda: 1.0, lambda _ms: None)
        try:
            with pytest.raises(SignInError, match="did not take the code") as refused:
                await login.exchange("C0.bm90LWEtY29kZQ.bm90LWEtY29kZQ@")
        finally:
            await login.close()
    assert "30 seconds, and once" in refused.value.next_step
