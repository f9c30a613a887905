"""Why a contract has no implied volatility: one code instead of a number."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The first of these that holds, in this order. The last four are the caller's to find, for they need history, and
    come right after `expired`.
    """

    EXPIRED = "expired"
    """At or after the settlement instant."""
    NO_UNDERLYING = "no_underlying"
    """No pair of two-sided quotes to take a forward from, and no price of the underlying."""
    STALE_UNDERLYING = "stale_underlying"
    """No pair of two-sided quotes, and the underlying's price is too old to stand in."""
    NO_ASK = "no_ask"
    NO_BID = "no_bid"
    """A bid of 0 included: the ask is then an upper bound, half of it is no price."""
    CROSSED = "crossed"
    """The bid is above the ask."""
    TOO_WIDE = "too_wide"
    """The spread is wider than the mid and than five cents: the mid says nothing."""
    BELOW_INTRINSIC = "below_intrinsic"
    ABOVE_MAXIMUM = "above_maximum"
    """No volatility reaches this price: a call at its underlying's, a put at its strike's present value."""
    VEGA_TOO_SMALL = "vega_too_small"
    """What the price holds beyond its intrinsic value is rounding: every volatility gives it."""
    STALE_OPTION = "stale_option"
    HALTED = "halted"
    SESSION_RESET = "session_reset"
    NOT_QUOTED = "not_quoted"
    """No image of the contract yet, or none on the connection that others of its chain have one on."""
