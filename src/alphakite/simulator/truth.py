"""The truth of a tape: the rows that an undisturbed recorder, started at the programme's start, must store.

In:   a Programme (its tapes, times and phase).      Out:  Second, Minute and Day values of each symbol.
Computed from the tape's lines alone, by its own code: no frame, no state of the simulator is used. In aligned mode a
window is a tape second; with a random phase rows follow the frames' stamps, a window's end less one millisecond.

    Second  one per second with an update: last price (None before the session's first trade), what traded, the
            cumulative volume, sma9 and vwap (None outside the regular session)
    Minute  one per regular-session minute with a trade: open, high, low, close of the seconds' last prices, and both
            indicators as they stand in the minute's last row
    Day     open, high, low, close of the prints that move the regular-market fields, whole session or up to --end;
            volume since the last reset; the number of Second rows; vwap with the closing cross

Of several sessions each has its rows: sma9 carries over, vwap begins anew, cumulative volume goes on until 07:28.
An index has no volume: None in every volume and in vwap. With cross-trade-time=still the closing cross does not count.

A start inside the session seeds both indicators as pricehistory would answer: sma9 with the newest minutes before it,
vwap with Σ(typical price × volume) of the regular minutes before it (16:00 too, where the closing cross stands).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alphakite.model import Candle
from alphakite.sessions import Session, session_at
from alphakite.simulator.days import PlayedDay
from alphakite.simulator.programme import Programme
from alphakite.simulator.synthetic import is_index
from alphakite.simulator.tape import SymbolTape

PERIOD = 9
AFTER_CLOSE_MS = 300_000
MINUTE_MS = 60_000
TO_MICROS = 100
"""Prices are 1e-8, indicator values 1e-6 dollars."""


@dataclass(frozen=True, slots=True)
class Second:
    """A row of equity_data and of indicators. price × 1e-8, sma9 and vwap × 1e-6 dollars."""

    ticker: str
    timestamp_s: int
    price: int | None
    volume: int | None
    day_volume: int | None
    sma9: int | None
    vwap: int | None


@dataclass(frozen=True, slots=True)
class Minute:
    """A regular-session bar; units as in Second."""

    ticker: str
    timestamp_s: int
    open: int
    high: int
    low: int
    close: int
    volume: int | None
    sma9: int | None
    vwap: int | None


@dataclass(frozen=True, slots=True)
class Day:
    """A session's sum; units as in Second."""

    ticker: str
    session: str
    open: int | None
    high: int | None
    low: int | None
    close: int | None
    volume: int | None
    rows: int
    vwap: int | None


@dataclass(frozen=True, slots=True)
class Truth:
    """The whole answer, each list sorted by timestamp, then ticker."""

    seconds: list[Second]
    minutes: list[Minute]
    days: list[Day]


@dataclass(slots=True)
class Window:
    """What a conflation window brought: `stamp_ms` its frame's stamp; `crossed`: a regular-market print was in it."""

    stamp_ms: int
    price: int | None
    before: int
    volume: int
    traded: bool
    crossed: bool


@dataclass(slots=True)
class Carried:
    """What a symbol takes from one session into the next: the newest closes, cumulative volume."""

    closes: list[int]
    volume: int


def compute_truth(programme: Programme) -> Truth:
    """The answer for every symbol and session of the programme."""
    truth = Truth([], [], [])
    carried: dict[str, Carried] = {}
    for day in programme.days():
        for symbol, tape in day.tapes.items():
            reckoning = _Reckoning(programme, day, tape, carried.get(symbol))
            carried[symbol] = reckoning.add_to(truth)
    truth.seconds.sort(key=lambda row: (row.timestamp_s, row.ticker))
    truth.minutes.sort(key=lambda row: (row.timestamp_s, row.ticker))
    truth.days.sort(key=lambda row: (row.session, row.ticker))
    return truth


class _Reckoning:
    """One symbol's way through one session."""

    def __init__(self, programme: Programme, day: PlayedDay, tape: SymbolTape, carried: Carried | None) -> None:
        session = day.session
        self.programme, self.day, self.tape, self.session = programme, day, tape, session
        self.open_ms, self.close_ms = session.regular_open_us // 1000, session.regular_close_us // 1000
        self.closes: list[int] = []
        self.volume = 0
        self.thirds = 0
        self.counted = 0
        self.index = is_index(tape.symbol)
        if carried is None:
            self._seed()
        else:
            self.closes, self.volume = carried.closes, carried.volume

    def add_to(self, truth: Truth) -> Carried:
        """Append this symbol's rows."""
        ticker, rows = self.tape.symbol, 0
        bar: list[int] = []
        volume = self.volume
        minute = -1
        latest: Minute | None = None
        for window in _windows(self.programme, self.day, self.tape, self.volume):
            rows += 1
            second = window.stamp_ms // 1000
            change = window.volume - window.before
            volume = window.volume
            regular = self.open_ms <= second * 1000 < self.close_ms
            crossing = self.close_ms <= second * 1000 < self.close_ms + AFTER_CLOSE_MS and window.crossed
            if window.price is not None and (regular or crossing):
                self.thirds += 3 * change * window.price
                self.counted += change
            sma9 = vwap = None
            if regular:
                if second // 60 != minute:
                    self.closes += bar[3:4]
                    bar, minute = [], second // 60
                if window.traded and window.price is not None:
                    bar = _grown(bar, window.price)
                sma9, vwap = self._sma9(bar), self._vwap()
                if bar:
                    grown = change + ((latest.volume or 0) if latest and latest.timestamp_s == minute * 60 else 0)
                    if latest is not None and latest.timestamp_s != minute * 60:
                        truth.minutes.append(latest)
                    told = None if self.index else grown
                    latest = Minute(ticker, minute * 60, bar[0], bar[1], bar[2], bar[3], told, sma9, vwap)
            if self.index:
                truth.seconds.append(Second(ticker, second, window.price, None, None, sma9, None))
            else:
                truth.seconds.append(Second(ticker, second, window.price, change, volume, sma9, vwap))
        if latest is not None:
            truth.minutes.append(latest)
        truth.days.append(self._day(rows, None if self.index else volume))
        return Carried((self.closes + bar[3:4])[-PERIOD:], volume)

    def _seed(self) -> None:
        start_us = self.day.start_ms * 1000
        candles = [candle for candle in self.tape.history if self._counts(candle) and _in_regular(candle)]
        made = self.tape.minutes()
        today = [candle for candle in made if self._counts(candle) and candle.minute_us < start_us]
        regular = [candle for candle in today if _in_regular(candle)]
        self.closes = [candle.close for candle in (candles + regular)[-PERIOD:]]
        counted = [candle for candle in today if candle.minute_us == self.session.regular_close_us]
        for candle in regular + counted:
            self.thirds += candle.volume * (candle.high + candle.low + candle.close)
            self.counted += candle.volume

    def _counts(self, candle: Candle) -> bool:
        return candle.volume > 0 or self.index

    def _sma9(self, bar: list[int]) -> int | None:
        window = [*self.closes[1 - PERIOD :], bar[3]] if bar else self.closes[-PERIOD:]
        return _half_even(sum(window), PERIOD * TO_MICROS) if len(window) == PERIOD else None

    def _vwap(self) -> int | None:
        return _half_even(self.thirds, 3 * self.counted * TO_MICROS) if self.counted else None

    def _day(self, rows: int, volume: int | None) -> Day:
        prints = self.tape.prints
        last_ms = min(self.close_ms + AFTER_CLOSE_MS, self.day.end_ms)
        prices = [
            price
            for time_ms, price, closing in zip(prints.times_ms, prints.prices, prints.closing, strict=True)
            if self.open_ms <= time_ms < last_ms and (closing or time_ms < self.close_ms)
        ]
        first, last = (prices[0], prices[-1]) if prices else (None, None)
        high, low = max(prices, default=None), min(prices, default=None)
        day = self.session.date.isoformat()
        return Day(self.tape.symbol, day, first, high, low, last, volume, rows, self._vwap())


def _windows(programme: Programme, day: PlayedDay, tape: SymbolTape, volume: int) -> Iterator[Window]:
    """The windows from start to end in which something arrived, in order. `volume`: cumulative at the beginning.

    A window that runs beyond the session's end makes no row; only the last session's is cut.
    """
    session, prints = day.session, tape.prints
    begin_ms, reset_ms = session.extended_open_us // 1000, session.volume_reset_us // 1000
    open_ms, close_ms = session.regular_open_us // 1000, session.regular_close_us // 1000
    cross_ms = 0 if programme.switches.get("cross-trade-time") == "still" else AFTER_CLOSE_MS
    ends = {programme.window_of(time_ms) for time_ms in prints.times_ms if _played(day, time_ms)}
    if tape.quotes is not None:
        ends |= {programme.window_of(time_ms) for time_ms in tape.quotes.times_ms if _played(day, time_ms)}
    ends |= {programme.window_of(time_ms) for time_ms, _ in tape.statuses if _played(day, time_ms)}
    if _played(day, reset_ms) and not is_index(tape.symbol):
        ends.add(programme.window_of(reset_ms))
    place, cumulative = 0, volume
    price: int | None = None
    reset = False
    for end_ms in [day.start_ms, *sorted(ends)]:
        before, traded, crossed = cumulative, False, False
        while place < len(prints.times_ms) and prints.times_ms[place] < end_ms:
            time_ms = prints.times_ms[place]
            if not reset and time_ms >= reset_ms:
                reset, before, cumulative = True, 0, 0
            cumulative += prints.sizes[place]
            traded = True
            if time_ms >= begin_ms:
                price = prints.prices[place]
            ends_ms = close_ms + cross_ms if prints.closing[place] else close_ms
            crossed |= open_ms <= time_ms < ends_ms
            place += 1
        if not reset and end_ms > reset_ms:
            reset, before, cumulative = True, 0, 0
        if day.start_ms < end_ms <= session.extended_close_us // 1000:
            yield Window(end_ms - 1, price, before, cumulative, traded, crossed)


def _played(day: PlayedDay, time_ms: int) -> bool:
    return day.start_ms <= time_ms < day.end_ms


def _in_regular(candle: Candle) -> bool:
    session: Session | None = session_at(candle.minute_us)
    return session is not None and session.regular_open_us <= candle.minute_us < session.regular_close_us


def _grown(bar: list[int], price: int) -> list[int]:
    """[open, high, low, close] with one more price."""
    return [bar[0], max(bar[1], price), min(bar[2], price), price] if bar else [price] * 4


def _half_even(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        return quotient + 1
    return quotient
