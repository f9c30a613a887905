"""Tapes: files of trades, one-second quotes and minute bars → compact columns in time order.

In:   csv or csv.gz, columns found by the names in the header, others ignored.
Out:  Prints, Quotes, Candles: times in epoch ms, prices × PRICE_SCALE, sizes in shares.
Lines are sorted stably by time. Prices never pass through a float. A bad line is a UsageError naming file and line.
Tapes of options have a reader of their own (option_tape.py).
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from alphakite.errors import UsageError
from alphakite.model import PRICE_SCALE, Candle

CLOSING_CONDITIONS = 0x80 | 0x1000000
"""Sale condition bits 7 (closing print) and 24 (official close report)."""
PRICE = re.compile(r"(\d{1,10})(?:\.(\d{1,8}))?")
MINUTE_MS = 60_000

T = TypeVar("T")


def _longs() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Prints:
    """Trades of one symbol in time order; `closing` is 1 for closing prints and official close reports."""

    times_ms: array[int] = field(default_factory=_longs)
    prices: array[int] = field(default_factory=_longs)
    sizes: array[int] = field(default_factory=_longs)
    closing: bytearray = field(default_factory=bytearray)

    def add(self, time_ms: int, price: int, size: int, closing: bool = False) -> None:
        """Append one print; the caller keeps the order of time."""
        self.times_ms.append(time_ms)
        self.prices.append(price)
        self.sizes.append(size)
        self.closing.append(closing)


@dataclass(slots=True)
class Quotes:
    """Closing bid and ask of one-second bars; `times_ms` is the bar's last millisecond, when they are known."""

    times_ms: array[int] = field(default_factory=_longs)
    bids: array[int] = field(default_factory=_longs)
    bid_sizes: array[int] = field(default_factory=_longs)
    asks: array[int] = field(default_factory=_longs)
    ask_sizes: array[int] = field(default_factory=_longs)

    def add(self, time_ms: int, bid: int, bid_size: int, ask: int, ask_size: int) -> None:
        """Append one quote; the caller keeps the order of time."""
        self.times_ms.append(time_ms)
        self.bids.append(bid)
        self.bid_sizes.append(bid_size)
        self.asks.append(ask)
        self.ask_sizes.append(ask_size)


@dataclass(slots=True)
class SymbolTape:
    """What is played of one symbol. Without `quotes`, quotes are made around the trades (level_one.py).

    `history` holds the minute candles of earlier sessions, oldest first; `statuses` the changes of the security
    status, (epoch ms, text), in order of time. `bars`: the minutes of which `prints` were made, None: real prints.
    """

    symbol: str
    prints: Prints = field(default_factory=Prints)
    quotes: Quotes | None = None
    history: list[Candle] = field(default_factory=list)
    statuses: list[tuple[int, str]] = field(default_factory=list)
    bars: list[Candle] | None = None

    def minutes(self) -> list[Candle]:
        """The played date's minute candles."""
        return candles_of(self.prints) if self.bars is None else self.bars


class PriceReader:
    """Decimal text → price × PRICE_SCALE, exactly; remembers what it has read, since prices repeat."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """Raises: ValueError: not a plain decimal with at most eight places."""
        price = self._known.get(text)
        if price is None:
            match = PRICE.fullmatch(text)
            if match is None:
                raise ValueError(f"{text!r} is not a price")
            price = int(match[1]) * PRICE_SCALE + int((match[2] or "").ljust(8, "0"))
            self._known[text] = price
        return price


def read_trades(path: Path) -> Prints:
    """Columns epoch_ms, price, size, sale_condition_hex."""
    price_of, prints = PriceReader(), Prints()

    def trade(time: str, price: str, size: str, condition: str) -> None:
        closing = bool(int(condition or "0", 16) & CLOSING_CONDITIONS)
        prints.add(_time(time), positive(price_of(price)), count_of(size), closing)

    read_columns(path, ("epoch_ms", "price", "size", "sale_condition_hex"), trade)
    order = _order(prints.times_ms)
    if order is None:
        return prints
    times_ms, prices, sizes = (_reorder(column, order) for column in (prints.times_ms, prints.prices, prints.sizes))
    return Prints(times_ms, prices, sizes, bytearray(prints.closing[place] for place in order))


def read_quotes(path: Path, *, minutes: bool = False) -> Quotes:
    """Columns epoch_ms, bid_close, bid_size, ask_close, ask_size; empty or 0: no quote on that side.

    A line is a bar of one second, or of one minute.
    """
    price_of, quotes = PriceReader(), Quotes()

    def quote(time: str, bid: str, bid_size: str, ask: str, ask_size: str) -> None:
        last_ms = minute_of(time) + MINUTE_MS - 1 if minutes else _time(time) // 1000 * 1000 + 999
        quotes.add(
            last_ms, price_of(bid or "0"), count_of(bid_size or "0"), price_of(ask or "0"), count_of(ask_size or "0")
        )

    read_columns(path, ("epoch_ms", "bid_close", "bid_size", "ask_close", "ask_size"), quote)
    order = _order(quotes.times_ms)
    if order is None:
        return quotes
    columns = (quotes.times_ms, quotes.bids, quotes.bid_sizes, quotes.asks, quotes.ask_sizes)
    return Quotes(*(_reorder(column, order) for column in columns))


def read_bars(path: Path, *, index: bool = False) -> list[Candle]:
    """Columns epoch_ms, open, high, low, close, volume; epoch_ms is the minute's start. An index has no volume."""
    price_of, candles = PriceReader(), list[Candle]()

    def bar(time: str, opening: str, high: str, low: str, close: str, volume: str = "0") -> None:
        minute_ms = minute_of(time)
        first, highest, lowest, last = (positive(price_of(text)) for text in (opening, high, low, close))
        candles.append(Candle(minute_ms * 1000, first, highest, lowest, last, count_of(volume)))

    columns = ("epoch_ms", "open", "high", "low", "close")
    read_columns(path, columns if index else (*columns, "volume"), bar)
    candles.sort(key=lambda candle: candle.minute_us)
    return candles


def prints_of(candles: Sequence[Candle]) -> Prints:
    """Minute bars as they are played: each is one print of its close and volume in its last millisecond."""
    prints = Prints()
    for candle in candles:
        prints.add(candle.minute_us // 1000 + MINUTE_MS - 1, candle.close, candle.volume)
    return prints


def candles_of(prints: Prints) -> list[Candle]:
    """The minute candles of a tape's own prints: every print counts, whatever its sale condition."""
    candles: list[Candle] = []
    minute = -1
    opening = high = low = close = volume = 0
    for time_ms, price, size in zip(prints.times_ms, prints.prices, prints.sizes, strict=True):
        if time_ms // MINUTE_MS != minute:
            if minute >= 0:
                candles.append(Candle(minute * MINUTE_MS * 1000, opening, high, low, close, volume))
            minute = time_ms // MINUTE_MS
            opening = high = low = price
            volume = 0
        if price > high:
            high = price
        elif price < low:
            low = price
        close = price
        volume += size
    if minute >= 0:
        candles.append(Candle(minute * MINUTE_MS * 1000, opening, high, low, close, volume))
    return candles


def minute_of(text: str) -> int:
    """Epoch ms of a minute's start. Raises: ValueError."""
    minute_ms = _time(text)
    if minute_ms % MINUTE_MS:
        raise ValueError(f"{text} is not the start of a minute")
    return minute_ms


def _time(text: str) -> int:
    time_ms = int(text)
    if not 0 < time_ms < 1 << 42:
        raise ValueError(f"{text} is not a time in epoch milliseconds")
    return time_ms


def count_of(text: str) -> int:
    """A size or a volume. Raises: ValueError."""
    count = int(text)
    if not 0 <= count < 1 << 50:
        raise ValueError(f"{text} is not a size")
    return count


def positive(price: int) -> int:
    """The price. Raises: ValueError: it is 0."""
    if price == 0:
        raise ValueError("a price of 0")
    return price


def _order(times_ms: Sequence[int]) -> list[int] | None:
    """The stable order by time; None if the lines are in order."""
    order = sorted(range(len(times_ms)), key=times_ms.__getitem__)
    return None if all(map(int.__eq__, order, range(len(order)))) else order


def _reorder(column: array[int], order: list[int]) -> array[int]:
    return array("q", [column[place] for place in order])


def header_of(path: Path) -> list[str]:
    """The names of a file's columns."""
    with _lines(path) as lines:
        return next(csv.reader(lines), [])


def read_columns(path: Path, columns: tuple[str, ...], take: Callable[..., None]) -> None:
    """Give the named columns of each line to `take`."""
    with _lines(path) as lines:
        reader = csv.reader(lines)
        header = next(reader, [])
        missing = [name for name in columns if name not in header]
        if missing:
            raise UsageError(
                f"{path}: line 1: no column {', '.join(missing)}",
                next_step=f"a tape of this kind has the columns {','.join(columns)}; others are ignored",
            )
        places = [header.index(name) for name in columns]
        for row in reader:
            if not row:
                continue
            try:
                take(*[row[place] for place in places])
            except (ValueError, IndexError) as error:
                reason = "too few columns" if isinstance(error, IndexError) else str(error)
                raise UsageError(
                    f"{path}: line {reader.line_num}: {reason}", next_step="mend or remove this line of the tape"
                ) from None


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[str]]:
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as lines:
            yield iter(lines)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise UsageError(
            f"{path}: cannot be read: {error}", next_step="check the path and the file of --tape"
        ) from error
