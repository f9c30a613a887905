"""Over a holiday, a half-day with a weekend, and a month's end: the next chain is staged, then swapped in place.

The recorder is a process of its own; the local Schwab is in this one, so that its subscriptions can be looked at.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from tests.harness import alphakite

from alphakite.journal.reader import JournalReader
from alphakite.journal.record import Kind
from alphakite.sessions import EXCHANGE
from alphakite.simulator import Simulator, SimulatorOptions, start
from alphakite.symbols import parse_option

DEADLINE_S = 120.0
LOOK_S = 0.005
TICKER = "$SPX"


@dataclass(frozen=True)
class Roll:
    """From shortly before a session's last half hour until the next one has begun."""

    first: date
    following: date
    starts: time
    close: time


ROLLS = {
    "a holiday": Roll(date(2026, 11, 25), date(2026, 11, 27), time(15, 25), time(16)),
    "a half-day and a weekend": Roll(date(2026, 11, 27), date(2026, 11, 30), time(12, 25), time(13)),
    "a month's end": Roll(date(2026, 11, 30), date(2026, 12, 1), time(15, 25), time(16)),
}


@dataclass
class Seen:
    """What the streamer had, whenever it changed: tape time, expiries; and at last."""

    expiries: list[tuple[int, set[date]]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    connections: int = 0

    def look(self, simulator: Simulator) -> None:
        """Called often."""
        active = simulator._player.active
        if active is None or not active.keys["LEVELONE_OPTIONS"]:
            return
        self.held, self.connections = set(active.keys["LEVELONE_OPTIONS"]), active.number
        found = {option.expiry for symbol in self.held if (option := parse_option(symbol))}
        if not self.expiries or self.expiries[-1][1] != found:
            self.expiries.append((simulator.position_ms, found))


@asynccontextmanager
async def database(data: Path) -> AsyncIterator[None]:
    """Up before the tape runs: prices are known to derivation alone."""
    await asyncio.to_thread(alphakite("db", "start", "--data", str(data), stdout=subprocess.DEVNULL).wait, DEADLINE_S)
    try:
        yield
    finally:
        stopping = alphakite("db", "stop", "--data", str(data), stdout=subprocess.DEVNULL)
        await asyncio.to_thread(stopping.wait, DEADLINE_S)


@pytest.mark.parametrize("roll", ROLLS.values(), ids=list(ROLLS))
async def test_the_chain_is_swapped_in_place(tmp_path: Path, roll: Roll) -> None:
    """At the streamer: today's expiry, then the next session's, on one connection; staged before it was needed."""
    data, env_file = tmp_path / "data", tmp_path / "env"
    options = SimulatorOptions(
        symbols=(TICKER,), session=roll.first, days=2, start=roll.starts, end=time(9, 35), speed=None,
        switches=("services=together",), env_file=env_file,
    )  # fmt: skip
    simulator, seen = await start(options), Seen()
    told = {"OPTIONS": "on", "OPTION_STRIKES": "2"}
    recorder: subprocess.Popen[str] | None = None
    try:
        async with database(data), asyncio.timeout(DEADLINE_S):
            with (tmp_path / "log").open("w") as log:
                where = ("--env-file", str(env_file), "--data", str(data))
                recorder = alphakite("run", *where, env=told, stdout=log, stderr=log)
            ended = asyncio.create_task(simulator.wait_ended())
            while not ended.done():
                assert recorder.poll() is None, (tmp_path / "log").read_text()
                seen.look(simulator)
                await asyncio.sleep(LOOK_S)
            recorder.terminate()
            assert await asyncio.to_thread(recorder.wait, 30) == 0
    finally:
        if recorder is not None and recorder.poll() is None:
            recorder.kill()
            recorder.wait()
        await simulator.stop()
    check(roll, seen, data)


def check(roll: Roll, seen: Seen, data: Path) -> None:
    """What ought to be true."""
    both = {roll.first, roll.following}
    assert [found for _, found in seen.expiries if found != both] == [{roll.first}, {roll.following}]
    close_ms = moment_ms(roll.first, roll.close)
    assert close_ms <= seen.expiries[1][0] < moment_ms(roll.following, time(9, 30))
    assert seen.connections == 1
    changes = [change for event in events(data, "following") for change in event["changes"]]
    swapped = next(change for change in changes if change["reason"] == "rolled")
    assert swapped["at_us"] >= close_ms * 1000 and swapped["expiries"] == [str(roll.following)]
    staged = next(change for change in changes if change["reason"] == "staged")
    assert close_ms * 1000 - 1_800_000_000 <= staged["at_us"] < close_ms * 1000
    assert set(swapped["added"]) & set(staged["added"])
    assert {parse_option(symbol).expiry for symbol in staged["added"]} == {roll.following}  # type: ignore[union-attr]
    assert {symbol[:4] for symbol in seen.held} == {"SPXW"}
    state = json.loads((data / "following.json").read_bytes())["state"]["tickers"][TICKER]
    assert set(state["watched"]) == seen.held == set(events(data, "options")[-1]["contracts"][TICKER])


def events(data: Path, name: str) -> list[dict[str, Any]]:
    """The CONFIG records of this name."""
    found = [json.loads(one.payload) for one in JournalReader(data / "journal") if one.kind == Kind.CONFIG]
    return [event for event in found if event["event"] == name]


def moment_ms(day: date, wall: time) -> int:
    """Exchange wall time → epoch ms."""
    return int(datetime.combine(day, wall, EXCHANGE).timestamp()) * 1000
