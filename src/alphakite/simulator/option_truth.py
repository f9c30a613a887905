"""The truth of options: the rows of option_prices that a recorder that watched from the programme's start must store.

In:   a Programme, and which contracts.      Out:  OptionSecond values by option_symbol, then timestamp; made as asked.
A row for each second in which a stored column changed: bid, ask, sizes, last, cumulative volume, open interest, IV or
a greek. What is known at the start is the image, and makes no row; nor does the reset at 03:30. A contract first
watched later has the same rows from then on. Of tapes computed from their lines, by code that shares nothing with what
plays them; of the model from its own book at each second's end. Schwab's sentinels are None. `last` is as sent: the
model has yesterday's until the day's first trade, a tape None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.days import PlayedDay
from alphakite.simulator.option_book import OptionBook
from alphakite.simulator.option_state import spots_of
from alphakite.simulator.option_tape import ContractTape, Moment
from alphakite.simulator.programme import Programme

LAST, VOLUME, INTEREST, IV = range(4, 8)
Stored = tuple[int | None, ...]
"""bid, ask, bid_size, ask_size, last, day_volume, open_interest, IV and five greeks."""


class OptionSecond(NamedTuple):
    """A row of option_prices. Prices and greeks × 1e-8, implied_volatility a fraction × 1e-10, sizes in contracts."""

    option_symbol: str
    timestamp_s: int
    bid: int | None
    ask: int | None
    bid_size: int | None
    ask_size: int | None
    last: int | None
    volume: int
    day_volume: int
    open_interest: int | None
    implied_volatility: int | None
    delta: int | None
    gamma: int | None
    theta: int | None
    vega: int | None
    rho: int | None


def option_seconds(programme: Programme, contracts: Iterable[str] = ()) -> Iterator[OptionSecond]:
    """Rows of every contract whose symbol is one of `contracts` or begins with it.

    Without `contracts`: all of the tapes, and of the model's those that expire on a date played.
    """
    begins = tuple(contracts)
    days = list(programme.days())
    dates = {day.session.date for day in days}
    taped = {
        symbol: (day, one) for day in days for tape in day.options.values() for symbol, one in tape.contracts.items()
    }
    books = [_book(programme, day) for day in days]
    found: dict[str, tuple[Contract, int]] = {}
    for number, (day, book) in enumerate(zip(days, books, strict=True)):
        for underlying in day.tapes.keys() - days[0].options.keys():
            for contract in book.chain(underlying):
                if contract.symbol.startswith(begins) if begins else contract.expiry in dates:
                    found.setdefault(contract.symbol, (contract, number))
    wanted = {symbol for symbol in taped if not begins or symbol.startswith(begins)}
    for symbol in sorted(wanted | found.keys()):
        if symbol in taped:
            day, tape = taped[symbol]
            yield from _rows(symbol, _of_tape(programme, day, tape))
            continue
        contract, first = found[symbol]
        for day, book in zip(days[first:], books[first:], strict=True):
            if day.session.date <= contract.expiry:
                yield from _rows(symbol, _of_model(programme, day, book, contract))


def _book(programme: Programme, day: PlayedDay) -> OptionBook:
    spots = {symbol: spots_of(tape) for symbol, tape in day.tapes.items()}
    return OptionBook(programme.seed, day.session, spots)


def _rows(symbol: str, states: Iterable[tuple[int, Stored]]) -> Iterator[OptionSecond]:
    """The first state is the image; then each that differs from the one before."""
    for (_, before), (stamp_ms, after) in pairwise(states):
        if before != after:
            bid, ask, bid_size, ask_size, last, volume, *rest = after
            total, already = volume or 0, before[VOLUME] or 0
            yield OptionSecond(
                symbol, stamp_ms // 1000, bid, ask, bid_size, ask_size, last, total - already, total, *rest
            )


# ── tapes ───────────────────────────────────────────────────────────────────────────────────────────────────


def _of_tape(programme: Programme, day: PlayedDay, tape: ContractTape) -> Iterator[tuple[int, Stored]]:
    state: list[int | None] = [None] * 13
    state[VOLUME], state[INTEREST] = 0, tape.open_interest
    moments = [moment for moment in tape.moments if moment.time_ms < day.end_ms]
    later = [moment for moment in moments if moment.time_ms >= day.start_ms]
    for moment in moments[: len(moments) - len(later)]:
        _take(state, moment)
    yield day.start_ms, tuple(state)
    for place, moment in enumerate(later):
        _take(state, moment)
        end_ms = programme.window_of(moment.time_ms)
        if place + 1 == len(later) or programme.window_of(later[place + 1].time_ms) != end_ms:
            yield end_ms - 1, tuple(state)


def _take(state: list[int | None], moment: Moment) -> None:
    if moment.quoted is not None:
        quoted = moment.quoted
        state[:LAST] = quoted.bid, quoted.ask, quoted.bid_size, quoted.ask_size
    if moment.bar is not None:
        state[LAST], state[VOLUME] = moment.bar.close, (state[VOLUME] or 0) + moment.bar.volume
    if moment.modelled is not None:
        answer = moment.modelled.answer
        state[IV:] = [None] * 6 if answer is None else [_eighths(value) for value in answer]


# ── the model ───────────────────────────────────────────────────────────────────────────────────────────────


def _of_model(
    programme: Programme, day: PlayedDay, book: OptionBook, contract: Contract
) -> Iterator[tuple[int, Stored]]:
    position_ms = day.start_ms
    while True:
        quote, _, until_ms = book.quoted(contract, position_ms)
        yield position_ms - 1, _stored(quote)
        if until_ms >= day.end_ms:
            return
        # What moves next does so at `until_ms`, and is known when the window that holds it is over.
        position_ms = programme.window_of(until_ms)


def _stored(quote: OptionQuote) -> Stored:
    return (
        *(quote.bid, quote.ask, quote.bid_size, quote.ask_size, quote.last, quote.volume, quote.open_interest),
        *_modelled(quote.iv, quote.delta, quote.gamma, quote.theta, quote.vega, quote.rho),
    )


@lru_cache(maxsize=4)
def _modelled(iv: float | None, *greeks: float | None) -> Stored:
    """The same for some seconds in a row. 0 stands where the model has not yet run."""
    return (
        _eighths(iv) if iv else None,
        *(None if value is None else _eighths(value) for value in greeks),
    )


def _eighths(number: float) -> int:
    """× 1e8, rounded as the wire spells it."""
    return int(f"{number:.8f}".replace(".", ""))
