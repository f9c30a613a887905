"""One recorder process: start order, signals, stop order.

Start: data folder → journal → database → capture and drain side by side (capture does not wait for the database).
Stop (SIGTERM, Ctrl-C, --until-close): capture ends and its end is journaled → drain commits what is there → last
metrics → database → journal. It ends within `STOP_WITHIN_S`; what was not committed by then waits in the journal.
A side task that dies stops the service: half alive is worse than down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import uvloop

from alphakite import log
from alphakite.clock import make_clock
from alphakite.config import Settings
from alphakite.errors import FatalError, UnavailableError
from alphakite.feed.schwab.rest import SchwabRest
from alphakite.feed.schwab.tokens import TokenFile
from alphakite.journal.writer import JournalWriter
from alphakite.killpoints import durable, hook
from alphakite.metrics import Status, write_status
from alphakite.recorder.capture import Capture
from alphakite.recorder.drain import Drain
from alphakite.store.database import Database
from alphakite.store.postgres import PostgresSink

STOP_WITHIN_S = 8.0
STATUS_INTERVAL_S = 0.5


class Service:
    """Runs one recorder until it is told to stop. `run` returns the exit code."""

    def __init__(self, settings: Settings, *, until_close: bool = False) -> None:
        self._settings = settings
        self._until_close = until_close
        self._stop = asyncio.Event()
        self._log = log.get("service")
        self.status = Status(pid=os.getpid(), clock=settings.clock, tickers=list(settings.tickers))

    def stop(self) -> None:
        """Ask for an orderly stop. May be called twice."""
        self._stop.set()

    async def run(self) -> int:
        """Raises FatalError, ConfigError, UnavailableError when the service cannot go on."""
        settings, step = self._settings, hook()
        data_dir = settings.data_dir
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        clock = make_clock(settings.clock)
        tokens = TokenFile(settings.schwab_token_file)
        tokens.token()
        journal = JournalWriter(
            data_dir / "journal", segment_bytes=int(settings.journal_segment_mb * 1e6), on_step=step
        )
        journal.on_step = durable(step, lambda: (journal.segment_path.name, journal.fsynced_bytes))
        journal.on_step("opened")
        clock.raise_floor(journal.last_ts_ns)
        self.status.started_wall_us = time.time_ns() // 1000
        self.status.journal_id, self.status.torn_bytes = str(journal.journal_id), journal.torn_bytes
        if journal.torn_bytes:
            self._log.warning("journal_tail_cut", bytes=journal.torn_bytes, kept_seq=journal.written_seq)
        write_pid(data_dir / "run" / "recorder.pid")
        self._install_signals()
        database = Database(settings)
        rest = SchwabRest(
            settings.schwab_api_url, settings.schwab_app_key, settings.schwab_app_secret, tokens, clock.observe_ms
        )
        sink = PostgresSink(database.dsn, clock_mode=settings.clock, on_step=step)
        capture = Capture(settings, clock, journal, rest, self.status)
        drain = Drain(settings, clock, journal, sink, self.status, capture.sync, step)
        capture.wants_history, capture.awaiting_history = drain.wants_history, drain.awaiting_history
        self._log.info("started", pid=os.getpid(), data=str(data_dir), tickers=",".join(settings.tickers))
        try:
            await self._supervise(capture, drain)
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(sink.close(), 2.0)
            await rest.close()
            journal.close()
            await database.close()
            self.status.state = "stopped"
            self._publish()
            (data_dir / "run" / "recorder.pid").unlink(missing_ok=True)
            self._log.info("stopped", committed=self.status.committed, appended=journal.appended_seq)
        return 0

    async def _supervise(self, capture: Capture, drain: Drain) -> None:
        """Until stopped, or until a part of it dies."""
        capturing = asyncio.create_task(capture.run(), name="capture")
        draining = asyncio.create_task(drain.run(), name="drain")
        side = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("sync", capture.sync_often()),
                ("history", capture.refill_history()),
                ("metrics", drain.measure()),
                ("stats", drain.keep_stats()),
                ("status", self._publish_often()),
            )
        ]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([stopping, capturing, draining, *side], return_when=asyncio.FIRST_COMPLETED)
            died = next((task for task in (capturing, draining, *side) if task.done()), None)
            self.status.state = "stopping"
            await self._wind_down(capture, drain, capturing, draining)
            if died is not None:
                died.result()
                raise FatalError(
                    f"{died.get_name()} ended by itself", next_step="look at the log above, then start again"
                )
        finally:
            tasks: list[asyncio.Task[Any]] = [*side, capturing, draining, stopping]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wind_down(
        self, capture: Capture, drain: Drain, capturing: asyncio.Task[None], draining: asyncio.Task[None]
    ) -> None:
        deadline = time.monotonic() + STOP_WITHIN_S
        with contextlib.suppress(Exception):
            await capture.stop()
        await asyncio.wait([capturing], timeout=2.0)
        drain.capture_ended()
        await asyncio.wait([draining], timeout=max(0.5, deadline - time.monotonic()))
        error = draining.exception() if draining.done() and not draining.cancelled() else None
        if not draining.done() or error is not None:
            why = str(error) if error is not None else "more waits than could be committed in time"
            self._log.warning("stopped_behind", why=why, committed=self.status.committed, derived=self.status.derived)
        elif not draining.cancelled():
            await self._last_metrics(drain)

    async def _last_metrics(self, drain: Drain) -> None:
        self.status.state = "stopped"
        with contextlib.suppress(UnavailableError, TimeoutError):
            await asyncio.wait_for(drain.write_metrics(), 1.0)
            await asyncio.wait_for(drain.refresh_stats(), 2.0)

    async def _publish_often(self) -> None:
        while True:
            self._publish()
            if self._until_close and self.status.session_over and self.status.derived == self.status.written:
                self._log.info("session_over")
                self.stop()
            await asyncio.sleep(STATUS_INTERVAL_S)

    def _publish(self) -> None:
        self.status.updated_wall_us = time.time_ns() // 1000
        with contextlib.suppress(OSError):
            write_status(self._settings.data_dir, self.status)

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)


def write_pid(path: Path) -> None:
    """Tell outsiders which process to signal."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(f"{os.getpid()}\n")


def run(settings: Settings, *, until_close: bool = False) -> int:
    """Run a recorder in this process until it ends; its exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Service(settings, until_close=until_close).run())
