"""CSV, JSON and text as the contract promises them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alphakite.cli.export import parse_time, select
from alphakite.cli.output import opened, write_all, writer_for
from alphakite.errors import UsageError

COLUMNS = ["at", "price", "count", "note", "details"]
TYPES = ["timestamptz", "numeric", "int8", "text", "jsonb"]
AT = datetime(2026, 11, 20, 10, 15, tzinfo=timezone(timedelta(hours=-5)))
ROWS: list[list[Any]] = [[AT, Decimal("1E-7"), 2**53 + 1, 'a "b", c', '{"a": 1}'], [None, Decimal(100), 0, None, None]]


def written(style: str) -> str:
    out = io.StringIO()
    write_all(writer_for(style, out), COLUMNS, TYPES, ROWS)
    return out.getvalue()


def test_csv() -> None:
    """A header; UTC with microseconds; plain decimals; NULL empty."""
    assert list(csv.reader(io.StringIO(written("csv")))) == [
        COLUMNS,
        ["2026-11-20T15:15:00.000000Z", "0.0000001", "9007199254740993", 'a "b", c', '{"a": 1}'],
        ["", "100", "0", "", ""],
    ]
    assert "\r" not in written("csv")


def test_json() -> None:
    """Decimals are strings, whole numbers numbers, NULL null, JSON columns JSON."""
    document = json.loads(written("json"))
    assert (document["schema"], document["columns"]) == (1, COLUMNS)
    assert document["rows"][0] == {
        "at": "2026-11-20T15:15:00.000000Z",
        "price": "0.0000001",
        "count": 2**53 + 1,
        "note": 'a "b", c',
        "details": {"a": 1},
    }
    assert document["rows"][1]["price"] == "100"
    assert document["rows"][1]["at"] is None
    out = io.StringIO()
    write_all(writer_for("json", out), ["a"], ["int4"], [])
    assert json.loads(out.getvalue()) == {"schema": 1, "columns": ["a"], "rows": []}


def test_json_other_types() -> None:
    """Dates, floats, booleans, lists, bytes."""
    out = io.StringIO()
    values = [date(2026, 11, 20), 0.5, float("nan"), True, [Decimal("0.1"), None], b"\x01"]
    write_all(writer_for("json", out), list("abcdef"), ["x"] * 6, [values])
    assert list(json.loads(out.getvalue())["rows"][0].values()) == [
        "2026-11-20", 0.5, "nan", True, ["0.1", None], "\\x01",
    ]  # fmt: skip


def test_text() -> None:
    """Aligned, numbers to the right, the count at the end."""
    out = io.StringIO()
    write_all(writer_for("text", out), ["name", "n"], ["text", "int4"], [["a", 1], ["bcdef", 100], [None, None]])
    assert out.getvalue().splitlines() == ["name     n", "-----  ---", "a        1", "bcdef  100", "", "(3 rows)"]


def test_a_file_appears_whole(tmp_path: Path) -> None:
    """What fails half-way leaves the earlier file, and no other."""
    path = tmp_path / "out.csv"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), opened(str(path)) as file:
        file.write("half")
        raise RuntimeError
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text() == "earlier"
    with opened(str(path)) as file:
        file.write("new")
    assert path.read_text() == "new"


def test_select() -> None:
    """Key order; bounds from, included, to, excluded; what is asked never becomes SQL."""
    start = parse_time("2026-11-20")
    assert start == datetime(2026, 11, 20, tzinfo=UTC)
    sql, values = select("equity_data", "qqq", start, parse_time("2026-11-20T15:00:00-05:00"))
    assert sql == (
        'select * from public.equity_data where ticker = $1 and "timestamp" >= $2 and "timestamp" < $3'
        ' order by "ticker", "timestamp", "journal_no", "seq", "item"'
    )
    assert values[0] == "QQQ"
    assert select("stream_gaps", None, start, None)[0].endswith('where "start_at" >= $1 order by "ticker", "start_at"')
    with pytest.raises(UsageError):
        select("streaming_metrics", "QQQ", None, None)
    with pytest.raises(UsageError, match="not a time"):
        parse_time("yesterday")
