"""Option contracts and what is quoted of them: small records without behaviour.

Prices × PRICE_SCALE, times epoch ms, volumes and sizes in contracts. None stands where Schwab sends a sentinel.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Contract:
    """`symbol`: 21 characters. `right`: C, P. `settlement`: P, A. `expiration_type`: W, S, Q, M. `exercise`: A, E."""

    symbol: str
    underlying: str
    root: str
    expiry: date
    right: str
    strike: int
    expiration_type: str = "W"
    settlement: str = "P"
    exercise: str = "A"
    multiplier: int = 100
    penny: bool = True


@dataclass(slots=True)
class OptionQuote:
    """What is known of a contract at one moment. `iv` in percent; greeks as Schwab gives them.

    None in `iv` and the greeks: the model has no answer, -999 on the wire; with `nan` (expired) the string "NaN".
    `theoretical` is then -1.0 off hours, None ("NaN") otherwise. `iv` 0.0: reset at 03:30 and not yet computed.
    """

    bid: int
    ask: int
    last: int
    mark: int
    high: int
    low: int
    open: int
    close: int
    bid_size: int
    ask_size: int
    last_size: int
    volume: int
    open_interest: int
    quote_time_ms: int
    trade_time_ms: int
    iv: float | None
    delta: float | None
    gamma: float | None
    theta: float | None
    vega: float | None
    rho: float | None
    theoretical: float | None
    underlying_price: int
    status: str = "Normal"
    high_52: int = 0
    low_52: int = 0
    nan: bool = False
