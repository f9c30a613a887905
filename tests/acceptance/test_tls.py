"""The recorder over https and wss, as at Schwab: the local Schwab's certificate is trusted by a setting."""

from __future__ import annotations

import csv
import subprocess
from io import StringIO
from pathlib import Path

from tests.faults.kill_session import alphakite, output

TAPE = ("--session", "2026-11-20", "--start", "10:15", "--end", "10:17")


def test_a_session_over_tls_is_recorded_whole(tmp_path: Path) -> None:
    env_file, data = tmp_path / "env", str(tmp_path / "data")
    simulator = alphakite(
        "simulate", *TAPE, "--tls", "--speed", "max", "--on-disconnect", "hold", "--exit-at-end",
        "--env-file", str(env_file), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert simulator.stdout is not None
    try:
        assert "https://" in simulator.stdout.readline()
        assert "SSL_CERT_FILE=" in env_file.read_text()
        recorder = alphakite("run", "--env-file", str(env_file), "--data", data, stderr=subprocess.DEVNULL)
        assert simulator.wait(60) == 0
        recorder.terminate()
        assert recorder.wait(30) == 0
        rows = list(csv.DictReader(StringIO(output("export", "equity_data", "--data", data))))
        truth = list(csv.DictReader(StringIO(output("simulate", *TAPE, "--truth", "seconds"))))
        assert [(row["timestamp"], row["price"]) for row in rows] == [(row["timestamp"], row["price"]) for row in truth]
    finally:
        simulator.kill()
        simulator.wait()
        simulator.stdout.close()
        output("db", "stop", "--data", data)
