"""The database is away from the start to after the session's end: everything waits in the journal, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.faults.kill_session import alphakite, output

DEADLINE_S = 60.0


def test_a_session_without_its_database(tmp_path: Path) -> None:
    """DATABASE_URL names a server that is stopped; it comes back when the market has closed; all rows arrive."""
    server, data, env_file = tmp_path / "server", tmp_path / "data", tmp_path / "env"
    output("db", "start", "--data", str(server))
    env = {"DATABASE_URL": output("db", "url", "--data", str(server)).strip()}
    output("migrate", "--data", str(data), env=env)
    output("db", "stop", "--data", str(server))
    simulator = alphakite(
        "simulate", "--session", "2026-11-20", "--start", "19:45", "--speed", "max", "--env-file", str(env_file),
        "--exit-at-end", stdout=subprocess.PIPE,
    )  # fmt: skip
    assert simulator.stdout is not None
    assert simulator.stdout.readline().startswith("READY")
    recorder = alphakite(
        "run", "--env-file", str(env_file), "--data", str(data), "--until-close", env=env, stderr=subprocess.PIPE
    )
    try:
        assert simulator.wait(DEADLINE_S) == 0
        deadline = time.monotonic() + DEADLINE_S
        while True:
            found = json.loads(output("status", "--json", "--data", str(data), env=env))
            if found["state"] == "database_away":
                break
            assert time.monotonic() < deadline, found["state"]
        assert found["alive"]
        assert not found["database"]["reachable"]
        assert recorder.poll() is None
        output("db", "start", "--data", str(server))
        _out, log = recorder.communicate(timeout=DEADLINE_S)
        assert recorder.returncode == 0, log
        assert "database_back" in log
        report = json.loads(output("rederive", "--check", "--json", "--data", str(data), env=env))
        assert report["differences"] == 0
        assert report["rows"] > 100
        gaps = json.loads(output("gaps", "list", "--json", "--data", str(data), env=env))["rows"]
        assert [gap["reason"] for gap in gaps] == ["late_start"]
    finally:
        for process in (recorder, simulator):
            if process.poll() is None:
                process.kill()
                process.wait()
        simulator.stdout.close()
        output("db", "stop", "--data", str(server))


def test_the_data_folder_is_in_use(tmp_path: Path) -> None:
    """A second recorder on the same folder says so and ends; the first one does not notice."""
    env_file, data = tmp_path / "env", tmp_path / "data"
    simulator = alphakite("simulate", "--start", "19:45", "--env-file", str(env_file), stdout=subprocess.PIPE)
    assert simulator.stdout is not None
    assert simulator.stdout.readline().startswith("READY")
    arguments = ("run", "--env-file", str(env_file), "--data", str(data))
    first = alphakite(*arguments, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not (data / "run" / "recorder.pid").exists():
            assert time.monotonic() < deadline
            assert first.poll() is None
        second = alphakite(*arguments, stderr=subprocess.PIPE)
        _out, said = second.communicate(timeout=DEADLINE_S)
        assert second.returncode == 4
        assert "in use" in said
        assert "next: " in said
        assert first.poll() is None
        os.kill(int((data / "run" / "recorder.pid").read_text()), signal.SIGTERM)
        first.communicate(timeout=DEADLINE_S)
        assert first.returncode == 0
    finally:
        for process in (first, simulator):
            if process.poll() is None:
                process.kill()
                process.wait()
        simulator.stdout.close()
