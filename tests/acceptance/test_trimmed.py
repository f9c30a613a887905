"""A journal kept within its budget: the recorder goes on, and what is left derives to the same rows."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime
from pathlib import Path

from tests.faults.kill_session import SETTINGS, alphakite, output

BUDGET_MB = 1
END_US = int(datetime.fromisoformat("2026-11-20T14:00:00-05:00").timestamp()) * 1_000_000
DEADLINE_S = 60.0


def test_old_segments_go_and_the_rest_derives_to_the_same_rows(tmp_path: Path) -> None:
    data, env_file = tmp_path / "data", tmp_path / "settings"
    where = ("--env-file", str(env_file), "--data", str(data))
    output("sql", "select 1", "--data", str(data))
    simulator = alphakite(
        "simulate", "--session", "2026-11-20", "--start", "09:00", "--end", "14:00", "--speed", "max",
        "--on-disconnect", "hold", "--env-file", str(env_file), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert simulator.stdout is not None
    try:
        assert simulator.stdout.readline().startswith("READY")
        env = SETTINGS | {"JOURNAL_BUDGET_MB": str(BUDGET_MB)}
        recorder = alphakite("run", *where, env=env, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + DEADLINE_S
            while True:
                file = data / "run" / "status.json"
                status = json.loads(file.read_text()) if file.exists() else {"journal_first_seq": 0}
                if status["journal_first_seq"] > 1000 and status["now_us"] >= END_US:
                    break
                assert time.monotonic() < deadline, status
                time.sleep(0.2)
            assert status["journal_bytes"] <= BUDGET_MB * 1_000_000 + 100_000
            recorder.terminate()
            assert recorder.wait(30) == 0
        finally:
            recorder.kill()
            recorder.wait()
        verified = json.loads(output("journal", "verify", "--data", str(data), "--json"))
        assert verified["first_seq"] == status["journal_first_seq"]
        found = json.loads(output("rederive", "--check", "--json", "--data", str(data)))
        assert found["differences"] == 0
        assert found["rows"] > 3_000
        assert found["first_seq"] >= verified["first_seq"]
    finally:
        simulator.kill()
        simulator.wait()
        simulator.stdout.close()
        output("db", "stop", "--data", str(data))
