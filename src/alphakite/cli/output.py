"""How commands print rows: aligned text for people, CSV and JSON for programs, in the shapes that docs promise.

CSV    header; times in RFC 3339 UTC with microseconds; plain decimals; NULL empty.
JSON   {"schema": 1, "columns": [...], "rows": [{...}]}; a decimal is a string, for a float would lose digits.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TextIO

NUMERIC = (int, float, Decimal)


class RowWriter(Protocol):
    """Takes rows as they come."""

    def begin(self, columns: Sequence[str], types: Sequence[str]) -> None: ...
    def row(self, values: Sequence[Any]) -> None: ...
    def end(self) -> None: ...


@dataclass
class CsvWriter:
    """A header, then a line for each row."""

    out: TextIO

    def begin(self, columns: Sequence[str], types: Sequence[str]) -> None:
        self._writer = csv.writer(self.out, lineterminator="\n")
        self._writer.writerow(columns)

    def row(self, values: Sequence[Any]) -> None:
        self._writer.writerow([text_of(value) for value in values])

    def end(self) -> None:
        self.out.flush()


@dataclass
class JsonWriter:
    """One document, a row to a line."""

    out: TextIO
    _columns: Sequence[str] = ()
    _json: list[bool] = field(default_factory=list)
    _rows: int = 0

    def begin(self, columns: Sequence[str], types: Sequence[str]) -> None:
        self._columns, self._json = columns, [name in ("json", "jsonb") for name in types]
        self.out.write(f'{{"schema": 1, "columns": {json.dumps(list(columns))}, "rows": [')

    def row(self, values: Sequence[Any]) -> None:
        found = {
            name: json.loads(value) if is_json and value is not None else json_of(value)
            for name, value, is_json in zip(self._columns, values, self._json, strict=True)
        }
        self.out.write(("," if self._rows else "") + "\n" + json.dumps(found, ensure_ascii=False))
        self._rows += 1

    def end(self) -> None:
        self.out.write("\n]}\n" if self._rows else "]}\n")
        self.out.flush()


@dataclass
class TextWriter:
    """Aligned columns; numbers to the right. Holds all rows until the end."""

    out: TextIO
    _columns: Sequence[str] = ()
    _rows: list[list[Any]] = field(default_factory=list)

    def begin(self, columns: Sequence[str], types: Sequence[str]) -> None:
        self._columns = columns

    def row(self, values: Sequence[Any]) -> None:
        self._rows.append(list(values))

    def end(self) -> None:
        texts = [["" if value is None else text_of(value) for value in row] for row in self._rows]
        right = [
            any(isinstance(row[at], NUMERIC) and not isinstance(row[at], bool) for row in self._rows)
            for at in range(len(self._columns))
        ]
        widths = [max(len(line[at]) for line in [list(self._columns), *texts]) for at in range(len(self._columns))]
        for line in ([*self._columns], ["-" * width for width in widths], *texts):
            cells = [
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(line, widths, right, strict=True)
            ]
            self.out.write("  ".join(cells).rstrip() + "\n")
        self.out.write(f"({len(self._rows)} row{'' if len(self._rows) == 1 else 's'})\n")
        self.out.flush()


def writer_for(style: str, out: TextIO) -> RowWriter:
    """Args: style: csv, json or text."""
    if style == "csv":
        return CsvWriter(out)
    return JsonWriter(out) if style == "json" else TextWriter(out)


def write_all(writer: RowWriter, columns: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """All rows at once."""
    writer.begin(columns, types)
    for row in rows:
        writer.row(row)
    writer.end()


def text_of(value: Any) -> str:
    """A value as CSV shows it."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(json_of(value), ensure_ascii=False)
    return str(value)


def json_of(value: Any) -> Any:
    """A value as JSON shows it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, (list, tuple)):
        return [json_of(one) for one in value]
    if isinstance(value, dict):
        return {str(name): json_of(one) for name, one in value.items()}
    return text_of(value)


def time_text(value: datetime) -> str:
    """RFC 3339, UTC, microseconds; a time without zone as it stands."""
    if value.tzinfo is None:
        return value.isoformat(timespec="microseconds")
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@contextmanager
def opened(name: str) -> Iterator[TextIO]:
    """stdout for "-", else a file that appears whole or not at all."""
    if name == "-":
        yield sys.stdout
        return
    path = Path(name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
