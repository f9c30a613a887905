"""Our own greeks: pure functions of quotes, a moment and stated inputs. docs/decisions/0006-greeks.md says why so."""

from alphakite.derive.greeks.black_scholes import ExpiryModel, Greeks
from alphakite.derive.greeks.chain import ChainValues, OptionQuote, QuoteValues, value_chain
from alphakite.derive.greeks.conventions import CBOE, CONVENTIONS, MODEL, SCHWAB, Convention, as_printed
from alphakite.derive.greeks.expiry import (
    CLOCKS,
    Expiry,
    act365_sec,
    cboe_calendar,
    expiry_of,
    schwab_weekday,
    trading_end_us,
)
from alphakite.derive.greeks.forward import Forward, Pair, parity_forward
from alphakite.derive.greeks.implied import (
    implied_volatility,
    iv_half_width,
    quote_fault,
    solve,
    solve_quote,
)
from alphakite.derive.greeks.reasons import Reason

__all__ = [
    "CBOE",
    "CLOCKS",
    "CONVENTIONS",
    "MODEL",
    "SCHWAB",
    "ChainValues",
    "Convention",
    "Expiry",
    "ExpiryModel",
    "Forward",
    "Greeks",
    "OptionQuote",
    "Pair",
    "QuoteValues",
    "Reason",
    "act365_sec",
    "as_printed",
    "cboe_calendar",
    "expiry_of",
    "implied_volatility",
    "iv_half_width",
    "parity_forward",
    "quote_fault",
    "schwab_weekday",
    "solve",
    "solve_quote",
    "trading_end_us",
    "value_chain",
]
