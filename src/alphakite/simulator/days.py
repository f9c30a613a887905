"""The sessions of a simulation one after the other; each day is made when it begins.

A later day is synthetic, goes on from the earlier close, and has the days before as history (at most HISTORY_SESSIONS).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from alphakite.model import Candle
from alphakite.sessions import Session, exchange_date
from alphakite.simulator.option_tape import OptionTape
from alphakite.simulator.synthetic import is_index, last_cents, synthetic_day
from alphakite.simulator.tape import Prints, Quotes, SymbolTape
from alphakite.simulator.wire import is_charted

HISTORY_SESSIONS = 12
FIRST_TICK_US = 3 * 3_600_000_000
"""With the switch first-tick=07:00, equities are silent for so long after the extended open."""


@dataclass(frozen=True, slots=True)
class PlayedDay:
    """One session: nothing happens before `start_ms` or at and after `end_ms` (epoch ms). `options`: by underlying."""

    session: Session
    start_ms: int
    end_ms: int
    tapes: dict[str, SymbolTape]
    options: Mapping[str, OptionTape] = field(default_factory=dict)


def charted(symbol: str, candles: list[Candle]) -> list[Candle]:
    """The minutes that price history knows; those of an index have no volume."""
    return [candle for candle in candles if is_charted(candle) or (is_index(symbol) and candle.volume == 0)]


def following_day(tape: SymbolTape, session: Session, seed: int, switches: Mapping[str, str]) -> SymbolTape:
    """The tape of the session after the one that `tape` was."""
    history = tape.history + charted(tape.symbol, tape.minutes())
    begins = [0] + [place for place, (a, b) in enumerate(pairwise(history), 1) if _day(a) != _day(b)]
    history = history[begins[-HISTORY_SESSIONS] if len(begins) > HISTORY_SESSIONS else 0 :]
    return switched(synthetic_day(tape.symbol, session, seed, last_cents(tape), history), session, switches)


def switched(tape: SymbolTape, session: Session, switches: Mapping[str, str]) -> SymbolTape:
    """A tape as the switches want it: with first-tick=07:00 without what comes before."""
    if switches.get("first-tick") != "07:00":
        return tape
    first_ms = (session.extended_open_us + FIRST_TICK_US) // 1000
    prints, old = Prints(), tape.prints
    for line in zip(old.times_ms, old.prices, old.sizes, old.closing, strict=True):
        if line[0] >= first_ms:
            prints.add(line[0], line[1], line[2], bool(line[3]))
    quotes, whole = Quotes(), tape.quotes
    if whole is not None:
        for row in zip(whole.times_ms, whole.bids, whole.bid_sizes, whole.asks, whole.ask_sizes, strict=True):
            if row[0] >= first_ms:
                quotes.add(*row)
    tape.prints, tape.quotes = prints, quotes if whole is not None else None
    if tape.bars is not None:
        tape.bars = [bar for bar in tape.bars if bar.minute_us >= first_ms * 1000]
    return tape


def each_day(
    sessions: tuple[Session, ...],
    start_ms: int,
    end_ms: int,
    tapes: dict[str, SymbolTape],
    seed: int,
    switches: Mapping[str, str],
    options: Mapping[str, OptionTape],
) -> Iterator[PlayedDay]:
    """The days in order; `tapes` and `options` are the first one's, start and end those of the whole."""
    for number, session in enumerate(sessions):
        if number:
            tapes = {symbol: following_day(tape, session, seed, switches) for symbol, tape in tapes.items()}
        begin_ms = session.extended_open_us // 1000 if number else start_ms
        over_ms = end_ms if number == len(sessions) - 1 else session.extended_close_us // 1000
        yield PlayedDay(session, begin_ms, over_ms, tapes, {} if number else options)


def _day(candle: Candle) -> object:
    return exchange_date(candle.minute_us)
