"""The JSON of GET /quotes → changed fields of indices: the fallback where an index does not stream; pure.

In:   the body of one answer.      Out:  Quotes: an EquityUpdate per index that has a last price, and what was
rejected. An index has no volume: whatever `totalVolume` says is not taken over. Nothing here raises for bad input.
"""

from __future__ import annotations

import json
from typing import Any

from msgspec import UNSET, Struct

from alphakite.feed.schwab.decode import BAD, KEPT, clean
from alphakite.feed.schwab.fields import EQUITY, Field
from alphakite.model import EquityUpdate
from alphakite.symbols import is_index

PATH = "/marketdata/v1/quotes"
SYMBOLS_PER_REQUEST = 500
READ = {"lastPrice": "last", "tradeTime": "trade_time_ms", "securityStatus": "security_status"}
"""Schwab's name in the block `quote` → ours."""

_FIELDS: dict[str, Field] = {field.name: field for field in EQUITY}


class Quotes(Struct):
    """What one answer held. `unknown`: symbols that Schwab does not know."""

    updates: list[EquityUpdate]
    rejected: list[str]
    unknown: list[str]


def parameters(symbols: tuple[str, ...]) -> dict[str, str]:
    """The query of a request for at most SYMBOLS_PER_REQUEST symbols."""
    return {"symbols": ",".join(symbols[:SYMBOLS_PER_REQUEST]), "fields": "quote"}


def parse_quotes(body: bytes) -> Quotes:
    """Take one answer apart. Never raises; symbols that are no index are passed over."""
    quotes = Quotes([], [], [])
    try:
        whole: Any = json.loads(body.decode("utf-8", "replace"), parse_int=lambda digits: int(digits[:40]))
    except BAD as error:
        quotes.rejected.append(f"not JSON ({error}): {KEPT}"[:200])
        return quotes
    if not isinstance(whole, dict):
        quotes.rejected.append(f"no quotes by symbol: {KEPT}")
        return quotes
    for symbol, envelope in whole.items():
        if symbol == "errors":
            invalid = envelope.get("invalidSymbols") if isinstance(envelope, dict) else None
            if isinstance(invalid, list):
                quotes.unknown += [name for name in invalid if isinstance(name, str)]
            else:
                quotes.rejected.append(f"Schwab answered with errors: {envelope!r:.120}")
        elif is_index(symbol):
            _take(symbol, envelope, quotes)
    return quotes


def _take(symbol: str, envelope: object, quotes: Quotes) -> None:
    quote = envelope.get("quote") if isinstance(envelope, dict) else None
    if not isinstance(quote, dict):
        quotes.rejected.append(f"{symbol:.80}: no block `quote`: {KEPT}")
        return
    update = EquityUpdate(symbol)
    for theirs, ours in READ.items():
        if theirs not in quote:
            continue
        sound = clean(_FIELDS[ours], quote[theirs])
        if sound is UNSET:
            quotes.rejected.append(f"{symbol:.80}: {theirs} is {quote[theirs]!r:.80}: {KEPT}")
        else:
            setattr(update, ours, sound)
    if isinstance(update.last, float):
        quotes.updates.append(update)
