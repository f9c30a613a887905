"""Figures → an aligned table, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Run = Mapping[str, float | None]


def middle(runs: Sequence[Run], name: str) -> float | None:
    """The median of a figure over the repetitions that have it; None if none has."""
    values = [value for run in runs if (value := run.get(name)) is not None]
    return median(values) if values else None


def ratio(value: float | None, base: float | None) -> float | None:
    """How many times the base; None where either is missing."""
    return value / base if value is not None and base else None


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Left-aligned names, right-aligned numbers, a dash for what is not known."""
    texts = [[_text(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in texts)
    ]
    return "\n".join([title, "", lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:]), ""])


def _text(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell >= 1000 else f"{cell:.1f}" if cell >= 20 else f"{cell:.2f}"
    return str(cell)
