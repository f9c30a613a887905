"""What Schwab's side can do to a stream, done to a whole recorder: the gap has its reason, and the rest is right."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.faults.kill_session import alphakite, output

TAPE = ("--session", "2026-11-20", "--start", "10:15", "--end", "10:19", "--seed", "3")
END_US = int(datetime.fromisoformat("2026-11-20T10:19:00-05:00").timestamp()) * 1_000_000
SETTINGS = {"SILENCE_TIMEOUT": "1", "LOG_FORMAT": "json", "METRICS_INTERVAL": "1", "BATCH_INTERVAL": "0.1"}
DEADLINE_S = 60.0
ENDS = {
    "drop@10:16:30": "socket_down",
    "close=1011@10:16:30": "socket_down",
    "close-silent@10:16:30": "socket_down",
    "half-open@10:16:30": "silence",
    "stop=slow@10:16:30": "stopped",
    "stop=empty@10:16:30": "stopped",
}
"""Fault → the reason of the gap after it."""
BORNE = ("duplicate@10:16:30", "drip@10:16:30", "huge=3@10:16:30", "code=22", "code=11",
         *(f"garbage={kind}@10:16:30" for kind in ("json", "utf8", "service", "field", "nan", "nul")))  # fmt: skip
"""Faults that cost nothing."""
LONGER = (*(f"garbage={kind}@10:16:30" for kind in ("utf8", "field", "nan")), "huge=3@10:16:30")
"""Only in `make faults`."""
NULLS = ("garbage=nan@10:16:30", "garbage=nul@10:16:30")
REJECTED = ("garbage=json@10:16:30", "garbage=service@10:16:30", "garbage=field@10:16:30")


class Life:
    """One recorder against one simulator with one fault."""

    def __init__(self, folder: Path, data: Path, fault: str) -> None:
        self.data, self.log = data, (folder / "recorder.log").open("w+")
        where = ("--env-file", str(folder / "env"), "--data", str(data))
        self.simulator = alphakite(
            "simulate", *TAPE, "--speed", "max", "--on-disconnect", "hold", "--fault", fault,
            "--env-file", str(folder / "env"), stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.simulator.stdout is not None
        assert self.simulator.stdout.readline().startswith("READY")
        self.recorder = alphakite("run", *where, env=SETTINGS, stdout=self.log, stderr=self.log)

    def until(self, word: str, value: object) -> dict[str, Any]:
        """Wait until the status says so."""
        deadline = time.monotonic() + DEADLINE_S
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            try:
                status = json.loads((self.data / "run" / "status.json").read_text())
            except (OSError, ValueError):
                status = {}
            found = status.get(word)
            if found == value or (isinstance(value, int) and isinstance(found, int) and found >= value):
                return status
            assert self.recorder.poll() is None, self.lines()
            time.sleep(0.02)
        raise AssertionError(f"{word} is not {value}: {status}")

    def lines(self) -> list[dict[str, Any]]:
        self.log.flush()
        return [json.loads(line) for line in Path(self.log.name).read_text().splitlines()]

    def end(self) -> None:
        self.recorder.terminate()
        assert self.recorder.wait(30) == 0

    def close(self) -> None:
        for process in (self.recorder, self.simulator):
            process.kill()
            process.wait()
        assert self.simulator.stdout is not None
        self.simulator.stdout.close()
        self.log.close()


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    output("sql", "select 1", "--data", str(tmp_path / "data"))
    yield tmp_path / "data"
    output("db", "stop", "--data", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def truth() -> dict[str, tuple[str, str]]:
    rows = csv.DictReader(StringIO(output("simulate", *TAPE, "--truth", "seconds")))
    return {row["timestamp"]: (row["price"], row["volume"]) for row in rows}


def live(tmp_path: Path, data: Path, fault: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """To the end of the tape: the last status and the log."""
    life = Life(tmp_path, data, fault)
    try:
        status = life.until("now_us", END_US)
        life.end()
        return status, life.lines()
    finally:
        life.close()


def table(data: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(output("export", name, "--data", str(data)))))


def gaps_within(data: Path) -> list[dict[str, str]]:
    """Those that begin while the tape plays."""
    return [gap for gap in table(data, "stream_gaps") if "15:15" < gap["start_at"][11:] < "15:19"]


@pytest.mark.parametrize("fault", ENDS)
def test_a_stream_that_ends_is_begun_again_and_the_hole_has_its_reason(
    tmp_path: Path, data: Path, truth: dict[str, tuple[str, str]], fault: str
) -> None:
    live(tmp_path, data, fault)
    assert [gap["reason"] for gap in gaps_within(data)] == [ENDS[fault]]
    found = {row["timestamp"]: (row["price"], row["volume"]) for row in table(data, "equity_data") if not row["flags"]}
    assert len(found) >= len(truth) - 4
    assert found.items() <= truth.items()
    assert json.loads(output("rederive", "--check", "--json", "--data", str(data)))["differences"] == 0


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.slow) if fault in LONGER else fault for fault in BORNE]
)
def test_what_can_be_borne_costs_nothing(
    tmp_path: Path, data: Path, truth: dict[str, tuple[str, str]], fault: str
) -> None:
    status, lines = live(tmp_path, data, fault)
    if not fault.startswith("code=11"):
        assert gaps_within(data) == [], lines
        rows = {row["timestamp"]: (row["price"], row["volume"]) for row in table(data, "equity_data")}
        if fault in NULLS:  # absent is absent: the second of that frame, or the one it was due in, may say NULL
            rows = {at: row for at, row in rows.items() if "" not in row}
            assert len(rows) >= len(truth) - 2 and rows.items() <= truth.items()
        else:
            assert rows == truth
    assert status["rejected"] >= (1 if fault in REJECTED else 0)
    assert status["frames"] == status["decoded"] + status["rejected_frames"]


def test_another_program_takes_the_stream(tmp_path: Path, data: Path) -> None:
    """It is said in those words, everywhere, and a minute passes before the next try."""
    life = Life(tmp_path, data, "evict@10:16:30")
    try:
        life.until("capture", "connecting")
        life.until("reconnects", 1)
        evicted = next(line for line in life.lines() if line["event"] == "evicted")
        assert "another program took this stream" in evicted["error"] and evicted["again_in_s"] >= 60
        shown = output("status", "--data", str(data))
        assert "another program took this stream" in " ".join(shown.split())
        life.end()
    finally:
        life.close()
    assert [gap["reason"] for gap in gaps_within(data)] == ["evicted"]
