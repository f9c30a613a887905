"""Upkeep of the journal: group fsync, steps of the wall clock, a disk that fills.

In:   the writer.      Out:  what was appended is durable at most an interval later.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from alphakite import log
from alphakite.clock import Clock
from alphakite.config import Settings
from alphakite.errors import FatalError
from alphakite.journal.record import Kind
from alphakite.journal.writer import JournalWriter, Pending, free_mb
from alphakite.recorder.ending import wait_within

DISK_CHECK_S = 5.0


class Upkeep:
    """Args:
    stopping: set when the service stops.
    on_synced: called when all that was written is safe.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        journal: JournalWriter,
        stopping: asyncio.Event,
        on_synced: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._stopping = stopping
        self._on_synced = on_synced
        self._log = log.get("journal")

    async def sync(self) -> None:
        """One group fsync, in a thread."""
        if self._journal.written_seq > self._journal.fsynced_seq:
            pending: Pending = self._journal.begin_sync()
            await asyncio.get_running_loop().run_in_executor(None, pending.fsync)
            self._journal.finish_sync(pending)
        self._on_synced()

    async def run(self) -> None:
        """Until the service stops."""
        checked = 0.0
        while not self._stopping.is_set():
            await wait_within(self._stopping, self._settings.journal_fsync_interval)
            self._note_step()
            self._journal.flush()  # a frame may wait for the rest of a read that never comes
            await self.sync()
            if time.monotonic() - checked > DISK_CHECK_S:
                checked = time.monotonic()
                self._watch_disk()

    def _note_step(self) -> None:
        if step := self._clock.step_ns():
            event = json.dumps({"event": "step", "step_ns": step}, separators=(",", ":")).encode()
            self._journal.append(Kind.CLOCK, 0, self._clock.now_ns(), event)
            self._log.warning("clock_stepped", seconds=step / 1e9)

    def _watch_disk(self) -> None:
        folder, least_mb = self._journal.folder, self._settings.disk_min_free_mb
        left = free_mb(folder)
        if left < least_mb:
            raise FatalError(
                f"the disk is nearly full: {left:.0f} MB left, DISK_MIN_FREE_MB is {least_mb}",
                next_step=f"free space on the disk of {folder}, then start again: all that arrived until now is kept",
            )
