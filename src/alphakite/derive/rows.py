"""What derivation makes, counts and passes on: small records without behaviour."""

from __future__ import annotations

import msgspec

from alphakite.model import EquityRow, GapRow, IndicatorRow, QualityEvent


class Rows(msgspec.Struct):
    """What derivation has made since it was last emptied."""

    equity: list[EquityRow] = []
    indicators: list[IndicatorRow] = []
    gaps: list[GapRow] = []
    events: list[QualityEvent] = []

    def __len__(self) -> int:
        return len(self.equity) + len(self.indicators) + len(self.gaps) + len(self.events)


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
    flagged_before: bool = True
    """Whether VWAP was flagged before it, and whether the forming bar was touched: restored if no time was lost."""
    touched_before: bool = True
    hole_made: bool = False
    """Whether its first minute, so far without a bar, became a hole."""
