"""A session with kills: the recorder and PostgreSQL die again and again, and the judges say what remains.

A `Play` says what the simulator plays, with which settings it is recorded and at which steps the recorder may die; SPY
2013-10-08 is one. The tape is in lock-step. Kills are planned over the session by a seed: at least three in five by the
recorder's own hook at a named step, the rest from outside; after some the journal is first cut to its last fsynced
length, as a power cut would. Run as a script it prints every moment: `python -m tests.faults.kill_session --help`.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import CHECKOUT, Recording, alphakite, derived_again, output

__all__ = ["SETTINGS", "Outcome", "Play", "Session", "alphakite", "disturbed", "output", "played", "spy", "undisturbed"]
JUDGES = CHECKOUT / "tests" / "judges"
TRADES, QUOTES = "lean_SPY_20131008_trade_tick.csv.gz", "lean_SPY_20131008_quote_1s.csv.gz"
HEADER_BYTES = 36
Steps = tuple[tuple[str, int], ...]
"""Named steps, and about how many journal bytes pass between two of each."""
STEPS: Steps = (
    ("before_write", 210),
    ("after_write", 210),
    ("before_fsync", 60_000),
    ("after_fsync", 60_000),
    ("before_commit", 60_000),
    ("commit_sent", 60_000),
    ("after_commit", 60_000),
    ("before_roll", 60_000),
    ("before_rename", 60_000),
    ("after_roll", 60_000),
    ("before_checkpoint", 150_000),
    ("after_checkpoint", 150_000),
)
OPTION_STEPS = ("following_kept", "options_configured", "options_told")
"""Of a move of the option window: the plan is journaled, the wanted contracts are, Schwab holds them."""
SETTINGS = {
    "JOURNAL_SEGMENT_MB": "0.05",
    "CHECKPOINT_INTERVAL": "0.1",
    "BATCH_SIZE": "200",
    "BATCH_INTERVAL": "0.2",
    "LOG_FORMAT": "json",
    "METRICS_INTERVAL": "1",
}
LIFE_WITHIN_S = 120.0
TABLES = ("equity_data", "indicators")


@dataclass(frozen=True)
class Play:
    """What is played, recorded and killed.

    Args:
        tape: the simulator's arguments: tapes, symbols, days, hours. Speed, seed and mode are the session's.
        journal_bytes: of the whole play; each kill takes a random share of what is left, for a named step may come
            late.
        settings: the recorder's. `{"OPTIONS": "on"}` in them records options.
        steps: where the recorder may die.
        end_us: tape time at which the play is over, in µs since 1970. None: `run --until-close` knows, by itself.
        tables: what is exported for the judges, beside gaps and journal.
    """

    tape: tuple[str, ...]
    journal_bytes: int
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))
    steps: Steps = STEPS
    end_us: int | None = None
    tables: tuple[str, ...] = TABLES


def spy(shared_data: Path) -> Play:
    """The real session of SPY, equities alone."""
    tape = ("--tape", f"trades={shared_data / TRADES}", "--tape", f"quotes={shared_data / QUOTES}")
    return Play(tape, journal_bytes=9_100_000)


@dataclass
class Outcome:
    """What a run left behind, and what was done to it."""

    folder: Path
    moments: list[str] = field(default_factory=list)
    kills: int = 0
    hook_kills: int = 0
    database_kills: int = 0
    power_cuts: int = 0
    steps: list[str] = field(default_factory=list)
    """Where the hook killed."""
    wall_s: float = 0.0


class Session(Recording):
    """One simulator, one data folder, as many lives of the recorder as it takes."""

    def __init__(self, folder: Path, play: Play, mode: str, seed: int) -> None:
        self._play = play
        self.random = random.Random(seed)
        self.outcome = Outcome(folder)
        self._started = time.monotonic()
        how = ("--speed", "max", "--on-disconnect", mode, "--seed", str(seed), "--send-log", str(folder / "send.jsonl"))
        super().__init__(folder, *play.tape, *how, env=play.settings, serve=False)

    def play(self, kills: int, database_kills: int, power_cuts: int) -> Outcome:
        """Kill as planned, then let the last life come to the session's end."""
        kinds = ["recorder"] * kills + ["database"] * database_kills
        self.random.shuffle(kinds)
        cuts = set(self.random.sample(range(kills), power_cuts)) if power_cuts else set()
        together = set(self.random.sample(range(kills), min(kills, database_kills // 3)))
        recorder: subprocess.Popen[str] | None = None
        for left, kind in zip(range(len(kinds), 0, -1), kinds, strict=True):
            stride = int((self._play.journal_bytes - self._bytes()) / (left + 1) * self.random.uniform(0.1, 1.4))
            mark = self._bytes() + stride
            if kind == "database":
                if recorder is None:
                    recorder = self._live({})
                self._await(recorder, mark)
                self._kill_database()
                continue
            number = self.outcome.kills
            by_hook = recorder is None and number % 8 < 7
            hook = self._hook(stride) if by_hook else {}
            recorder = recorder or self._live(hook)
            if not hook:
                self._await(recorder, mark)
                if recorder.poll() is None:
                    recorder.kill()
            code = self._ended(recorder)
            if code == 0:
                self._say("the session was over before the kill")
                break
            if code != -signal.SIGKILL:
                raise AssertionError(f"the recorder ended with {code}: {self.tail()}")
            self.outcome.kills += 1
            self.outcome.hook_kills += bool(hook)
            self.outcome.steps += [step.partition(":")[0] for step in hook.values()]
            self._say(f"kill {self.outcome.kills}: {next(iter(hook.values()), 'from outside')}")
            if number in together:
                self._kill_database()
            if number in cuts:
                self._cut_power()
            recorder = None
        recorder = recorder or self._live({})
        if (code := self._ended(recorder)) != 0:
            raise AssertionError(f"the last life ended with {code}: {self.tail()}")
        self.outcome.wall_s = time.monotonic() - self._started
        return self.outcome

    def _live(self, hook: dict[str, str]) -> subprocess.Popen[str]:
        until_close = ("--until-close",) if self._play.end_us is None else ()
        return self.begin(*until_close, env=hook | {"ALPHAKITE_TEST_DURABLE": str(self.folder / "durable")})

    def _ended(self, recorder: subprocess.Popen[str]) -> int:
        """How this life ended; one that has come to the play's end is stopped in order, and ends with 0."""
        end_us, deadline = self._play.end_us, time.monotonic() + LIFE_WITHIN_S
        if end_us is None:
            return recorder.wait(LIFE_WITHIN_S)
        while recorder.poll() is None:
            status = self.status()
            over = status.get("pid") == recorder.pid and status["now_us"] >= end_us
            if over and status["committed"] == status["appended"]:
                recorder.terminate()
                return recorder.wait(LIFE_WITHIN_S)
            assert time.monotonic() < deadline, f"a life without end: {status}; {self.tail()}"
            time.sleep(0.02)
        return recorder.returncode

    def _hook(self, stride: int) -> dict[str, str]:
        step, every = self.random.choice(self._play.steps)
        count = max(1, stride // every)
        return {"ALPHAKITE_TEST_KILL": f"{step}:{count}"}

    def _bytes(self) -> int:
        total = 0
        for segment in (self.data / "journal").glob("*.akj"):
            total += segment.stat().st_size
        return total

    def _await(self, recorder: subprocess.Popen[str], mark: int) -> None:
        """Until the journal has grown to the mark, or the recorder has ended."""
        deadline = time.monotonic() + LIFE_WITHIN_S
        while self._bytes() < mark and recorder.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"no progress to {mark} bytes: {self.tail()}")
            time.sleep(0.002)

    def _kill_database(self) -> None:
        pid_file = self.data / "run" / "postgres.pid"
        deadline = time.monotonic() + 2.0
        while True:  # it may just be starting again
            try:
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
                break
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    return
                time.sleep(0.01)
        self.outcome.database_kills += 1
        self._say(f"kill of PostgreSQL {self.outcome.database_kills}")

    def _cut_power(self) -> None:
        """What was not fsynced is gone."""
        durable = self.folder / "durable"
        if not durable.exists():
            return
        name, size = durable.read_text().split()
        lost = 0
        for segment in (self.data / "journal").glob("*.akj"):
            keep = (
                segment.stat().st_size if segment.name < name else int(size) if segment.name == name else HEADER_BYTES
            )
            if segment.stat().st_size > keep:
                lost += segment.stat().st_size - keep
                os.truncate(segment, keep)
        self.outcome.power_cuts += 1
        self._say(f"power cut {self.outcome.power_cuts}: {lost} bytes of the journal were not fsynced")

    def _say(self, text: str) -> None:
        moment = f"{time.monotonic() - self._started:7.2f} s, {self._bytes():>8} bytes: {text}"
        self.outcome.moments.append(moment)
        print(moment, flush=True)


def export(folder: Path, tables: tuple[str, ...]) -> None:
    """The tables and the journal, as files for the judges."""
    data = str(folder / "data")
    output("db", "start", "--data", data)
    for name in tables:
        output("export", name, "--data", data, "--csv", "--out", str(folder / f"{name}.csv"))
    gaps = output("gaps", "list", "--data", data, "--csv")
    (folder / "gaps.csv").write_text(gaps)
    output("journal", "export", "--data", data, "--out", str(folder / "journal.jsonl"))


def played(
    folder: Path, play: Play, mode: str, seed: int, kills: int = 0, database_kills: int = 0, power_cuts: int = 0
) -> Outcome:
    """A play with so many kills, exported; derived again, it is the same."""
    print(f"mode {mode}, seed {seed}")
    with Session(folder, play, mode, seed) as session:
        outcome = session.play(kills, database_kills, power_cuts)
        export(folder, play.tables)
        report = derived_again(session.data)
    assert report["differences"] == 0, report
    with (folder / "gaps.csv").open() as file:
        gaps = sum(1 for _row in csv.DictReader(file))
    print(
        f"{outcome.kills} kills of the recorder ({outcome.hook_kills} at a named step,"
        f" {outcome.power_cuts} power cuts),"
        f" {outcome.database_kills} of PostgreSQL, {gaps} gaps, {report['rows']} rows derived again with"
        f" {report['differences']} differences, {outcome.wall_s:.0f} s"
    )
    return outcome


def judge(script: str, *arguments: str) -> str:
    """Run a judge; its words. Raises AssertionError when it says no."""
    done = subprocess.run(
        [sys.executable, str(JUDGES / script), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"{script} says no:\n{done.stdout[-6000:]}{done.stderr[-2000:]}")
    return done.stdout


def undisturbed(folder: Path, shared_data: Path) -> Outcome:
    """SPY's session without a kill, exported, and equal to the independent script."""
    outcome = played(folder, spy(shared_data), "hold", 1)
    said = judge(
        "spy_session.py", str(shared_data / TRADES), str(folder / "equity_data.csv"), str(folder / "indicators.csv"),
        "--quotes", str(shared_data / QUOTES),
    )  # fmt: skip
    print(said)
    return outcome


def disturbed(
    folder: Path, calm: Path, shared_data: Path, mode: str, seed: int, kills: int, database_kills: int, power_cuts: int
) -> Outcome:
    """SPY's session with kills, judged. Raises AssertionError when anything is lost, doubled or made up."""
    outcome = played(folder, spy(shared_data), mode, seed, kills, database_kills, power_cuts)
    said = judge(
        "kill_run.py",
        *("--send-log", str(folder / "send.jsonl"), "--journal", str(folder / "journal.jsonl")),
        *("--undisturbed-equity", str(calm / "equity_data.csv")),
        *("--undisturbed-indicators", str(calm / "indicators.csv")),
        *("--equity", str(folder / "equity_data.csv"), "--indicators", str(folder / "indicators.csv")),
        *("--gaps", str(folder / "gaps.csv"), "--mode", mode),
        *("--kills", str(outcome.kills), "--power-cuts", str(outcome.power_cuts)),
    )
    print(said)
    with (folder / "gaps.csv").open() as file:
        gaps = sum(1 for _row in csv.DictReader(file))
    assert gaps <= outcome.kills, "a kill of PostgreSQL alone may leave no gap"
    return outcome


def main() -> int:
    """Script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared_data", type=Path)
    parser.add_argument("--mode", choices=("hold", "run"), default="hold")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--database-kills", type=int, default=10)
    parser.add_argument("--power-cuts", type=int, default=10)
    parser.add_argument("--keep", type=Path, help="keep everything here")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="kills."))
    calm, shaken = folder / "calm", folder / f"{args.mode}-{args.seed}"
    try:
        if not (calm / "indicators.csv").exists():
            calm.mkdir(parents=True)
            undisturbed(calm, args.shared_data)
        shaken.mkdir()
        disturbed(
            shaken, calm, args.shared_data, args.mode, args.seed, args.kills, args.database_kills, args.power_cuts
        )
    finally:
        if args.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
