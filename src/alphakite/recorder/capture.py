"""Capture: socket → journal. It waits for nothing behind it.

In:   Schwab's streamer and REST.      Out:  journal records, in the order of arrival, stamped by the service clock.
A connection that ends, for whatever reason, is a record; then it is tried again, for ever, with capped waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from alphakite import log
from alphakite.clock import Clock
from alphakite.config import Settings
from alphakite.derive.moment import DeriveSettings
from alphakite.errors import FatalError, TransientError
from alphakite.feed.schwab.decode import stamp_ms
from alphakite.feed.schwab.rest import SchwabRest, Streamer
from alphakite.feed.schwab.stream import Refused, SchwabStream
from alphakite.journal.record import Kind
from alphakite.journal.writer import JournalWriter, Pending, free_mb
from alphakite.metrics import Status
from alphakite.recorder.backoff import Backoff
from alphakite.sessions import EXCHANGE, previous_session

BACKOFF_FIRST_S = 0.25
BACKOFF_MOST_S = 60.0
HISTORY_WAIT_S = 3.0
HISTORY_RETRY_S = 15.0
DISK_CHECK_S = 5.0


class Capture:
    """One recorder's socket side. `wants_history` and `awaiting_history` are asked, not known here."""

    def __init__(
        self, settings: Settings, clock: Clock, journal: JournalWriter, rest: SchwabRest, status: Status
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._rest = rest
        self._status = status
        self._log = log.get("capture")
        self._stopping = asyncio.Event()
        self._stream: SchwabStream | None = None
        self._conn = journal.last_conn
        self._feed_clock = clock.mode == "feed"
        self.wants_history: Callable[[str], bool] = lambda _ticker: True
        self.awaiting_history: Callable[[], list[str]] = list

    async def run(self) -> None:
        """Connect, subscribe, record, reconnect; until stopped. Only a FatalError or ConfigError ends it otherwise."""
        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MOST_S)
        await self._begin(backoff)
        while not self._stopping.is_set():
            try:
                await self._connection(backoff)
            except TransientError as error:
                if backoff.failures < 3 or backoff.failures % 10 == 0:
                    self._log.warning("connect_failed", error=str(error), failures=backoff.failures + 1)
            if self._stopping.is_set():
                break
            self._status.state = "connecting"
            await self._pause(backoff.next_s())

    async def _begin(self, backoff: Backoff) -> None:
        """Who writes from here on, and with which settings. Under CLOCK=feed the first answer tells the time first."""
        while self._clock.now_ns() == 0 and not self._stopping.is_set():
            try:
                await self._rest.streamer()
            except TransientError as error:
                self._log.warning("connect_failed", error=str(error), failures=backoff.failures + 1)
                await self._pause(backoff.next_s())
        self._append(Kind.PROCESS, 0, {"event": "start", "torn_bytes": self._journal.torn_bytes})
        self._append(
            Kind.CONFIG, 0, {"event": "derive", "settings": msgspec.to_builtins(derive_settings(self._settings))}
        )
        self._journal.flush()

    async def _connection(self, backoff: Backoff) -> None:
        """One connection from login to its end."""
        streamer = await self._rest.streamer()
        history = asyncio.create_task(self._fetch_history(self._settings.tickers))
        try:
            await asyncio.wait({history}, timeout=HISTORY_WAIT_S)
            await self._stream_until_end(streamer, backoff)
        finally:
            history.cancel()
            with contextlib.suppress(asyncio.CancelledError, TransientError):
                await history

    async def _stream_until_end(self, streamer: Streamer, backoff: Backoff) -> None:
        """Log in, subscribe, receive; the beginning and the end are records."""
        self._conn += 1
        self._status.conn = self._conn
        self._append(Kind.CONNECTION, self._conn, {"event": "up"})
        reason = "socket_down"
        stream: SchwabStream | None = None
        try:
            stream = await SchwabStream.connect(
                streamer, self._on_text, self._journal.flush, self._settings.coalesce_ms / 1000
            )
            self._stream = stream
            try:
                await stream.login(await self._rest.access_token())
            except Refused as error:
                if error.code == 3:
                    await self._rest.access_token(force=True)
                raise
            await stream.subscribe(self._settings.tickers)
            backoff.reset()
            self._status.state = "streaming"
            self._log.info("connected", conn=self._conn, tickers=len(self._settings.tickers))
            reason = await stream.run(self._settings.silence_timeout)
        finally:
            self._stream = None
            if stream is not None:
                stream.close()
            if self._stopping.is_set():
                reason = "process_down"
            self._append(Kind.CONNECTION, self._conn, {"event": "down", "reason": reason})
            self._journal.flush()
        self._status.reconnects += 1
        self._log.warning("disconnected", conn=self._conn, reason=reason)

    def _on_text(self, payload: bytes, last_in_read: bool) -> None:
        """The hot path: stamp, append; write when the socket's read is used up."""
        if self._feed_clock and (stamp := stamp_ms(payload)) is not None:
            self._clock.observe_ms(stamp)
        self._journal.append(Kind.FRAME, self._conn, self._clock.now_ns(), payload)
        if last_in_read:
            self._journal.flush()

    def _append(self, kind: Kind, conn: int, event: dict[str, object]) -> None:
        self._journal.append(kind, conn, self._clock.now_ns(), json.dumps(event, separators=(",", ":")).encode())

    async def _fetch_history(self, tickers: Iterable[str]) -> None:
        """Minute candles from the previous session's open to now; each answer is a journal record."""
        now_us = self._clock.now_ns() // 1000
        start_us = previous_session(trading_date(now_us)).regular_open_us
        for ticker in tickers:
            if not self.wants_history(ticker):
                continue
            try:
                answer = await self._rest.price_history(ticker, start_us // 1000, now_us // 1000)
            except TransientError as error:
                self._log.warning("history_failed", ticker=ticker, error=str(error))
                continue
            asked = json.dumps(
                {"path": answer.path, "params": answer.params, "status": answer.status}, separators=(",", ":")
            )
            self._journal.append(Kind.REST, 0, self._clock.now_ns(), asked.encode() + b"\n" + answer.body)
            self._journal.flush()

    async def refill_history(self) -> None:
        """Ask again for candles that a late start still waits for."""
        while not self._stopping.is_set():
            await self._pause(HISTORY_RETRY_S)
            if tickers := self.awaiting_history():
                await self._fetch_history(tickers)

    async def stop(self) -> None:
        """No more frames: the socket is closed, its end is journaled."""
        self._stopping.set()
        if self._stream is not None:
            await self._stream.logout()

    # ── upkeep of the journal ───────────────────────────────────────────────────────────────────────────────

    async def sync(self) -> None:
        """One group fsync, in a thread."""
        if self._journal.written_seq > self._journal.fsynced_seq:
            pending: Pending = self._journal.begin_sync()
            await asyncio.get_running_loop().run_in_executor(None, pending.fsync)
            self._journal.finish_sync(pending)

    async def sync_often(self) -> None:
        """Group fsync at the set interval; note steps of the wall clock; watch the disk."""
        checked = 0.0
        while not self._stopping.is_set():
            await self._pause(self._settings.journal_fsync_interval)
            if step := self._clock.step_ns():
                self._append(Kind.CLOCK, 0, {"event": "step", "step_ns": step})
                self._journal.flush()
                self._log.warning("clock_stepped", seconds=step / 1e9)
            self._journal.flush()  # a frame may wait for the rest of a read that never comes
            await self.sync()
            if time.monotonic() - checked > DISK_CHECK_S:
                checked = time.monotonic()
                self._watch_disk(self._journal.folder)

    def _watch_disk(self, folder: Path) -> None:
        left = free_mb(folder)
        if left < self._settings.disk_min_free_mb:
            raise FatalError(
                f"the disk is nearly full: {left:.0f} MB left, DISK_MIN_FREE_MB is {self._settings.disk_min_free_mb}",
                next_step=f"free space on the disk of {folder}, then start again: all that arrived until now is kept",
            )

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def derive_settings(settings: Settings) -> DeriveSettings:
    """The settings that shape rows."""
    return DeriveSettings(
        settings.tickers, settings.stream_hours, settings.stream_resolution, settings.skip_market_hours
    )


def trading_date(now_us: int) -> date:
    """The exchange's date; after 20:00 the next one, so that the day that ended counts as history."""
    local = datetime.fromtimestamp(now_us / 1e6, UTC).astimezone(EXCHANGE)
    return local.date() + timedelta(days=1) if local.hour >= 20 else local.date()
