"""One key of the stream: its cumulative volume and its gaps, whatever its rows look like.

In:   images and updates of one key in ts_recv order, the loss of the connection, the end of a second.
Out:  gap rows and quality events into `Rows`; what a row's second traded.

Cumulative volume is attributed exactly once: each change goes to the row of a complete second or to one gap. `base` is
the cumulative volume at the end of what was attributed last.
"""

from __future__ import annotations

import msgspec

from alphakite.derive.book import Book
from alphakite.derive.gaps import LATE_START, UNSUBSCRIBED, closed_rows, open_row, pieces
from alphakite.derive.moment import SECOND_US, DeriveSettings, Moment
from alphakite.derive.rows import At, Counts, Gap, Rows
from alphakite.model import Flag, GapRow, QualityEvent

GAP, VOLUME_FELL, NO_VOLUME_BASE = int(Flag.GAP), int(Flag.VOLUME_FELL), int(Flag.NO_VOLUME_BASE)
"""Plain integers: an IntFlag's arithmetic costs more than the rest of a row. OptionFlag has the same bits."""
NORMAL = "Normal"


class Tracked(msgspec.Struct):
    """What every key has.

    `conn`: the connection whose image the book stands on, 0 = none; negative while its quotes come from asking and
    the stream has not sent the key on that connection. `status`: the newest security status, None before the first.
    `retired_in_us`: the session in which it was no longer wanted.
    """

    key: str
    conn: int = 0
    book: Book = msgspec.field(default_factory=Book)
    second_us: int = -1
    waiting: int = 0
    flags: int = 0
    base: int | None = None
    base_alone: bool = False
    epoch_us: int = 0
    status: str | None = None
    retired_in_us: int = 0
    gap: Gap | None = None
    gap_end_us: int = 0
    covered_us: int = 0

    # ── what each kind adds ─────────────────────────────────────────────────────────────────────────────────

    def _emit(
        self, timestamp_us: int, now: Moment, rows: Rows, journal_no: int = 0, at: At | None = None, seq: int = 0
    ) -> bool:
        """The row of a second (`seq`: the newest record), or of one update; whether there is one."""
        raise NotImplementedError

    def _on_lost(self, last_us: int, gap: Gap, now: Moment) -> None:
        """A gap begins."""

    def _on_no_time_lost(self, gap: Gap) -> None:
        """The gap that began has no length."""

    def _on_unrecorded(self) -> None:
        """A second with updates is over whose rows are not stored."""

    # ── the life of a key ───────────────────────────────────────────────────────────────────────────────────

    def expect(self, ts_us: int, now: Moment, rows: Rows | None, reason: str = "") -> None:
        """The key is wanted at this time: if its first image is still to come, the session's start is missed."""
        if self.gap is None and self.covered_us == 0 and 0 < now.session_us < ts_us:
            self.gap = Gap(now.session_us, reason or LATE_START, late=True)
            if rows is not None:
                rows.gaps.append(GapRow(self.key, now.session_us, None, self.gap.reason, None))

    def retire(self, ts_us: int, last_us: int, now: Moment, settings: DeriveSettings, rows: Rows) -> None:
        """The key is not wanted any more. `last_us`: the connection's last journaled record, `ts_us`: now.

        What comes after `last_us` is a gap only if the key is wanted again. The second of `last_us` is not whole.
        """
        self.retired_in_us = now.session_us
        if self.conn:
            self._forget(last_us, UNSUBSCRIBED, rows, now)
        elif (gap := self.gap) is not None:
            rows.gaps += closed_rows(self.key, gap.start_us, ts_us, gap.reason, settings)
            self.gap = Gap(ts_us, UNSUBSCRIBED, late=gap.late, lost_us=gap.lost_us or gap.start_us)

    def wanted_again(self, now: Moment, settings: DeriveSettings, rows: Rows) -> bool:
        """Go on after `retire`. False: it stands for nothing any more, take a new one."""
        same = settings.skip_market_hours or self.retired_in_us == now.session_us > 0
        if self.covered_us == 0 or self.gap is None or not same:
            return False
        rows.gaps += open_row(self.key, self.gap.start_us, self.gap.reason, settings)
        return True

    def explain(self, reason: str, settings: DeriveSettings, rows: Rows) -> None:
        """Why the open gap still lasts."""
        if (gap := self.gap) is not None and gap.end_us is None and gap.reason != reason:
            gap.reason = reason
            rows.gaps += open_row(self.key, gap.start_us, reason, settings)

    def lose(self, last_us: int, reason: str, settings: DeriveSettings, rows: Rows, now: Moment) -> None:
        """The connection is gone; `last_us` is the time of its last journaled record."""
        if self.conn:
            self._forget(last_us, reason, rows, now)
            rows.gaps += open_row(self.key, last_us, reason, settings)

    def finish(self, now: Moment, rows: Rows, counts: Counts, seq: int = 0) -> None:
        """The second of `now` is over: its row, and the volume of a gap that ended in it. `seq`: the newest record."""
        inside = self.gap_end_us > now.second_us
        if self.gap is not None:
            if self.gap.end_us is not None:
                self._resolve(rows)
                self.gap = None
            else:
                inside = True
        if self.waiting:
            if now.recorded:
                if inside:
                    self.flags |= GAP
                stored = self._emit(now.second_us, now, rows, seq=seq)
                counts.stored += stored
                counts.conflated += self.waiting - stored
            else:
                counts.outside += self.waiting
                if not inside:
                    self.base = self.book.volume
                self._on_unrecorded()
            self.waiting = 0
        self.flags = 0

    # ── an image ────────────────────────────────────────────────────────────────────────────────────────────

    def _arrive(self, at: At, now: Moment, settings: DeriveSettings, rows: Rows) -> tuple[Gap, int]:
        """The book is an image's: the gap that ends with it, and since when nothing was known."""
        self.expect(at.ts_us, now, rows=None)
        gap = self.gap or Gap(at.ts_us, "")
        lost_from_us = gap.lost_us or gap.start_us
        if self.gap is not None and lost_from_us == at.ts_us:
            self._no_time_lost(gap, settings, rows)
        self._base_on_image(at, now, gap.late, rows)
        return gap, lost_from_us

    def _settle(self, gap: Gap, lost_from_us: int, at: At, now: Moment, settings: DeriveSettings, rows: Rows) -> None:
        """What the image means is known: the gap before it ends."""
        self.gap = None
        self.gap_end_us = at.ts_us if at.ts_us > lost_from_us else self.gap_end_us
        start_us = gap.start_us
        if start_us == at.ts_us != lost_from_us:  # its earlier part has a row of its own, which takes the volume
            rows.gaps += closed_rows(self.key, start_us, start_us, gap.reason, settings)
            start_us = lost_from_us
        self._close_gap(start_us, at.ts_us, gap.reason, settings, rows)
        if lost_from_us == at.ts_us and gap.before is not None and self.base is not None:
            self.gap, self.base = gap.before, gap.base_before
        self.epoch_us = now.epoch_us
        self.covered_us = self.covered_us or at.ts_us

    # ── cumulative volume ───────────────────────────────────────────────────────────────────────────────────

    def _traded(self) -> int | None:
        """What the row's second traded; None inside a gap, and where there is nothing to count from."""
        volume: int | None = None
        if self.flags & GAP == 0:
            if self.base is None or self.base_alone:
                self.flags |= NO_VOLUME_BASE
            elif self.book.volume is not None:
                volume = self.book.volume - self.base
            self.base = self.book.volume
        return volume

    def _take_volume(self, before: int | None, at: At, now: Moment, rows: Rows) -> int:
        """The change of the cumulative volume; never negative. Rebases at the reset time and after a fall."""
        volume = self.book.volume
        assert volume is not None
        if self.epoch_us != now.epoch_us:
            self.epoch_us = now.epoch_us
            self.base, self.base_alone = 0, False
            return volume
        if before is None:
            self.base, self.base_alone = volume, True
            return 0
        self.base_alone = False
        if volume < before:
            carried = before - (self.base if self.base is not None else before)
            self.base = volume - carried
            self.flags |= VOLUME_FELL
            self._fell(before, volume, at, rows)
            return 0
        return volume - before

    def _base_on_image(self, at: At, now: Moment, late: bool, rows: Rows) -> None:
        """What the cumulative volume of an image is counted from: the gap before it gets the difference."""
        volume = self.book.volume
        if volume is None or (late and not self._since_reset(at, now)):
            self.base = None
        elif late or (self.base is not None and self.epoch_us != now.epoch_us):
            self.base = 0
        elif self.base is not None and volume < self.base:
            self._fell(self.base, volume, at, rows)
            self.base = None
        self.base_alone = False

    @staticmethod
    def _since_reset(at: At, now: Moment) -> bool:
        """Whether the cumulative volume counts from this session's reset, and all of it lies in recorded hours."""
        return at.ts_us >= now.reset_us > now.session_us

    def _note_status(self, status: str | None, at: At, rows: Rows) -> None:
        """A change is an event. The first one known is none, unless it is unusual."""
        if status is None:
            return
        if status != (self.status or NORMAL):
            detail = f"{self.status or 'unknown'} -> {status:.40}"
            rows.events.append(QualityEvent(self.key, at.ts_us, "status", detail, at.seq, at.item))
        self.status = status[:40]

    def _fell(self, before: int, volume: int, at: At, rows: Rows) -> None:
        detail = f"cumulative volume fell from {before} to {volume}"
        rows.events.append(QualityEvent(self.key, at.ts_us, "volume_fell", detail, at.seq, at.item))

    # ── gaps ────────────────────────────────────────────────────────────────────────────────────────────────

    def _forget(self, last_us: int, reason: str, rows: Rows, now: Moment) -> None:
        """From here on nothing is known of it, until its next image."""
        self.conn = 0
        before, base = self.gap, self.base
        if before is not None:  # closed within this very second, its volume still unknown
            self._resolve(rows)
        self.gap = Gap(last_us, reason, before=before, base_before=base)
        self._on_lost(last_us, self.gap, now)

    def _close_gap(self, start_us: int, end_us: int, reason: str, settings: DeriveSettings, rows: Rows) -> None:
        found = pieces(start_us, end_us, settings)
        if not found or found[-1][1] != end_us:
            rows.gaps += [GapRow(self.key, low, high, reason, None) for low, high in found]
            if start_us != end_us or self.base is None:
                self.base = self.book.volume
            return
        rows.gaps += [GapRow(self.key, low, high, reason, None) for low, high in found[:-1]]
        self.gap = Gap(found[-1][0], reason, end_us)
        if end_us % SECOND_US == 0 or settings.resolution == "tick":
            self._resolve(rows)
            self.gap = None

    def _no_time_lost(self, gap: Gap, settings: DeriveSettings, rows: Rows) -> None:
        """The image came at the very time of the last record: the gap has no length, and nothing is flagged for it."""
        if pieces(gap.start_us, gap.start_us + 1, settings):
            rows.gaps.append(GapRow(self.key, gap.start_us, gap.start_us, gap.reason, 0))
        self._on_no_time_lost(gap)

    def _resolve(self, rows: Rows) -> None:
        """The first complete second after the gap begins: what traded unseen is known now."""
        gap = self.gap
        assert gap is not None
        volume = self.book.volume
        unseen = volume - self.base if volume is not None and self.base is not None else None
        rows.gaps.append(GapRow(self.key, gap.start_us, gap.end_us, gap.reason, unseen))
        self.base = volume
