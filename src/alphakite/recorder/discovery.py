"""Discovery: one expiry's contracts from Schwab, in as few requests as Schwab allows.

In:   ticker, expiry, strikes wanted on each side.      Out:  the contracts, and whether there are no more.
An answer that the gateway finds too big is asked for in parts; one with too few strikes on a side, once more and wider.
Every answer is kept before it is read.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import date

from msgspec import Struct, field

from alphakite.errors import TransientError
from alphakite.feed.schwab.chains import (
    CHAIN_PATH,
    Chain,
    ChainRequest,
    chain_request,
    is_too_big,
    parse_chain,
    split,
    wider,
)
from alphakite.feed.schwab.rest import Answer, SchwabRest
from alphakite.model import ChainContract
from alphakite.recorder.following import KnownChain

Keep = Callable[[Answer], None]


class Found(Struct):
    """What the answers held. `price`: the underlying's, × PRICE_SCALE. `whole`: nothing asked for is missing."""

    expiry: date
    contracts: list[ChainContract] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    price: int | None = None
    whole: bool = True
    complete: bool = False

    def known(self, seen_us: int) -> KnownChain:
        """For the state of following."""
        return KnownChain(self.expiry, seen_us, tuple(self.contracts), self.price, self.complete)

    def add(self, chain: Chain) -> None:
        """Another answer's part."""
        self.contracts += chain.contracts
        self.rejected += chain.rejected
        self.price = chain.underlying_last or chain.underlying_price or self.price
        self.whole = self.whole and chain.complete


async def fetch_chain(
    rest: SchwabRest, ticker: str, expiry: date, each_side: int | None, price: int | None, keep: Keep
) -> Found:
    """Ask until there are `each_side` strikes on both sides of the price, or no more.

    Raises: TransientError, SignInError.
    Args:
        each_side: None: all strikes.
        price: the last one known, × PRICE_SCALE; None: the answer's own.
    """
    request: ChainRequest | None = chain_request(ticker, expiry, each_side)
    found = Found(expiry)
    while request is not None:
        found = Found(expiry)
        lossy = await _collect(rest, request, found, keep)
        strikes = sorted({one.strike for one in found.contracts})
        count, money = request.strike_count, price or found.price
        found.complete = found.whole and not lossy and (count is None or len(strikes) < count)
        if found.complete or lossy or each_side is None or money is None:
            break
        asked, request = request, wider(request, found.contracts, money, each_side)
        if (
            request is None
            and min(bisect_left(strikes, money), len(strikes) - bisect_right(strikes, money)) < each_side
        ):
            request = chain_request(ticker, expiry, None) if asked.strike_count is not None else None
    return found


async def _collect(rest: SchwabRest, request: ChainRequest, found: Found, keep: Keep) -> bool:
    """Ask one thing, in parts if need be. Returns whether outer strikes were given up."""
    try:
        answer = await rest.get(CHAIN_PATH, request.parameters())
    except TransientError as error:
        if not is_too_big(str(error)) or not (parts := split(request)):
            raise
        lossy = [await _collect(rest, part, found, keep) for part in parts]
        return any(lossy)
    keep(answer)
    chain = parse_chain(answer.body)
    if chain.fault:
        raise TransientError(f"no chain: {chain.fault}", next_step="it is asked again")
    found.add(chain)
    return request.lossy
