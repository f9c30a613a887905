"""The printed form of a truth: CSV or JSON.

CSV: header, sorted by key, times in RFC 3339 UTC with microseconds, plain decimals, NULL empty. JSON: {"schema": 1,
"truth": ..., "rows": [...]}, decimals as strings, NULL null. Indicator values have six decimals; prices, implied
volatility (a fraction) and greeks what they need.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import TextIO, TypeVar

from alphakite.simulator.level_one import price_text
from alphakite.simulator.option_truth import OptionSecond
from alphakite.simulator.truth import Day, Minute, Second, Truth

INDICATORS = ("sma9", "vwap")
EIGHT_PLACES = ("price", "open", "high", "low", "close", "bid", "ask", "last", "delta", "gamma", "theta", "vega", "rho")
TABLES = ("seconds", "minutes", "session")
OPTION_SECONDS = "option-seconds"

TEN_PLACES = 10**10
Row = TypeVar("Row", Second, Minute, Day, OptionSecond)
Value = str | int | None


def write_truth(truth: Truth, table: str, form: str, out: TextIO) -> None:
    """Args: table: one of TABLES; form: csv or json."""
    if table == "minutes":
        _write(Minute, truth.minutes, table, form, out)
    elif table == "session":
        _write(Day, truth.days, table, form, out)
    else:
        _write(Second, truth.seconds, table, form, out)


def write_option_seconds(rows: Iterable[OptionSecond], form: str, out: TextIO) -> None:
    """Rows as they are made. Args: form: csv or json."""
    _write(OptionSecond, rows, OPTION_SECONDS, form, out)


def _write(kind: type[Row], rows: Iterable[Row], table: str, form: str, out: TextIO) -> None:
    names = ["timestamp" if item.name == "timestamp_s" else item.name for item in fields(kind)]
    if form == "csv":
        out.write(",".join(names) + "\n")
        for values in _values(rows):
            out.write(",".join("" if value is None else str(value) for value in values) + "\n")
        return
    out.write(f'{{"schema":1,"truth":"{table}","rows":[')
    for number, values in enumerate(_values(rows)):
        out.write("," if number else "")
        out.write(json.dumps(dict(zip(names, values, strict=True)), separators=(",", ":")))
    out.write("]}\n")


def _values(rows: Iterable[Row]) -> Iterator[list[Value]]:
    for row in rows:
        yield [_value(item.name, getattr(row, item.name)) for item in fields(row)]


def _value(name: str, value: Value) -> Value:
    if not isinstance(value, int):
        return value
    if name == "timestamp_s":
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    if name in INDICATORS:
        return f"{value // 1_000_000}.{value % 1_000_000:06d}"
    if name == "implied_volatility":
        return f"{value // TEN_PLACES}.{value % TEN_PLACES:010d}".rstrip("0").rstrip(".")
    return price_text(value) if name in EIGHT_PLACES else value
