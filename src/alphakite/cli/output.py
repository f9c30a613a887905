"""How results are printed: the same CSV and JSON everywhere.

CSV: header, times in RFC 3339 UTC with microseconds, plain decimals, NULL empty. JSON: exact decimals as strings.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table


def text(value: Any) -> str:
    """One value as it stands in CSV; NULL is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list | dict):
        return json.dumps(value, default=text)
    return str(value)


def json_value(value: Any) -> Any:
    """One value as it stands in JSON: what a float would blur is a string."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value
    if isinstance(value, list):
        return [json_value(item) for item in value]
    return text(value)


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds; a time without zone is taken as it is."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def write_csv(out: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Header and rows."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([text(value) for value in row] for row in rows)


def document(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """`{"schema": 1, "columns": […], "rows": [{…}, …]}`."""
    shaped = [{name: json_value(value) for name, value in zip(columns, row, strict=True)} for row in rows]
    return json.dumps({"schema": 1, "columns": list(columns), "rows": shaped})


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Aligned, for people."""
    table = Table()
    numeric = [True] * len(columns)
    shown = []
    for row in rows:
        shown.append([text(value) for value in row])
        numeric = [
            is_number and (value is None or isinstance(value, int | float | Decimal))
            for is_number, value in zip(numeric, row, strict=True)
        ]
    for name, is_number in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for cells in shown:
        table.add_row(*cells)
    console = Console(width=None if Console().is_terminal else 10_000)
    console.print(table)


def day(value: str) -> datetime:
    """A time or date from the command line. Raises ValueError."""
    parsed = datetime.fromisoformat(value)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
