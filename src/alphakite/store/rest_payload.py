"""A batch as JSON for `recorder_write`: columns, not rows, and numbers as short as they are exact.

In:   a Batch, and the ids that its definitions have.      Out:  the bytes of the argument `packed`.
An object for each table that has rows; in it an array for each column, all of one length. A column that is 0 or absent
in every row is left out. Times count `tick` µs from `base`; prices count `unit` dollars, the coarsest that is exact;
greeks 1e-8, volatilities of a vendor 1e-10, indicator values 1e-6. What a double could not hold is a string, since who
stands between us and PostgreSQL may read numbers as doubles. A ticker, and what a contract is, is said once (`names`,
`symbols`) and numbered from 1. The other side is store.store_batch() in 20261126000000_ingest.sql.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from alphakite.model import (
    Batch,
    ContractRow,
    EquityRow,
    FollowingRow,
    GapRow,
    IndicatorRow,
    IndicatorValueRow,
    OptionRow,
    QualityEvent,
)

EXACT = 2**53
"""Up to here a double counts whole numbers."""
SIDES = {"C": "CALL", "P": "PUT"}
UNITS = ((1_000_000, "0.01"), (10_000, "0.0001"), (1, "0.00000001"))
"""Of prices: in 1e-8 dollars, and in dollars."""
SECOND_US = 1_000_000
Columns = dict[str, Any]


def encode(batch: Batch, ids: Mapping[str, int], model_ids: Mapping[str, int]) -> bytes:
    """The batch's rows. Args: ids, model_ids: by digest of the definitions."""
    tables: dict[str, Any] = {"given": stored_rows(batch)}
    if batch.equity:
        tables["equity"] = _equity(batch.equity)
    if batch.indicators:
        tables["indicators"] = _indicators(batch.indicators)
    if batch.values:
        tables["values"] = _values(batch.values, ids)
    if batch.options:
        tables["options"] = _options(batch.options) | _models(batch.options, model_ids)
    if batch.images:
        tables["images"] = _options(batch.images)
    if batch.contracts:
        tables["contracts"] = _contracts(batch.contracts)
    if batch.following:
        tables["following"] = [_following(row) for row in batch.following]
    if batch.gaps:
        tables["gaps"] = _gaps(batch.gaps)
    if batch.events:
        tables["events"] = _events(batch.events)
    return msgspec.json.encode(tables)


def stored_rows(batch: Batch) -> int:
    """Rows of which a key that is there already makes a duplicate."""
    return len(batch) - len(batch.gaps) - len(batch.events)


def pieces(packed: bytes, limit: int) -> list[str]:
    """The text in pieces of about so many bytes; together they are it."""
    found, start = [], 0
    while start < len(packed):
        end = min(start + limit, len(packed))
        while end < len(packed) and packed[end] & 0xC0 == 0x80:  # not inside a character
            end += 1
        found.append(packed[start:end].decode())
        start = end
    return found


def _equity(rows: Sequence[EquityRow]) -> Columns:
    unit, shown = _unit([row.price for row in rows])
    return {
        **_names([row.ticker for row in rows]),
        **_times([row.timestamp_us for row in rows]),
        "unit": shown,
        **_column("price", [None if row.price is None else row.price // unit for row in rows]),
        **_column("volume", [row.volume for row in rows]),
        **_place(rows),
    }


def _indicators(rows: Sequence[IndicatorRow]) -> Columns:
    return {
        **_names([row.ticker for row in rows]),
        **_times([row.timestamp_us for row in rows]),
        **_column("sma9", [row.sma9 for row in rows]),
        **_column("vwap", [row.vwap for row in rows]),
        **_place(rows),
    }


def _values(rows: Sequence[IndicatorValueRow], ids: Mapping[str, int]) -> Columns:
    return {
        **_names([row.ticker for row in rows]),
        **_times([row.timestamp_us for row in rows]),
        **_column("value", [row.value for row in rows]),
        "definition": [ids[row.definition.digest] for row in rows],
        **_place(rows),
    }


def _options(rows: Sequence[OptionRow]) -> Columns:
    """What rows and images share."""
    known: dict[tuple[object, ...], int] = {}
    for row in rows:
        known.setdefault((row.symbol, row.ticker, row.right, row.strike, row.expiry), len(known) + 1)
    keys: list[Any] = list(known)
    unit, shown = _unit([key[3] for key in keys] + [one for row in rows for one in (row.bid, row.ask, row.last)])
    made: Columns = {
        "symbols": [_text(key[0]) for key in keys],
        "tickers": [_text(key[1]) for key in keys],
        "sides": [SIDES[key[2]] for key in keys],
        "strikes": _numbers([key[3] // unit for key in keys]),
        "expiries": [key[4] for key in keys],
        "contract": [known[row.symbol, row.ticker, row.right, row.strike, row.expiry] for row in rows],
        "unit": shown,
        **_times([row.timestamp_us for row in rows]),
    }
    for name in ("bid", "ask", "last"):
        made |= _column(name, [None if (one := getattr(row, name)) is None else one // unit for row in rows])
    for name in ("bid_size", "ask_size", "volume", "day_volume", "open_interest", "iv", *GREEKS):
        made |= _column(name, [getattr(row, name) for row in rows])
    return made | _place(rows)


GREEKS = ("delta", "gamma", "theta", "vega", "rho")
MODELLED = ("iv", *GREEKS, "half_width", "forward")


def _models(rows: Sequence[OptionRow], ids: Mapping[str, int]) -> Columns:
    models = [row.model for row in rows]
    made: Columns = {}
    for name in MODELLED:
        made |= _column(f"m_{name}", [None if one is None else getattr(one, name) for one in models])
    made |= _column("m_reason", [None if one is None or not one.reason else _text(one.reason) for one in models])
    return made | _column("m_def", [None if one is None else ids[one.definition.digest] for one in models])


def _contracts(rows: Sequence[ContractRow]) -> Columns:
    made: Columns = {
        "symbol": [_text(row.symbol) for row in rows],
        "valid_from": [row.valid_from_us for row in rows],
        "side": [SIDES[row.right] for row in rows],
        "strike": _numbers([row.strike for row in rows]),
        "expiry": [row.expiry for row in rows],
    }
    for name in ("ticker", "root", "settlement", "exercise", "kind"):
        made[name] = [_text(getattr(row, name)) for row in rows]
    for name in ("mini", "adjusted"):
        made |= _column(name, [getattr(row, name) for row in rows])
    made |= _column("multiplier", [row.multiplier for row in rows])
    days = [None if row.last_trading_day_ms is None else row.last_trading_day_ms * 1000 for row in rows]
    return made | _column("last_day", days)


def _following(row: FollowingRow) -> Columns:
    """A few a day: an object is good enough."""
    return {
        "ticker": _text(row.ticker),
        "at": row.timestamp_us,
        "reason": _text(row.reason),
        "expiries": row.expiries,
        "added": [_text(one) for one in row.added],
        "removed": [_text(one) for one in row.removed],
        "detail": _text(row.detail),
        "seq": row.seq,
        "item": row.item,
    }


def _gaps(gaps: Sequence[GapRow]) -> Columns:
    """Of one key the last counts."""
    newest = list({(gap.ticker, gap.start_us): gap for gap in gaps}.values())
    return {
        "ticker": [_text(gap.ticker) for gap in newest],
        "begun": [gap.start_us for gap in newest],
        "reason": [_text(gap.reason) for gap in newest],
        "ended": [gap.end_us for gap in newest],
        "volume": [gap.volume for gap in newest],
    }


def _events(events: Sequence[QualityEvent]) -> Columns:
    return {
        "ticker": [_text(event.ticker) for event in events],
        "at": [event.timestamp_us for event in events],
        "kind": [_text(event.kind) for event in events],
        "detail": [_text(event.detail) for event in events],
        "seq": [event.seq for event in events],
        **_column("item", [event.item for event in events]),
    }


def _names(tickers: Sequence[str]) -> Columns:
    known = {ticker: at + 1 for at, ticker in enumerate(dict.fromkeys(tickers))}
    names: Columns = {"names": [_text(ticker) for ticker in known]}
    return names if len(known) == 1 else names | {"name": [known[ticker] for ticker in tickers]}


def _times(times_us: Sequence[int]) -> Columns:
    base = min(times_us)
    whole = all((one - base) % SECOND_US == 0 for one in times_us)
    tick = SECOND_US if whole else 1
    return {"base": base, "tick": tick, "at": [(one - base) // tick for one in times_us]}


def _place(rows: Sequence[EquityRow | IndicatorRow | IndicatorValueRow | OptionRow]) -> Columns:
    """What is 0 in nearly every row."""
    return {
        **_column("flags", [row.flags for row in rows]),
        **_column("journal_no", [row.journal_no for row in rows]),
        **_column("seq", [row.seq for row in rows]),
        **_column("item", [row.item for row in rows]),
    }


OPTIONAL = {"flags", "journal_no", "seq", "item", "mini", "adjusted"}
"""Columns in which an absent one stands for 0."""


def _column(name: str, values: list[Any]) -> Columns:
    """The column, if it says anything."""
    said = any(values) if name in OPTIONAL else any(one is not None for one in values)
    if not said:
        return {}
    return {name: values if isinstance(values[0], (str, bool)) else _numbers(values)}


def _numbers(values: list[Any]) -> list[Any]:
    """As they are, but for what a double would round."""
    if all(one is None or (isinstance(one, int) and -EXACT < one < EXACT) for one in values):
        return values
    return [str(one) if isinstance(one, int) and abs(one) >= EXACT else one for one in values]


def _unit(prices: Sequence[int | None]) -> tuple[int, str]:
    """The coarsest unit of which all prices are whole multiples."""
    given = [one for one in prices if one]
    return next((unit, shown) for unit, shown in UNITS if unit == 1 or all(one % unit == 0 for one in given))


def _text(text: str) -> str:
    """PostgreSQL's text cannot hold a NUL."""
    return text.replace("\0", "�") if "\0" in text else text
