"""Drain: journal → tables. It reads the journal itself, live as after a crash.

In:   the journal from the warm position on.      Out:  what lies past the committed position, rows and position in one
transaction. The only queue before it is the journal on disk, so memory is bounded however long the database is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from alphakite import log
from alphakite.clock import Clock
from alphakite.config import Settings
from alphakite.derive.engine import Engine
from alphakite.errors import FatalError, TransientError, UnavailableError
from alphakite.journal import checkpoint
from alphakite.journal.reader import JournalReader, first_seq, segments
from alphakite.journal.record import Record
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import Status, service_status
from alphakite.model import Batch, Metrics
from alphakite.recorder.backoff import Backoff
from alphakite.recorder.deriver import Deriver
from alphakite.recorder.ending import wait_within
from alphakite.recorder.progress import Progress
from alphakite.sessions import exchange_date, session_on
from alphakite.store.size import Removed, Size

EMPTY_COMMIT_S = 10.0
"""Without rows the committed position moves this often."""
SLICE_S = 0.02
"""Derivation gives the loop back to capture after this long."""
GATHER_S = 0.05
"""Once caught up, let records gather: wake-ups cost more than records."""
PUBLISH_INTERVAL_S = 0.25
STATS_INTERVAL_S = 300.0
MEASURE_LOOK_S = 0.5
"""How soon a change of the state's word is told to streaming_metrics."""
FULL_METRICS_S = 600.0
"""A database that is full is told no more than that it is, now and then."""
TELL_INTERVAL_S = 10.0
"""While the tables are behind, the log says this often how far."""
SHORT_LOSS_US = 600_000_000
"""After a shorter absence price history adds nothing to what derivation has."""


class Sink(Protocol):
    """Where rows go; see store/postgres.py and store/rest.py."""

    journal_no: int

    async def open(self, journal_id: str) -> int: ...
    async def write(self, batch: Batch) -> int: ...
    async def write_metrics(self, metrics: Metrics) -> None: ...
    async def refresh_stats(self) -> None: ...
    async def size(self) -> Size: ...
    async def remove(
        self, tables: tuple[str, ...], low_us: int, high_us: int, reason: str, archive: str | None = None
    ) -> Removed: ...
    async def close(self) -> None: ...


class Drain:
    """One recorder's database side.

    Args:
        sync: makes the journal durable; awaited before a commit that needs it.
        on_step: the crash tests' hook.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        journal: JournalWriter,
        sink: Sink,
        status: Status,
        sync: Callable[[], Awaitable[None]],
        on_step: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._sink = sink
        self.status = status
        self._sync = sync
        self._step = on_step
        self._log = log.get("drain")
        self._written = asyncio.Event()
        self._capture_ended = self._opened = False
        self._checkpoint_at = self._published_at = 0.0
        self._deriver: Deriver | None = None
        self.observe: Callable[[Record], None] = lambda _record: None
        """Called with each record after it is derived."""
        self.progressed: Callable[[], None] = lambda: None
        """Called after each slice of records: prices may have moved."""
        self.admit: Callable[[], Awaitable[None]] = _always
        """Awaited before rows are written: raises UnavailableError while none may be."""
        self.wrote: Callable[[int], None] = lambda _rows: None
        """Called with the number of rows written."""
        self.checkpoints = settings.data_dir / "checkpoints"
        self._foreseen = self._newest_checkpoint(journal.written_seq)
        self.committed_seq = 0
        self.committed_us = 0
        """Service time of the newest record that this process has committed; 0: none yet."""
        self._progress = Progress()
        self._told_at = 0.0
        journal.on_written = self._written.set

    async def run(self) -> None:
        """Derive and commit until stopped and caught up."""
        self.committed_seq = await self._persist(lambda: self._sink.open(str(self._journal.journal_id)))
        if self.committed_seq > self._journal.written_seq:
            raise FatalError(
                f"the database is ahead of the journal: {self.committed_seq} > {self._journal.written_seq}",
                next_step="the journal folder is an older copy: move it away and start with an empty one;"
                " nothing in the database is touched",
            )
        self.status.committed = self.committed_seq
        self._opened = True
        deriver = self._warm()
        self._publish(deriver)
        self._deriver = deriver
        engine = deriver.engine
        reader = JournalReader(self._journal.folder, engine.state.seq)
        self._log.info("deriving", warm=engine.state.seq, committed=self.committed_seq)
        commit: asyncio.Task[None] | None = None
        cut_seq = max(self.committed_seq, engine.state.seq)
        cut_at = self._checkpoint_at = time.monotonic()
        while True:
            self._written.clear()
            records = reader.read(self._journal.written_seq)
            slice_ends = time.monotonic() + SLICE_S
            for record in records:
                deriver.apply(record)
                self.observe(record)
                if record.seq <= self.committed_seq:
                    engine.take()
                    cut_seq = self.committed_seq
                elif len(engine.rows) >= self._settings.batch_size:
                    commit = await self._cut(commit, cut_seq, record.ts_ns)
                    cut_seq, cut_at = record.seq, time.monotonic()
                if time.monotonic() >= slice_ends:
                    self.progressed()
                    self._publish_sometimes(deriver)
                    await asyncio.sleep(0)
                    slice_ends = time.monotonic() + SLICE_S
            self.progressed()
            now = time.monotonic()
            caught_up = engine.state.seq >= self._journal.written_seq
            stopping = self._capture_ended
            pending = engine.state.seq > cut_seq
            due = now - cut_at >= (self._settings.batch_interval if len(engine.rows) else EMPTY_COMMIT_S)
            if pending and (due or (stopping and caught_up)):
                commit = await self._cut(commit, cut_seq, engine.state.last_us * 1000)
                cut_seq, cut_at = engine.state.seq, now
            self._publish_sometimes(deriver)
            if stopping and caught_up and engine.state.seq == cut_seq:
                break
            if not records:
                await wait_within(self._written, min(self._settings.batch_interval, 0.25))
                if not self._capture_ended:
                    await asyncio.sleep(min(self._settings.batch_interval, GATHER_S))
        if commit is not None:
            await commit
        self._publish(deriver)

    def _warm(self) -> Deriver:
        """The newest sound checkpoint not past the committed position, or the journal's beginning."""
        engine = self._newest_checkpoint(self.committed_seq)
        if engine is None or engine.state.journal_no != self._sink.journal_no:
            engine = Engine(self._sink.journal_no)
        return Deriver(engine)

    def _newest_checkpoint(self, upto_seq: int) -> Engine | None:
        for _seq, state in checkpoint.load(self.checkpoints, self._journal.journal_id, upto_seq):
            if (engine := Engine.restore(state)) is not None:
                return engine
        return None

    async def _cut(self, running: asyncio.Task[None] | None, after_seq: int, ts_ns: int) -> asyncio.Task[None]:
        """Take the derived rows as a batch and commit it while derivation goes on; one batch in flight."""
        if running is not None:
            await running
        assert self._deriver is not None
        engine = self._deriver.engine
        rows = engine.take()
        batch = Batch(
            str(self._journal.journal_id),
            after_seq,
            engine.state.seq,
            ts_ns // 1000,
            rows.equity,
            rows.indicators,
            rows.gaps,
            rows.events,
            rows.values,
            rows.options,
            rows.images,
            rows.contracts,
            rows.following,
        )
        snapshot: bytes | None = None
        if time.monotonic() - self._checkpoint_at >= self._settings.checkpoint_interval:
            snapshot = engine.snapshot()
            self._checkpoint_at = time.monotonic()
        return asyncio.create_task(self._commit(batch, snapshot))

    async def _commit(self, batch: Batch, snapshot: bytes | None) -> None:
        """Only what survives a power cut may be committed; then rows and position, and the checkpoint behind them."""
        while self._journal.fsynced_seq < batch.last_seq:
            await self._sync()
        self.status.duplicates += await self._persist(lambda: self._write(batch))
        self.wrote(len(batch))
        self.committed_seq, self.committed_us = batch.last_seq, batch.last_ts_us
        self.status.committed = batch.last_seq
        self.status.rows_committed += len(batch)
        self.status.commits += 1
        if snapshot is not None:
            checkpoint.save(self.checkpoints, self._journal.journal_id, batch.last_seq, snapshot, self._step)
            if self._settings.journal_budget_mb:
                begins = [first_seq(path) for path in segments(self._journal.folder)]
                within = max((seq for seq in begins if seq <= batch.last_seq + 1), default=1)
                checkpoint.keep_base(self.checkpoints, within)

    async def _write(self, batch: Batch) -> int:
        await self.admit()
        return await self._sink.write(batch)

    async def _persist(self, action: Callable[[], Awaitable[int]]) -> int:
        """Retry while the database is away, the journal is the queue; at the start only if it is away for now."""
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                result = await action()
            except UnavailableError as error:
                if not self._opened and not isinstance(error, TransientError):
                    raise
                word = getattr(error, "state", "away")
                if word != self.status.database_state:
                    self._log.warning("database_away", state=word, error=str(error), next_step=error.next_step)
                    self.status.database_since_us = time.time_ns() // 1000
                self.status.database_error, self.status.database_state = str(error), word
                if self._capture_ended and backoff.failures >= 8:
                    raise
                await asyncio.sleep(backoff.next_s())
                continue
            if backoff.failures:
                self._log.info("database_back", failures=backoff.failures)
                self.status.database_error = self.status.database_state = ""
                self.status.database_since_us = 0
            return result

    def wants_history(self, ticker: str) -> bool:
        """Whether derivation can use candles of this ticker; before it runs, the newest checkpoint knows."""
        engine = self._deriver.engine if self._deriver is not None else self._foreseen
        instrument = engine.state.instruments.get(ticker) if engine is not None else None
        if engine is None or instrument is None or instrument.wants_candles:
            return True
        now_us, last_us = self._clock.now_ns() // 1000, engine.state.last_us
        session = session_on(exchange_date(now_us))
        over_opening = session is not None and last_us < session.regular_open_us <= now_us
        return over_opening or now_us - last_us > SHORT_LOSS_US

    def awaiting_history(self) -> list[str]:
        """Tickers whose values wait for candles."""
        return self._deriver.engine.awaiting_history() if self._deriver is not None else []

    def silent_tickers(self) -> list[str]:
        """Tickers that the present connection has not brought; empty without one."""
        state = self._deriver.engine.state if self._deriver is not None else None
        if state is None or not state.conn:
            return []
        return [ticker for ticker in state.settings.tickers if state.instruments[ticker].conn != state.conn]

    def price_of(self, ticker: str) -> int | None:
        """The last price × PRICE_SCALE that derivation knows, None if none."""
        instrument = self._deriver.engine.state.instruments.get(ticker) if self._deriver is not None else None
        return instrument.book.last if instrument is not None else None

    def capture_ended(self) -> None:
        """Nothing more will be appended: finish what is there, then end."""
        self._capture_ended = True
        self._written.set()

    async def measure(self) -> None:
        """streaming_metrics: at once, when the state's word changes, and at the set interval."""
        written_at, said = -float("inf"), ""
        while True:
            caught_up = self._deriver is not None and self._deriver.engine.state.seq >= self.committed_seq
            full = self.status.database_state == "full"
            due = time.monotonic() - written_at >= max(self._settings.metrics_interval, FULL_METRICS_S if full else 0.0)
            if caught_up and self.committed_seq and (due or service_status(self.status) != said):
                written_at, said = time.monotonic(), service_status(self.status)
                with contextlib.suppress(UnavailableError):
                    await self.write_metrics()
            await asyncio.sleep(min(MEASURE_LOOK_S, self._settings.metrics_interval))

    async def keep_stats(self) -> None:
        """The daily statistics: once there are rows, every five minutes, and at the session's end."""
        refreshed_at, over = -STATS_INTERVAL_S, False
        while True:
            await asyncio.sleep(0.5)
            due = time.monotonic() - refreshed_at >= STATS_INTERVAL_S or self.status.session_over > over
            if due and self.status.rows_committed and not self.status.database_state:
                refreshed_at, over = time.monotonic(), self.status.session_over
                with contextlib.suppress(UnavailableError):
                    await self.refresh_stats()

    async def refresh_stats(self) -> None:
        """The daily statistics, now."""
        await self._sink.refresh_stats()

    async def write_metrics(self) -> None:
        """One streaming_metrics row of the present values."""
        if self._deriver is not None:
            self._publish(self._deriver)
        status = self.status
        details = {
            name: getattr(status, name)
            for name in (
                "appended",
                "fsynced",
                "committed",
                "updates",
                "stored",
                "conflated",
                "images",
                "outside",
                "waiting",
                "conn",
            )
        }
        details |= {
            "database_bytes": status.room.bytes,
            "database_limit_bytes": status.room.limit_bytes,
            "database_state": status.database_state or status.room.state,
            "database_full_on": status.room.full_on or None,
            "behind_seconds": round(status.catch_up.behind_s, 1) if status.catch_up is not None else 0,
        }
        await self._sink.write_metrics(Metrics(None, status.frames, status.rejected, service_status(status), details))

    def _session_over(self, now_us: int) -> bool:
        """Whether this exchange day has a session and its recorded hours are over."""
        session = session_on(exchange_date(now_us)) if now_us else None
        if session is None:
            return False
        regular = self._settings.stream_hours == "regular"
        return now_us >= (session.regular_close_us if regular else session.extended_close_us)

    def _publish_sometimes(self, deriver: Deriver) -> None:
        """Counting walks every instrument: four times a second are enough."""
        if time.monotonic() - self._published_at >= PUBLISH_INTERVAL_S:
            self._publish(deriver)

    def publish_journal(self) -> None:
        """How far the journal is, and the tables behind it; also while the database is away and nothing is derived."""
        status, journal, now_us = self.status, self._journal, self._clock.now_ns() // 1000
        status.appended, status.written, status.fsynced = journal.appended_seq, journal.written_seq, journal.fsynced_seq
        if not self._opened:
            return
        found = self._progress.note(journal.appended_seq, self.committed_seq, self.committed_us, now_us)
        ended, status.catch_up = status.catch_up is not None and found is None, found
        if ended or (found is not None and time.monotonic() - self._told_at >= TELL_INTERVAL_S):
            self._told_at = time.monotonic()
            if found is None:
                self._log.info("caught_up", committed=self.committed_seq)
            elif not status.database_state:
                left_s = round(found.left_s) if found.left_s is not None else None
                self._log.info(
                    "catching_up", records=found.records, behind_s=round(found.behind_s), left_s=left_s,
                    records_per_s=round(found.records_per_s or 0),
                )  # fmt: skip

    def _publish(self, deriver: Deriver) -> None:
        status, state = self.status, deriver.engine.state
        self._published_at = time.monotonic()
        counts = deriver.engine.counts
        self.publish_journal()
        status.derived, status.committed = state.seq, self.committed_seq
        status.frames, status.rejected = state.frames, state.rejected
        status.rejected_frames = deriver.tally.rejected_frames
        status.decoded = state.frames - status.rejected_frames
        status.updates, status.stored, status.conflated = counts.updates, counts.stored, counts.conflated
        status.images, status.outside, status.waiting = counts.images, counts.outside, deriver.engine.waiting
        options = state.options
        status.option_contracts, status.option_rows = len(options.contracts), options.rows
        status.option_updates, status.option_quality = options.counts.updates, dict(options.quality)
        status.last_frame_us, status.now_us = state.last_us, self._clock.now_ns() // 1000
        status.open_gaps, status.last_rejection = deriver.engine.open_gaps(), deriver.tally.last
        status.session_over = self._session_over(status.now_us)


async def _always() -> None:
    """Rows may be written."""
