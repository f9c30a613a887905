"""Which segments of a journal may go, and how long until its budget or the disk is full.

In:   the journal's folder, the checkpoints, the committed position.      Out:  fewer old segments, and what went.
Removed is only what is committed *and* lies before every checkpoint that a warm start may need, oldest first, never
the newest segment; and only beyond the budget or on a disk that is nearly full. Without a sound checkpoint nothing
goes: derivation would have to begin at the journal's start. A budget of 0 says: remove nothing, ever.
One checkpoint of each segment is kept on as its base, so that `rederive` can begin where the journal begins.
A kill between two removals leaves a journal that begins later, which is sound: readers begin at its first segment.
Called by the journal's one writer process, in any thread; the writer may go on meanwhile.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec

from alphakite.journal import checkpoint
from alphakite.journal.reader import first_seq, segments
from alphakite.journal.record import HEADER_BYTES, RECORD, RECORD_BYTES
from alphakite.journal.writer import Step

LOW_DISK_FACTOR = 1.5
"""Segments go before the free space falls to what stops the recorder (DISK_MIN_FREE_MB)."""
HOUR_NS, DAY_NS, WEEK_NS = 3_600_000_000_000, 86_400_000_000_000, 604_800_000_000_000


class Trimmed(msgspec.Struct, frozen=True):
    """What one round removed. `first_seq`: where the journal begins now, 0 if it is empty."""

    files: int
    bytes: int
    first_seq: int


class Retention:
    """Keeps one journal within its budget.

    Args:
        folder: the journal's.
        checkpoints: the folder of derivation's checkpoints.
        budget_bytes: JOURNAL_BUDGET_MB; 0: never remove.
        min_free_bytes: DISK_MIN_FREE_MB.
        on_step: called before and after each removal, for crash tests.
        free_bytes: what a folder's disk has left.
    """

    def __init__(
        self,
        folder: Path,
        checkpoints: Path,
        journal_id: uuid.UUID,
        *,
        budget_bytes: int,
        min_free_bytes: int,
        on_step: Step = lambda _step: None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._folder = folder
        self._checkpoints = checkpoints
        self._journal_id = journal_id
        self._budget = budget_bytes
        self._min_free = min_free_bytes
        self._step = on_step
        self._free = free_bytes

    def trim(self, committed_seq: int) -> Trimmed:
        """Remove what may go, as long as there is too much. Raises OSError when the folder refuses."""
        files = segments(self._folder)
        removed = freed = 0
        if self._budget and files:
            checkpoint.keep_base(self._checkpoints, first_seq(files[-1]))
        if self._budget and len(files) > 1 and self._too_much():
            limit = min(committed_seq, needed_seq(self._checkpoints, self._journal_id, committed_seq))
            for file, following in pairwise(files):
                if first_seq(following) - 1 >= limit or not self._too_much():
                    break
                freed += self._remove(file)
                removed += 1
            checkpoint.drop_bases(self._checkpoints, first_seq(files[removed]))
        return Trimmed(removed, freed, first_seq(files[removed]) if files else 0)

    def days_left(self, now_ns: int) -> float | None:
        """Days until the budget or the disk is full, at the growth of the last days; None while that is unknown.

        Args: now_ns: service time.
        """
        rate = bytes_per_day(self._folder, now_ns)
        if not rate:
            return None
        room = float(self._free(self._folder) - self._min_free)
        if self._budget:
            room = min(room, self._budget - size_bytes(self._folder))
        return max(0.0, room) / rate

    def _too_much(self) -> bool:
        low = self._free(self._folder) < self._min_free * LOW_DISK_FACTOR
        return low or size_bytes(self._folder) > self._budget

    def _remove(self, file: Path) -> int:
        """One segment and what was cut from it, for good before the next one: the oldest never outlives a newer."""
        self._step("before_trim")
        freed = 0
        for path in (*self._folder.glob(f"{file.stem}.torn-*"), file):
            freed += path.stat().st_size
            path.unlink()
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._step("after_trim")
        return freed


def needed_seq(checkpoints: Path, journal_id: uuid.UUID, committed_seq: int) -> int:
    """Up to where no warm start will read again: the oldest sound checkpoint's seq; 0 if there is none.

    All kept checkpoints count, not the newest only: it may turn out to be damaged.
    """
    try:
        found = checkpoint.load(checkpoints, journal_id, committed_seq)
    except FileNotFoundError:  # one was replaced meanwhile: next round
        return 0
    return min((seq for seq, _state in found), default=0)


def size_bytes(folder: Path) -> int:
    """What the journal takes on disk, bytes set aside included."""
    found = 0
    for path in folder.iterdir() if folder.is_dir() else []:
        try:
            found += path.stat().st_size
        except FileNotFoundError:
            continue
    return found


def bytes_per_day(folder: Path, now_ns: int) -> float | None:
    """Growth over the last week, the last day, or the hours there are; None for less than one hour.

    A whole week or day is taken where there is one, because nights and weekends are part of it.
    """
    spans = [(_first_ns(path), path.stat().st_size) for path in segments(folder)]
    known = [(start_ns, size) for start_ns, size in spans if 0 < start_ns <= now_ns]
    if not known or now_ns - known[0][0] < HOUR_NS:
        return None
    span_ns = now_ns - known[0][0]
    window_ns = next((length for length in (WEEK_NS, DAY_NS) if span_ns >= length), span_ns)
    begin_ns, total = now_ns - window_ns, 0.0
    for place, (start_ns, size) in enumerate(known):
        end_ns = known[place + 1][0] if place + 1 < len(known) else now_ns
        inside_ns = end_ns - max(start_ns, begin_ns)
        if inside_ns > 0:
            total += size * inside_ns / (end_ns - start_ns)
    return total * DAY_NS / window_ns


def first_ns(folder: Path) -> int:
    """The service time at which a journal begins, 0 if it has no record yet."""
    return next((_first_ns(path) for path in segments(folder)), 0)


def _first_ns(segment: Path) -> int:
    """The service time of a segment's first record, 0 if it has none or does not know it."""
    with segment.open("rb") as file:
        head = file.read(HEADER_BYTES + RECORD_BYTES)[HEADER_BYTES:]
    return int(RECORD.unpack(head)[3]) if len(head) == RECORD_BYTES else 0
