"""One journal, any batch size, with checkpoints or without, twice: byte-identical exports."""

from __future__ import annotations

import argparse
import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from tests.faults.kill_session import SETTINGS
from tests.harness import Recording, output

from alphakite.clock import FeedClock
from alphakite.config import Settings, load
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import Status
from alphakite.recorder.drain import Drain
from alphakite.store.database import Database, connect
from alphakite.store.postgres import PostgresSink

END_US = int(datetime.fromisoformat("2026-11-20T16:06:00-05:00").timestamp()) * 1_000_000
TABLES = ("equity_data", "indicators", "stream_gaps")
LIFE_COMMITS = {1: 400, 500: 2, 10_000: 1}
"""With checkpoints: after so many commits, by batch size, derivation is cut off and goes on from the newest one."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with 24 minutes of two synthetic tickers, late start and four kills in it; its server runs."""
    play = ("--symbol", "QQQ", "--symbol", "SPY", "--start", "15:42", "--end", "16:06", "--session", "2026-11-20",
            "--speed", "max", "--on-disconnect", "run")  # fmt: skip
    with Recording(tmp_path_factory.mktemp("recorded"), *play, env=SETTINGS) as recording:
        for kill in ("after_write:100", "before_commit:1", "after_write:120", "commit_sent:1"):
            recording.begin(env={"ALPHAKITE_TEST_KILL": kill}).wait(60)
        recording.begin()
        recording.until_played(END_US)
        recording.end()
        yield recording.data


async def derive(recorded: Path, folder: Path, name: str, *, batch_size: int, checkpoints: bool) -> dict[str, str]:
    """The recorded journal into a new database; its exports."""
    home = Database(load(argparse.Namespace(data=str(recorded)), environ={}))
    try:
        dsn = await home.dsn()
        connection = await connect(dsn)
        for statement in ("alter system set fsync = off", "select pg_reload_conf()", f'create database "{name}"'):
            await connection.execute(statement)
        await connection.close()
        url = (
            dsn.replace("/postgres?", f"/{name}?")
            if "/postgres?" in dsn
            else dsn.removesuffix("/postgres") + f"/{name}"
        )
        output("migrate", "--data", str(folder), env={"DATABASE_URL": url})
        shutil.copytree(recorded / "journal", folder / "journal")
        settings = replace(
            load(argparse.Namespace(data=str(folder)), environ={"DATABASE_URL": url}),
            batch_size=batch_size,
            checkpoint_interval=0.0 if checkpoints else 3600.0,
        )
        lives = 0
        while not await live(settings, url, cut_after=LIFE_COMMITS[batch_size] if checkpoints else None):
            lives += 1
        assert lives >= 2 or batch_size > 500 or not checkpoints
        return {table: output("export", table, "--data", str(folder), env={"DATABASE_URL": url}) for table in TABLES}
    finally:
        await home.close()


async def live(settings: Settings, url: str, cut_after: int | None) -> bool:
    """Derive to the end (True), or until so many commits (False): cut off as by a kill, without an orderly stop."""

    async def where() -> str:
        return url

    journal = JournalWriter(settings.data_dir / "journal", segment_bytes=1 << 26)
    status = Status()
    sink = PostgresSink(where, clock_mode="feed")

    async def sync() -> None:
        journal.sync()

    drain = Drain(settings, FeedClock(), journal, sink, status, sync, lambda _step: None)
    drain.capture_ended()
    work = asyncio.create_task(drain.run())
    try:
        while not work.done() and (cut_after is None or status.commits < cut_after):
            await asyncio.wait([work], timeout=0.001)
        if not work.done():
            return False
        await work
        return True
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await sink.close()
        journal.close()


async def test_batches_and_checkpoints_change_nothing(recorded: Path, tmp_path: Path) -> None:
    """Batches of 1, 500 and 10,000, with and without checkpoints, two of them twice."""
    seen: dict[str, dict[str, str]] = {}
    for size, checkpoints, turn in (
        (1, False, 1), (1, True, 1), (500, False, 1), (500, True, 1), (10_000, False, 1), (10_000, True, 1),
        (500, True, 2), (10_000, False, 2),
    ):  # fmt: skip
        name = f"b{size}_{'with' if checkpoints else 'without'}_{turn}"
        (tmp_path / name).mkdir()
        seen[name] = await derive(recorded, tmp_path / name, name, batch_size=size, checkpoints=checkpoints)
    live_run = {table: output("export", table, "--data", str(recorded)) for table in TABLES}
    assert live_run["equity_data"].count("\n") > 1000
    assert live_run["stream_gaps"].count("process_down") >= 4
    for name, exports in seen.items():
        for table in TABLES:
            kept = [line.rsplit(",", 1)[0] if table == "stream_gaps" else line for line in exports[table].splitlines()]
            wanted = [
                line.rsplit(",", 1)[0] if table == "stream_gaps" else line for line in live_run[table].splitlines()
            ]
            assert kept == wanted, f"{table} of {name}"
