"""Rows of options as PostgreSQL's binary COPY bytes; the format is explained in binary.py.

In:   OptionRow, ContractRow, FollowingRow of model.py.      Out:  the bytes of COPY, columns as named here.
What a contract is stands first in its rows, and is packed once. Strikes and prices repeat and are cached; greeks are
not. A price, a vendor's greek or volatility shows the decimals it has, a model value always eight.
An array is its dimensions, whether it has NULLs, its element's type, then length and lower bound of each dimension
(PostgreSQL's array_send()); a date is days since 2000-01-01.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from struct import Struct

from alphakite.model import PRICE_SCALE, ContractRow, FollowingRow, ModelValues, OptionRow
from alphakite.store.binary import (
    EPOCH_2000_US,
    HEADER,
    NEGATIVE,
    NULL,
    PRICE_DECIMALS,
    TRAILER,
    long_numeric,
    pack_price,
)

CONTRACT_KEY = ("ticker", "option_type", "strike_price", "expiration_date", "option_symbol")
IMAGE_COLUMNS = (
    *CONTRACT_KEY, "timestamp", "bid", "ask", "last", "bid_size", "ask_size", "volume", "day_volume", "open_interest",
    "implied_volatility", "delta", "gamma", "theta", "vega", "rho", "flags", "journal_no", "seq", "item",
)  # fmt: skip
MODEL_COLUMNS = (
    "iv_model", "delta_model", "gamma_model", "theta_model", "vega_model", "rho_model", "iv_half_width", "forward",
    "model_reason", "model_def",
)  # fmt: skip
OPTION_COLUMNS = (*IMAGE_COLUMNS, *MODEL_COLUMNS)
CONTRACT_COLUMNS = (
    *CONTRACT_KEY, "valid_from", "root", "settlement_type", "exercise_type", "expiration_type", "multiplier", "mini",
    "adjusted", "last_trading_day", "journal_no",
)  # fmt: skip
FOLLOWING_COLUMNS = (
    "ticker", "timestamp", "reason", "expiries", "added", "removed", "detail", "journal_no", "seq", "item",
)  # fmt: skip

RIGHTS = {"C": b"CALL", "P": b"PUT"}
CACHED_CONTRACTS = 8192
"""More than are watched at once; one entry is about 250 bytes."""
DATE_2000 = date(2000, 1, 1).toordinal()
DATE_OID, TEXT_OID = 1082, 25
NO_MODEL = NULL * len(MODEL_COLUMNS)
SHOWN = bytes(4 - (four % 10 == 0) - (four % 100 == 0) - (four % 1000 == 0) - (four == 0) for four in range(10_000))
"""By a group of four decimals: how many of them there are without the zeros at its end."""

_int2, _int4, _int8 = Struct(">ih").pack, Struct(">ii").pack, Struct(">iq").pack
_boolean, _length, _count = Struct(">i?").pack, Struct(">i").pack, Struct(">h").pack
_sizes = Struct(">iiii").pack
_counts = Struct(">iqiqiq").pack
_end = Struct(">ihiiiqii").pack
_none, _one = Struct(">iHhHH").pack, Struct(">iHhHHH").pack
_two, _three = Struct(">iHhHHHH").pack, Struct(">iHhHHHHH").pack


def pack_options(rows: Sequence[OptionRow], ids: Mapping[str, int]) -> bytes:
    """COPY bytes of `store.option_prices` (OPTION_COLUMNS). Args: ids: by digest of the model values' definition."""
    parts = [HEADER]
    start = _count(len(OPTION_COLUMNS))
    for row in rows:
        parts.append(start)
        _put(parts.append, row)
        model = row.model
        if model is None:
            parts.append(NO_MODEL)
        else:
            _put_model(parts.append, model, ids)
    parts.append(TRAILER)
    return b"".join(parts)


def pack_images(rows: Sequence[OptionRow]) -> bytes:
    """COPY bytes of `store.option_images` (IMAGE_COLUMNS)."""
    parts = [HEADER]
    start = _count(len(IMAGE_COLUMNS))
    for row in rows:
        parts.append(start)
        _put(parts.append, row)
    parts.append(TRAILER)
    return b"".join(parts)


def pack_contracts(rows: Sequence[ContractRow], journal_no: int) -> bytes:
    """COPY bytes of `store.option_contracts` (CONTRACT_COLUMNS)."""
    parts = [HEADER]
    for row in rows:
        last_us = None if row.last_trading_day_ms is None else row.last_trading_day_ms * 1000 - EPOCH_2000_US
        parts += (
            _count(len(CONTRACT_COLUMNS)),
            _contract(row.ticker, row.right, row.strike, row.expiry, row.symbol),
            _int8(8, row.valid_from_us - EPOCH_2000_US),
            *(_text(one) for one in (row.root, row.settlement, row.exercise, row.kind)),
            NULL if row.multiplier is None else _int4(4, row.multiplier),
            _boolean(1, row.mini),
            _boolean(1, row.adjusted),
            NULL if last_us is None else _int8(8, last_us),
            _int4(4, journal_no),
        )
    parts.append(TRAILER)
    return b"".join(parts)


def pack_following(rows: Sequence[FollowingRow], journal_no: int) -> bytes:
    """COPY bytes of `store.option_following` (FOLLOWING_COLUMNS)."""
    parts = [HEADER]
    for row in rows:
        parts += (
            _count(len(FOLLOWING_COLUMNS)),
            _text(row.ticker),
            _int8(8, row.timestamp_us - EPOCH_2000_US),
            _text(row.reason),
            _array([_date(one) for one in row.expiries], DATE_OID),
            _array([_text(one) for one in row.added], TEXT_OID),
            _array([_text(one) for one in row.removed], TEXT_OID),
            _text(row.detail),
            _int4(4, journal_no),
            _int8(8, row.seq),
            _int4(4, row.item),
        )
    parts.append(TRAILER)
    return b"".join(parts)


def pack_greek(value: int) -> bytes:
    """A vendor's greek of 1e-8, shown with the decimals it has."""
    second = abs(value) % 10_000
    shown = 4 + SHOWN[second] if second else SHOWN[abs(value) // 10_000 % 10_000]
    return _eight(value, shown)


def pack_model(value: int) -> bytes:
    """A model value of 1e-8, always shown with eight decimals."""
    return _eight(value, PRICE_DECIMALS)


def pack_iv(value: int) -> bytes:
    """A vendor's volatility of 1e-10, shown with the decimals it has."""
    shorter, rest = divmod(value, 100)
    if rest == 0:  # nearly all
        return pack_greek(shorter)
    last = abs(value) % 100 * 100
    return long_numeric(value * 100, 3, 8 + SHOWN[last])


def _put(put: Callable[[bytes], None], row: OptionRow) -> None:
    """The columns that rows and images share, IMAGE_COLUMNS."""
    bid, ask, last, iv = row.bid, row.ask, row.last, row.iv
    volume, day_volume, interest = row.volume, row.day_volume, row.open_interest
    put(_contract(row.ticker, row.right, row.strike, row.expiry, row.symbol))
    put(_int8(8, row.timestamp_us - EPOCH_2000_US))
    put(NULL if bid is None else pack_price(bid))
    put(NULL if ask is None else pack_price(ask))
    put(NULL if last is None else pack_price(last))
    if row.bid_size is not None and row.ask_size is not None:
        put(_sizes(4, row.bid_size, 4, row.ask_size))
    else:
        put(NULL if row.bid_size is None else _int4(4, row.bid_size))
        put(NULL if row.ask_size is None else _int4(4, row.ask_size))
    if volume is not None and day_volume is not None and interest is not None:
        put(_counts(8, volume, 8, day_volume, 8, interest))
    else:
        for one in (volume, day_volume, interest):
            put(NULL if one is None else _int8(8, one))
    put(NULL if iv is None else pack_iv(iv))
    for greek in (row.delta, row.gamma, row.theta, row.vega, row.rho):
        put(NULL if greek is None else pack_greek(greek))
    put(_end(2, row.flags, 4, row.journal_no, 8, row.seq, 4, row.item))


def _put_model(put: Callable[[bytes], None], model: ModelValues, ids: Mapping[str, int]) -> None:
    """MODEL_COLUMNS."""
    for value in (model.iv, model.delta, model.gamma, model.theta, model.vega, model.rho, model.half_width):
        put(NULL if value is None else pack_model(value))
    put(NULL if model.forward is None else _forward(model.forward))
    put(_text(model.reason) if model.reason else NULL)
    put(_int2(2, ids[model.definition.digest]))


def _eight(value: int, shown: int) -> bytes:
    """A value of 1e-8, with its length before it. Args: shown: how many of its decimals to show."""
    if value < 0:
        sign, rest = NEGATIVE, -value
    else:
        sign, rest = 0, value
    if rest < PRICE_SCALE:  # nearly all
        first, second = divmod(rest, 10_000)
        if first:
            return _two(12, 2, -1, sign, shown, first, second) if second else _one(10, 1, -1, sign, shown, first)
        return _one(10, 1, -2, sign, shown, second) if second else _none(8, 0, 0, 0, shown)
    if rest >= 10_000 * PRICE_SCALE:
        return long_numeric(value, 2, shown)
    rest, second = divmod(rest, 10_000)
    whole, first = divmod(rest, 10_000)
    if second:
        return _three(14, 3, 0, sign, shown, whole, first, second)
    return _two(12, 2, 0, sign, shown, whole, first) if first else _one(10, 1, 0, sign, shown, whole)


@lru_cache(64)
def _forward(forward: int) -> bytes:
    """One for all contracts of a chain's second."""
    return _eight(forward, PRICE_DECIMALS)


@lru_cache(CACHED_CONTRACTS)
def _contract(ticker: str, right: str, strike: int, expiry: date, symbol: str) -> bytes:
    """CONTRACT_KEY."""
    kind = RIGHTS[right]
    return b"".join(
        (_text(ticker), _length(len(kind)), kind, pack_price(strike), _date(expiry), _text(symbol)),
    )


def _date(day: date) -> bytes:
    return _int4(4, day.toordinal() - DATE_2000)


def _text(text: str) -> bytes:
    encoded = text.replace("\0", "�").encode()
    return _length(len(encoded)) + encoded


def _array(elements: Sequence[bytes], oid: int) -> bytes:
    """Args: elements: each after its length."""
    if elements:
        packed = Struct(">iiIii").pack(1, 0, oid, len(elements), 1) + b"".join(elements)
    else:
        packed = Struct(">iiI").pack(0, 0, oid)
    return _length(len(packed)) + packed
