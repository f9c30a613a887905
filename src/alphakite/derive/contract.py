"""One option contract: from its messages to its rows.

In:   images and updates of one contract in ts_recv order, the end of a second.      Out:  rows into `Rows`.
A row is made for a second in which a stored column changed. Its quality flags and model values depend on the whole
chain at the second's end, so `_emit` leaves a Draft, and options.py makes the row of it.
"""

from __future__ import annotations

from datetime import date

import msgspec
from msgspec import UNSET

from alphakite.derive.book import VOLUME
from alphakite.derive.moment import DeriveSettings, Moment
from alphakite.derive.option_book import OptionBook, Stored
from alphakite.derive.rows import At, Rows
from alphakite.derive.tracked import Tracked
from alphakite.model import ModelValues, OptionRow, OptionUpdate
from alphakite.symbols import parse_option


class Draft(msgspec.Struct):
    """A row that is still to be judged."""

    timestamp_us: int
    volume: int | None
    flags: int
    stored: Stored
    journal_no: int = 0
    seq: int = 0
    item: int = 0


class Contract(Tracked):
    """State of one contract; `key` is its symbol. `settlement`: A at the opening, P at the close, "" not known.

    `last_stored`: the columns of the newest row, or image. `valued_us`: when model values were last computed, 0 never.
    `place`: its index in its chain. From `diverging_us` on: what quality.py remembers of the vendor.
    """

    ticker: str = ""
    root: str = ""
    right: str = "C"
    strike: int = 0
    expiry: date = date.min
    settlement: str = ""
    book: OptionBook = msgspec.field(default_factory=OptionBook)
    last_stored: Stored = ()
    draft: Draft | None = None
    place: int = -1
    valued_us: int = 0
    diverging_us: int = 0
    diverged: bool = False
    vendor_moved_us: int = 0
    vendor_iv: int | None = None
    vendor_delta: int | None = None
    mid_then: int = 0
    vendor_told: bool = False

    @classmethod
    def named(cls, symbol: str, ticker: str, settlement: str) -> Contract | None:
        """A contract that is what its symbol says; None if that is none."""
        said = parse_option(symbol)
        if said is None:
            return None
        return cls(
            symbol,
            ticker=ticker,
            root=said.root,
            right=said.right,
            strike=said.strike,
            expiry=said.expiry,
            settlement=settlement,
        )

    @property
    def symbol(self) -> str:
        """Schwab's 21 characters."""
        return self.key

    @property
    def halted(self) -> bool:
        """Whether the feed says so."""
        return self.status == "Halted"

    def image(
        self,
        update: OptionUpdate,
        conn: int,
        at: At,
        now: Moment,
        settings: DeriveSettings,
        journal_no: int,
        rows: Rows,
    ) -> None:
        """The first message of the contract on a connection: the whole book anew, no row but one of option_images."""
        self.book.forget()
        self.book.take(update)
        self.conn = conn
        gap, lost_from_us = self._arrive(at, now, settings, rows)
        self._settle(gap, lost_from_us, at, now, settings, rows)
        if update.security_status is not UNSET:
            self._note_status(update.security_status, at, rows)
        if not self.last_stored or at.ts_us > lost_from_us:  # else nothing was lost, and its second goes on
            self.last_stored = self.book.stored()
        rows.images.append(self.seen(at.ts_us, journal_no, at.seq, at.item))

    def update(self, update: OptionUpdate, at: At, now: Moment, rows: Rows, per_tick: int | None = None) -> None:
        """Changed fields. `per_tick`: the journal's number when every update makes a row, None for seconds."""
        before = self.book.volume
        if self.book.take(update) & VOLUME:
            self._take_volume(before, at, now, rows)
        if update.security_status is not UNSET:
            self._note_status(update.security_status, at, rows)
        self.waiting += 1
        if per_tick is not None and now.recorded:
            self._emit(at.ts_us, now, rows, per_tick, at)

    def seen(self, ts_us: int, journal_no: int, seq: int, item: int) -> OptionRow:
        """What is known of it, as a row of option_images."""
        return self.row(Draft(ts_us, None, 0, self.book.stored(), journal_no, seq, item), 0, None)

    def row(self, draft: Draft, judged: int, model: ModelValues | None) -> OptionRow:
        """The row that a draft becomes. Args: judged: flags that the chain's other contracts give reason for."""
        bid, ask, last, bid_size, ask_size, day_volume, interest, iv, delta, gamma, theta, vega, rho = draft.stored
        return OptionRow(
            self.ticker, draft.timestamp_us, self.key, self.right, self.strike, self.expiry, bid, ask, last, bid_size,
            ask_size, draft.volume, day_volume, interest, iv, delta, gamma, theta, vega, rho,
            draft.flags | self.book.absent | judged, model, draft.journal_no, draft.seq, draft.item,
        )  # fmt: skip

    def _emit(
        self, timestamp_us: int, now: Moment, rows: Rows, journal_no: int = 0, at: At | None = None, seq: int = 0
    ) -> bool:
        """Leave a draft, if a stored column has changed; whether there is one."""
        volume = self._traded()
        stored = self.book.stored()
        changed = stored != self.last_stored
        if changed:
            key = (journal_no, at.seq, at.item) if at is not None else (0, 0, 0)
            self.draft = Draft(timestamp_us, volume, self.flags, stored, *key)
            self.last_stored = stored
        if at is not None:
            self.flags = 0
        return changed

    def _on_unrecorded(self) -> None:
        self.last_stored = self.book.stored()

    @staticmethod
    def _since_reset(at: At, now: Moment) -> bool:
        """The reset comes before the recorded hours: what an image after it has counts from there."""
        return at.ts_us >= now.reset_us > 0
