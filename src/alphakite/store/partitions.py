"""The days that a batch needs, of the tables that have a partition a day (UTC).

In:   a Batch.      Out:  calls of store.ensure_partitions(first, last, tables), each in a transaction of its own.
A day that could not be made, since somebody reads for long, costs nothing: its rows find their home in the default
partition, and move when a later call makes the day. One day is made ahead, so that there are many tries for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Protocol

from alphakite.model import Batch

DAY_US = 86_400_000_000
ENSURE_SQL = "select store.ensure_partitions($1, $2, $3)"
MOST_DAYS = 31
"""Of a batch and table: more days than a month are no recording, their rows go into the default partition."""
AGAIN_AFTER_S = 60.0
EPOCH = date(1970, 1, 1)


class Timed(Protocol):
    """A row."""

    @property
    def timestamp_us(self) -> int: ...


@dataclass(frozen=True)
class Call:
    """Days in a row of a table, first to last; the last is the one ahead."""

    table: str
    first: date
    last: date


@dataclass
class Days:
    """Which days are there, as far as one connection knows."""

    clock: Callable[[], float] = time.monotonic
    _known: set[tuple[str, int]] = field(default_factory=set)
    _not_before_s: float = 0.0

    def forget(self) -> None:
        """Another connection, perhaps another database."""
        self._known.clear()
        self._not_before_s = 0.0

    def calls(self, wanted: dict[str, set[int]]) -> list[Call]:
        """What to ask for. Args: wanted: days since 1970, by table."""
        found = []
        for table, days in wanted.items():
            new = sorted(day for day in days if (table, day) not in self._known)
            if not new or len(new) > MOST_DAYS or self.clock() < self._not_before_s:
                continue
            runs = [[new[0]]]
            for day in new[1:]:
                if day == runs[-1][-1] + 1:
                    runs[-1].append(day)
                else:
                    runs.append([day])
            found += [Call(table, _date(run[0]), _date(run[-1] + 1)) for run in runs]
        return found

    def made(self, call: Call, missing: int) -> None:
        """Note the answer. Args: missing: how many of the days could not be made now."""
        if missing:
            self._not_before_s = self.clock() + AGAIN_AFTER_S
            return
        # The day ahead is not noted: it is asked for when it comes, and the one after it with it.
        days = range((call.first - EPOCH).days, (call.last - EPOCH).days)
        self._known.update((call.table, day) for day in days)


def days_of(batch: Batch) -> dict[str, set[int]]:
    """The days of a batch's rows, since 1970, by table."""
    found = {
        "equity_data": _days(batch.equity),
        "indicators": _days(batch.indicators),
        "indicator_values": _days(batch.values),
        "option_prices": _days(batch.options),
        "option_images": _days(batch.images),
    }
    return {table: days for table, days in found.items() if days}


def _days(rows: Iterable[Timed]) -> set[int]:
    return {row.timestamp_us // DAY_US for row in rows}


def _date(day: int) -> date:
    return EPOCH + timedelta(days=day)
