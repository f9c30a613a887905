"""The real session with kills: the recorder and PostgreSQL die again and again, and the judges say what remains.

Plays SPY 2013-10-08 in lock-step. Kills are planned over the session by a seed: at least three in five by the
recorder's own hook at a named step, the rest from outside; after some the journal is first cut to its last fsynced
length, as a power cut would. Run as a script it prints every moment: `python -m tests.faults.kill_session --help`.
"""

from __future__ import annotations

import argparse
import csv
import json
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

CHECKOUT = Path(__file__).parents[2]
JUDGES = CHECKOUT / "tests" / "judges"
TRADES, QUOTES = "lean_SPY_20131008_trade_tick.csv.gz", "lean_SPY_20131008_quote_1s.csv.gz"
SESSION_BYTES = 9_100_000
"""The journal of the whole session; each kill takes a random share of what is left, for a named step may come late."""
HEADER_BYTES = 36
STEPS = (
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
"""Named steps, and about how many journal bytes pass between two of each."""
SETTINGS = {
    "JOURNAL_SEGMENT_MB": "0.05",
    "CHECKPOINT_INTERVAL": "0.1",
    "BATCH_SIZE": "200",
    "BATCH_INTERVAL": "0.2",
    "LOG_FORMAT": "json",
    "METRICS_INTERVAL": "1",
}
LIFE_WITHIN_S = 120.0


@dataclass
class Outcome:
    """What a run left behind, and what was done to it."""

    folder: Path
    moments: list[str] = field(default_factory=list)
    kills: int = 0
    hook_kills: int = 0
    database_kills: int = 0
    power_cuts: int = 0
    wall_s: float = 0.0


def alphakite(*arguments: str, env: dict[str, str] | None = None, **options: object) -> subprocess.Popen[str]:
    """Start a command of the product in a process of its own."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT / "src"), "HOME": os.environ.get("HOME", "/")}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "alphakite", *arguments], env=environment | (env or {}), text=True, **options
    )


def output(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Run a command of the product to its end; its standard output."""
    process = alphakite(*arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=300)
    if process.returncode:
        raise AssertionError(f"alphakite {' '.join(arguments)}: exit {process.returncode}\n{out}{err}")
    return out


class Session:
    """One simulator, one data folder, as many lives of the recorder as it takes."""

    def __init__(self, folder: Path, shared_data: Path, mode: str, seed: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.random = random.Random(seed)
        self.outcome = Outcome(folder)
        self._started = time.monotonic()
        self.log = (folder / "recorder.log").open("a")
        arguments = ["--tape", f"trades={shared_data / TRADES}", "--tape", f"quotes={shared_data / QUOTES}"]
        arguments += ["--speed", "max", "--on-disconnect", mode, "--seed", str(seed)]
        arguments += ["--send-log", str(folder / "send.jsonl"), "--env-file", str(folder / "env")]
        self.simulator = alphakite("simulate", *arguments, stdout=subprocess.PIPE)
        assert self.simulator.stdout is not None
        if not self.simulator.stdout.readline().startswith("READY"):
            raise AssertionError("the simulator did not start")

    def play(self, kills: int, database_kills: int, power_cuts: int) -> Outcome:
        """Kill as planned, then let the last life come to the session's end."""
        kinds = ["recorder"] * kills + ["database"] * database_kills
        self.random.shuffle(kinds)
        cuts = set(self.random.sample(range(kills), power_cuts)) if power_cuts else set()
        together = set(self.random.sample(range(kills), min(kills, database_kills // 3)))
        recorder: subprocess.Popen[str] | None = None
        for left, kind in zip(range(len(kinds), 0, -1), kinds, strict=True):
            stride = int((SESSION_BYTES - self._bytes()) / (left + 1) * self.random.uniform(0.1, 1.4))
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
            code = recorder.wait(LIFE_WITHIN_S)
            if code == 0:
                self._say("the session was over before the kill")
                break
            if code != -signal.SIGKILL:
                raise AssertionError(f"the recorder ended with {code}: {self._tail()}")
            self.outcome.kills += 1
            self.outcome.hook_kills += bool(hook)
            self._say(f"kill {self.outcome.kills}: {next(iter(hook.values()), 'from outside')}")
            if number in together:
                self._kill_database()
            if number in cuts:
                self._cut_power()
            recorder = None
        recorder = recorder or self._live({})
        if (code := recorder.wait(LIFE_WITHIN_S)) != 0:
            raise AssertionError(f"the last life ended with {code}: {self._tail()}")
        self.outcome.wall_s = time.monotonic() - self._started
        return self.outcome

    def close(self) -> None:
        """End what was started."""
        self.simulator.kill()
        self.simulator.wait()
        if self.simulator.stdout is not None:
            self.simulator.stdout.close()
        self.log.close()
        alphakite("db", "stop", "--data", str(self.data), stdout=subprocess.DEVNULL).wait(60)

    def _live(self, hook: dict[str, str]) -> subprocess.Popen[str]:
        env = SETTINGS | hook | {"ALPHAKITE_TEST_DURABLE": str(self.folder / "durable")}
        arguments = ["run", "--env-file", str(self.folder / "env"), "--data", str(self.data), "--until-close"]
        return alphakite(*arguments, env=env, stderr=self.log)

    def _hook(self, stride: int) -> dict[str, str]:
        step, every = self.random.choice(STEPS)
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
                raise AssertionError(f"no progress to {mark} bytes: {self._tail()}")
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

    def _tail(self) -> str:
        self.log.flush()
        return "\n".join((self.folder / "recorder.log").read_text().splitlines()[-8:])


def export(folder: Path) -> None:
    """The tables and the journal, as files for the judges."""
    data = str(folder / "data")
    for table in ("equity_data", "indicators"):
        output("export", table, "--data", data, "--csv", "--out", str(folder / f"{table}.csv"))
    gaps = output("gaps", "list", "--data", data, "--csv")
    (folder / "gaps.csv").write_text(gaps)
    output("journal", "export", "--data", data, "--out", str(folder / "journal.jsonl"))


def judge(script: str, *arguments: str) -> str:
    """Run a judge; its words. Raises AssertionError when it says no."""
    done = subprocess.run(
        [sys.executable, str(JUDGES / script), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"{script} says no:\n{done.stdout[-6000:]}{done.stderr[-2000:]}")
    return done.stdout


def undisturbed(folder: Path, shared_data: Path) -> Outcome:
    """The session without a kill, exported, and equal to the independent script."""
    session = Session(folder, shared_data, "hold", 1)
    try:
        outcome = session.play(0, 0, 0)
        export(folder)
    finally:
        session.close()
    said = judge(
        "spy_session.py", str(shared_data / TRADES), str(folder / "equity_data.csv"), str(folder / "indicators.csv"),
        "--quotes", str(shared_data / QUOTES),
    )  # fmt: skip
    print(said)
    return outcome


def disturbed(
    folder: Path, calm: Path, shared_data: Path, mode: str, seed: int, kills: int, database_kills: int, power_cuts: int
) -> Outcome:
    """The session with kills, judged. Raises AssertionError when anything is lost, doubled or made up."""
    print(f"mode {mode}, seed {seed}")
    session = Session(folder, shared_data, mode, seed)
    try:
        outcome = session.play(kills, database_kills, power_cuts)
        export(folder)
        report = json.loads(output("rederive", "--check", "--json", "--data", str(session.data)))
    finally:
        session.close()
    assert report["differences"] == 0, report
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
    print(
        f"{outcome.kills} kills of the recorder ({outcome.hook_kills} at a named step,"
        f" {outcome.power_cuts} power cuts),"
        f" {outcome.database_kills} of PostgreSQL, {gaps} gaps, {report['rows']} rows derived again with"
        f" {report['differences']} differences, {outcome.wall_s:.0f} s"
    )
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
