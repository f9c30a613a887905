"""A trend day's option window under kills: the recorder dies within moves, within the roll, and anywhere else.

Three kinds of lives. `MOVE` dies when what is watched changes next: at a named step, so many writes after the new plan
is kept, or from outside as soon as it is there. `RESUME`, thrice after each of these, dies while it brings Schwab and
the journal to the plan that it found. `ANY` dies at a step of the journal or the database, or from outside, at a place
that spreads the kills. The tape is in lock-step. Prices are known to derivation alone: the database is there before.
"""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.kill_session import (
    LIFE_WITHIN_S,
    OPTION_STEPS,
    SETTINGS,
    STEPS,
    Outcome,
    Play,
    Session,
    export,
    judge,
)
from tests.harness import derived_again, output

from alphakite.journal.reader import JournalReader
from alphakite.journal.record import Kind

TICKER, WINDOW = "ZZTRD", "0.3%"
"""It rises by 3 % over the session: about seven strikes on this half-day."""
FRIDAY, MONDAY = "2026-11-27", "2026-11-30"
TABLES = ("option_prices", "option_images", "stream_gaps")
MOVE, RESUME, ANY = "move", "resume", "any"
OUTSIDE = "from outside"
KEPT, CONFIGURED, TOLD = OPTION_STEPS
"""A new plan is on disk, and neither in the journal nor told; the journal has what is wanted; Schwab has, too."""
STRIDE_BYTES, UNBOUNDED = 20_000, 2**63
SETTLED_BYTES = 100_000
"""Of the journal: so much later a life has learnt the definitions anew, and a new plan is a move."""
MOVE_WRITES, START_WRITES = 3, 4
"""Writes to the journal in which a move is carried out, and a life's first ones."""
SETTLED_S, LATE_S = 60, 300
"""Of the tape, of which hundreds of seconds go by in one: in so many every contract wanted has its image, and a move or
the roll is carried out."""
LOOK_S, PAUSE_S = 0.001, 0.005


def _play(start: str, last: str, end: str, days: int, journal_bytes: int) -> Play:
    tape = ("--symbol", TICKER, "--session", FRIDAY, "--start", start, "--end", end, "--days", str(days))
    settings = SETTINGS | {"OPTIONS": "on", "OPTION_STRIKES": WINDOW, "GREEKS_INTERVAL": "0"}
    settings |= {"BATCH_SIZE": "2000", "JOURNAL_SEGMENT_MB": "0.2"}
    end_us = int(datetime.fromisoformat(f"{last}T{end}:00-05:00").timestamp() - 5) * 1_000_000
    return Play(tape, journal_bytes, settings, end_us=end_us, tables=TABLES)


HALF_A_SESSION = _play("11:15", FRIDAY, "13:45", 1, 12_900_000)
"""A half-day: the trend until 13:00, the roll to the next week's chain at 13:15."""
TWO_DAYS = _play("11:00", MONDAY, "09:50", 2, 20_000_000)
"""The same and the weekend, until the options of that chain trade."""


@dataclass
class Watch:
    """Makes the file `armed` as soon as other contracts are kept to be watched than at the life's start."""

    plan: Path
    armed: Path
    moved: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self.armed.unlink(missing_ok=True)
        self._thread = threading.Thread(target=self._look, args=(self._watched(),))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _look(self, before: list[str]) -> None:
        file = None
        while not self._over.wait(LOOK_S):
            if self.plan.exists() and (found := self.plan.stat().st_mtime_ns) != file:
                file = found
                if (watched := self._watched()) != before and before:
                    self.armed.touch()
                    self.moved.set()
                    return
                before = watched

    def _watched(self) -> list[str]:
        if not self.plan.exists():
            return []
        tickers = json.loads(self.plan.read_bytes())["state"]["tickers"]
        return [symbol for one in tickers.values() for symbol in one["watched"]]


class Moves:
    """Follows the journal from life to life: whether what is planned is carried out."""

    def __init__(self, journal: Path) -> None:
        self._reader = JournalReader(journal)
        self._wanted, self._watched, self._imaged = set[str](), set[str](), set[str]()

    def unfinished(self) -> bool:
        """Whether contracts that are planned are not yet wanted, or have no image on the connection; or are let go."""
        for record in self._reader:
            if record.kind == Kind.FRAME and b"LEVELONE_OPTIONS" in record.payload:
                parts = json.loads(record.payload).get("data", ())
                options = [part["content"] for part in parts if part["service"] == "LEVELONE_OPTIONS"]
                self._imaged |= {one["key"] for content in options for one in content}
            if record.kind not in (Kind.CONFIG, Kind.PROCESS, Kind.CONNECTION):
                continue
            event = json.loads(record.payload)
            if event["event"] == "options":
                self._wanted = {symbol for symbols in event["contracts"].values() for symbol in symbols}
            elif event["event"] == "following":
                self._watched = {symbol for one in event["state"]["tickers"].values() for symbol in one["watched"]}
            elif event["event"] in ("start", "up"):
                self._imaged = set()
        return not self._watched == self._wanted <= self._imaged


class OptionSession(Session):
    """Lives that end as planned."""

    def __init__(self, folder: Path, what: Play, seed: int) -> None:
        output("db", "start", "--data", str(folder / "data"))
        super().__init__(folder, what, "hold", seed)
        self._armed, self._settled = folder / "armed", folder / "settled"
        self._first = f'"session":"{FRIDAY}"'
        self.in_moves = 0
        """Lives that ended within a move of the window or the roll, those included that died resuming it."""

    def kill_all(self, kills: int) -> Outcome:
        """Kill so often, then play to the end."""
        total = self._play.journal_bytes
        moves, moving = Moves(self.data / "journal"), False
        kinds = [MOVE]
        for number in range(1, kills + 1):
            kind = kinds.pop(0)
            how = self._one_life(kind, max(total * number // (kills + 1), self._bytes() + STRIDE_BYTES))
            if not how:
                self._say("the play was over before the kill")
                break
            self.outcome.kills += 1
            self.outcome.steps.append(how.partition(":")[0])
            moving = moves.unfinished() and (moving if kind == RESUME else kind == MOVE and how != OUTSIDE)
            moving = moving or (kind == MOVE and how.startswith(OPTION_STEPS))
            self.in_moves += moving
            if kind == MOVE and moving:
                kinds = [RESUME] * 3
            kinds = kinds if kinds and (moving or kinds[0] != RESUME) else [ANY] * (kind != ANY) + [MOVE]
            self._say(f"kill {self.outcome.kills}, {kind}: {how}{', in a move' if moving else ''}")
        else:
            code = self._ended(self._live({}))
            assert code == 0, f"the last life ended with {code}: {self.tail()}"
        self.outcome.wall_s = time.monotonic() - self._started
        return self.outcome

    def _one_life(self, kind: str, target: int) -> str:
        """What killed it; "" if the play was over first, which ended it in order.

        Args: target: bytes of the journal at which it is shot if nothing is said to kill it, or no move will come.
        """
        step = self._step(kind, target)
        rolled = self._first not in self._following()
        mark = target if rolled else UNBOUNDED if kind == MOVE else target + bool(step) * SETTLED_BYTES
        settled = self._bytes() + SETTLED_BYTES
        self._settled.unlink(missing_ok=True)
        with Watch(self.data / "following.json", self._armed) as watch:
            recorder = self._live({"ALPHAKITE_TEST_KILL": step} if step else {})
            deadline = time.monotonic() + LIFE_WITHIN_S
            while recorder.poll() is None:
                if not step and kind == MOVE and watch.moved.is_set():
                    return self._shot(recorder, f"{OUTSIDE}, at a move")
                if self._bytes() >= settled:
                    self._settled.touch()
                if self._bytes() >= mark:
                    return self._shot(recorder, OUTSIDE)
                status = self.status()
                if status.get("pid") == recorder.pid and status["now_us"] >= (self._play.end_us or 0):
                    assert self._ended(recorder) == 0, self.tail()
                    return ""
                assert time.monotonic() < deadline, f"no progress to {mark} bytes: {self.tail()}"
                time.sleep(PAUSE_S)
        assert recorder.returncode == -signal.SIGKILL, f"it ended with {recorder.returncode}: {self.tail()}"
        self.outcome.hook_kills += 1
        return step.replace(f":{self._armed}", " writes after a plan").replace(f":{self._settled}", "")

    def _step(self, kind: str, target: int) -> str:
        """Where the hook kills; "": it does not."""
        chance = self.random
        if kind == RESUME:
            return f"{chance.choice(('before_write', 'after_write'))}:{chance.randint(2, START_WRITES)}"
        if kind == MOVE:
            writes = f"after_write:{chance.randint(1, MOVE_WRITES)}:{self._armed}"
            step = chance.choice((KEPT, KEPT, KEPT, CONFIGURED, CONFIGURED, TOLD, writes, ""))
            return f"{step}:1:{self._settled}" if step in OPTION_STEPS else step
        step, every = chance.choice(STEPS)
        return f"{step}:{max(1, (target - self._bytes()) // every)}" if chance.random() < 0.6 else ""

    def _following(self) -> str:
        file = self.data / "following.json"
        return file.read_text() if file.exists() else self._first

    @staticmethod
    def _shot(recorder: subprocess.Popen[str], how: str) -> str:
        recorder.kill()
        assert recorder.wait() == -signal.SIGKILL, "it ended by itself"
        return how


def played(folder: Path, what: Play, seed: int, kills: int) -> tuple[Outcome, int]:
    """The play with so many kills, judged; derived again it is the same. What was done, how often within a move.

    Raises AssertionError.
    """
    print(f"seed {seed}")
    with OptionSession(folder, what, seed) as session:
        outcome = session.kill_all(kills)
        export(folder, what.tables)
        report = derived_again(session.data)
    assert report["differences"] == 0, report
    with (folder / "option_images.csv").open() as file:
        symbols = sorted({row["option_symbol"] for row in csv.DictReader(file)})
    of_these = [part for symbol in symbols for part in ("--contract", symbol)]
    truth = output("simulate", *what.tape, "--seed", str(seed), "--truth", "option-seconds", *of_these)
    (folder / "truth.csv").write_text(truth)
    names = {"journal": "journal.jsonl", "options": "option_prices.csv", "images": "option_images.csv"}
    names |= {"gaps": "stream_gaps.csv", "truth": "truth.csv"}
    files = [part for name, file in names.items() for part in (f"--{name}", str(folder / file))]
    limits = ("--window", WINDOW, "--settled", str(SETTLED_S), "--late", str(LATE_S))
    said = judge("kill_options.py", *files, "--ticker", TICKER, *limits)
    print(
        f"{said}{outcome.kills} kills, {session.in_moves} in a move, {outcome.hook_kills} at a named step;"
        f" {report['rows']} rows derived again without a difference, {outcome.wall_s:.0f} s"
    )
    return outcome, session.in_moves
