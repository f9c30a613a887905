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

from alphakite.errors import UsageError
from alphakite.model import Candle
from alphakite.sessions import EXCHANGE, Session, next_session, previous_session, session_on
from alphakite.simulator.days import PlayedDay, each_day, switched
from alphakite.simulator.options import DEFAULT_SYMBOL, SimulatorOptions, symbol_of
from alphakite.simulator.switches import parse_switches
from alphakite.simulator.synthetic import is_index, synthetic_tape
from alphakite.simulator.tape import SymbolTape, read_bars, read_quotes, read_trades


@dataclass(frozen=True, slots=True)
class Programme:
    """Times in epoch ms. `phase_ms`: a conflation window ends at each whole second plus this; 0 in aligned mode.

    `sessions` empty: the one `session`. `switches`: as chosen; empty means the defaults.
    """

    session: Session
    start_ms: int
    end_ms: int
    phase_ms: int
    tapes: dict[str, SymbolTape]
    seed: int = 1
    sessions: tuple[Session, ...] = ()
    switches: Mapping[str, str] = field(default_factory=dict)

    def days(self) -> Iterator[PlayedDay]:
        """The sessions played, in order; each is made when it is asked for."""
        sessions = self.sessions or (self.session,)
        return each_day(sessions, self.start_ms, self.end_ms, self.tapes, self.seed, self.switches)


def make_programme(options: SimulatorOptions) -> Programme:
    """Read or make the tapes.

    Raises: UsageError: a tape that cannot be played, a date without a session, a time outside the session.
    """
    switches = parse_switches(options.switches)
    if options.tapes and options.days > 1:
        raise UsageError(
            "--days: a tape is one session", next_step="leave out --tape to play several synthetic sessions"
        )
    if options.tapes:
        tapes, own_date = _read_tapes(options)
        session = _session(options.session or own_date)
        for tape in tapes.values():
            _redate(tape, session)
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
    return Programme(session, start_ms, end_ms, phase_ms, tapes, options.seed, tuple(sessions), switches)


def _read_tapes(options: SimulatorOptions) -> tuple[dict[str, SymbolTape], date]:
    tapes: dict[str, SymbolTape] = {}
    played: set[tuple[str, str]] = set()
    own_date: date | None = None
    for file in options.tapes:
        symbol = symbol_of(file, options.symbols)
        tape = tapes.setdefault(symbol, SymbolTape(symbol))
        if file.kind == "bars":
            tape.history += read_bars(file.path)
            continue
        if (symbol, file.kind) in played:
            raise UsageError(f"--tape {file.kind}=: twice for {symbol}", next_step="give one file, or name the symbol")
        played.add((symbol, file.kind))
        if file.kind == "trades":
            tape.prints = read_trades(file.path)
            own = _only_date(tape.prints.times_ms, str(file.path))
        else:
            tape.quotes = read_quotes(file.path)
            own = _only_date(tape.quotes.times_ms, str(file.path))
        own_date = own_date or own
    for symbol in (*options.symbols, *tapes):
        if not {(symbol, "trades"), (symbol, "quotes")} & played:
            raise UsageError(f"{symbol}: nothing to play", next_step=f"add --tape trades={symbol}:FILE")
    assert own_date is not None
    return tapes, own_date


def _only_date(times_ms: array[int], name: str) -> date:
    if not times_ms:
        raise UsageError(f"{name}: an empty tape", next_step="give a file with at least one line of data")
    first, last = _exchange_date(times_ms[0] * 1000), _exchange_date(times_ms[-1] * 1000)
    if first != last:
        raise UsageError(f"{name}: holds {first} to {last}", next_step="a tape is one session: cut it by date")
    return first


def _redate(tape: SymbolTape, session: Session) -> None:
    """Move a tape to the session, exchange wall time kept."""
    columns = [column for column in (tape.prints.times_ms, tape.quotes.times_ms if tape.quotes else None) if column]
    own: Session | None = None
    for column in columns:
        own = _session(_exchange_date(column[0] * 1000))
        shift_ms = (session.extended_open_us - own.extended_open_us) // 1000
        if shift_ms:
            column[:] = array("q", [time_ms + shift_ms for time_ms in column])
    assert own is not None
    tape.history = _redate_history(tape, own, session)


def _redate_history(tape: SymbolTape, own: Session, session: Session) -> list[Candle]:
    days: dict[date, list[Candle]] = {}
    for candle in sorted(tape.history, key=lambda candle: candle.minute_us):
        days.setdefault(_exchange_date(candle.minute_us), []).append(candle)
    moved: list[Candle] = []
    target = session
    for day in sorted(days, reverse=True):
        if day >= own.date:
            raise UsageError(
                f"{tape.symbol}: bars= of {day}, the played date or later: not yet played",
                next_step="give bars= of earlier sessions only; the played date comes from trades=",
            )
        home = _session(day)
        target = previous_session(target.date) if own.date != session.date else home
        shift_us = target.extended_open_us - home.extended_open_us
        moved += [Candle(c.minute_us + shift_us, c.open, c.high, c.low, c.close, c.volume) for c in days[day]]
    moved.sort(key=lambda candle: candle.minute_us)
    return _unique(moved)


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
