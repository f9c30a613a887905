"""Schwab-shaped LEVELONE_OPTIONS frames around five equities, made second by second.

Each contract and each equity has one update a second: of contracts one half at the second's beginning, the other half
500 ms later, the streamer's timer for options, or scattered over the second; equities in one frame. A frame has at most
`MOST_KEYS` keys.
An option's update has its quote time, and by the shares that a recording of 2025-10-31 shows: the underlying's price
and what follows from it in 72 %, sizes in 62 %; beside them volatility, theory and all five greeks in 15 %. Bid and ask
come in 10 % and trades in 5 %, more than that recording's deep contracts have. All prices are Black and Scholes'.
Seeded: the same seconds give the same bytes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from math import erf, exp, log, pi, sqrt

import msgspec

from bench.frames import Instrument, framed, price_text

SESSION = date(2026, 11, 20)
EXPIRIES = SESSION, date(2026, 11, 23)
"""Today's contracts, and those that are followed after today's have ended."""
DAY_MS = int(datetime(2026, 11, 20, 9, tzinfo=UTC).timestamp() * 1000)
"""04:00 in New York."""
OPEN_S, END_S = 19_800, 57_600
"""09:30 and 20:00, in seconds after 04:00."""
CLOSE_MS = [int(datetime(one.year, one.month, one.day, 21, tzinfo=UTC).timestamp() * 1000) for one in EXPIRIES]
MOST_KEYS = 100
EQUITIES_MS = 250
OF_SPOT, OF_SIZE, OF_MODEL, OF_PRICE, OF_TRADE = 0.72, 0.62, 0.15, 0.10, 0.05
YEAR_MS = 365 * 86_400_000
VOLATILITY, SMILE = 0.22, 6.0
"""At the money, and what a unit of log-moneyness adds on either side."""
LEAST_PREMIUM = 0.0005
"""Dollars: what is worth less has no bid, and the vendor's model has no answer."""
IMAGE = (
    '{{"key":"{key}","delayed":false,"assetMainType":"OPTION","1":"{name}","2":{bid},"3":{ask},"4":{last},"5":3.18,'
    '"6":0.97,"7":2.26,"8":{volume},"9":7315,{model},"11":{intrinsic},"12":{year},"13":100,"14":2,"15":2.05,"16":112,'
    '"17":87,"18":3,"19":-0.83,"20":{strike},"21":"{right}","22":"{ticker}","23":{month},"24":"100 {ticker}","25":1.43,'
    '"26":{day},"27":0,{greeks},"33":"Normal","34":1.42877131,"35":{spot},"36":"W","37":1.43,"38":{time},"39":{time},'
    '"40":"O","41":"OPR","42":{last_day},"43":"P","44":-36.72566372,"45":-0.83,"46":-36.72566372,"47":0,"48":true,'
    '"49":"{ticker}","50":41.2,"51":0.97,"52":0,"53":0,"54":0,"55":"A"}}'
)


class Load(msgspec.Struct, frozen=True):
    """So many strikes of so many of the five tickers, one expiry, calls and puts.

    `step`: dollars between strikes. `flushes`: how often a second the streamer sends what has changed.
    """

    name: str
    strikes: int
    optionable: int
    step: float = 1.0
    flushes: int = 2

    @property
    def contracts(self) -> int:
        """At one time."""
        return 2 * self.strikes * self.optionable


TICKERS = ("SPY", "QQQ", "IWM", "AAPL", "TSLA")
FIRST_CENTS = (60_000, 52_000, 24_000, 21_000, 33_000)
LOADS = {
    one.name: one for one in (Load("200", 50, 2), Load("200 scattered", 50, 2, flushes=20), Load("3000", 300, 5, 0.5))
}


class Contract:
    """One option's last values. Prices in cents."""

    def __init__(self, under: Instrument, strike: float, right: str, at: int) -> None:
        expiry = EXPIRIES[at]
        self.under, self.strike, self.right, self.at = under, strike, right, at
        self.key = f"{under.key:<6}{expiry:%y%m%d}{right}{round(strike * 1000):08d}"
        self.sign = 1 if right == "C" else -1
        self.start = f'{{"key":"{self.key}"'
        self.volume = 0

    def image(self, ms: int) -> str:
        """All fields, as a subscription's first item has them."""
        expiry, spot = EXPIRIES[self.at], self.under.last / 100
        bid, ask, model, greeks = self._priced(ms)
        self.volume = self.volume or 1000
        return IMAGE.format(
            key=self.key, name=f"{self.under.key} {expiry:%m/%d/%Y} {self.strike:.2f} {self.right}", bid=bid, ask=ask,
            last=ask, volume=self.volume, model=model, greeks=greeks, year=expiry.year, month=expiry.month,
            day=expiry.day, intrinsic=f"{self.sign * (spot - self.strike):.8g}", strike=f"{self.strike:g}",
            right=self.right, ticker=self.under.key, spot=f"{spot:g}", time=ms - 800,
            last_day=CLOSE_MS[self.at] + 14_400_000,
        )  # fmt: skip

    def delta(self, ms: int, rng: random.Random) -> str:
        """Changed fields, ascending."""
        draw, parts = rng.random, [self.start]
        add = parts.append
        of_spot, of_model, of_trade = draw() < OF_SPOT, draw() < OF_MODEL, draw() < OF_TRADE
        of_price = draw() < OF_PRICE
        if of_price or of_model:
            bid, ask, model, greeks = self._priced(ms)
        if of_price:
            add(f'"2":{bid},"3":{ask}')
        if of_trade:
            self.volume += 1 + int(20 * draw())
            add(f'"4":{price_text(1 + int(200 * draw()))},"8":{self.volume}')
        if of_model:
            add(model)
        cents = self.under.last
        if of_spot:
            add(f'"11":{price_text(self.sign * (cents - round(100 * self.strike)))}')
        if draw() < OF_SIZE:
            size = draw()
            if size < 0.7:
                add(f'"16":{1 + int(150 * draw())}')
            if size > 0.3:
                add(f'"17":{1 + int(150 * draw())}')
        if of_trade:
            add(f'"18":{1 + int(20 * draw())}')
        if of_model:
            add(greeks)
            add(f'"34":{bid}')
        if of_spot:
            add(f'"35":{price_text(cents)}')
        if of_price:
            add(f'"37":{ask}')
        at = ms - 20 - int(400 * draw())
        add(f'"38":{at}')
        if of_trade:
            add(f'"39":{at}')
        if of_price:
            add('"45":-0.82,"46":-36.28318584')
        return ",".join(parts) + "}"

    def _priced(self, ms: int) -> tuple[str, str, str, str]:
        """Bid, ask, the field of volatility and those of greeks."""
        spot, strike = self.under.last / 100, self.strike
        years = max(60_000, CLOSE_MS[self.at] - ms) / YEAR_MS
        moneyness = log(spot / strike)
        volatility = VOLATILITY + SMILE * abs(moneyness)
        scale = volatility * sqrt(years)
        one = moneyness / scale + scale / 2
        two = one - scale
        call = spot * _normal(one) - strike * _normal(two)
        worth = call if self.sign > 0 else call - spot + strike
        half = 0.01 + 0.01 * (worth > 3) + 0.03 * (worth > 15)
        bid, ask = max(0.0, math.floor(100 * (worth - half)) / 100), math.ceil(100 * (worth + half)) / 100
        texts = f"{bid:g}", f"{ask:g}"
        if worth - max(0.0, self.sign * (spot - strike)) < LEAST_PREMIUM:
            return *texts, '"10":-999', '"28":-999,"29":-999,"30":-999,"31":-999,"32":-999'
        density = exp(-one * one / 2) / sqrt(2 * pi)
        delta, vega = _normal(one) - (self.sign < 0), spot * density * sqrt(years) / 100
        theta = -spot * density * volatility / (2 * sqrt(years) * 365)
        greeks = (
            f'"28":{delta:.8f},"29":{density / (spot * scale):.8f},"30":{theta:.8f},"31":{vega:.8f},'
            f'"32":{self.sign * strike * years * abs(delta) / 100:.8f}'
        )
        return *texts, f'"10":{100 * volatility:.8f}', greeks


class Market:
    """What a load plays: contracts by symbol, and which of them somebody has asked for."""

    def __init__(self, load: Load, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self.load = load
        self.equities = [Instrument(ticker, self._rng) for ticker in TICKERS]
        for one, cents in zip(self.equities, FIRST_CENTS, strict=True):
            one.last = cents
        self.contracts: dict[str, Contract] = {}
        for under in self.equities[: load.optionable]:
            low = under.last / 100 - load.step * (load.strikes - 1) / 2
            for at in range(len(EXPIRIES)):
                for number in range(load.strikes):
                    for right in "CP":
                        strike = math.floor(low / load.step + number) * load.step
                        contract = Contract(under, strike, right, at)
                        self.contracts[contract.key] = contract
        self.watched: list[Contract] = []

    def watch(self, keys: Iterable[str]) -> list[Contract]:
        """Asked for from now on; those that were not before."""
        have = {one.key for one in self.watched}
        new = [self.contracts[key] for key in keys if key not in have]
        self.watched += new
        self._shuffle()
        return new

    def leave(self, keys: Iterable[str]) -> None:
        """No more."""
        gone = set(keys)
        self.watched = [one for one in self.watched if one.key not in gone]

    def images(self, contracts: list[Contract], ms: int) -> Iterator[bytes]:
        """The frames after a subscription."""
        for start in range(0, len(contracts), MOST_KEYS):
            yield framed("LEVELONE_OPTIONS", ms, [one.image(ms) for one in contracts[start : start + MOST_KEYS]])

    def equity_image(self, ms: int) -> bytes:
        """The frame after their subscription."""
        return framed("LEVELONE_EQUITIES", ms, [one.image(ms) for one in self.equities])

    def second(self, ms: int) -> list[tuple[int, bytes]]:
        """The frames of the second that begins at `ms`: when each is sent, ms after it."""
        flushes = self.load.flushes
        found: list[tuple[int, bytes]] = []
        for number in range(flushes):
            offset_ms = number * 1000 // flushes
            found += ((offset_ms, frame) for frame in self._flushed(self.watched[number::flushes], ms + offset_ms))
        equities = [one.delta(ms + EQUITIES_MS, self._rng) for one in self.equities]
        at = sum(offset_ms <= EQUITIES_MS for offset_ms, _frame in found)
        return [*found[:at], (EQUITIES_MS, framed("LEVELONE_EQUITIES", ms + EQUITIES_MS, equities)), *found[at:]]

    def _flushed(self, contracts: list[Contract], ms: int) -> Iterator[bytes]:
        for start in range(0, len(contracts), MOST_KEYS):
            items = [one.delta(ms, self._rng) for one in contracts[start : start + MOST_KEYS]]
            yield framed("LEVELONE_OPTIONS", ms, items)

    def _shuffle(self) -> None:
        self._rng.shuffle(self.watched)


def _normal(x: float) -> float:
    return 0.5 + erf(x / 1.4142135623730951) / 2
