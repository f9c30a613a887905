"""Records → rows, for all instruments: the one derivation that live, catch-up, replay and `rederive` share.

In:   the journal's records in order of seq, decoded by the feed.      Out:  Rows, emptied by `take`.
Time moves by `ts_recv` of records alone: a second ends when a later record shows that it is over. While a connection
is up only its frames move time, so that no second is closed that a gap may still reach into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from alphakite.derive.gaps import JOURNAL_FAULT, PROCESS_DOWN
from alphakite.derive.instrument import POLLED, Instrument
from alphakite.derive.moment import SECOND_US, DeriveSettings, Moment, moment
from alphakite.derive.options import Options, OptionState, Spot
from alphakite.derive.rows import At, Counts, Rows
from alphakite.model import Candle, ChainContract, EquityUpdate, FollowingRow, OptionUpdate

STATE_VERSION = 5
"""Goes up with every change of state or of a definition: an older checkpoint is then derived anew."""


SPOT_AGE_US = 60 * SECOND_US
"""An underlying of which nothing has come for longer is too old to stand for now."""


class Polled(msgspec.Struct):
    """Quotes that were asked for while the stream was quiet: they count when its next frame shows that it is alive."""

    seq: int
    ts_us: int
    updates: list[EquityUpdate]


class State(msgspec.Struct):
    """All that derivation remembers; a checkpoint is its bytes."""

    version: int = STATE_VERSION
    seq: int = 0
    settings: DeriveSettings = DeriveSettings()
    now: Moment = msgspec.field(default_factory=Moment)
    conn: int = 0
    last_us: int = 0
    journal_no: int = 0
    instruments: dict[str, Instrument] = {}
    retired: dict[str, Instrument] = {}
    """Tickers that were removed; kept for the case that they come back within the session."""
    pending: list[str] = []
    polled: list[Polled] = []
    why: str = ""
    """Why there is none while no connection is up, as last explained."""
    counts: Counts = msgspec.field(default_factory=Counts)
    frames: int = 0
    rejected: int = 0
    options: OptionState = msgspec.field(default_factory=OptionState)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


class Engine:
    """Derives one journal. Feed it each record once, in order, by the method of its kind, then `done(seq)`.

    Args:
        journal_no: the journal's number in the database, part of the key of rows under STREAM_RESOLUTION=tick.
    """

    def __init__(self, journal_no: int = 0, state: State | None = None) -> None:
        self.state = state or State(journal_no=journal_no)
        self.rows = Rows()
        self.options = Options(self.state.options, self.state.journal_no, self._spot)

    # ── records ─────────────────────────────────────────────────────────────────────────────────────────────

    def configure(self, ts_us: int, settings: DeriveSettings) -> None:
        """A CONFIG record: the settings from here on. Tickers come and go with it."""
        state = self.state
        state.settings = settings
        state.now = moment(state.now.second_us, settings) if state.now.second_us >= 0 else Moment()
        self.options.configure(settings)
        self._quiet(ts_us)
        for ticker in [ticker for ticker in state.instruments if ticker not in settings.tickers]:
            state.retired[ticker] = gone = state.instruments.pop(ticker)
            gone.retire(ts_us, state.last_us, state.now, settings, self.rows)
            for polled in state.polled:
                kept = [update for update in polled.updates if update.key != ticker]
                self._outside(len(polled.updates) - len(kept))
                polled.updates = kept
        for ticker in settings.tickers:
            if ticker not in state.instruments:
                state.instruments[ticker] = self._wanted(ticker)
            state.instruments[ticker].host(settings.indicators)
            state.instruments[ticker].expect(ts_us, state.now, self.rows, "" if state.conn else state.why)

    def want_options(self, ts_us: int, wanted: Mapping[str, Iterable[str]]) -> None:
        """A CONFIG record: the option contracts that are wanted from here on, by ticker."""
        state = self.state
        self._quiet(ts_us)
        self.options.begin(state.now.second_us)
        self.options.want(ts_us, wanted, state.conn, state.last_us, state.why, self.rows)

    def define_options(self, ts_us: int, ticker: str, contracts: Iterable[ChainContract]) -> None:
        """A REST record of a chain."""
        if not self.state.conn:
            self._quiet(ts_us)
        self.options.define(ts_us, ticker, contracts, self.rows)

    def note_following(self, changes: Iterable[FollowingRow]) -> None:
        """A CONFIG record of what has changed in what is watched."""
        self.rows.following.extend(changes)

    def _wanted(self, ticker: str) -> Instrument:
        """What stands for a ticker from now on: what it was if it was removed in this session, else a new one."""
        state = self.state
        gone = state.retired.pop(ticker, None)
        if gone is not None:
            if gone.wanted_again(state.now, state.settings, self.rows):
                return gone
            gone.finish(state.now, self.rows, state.counts, state.seq)
        return Instrument(ticker)

    def connecting(self, ts_us: int) -> None:
        """A CONNECTION record that begins one: what is missing until now is missing for the reason that is known."""
        self._quiet(ts_us)
        if not self.state.conn:
            for instrument in self.state.instruments.values():
                instrument.expect(ts_us, self.state.now, self.rows, self.state.why)
            self.options.expect(ts_us, self.state.why, self.rows)

    def explain(self, ts_us: int, reason: str) -> None:
        """A CONNECTION record that says why there is none: every open gap takes that reason."""
        self._quiet(ts_us)
        state = self.state
        if state.conn:
            return
        state.why = reason
        for instrument in state.instruments.values():
            instrument.expect(ts_us, state.now, self.rows, reason)
            instrument.explain(reason, state.settings, self.rows)
        self.options.expect(ts_us, reason, self.rows)
        self.options.explain(reason, self.rows)

    def lost(self, ts_us: int, reason: str) -> None:
        """A CONNECTION record that ends a connection, or a PROCESS record that shows that one was cut off."""
        state = self.state
        if state.conn:
            for instrument in state.instruments.values():
                instrument.lose(state.last_us, reason, state.settings, self.rows, state.now)
            self.options.lose(state.last_us, reason, self.rows)
            state.conn = 0
            for polled in state.polled:
                self._outside(len(polled.updates))
            state.polled, state.why = [], ""
        self._quiet(ts_us)

    def started(self, ts_us: int) -> None:
        """A PROCESS record: a recorder begins to write; whatever connection was open died with the one before."""
        self.lost(ts_us, PROCESS_DOWN)
        self.state.why = ""

    def damaged(self, ts_us: int) -> None:
        """Records are missing from the journal itself: what they held is a gap."""
        if self.state.conn:
            conn = self.state.conn
            self.lost(ts_us, JOURNAL_FAULT)
            self.state.conn = conn

    def frame(
        self,
        seq: int,
        ts_us: int,
        conn: int,
        updates: list[EquityUpdate],
        rejected: int,
        options: list[OptionUpdate] | None = None,
    ) -> None:
        """A FRAME record of a connection, with the changed fields that the feed found in it."""
        state = self.state
        state.frames += 1
        state.rejected += rejected
        state.conn, state.last_us = conn, ts_us
        if ts_us - state.now.second_us >= SECOND_US or state.now.second_us < 0:
            self._advance(ts_us)
        if options:
            self.options.frame(seq, ts_us, conn, options, self.rows)
        if not updates:
            return
        now, counts, rows = state.now, state.counts, self.rows
        per_tick = state.journal_no if state.settings.resolution == "tick" else None
        counts.updates += len(updates)
        for item, update in enumerate(updates):
            instrument = state.instruments.get(update.key)
            if instrument is None:
                if update.key in state.retired or state.settings.tickers:
                    counts.outside += 1  # nobody asked for it
                    continue
                instrument = state.instruments[update.key] = Instrument(update.key)
                instrument.host(state.settings.indicators)
            if instrument.second_us != now.second_us:
                instrument.second_us = now.second_us
                state.pending.append(update.key)
            at = At(ts_us, seq, item)
            if instrument.conn != conn and not self._streams(instrument, conn):
                instrument.image(update, conn, at, now, state.settings, rows)
                counts.images += 1
            else:
                instrument.update(update, at, now, rows, per_tick)
                if per_tick is not None and now.recorded:
                    counts.stored += 1

    def polled(self, seq: int, ts_us: int, updates: list[EquityUpdate], rejected: int = 0) -> None:
        """A REST record of quotes. They count while a connection is up, and only its frames move time."""
        state = self.state
        state.rejected += rejected
        if not state.conn:
            self._quiet(ts_us)
            self._outside(len(updates))
        elif ts_us - state.now.second_us >= SECOND_US:
            wanted = [update for update in updates if update.key in state.instruments]
            self._outside(len(updates) - len(wanted))
            state.polled.append(Polled(seq, ts_us, wanted))
        else:
            self._take_polled(Polled(seq, ts_us, updates))

    def history(self, ts_us: int, ticker: str, candles: list[Candle]) -> None:
        """A REST record of price history: minute candles, oldest first."""
        if not self.state.conn:
            self._quiet(ts_us)
        if (instrument := self.state.instruments.get(ticker)) is not None:
            instrument.take_candles(candles, moment(ts_us, self.state.settings).open_us if ts_us else 0)

    def done(self, seq: int) -> None:
        """The record is derived."""
        self.state.seq = seq

    # ── results ─────────────────────────────────────────────────────────────────────────────────────────────

    def take(self) -> Rows:
        """The rows made since the last call."""
        rows, self.rows = self.rows, Rows()
        return rows

    @property
    def waiting(self) -> int:
        """Updates of the second that is not over."""
        return sum(self._pending(ticker).waiting for ticker in self.state.pending) + self.options.waiting

    def awaiting_history(self) -> list[str]:
        """Tickers whose VWAP cannot be told without candles."""
        return [ticker for ticker, instrument in self.state.instruments.items() if instrument.vwap.awaiting]

    def open_gaps(self) -> list[str]:
        """Keys without an image on the present connection, while rows of them should be coming; tickers first."""
        if not self.state.now.recorded:
            return self.options.open_gaps()
        found = [t for t, i in self.state.instruments.items() if i.gap is not None and i.gap.end_us is None]
        return found + self.options.open_gaps()

    @property
    def counts(self) -> Counts:
        """The terms of the conservation sum, of all keys."""
        each = zip(*map(msgspec.structs.astuple, (self.state.counts, self.state.options.counts)), strict=True)
        return Counts(*map(sum, each))

    def snapshot(self) -> bytes:
        """The state as bytes; `restore` makes an engine that goes on exactly from here."""
        return _encoder.encode(self.state)

    @classmethod
    def restore(cls, snapshot: bytes) -> Engine | None:
        """None if the bytes are not a state of this version. A custom indicator that has changed since begins anew."""
        try:
            state = _decoder.decode(snapshot)
        except msgspec.DecodeError:
            return None
        if state.version != STATE_VERSION:
            return None
        for instrument in (*state.instruments.values(), *state.retired.values()):
            instrument.host(state.settings.indicators)
        return cls(state=state)

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────

    def _quiet(self, ts_us: int) -> None:
        """Time passes without a connection."""
        if not self.state.conn and ts_us - self.state.now.second_us >= SECOND_US and ts_us > 0:
            self._advance(ts_us)

    def _advance(self, ts_us: int) -> None:
        """Finish the seconds before this time."""
        state = self.state
        if state.polled:
            found, state.polled = state.polled, []
            for polled in found:
                if polled.ts_us - state.now.second_us >= SECOND_US:
                    self._advance(polled.ts_us)
                self._take_polled(polled)
            if ts_us - state.now.second_us < SECOND_US:
                return
        for ticker in state.pending:
            self._pending(ticker).finish(state.now, self.rows, state.counts, state.seq)
        state.pending.clear()
        second_us = ts_us - ts_us % SECOND_US
        self.options.advance(second_us, state.seq, self.rows)
        state.now = moment(second_us, state.settings)

    def _spot(self, ticker: str, at_us: int) -> Spot:
        """The underlying's last price, for the options that no pair of quotes gives a forward."""
        instrument = self.state.instruments.get(ticker)
        if instrument is None or instrument.book.last is None:
            return Spot()
        book = instrument.book
        newest_us = 1000 * max(book.quote_time_ms or 0, book.trade_time_ms or 0)
        return Spot(book.last, newest_us < at_us - SPOT_AGE_US)

    def _pending(self, ticker: str) -> Instrument:
        """One with updates in this second; it may have been removed since."""
        return self.state.instruments.get(ticker) or self.state.retired[ticker]

    # ── quotes that were asked for ──────────────────────────────────────────────────────────────────────────

    @staticmethod
    def _streams(instrument: Instrument, conn: int) -> bool:
        """The stream has sent the key for the first time: whether what was asked for stands for its image."""
        if instrument.conn != -conn:
            return False
        instrument.conn = conn
        instrument.flags &= ~POLLED
        return True

    def _take_polled(self, polled: Polled) -> None:
        """Images and updates, as if streamed, within the present second. One of a ticker that streams must be newer."""
        state, now, rows, counts = self.state, self.state.now, self.rows, self.state.counts
        per_tick = state.journal_no if state.settings.resolution == "tick" else None
        for item, update in enumerate(polled.updates):
            instrument = state.instruments.get(update.key)
            if instrument is None or (instrument.conn == state.conn and not instrument.book.is_older(update)):
                self._outside(1)
                continue
            counts.updates += 1
            if instrument.second_us != now.second_us:
                instrument.second_us = now.second_us
                state.pending.append(update.key)
            at = At(polled.ts_us, polled.seq, item)
            if abs(instrument.conn) != state.conn:
                instrument.image(update, -state.conn, at, now, state.settings, rows)
                counts.images += 1
                continue
            instrument.conn = -state.conn
            instrument.flags |= POLLED
            instrument.update(update, at, now, rows, per_tick)
            if per_tick is not None and now.recorded:
                counts.stored += 1

    def _outside(self, updates: int) -> None:
        """They make nothing."""
        self.state.counts.updates += updates
        self.state.counts.outside += updates
