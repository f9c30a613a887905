"""What is quoted of every option on one played session: seeded, and a pure function of contract, spot and tape time.

In:   the session, each underlying's prices (Spots), a seed.      Out:  Contracts, OptionQuotes.
An option quotes anew every 1, 2 or 6 seconds (near the money more often); bid, ask, sizes and the underlying's price
belong to that instant. The model (IV, greeks, theoretical value) is computed anew every 15 s. Near-the-money contracts
trade about every minute, far ones rarely or never; volume grows by those trades. The same moment asked for twice, or in
another order, gives the same answer: `Traded` is only a cache that walks forward.

The day of a contract, by exchange time:
    before 07:30      volume, high and low 0 (the reset of 03:30), greeks -999, theoretical value -1. Expiring today:
                      also IV -999, sizes 0, quote time 0, status Unknown. Others: IV 0 (not yet computed).
                      Open is yesterday's until 07:28
    07:30 to 09:30    the model on yesterday's close; quote and trade times are yesterday's. Expiring today: sizes 0,
                      quote time 0, status Unknown still
    regular hours     live, ETFs and indices a quarter hour longer; where the bid is 0 or nothing is left above the
                      intrinsic value the model has no answer: -999, theoretical "NaN"
    after             frozen as at the end; what has settled: "NaN"
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from alphakite.model import PRICE_SCALE
from alphakite.sessions import Session, previous_session
from alphakite.simulator.chain import (
    DAILY_ETFS,
    chain_of,
    parse_option_symbol,
    roots_of,
    settlement_ms,
    trading_end_ms,
)
from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.level_one import ALWAYS
from alphakite.simulator.option_state import Known, Quoted, Spots, Traded, mixed, salt_of
from alphakite.simulator.pricing import Priced, priced, value_of

RATE = 0.04
YEAR_MS = 365 * 86_400_000
DAY_YEARS = 1 / 365
MODEL_MS = 15_000
NEAR_MS = 60_000
LEAST_VOLATILITY, MOST_VOLATILITY = 0.08, 1.5
RANGE_TO_YEAR = math.sqrt(252) / 1.68
"""A day's range is 1.68 standard deviations; 252 days are a year."""
WEEK_DAYS = 8
CENT = PRICE_SCALE // 100
NICKEL, DIME = 5 * CENT, 10 * CENT
LEAST_VALUE, LEAST_EXTRINSIC = 0.005, 0.002
"""Dollars below which the model has no answer."""
MODEL_BEGINS_MS = 120_000
"""From two minutes after the volume reset (07:30) the model has yesterday's close."""


class OptionBook:
    """All options of one session."""

    def __init__(self, seed: int, session: Session, spots: Mapping[str, Spots], kept: Iterable[Contract] = ()) -> None:
        self.session = session
        self._seed = seed
        self._spots = spots
        self._chains: dict[str, list[Contract]] = {}
        self._contracts = {one.symbol: one for one in kept if one.expiry >= session.date}
        self._known: dict[str, Known] = {}
        self._roots = {root: symbol for symbol in spots for root in roots_of(symbol)}
        self._open_ms = session.regular_open_us // 1000
        self._reset_ms = session.volume_reset_us // 1000
        earlier = previous_session(session.date)
        self._earlier = earlier
        self._last_ms = 0
        """When the last contract that was asked for stops moving."""

    def chain(self, underlying: str) -> list[Contract]:
        """Every contract of the day; empty for a symbol that is not played or has no price."""
        chain = self._chains.get(underlying)
        if chain is None:
            spots = self._spots.get(underlying)
            price = spots.reference if spots is not None else None
            chain = chain_of(underlying, self.session.date, price) if price else []
            self._chains[underlying] = chain
            self._contracts.update((contract.symbol, contract) for contract in chain)
        return chain

    def contract(self, symbol: str) -> Contract | None:
        """The contract of a symbol, if it is in a chain of the day."""
        if (known := self._contracts.get(symbol)) is not None:
            return known
        parsed = parse_option_symbol(symbol)
        underlying = self._roots.get(parsed[0]) if parsed is not None else None
        if underlying is None:
            return None
        self.chain(underlying)
        return self._contracts.get(symbol)

    def asked_for(self) -> list[Contract]:
        """What has been quoted: known on later days too, though the strikes around the price have moved on."""
        return [known.contract for known in self._known.values()]

    def quote(self, contract: Contract, position_ms: int) -> OptionQuote:
        """What is known when everything before `position_ms` has happened. Shared: do not change it."""
        return self.quoted(contract, position_ms).quote

    def quoted(self, contract: Contract, position_ms: int) -> Quoted:
        """Likewise, and for how long."""
        known = self._known.get(contract.symbol)
        if known is None:
            known = self._known[contract.symbol] = self._make(contract)
            self._last_ms = max(self._last_ms, self._stops_ms(known))
        quoted = known.quoted
        if quoted is None or not quoted.from_ms <= position_ms <= quoted.until_ms:
            before = position_ms <= self._open_ms
            quoted = known.quoted = self._early(known, position_ms) if before else self._later(known, position_ms)
        return quoted

    def next_ms(self, position_ms: int) -> int:
        """When an option that has been asked for may move next, at `position_ms` or later."""
        if not self._known:
            return ALWAYS
        for moment_ms in (self._reset_ms + MODEL_BEGINS_MS, self._open_ms):
            if position_ms <= moment_ms:
                return moment_ms
        return position_ms if position_ms <= self._last_ms else ALWAYS

    # ── one contract ────────────────────────────────────────────────────────────────────────────────────────

    def _make(self, contract: Contract) -> Known:
        spots = self._spots[contract.underlying]
        reference = spots.reference or PRICE_SCALE
        salt = salt_of(f"{self._seed}:{contract.symbol}:{self.session.date}")
        base = self._base(contract.underlying, spots)
        strike = contract.strike / PRICE_SCALE
        settles_ms = settlement_ms(contract)
        years = max(0, settles_ms - self._open_ms) / YEAR_MS + DAY_YEARS / 4
        lowest, highest = spots.reach or (reference, reference)
        nearest = min(max(contract.strike, lowest), highest)
        far = abs(math.log(contract.strike / nearest)) / (base * math.sqrt(years))
        near = far < 1
        every_ms = NEAR_MS if near else 600_000 if far < 2.5 else 3_600_000 if far < 5 else 7_200_000 * (salt & 1)
        if (contract.expiry - self.session.date).days > WEEK_DAYS:
            every_ms *= 4
        ends_ms = trading_end_ms(contract, self.session)
        if contract.settlement == "A" and contract.expiry == self.session.date:
            ends_ms = self._open_ms
        known = Known(
            contract=contract,
            salt=salt,
            spots=spots,
            strike=strike,
            base=base,
            quote_every_ms=1000 if near else 2000 if far < 2.5 else 6000,
            settles_ms=settles_ms,
            trading_ends_ms=max(ends_ms, self._open_ms + 1),
            close=0,
            past_last=0,
            open_interest=int(12_000 * math.exp(-far * far / 3) * (1 + (salt >> 8) % 100 / 50)) + (salt >> 16) % 40,
            past_time_ms=0,
            tick_from=3 * PRICE_SCALE,
            traded=Traded(every_ms if ends_ms > self._open_ms else 0),
        )
        closed_ms = self._earlier.regular_close_us // 1000
        middle = self._value(known, reference, closed_ms)
        known.close = max(CENT // 2, int(middle * PRICE_SCALE) // (CENT // 2) * (CENT // 2))
        days_back = 1 if every_ms else 1 + (salt >> 24) % 20
        known.past_time_ms = closed_ms - (days_back - 1) * 86_400_000 - 1000 - (salt >> 32) % (every_ms or 9_000_000)
        tick = _tick(known, known.close)
        known.past_last = max(tick, known.close // tick * tick)
        return known

    def _stops_ms(self, known: Known) -> int:
        expiring = known.contract.expiry == self.session.date
        return max(known.trading_ends_ms, known.settles_ms if expiring else 0)

    def _base(self, underlying: str, spots: Spots) -> float:
        """Volatility at the money: from the earlier session's range, else seeded."""
        seeded = salt_of(f"{self._seed}:{underlying}:iv") % 250 / 1000
        if spots.swing:
            return max(LEAST_VOLATILITY, min(MOST_VOLATILITY, spots.swing * RANGE_TO_YEAR * (1 + seeded)))
        calm = underlying in DAILY_ETFS or underlying.startswith("$")
        return 0.11 + seeded / 4 if calm else 0.20 + seeded

    def _volatility(self, known: Known, spot: float, years: float, time_ms: int) -> float:
        """The smile at this moment, as a fraction: skew, wings, and a slow wobble by the quarter minute."""
        away = math.log(known.strike / spot) / (known.base * math.sqrt(years + DAY_YEARS))
        away = -4.0 if away < -4.0 else 4.0 if away > 4.0 else away
        return known.base * (1 - 0.06 * away + 0.03 * away * away) * (1 + 0.01 * _wobble(time_ms // MODEL_MS))

    def _value(self, known: Known, spot: int, time_ms: int) -> float:
        """The middle of the market in dollars."""
        price = spot / PRICE_SCALE
        left_ms = known.settles_ms - time_ms
        years = left_ms / YEAR_MS if left_ms > 0 else 0.0
        volatility = self._volatility(known, price, years, time_ms)
        return value_of(known.contract.right, price, known.strike, years, volatility, RATE)

    def _market(self, known: Known, time_ms: int) -> tuple[int, int, int]:
        """(bid, ask, spot) at an instant."""
        spot = known.spots.at(time_ms) or known.contract.strike
        middle = int(self._value(known, spot, time_ms) * PRICE_SCALE)
        tick = _tick(known, middle)
        wide = middle // (150 if known.contract.penny else 80) // tick * tick or tick
        if mixed(known.salt ^ time_ms) & 7 == 0:
            wide += tick
        bid = (middle - wide // 2) // tick * tick
        if bid + wide < middle:  # what it is worth lies between the two
            bid += tick
        if bid < 0:
            bid = 0
        return bid, bid + wide, spot

    def _trade(self, known: Known, now_ms: int) -> Traded:
        """The trades until now; a trade's price is the bid or the ask of its instant."""
        traded = known.traded
        every_ms = traded.every_ms
        if not every_ms or now_ms < self._open_ms or traded.time_ms <= now_ms < traded.next_ms:
            return traded
        latest = (now_ms - self._open_ms) // every_ms
        if self._trade_ms(known, latest) > now_ms:
            latest -= 1
        latest += 1
        if latest < traded.number:
            traded = Traded(every_ms)
        while True:
            time_ms = self._trade_ms(known, traded.number)
            if time_ms >= known.trading_ends_ms:
                traded.next_ms = ALWAYS
                break
            if traded.number >= latest:
                traded.next_ms = time_ms
                break
            noise = mixed(known.salt + time_ms)
            bid, ask, _ = self._market(known, time_ms)
            price = ask if noise & 1 or not bid else bid
            traded.open = traded.open or price
            traded.high, traded.low = max(traded.high, price), min(traded.low or price, price)
            traded.last, traded.time_ms, traded.last_size = price, time_ms, 1 + (noise >> 8) % 10
            traded.volume += traded.last_size + (noise >> 16) % (60 if every_ms == NEAR_MS else 6)
            traded.number += 1
        return traded

    def _trade_ms(self, known: Known, number: int) -> int:
        every_ms = known.traded.every_ms
        return self._open_ms + number * every_ms + mixed(known.salt ^ number * 7919) % every_ms

    # ── quotes, and for how long they hold ──────────────────────────────────────────────────────────────────────

    def _early(self, known: Known, position_ms: int) -> Quoted:
        turns_ms = (self._reset_ms, self._reset_ms + MODEL_BEGINS_MS, self._open_ms)
        until_ms = next(turn_ms for turn_ms in turns_ms if position_ms <= turn_ms)
        return Quoted(self._before_open(known, position_ms - 1), position_ms, until_ms)

    def _later(self, known: Known, position_ms: int) -> Quoted:
        now_ms, ends_ms, every_ms = position_ms - 1, known.trading_ends_ms, known.quote_every_ms
        moment_ms = min(now_ms, ends_ms - 1)
        phase_ms = known.salt % every_ms
        grid_ms = (moment_ms - phase_ms) // every_ms * every_ms + phase_ms
        traded = self._trade(known, moment_ms)
        settled_ms = max(known.settles_ms, ends_ms)
        until_ms = settled_ms if now_ms < settled_ms else ALWAYS
        if traded.next_ms:
            until_ms = min(until_ms, traded.next_ms)
        if grid_ms + every_ms < ends_ms:
            until_ms = min(until_ms, grid_ms + every_ms)
        quote = self._live(known, max(self._open_ms, grid_ms), traded, now_ms >= settled_ms)
        return Quoted(quote, position_ms, until_ms)

    def _live(self, known: Known, quoted_ms: int, traded: Traded, settled: bool) -> OptionQuote:
        bid, ask, spot = self._market(known, quoted_ms)
        noise = mixed(known.salt * 3 + quoted_ms)
        quote = OptionQuote(
            bid=bid,
            ask=ask,
            last=traded.last or known.past_last,
            mark=(bid + ask) // 2,
            high=traded.high,
            low=traded.low,
            open=traded.open,
            close=known.close,
            bid_size=1 + noise % 150 if bid else 0,
            ask_size=1 + (noise >> 16) % 150,
            last_size=traded.last_size,
            volume=traded.volume,
            open_interest=known.open_interest,
            quote_time_ms=quoted_ms,
            trade_time_ms=traded.time_ms or known.past_time_ms,
            iv=None,
            delta=None,
            gamma=None,
            theta=None,
            vega=None,
            rho=None,
            theoretical=None,
            underlying_price=spot,
            nan=settled,
        )
        _put_year(known, quote)
        if not settled:
            phase_ms = known.salt % MODEL_MS
            at_ms = max(self._open_ms, (quoted_ms - phase_ms) // MODEL_MS * MODEL_MS + phase_ms)
            self._put_model(known, quote, at_ms)
        return quote

    def _before_open(self, known: Known, now_ms: int) -> OptionQuote:
        expiring = known.contract.expiry == self.session.date
        early = now_ms < self._reset_ms + MODEL_BEGINS_MS
        closed_ms = trading_end_ms(known.contract, self._earlier)
        spread = _tick(known, known.close)
        bid = max(0, known.close - spread // 2) // CENT * CENT
        salt = known.salt
        quote = OptionQuote(
            bid=bid,
            ask=bid + spread,
            last=known.past_last,
            mark=bid + spread // 2,
            high=0,
            low=0,
            open=known.past_last if now_ms < self._reset_ms else 0,
            close=known.close,
            bid_size=0 if expiring or not bid else 1 + salt % 150,
            ask_size=0 if expiring else 1 + (salt >> 16) % 150,
            last_size=1 + (salt >> 8) % 10,
            volume=0,
            open_interest=known.open_interest,
            quote_time_ms=0 if expiring else closed_ms - 1,
            trade_time_ms=known.past_time_ms,
            iv=None if expiring else 0.0,
            delta=None,
            gamma=None,
            theta=None,
            vega=None,
            rho=None,
            theoretical=-1.0,
            underlying_price=known.spots.reference or 0,
            status="Unknown" if expiring else "Normal",
        )
        _put_year(known, quote)
        if not early:
            quote.iv = quote.theoretical = None
            self._put_model(known, quote, self._earlier.regular_close_us // 1000)
        return quote

    def _put_model(self, known: Known, quote: OptionQuote, at_ms: int) -> None:
        """IV, greeks and theoretical value as computed at `at_ms`, unless the model has no answer."""
        if known.model is None or known.model[0] != at_ms:
            known.model = (at_ms, *self._modelled(known, at_ms))
        _, volatility, answer = known.model
        if answer is not None:
            quote.iv, quote.theoretical = volatility * 100, answer.value
            quote.delta, quote.gamma, quote.theta = answer.delta, answer.gamma, answer.theta
            quote.vega, quote.rho = answer.vega, answer.rho

    def _modelled(self, known: Known, at_ms: int) -> tuple[float, Priced | None]:
        """(volatility, the model's answer); None where nothing is left above the intrinsic value."""
        spot = (known.spots.reference if at_ms < self._open_ms else known.spots.at(at_ms)) or known.contract.strike
        years = (known.settles_ms - at_ms) / YEAR_MS
        price = spot / PRICE_SCALE
        if years <= 0:
            return 0.0, None
        volatility = self._volatility(known, price, years, at_ms)
        answer = priced(known.contract.right, price, known.strike, years, volatility, RATE)
        intrinsic = max(0.0, price - known.strike if known.contract.right == "C" else known.strike - price)
        solved = answer.value >= LEAST_VALUE and answer.value - intrinsic >= LEAST_EXTRINSIC
        return volatility, answer if solved else None


@lru_cache(maxsize=64)
def _wobble(number: int) -> float:
    return (mixed(number) % 2001 - 1000) / 1000


def _tick(known: Known, price: int) -> int:
    if known.contract.underlying in DAILY_ETFS:
        return CENT
    if known.contract.penny:
        return CENT if price < known.tick_from else NICKEL
    return NICKEL if price < known.tick_from else DIME


def _put_year(known: Known, quote: OptionQuote) -> None:
    """52-week extremes: beyond anything of the day."""
    year = known.year
    if year is not None and year[:2] == (quote.high, quote.low):
        quote.high_52, quote.low_52 = year[2:]
        return
    above = known.close * (2 + known.salt % 7) + DIME
    quote.high_52 = max(above // CENT * CENT, quote.high)
    below = known.close // (2 + (known.salt >> 4) % 9) // CENT * CENT
    quote.low_52 = max(CENT, min(below, quote.low) if quote.low else below)
    known.year = (quote.high, quote.low, quote.high_52, quote.low_52)
