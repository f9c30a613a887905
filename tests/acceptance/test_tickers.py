"""A ticker added and one removed in mid-session: one connection, and no row of the others lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Recording, derived_again, output, table, truth, until

TAPE = ("--symbol", "QQQ", "--symbol", "SPY", "--symbol", "IWM", "--session", "2026-11-20", "--start", "10:00",
        "--end", "11:00")  # fmt: skip
SPEED = "150"


class Session(Recording):
    """A simulator that plays three tickers, a recorder that begins with two."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, *TAPE, "--speed", SPEED)
        text = self.env_file.read_text().replace("STREAM_TICKER=QQQ,SPY,IWM", "# two of three\nSTREAM_TICKER=QQQ,SPY")
        self.env_file.write_text(text + "LOG_FORMAT=json\n")
        self.begin()

    def tickers(self, *arguments: str) -> dict[str, Any]:
        """The command, from anywhere: the running recorder says which settings file it reads."""
        return dict(json.loads(output("tickers", *arguments, "--data", str(self.data), "--json")))

    def refuse_a_broken_file(self) -> None:
        """SIGHUP with a settings file that is wrong changes nothing, and is said."""
        kept = self.env_file.read_text()
        self.env_file.write_text(kept + "BATCH_SIZE=none\n")
        assert self.recorder is not None
        self.recorder.send_signal(signal.SIGHUP)
        until(lambda: "settings_refused" in self.events(), what="a refusal")
        self.env_file.write_text(kept)
        assert self.until(lambda status: bool(status["pid"]))["tickers"] == ["QQQ", "SPY", "IWM"]


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
        played.until_played(end_us)
        played.end()
        yield played
    finally:
        played.close()


def test_there_was_one_connection(session: Session) -> None:
    """The simulator ends it once the session is over, and only then."""
    events = session.events()
    assert events.count("settings_read") == 2
    assert "disconnected" not in events[: len(events) - events[::-1].index("settings_read")]
    in_session = [gap for gap in table(session.data, "stream_gaps") if gap["start_at"] < "2026-11-20T16:00:00"]
    assert {(gap["ticker"], gap["reason"]) for gap in in_session} == {
        ("QQQ", "late_start"), ("SPY", "late_start"), ("IWM", "late_start")
    }  # fmt: skip


def test_no_row_of_the_others_is_lost_and_none_is_wrong(session: Session) -> None:
    told: dict[str, dict[str, tuple[str, str]]] = {}
    for row in truth(*TAPE):
        told.setdefault(row["ticker"], {})[row["timestamp"]] = (row["price"], row["volume"])
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for row in table(session.data, "equity_data"):
        if not row["flags"]:
            found.setdefault(row["ticker"], {})[row["timestamp"]] = (row["price"], row["volume"])
    for ticker, rows in found.items():
        first, last = min(rows), max(rows)
        assert rows == {at: row for at, row in told[ticker].items() if first <= at <= last}, ticker
    assert len(found["QQQ"]) == len(told["QQQ"]) or len(found["QQQ"]) == len(told["QQQ"]) - 1  # the first is partial
    assert 0 < len(found["SPY"]) < len(told["SPY"]) - 100
    assert max(found["SPY"]) < max(told["SPY"])
    assert 0 < len(found["IWM"]) < len(told["IWM"]) - 100
    assert max(found["IWM"]) == max(told["IWM"])


def test_indicators_of_the_new_ticker_are_seeded(session: Session) -> None:
    rows = [row for row in table(session.data, "indicators") if row["ticker"] == "IWM"]
    assert rows[-1]["sma9"] and rows[-1]["vwap"] and "seeded:vwap" in rows[-1]["flags"]


def test_derived_again_it_is_the_same(session: Session) -> None:
    assert derived_again(session.data)["differences"] == 0


def test_the_settings_file_keeps_the_rest(session: Session) -> None:
    text = session.env_file.read_text()
    assert "# two of three\nSTREAM_TICKER=QQQ,IWM\n" in text and "LOG_FORMAT=json" in text
