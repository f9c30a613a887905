"""Where a second lies: its session, whether its rows are recorded, which trades count in it. Pure, by the calendar."""

from __future__ import annotations

import msgspec

from alphakite.sessions import OPTIONS_LATE_US, Session, option_epoch, session_at, volume_epoch

SECOND_US = 1_000_000
CROSS_US = 300 * SECOND_US
"""The closing cross may print for five minutes after the close."""
OPTION_HOURS = "regular+15min"
"""The hours of options where those of equities are the regular ones: until trading in the latest ends."""


class DeriveSettings(msgspec.Struct, frozen=True):
    """The settings that shape rows; they are journaled, so that a replay derives with the same ones."""

    tickers: tuple[str, ...] = ()
    hours: str = "extended"
    resolution: str = "1s"
    skip_market_hours: bool = False
    indicators: tuple[str, ...] = ("sma9", "vwap")
    option_resolution: str = "1s"
    greeks_interval_s: float = 5.0
    """How often a contract's model values are computed; 0: never."""
    greeks_convention: str = "model"
    greeks_rate: float = 0.04
    greeks_dividends: dict[str, float] = {}
    """By ticker, continuous per year; not named: 0."""

    def for_options(self) -> DeriveSettings:
        """The same for the rows of options: their own resolution, and hours that end with their trading."""
        hours = OPTION_HOURS if self.hours == "regular" else self.hours
        return msgspec.structs.replace(self, hours=hours, resolution=self.option_resolution)


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
    if settings.hours == OPTION_HOURS:
        return session.regular_open_us, session.regular_close_us + OPTIONS_LATE_US
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


def option_moment(second_us: int, settings: DeriveSettings) -> Moment:
    """The same for options, whose cumulative volume is reset at another time. Args: settings: `for_options`."""
    now = moment(second_us, settings)
    now.epoch_us = option_epoch(second_us)
    now.reset_us = now.epoch_us if now.session_us else 0
    return now
