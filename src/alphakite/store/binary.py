"""Rows as PostgreSQL's binary COPY bytes, packed by hand: a third less client time than a driver's own encoding.

In:   rows of model.py.      Out:  the bytes of `COPY table (columns) FROM STDIN (FORMAT binary)`.
Integers are big-endian, each value after its length (-1: NULL). A timestamp is µs since 2000-01-01 UTC. A numeric is a
count of base-10000 digits, the weight of the first, a sign, the number of decimals to show, then the digits: a price of
1e-8 dollars has exactly two digits after the point. Format: PostgreSQL's manual, COPY, "Binary Format"; numeric_send().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct

from alphakite.model import INDICATOR_SCALE, PRICE_SCALE, EquityRow, IndicatorRow, IndicatorValueRow

EQUITY_COLUMNS = ("ticker", "timestamp", "price", "volume", "flags", "journal_no", "seq", "item")
INDICATOR_COLUMNS = ("ticker", "timestamp", "sma9", "vwap", "flags", "journal_no", "seq", "item")
VALUE_COLUMNS = ("ticker", "timestamp", "value", "flags", "journal_no", "seq", "item", "definition_id")
EPOCH_2000_US = 946_684_800_000_000
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
CACHED_VALUES = 8192
"""Prices repeat; one entry is about 150 bytes."""
NEGATIVE = 0x4000
PRICE_DECIMALS = 8
INDICATOR_DECIMALS = 6

_head = Struct(">hi").pack
_timestamp = Struct(">iq").pack
_after_values = Struct(">ihiiiqii").pack
_after_value = Struct(">ihiiiqiiih").pack
_after_null = Struct(">iihiiiqii").pack
_after_volume = Struct(">iqihiiiqii").pack
_digits = [Struct(f">iHhHH{count}H").pack for count in range(8)]


def pack_equity(rows: Sequence[EquityRow]) -> bytes:
    """COPY bytes of `store.equity_data` (EQUITY_COLUMNS)."""
    parts = [HEADER]
    for row in rows:
        price, volume = row.price, row.volume
        parts += (
            _start(row.ticker),
            _timestamp(8, row.timestamp_us - EPOCH_2000_US),
            NULL if price is None else pack_price(price),
            _after_null(-1, 2, row.flags, 4, row.journal_no, 8, row.seq, 4, row.item)
            if volume is None
            else _after_volume(8, volume, 2, row.flags, 4, row.journal_no, 8, row.seq, 4, row.item),
        )
    parts.append(TRAILER)
    return b"".join(parts)


def pack_indicators(rows: Sequence[IndicatorRow]) -> bytes:
    """COPY bytes of `store.indicators` (INDICATOR_COLUMNS)."""
    parts = [HEADER]
    for row in rows:
        sma9, vwap = row.sma9, row.vwap
        parts += (
            _start(row.ticker),
            _timestamp(8, row.timestamp_us - EPOCH_2000_US),
            NULL if sma9 is None else pack_indicator(sma9),
            NULL if vwap is None else pack_indicator(vwap),
            _after_values(2, row.flags, 4, row.journal_no, 8, row.seq, 4, row.item),
        )
    parts.append(TRAILER)
    return b"".join(parts)


def pack_values(rows: Sequence[IndicatorValueRow], ids: Mapping[str, int]) -> bytes:
    """COPY bytes of `store.indicator_values` (VALUE_COLUMNS). Args: ids: by digest of the definition."""
    parts = [HEADER]
    for row in rows:
        parts += (
            _start(row.ticker),
            _timestamp(8, row.timestamp_us - EPOCH_2000_US),
            NULL if row.value is None else pack_indicator(row.value),
            _after_value(2, row.flags, 4, row.journal_no, 8, row.seq, 4, row.item, 2, ids[row.definition.digest]),
        )
    parts.append(TRAILER)
    return b"".join(parts)


@lru_cache(CACHED_VALUES)
def pack_price(price: int) -> bytes:
    """A price of 1e-8 dollars, shown with the decimals it has: 167.42, not 167.42000000."""
    decimals, rest = PRICE_DECIMALS, price % PRICE_SCALE
    if rest == 0:
        return numeric(price, 0)
    while rest % 10 == 0:
        rest //= 10
        decimals -= 1
    return numeric(price, decimals)


def pack_indicator(value: int) -> bytes:
    """An indicator value of 1e-6 dollars, always shown with six decimals."""
    return numeric(value * (PRICE_SCALE // INDICATOR_SCALE), INDICATOR_DECIMALS)


@lru_cache(1024)
def _start(ticker: str) -> bytes:
    """How a row begins: the number of its values, and the ticker."""
    text = ticker.encode()
    return _head(8, len(text)) + text


def numeric(value: int, decimals: int) -> bytes:
    """A value of 1e-8, with its length before it. Args: decimals: how many of its eight to show."""
    whole, fraction = divmod(value, PRICE_SCALE)
    if 0 < whole < 10_000:  # nearly all
        first, second = divmod(fraction, 10_000)
        if second:
            return _digits[3](14, 3, 0, 0, decimals, whole, first, second)
        if first:
            return _digits[2](12, 2, 0, 0, decimals, whole, first)
        return _digits[1](10, 1, 0, 0, decimals, whole)
    return long_numeric(value, 2, decimals)


def long_numeric(value: int, groups: int, decimals: int) -> bytes:
    """As numeric, whatever its size. Args: groups: of four decimals that the value counts."""
    digits: list[int] = []
    rest = abs(value)
    while rest:
        rest, digit = divmod(rest, 10_000)
        digits.append(digit)
    weight = len(digits) - 1 - groups
    digits.reverse()
    while digits and digits[-1] == 0:
        digits.pop()
    sign = NEGATIVE if value < 0 else 0
    count = len(digits)
    pack = _digits[count] if count < len(_digits) else Struct(f">iHhHH{count}H").pack
    return pack(8 + 2 * count, count, weight if count else 0, sign, decimals, *digits)
