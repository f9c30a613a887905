"""What the option books remember: an underlying's prices, a contract's constants, its trades so far; seeded hashes.

Prices × PRICE_SCALE, times epoch ms.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from alphakite.model import Candle
from alphakite.sessions import exchange_date
from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.level_one import previous_close
from alphakite.simulator.pricing import Priced
from alphakite.simulator.synthetic import TRENDING
from alphakite.simulator.tape import SymbolTape

MIX = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Spots:
    """An underlying's prints of the session, and its close before (None: not known). Prices × PRICE_SCALE.

    `swing`: the earlier session's range as a part of its close, 0.0: not known. Implied volatility follows it.
    `reach`: lowest and highest print of a day that trends; strikes between them are near the money. None: those around
    the close before are.
    """

    times_ms: Sequence[int]
    prices: Sequence[int]
    previous: int | None
    swing: float = 0.0
    reach: tuple[int, int] | None = None

    def at(self, time_ms: int) -> int | None:
        """The last price before a moment; before the first print the earlier close, else that first print."""
        place = bisect_left(self.times_ms, time_ms)
        if place:
            return self.prices[place - 1]
        return self.reference

    @property
    def reference(self) -> int | None:
        """What the chain of the day is built around."""
        if self.previous is not None:
            return self.previous
        return self.prices[0] if self.prices else None


def spots_of(tape: SymbolTape) -> Spots:
    """The prices of an underlying's tape."""
    prices = tape.prints.prices
    reach = (min(prices), max(prices)) if tape.symbol == TRENDING else None
    return Spots(tape.prints.times_ms, prices, previous_close(tape), _swing(tape.history), reach)


@dataclass(slots=True)
class Traded:
    """What has traded until trade number `number`; every trade is a pure function of its number."""

    every_ms: int
    number: int = 0
    volume: int = 0
    open: int = 0
    high: int = 0
    low: int = 0
    last: int = 0
    last_size: int = 0
    time_ms: int = 0
    next_ms: int = 0
    """When number `number` comes; 0: not known."""


class Quoted(NamedTuple):
    """A quote, and the positions (epoch ms, both included) at which it is the answer."""

    quote: OptionQuote
    from_ms: int
    until_ms: int


@dataclass(slots=True)
class Known:
    """What is constant for a contract through the session."""

    contract: Contract
    salt: int
    spots: Spots
    strike: float
    base: float
    quote_every_ms: int
    settles_ms: int
    trading_ends_ms: int
    close: int
    past_last: int
    open_interest: int
    past_time_ms: int
    tick_from: int
    traded: Traded
    quoted: Quoted | None = None
    model: tuple[int, float, Priced | None] | None = None
    year: tuple[int, int, int, int] | None = None
    """The day's high and low, and the 52-week extremes with them."""


@dataclass(slots=True)
class TapeQuote(OptionQuote):
    """What a tape knows of a contract. `absent`: the streamer's fields without a value, which are not sent."""

    absent: frozenset[int] = field(default_factory=frozenset)

    def copy(self) -> TapeQuote:
        """Another one with the same values."""
        return TapeQuote(*[getattr(self, name) for name in QUOTE_NAMES])


QUOTE_NAMES = tuple(item.name for item in fields(TapeQuote))


def salt_of(text: str) -> int:
    """64 bits of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def mixed(number: int) -> int:
    """Splitmix64: a well spread hash of an integer."""
    z = (number + MIX) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def _swing(history: list[Candle]) -> float:
    """The newest session's range as a part of its close; 0.0 without history."""
    if not history:
        return 0.0
    day = exchange_date(history[-1].minute_us)
    candles = [candle for candle in history[-1440:] if exchange_date(candle.minute_us) == day]
    lowest, highest = min(candle.low for candle in candles), max(candle.high for candle in candles)
    return (highest - lowest) / candles[-1].close
