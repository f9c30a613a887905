"""What the database takes, and what a removal made free: what the schema's functions answer, typed.

In:   the JSON of public.recorder_size(), recorder_remove() and recorder_prune().      Out:  Size, Removed, Pruned.
Bytes are those on disk, indexes included. In Supabase `Size.bytes` is that of all the project's databases, which is
what its limit counts; its own take 40 to 60 MB before the first row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from alphakite.errors import FatalError

SIZE_SQL = "select public.recorder_size()"
REMOVE_SQL = "select public.recorder_remove($1, $2, $3, $4, $5)"
PRUNE_SQL = "select public.recorder_prune($1, $2, $3, $4, $5)"
TABLES = ("equity_data", "indicators", "indicator_values", "option_prices", "option_images", "streaming_metrics")
"""Those that have a partition a day, in the order in which they are written."""


@dataclass(frozen=True)
class Part:
    """A partition, from `low_us` to before `high_us`. The days before there were partitions have no low, the default
    one neither.
    """

    table: str
    name: str
    low_us: int | None
    high_us: int | None
    is_default: bool
    bytes: int

    @property
    def is_day(self) -> bool:
        """Whether it is one day (UTC): what can be dropped by itself."""
        return self.low_us is not None and self.high_us is not None


@dataclass(frozen=True)
class Size:
    """The database at one moment. `now_us`: the recording's, by stream_now()."""

    bytes: int
    now_us: int
    parts: tuple[Part, ...]

    def by_table(self) -> dict[str, int]:
        """Bytes of each partitioned table, the largest first."""
        found: dict[str, int] = {}
        for part in self.parts:
            found[part.table] = found.get(part.table, 0) + part.bytes
        return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))

    def days(self, table: str) -> tuple[Part, ...]:
        """The days (UTC) of a table that have a partition, oldest first."""
        found = [part for part in self.parts if part.table == table and part.is_day]
        return tuple(sorted(found, key=lambda part: part.low_us or 0))


@dataclass(frozen=True)
class Removed:
    """What one removal did: rows by table, 0 where there was no such day; bytes that are free now."""

    rows: dict[str, int]
    bytes: int


@dataclass(frozen=True)
class Pruned:
    """A partition, or rows of one, that was removed or would be. `low_us` None: from ever. `bytes` 0: rows deleted."""

    partition: str
    low_us: int | None
    high_us: int
    rows: int
    bytes: int


def read(found: Any) -> Size:
    """Args: found: the answer of recorder_size(), as text or decoded. Raises: FatalError for another shape."""
    said = _decoded(found, _Size)
    return Size(said.bytes, said.now, tuple(Part(*one) for one in said.partitions))


def read_removed(found: Any) -> Removed:
    """Args: found: the answer of recorder_remove()."""
    said = _decoded(found, _Removed)
    return Removed(said.rows, said.bytes)


def read_pruned(found: Any) -> tuple[Pruned, ...]:
    """Args: found: the answer of recorder_prune()."""
    return tuple(
        Pruned(one.partition, one.low, one.high, one.rows, one.bytes) for one in _decoded(found, list[_Pruned])
    )


class _Size(msgspec.Struct):
    bytes: int
    now: int
    partitions: list[tuple[str, str, int | None, int | None, bool, int]]


class _Removed(msgspec.Struct):
    rows: dict[str, int]
    bytes: int


class _Pruned(msgspec.Struct):
    partition: str
    low: int | None
    high: int
    rows: int
    bytes: int


def _decoded(found: Any, shape: Any) -> Any:
    """A value of this shape, out of text or of what was decoded."""
    try:
        if isinstance(found, (str, bytes)):
            return msgspec.json.decode(found, type=shape)
        return msgspec.convert(found, shape)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise FatalError(
            f"the database says its size in another shape: {error}", next_step="run `alphakite migrate`"
        ) from None
