"""One recorder process: start order, signals, stop order.

Start: data folder → journal → database → capture and drain side by side (capture does not wait for the database).
Stop (SIGTERM, Ctrl-C, --until-close): capture ends and its end is journaled → drain commits what is there → last
metrics → database → journal. It ends within `STOP_WITHIN_S`; what was not committed by then waits in the journal.
A side task that dies stops the service: half alive is worse than down. A missing or dead sign-in is none of these: the
service waits for a person. SIGHUP reads the settings again and takes over the tickers and what is said of options.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from alphakite import log
from alphakite.clock import Clock, make_clock
from alphakite.config import Settings
from alphakite.derive.indicators import folders_of, resolve
from alphakite.errors import AlphakiteError, FatalError, UnavailableError
from alphakite.feed.schwab.rest import SchwabRest
from alphakite.feed.schwab.tokens import SignIn, TokenFile
from alphakite.health import Pulse
from alphakite.journal.retention import Retention, first_ns, size_bytes
from alphakite.journal.writer import JournalWriter
from alphakite.killpoints import durable, hook
from alphakite.metrics import SignInStatus, Status, overall, write_status
from alphakite.notify import Notifier
from alphakite.recorder.asking import Asking
from alphakite.recorder.capture import Capture
from alphakite.recorder.drain import Drain, Sink
from alphakite.recorder.governor import Governor
from alphakite.recorder.observing import Observing
from alphakite.recorder.options import Chains
from alphakite.recorder.upkeep import Upkeep
from alphakite.store.database import Database
from alphakite.store.postgres import PostgresSink
from alphakite.store.rest import RestSink

STOP_WITHIN_S = 8.0
STATUS_INTERVAL_S = 0.5
TAKEN_OVER = ("STREAM_TICKER", "OPTIONS", "OPTION_DTE", "OPTION_STRIKES", "OPTION_INCLUDE")
"""Settings that SIGHUP changes in a running recorder."""
ROOM_FIRST_S, ROOM_INTERVAL_S = 1.0, 10.0
"""How often old segments are looked at, and the journal's growth."""


class Service:
    """Runs one recorder until it is told to stop. `run` returns the exit code.

    Args:
        reload: reads the settings again, for SIGHUP. None: there is nowhere to read them from.
    """

    def __init__(
        self, settings: Settings, *, until_close: bool = False, reload: Callable[[], Settings] | None = None
    ) -> None:
        self._settings = settings
        self._until_close = until_close
        self._reload = reload
        self._stop = asyncio.Event()
        self._log = log.get("service")
        self._notifier = Notifier()
        self._pulse = Pulse(settings.journal_fsync_interval)
        self._clock: Clock = make_clock(settings.clock)
        self.status = Status(
            pid=os.getpid(),
            clock=settings.clock,
            tickers=list(settings.tickers),
            settings_file=str(settings.env_file or ""),
            journal_budget_bytes=settings.journal_budget_mb * 1_000_000,
        )

    def stop(self) -> None:
        """Ask for an orderly stop. May be called twice."""
        self._stop.set()

    async def run(self) -> int:
        """Raises FatalError, ConfigError, UnavailableError when the service cannot go on."""
        settings, clock, step = self._settings, self._clock, hook()
        resolve(settings.indicators, folders_of(settings))
        data_dir = settings.data_dir
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        database = Database(settings)
        tokens = TokenFile(settings.schwab_token_file, lambda: clock.now_ns() / 1e9)
        rest = SchwabRest(
            settings.schwab_api_url,
            settings.schwab_app_key,
            settings.schwab_app_secret,
            tokens,
            lambda date_ms: None if capture.connected else clock.observe_ms(date_ms),
        )
        sink = make_sink(settings, database, step)
        stopping = asyncio.Event()
        upkeep = Upkeep(settings, clock, journal, stopping, self._synced)
        asking = Asking(settings, clock, journal, rest, stopping)
        capture = Capture(settings, clock, journal, rest, asking, self.status, stopping)
        drain = Drain(settings, clock, journal, sink, self.status, upkeep.sync, step)
        by_sql = None if isinstance(sink, RestSink) else database.connect
        began_us = first_ns(journal.folder) // 1000
        governor = Governor(settings, clock, sink, self.status, by_sql, lambda: drain.committed_us, began_us)
        drain.admit, drain.wrote = governor.admit, governor.wrote
        observing = Observing(data_dir, journal, clock, self.status, capture.readd)
        retention = Retention(
            journal.folder,
            drain.checkpoints,
            journal.journal_id,
            budget_bytes=self.status.journal_budget_bytes,
            min_free_bytes=settings.disk_min_free_mb * 1_000_000,
            on_step=step,
        )
        asking.wants_history, asking.awaiting_history = drain.wants_history, drain.awaiting_history
        asking.silent_tickers = drain.silent_tickers
        capture.note_sign_in, capture.on_step = self._note_sign_in, step
        drain.observe = observing.see
        chains = Chains(settings, clock, journal, rest, self.status, stopping)
        chains.begun, capture.settled = capture.begun, chains.settled
        chains.price_of, chains.cap, chains.tell = drain.price_of, capture.option_cap, capture.want_options
        chains.on_step = step
        capture.note_refusals, drain.progressed = chains.refused, chains.progressed
        self._install_signals(capture, chains)
        write_pid(data_dir / "run" / "recorder.pid")  # from here on it may be signalled
        self._log.info("started", pid=os.getpid(), data=str(data_dir), tickers=",".join(settings.tickers))
        side = {
            "sync": upkeep.run(),
            "room": self._keep_room(retention, drain),
            "governor": governor.run(),
            "sign_in": rest.keep_fresh(self._note_sign_in),
            "history": asking.refill_history(),
            "indices": asking.poll_indices(),
            "options": chains.run(),
            "observing": observing.run(),
            "metrics": drain.measure(),
            "stats": drain.keep_stats(),
            "status": self._publish_often(capture, drain),
            "watchdog": self._notifier.feed_watchdog(self._pulse.fault),
        }
        try:
            await self._supervise(capture, drain, side)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2.0):
                    await sink.close()
            await rest.close()
            journal.close()
            await database.close()
            self.status.state = "stopped"
            self._publish()
            (data_dir / "run" / "recorder.pid").unlink(missing_ok=True)
            self._log.info("stopped", committed=self.status.committed, appended=journal.appended_seq)
        return 0

    async def _supervise(self, capture: Capture, drain: Drain, side: dict[str, Coroutine[Any, Any, None]]) -> None:
        """Until stopped, or until a part of it dies."""
        capturing = asyncio.create_task(capture.run(), name="capture")
        draining = asyncio.create_task(drain.run(), name="drain")
        beside = [asyncio.create_task(_for_ever(work), name=name) for name, work in side.items()]
        stopping = asyncio.create_task(self._stop.wait())
        self._notifier.ready("recording")
        try:
            await asyncio.wait([stopping, capturing, draining, *beside], return_when=asyncio.FIRST_COMPLETED)
            died = next((task for task in (capturing, draining, *beside) if task.done()), None)
            self.status.state = "stopping"
            self._notifier.stopping()
            await self._wind_down(capture, drain, capturing, draining)
            if died is not None:
                died.result()
                raise FatalError(
                    f"{died.get_name()} ended by itself", next_step="look at the log above, then start again"
                )
        finally:
            tasks: list[asyncio.Task[Any]] = [*beside, capturing, draining, stopping]
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
            async with asyncio.timeout(1.0):
                await drain.write_metrics()
            async with asyncio.timeout(2.0):
                await drain.refresh_stats()

    async def _publish_often(self, capture: Capture, drain: Drain) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self.status.loop_lag_us = max(0, int((loop.time() - due) * 1e6))
            drain.publish_journal()
            if self.status.database_state:  # nothing is derived meanwhile
                self.status.now_us = self._clock.now_ns() // 1000
                self.status.last_frame_us = max(self.status.last_frame_us, capture.last_frame_ns // 1000)
            self._publish()
            if self._until_close and self.status.session_over and self.status.derived == self.status.written:
                self._log.info("session_over")
                self.stop()
            due = loop.time() + STATUS_INTERVAL_S
            await asyncio.sleep(STATUS_INTERVAL_S)

    def _publish(self) -> None:
        self.status.state = overall(self.status)
        self._notifier.status(f"{self.status.state}, {self.status.committed} of {self.status.appended} committed")
        self.status.updated_wall_us = time.time_ns() // 1000
        with contextlib.suppress(OSError):
            write_status(self._settings.data_dir, self.status)

    def _synced(self) -> None:
        self._pulse.fsynced()
        self.status.last_fsync_wall_us = time.time_ns() // 1000

    def _note_sign_in(self, found: SignIn) -> None:
        self.status.sign_in = SignInStatus(
            state=found.state,
            reason=found.reason,
            login_at_us=int(found.login_at_s * 1e6),
            access_expires_us=int(found.access_expires_s * 1e6),
            refresh_expires_us=int(found.refresh_expires_s * 1e6),
        )

    async def _keep_room(self, retention: Retention, drain: Drain) -> None:
        """Old segments go when there is too much; how long until there is."""
        loop, status = asyncio.get_running_loop(), self.status
        await asyncio.sleep(ROOM_FIRST_S)
        while True:
            try:
                trimmed = await loop.run_in_executor(None, retention.trim, drain.committed_seq)
            except OSError as error:
                self._log.warning("journal_not_trimmed", error=str(error))
            else:
                status.journal_first_seq = trimmed.first_seq
                if trimmed.files:
                    self._log.info("journal_trimmed", files=trimmed.files, bytes=trimmed.bytes)
            status.journal_bytes = size_bytes(self._settings.data_dir / "journal")
            status.journal_days_left = retention.days_left(self._clock.now_ns())
            await asyncio.sleep(ROOM_INTERVAL_S)

    def _install_signals(self, capture: Capture, chains: Chains) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._read_again, capture, chains)

    def _read_again(self, capture: Capture, chains: Chains) -> None:
        """SIGHUP: tickers and options by the settings as they are now. What else has changed waits for a restart."""
        self._notifier.reloading()
        try:
            fresh = self._reload() if self._reload is not None else self._settings
        except AlphakiteError as error:
            self._log.error("settings_refused", error=str(error), next_step=error.next_step)
        else:
            before = {name: shown for name, shown, _origin in self._settings.items()}
            others = [
                name for name, shown, _origin in fresh.items() if shown != before[name] and name not in TAKEN_OVER
            ]
            if others:
                self._log.warning("restart_needed", settings=",".join(others))
            self._log.info("settings_read", tickers=",".join(fresh.tickers))
            capture.want(fresh.tickers)
            chains.want(fresh)
        self._notifier.ready("recording")


def make_sink(settings: Settings, database: Database, step: Callable[[str], None]) -> Sink:
    """Where rows go: DATABASE_URL, else Supabase's REST, else the embedded database."""
    if settings.supabase_url and not settings.database_url:
        url, key = settings.supabase_url, settings.supabase_service_role_key
        if settings.allow_anon_read:
            log.get("service").warning(
                "anon_read_not_set",
                next_step="ALLOW_ANON_READ needs the schema's owner: run what `alphakite migrate --sql` prints",
            )
        return RestSink(url, key, clock_mode=settings.clock, on_step=step)
    return PostgresSink(database.dsn, clock_mode=settings.clock, anon_read=settings.allow_anon_read, on_step=step)


async def _for_ever(work: Coroutine[Any, Any, None]) -> None:
    """Work that has nothing to do is done, and no reason to stop."""
    await work
    await asyncio.Event().wait()


def write_pid(path: Path) -> None:
    """Tell outsiders which process to signal."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(f"{os.getpid()}\n")


def run(settings: Settings, *, until_close: bool = False, reload: Callable[[], Settings] | None = None) -> int:
    """Run a recorder in this process until it ends; its exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Service(settings, until_close=until_close, reload=reload).run())
