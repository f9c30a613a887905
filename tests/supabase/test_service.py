"""`alphakite run` with SUPABASE_URL and a key: a session through REST with faults and kills, derived again."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Recording, output
from tests.supabase.misfortunes import DROPPED_AFTER, DROPPED_BEFORE, Fault, page, raised, said
from tests.supabase.server import SECRET_KEY, Project

PLAY = ("--session", "2026-11-20", "--start", "15:50", "--speed", "max", "--on-disconnect", "run")
END_US = 1_795_209_000_000_000
"""2026-11-20 16:10 exchange time."""
FAULTS: list[Fault] = [
    DROPPED_AFTER, page(502, after=True), said(503, "PGRST002", "schema cache"), raised("40P01"),
    said(401, None, "Invalid API key"), said(429, None, "Too many requests", Retry_After="0.2"), DROPPED_BEFORE,
    page(200, after=True), said(404, "PGRST202", "Could not find the function"), raised("57P01"),
]  # fmt: skip


@pytest.fixture
def served(database_url: str) -> Iterator[Project]:
    """A project in a thread of its own: the test waits for processes."""
    project, started, stop = Project(database_url), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with project.running():
            started.set()
            await stop.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    yield project
    loop.call_soon_threadsafe(stop.set)
    thread.join()


def test_a_session_by_rest(served: Project, tmp_path: Path) -> None:
    """Killed while its call is on its way and after it, faults between: derived again, nothing differs."""
    env = {
        "SUPABASE_URL": served.url, "SUPABASE_SERVICE_ROLE_KEY": SECRET_KEY, "CLOCK": "feed", "OPTIONS": "on",
        "OPTION_STRIKES": "5", "BATCH_INTERVAL": "0.05",
    }  # fmt: skip
    with Recording(tmp_path, *PLAY, env=env, serve=False) as recording:
        for kill in ("commit_sent:2", "after_commit:2", "before_commit:2"):
            recording.begin(env={"ALPHAKITE_TEST_KILL": kill})
            recording.killed()
        served.faults = list(FAULTS)
        recording.begin()
        recording.until_played(END_US)
        found = json.loads(output("status", "--json", "--data", str(recording.data), env=env))
        assert found["database"]["reachable"] is True
        recording.end()
    assert served.faults == []
    assert not (recording.data / "postgres").exists()
    direct = {"DATABASE_URL": served.dsn}
    report = json.loads(output("rederive", "--check", "--json", "--data", str(recording.data), env=direct))
    assert report["differences"] == 0
    assert report["rows"] > 1000
    log = recording.log_file.read_text()
    assert SECRET_KEY not in log
    assert "database_away" in log and "database_back" in log
