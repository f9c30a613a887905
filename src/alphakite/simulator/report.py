"""The printed form of a truth: CSV or JSON.

CSV: header, sorted by key, times in RFC 3339 UTC with microseconds, plain decimals, NULL empty. JSON: {"schema": 1,
"truth": ..., "rows": [...]}, decimals as strings, NULL null. Indicator values have six decimals; prices, implied
volatility (a fraction) and greeks what they need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, TextIO, TypeVar

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
    columns = kind._fields if issubclass(kind, tuple) else [item.name for item in fields(kind)]
    names = ["timestamp" if name == "timestamp_s" else name for name in columns]
    of_row = attrgetter(*columns)
    forms = [_form_of(name) for name in columns]
    if form == "csv":
        out.write(",".join(names) + "\n")
        for row in rows:
            texts = [shown(value) for shown, value in zip(forms, of_row(row), strict=True)]
            out.write(",".join(["" if text is None else str(text) for text in texts]) + "\n")
        return
    out.write(f'{{"schema":1,"truth":"{table}","rows":[')
    for number, row in enumerate(rows):
        out.write("," if number else "")
        values = [shown(value) for shown, value in zip(forms, of_row(row), strict=True)]
        out.write(json.dumps(dict(zip(names, values, strict=True)), separators=(",", ":")))
    out.write("]}\n")


def _form_of(name: str) -> Callable[[Any], Value]:
    """How a column's values are shown; None is None."""
    if name == "timestamp_s":
        return _time
    if name in INDICATORS:
        return _indicator
    if name == "implied_volatility":
        return _volatility
    return _price if name in EIGHT_PLACES else _as_is


# Neighbouring rows repeat most of what is spelled here.


@lru_cache(maxsize=1 << 16)
def _time(value: int) -> Value:
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _indicator(value: int | None) -> Value:
    return None if value is None else f"{value // 1_000_000}.{value % 1_000_000:06d}"


@lru_cache(maxsize=256)
def _volatility(value: int | None) -> Value:
    return None if value is None else f"{value // TEN_PLACES}.{value % TEN_PLACES:010d}".rstrip("0").rstrip(".")


@lru_cache(maxsize=4096)
def _price(value: int | None) -> Value:
    return None if value is None else price_text(value)


def _as_is(value: Value) -> Value:
    return value
