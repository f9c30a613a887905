"""The database is away from the start to after the session's end: everything waits in the journal, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.harness import Recording, alphakite, output, until

DEADLINE_S = 60.0
PLAY = ("--session", "2026-11-20", "--start", "19:45")


def test_a_session_without_its_database(tmp_path: Path) -> None:
    """DATABASE_URL names a server that is stopped; it comes back when the market has closed; all rows arrive."""
    server, data = tmp_path / "server", tmp_path / "data"
    output("db", "start", "--data", str(server))
    env = {"DATABASE_URL": output("db", "url", "--data", str(server)).strip()}
    output("migrate", "--data", str(data), env=env)
    output("db", "stop", "--data", str(server))
    try:
        with Recording(tmp_path, *PLAY, "--speed", "max", "--exit-at-end", env=env, serve=False) as recording:
            recorder = recording.begin("--until-close")
            assert recording.simulator.wait(DEADLINE_S) == 0
            found: dict[str, object] = {}

            def is_away() -> bool:
                found.update(json.loads(output("status", "--json", "--data", str(data), env=env)))
                return found["state"] == "database_away"

            until(is_away, DEADLINE_S, "database_away")
            assert found["alive"]
            assert found["database"]["reachable"] is False  # type: ignore[index]
            assert recorder.poll() is None
            output("db", "start", "--data", str(server))
            assert recorder.wait(DEADLINE_S) == 0, recording.tail()
            assert "database_back" in recording.events()
        report = json.loads(output("rederive", "--check", "--json", "--data", str(data), env=env))
        assert report["differences"] == 0
        assert report["rows"] > 100
        gaps = json.loads(output("gaps", "list", "--json", "--data", str(data), env=env))["rows"]
        assert [gap["reason"] for gap in gaps] == ["late_start"]
    finally:
        output("db", "stop", "--data", str(server))


def test_the_data_folder_is_in_use(tmp_path: Path) -> None:
    """A second recorder on the same folder says so and ends; the first one does not notice."""
    with Recording(tmp_path, "--start", "19:45", serve=False) as recording:
        first, pid_file = recording.begin(), recording.data / "run" / "recorder.pid"
        until(pid_file.exists, DEADLINE_S, "a recorder")
        second = alphakite("run", *recording.where, stderr=subprocess.PIPE)
        _out, said = second.communicate(timeout=DEADLINE_S)
        assert second.returncode == 4
        assert "in use" in said
        assert "next: " in said
        assert first.poll() is None
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        assert first.wait(DEADLINE_S) == 0
