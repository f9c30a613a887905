"""A synthetic session: a seeded random walk of trades and quotes for one symbol, 04:00 to 20:00.

In:   symbol, session, seed.      Out:  a SymbolTape, with the previous session's minutes as history.
The same (seed, symbol) always gives the same day. One to three prints a second in regular hours, one in four seconds
outside; a quote in every regular second and in half of the others. Has an opening print, a closing print and an
official close report. Made whole, in about a tenth of a second a symbol.
"""

from __future__ import annotations

import random

from alphakite.model import PRICE_SCALE, Candle
from alphakite.sessions import Session, previous_session
from alphakite.simulator.tape import Prints, Quotes, SymbolTape

CENT = PRICE_SCALE // 100
LOWEST_CENTS = 500
STEPS = (-2, -1, -1, 0, 0, 0, 0, 1, 1, 2)
SIZES = (1, 5, 10, 20, 50, 100, 100, 100, 200, 300, 500)


def synthetic_tape(symbol: str, session: Session, seed: int) -> SymbolTape:
    """The day of one symbol, and the minutes of the session before."""
    rng = random.Random(f"{seed}:{symbol}")
    cents = rng.randrange(5_000, 60_000)
    history, cents = _history(rng, previous_session(session.date), cents)
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
    return SymbolTape(symbol, prints, quotes, history)


def _history(rng: random.Random, session: Session, cents: int) -> tuple[list[Candle], int]:
    """Minutes of the earlier session, and where its price ended."""
    candles: list[Candle] = []
    for minute_us in range(session.extended_open_us, session.extended_close_us, 60_000_000):
        path = [cents]
        for _ in range(4):
            path.append(max(LOWEST_CENTS, path[-1] + rng.choice(STEPS) * 2))
        cents = path[-1]
        regular = session.regular_open_us <= minute_us < session.regular_close_us
        volume = rng.randrange(5_000, 20_000) if regular else rng.randrange(100, 2_000)
        candles.append(Candle(minute_us, path[0] * CENT, max(path) * CENT, min(path) * CENT, cents * CENT, volume))
    return candles, cents
