"""An index that does not stream is asked for over REST, and its rows say where their price comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.harness import Recording, asked, derived_again, truth, until

TAPE = ("--symbol", "QQQ", "--symbol", "$SPX", "--session", "2026-11-20", "--start", "10:15", "--end", "10:45")
DEADLINE_S = 60.0
SETTINGS = {"INDEX_POLL_INTERVAL": "0.6", "BATCH_INTERVAL": "0.1"}
ENOUGH = {"silent": 5, "streams": 300}


@pytest.mark.parametrize("index", ENOUGH)
def test_spx(tmp_path: Path, index: str) -> None:
    with Recording(tmp_path, *TAPE, "--speed", "60", "--switch", f"index={index}", env=SETTINGS) as recording:
        recorder = recording.begin()

        def priced() -> list[dict[str, str]]:
            assert recorder.poll() is None, recording.tail()
            found = asked(recording.data, "select * from equity_data where ticker = '$SPX' order by timestamp")
            return found if sum(bool(row["price"]) for row in found) >= ENOUGH[index] else []

        recording.until(lambda status: status["rows_committed"] > 0, DEADLINE_S, "rows")
        rows = until(priced, DEADLINE_S, "prices of the index")
        recording.end()
        events = recording.events()
        prices = {row["price"] for row in truth(*TAPE) if row["ticker"] == "$SPX"}
        assert {row["price"] for row in rows} <= prices
        assert all(row["volume"] == "" for row in rows)
        if index == "silent":
            assert events.count("index_polled") == 1
            assert all("polled" in row["flags"].split(",") for row in rows)
        else:
            assert "index_polled" not in events
            assert not any("polled" in row["flags"] for row in rows)
        assert derived_again(recording.data)["differences"] == 0
