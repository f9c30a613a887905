"""Items of the services that send the complete object each time: books made from best bid and ask, and screeners.

In:   field texts of LEVELONE_EQUITIES or LEVELONE_OPTIONS.      Out:  items in the shape of the reference's F13, F14.
A book has two levels a side: the best, split between two makers from 200 shares (2 contracts) on, and as much a step
behind. Makers' times are milliseconds since midnight in New York. Screeners rank what is played by its volume.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from alphakite.model import PRICE_SCALE
from alphakite.sessions import EXCHANGE
from alphakite.simulator.level_one import price_text

MAKERS = {
    "NYSE_BOOK": ("NYSE", "ARCX", "EDGX"),
    "NASDAQ_BOOK": ("NSDQ", "arcx", "edgx"),
    "OPTIONS_BOOK": ("PACX", "BATS", "ISEX"),
}
"""In NASDAQ_BOOK exchanges are lower case, and NSDQ upper."""
SCREENED_SORTS = ("VOLUME", "TRADES", "PERCENT_CHANGE_UP", "PERCENT_CHANGE_DOWN")
SILENT_SORT = "_AVERAGE_PERCENT_VOLUME"
"""Schwab takes it, and delivers nothing."""
MOST_SCREENED = 10


@dataclass(frozen=True, slots=True)
class Side:
    """Best price and size as texts, and the quote's time in epoch ms; a side without price or size is empty."""

    price: str
    size: str
    time_ms: int


def book_sides(service: str, bid: Side, ask: Side) -> tuple[str, str]:
    """The bids' and the asks' levels, best first."""
    return _levels(service, bid, -1), _levels(service, ask, 1)


def book_item(key: str, stamp_ms: int, sides: tuple[str, str], wanted: frozenset[int]) -> str:
    """One book, whole."""
    values = {1: str(stamp_ms), 2: sides[0], 3: sides[1]}
    return f'{{"key":"{key}"' + "".join(f',"{n}":{text}' for n, text in values.items() if n in wanted) + "}"


def sides_of(texts: dict[int, str], numbers: tuple[int, int, int, int, int]) -> tuple[Side, Side]:
    """Bid and ask of field texts; `numbers` are those of bid, ask, bid size, ask size and quote time."""
    bid, ask, bid_size, ask_size, quote_time = (texts.get(number, "0") for number in numbers)
    return Side(bid, bid_size, int(quote_time)), Side(ask, ask_size, int(quote_time))


EQUITY_SIDES, OPTION_SIDES = (1, 2, 4, 5, 34), (2, 3, 16, 17, 38)


def since_midnight_ms(time_ms: int) -> int:
    """Milliseconds since midnight in New York, as its clocks show it."""
    wall = datetime.fromtimestamp(time_ms // 1000, EXCHANGE)
    return ((wall.hour * 60 + wall.minute) * 60 + wall.second) * 1000 + time_ms % 1000


@dataclass(frozen=True, slots=True)
class Screened:
    """One line of a screener: what LEVELONE says of a symbol, as texts."""

    symbol: str
    description: str
    last: str
    change: str
    volume: str


def screener_item(key: str, stamp_ms: int, lines: list[Screened], wanted: frozenset[int]) -> str:
    """The item of a key PREFIX_SORT_FREQ; empty for a key that is none, or that delivers nothing."""
    head, _, frequency = key.rpartition("_")
    sort = next((sort for sort in SCREENED_SORTS if head.endswith(f"_{sort}")), None)
    if sort is None or head.endswith(SILENT_SORT) or not frequency.isdigit():
        return ""
    ranked = sorted(lines, key=lambda line: _rank(sort, line), reverse=True)[:MOST_SCREENED]
    total = sum(int(line.volume) for line in lines)
    rows = ",".join(_row(line, total) for line in ranked)
    values = {1: str(stamp_ms), 2: f'"{sort}"', 3: frequency, 4: f"[{rows}]"}
    return f'{{"key":{json.dumps(key)}' + "".join(f',"{n}":{text}' for n, text in values.items() if n in wanted) + "}"


def _levels(service: str, side: Side, step: int) -> str:
    price, size = _scaled(side.price), int(float(side.size))
    if price <= 0 or size <= 0:
        return "[]"
    lot = 1 if service == "OPTIONS_BOOK" else 100
    first, second, third = MAKERS[service]
    at_ms = since_midnight_ms(side.time_ms)
    near = size // lot * 5 // 8 * lot if size >= 2 * lot else size
    makers = [(first, near or lot, at_ms)] + ([(second, size - (near or lot), at_ms - 16)] if size >= 2 * lot else [])
    levels = [_level(side.price, makers)]
    behind = price + step * (PRICE_SCALE // 100)
    if behind > 0:
        levels.append(_level(price_text(behind), [(third, size, at_ms)]))
    return f"[{','.join(levels)}]"


def _level(price: str, makers: list[tuple[str, int, int]]) -> str:
    rows = ",".join(f'{{"0":"{name}","1":{size},"2":{max(0, at_ms)}}}' for name, size, at_ms in makers)
    return f'{{"0":{price},"1":{sum(size for _, size, _ in makers)},"2":{len(makers)},"3":[{rows}]}}'


def _scaled(price: str) -> int:
    try:
        return round(float(price) * PRICE_SCALE)
    except ValueError:
        return 0


def _rank(sort: str, line: Screened) -> float:
    if sort == "PERCENT_CHANGE_UP":
        return _fraction(line)
    return -_fraction(line) if sort == "PERCENT_CHANGE_DOWN" else float(line.volume)


def _fraction(line: Screened) -> float:
    before = float(line.last) - float(line.change)
    return round(float(line.change) / before, 8) if before else 0.0


def _row(line: Screened, total: int) -> str:
    volume = int(line.volume)
    share = round(volume * 100 / total, 2) if total else 0
    fraction = f"{_fraction(line):.8f}".rstrip("0").rstrip(".")
    return (
        f'{{"symbol":"{line.symbol}","description":{json.dumps(line.description)},"lastPrice":{line.last},'
        f'"netChange":{line.change},"netPercentChange":{fraction},"marketShare":{share:g},'
        f'"totalVolume":{total},"volume":{volume},"trades":{volume // 100}}}'
    )
