"""An index that does not stream is asked for over REST, and its rows say where their price comes from."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from io import StringIO
from pathlib import Path

import pytest
from tests.faults.kill_session import alphakite, output

TAPE = ("--symbol", "QQQ", "--symbol", "$SPX", "--session", "2026-11-20", "--start", "10:15", "--end", "10:45")
DEADLINE_S = 60.0


@pytest.mark.parametrize("index", ["silent", "streams"])
def test_spx(tmp_path: Path, index: str) -> None:
    env_file, data = tmp_path / "env", tmp_path / "data"
    output("sql", "select 1", "--data", str(data))
    log = (tmp_path / "recorder.log").open("w")
    simulator = alphakite(
        "simulate", *TAPE, "--speed", "60", "--switch", f"index={index}", "--env-file", str(env_file),
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert simulator.stdout is not None and simulator.stdout.readline().startswith("READY")
    env = {"INDEX_POLL_INTERVAL": "0.6", "LOG_FORMAT": "json", "BATCH_INTERVAL": "0.1"}
    recorder = alphakite("run", "--env-file", str(env_file), "--data", str(data), env=env, stderr=log)
    try:
        deadline, rows = time.monotonic() + DEADLINE_S, []
        while len([row for row in rows if row["price"]]) < (5 if index == "silent" else 300):
            assert time.monotonic() < deadline and recorder.poll() is None, rows
            time.sleep(0.3)
            query = "select * from equity_data where ticker = '$SPX' order by timestamp"
            rows = list(csv.DictReader(StringIO(output("sql", query, "--csv", "--data", str(data)))))
        recorder.terminate()
        assert recorder.wait(30) == 0
    finally:
        for process in (recorder, simulator):
            process.kill()
            process.wait()
        simulator.stdout.close()
        log.close()
    events = [json.loads(line)["event"] for line in (tmp_path / "recorder.log").read_text().splitlines()]
    truth = csv.DictReader(StringIO(output("simulate", *TAPE, "--truth", "seconds")))
    prices = {row["price"] for row in truth if row["ticker"] == "$SPX"}
    assert {row["price"] for row in rows} <= prices
    assert all(row["volume"] == "" for row in rows)
    if index == "silent":
        assert events.count("index_polled") == 1
        assert all("polled" in row["flags"].split(",") for row in rows)
    else:
        assert "index_polled" not in events
        assert not any("polled" in row["flags"] for row in rows)
    assert json.loads(output("rederive", "--check", "--json", "--data", str(data)))["differences"] == 0
    output("db", "stop", "--data", str(data))
