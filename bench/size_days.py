"""Days of rows, derived by the recorder's own engine from frames and trades, for what they take on disk.

An equity's day is SPY's of 2013-10-08, 04:00 to 20:00, from the shared data: every print and the quotes of each second,
one update a second, as Schwab conflates them. A chain's day is option_frames.py's, 09:30 to 16:00, of one underlying:
50 strikes, calls and puts of one expiry. How often a contract has an update is said by `Pace`.
A day is made once and stored as other dates too: its rows are moved by whole days.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import msgspec

from alphakite.derive.engine import Engine
from alphakite.derive.moment import DeriveSettings
from alphakite.derive.rows import Rows
from alphakite.feed.schwab.decode import decode
from alphakite.model import EquityUpdate, OptionRow
from bench.option_frames import DAY_MS, OPEN_S, SESSION, TICKERS, Load, Market
from bench.run_option_cost import CONNECTION, prepared

TICKER = TICKERS[0]
TRADES, QUOTES = "lean_SPY_20131008_trade_tick.csv.gz", "lean_SPY_20131008_quote_1s.csv.gz"
EQUITY_DAY = date(2013, 10, 8)
DAY_US = 86_400_000_000
SESSION_S = 23_400
"""From 09:30 to 16:00."""


class Pace(msgspec.Struct, frozen=True):
    """How lively a chain is: the share of seconds in which a contract has updates, and how many it then has."""

    name: str
    share: float
    flushes: int = 1


CALM, LIVELY, MOST = Pace("calm", 0.4), Pace("lively", 1.0), Pace("at most", 1.0, 2)
"""calm: as in the recording of 2025-10-31, median 1.25 s, p90 6 s between updates: a mean of about 2.5 s. lively: one a
second. at most: one each time that the streamer's timer of 500 ms lets it."""


def equity_day(folder: Path) -> list[Rows]:
    """SPY's day, as one Rows for every minute or so."""
    engine = Engine(1)
    engine.configure(0, DeriveSettings((TICKER,)))
    found: list[Rows] = []
    for seq, (second, update) in enumerate(_spy_seconds(folder), 1):
        engine.frame(seq, second * 1_000_000 + 900_000, CONNECTION, [update], 0)
        if not seq % 100:
            found.append(engine.take())
    found.append(engine.take())
    return found


def option_day(pace: Pace, settings: DeriveSettings, seconds: int = SESSION_S, seed: int = 1) -> Iterator[Rows]:
    """A chain's rows from 09:30 on, a second or so at a time; the first one's images beside them."""
    market, rng = Market(Load("100", 50, 1), seed), random.Random(seed)
    market.watch(key for key, one in market.contracts.items() if one.at == 0)
    everyone = market.watched
    start_ms = DAY_MS + OPEN_S * 1000
    engine = prepared(market, settings, start_ms - 1000)
    for second in range(seconds):
        for part in range(pace.flushes):
            market.watched = everyone if pace.share == 1 else [one for one in everyone if rng.random() < pace.share]
            late_ms = start_ms + 1000 * second + 500 * part
            for number, (_, frame) in enumerate(market.second(late_ms)):
                made = decode(frame)
                now_us = (late_ms + number) * 1000
                engine.frame(
                    (second * 2 + part) * 10 + number + 1000, now_us, CONNECTION, made.updates, 0, made.options
                )
        yield engine.take()


def moved(rows: Rows, days: int) -> Rows:
    """The same rows, so many days later; contracts expire as much later."""
    by_us = days * DAY_US
    return Rows(
        equity=[msgspec.structs.replace(row, timestamp_us=row.timestamp_us + by_us) for row in rows.equity],
        indicators=[msgspec.structs.replace(row, timestamp_us=row.timestamp_us + by_us) for row in rows.indicators],
        options=[_moved(row, days) for row in rows.options],
        images=[_moved(row, days) for row in rows.images],
    )


def _moved(row: OptionRow, days: int) -> OptionRow:
    expiry = row.expiry + timedelta(days)
    return msgspec.structs.replace(
        row,
        timestamp_us=row.timestamp_us + days * DAY_US,
        expiry=expiry,
        symbol=f"{row.symbol[:6]}{expiry:%y%m%d}{row.symbol[12:]}",
    )


def days_from(first: date, since: date) -> int:
    """How far a day made for `since` is to be moved to begin on `first`."""
    return (first - since).days


def _spy_seconds(folder: Path) -> Iterator[tuple[int, EquityUpdate]]:
    """(epoch second, what changed in it), in their order."""
    seconds: dict[int, EquityUpdate] = {}
    volume = 0
    with gzip.open(folder / TRADES, "rt") as file:
        for ms, trades in itertools.groupby(csv.DictReader(file), lambda row: int(row["epoch_ms"])):
            update = seconds.setdefault(ms // 1000, EquityUpdate(TICKER))
            for trade in trades:
                volume += int(trade["size"])
                update.last, update.last_size = float(trade["price"]), int(trade["size"])
            update.volume, update.trade_time_ms, update.regular_trade_time_ms = volume, ms, ms
    with gzip.open(folder / QUOTES, "rt") as file:
        for row in csv.DictReader(file):
            update = seconds.setdefault(int(row["epoch_ms"]) // 1000, EquityUpdate(TICKER))
            update.bid, update.ask = float(row["bid_close"]), float(row["ask_close"])
            update.bid_size, update.ask_size = int(row["bid_size"]), int(row["ask_size"])
            update.quote_time_ms = int(row["epoch_ms"])
    yield from sorted(seconds.items())


__all__ = [
    "CALM", "EQUITY_DAY", "LIVELY", "MOST", "SESSION", "SESSION_S", "TICKER", "Pace", "days_from", "equity_day",
    "moved", "option_day",
]  # fmt: skip
