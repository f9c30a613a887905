"""The printed form of a truth: CSV or JSON.

CSV: header, sorted by key, times in RFC 3339 UTC with microseconds, plain decimals, NULL empty. JSON: {"schema": 1,
"truth": ..., "rows": [...]}, decimals as strings, NULL null. Indicator values have six decimals, prices what they need.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import TextIO

from alphakite.simulator.level_one import price_text
from alphakite.simulator.truth import Day, Minute, Second, Truth

INDICATORS = ("sma9", "vwap")
PRICES = ("price", "open", "high", "low", "close")
TABLES = ("seconds", "minutes", "session")

Value = str | int | None


def write_truth(truth: Truth, table: str, form: str, out: TextIO) -> None:
    """Args: table: one of TABLES; form: csv or json."""
    kind: type[Second] | type[Minute] | type[Day] = Second
    rows: list[Second] | list[Minute] | list[Day] = truth.seconds
    if table == "minutes":
        kind, rows = Minute, truth.minutes
    elif table == "session":
        kind, rows = Day, truth.days
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


def _values(rows: list[Second] | list[Minute] | list[Day]) -> Iterator[list[Value]]:
    for row in rows:
        yield [_value(item.name, getattr(row, item.name)) for item in fields(row)]


def _value(name: str, value: Value) -> Value:
    if not isinstance(value, int):
        return value
    if name == "timestamp_s":
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    if name in INDICATORS:
        return f"{value // 1_000_000}.{value % 1_000_000:06d}"
    return price_text(value) if name in PRICES else value
