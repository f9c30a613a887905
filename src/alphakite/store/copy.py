"""Rows → PostgreSQL's binary COPY, packed by hand: the fastest way measured (docs/decisions/0003).

A tuple is a u16 count of fields, each an i32 length (-1 = NULL) and its bytes, big-endian. `numeric` is packed from
our scaled integers: base-10000 digits, of which 1e-8 makes exactly two after the point; a price shows as many decimals
as it has, an indicator always six.
"""

from __future__ import annotations

import struct

from alphakite.model import INDICATOR_SCALE, PRICE_SCALE, EquityRow, IndicatorRow

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">II", 0, 0)
TRAILER = b"\xff\xff"
EPOCH_US = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01."""
NULL = b"\xff\xff\xff\xff"
CACHE_MOST = 100_000

EQUITY_COLUMNS = ("ticker", "timestamp", "price", "volume", "flags", "journal_no", "seq", "item")
INDICATOR_COLUMNS = ("ticker", "timestamp", "sma9", "vwap", "flags", "journal_no", "seq", "item")

_tail = struct.Struct(">ihiiiqii").pack
_time = struct.Struct(">iq").pack
_bigint = struct.Struct(">iq").pack
_count = struct.pack(">H", 8)
_texts: dict[str, bytes] = {}
_prices: dict[int, bytes] = {}


def equity(rows: list[EquityRow]) -> bytes:
    """The COPY stream of store.equity_data (EQUITY_COLUMNS)."""
    parts = [HEADER]
    for row in rows:
        volume = row.volume
        parts += (
            _count,
            _texts.get(row.ticker) or _text(row.ticker),
            _time(8, row.timestamp_us - EPOCH_US),
            NULL if row.price is None else _prices.get(row.price) or _price(row.price),
            NULL if volume is None else _bigint(8, volume),
            _tail(2, row.flags, 4, row.journal_no, 8, row.seq, 4, row.item),
        )
    parts.append(TRAILER)
    return b"".join(parts)


def indicators(rows: list[IndicatorRow]) -> bytes:
    """The COPY stream of store.indicators (INDICATOR_COLUMNS)."""
    parts = [HEADER]
    for row in rows:
        parts += (
            _count,
            _texts.get(row.ticker) or _text(row.ticker),
            _time(8, row.timestamp_us - EPOCH_US),
            NULL if row.sma9 is None else numeric(row.sma9 * (PRICE_SCALE // INDICATOR_SCALE), 6),
            NULL if row.vwap is None else numeric(row.vwap * (PRICE_SCALE // INDICATOR_SCALE), 6),
            _tail(2, row.flags, 4, row.journal_no, 8, row.seq, 4, row.item),
        )
    parts.append(TRAILER)
    return b"".join(parts)


def numeric(scaled: int, decimals: int | None = None) -> bytes:
    """An integer of 1e-8 as a numeric field with its length.

    Args:
        decimals: how many to show; None: as many as it has.
    """
    sign = 0x4000 if scaled < 0 else 0
    scaled = abs(scaled)
    if decimals is None:
        decimals = 8
        rest = scaled
        while decimals and rest % 10 == 0:
            rest //= 10
            decimals -= 1
    whole, fraction = divmod(scaled, PRICE_SCALE)
    digits = [fraction // 10_000, fraction % 10_000]
    weight = -1
    while whole:
        whole, digit = divmod(whole, 10_000)
        digits.insert(0, digit)
        weight += 1
    while digits and digits[-1] == 0:
        digits.pop()
    while digits and digits[0] == 0:
        digits.pop(0)
        weight -= 1
    if not digits:
        weight, sign = 0, 0
    count = len(digits)
    return struct.pack(f">ihhHh{count}h", 8 + 2 * count, count, weight, sign, decimals, *digits)


def _price(scaled: int) -> bytes:
    """Prices repeat: a bounded cache."""
    if len(_prices) >= CACHE_MOST:
        _prices.clear()
    found = _prices[scaled] = numeric(scaled)
    return found


def _text(text: str) -> bytes:
    if len(_texts) >= CACHE_MOST:
        _texts.clear()
    data = text.encode()
    found = _texts[text] = struct.pack(">i", len(data)) + data
    return found
