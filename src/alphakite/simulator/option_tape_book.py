"""The options of tapes: what is quoted of each contract when its moments have happened, and the model for all others.

In:   OptionTapes, the underlyings' prices, the model's book.      Out:  Contracts, quotes; the interface of OptionBook.
A quote has only what the tape knows: the rest is `absent`, and is not sent. Absent until the first quote bar: bid, ask,
sizes, mark, quote time; until the first trade: last, time value, trade time; for ever: yesterday's close and what is
reckoned from it, the last size, 52-week extremes, the theoretical value; without a snapshot's model IV and greeks,
without such a file open interest. The underlying's price is that of the moment, the file's or the played one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.level_one import ALWAYS
from alphakite.simulator.option_book import OptionBook
from alphakite.simulator.option_state import Quoted, Spots, TapeQuote
from alphakite.simulator.option_tape import ContractTape, Moment, OptionTape
from alphakite.simulator.tape import SymbolTape

NEVER_KNOWN = frozenset({7, 18, 19, 34, 44, 45, 46, 50, 51})
OPEN_INTEREST = frozenset({9})
QUOTED = frozenset({2, 3, 16, 17, 37, 38})
TRADED = frozenset({4, 25, 39})
MODEL = frozenset({10, 28, 29, 30, 31, 32})
OF_UNDERLYING = frozenset({11, 25, 35})


@dataclass(slots=True)
class Played:
    """A contract's quotes: the first is known before its first moment, then one for each."""

    times_ms: list[int]
    quotes: list[TapeQuote]


class TapeBook:
    """All options of a session whose tapes hold some."""

    def __init__(self, tapes: Mapping[str, OptionTape], spots: Mapping[str, Spots], model: OptionBook) -> None:
        self._model = model
        self._spots = spots
        self._tapes = {symbol: one for tape in tapes.values() for symbol, one in tape.contracts.items()}
        self._chains = {underlying: _sorted(tape) for underlying, tape in tapes.items()}
        self._played: dict[str, Played] = {}
        self._times_ms = sorted({moment.time_ms for tape in self._tapes.values() for moment in tape.moments})

    def chain(self, underlying: str) -> list[Contract]:
        """Every contract of the underlying's tape; of others the model's chain."""
        chain = self._chains.get(underlying)
        return self._model.chain(underlying) if chain is None else chain

    def contract(self, symbol: str) -> Contract | None:
        """The contract of a symbol, if it is on a tape or in the chain of an underlying without one."""
        tape = self._tapes.get(symbol)
        if tape is not None:
            return tape.contract
        contract = self._model.contract(symbol)
        return None if contract is None or contract.underlying in self._chains else contract

    def asked_for(self) -> list[Contract]:
        """Those of the model: a tape has no later day."""
        return self._model.asked_for()

    def next_ms(self, position_ms: int) -> int:
        """When an option moves next, at `position_ms` or later."""
        place = bisect_left(self._times_ms, position_ms)
        soonest = self._times_ms[place] if place < len(self._times_ms) else ALWAYS
        return min(soonest, self._model.next_ms(position_ms))

    def quote(self, contract: Contract, position_ms: int) -> OptionQuote:
        """What is known when everything before `position_ms` has happened. Shared: do not change it."""
        return self.quoted(contract, position_ms).quote

    def quoted(self, contract: Contract, position_ms: int) -> Quoted:
        """Likewise, and for how long."""
        tape = self._tapes.get(contract.symbol)
        if tape is None:
            return self._model.quoted(contract, position_ms)
        played = self._played.get(contract.symbol)
        if played is None:
            played = self._played[contract.symbol] = self._play(tape)
        place, times_ms = bisect_left(played.times_ms, position_ms), played.times_ms
        return Quoted(played.quotes[place], position_ms, times_ms[place] if place < len(times_ms) else ALWAYS)

    def _play(self, tape: ContractTape) -> Played:
        spots = self._spots.get(tape.contract.underlying)
        quotes = [_unquoted(tape)]
        for moment in tape.moments:
            spot = moment.spot
            if spot is None and spots is not None:
                spot = _spot(spots, moment.time_ms)
            quotes.append(_then(quotes[-1], moment, spot))
        return Played([moment.time_ms for moment in tape.moments], quotes)


def reference_of(tape: OptionTape, underlying: SymbolTape) -> int | None:
    """What stands for the close before where no earlier bars are given: the first price, else that of put-call parity.

    Parity: of the nearest expiry the strike whose call and put are quoted closest to each other at first.
    """
    if underlying.bars:
        return underlying.bars[0].open
    if underlying.prints.prices:
        return underlying.prints.prices[0]
    middles: dict[tuple[date, str, int], dict[str, int]] = {}
    for symbol in tape.contracts.values():
        one = symbol.contract
        quoted = next((moment.quoted for moment in symbol.moments if moment.quoted and moment.quoted.bid), None)
        if quoted is not None and quoted.ask:
            middles.setdefault((one.expiry, one.root, one.strike), {})[one.right] = (quoted.bid + quoted.ask) // 2
    pairs = [(expiry, strike, both["C"] - both["P"]) for (expiry, _, strike), both in middles.items() if len(both) == 2]
    if not pairs:
        return None
    nearest = min(expiry for expiry, _, _ in pairs)
    strike, apart = min(((k, gap) for expiry, k, gap in pairs if expiry == nearest), key=lambda pair: abs(pair[1]))
    return strike + apart


def _sorted(tape: OptionTape) -> list[Contract]:
    contracts = [one.contract for one in tape.contracts.values()]
    return sorted(contracts, key=lambda one: (one.expiry, one.root, one.strike, one.right))


def _unquoted(tape: ContractTape) -> TapeQuote:
    absent = NEVER_KNOWN | QUOTED | TRADED | MODEL | OF_UNDERLYING
    return TapeQuote(
        bid=0,
        ask=0,
        last=0,
        mark=0,
        high=0,
        low=0,
        open=0,
        close=0,
        bid_size=0,
        ask_size=0,
        last_size=0,
        volume=0,
        quote_time_ms=0,
        trade_time_ms=0,
        open_interest=tape.open_interest or 0,
        iv=None,
        delta=None,
        gamma=None,
        theta=None,
        vega=None,
        rho=None,
        theoretical=None,
        underlying_price=0,
        absent=absent if tape.open_interest is not None else absent | OPEN_INTEREST,
    )


def _then(before: TapeQuote, moment: Moment, spot: int | None) -> TapeQuote:
    """The quote after a moment; `spot` None: the underlying's price is not known."""
    quote = before.copy()
    absent = set(quote.absent)
    if moment.quoted is not None:
        quoted = moment.quoted
        quote.bid, quote.bid_size, quote.ask, quote.ask_size = quoted.bid, quoted.bid_size, quoted.ask, quoted.ask_size
        quote.mark, quote.quote_time_ms = (quoted.bid + quoted.ask) // 2, moment.time_ms
        absent -= QUOTED
    if moment.bar is not None:
        bar = moment.bar
        quote.open = quote.open or bar.open
        quote.high, quote.low = max(quote.high, bar.high), min(quote.low or bar.low, bar.low)
        quote.last, quote.trade_time_ms = bar.close, moment.time_ms
        quote.volume += bar.volume
        absent -= TRADED
    if moment.modelled is not None:
        answer = moment.modelled.answer or (None,) * 6
        quote.iv, quote.delta, quote.gamma, quote.theta, quote.vega, quote.rho = answer
        absent -= MODEL
    if spot is not None:
        quote.underlying_price = spot
        absent -= OF_UNDERLYING
    if 35 in absent or 4 in absent:
        absent.add(25)
    quote.absent = frozenset(absent)
    return quote


def _spot(spots: Spots, time_ms: int) -> int | None:
    """The last price at a moment, that of a bar of the same end included; before the first print the earlier close."""
    place = bisect_left(spots.times_ms, time_ms + 1)
    return spots.prices[place - 1] if place else spots.previous
