"""What a custom indicator is: one small class. The guide is docs/guides/custom-indicators.md.

    class EMA21(Indicator):
        seen: int = 0                    # annotated: state, kept in checkpoints; every one needs a default
        ema: float = 0.0
        length = 21                      # not annotated: a parameter
        parameters = ("length",)

        def bar(self, bar): ...          # each completed one-minute bar of the regular session
        def value(self): ...             # a number, None, or a tuple of them

In:   completed bars in order, each once; the beginning of a session.      Out:  values in dollars, rounded by the host.
State is whatever msgspec can encode: numbers, strings, lists, dicts, Structs; it is bounded by the indicator's own
window. A class must be pure: the same bars give the same values. No clock, no file, no random number.
Floats are IEEE doubles: the same operations in the same order give the same bits, live and in replay.
What the host (derive/hosted.py) does with it: gaps, seeds, failures, the minute in progress.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

import msgspec

Value = float | Decimal | Fraction | tuple[float | Decimal | Fraction | None, ...] | None
"""A number (an int, too), None for "no value", or for several outputs a tuple in their order."""


class MinuteBar(msgspec.Struct, frozen=True):
    """One minute of the regular session, from the last prices seen in it. A minute without a trade has no bar."""

    minute: int
    """Minutes since the session's regular open: 0 is the first."""
    open: float
    """USD, as close as a double comes to the price that was sent."""
    high: float
    low: float
    close: float
    volume: int
    """Shares, by the change of the cumulative volume."""
    minute_us: int
    """The minute's start, µs since 1970-01-01 UTC."""


class Indicator(msgspec.Struct):
    """A custom indicator: subclass it, annotate the state, write `bar` and `value`."""

    outputs: ClassVar[tuple[str, ...]] = ("value",)
    """Names of what `value` returns; more than one: `value` returns a tuple."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Names of class attributes that shape the value: part of the definition."""
    version: ClassVar[int] = 1
    """Raise it when a helper in another file changes the values; a change of the class's own file shows by itself."""
    live: ClassVar[bool] = True
    """Whether a row shows the value as if the minute in progress ended now, as sma9 does; else that of the newest
    completed bar."""
    about: ClassVar[str] = "one-minute bars from last prices"
    """What it is computed from, in words: `input` of its definition."""
    carries: ClassVar[str] = "regular, carried over"
    """Which hours, and what happens between sessions, in words: `session` of its definition."""

    def bar(self, bar: MinuteBar) -> None:
        """Take a completed bar. With `live` a copy of the indicator also gets the minute in progress."""
        raise NotImplementedError

    def session(self) -> None:
        """A regular session begins, its bars come next: what starts anew each day is cleared here."""

    def value(self) -> Value:
        """The value after the bars so far. It changes nothing."""
        raise NotImplementedError
