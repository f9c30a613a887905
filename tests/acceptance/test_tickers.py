"""A ticker added and one removed in mid-session: one connection, and no row of the others lost."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.faults.kill_session import alphakite, output

TAPE = ("--symbol", "QQQ", "--symbol", "SPY", "--symbol", "IWM", "--session", "2026-11-20", "--start", "10:00",
        "--end", "11:00")  # fmt: skip
SPEED = "150"
DEADLINE_S = 120.0


class Session:
    """A simulator that plays three tickers, a recorder that begins with two."""

    def __init__(self, folder: Path) -> None:
        self.data, self.env_file = folder / "data", folder / "settings"
        output("sql", "select 1", "--data", str(self.data))
        self.log = (folder / "recorder.log").open("w+")
        self.simulator = alphakite(
            "simulate", *TAPE, "--speed", SPEED, "--env-file", str(self.env_file), stdout=subprocess.PIPE
        )
        assert self.simulator.stdout is not None
        assert self.simulator.stdout.readline().startswith("READY")
        text = self.env_file.read_text().replace("STREAM_TICKER=QQQ,SPY,IWM", "# two of three\nSTREAM_TICKER=QQQ,SPY")
        self.env_file.write_text(text + "LOG_FORMAT=json\n")
        self.recorder = alphakite(
            "run", "--env-file", str(self.env_file), "--data", str(self.data), stdout=self.log, stderr=self.log
        )

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                status = json.loads((self.data / "run" / "status.json").read_text())
            except (OSError, ValueError):
                status = {}
            if status and holds(status):
                return dict(status)
            assert self.recorder.poll() is None, "the recorder ended"
            time.sleep(0.05)
        raise AssertionError(f"not within {DEADLINE_S} s")

    def tickers(self, *arguments: str) -> dict[str, Any]:
        """The command, from anywhere: the running recorder says which settings file it reads."""
        return dict(json.loads(output("tickers", *arguments, "--data", str(self.data), "--json")))

    def refuse_a_broken_file(self) -> None:
        """SIGHUP with a settings file that is wrong changes nothing, and is said."""
        kept = self.env_file.read_text()
        self.env_file.write_text(kept + "BATCH_SIZE=none\n")
        self.recorder.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + DEADLINE_S
        while "settings_refused" not in Path(self.log.name).read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.env_file.write_text(kept)
        assert self.until(lambda status: bool(status["pid"]))["tickers"] == ["QQQ", "SPY", "IWM"]

    def close(self) -> None:
        for process in (self.recorder, self.simulator):
            process.kill()
            process.wait()
        assert self.simulator.stdout is not None
        self.simulator.stdout.close()
        self.log.close()
        output("db", "stop", "--data", str(self.data))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    played = Session(tmp_path_factory.mktemp("tickers"))
    try:
        played.until(lambda status: status["rows_committed"] > 1000)
        assert played.tickers("add", "iwm")["recorded"] == ["QQQ", "SPY", "IWM"]
        rows = played.until(lambda status: status["tickers"] == ["QQQ", "SPY", "IWM"])["rows_committed"]
        played.until(lambda status: status["rows_committed"] > rows + 2000)
        played.refuse_a_broken_file()
        assert played.tickers("remove", "SPY")["recorded"] == ["QQQ", "IWM"]
        assert played.tickers("list") == {
            "schema": 1, "tickers": ["QQQ", "IWM"], "running": True, "recorded": ["QQQ", "IWM"]
        }  # fmt: skip
        end_us = int(datetime.fromisoformat("2026-11-20T11:00:00-05:00").timestamp()) * 1_000_000
        played.until(lambda status: status["now_us"] >= end_us and status["committed"] == status["appended"])
        played.recorder.terminate()
        assert played.recorder.wait(30) == 0
        yield played
    finally:
        played.close()


def table(session: Session, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(output("export", name, "--data", str(session.data)))))


def test_there_was_one_connection(session: Session) -> None:
    """The simulator ends it once the session is over, and only then."""
    lines = [json.loads(line) for line in Path(session.log.name).read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events.count("settings_read") == 2
    assert "disconnected" not in events[: len(events) - events[::-1].index("settings_read")]
    in_session = [gap for gap in table(session, "stream_gaps") if gap["start_at"] < "2026-11-20T16:00:00"]
    assert {(gap["ticker"], gap["reason"]) for gap in in_session} == {
        ("QQQ", "late_start"), ("SPY", "late_start"), ("IWM", "late_start")
    }  # fmt: skip


def test_no_row_of_the_others_is_lost_and_none_is_wrong(session: Session) -> None:
    truth: dict[str, dict[str, tuple[str, str]]] = {}
    for row in csv.DictReader(StringIO(output("simulate", *TAPE, "--truth", "seconds"))):
        truth.setdefault(row["ticker"], {})[row["timestamp"]] = (row["price"], row["volume"])
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for row in table(session, "equity_data"):
        if not row["flags"]:
            found.setdefault(row["ticker"], {})[row["timestamp"]] = (row["price"], row["volume"])
    for ticker, rows in found.items():
        first, last = min(rows), max(rows)
        assert rows == {at: row for at, row in truth[ticker].items() if first <= at <= last}, ticker
    assert len(found["QQQ"]) == len(truth["QQQ"]) or len(found["QQQ"]) == len(truth["QQQ"]) - 1  # the first is partial
    assert 0 < len(found["SPY"]) < len(truth["SPY"]) - 100
    assert max(found["SPY"]) < max(truth["SPY"])
    assert 0 < len(found["IWM"]) < len(truth["IWM"]) - 100
    assert max(found["IWM"]) == max(truth["IWM"])


def test_indicators_of_the_new_ticker_are_seeded(session: Session) -> None:
    rows = [row for row in table(session, "indicators") if row["ticker"] == "IWM"]
    assert rows[-1]["sma9"] and rows[-1]["vwap"] and "seeded:vwap" in rows[-1]["flags"]


def test_derived_again_it_is_the_same(session: Session) -> None:
    assert json.loads(output("rederive", "--check", "--json", "--data", str(session.data)))["differences"] == 0


def test_the_settings_file_keeps_the_rest(session: Session) -> None:
    text = session.env_file.read_text()
    assert "# two of three\nSTREAM_TICKER=QQQ,IWM\n" in text and "LOG_FORMAT=json" in text
