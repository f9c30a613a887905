"""The programme of a simulation: which symbols are played, as which session, from when to when.

In:   SimulatorOptions.      Out:  Programme: tapes re-dated to the session played, exchange wall time kept.
Re-dating moves the played date by the distance of the extended opens; the days of `bars=` go, newest first, to the
sessions before the one played. The conflation phase is part of it, so that the truth knows it too.
Of several days `session`, `start_ms` and `tapes` are the first one's, `end_ms` is the last one's; `days()` gives all.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

from alphakite.errors import ConfigError, UsageError
from alphakite.model import Candle
from alphakite.sessions import EXCHANGE, Session, next_session, previous_session, session_on
from alphakite.simulator.days import PlayedDay, each_day, switched
from alphakite.simulator.option_tape import OptionTape, redated
from alphakite.simulator.options import DEFAULT_SYMBOL, SimulatorOptions
from alphakite.simulator.played_tapes import read_tapes
from alphakite.simulator.switches import parse_switches
from alphakite.simulator.synthetic import is_index, synthetic_tape
from alphakite.simulator.tape import SymbolTape


@dataclass(frozen=True, slots=True)
class Programme:
    """Times in epoch ms. `phase_ms`: a conflation window ends at each whole second plus this; 0 in aligned mode.

    `sessions` empty: the one `session`. `switches`: as chosen; empty means the defaults. `options`: the tapes of real
    options, by underlying.
    """

    session: Session
    start_ms: int
    end_ms: int
    phase_ms: int
    tapes: dict[str, SymbolTape]
    seed: int = 1
    sessions: tuple[Session, ...] = ()
    switches: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, OptionTape] = field(default_factory=dict)

    def window_of(self, time_ms: int) -> int:
        """Where the conflation window that holds this moment ends."""
        return min((time_ms - self.phase_ms) // 1000 * 1000 + 1000 + self.phase_ms, self.end_ms)

    def days(self) -> Iterator[PlayedDay]:
        """The sessions played, in order; each is made when it is asked for."""
        sessions = self.sessions or (self.session,)
        return each_day(sessions, self.start_ms, self.end_ms, self.tapes, self.seed, self.switches, self.options)


def make_programme(options: SimulatorOptions) -> Programme:
    """Read or make the tapes.

    Raises: UsageError: a tape that cannot be played, a date without a session, a time outside the session.
    """
    switches = parse_switches(options.switches)
    chains: dict[str, OptionTape] = {}
    if options.tapes and options.days > 1:
        raise UsageError(
            "--days: a tape is one session", next_step="leave out --tape to play several synthetic sessions"
        )
    if options.tapes:
        played = read_tapes(options)
        assert played.date is not None
        tapes, session = played.tapes, _session(options.session or played.date)
        own = {symbol: _session(day) for symbol, day in played.own.items()}
        for symbol, tape in tapes.items():
            _redate(tape, own[symbol], session)
        chains = {symbol: _redate_options(tape, own[symbol], session) for symbol, tape in played.options.items()}
    else:
        session = _session(options.session) if options.session else _latest_session()
        symbols = options.symbols or (DEFAULT_SYMBOL,)
        tapes = {symbol: synthetic_tape(symbol, session, options.seed) for symbol in symbols}
    for symbol in filter(is_index, tapes):
        tapes[symbol].quotes = None
    sessions = [session]
    while len(sessions) < options.days:
        sessions.append(next_session(sessions[-1].date))
    tapes = {symbol: switched(tape, session, switches) for symbol, tape in tapes.items()}
    open_ms, close_ms = session.extended_open_us // 1000, sessions[-1].extended_close_us // 1000
    start_ms = _moment(session, options.start) if options.start else open_ms
    end_ms = _moment(sessions[-1], options.end) if options.end else close_ms
    if not (
        open_ms <= start_ms < session.extended_close_us // 1000
        and sessions[-1].extended_open_us // 1000 < end_ms <= close_ms
        and start_ms < end_ms
    ):
        raise UsageError(
            "--start and --end: not within the session, or not in this order",
            next_step="use exchange times from 04:00 to 20:00, as in --start 10:15",
        )
    phase_ms = random.Random(f"{options.seed}:phase").randrange(1, 1000) if options.align == "random" else 0
    return Programme(session, start_ms, end_ms, phase_ms, tapes, options.seed, tuple(sessions), switches, chains)


def _redate(tape: SymbolTape, own: Session, session: Session) -> None:
    """Move a tape to the session, exchange wall time kept."""
    shift_ms = _shift_ms(own, session)
    for column in (tape.prints.times_ms, tape.quotes.times_ms if tape.quotes else None):
        if column and shift_ms:
            column[:] = array("q", [time_ms + shift_ms for time_ms in column])
    if tape.bars is not None:
        tape.bars = [_moved(bar, shift_ms * 1000) for bar in tape.bars]
    tape.history = _redate_history(tape, own, session)


def _redate_options(tape: OptionTape, own: Session, session: Session) -> OptionTape:
    """Expiries keep their distance in sessions: what expired on its own day does so on the new one."""
    if own.date == session.date:
        return tape

    def moved(expiry: date) -> date:
        day, target = own.date, session.date
        try:
            while (day := next_session(day).date) <= expiry:
                target = next_session(target).date
        except ConfigError as error:
            raise UsageError(
                f"--session {session.date}: no place for the expiry {expiry}: {error}",
                next_step="play options on an earlier date, or on their own",
            ) from None
        return target

    return redated(tape, _shift_ms(own, session), moved)


def _shift_ms(own: Session, session: Session) -> int:
    return (session.extended_open_us - own.extended_open_us) // 1000


def _redate_history(tape: SymbolTape, own: Session, session: Session) -> list[Candle]:
    days: dict[date, list[Candle]] = {}
    for candle in sorted(tape.history, key=lambda candle: candle.minute_us):
        days.setdefault(_exchange_date(candle.minute_us), []).append(candle)
    moved: list[Candle] = []
    target = session
    for day in sorted(days, reverse=True):
        if day >= own.date:
            raise UsageError(
                f"{tape.symbol}: bars= of {day}, the played date or later, beside finer tapes of it",
                next_step="give bars= of earlier sessions only; the played date comes from trades= or quotes=",
            )
        home = _session(day)
        target = previous_session(target.date) if own.date != session.date else home
        shift_us = target.extended_open_us - home.extended_open_us
        moved += [_moved(candle, shift_us) for candle in days[day]]
    moved.sort(key=lambda candle: candle.minute_us)
    return _unique(moved)


def _moved(candle: Candle, shift_us: int) -> Candle:
    minute_us = candle.minute_us + shift_us
    return Candle(minute_us, candle.open, candle.high, candle.low, candle.close, candle.volume)


def _unique(candles: Iterable[Candle]) -> list[Candle]:
    """One candle a minute: of two files that hold the same day the first wins."""
    unique: dict[int, Candle] = {}
    for candle in candles:
        unique.setdefault(candle.minute_us, candle)
    return list(unique.values())


def _exchange_date(time_us: int) -> date:
    return datetime.fromtimestamp(time_us // 1_000_000, EXCHANGE).date()


def _session(day: date) -> Session:
    session = session_on(day)
    if session is None:
        raise UsageError(f"{day}: no session of the exchange", next_step="choose a trading day with --session")
    return session


def _latest_session() -> Session:
    today = datetime.now(UTC).astimezone(EXCHANGE).date()
    return session_on(today) or previous_session(today)


def _moment(session: Session, wall: time) -> int:
    return int(datetime.combine(session.date, wall, EXCHANGE).timestamp()) * 1000
