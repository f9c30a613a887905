"""Which option contracts to watch now: the expiry, the window around the money, what is shared out under a cap; pure.

In:   the settings of each ticker, the definitions known, prices, the time, and the state before.      Out:  a Plan:
the symbols desired, the most important first; the state after; what changed, and why; what must be asked of Schwab.

The expiry is the first whose last trading day is at least `dte` calendar days after the session's date. A session ends
with the trading of its contracts: at the close for an index that expires then, else a quarter of an hour later (at
13:00 and 13:15 on half-days); from then on the next session's chain is followed. Its definitions are asked for
`stage_before_s` earlier.

The window holds all contracts of the strikes within it, and more on each side by a part of it, the hysteresis: it is
centred anew when the money crossed more strikes than that, so that what was promised around the money is always
there and a price that swings within it changes nothing. Sticky: what is watched stays until the session ends. Only a
cap can take it away: it leaves the strikes nearest to the centres, each ticker's window before what is merely sticky.
Prices and strikes × PRICE_SCALE, times in epoch microseconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import lru_cache

import msgspec
from msgspec import Struct

from alphakite.model import ChainContract, Expiration
from alphakite.sessions import (
    LAST_YEAR,
    OPTIONS_LATE_US,
    Session,
    exchange_date,
    next_session,
    previous_session,
    session_on,
)
from alphakite.symbols import is_index, parse_option

MORNING_US = 1_800_000_000
"""So long before the opening the day's definitions are asked for again: strikes are listed over night."""
ASK_AGAIN_US = 60_000_000
"""An answer that was not enough is not asked for again before."""
EMPTY_AGAIN_US = 900_000_000
"""A ticker without options is asked whether it has any no more often than that."""
CALM_US = 10_000_000
"""So often a plan is made anew even if nothing moves: needs have their times, too."""
UNBOUNDED = 2**63 - 1
DELTAS_AGE_US = 900_000_000
"""Under a delta band the deltas of a chain serve so long."""


class OptionSettings(Struct, frozen=True):
    """What to follow of one ticker.

    `window`: strikes (so many on each side of the money), width (percent of the price on each side), delta (a band of
    its absolute value), all. `hysteresis`: the part of the window that is watched beyond it.
    """

    on: bool = True
    dte: int = 0
    window: str = "strikes"
    strikes: int = 25
    width_percent: float = 2.0
    delta_low: float = 0.05
    delta_high: float = 0.95
    hysteresis: float = 0.2
    stage_before_s: int = 1800
    include_adjusted: bool = False
    include_mini: bool = False
    include_am: bool = False

    @property
    def spare(self) -> int:
        """Strikes watched beyond the window on each side."""
        return math.ceil(self.strikes * self.hysteresis)


class KnownChain(Struct, frozen=True):
    """The contracts known of one expiry. `seen_us`: when it was last answered. `price`: the underlying's then.

    `complete`: there are no more strikes to be had by asking for more.
    """

    expiry: date
    seen_us: int
    contracts: tuple[ChainContract, ...] = ()
    price: int | None = None
    complete: bool = False


class Known(Struct, frozen=True):
    """The definitions known of one ticker."""

    expirations: tuple[Expiration, ...] = ()
    expirations_seen_us: int = 0
    chains: dict[date, KnownChain] = {}

    def with_expirations(self, expirations: Iterable[Expiration], seen_us: int) -> Known:
        """After an answer; an empty one leaves what was known."""
        found = tuple(expirations)
        return msgspec.structs.replace(self, expirations=found or self.expirations, expirations_seen_us=seen_us)

    def with_chain(self, chain: KnownChain) -> Known:
        """After an answer: contracts are added or defined anew, none is forgotten; chains long gone are."""
        old = self.chains.get(chain.expiry)
        merged = {one.symbol: one for one in (*(old.contracts if old else ()), *chain.contracts)}
        price = chain.price if chain.price is not None or old is None else old.price
        whole = msgspec.structs.replace(chain, contracts=tuple(merged.values()), price=price)
        oldest = exchange_date(chain.seen_us) - timedelta(7)
        kept = {expiry: one for expiry, one in self.chains.items() if expiry >= oldest}
        return msgspec.structs.replace(self, chains={**kept, chain.expiry: whole})


class TickerState(Struct, frozen=True):
    """What is followed of one ticker. `session`: the date of the session it is for; `centre`: where the window is.

    `watched`: what is to stay until the session ends; `cut`: of these what the cap leaves no room for. `staged`: the
    session whose chain is ready. `waiting`: why nothing can be chosen, "" if something is.
    """

    session: date
    expiries: tuple[date, ...] = ()
    centre: int = 0
    watched: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    staged: date | None = None
    waiting: str = ""


class FollowState(Struct, frozen=True):
    """The state of all tickers; may be kept as JSON or msgpack, and taken up by another process."""

    tickers: dict[str, TickerState] = {}


class Change(Struct, frozen=True):
    """What changed for a ticker, for the log and the database; added and removed are commands' worth, after the cap.

    `reason`: started, rolled, recentred, listed (new definitions), capped, staged (`added` is what will be), waiting
    (`detail` says for what), ended (no longer followed), refused (by Schwab; `detail` has its code and words).
    """

    ticker: str
    at_us: int
    reason: str
    expiries: tuple[date, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    detail: str = ""


class Need(Struct, frozen=True):
    """What to ask Schwab for. `expiry` None: the list of expiries. `strikes`: wanted on each side, None: all.

    `reason`: unknown, morning, empty, edge (the window reaches beyond what is known), deltas, stage.
    """

    ticker: str
    expiry: date | None
    strikes: int | None
    reason: str


class Plan(Struct, frozen=True):
    """What to do now. `next_us`: at the latest then there is something new, even if no price moves.

    `quiet`: by ticker, the open interval of prices that change nothing.
    """

    at_us: int
    symbols: tuple[str, ...]
    state: FollowState
    changes: tuple[Change, ...]
    needs: tuple[Need, ...]
    staged: dict[str, tuple[str, ...]]
    next_us: int
    quiet: dict[str, tuple[int, int]]

    def due(self, prices: Mapping[str, int], now_us: int) -> bool:
        """Whether to follow again, if neither settings, definitions nor the cap are others than then: cheap."""
        if now_us >= min(self.next_us, self.at_us + CALM_US):
            return True
        for ticker in self.state.tickers:
            price, (low, high) = prices.get(ticker), self.quiet.get(ticker, (0, 0))
            if price is not None and not low < price < high:
                return True
        return False


class _Reach(Struct):
    """The strikes promised around a price, those watched for it; whether it has left the hysteresis of the centre."""

    promised: list[int]
    watched: list[int]
    moved: bool


class _Side(Struct):
    """One ticker's part of a plan. `ranks`: (tier, place by distance) of every watched symbol."""

    state: TickerState
    ranks: dict[str, tuple[int, int]]
    reason: str
    needs: list[Need]
    next_us: int
    quiet: tuple[int, int]
    staged: tuple[str, ...] = ()


def follow(
    settings: Mapping[str, OptionSettings],
    known: Mapping[str, Known],
    prices: Mapping[str, int],
    now_us: int,
    state: FollowState,
    cap: int,
) -> Plan:
    """One step. The same arguments give the same plan; an unchanged world gives the state back and no change.

    Args:
        settings: by ticker, the most important first. known, prices: of each ticker as far as known.
        cap: most symbols in all.
    """
    sides: dict[str, _Side] = {}
    for ticker, options in settings.items():
        if options.on:
            before = state.tickers.get(ticker)
            sides[ticker] = _side(ticker, options, known.get(ticker, Known()), prices.get(ticker), now_us, before)
    order = sorted(
        ((rank, number, symbol) for number, side in enumerate(sides.values()) for symbol, rank in side.ranks.items()),
        key=lambda one: (one[0], one[1], _spelling(one[2])),
    )
    symbols = tuple(dict.fromkeys(symbol for _, _, symbol in order))[: max(0, cap)]
    desired = frozenset(symbols)
    after: dict[str, TickerState] = {}
    changes: list[Change] = []
    for ticker, side in sides.items():
        old = state.tickers.get(ticker)
        cut = tuple(symbol for symbol in side.state.watched if symbol not in desired)
        after[ticker] = new = msgspec.structs.replace(side.state, cut=cut)
        changes += _changes(ticker, now_us, old, new, side)
    for ticker, old in state.tickers.items():
        if ticker not in after:
            changes.append(Change(ticker, now_us, "ended", old.expiries, removed=_held(old)))
    needs = tuple(need for side in sides.values() for need in side.needs)
    staged = {ticker: side.staged for ticker, side in sides.items() if side.staged}
    next_us = min((side.next_us for side in sides.values()), default=now_us + 3_600_000_000)
    quiet = {ticker: side.quiet for ticker, side in sides.items()}
    return Plan(now_us, symbols, FollowState(after), tuple(changes), needs, staged, next_us, quiet)


def roll_us(ticker: str, session: Session, last_day: date | None) -> int:
    """When trading in a session's contracts has ended. Args: last_day: theirs, None if not known."""
    expiring = last_day is None or last_day <= session.date
    return session.regular_close_us + (0 if is_index(ticker) and expiring else OPTIONS_LATE_US)


def followed_session(ticker: str, options: OptionSettings, known: Known, now_us: int) -> Session:
    """The session whose contracts are followed at a time: today's until it has rolled, else the next one."""
    day = exchange_date(now_us)
    session = session_on(day)
    if session is None or now_us >= session.regular_close_us + OPTIONS_LATE_US:
        return next_session(day)
    if now_us < session.regular_close_us:
        return session
    return session if now_us < roll_us(ticker, session, choose(known, options, day)[0]) else next_session(day)


def choose(known: Known, options: OptionSettings, day: date) -> tuple[date | None, tuple[date, ...]]:
    """The last trading day to follow in the session of `day`, and the expiries that have it; None if none is known."""
    series = {
        (one.date, one.settlement)
        for one in known.expirations
        if (one.standard or options.include_adjusted) and (one.settlement != "A" or options.include_am)
    }
    if not known.expirations:
        contracts = (one for chain in known.chains.values() for one in chain.contracts)
        series = {(one.expiry, one.settlement) for one in _eligible(contracts, options)}
    best: date | None = None
    found: set[date] = set()
    for expiry, settlement in sorted(series):
        if best is not None and expiry > best + timedelta(7):
            break
        if expiry < day or ((last := last_trading_day(expiry, settlement)) - day).days < options.dte:
            continue
        if best is None or last < best:
            best, found = last, {expiry}
        elif last == best:
            found.add(expiry)
    return best, tuple(sorted(found))


def last_trading_day(expiry: date, settlement: str) -> date:
    """The last session in which a contract trades: settled at the opening (A), it is the session before its expiry."""
    if expiry.year > LAST_YEAR:
        return expiry
    if settlement == "A" or session_on(expiry) is None:
        return previous_session(expiry).date
    return expiry


# ── one ticker ──────────────────────────────────────────────────────────────────────────────────────────────


def _side(
    ticker: str, options: OptionSettings, known: Known, price: int | None, now_us: int, before: TickerState | None
) -> _Side:
    session = followed_session(ticker, options, known, now_us)
    if before is not None and now_us >= session.regular_close_us and before.session > session.date:
        session = next_session(session.date)  # it has rolled already, when less was known
    last_day, expiries = choose(known, options, session.date)
    contracts = _contracts(known, last_day, expiries, options)
    if price is None or price <= 0:
        chains = (known.chains[expiry] for expiry in expiries if expiry in known.chains)
        asked = next((chain.price for chain in chains if chain.price), None)
        price = before.centre if before is not None and before.centre else asked
    needs = _needs(ticker, options, known, expiries, session, now_us, price, contracts)
    roll = roll_us(ticker, session, last_day)
    stage, morning = roll - options.stage_before_s * 1_000_000, session.regular_open_us - MORNING_US
    state, reason = _advance(options, session.date, expiries, contracts, price, before)
    quiet = (0, 0) if state.waiting else _quiet(options, contracts, state.centre)
    side = _Side(state, _ranks(options, state, contracts), reason, needs, roll, quiet)
    if now_us >= stage:
        _stage(ticker, options, known, next_session(session.date), price, now_us, side)
    again = (now_us + ASK_AGAIN_US,) if side.needs or state.waiting else ()
    side.next_us = min(moment for moment in (morning, stage, max(roll, now_us + 1), *again) if moment > now_us)
    return side


def _advance(
    options: OptionSettings,
    day: date,
    expiries: tuple[date, ...],
    contracts: list[ChainContract],
    price: int | None,
    before: TickerState | None,
) -> tuple[TickerState, str]:
    """The state after, and the reason if what is watched may have changed."""
    same = before is not None and before.session == day
    waiting = ""
    if not contracts:
        waiting = "its contracts" if expiries else "an expiry"
    elif price is None:
        waiting = "a price"
    if waiting or price is None:
        if before is None:
            return TickerState(day, expiries, waiting=waiting), "waiting"
        alive = tuple(symbol for symbol in before.watched if _alive(symbol, day))  # the others have expired
        return msgspec.structs.replace(before, watched=alive, waiting=waiting), "waiting"
    watched = before.watched if before is not None and same else ()
    centre = before.centre if before is not None and same and before.centre else price
    staged = before.staged if before is not None and before.staged is not None and before.staged > day else None
    reach = _reach(options, contracts, price, centre)
    have, promised = frozenset(watched), frozenset(reach.promised)
    reason = ""
    fresh = before is None or not same or (not watched and bool(before.waiting))
    if fresh or reach.moved or any(one.strike in promised and one.symbol not in have for one in contracts):
        there = frozenset(_reach(options, contracts, centre, centre).promised)
        listed = not reach.moved and any(one.strike in there and one.symbol not in have for one in contracts)
        reason = "listed" if listed else "recentred"
        if fresh:
            reason = "rolled" if before is not None and not same and before.expiries else "started"
        centre, strikes = price, frozenset(reach.watched)
        new = [one for one in contracts if one.strike in strikes and one.symbol not in have]
        new.sort(key=lambda one: (abs(one.strike - price), one.strike, _spelling(one.symbol)))
        watched += tuple(one.symbol for one in new)
    return TickerState(day, expiries, centre, watched, (), staged), reason


def _reach(options: OptionSettings, contracts: list[ChainContract], price: int, centre: int) -> _Reach:
    """The window at a price, and whether the money has left the hysteresis around the centre."""
    strikes = sorted({one.strike for one in contracts})
    crossed = abs(bisect_left(strikes, price) - bisect_left(strikes, centre))
    if options.window == "all":
        return _Reach(strikes, strikes, crossed > options.spare)
    if options.window == "width":
        below = above = options.width_percent / 100
    elif options.window == "delta" and (band := _band(options, contracts)) is not None:
        below, above = band
    else:
        number, spare = options.strikes, options.spare
        return _Reach(_around(strikes, price, number), _around(strikes, price, number + spare), crossed > spare)
    slack = options.hysteresis * max(below, above)
    promised = _between(strikes, price * (1 - below), price * (1 + above))
    watched = _between(strikes, price * (1 - below) * (1 - slack), price * (1 + above) * (1 + slack))
    return _Reach(promised, watched, crossed > 0 and abs(price - centre) > slack * centre)


def _quiet(options: OptionSettings, contracts: list[ChainContract], centre: int) -> tuple[int, int]:
    """The open interval around a centre in which `_reach` says neither moved nor anything new."""
    if options.window == "width":
        slack = options.hysteresis * options.width_percent / 100
    elif options.window == "delta" and (band := _band(options, contracts)) is not None:
        slack = options.hysteresis * max(band)
    else:
        strikes, spare = sorted({one.strike for one in contracts}), options.spare
        place = bisect_left(strikes, centre)
        low, high = place - spare - 1, place + spare
        return strikes[low] if low >= 0 else 0, strikes[high] if high < len(strikes) else UNBOUNDED
    return math.ceil(centre * (1 - slack)), math.floor(centre * (1 + slack))


def _band(options: OptionSettings, contracts: list[ChainContract]) -> tuple[float, float] | None:
    """How far below and above the money a delta band reaches, as fractions of the price; None without deltas.

    The deltas' own money is the strike whose call is nearest to one half: the price may be of another moment.
    """
    deltas = [(one.strike, one.right, one.delta) for one in contracts if one.delta]
    calls = sorted((abs(delta - 0.5), strike) for strike, right, delta in deltas if right == "C")
    inside = [strike for strike, _, delta in deltas if options.delta_low <= abs(delta) <= options.delta_high]
    if not calls or not inside:
        return None
    money = calls[0][1]
    return max(0.0, 1 - min(inside) / money), max(0.0, max(inside) / money - 1)


def _needs(
    ticker: str,
    options: OptionSettings,
    known: Known,
    expiries: tuple[date, ...],
    session: Session,
    now_us: int,
    price: int | None,
    contracts: list[ChainContract],
) -> list[Need]:
    """What is not known, out of date or too little; nothing again before ASK_AGAIN_US."""
    morning = session.regular_open_us - MORNING_US
    asked = known.expirations_seen_us
    found: list[Need] = []
    if not asked:
        found.append(Need(ticker, None, None, "unknown"))
    elif asked < morning <= now_us and now_us - asked >= ASK_AGAIN_US:
        found.append(Need(ticker, None, None, "morning"))
    elif not expiries and now_us - asked >= EMPTY_AGAIN_US:
        found.append(Need(ticker, None, None, "empty"))
    for expiry in expiries:
        reason = _chain_need(options, known.chains.get(expiry), morning, session, now_us, price, contracts)
        if reason:
            found.append(Need(ticker, expiry, _each_side(options), reason))
    return found


def _chain_need(
    options: OptionSettings,
    chain: KnownChain | None,
    morning: int,
    session: Session,
    now_us: int,
    price: int | None,
    contracts: list[ChainContract],
) -> str:
    if chain is None:
        return "unknown"
    age = now_us - chain.seen_us
    if age < ASK_AGAIN_US:
        return ""
    if chain.seen_us < morning <= now_us:
        return "morning"
    if not chain.contracts:
        return "empty"
    regular = session.regular_open_us <= now_us < session.regular_close_us
    if options.window == "delta" and regular and age >= DELTAS_AGE_US:
        return "deltas"
    if chain.complete:
        return ""
    if options.window == "strikes" and price is not None:
        strikes, number = sorted({one.strike for one in contracts}), options.strikes + options.spare
        sides = bisect_left(strikes, price), len(strikes) - bisect_right(strikes, price)
        return "edge" if min(sides) < number else ""
    return "edge"


def _stage(
    ticker: str, options: OptionSettings, known: Known, following: Session, price: int | None, now_us: int, side: _Side
) -> None:
    """The next session's chain: ask for what is missing, else say what it will be."""
    last_day, expiries = choose(known, options, following.date)
    for expiry in expiries:
        chain = known.chains.get(expiry)
        if chain is None or (not chain.contracts and now_us - chain.seen_us >= ASK_AGAIN_US):
            side.needs.append(Need(ticker, expiry, _each_side(options), "stage"))
    contracts = _contracts(known, last_day, expiries, options)
    if not contracts or price is None or any(expiry not in known.chains for expiry in expiries):
        return
    strikes = frozenset(_reach(options, contracts, price, price).watched)
    near = sorted(contracts, key=lambda one: (abs(one.strike - price), one.strike, _spelling(one.symbol)))
    side.staged = tuple(one.symbol for one in near if one.strike in strikes)
    side.state = msgspec.structs.replace(side.state, staged=following.date)


def _ranks(options: OptionSettings, state: TickerState, contracts: list[ChainContract]) -> dict[str, tuple[int, int]]:
    """The window before what is sticky, then by the distance of strikes from the centre, counted in strikes."""
    strikes = {symbol: _strike(symbol) for symbol in state.watched}
    near = sorted(set(strikes.values()), key=lambda strike: (abs(strike - state.centre), strike))
    places = {strike: place for place, strike in enumerate(near)}
    window: frozenset[str] = frozenset(strikes)
    if contracts and state.centre:
        reach = frozenset(_reach(options, contracts, state.centre, state.centre).watched)
        window = frozenset(one.symbol for one in contracts if one.strike in reach)
    return {symbol: (0 if symbol in window else 1, places[strike]) for symbol, strike in strikes.items()}


def _changes(ticker: str, now_us: int, old: TickerState | None, new: TickerState, side: _Side) -> list[Change]:
    """What the log and the database are told of one ticker."""
    found: list[Change] = []
    had, has = _held(old) if old is not None else (), _held(new)
    kept, wanted = frozenset(had), frozenset(has)
    added = tuple(symbol for symbol in has if symbol not in kept)
    removed = tuple(symbol for symbol in had if symbol not in wanted)
    if new.waiting:
        if removed or old is None or old.waiting != new.waiting:
            found.append(Change(ticker, now_us, "waiting", new.expiries, added, removed, f"for {new.waiting}"))
        return found
    pushed = not side.reason and bool(added or removed)
    if side.reason and (added or removed or side.reason in ("started", "rolled")):
        told = "" if new.watched else "no strike lies in the window"
        found.append(Change(ticker, now_us, side.reason, new.expiries, added, removed, told))
    if pushed or len(new.cut) != (len(old.cut) if old is not None else 0):
        room = f"no room for {len(new.cut)} of {len(new.watched)}"
        moved = (added, removed) if pushed else ((), ())
        found.append(Change(ticker, now_us, "capped", new.expiries, *moved, room))
    if new.staged is not None and (old is None or old.staged != new.staged):
        found.append(Change(ticker, now_us, "staged", added=side.staged, detail=f"for the session of {new.staged}"))
    return found


def _eligible(contracts: Iterable[ChainContract], options: OptionSettings) -> list[ChainContract]:
    return [
        one
        for one in contracts
        if (options.include_adjusted or not one.adjusted)
        and (options.include_mini or not one.mini)
        and (options.include_am or one.settlement != "A")
    ]


def _contracts(
    known: Known, last_day: date | None, expiries: tuple[date, ...], options: OptionSettings
) -> list[ChainContract]:
    """What may be followed of these expiries: the contracts that trade until `last_day`."""
    found: list[ChainContract] = []
    for expiry in expiries:
        if (chain := known.chains.get(expiry)) is not None:
            opening = last_trading_day(expiry, "A") == last_day
            close = last_trading_day(expiry, "P") == last_day
            found += [
                one for one in _eligible(chain.contracts, options) if (opening if one.settlement == "A" else close)
            ]
    return found


def _around(strikes: list[int], price: int, number: int) -> list[int]:
    """So many strikes below the money and above it, and the one at it."""
    low, high = bisect_left(strikes, price), bisect_right(strikes, price)
    return strikes[max(0, low - number) : high + number]


def _between(strikes: list[int], low: float, high: float) -> list[int]:
    return strikes[bisect_left(strikes, low) : bisect_right(strikes, high)]


def _each_side(options: OptionSettings) -> int | None:
    return options.strikes + options.spare if options.window == "strikes" else None


def _held(state: TickerState) -> tuple[str, ...]:
    cut = frozenset(state.cut)
    return tuple(symbol for symbol in state.watched if symbol not in cut)


@lru_cache(maxsize=16_384)
def _strike(symbol: str) -> int:
    option = parse_option(symbol)
    return option.strike if option is not None else 0


def _alive(symbol: str, day: date) -> bool:
    option = parse_option(symbol)
    return option is not None and option.expiry >= day


def _spelling(symbol: str) -> tuple[str, str]:
    """A strike's call before its put, roots by name."""
    return symbol[12:13], symbol
