"""A synthetic session: a seeded random walk of trades and quotes for one symbol, 04:00 to 20:00.

In:   symbol, session, seed, perhaps the day before.      Out:  a SymbolTape, with earlier sessions' minutes as history.
The same (seed, symbol, date, start) always gives the same day. One to three prints a second in regular hours, one in
four seconds outside; a quote in every regular second and in half of the others. Has an opening print, a closing print
and an official close report. Made whole, in about a tenth of a second a symbol. A later day goes on where the earlier
one closed. The symbol chooses the character:

    $SPX, $...   an index: a value in every regular second, its close at 16:00:01; no volume, no quotes
    ZZNEV        never trades: quotes only, no history
    ZZILL        illiquid: a print every few minutes in regular hours, a quote every twenty seconds
    ZZHLT        halted 11:00 to 11:10: security status Halted, no prints; reopens with an auction print
    ZZGAP        no print before 08:00 and none in the ten minutes before the opening, which is 10 % higher
    ZZTRD        liquid, and trends: it rises by 3 % from the opening to the close, by the same part each second,
                 with a liquid symbol's noise around it, pulled back to the trend
    any other    liquid, as above
"""

from __future__ import annotations

import random
from bisect import bisect_left
from datetime import datetime, time

from alphakite.model import PRICE_SCALE, Candle
from alphakite.sessions import EXCHANGE, Session, previous_session
from alphakite.simulator.tape import Prints, Quotes, SymbolTape

CENT = PRICE_SCALE // 100
LOWEST_CENTS = 500
STEPS = (-2, -1, -1, 0, 0, 0, 0, 1, 1, 2)
SIZES = (1, 5, 10, 20, 50, 100, 100, 100, 200, 300, 500)
NEVER, ILLIQUID, HALTED, GAPPING, TRENDING = "ZZNEV", "ZZILL", "ZZHLT", "ZZGAP", "ZZTRD"
TREND = 0.03
"""From the opening to the close, as a part of the opening price."""
PULL_S = 120
"""In so many seconds most of the noise around the trend is gone."""
HALT, REOPENING = time(11), time(11, 10)
INDEX_STEP = 8
"""An index moves in so many cents where a share moves in one."""
FIRST_GAP_PRINT = time(8)


def synthetic_tape(symbol: str, session: Session, seed: int) -> SymbolTape:
    """The first day of one symbol, and the minutes of the session before."""
    rng = random.Random(f"{seed}:{symbol}")
    cents = rng.randrange(300_000, 800_000) if is_index(symbol) else rng.randrange(5_000, 60_000)
    history, cents = _history(rng, previous_session(session.date), cents, is_index(symbol))
    return synthetic_day(symbol, session, seed, cents, [] if symbol == NEVER else history)


def synthetic_day(symbol: str, session: Session, seed: int, cents: int, history: list[Candle]) -> SymbolTape:
    """One day from a starting price on."""
    rng = random.Random(f"{seed}:{symbol}:{session.date}")
    make = _CHARACTERS.get(symbol, _index if is_index(symbol) else _liquid)
    tape = make(rng, session, cents)
    tape.symbol, tape.history = symbol, history
    return tape


def last_cents(tape: SymbolTape) -> int:
    """Where the next day goes on: the last print's price, else the last quote's middle."""
    if tape.prints.prices:
        return tape.prints.prices[-1] // CENT
    if tape.quotes is not None and tape.quotes.bids:
        return (tape.quotes.bids[-1] + tape.quotes.asks[-1]) // 2 // CENT
    return tape.history[-1].close // CENT if tape.history else LOWEST_CENTS


def is_index(symbol: str) -> bool:
    """Indices have a dollar sign, and no volume."""
    return symbol.startswith("$")


def _liquid(rng: random.Random, session: Session, cents: int) -> SymbolTape:
    prints, quotes = Prints(), Quotes()
    open_s, close_s = session.regular_open_us // 1_000_000, session.regular_close_us // 1_000_000
    chance, choice = rng.random, rng.choice
    for second in range(session.extended_open_us // 1_000_000, session.extended_close_us // 1_000_000):
        regular = open_s <= second < close_s
        time_ms = second * 1000
        lead_ms = 201 if second in (open_s, close_s, close_s + 1) else 0
        if second == open_s:
            prints.add(time_ms + 100, cents * CENT, 50_000)
        elif second == close_s:
            prints.add(time_ms + 200, cents * CENT, 100_000, True)
        elif second == close_s + 1:
            prints.add(time_ms + 100, cents * CENT, 100, True)
        for part in range(1 + int(chance() * 3) if regular else int(chance() < 0.25)):
            cents = max(LOWEST_CENTS, cents + choice(STEPS))
            prints.add(time_ms + lead_ms + 250 * part + int(chance() * 250), cents * CENT, choice(SIZES))
        if regular or chance() < 0.5:
            bid_size, ask_size = 100 + int(chance() * 9) * 100, 100 + int(chance() * 9) * 100
            quotes.add(time_ms + 999, (cents - 1) * CENT, bid_size, (cents + 1) * CENT, ask_size)
    return SymbolTape("", prints, quotes)


def _index(rng: random.Random, session: Session, cents: int) -> SymbolTape:
    prints = Prints()
    close_ms = session.regular_close_us // 1000
    for time_ms in range(session.regular_open_us // 1000, close_ms, 1000):
        cents = max(LOWEST_CENTS, cents + rng.choice(STEPS) * INDEX_STEP + int(rng.random() * 5) - 2)
        prints.add(time_ms + int(rng.random() * 1000), cents * CENT, 0)
    prints.add(close_ms + 1000, cents * CENT, 0, True)
    return SymbolTape("", prints)


def _never(rng: random.Random, session: Session, cents: int) -> SymbolTape:
    quotes = Quotes()
    for time_ms in range(session.extended_open_us // 1000, session.extended_close_us // 1000, 5000):
        cents = max(LOWEST_CENTS, cents + rng.choice(STEPS))
        quotes.add(time_ms + 999, (cents - 10) * CENT, 100, (cents + 10) * CENT, 100)
    return SymbolTape("", quotes=quotes)


def _illiquid(rng: random.Random, session: Session, cents: int) -> SymbolTape:
    prints, quotes = Prints(), Quotes()
    open_ms, close_ms = session.regular_open_us // 1000, session.regular_close_us // 1000
    next_ms = open_ms + rng.randrange(30_000, 400_000)
    for time_ms in range(session.extended_open_us // 1000, session.extended_close_us // 1000, 20_000):
        while next_ms < min(time_ms, close_ms):
            cents = max(LOWEST_CENTS, cents + rng.choice(STEPS) * 5)
            prints.add(next_ms, cents * CENT, rng.choice(SIZES))
            next_ms += rng.randrange(120_000, 600_000)
        quotes.add(time_ms + 999, (cents - 8) * CENT, 100, (cents + 8) * CENT, 100)
    return SymbolTape("", prints, quotes)


def _halted(rng: random.Random, session: Session, cents: int) -> SymbolTape:
    whole = _liquid(rng, session, cents)
    halt_ms, again_ms = _wall_ms(session, HALT), _wall_ms(session, REOPENING)
    prints = Prints()
    auctioned = False
    for time_ms, price, size, closing in _lines(whole.prints):
        if halt_ms <= time_ms < again_ms:
            continue
        if time_ms >= again_ms and not auctioned:
            prints.add(again_ms, price, 10_000)
            auctioned = True
        prints.add(time_ms, price, size, bool(closing))
    assert whole.quotes is not None
    quotes = Quotes()
    columns = whole.quotes
    for place, time_ms in enumerate(columns.times_ms):
        if not halt_ms <= time_ms < again_ms:
            quotes.add(
                time_ms, columns.bids[place], columns.bid_sizes[place], columns.asks[place], columns.ask_sizes[place]
            )
    return SymbolTape("", prints, quotes, statuses=[(halt_ms, "Halted"), (again_ms, "Normal")])


def _gapping(rng: random.Random, session: Session, cents: int) -> SymbolTape:
    whole = _liquid(rng, session, cents)
    first_ms, open_ms = _wall_ms(session, FIRST_GAP_PRINT), session.regular_open_us // 1000
    prints = Prints()
    for time_ms, price, size, closing in _lines(whole.prints):
        if time_ms >= open_ms:
            prints.add(time_ms, price * 110 // 100 // CENT * CENT, size, bool(closing))
        elif first_ms <= time_ms < open_ms - 600_000:
            prints.add(time_ms, price, size)
    assert whole.quotes is not None
    columns, quotes = whole.quotes, Quotes()
    for place, time_ms in enumerate(columns.times_ms):
        bid = columns.bids[place] * (110 if time_ms >= open_ms else 100) // 100 // CENT * CENT
        quotes.add(time_ms, bid, columns.bid_sizes[place], bid + 2 * CENT, columns.ask_sizes[place])
    return SymbolTape("", prints, quotes)


def _trending(rng: random.Random, session: Session, cents: int) -> SymbolTape:
    whole = _liquid(rng, session, cents)
    assert whole.quotes is not None
    trend = _Trend(whole, session)
    prints, quotes, columns = Prints(), Quotes(), whole.quotes
    for time_ms, price, size, closing in _lines(whole.prints):
        prints.add(time_ms, trend.moved(time_ms, price), size, bool(closing))
    for place, time_ms in enumerate(columns.times_ms):
        bid = trend.moved(time_ms, columns.bids[place] + CENT) - CENT
        quotes.add(time_ms, bid, columns.bid_sizes[place], bid + 2 * CENT, columns.ask_sizes[place])
    return SymbolTape("", prints, quotes)


class _Trend:
    """Replaces where a walk has wandered to by where the trend is; its quick noise stays.

    Until the opening the walk is as it is.
    """

    def __init__(self, walk: SymbolTape, session: Session) -> None:
        self._open_ms, self._close_ms = session.regular_open_us // 1000, session.regular_close_us // 1000
        prints = walk.prints
        self._wandered: list[float] = []
        """The walk's slow part by second from the opening on, × PRICE_SCALE."""
        place = bisect_left(prints.times_ms, self._open_ms)
        slow = self._opening = float(prints.prices[place])
        for time_ms in range(self._open_ms, session.extended_close_us // 1000, 1000):
            while place < len(prints.times_ms) and prints.times_ms[place] < time_ms:
                place += 1
            slow += (prints.prices[max(0, place - 1)] - slow) / PULL_S if time_ms > self._open_ms else 0
            self._wandered.append(slow)

    def moved(self, time_ms: int, price: int) -> int:
        """A price of the walk, to the cent."""
        if time_ms < self._open_ms:
            return price
        past = (min(time_ms, self._close_ms) - self._open_ms) / (self._close_ms - self._open_ms)
        wandered = self._wandered[(time_ms - self._open_ms) // 1000]
        there = self._opening * (1 + TREND * past) + price - wandered
        return max(LOWEST_CENTS, round(there / CENT)) * CENT


_CHARACTERS = {NEVER: _never, ILLIQUID: _illiquid, HALTED: _halted, GAPPING: _gapping, TRENDING: _trending}


def _lines(prints: Prints) -> zip[tuple[int, int, int, int]]:
    return zip(prints.times_ms, prints.prices, prints.sizes, prints.closing, strict=True)


def _wall_ms(session: Session, wall: time) -> int:
    return int(datetime.combine(session.date, wall, EXCHANGE).timestamp()) * 1000


def _history(rng: random.Random, session: Session, cents: int, index: bool) -> tuple[list[Candle], int]:
    """Minutes of the earlier session, and where its price ended. An index has regular minutes only, without volume."""
    candles: list[Candle] = []
    step = 2 * INDEX_STEP if index else 2
    for minute_us in range(session.extended_open_us, session.extended_close_us, 60_000_000):
        path = [cents]
        for _ in range(4):
            path.append(max(LOWEST_CENTS, path[-1] + rng.choice(STEPS) * step))
        regular = session.regular_open_us <= minute_us < session.regular_close_us
        volume = rng.randrange(5_000, 20_000) if regular else rng.randrange(100, 2_000)
        if index and not regular:
            continue
        cents = path[-1]
        volume = 0 if index else volume
        candles.append(Candle(minute_us, path[0] * CENT, max(path) * CENT, min(path) * CENT, cents * CENT, volume))
    return candles, cents
