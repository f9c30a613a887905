"""Commands of the product as processes of their own: a local Schwab, a recorder against it, and what they leave.

In:   command lines and settings.      Out:  their output, the recorder's status, its tables as rows of text.
A process inherits no setting of ours, and OPTIONS=off unless a test says otherwise: sequence numbers, counts and times
of a test about equities are those of its equities. Waiting is for a condition, with a deadline.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

CHECKOUT = Path(__file__).parents[1]
DEFAULTS = {"OPTIONS": "off"}
DEADLINE_S = 90.0
LOOK_S = 0.05
ENDS_WITHIN_S = 30.0
OUTPUT_WITHIN_S = 300.0
PORTS = range(12_000, 32_000)
"""Below those that the system hands out: none of them is taken by chance between its choice and its use."""

T = TypeVar("T")
Status = dict[str, Any]


def alphakite(*arguments: str, env: dict[str, str] | None = None, **options: object) -> subprocess.Popen[str]:
    """Start a command of the product."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT / "src"), "HOME": os.environ.get("HOME", "/")}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "alphakite", *arguments],
        env=environment | DEFAULTS | (env or {}), text=True, **options,
    )  # fmt: skip


def output(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Run a command of the product to its end; its standard output."""
    process = alphakite(*arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=OUTPUT_WITHIN_S)
    if process.returncode:
        raise AssertionError(f"alphakite {' '.join(arguments)}: exit {process.returncode}\n{out}{err}")
    return out


def table(data: Path, name: str) -> list[dict[str, str]]:
    """All rows of a table, as `alphakite export` spells them."""
    return list(csv.DictReader(StringIO(output("export", name, "--data", str(data)))))


def asked(data: Path, query: str) -> list[dict[str, str]]:
    """The rows that a query finds."""
    return list(csv.DictReader(StringIO(output("sql", query, "--data", str(data), "--csv"))))


def truth(*tape: str, of: str = "seconds") -> list[dict[str, str]]:
    """What the simulator says of its own tape."""
    return list(csv.DictReader(StringIO(output("simulate", *tape, "--truth", of))))


def derived_again(data: Path) -> dict[str, Any]:
    """The report of `rederive --check`."""
    return dict(json.loads(output("rederive", "--check", "--json", "--data", str(data))))


def free_port() -> int:
    """One that nobody listens on, and that no test beside this one is given but by a rare chance."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(look: Callable[[], T | None], within_s: float = DEADLINE_S, what: str = "it") -> T:
    """What `look` finds, once that is true. Raises AssertionError when it is too late."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(LOOK_S)
    return found


class Recording:
    """One simulator, one data folder, one recorder at a time. Ends all that it started.

    Args:
        play: the simulator's arguments: what, how fast, which faults.
        env: settings of the recorder.
        serve: the database is up before the tape runs, and stays up until `close`.
    """

    def __init__(
        self, folder: Path, *play: str, env: dict[str, str] | None = None, serve: bool = True, data: str = "data"
    ) -> None:
        self.folder, self.data, self.env_file = folder, folder / data, folder / "env"
        self.log_file = folder / "recorder.log"
        self.env = {"LOG_FORMAT": "json"} | (env or {})
        self.where = ("--env-file", str(self.env_file), "--data", str(self.data))
        self.log = self.log_file.open("a")
        self.recorder: subprocess.Popen[str] | None = None
        if serve:
            output("db", "start", "--data", str(self.data))
        self.simulator = alphakite("simulate", *play, "--env-file", str(self.env_file), stdout=subprocess.PIPE)
        assert self.simulator.stdout is not None
        word, _, told = self.simulator.stdout.readline().partition(" ")
        if word != "READY":
            self.close()
            raise AssertionError("the simulator did not start")
        self.ready: dict[str, Any] = json.loads(told)

    def begin(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the recorder."""
        told = self.env | (env or {})
        self.recorder = alphakite("run", *self.where, *arguments, env=told, stdout=self.log, stderr=self.log)
        return self.recorder

    def status(self) -> Status:
        """What the running recorder wrote last; empty before it did."""
        try:
            return dict(json.loads((self.data / "run" / "status.json").read_text()))
        except (OSError, ValueError):
            return {}

    def until(self, holds: Callable[[Status], object], within_s: float = DEADLINE_S, what: str = "") -> Status:
        """Wait for a status of the running recorder."""
        assert self.recorder is not None

        def look() -> Status | None:
            status = self.status()
            if status.get("pid") == self.recorder.pid and holds(status):
                return status
            assert self.recorder.poll() is None, f"the recorder ended: {self.tail()}"
            self.look()
            return None

        try:
            return until(look, within_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.status()}; {self.tail()}") from None

    def until_played(self, end_us: int) -> Status:
        """Until the tape's time has come so far, and all is committed."""
        return self.until(lambda one: one["now_us"] >= end_us and one["committed"] == one["appended"], what="the end")

    def look(self) -> None:
        """Called while waiting."""

    def lines(self) -> list[dict[str, Any]]:
        """The recorder's log so far, whole lines only."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines(True) if line.endswith("}\n")]

    def events(self) -> list[str]:
        """The names of what the log tells of."""
        return [line["event"] for line in self.lines()]

    def tail(self) -> str:
        """The log's last lines."""
        return "\n".join(self.log_file.read_text().splitlines()[-8:])

    def end(self) -> None:
        """An orderly stop of the recorder."""
        assert self.recorder is not None
        self.recorder.terminate()
        assert self.recorder.wait(ENDS_WITHIN_S) == 0, self.tail()

    def killed(self, within_s: float = DEADLINE_S) -> None:
        """Wait for the recorder's death at the step that it was told."""
        assert self.recorder is not None
        code = self.recorder.wait(within_s)
        assert code == -signal.SIGKILL, f"it ended with {code}: {self.tail()}"

    def close(self) -> None:
        """End what was started; the database too."""
        for process in (self.recorder, self.simulator):
            if process is not None:
                process.kill()
                process.wait()
        if self.simulator.stdout is not None:
            self.simulator.stdout.close()
        self.log.close()
        alphakite("db", "stop", "--data", str(self.data), stdout=subprocess.DEVNULL).wait(ENDS_WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
