"""What derivation makes, counts and passes on: small records without behaviour."""

from __future__ import annotations

import msgspec

from alphakite.model import (
    ContractRow,
    EquityRow,
    FollowingRow,
    GapRow,
    IndicatorRow,
    IndicatorValueRow,
    OptionRow,
    QualityEvent,
)


class Rows(msgspec.Struct):
    """What derivation has made since it was last emptied."""

    equity: list[EquityRow] = []
    indicators: list[IndicatorRow] = []
    gaps: list[GapRow] = []
    events: list[QualityEvent] = []
    values: list[IndicatorValueRow] = []
    options: list[OptionRow] = []
    images: list[OptionRow] = []
    """Of options: what was known of a contract when it began, or began again, to be watched."""
    contracts: list[ContractRow] = []
    following: list[FollowingRow] = []

    def __len__(self) -> int:
        equities = len(self.equity) + len(self.indicators) + len(self.values)
        options = len(self.options) + len(self.images) + len(self.contracts) + len(self.following)
        return equities + options + len(self.gaps) + len(self.events)


class Counts(msgspec.Struct):
    """Terms of the conservation sum over updates: updates = stored + conflated + images + outside + waiting."""

    updates: int = 0
    stored: int = 0
    conflated: int = 0
    images: int = 0
    outside: int = 0


class At(msgspec.Struct, gc=False):
    """The place of one message: its time, journal seq, and index in its frame."""

    ts_us: int
    seq: int
    item: int


class Gap(msgspec.Struct):
    """A span that is open (`end_us` None) or closed and waiting for the end of its second to know its volume."""

    start_us: int
    reason: str
    end_us: int | None = None
    late: bool = False
    """The session's start was missed: nothing is known from before it."""
    lost_us: int = 0
    """Since when nothing is known, if an earlier part of it has a row of its own; 0: since `start_us`."""
    before: Gap | None = None
    base_before: int | None = None
    """A gap that ended in the very second, and what its volume counts from: taken up again if no time was lost."""
    flagged_before: bool = True
    """Whether VWAP was flagged before it, and whether the forming bar was touched: restored if no time was lost."""
    touched_before: bool = True
    hole_made: bool = False
    """Whether its first minute, so far without a bar, became a hole."""
