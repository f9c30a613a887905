"""One instrument: from its messages to its rows.

In:   images and updates of one ticker in ts_recv order, the loss of the connection, candles, the end of a second.
Out:  rows into `Rows`. State is bounded and is all that a checkpoint needs.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from alphakite.derive import hosted
from alphakite.derive.bars import MINUTE_US, SEEDED, TOUCHED, WINDOW, Bars
from alphakite.derive.book import REGULAR_TRADE_TIME, TRADE, VOLUME
from alphakite.derive.gaps import pieces
from alphakite.derive.indicators.sma9 import sma9
from alphakite.derive.indicators.vwap import Vwap
from alphakite.derive.moment import DeriveSettings, Moment
from alphakite.derive.rows import At, Gap, Rows
from alphakite.derive.tracked import Tracked
from alphakite.model import Candle, EquityRow, EquityUpdate, Flag, IndicatorRow
from alphakite.sessions import session_at

REGULAR = DeriveSettings(hours="regular")
POLLED = int(Flag.POLLED)


class Instrument(Tracked):
    """State of one ticker."""

    bars: Bars = msgspec.field(default_factory=Bars)
    vwap: Vwap = msgspec.field(default_factory=Vwap)
    priced_us: int = 0
    seed_from_us: int = 0
    seed_marks: int = SEEDED
    unseeded: bool = True
    candles: list[Candle] = msgspec.field(default_factory=list)
    with_sma9: bool = True
    with_vwap: bool = True
    hosts: list[hosted.Host] = msgspec.field(default_factory=list)
    earlier: list[Candle] = msgspec.field(default_factory=list)
    """Candles before `candles`, which only hosts look at."""

    def host(self, names: tuple[str, ...]) -> None:
        """The indicators that are wanted from now on; custom ones that are new begin with the bars to come."""
        self.with_sma9, self.with_vwap = "sma9" in names, "vwap" in names
        newest_us = self.bars.completed[-1].minute_us if self.bars.completed else -1
        self.hosts = hosted.hosts(names, self.hosts, newest_us)

    # ── messages ────────────────────────────────────────────────────────────────────────────────────────────

    def image(self, update: EquityUpdate, conn: int, at: At, now: Moment, settings: DeriveSettings, rows: Rows) -> None:
        """The first message of the key on a connection: the whole book anew, no row."""
        before = self.book.volume
        regular_before = self.book.regular_trade_time_ms
        self.book.clear()
        mask = self.book.merge(update)
        self.conn = conn
        gap, lost_from_us = self._arrive(at, now, settings, rows)
        late = gap.late
        spanned = self._spanned(before, now) if not late else 0
        self._note_price(mask, now)
        self._indicators_on_image(at, now, lost_from_us, late, spanned, regular_before)
        self._settle(gap, lost_from_us, at, now, settings, rows)
        if update.security_status is not UNSET:
            self._note_status(update.security_status, at, rows)
        self.try_seed()
        if self.hosts:
            hosted.complete(self.hosts, self.bars.completed)

    def update(self, update: EquityUpdate, at: At, now: Moment, rows: Rows, per_tick: int | None = None) -> None:
        """Changed fields. `per_tick`: the journal's number when every update makes a row, None for seconds."""
        book = self.book
        before = book.volume
        regular_before = book.regular_trade_time_ms
        mask = book.merge(update)
        change = self._take_volume(before, at, now, rows) if mask & VOLUME else 0
        if mask & TRADE:
            self._note_price(mask, now)
        if now.regular:
            if (change or mask & TRADE) and book.last is not None and self._traded_since(now.open_us):
                self._enter_regular(now)
                self.bars.trade(at.ts_us - at.ts_us % MINUTE_US, book.last, change)
                if change:
                    self.vwap.add(change, book.last)
        elif (
            now.cross
            and change
            and book.last is not None
            and mask & REGULAR_TRADE_TIME
            and (book.regular_trade_time_ms or 0) > (regular_before or 0)
        ):
            self._enter_regular(now)
            self.vwap.add(change, book.last)
        if update.security_status is not UNSET:
            self._note_status(update.security_status, at, rows)
        self.waiting += 1
        if per_tick is not None and now.recorded:
            self.waiting -= 1
            self._emit(at.ts_us, now, rows, per_tick, at)

    def _on_lost(self, last_us: int, gap: Gap, now: Moment) -> None:
        if now.open_us <= last_us < now.close_us:
            self._enter_regular(now)
            gap.flagged_before, self.vwap.gap = self.vwap.gap, True
            self.bars.roll(last_us - last_us % MINUTE_US)
            if (bar := self.bars.forming) is not None:
                gap.touched_before = bool(bar.marks & TOUCHED)
                bar.marks |= TOUCHED
            else:
                gap.hole_made = self.bars.hole()

    def _on_no_time_lost(self, gap: Gap) -> None:
        self.vwap.gap = self.vwap.gap and gap.flagged_before
        bar = self.bars.forming
        if not gap.touched_before and bar is not None:
            bar.marks &= ~TOUCHED
        if gap.hole_made:
            self.bars.unhole()

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────────

    def _emit(
        self, timestamp_us: int, now: Moment, rows: Rows, journal_no: int = 0, at: At | None = None, seq: int = 0
    ) -> bool:
        book = self.book
        known = self.priced_us == now.prices_us or now.prices_us == 0
        volume = self._traded()
        key = (journal_no, at.seq, at.item) if at is not None else (0, 0, 0)
        rows.equity.append(EquityRow(self.key, timestamp_us, book.last if known else None, volume, self.flags, *key))
        value_sma9: int | None = None
        value_vwap: int | None = None
        flags = 0
        if now.regular:
            self._enter_regular(now)
            if self.with_sma9:
                window = self.bars.window(now.second_us - now.second_us % MINUTE_US)
                value_sma9, flags = sma9(window, self.bars.hole_first)
            if self.with_vwap:
                value_vwap, vwap_flags = self.vwap.value()
                flags |= vwap_flags
        row = IndicatorRow(self.key, timestamp_us, value_sma9, value_vwap, flags, *key)
        rows.indicators.append(row)
        if self.hosts and now.regular:
            gap = self.vwap.gap or self.vwap.awaiting
            hosted.emit(self.hosts, self.bars, now, gap, row, at.seq if at is not None else seq, rows)
        if at is not None:
            self.flags = 0
        return True

    # ── indicators ──────────────────────────────────────────────────────────────────────────────────────────

    def _spanned(self, before: int | None, now: Moment) -> int:
        """What traded between the last message before a gap and the image after it."""
        volume = self.book.volume
        if volume is None:
            return 0
        if self.epoch_us != now.epoch_us:
            return volume
        return max(0, volume - before) if before is not None else 0

    def _note_price(self, mask: int, now: Moment) -> None:
        """Whether the last price is one of this session: an image carries yesterday's."""
        if now.prices_us and self.book.last is not None:
            traded_ms = self.book.trade_time_ms
            if traded_ms is None or traded_ms * 1000 >= now.prices_us:
                self.priced_us = now.prices_us

    def _traded_since(self, open_us: int) -> bool:
        traded_ms = self.book.trade_time_ms
        return traded_ms is None or traded_ms * 1000 >= open_us

    def _enter_regular(self, now: Moment) -> None:
        self.vwap.begin(now.open_us)

    def _indicators_on_image(
        self,
        at: At,
        now: Moment,
        lost_from_us: int,
        late: bool,
        spanned: int,
        regular_before: int | None,
    ) -> None:
        """What a gap that ends here means for bars and VWAP: touched minutes, holes, the spanned change."""
        minute_us = at.ts_us - at.ts_us % MINUTE_US
        last = self.book.last
        lost = at.ts_us > lost_from_us
        lost_regular = lost and lost_from_us < now.close_us and at.ts_us > now.open_us > 0
        from_us = lost_from_us - 1 if late else lost_from_us  # under regular hours a late start begins at the opening
        opening_lost = lost_regular and from_us < now.open_us < minute_us
        earlier_us = now.open_us or at.ts_us
        regular = pieces(lost_from_us, at.ts_us, REGULAR) if lost and not late else []
        if any(high_us <= earlier_us for _low_us, high_us in regular):
            self._reseed(late, at.ts_us)
        if now.open_us and at.ts_us >= now.open_us:
            self._enter_regular(now)
        if lost_regular:
            self.vwap.gap = self.vwap.gap or not (late and opening_lost)
            if opening_lost:
                self.vwap.restart()
                self.seed_from_us = at.ts_us
            elif self._countable(at, now, lost_from_us, spanned, regular_before) and last is not None:
                self.vwap.add(spanned, last)
            self._touch(at, now, max(lost_from_us, now.open_us), minute_us)

    def _countable(self, at: At, now: Moment, lost_from_us: int, spanned: int, regular_before: int | None) -> bool:
        if spanned == 0 or lost_from_us < now.open_us - MINUTE_US:
            return False
        if now.regular:
            return self._traded_since(now.open_us)
        return now.cross and (self.book.regular_trade_time_ms or 0) > (regular_before or 0)

    def _touch(self, at: At, now: Moment, start_us: int, minute_us: int) -> None:
        """Mark the regular minutes that the gap [start_us, image) overlaps."""
        first_us = start_us - start_us % MINUTE_US
        forming = self.bars.forming
        has_first = forming is not None and forming.minute_us == first_us
        if has_first and forming is not None:
            forming.marks |= TOUCHED
        inside = now.regular and at.ts_us > minute_us
        self.bars.roll(minute_us)
        last_us = self.book.last
        image_bar = inside and last_us is not None and self._traded_since(now.open_us)
        last_lost_us = min(at.ts_us - 1, now.close_us - 1)
        lost = (last_lost_us - last_lost_us % MINUTE_US - first_us) // MINUTE_US + 1
        with_bar = int(has_first) + int(image_bar and not (has_first and minute_us == first_us))
        if lost > with_bar:
            self.bars.hole()
        if image_bar and last_us is not None:
            self.bars.trade(minute_us, last_us, 0).marks |= TOUCHED

    def _reseed(self, late: bool, image_us: int) -> None:
        """Regular hours of another session, or the opening, were lost: the window is built again from candles."""
        if not late:
            self.bars.completed = []
            self.bars.forming = None
        self.unseeded = True
        self.covered_us = image_us
        self.seed_marks = SEEDED if late else SEEDED | TOUCHED

    @property
    def wants_candles(self) -> bool:
        """Whether price history is of use: the window is not full, or VWAP waits for its beginning."""
        return (self.unseeded and len(self.bars.completed) < WINDOW) or self.vwap.awaiting

    def take_candles(self, candles: list[Candle], open_us: int) -> None:
        """Price history has arrived; `open_us` is the regular open of the session it was asked in, 0 if none."""
        older = [c for c in candles if (c.minute_us < open_us or open_us == 0) and is_regular(c.minute_us)]
        older, self.earlier = older[-9:], older[:-9] if self.hosts else []
        self.candles = older + [candle for candle in candles if 0 < open_us <= candle.minute_us]
        self.try_seed()

    def try_seed(self) -> None:
        """Seed what awaits candles, once both the candles and the first own coverage are there."""
        if not self.candles or self.covered_us == 0:
            return
        before_us = self.covered_us - self.covered_us % MINUTE_US
        usable = [candle for candle in self.candles if candle.minute_us < before_us]
        if self.unseeded and usable:
            regular = [candle for candle in usable if is_regular(candle.minute_us)]
            if self.hosts:
                hosted.seed(self.hosts, [one for one in self.earlier if is_regular(one.minute_us)] + regular)
                self.earlier = []
            self.bars.seed(regular, self.seed_marks)
            self.unseeded = False
        if self.vwap.awaiting:
            until_us = self.seed_from_us - self.seed_from_us % MINUTE_US
            if (session := session_at(self.vwap.session_us)) is not None:
                until_us = min(until_us, session.regular_close_us + MINUTE_US)  # with the candle of the cross
            self.vwap.seed([c for c in self.candles if self.vwap.session_us <= c.minute_us < until_us])
        if not self.unseeded and not self.vwap.awaiting:
            self.candles = []


def is_regular(minute_us: int) -> bool:
    """Whether a minute lies in regular hours: the closing minute's candle holds the cross and is no bar."""
    session = session_at(minute_us)
    return session is not None and session.regular_open_us <= minute_us < session.regular_close_us
