"""Where a second lies: its session, whether its rows are recorded, which trades count in it. Pure, by the calendar."""

from __future__ import annotations

import msgspec

from alphakite.sessions import Session, session_at, volume_epoch

SECOND_US = 1_000_000
CROSS_US = 300 * SECOND_US
"""The closing cross may print for five minutes after the close."""


class DeriveSettings(msgspec.Struct, frozen=True):
    """The settings that shape rows; they are journaled, so that a replay derives with the same ones."""

    tickers: tuple[str, ...] = ()
    hours: str = "extended"
    resolution: str = "1s"
    skip_market_hours: bool = False
    indicators: tuple[str, ...] = ("sma9", "vwap")


class Moment(msgspec.Struct):
    """One second. `session_us`: start of its recorded hours, 0 outside; `open_us`, `close_us`: regular hours.

    `prices_us`: since when a trade makes a price; 0: any does, for there is no session logic.
    """

    second_us: int = -1
    recorded: bool = False
    regular: bool = False
    cross: bool = False
    session_us: int = 0
    open_us: int = 0
    close_us: int = 0
    reset_us: int = 0
    epoch_us: int = 0
    prices_us: int = 0


def recorded_hours(session: Session, settings: DeriveSettings) -> tuple[int, int]:
    """Start and end of the hours whose rows are stored."""
    if settings.hours == "regular":
        return session.regular_open_us, session.regular_close_us
    return session.extended_open_us, session.extended_close_us


def moment(second_us: int, settings: DeriveSettings) -> Moment:
    """Look a second up in the calendar."""
    session = session_at(second_us)
    epoch_us = volume_epoch(second_us)
    if session is None:
        return Moment(second_us, settings.skip_market_hours, epoch_us=epoch_us)
    start_us, end_us = recorded_hours(session, settings)
    open_us, close_us = session.regular_open_us, session.regular_close_us
    inside = start_us <= second_us < end_us
    return Moment(
        second_us,
        inside or settings.skip_market_hours,
        open_us <= second_us < close_us,
        close_us <= second_us < close_us + CROSS_US,
        start_us if inside else 0,
        open_us,
        close_us,
        session.volume_reset_us,
        epoch_us,
        start_us if inside and not settings.skip_market_hours else 0,
    )
