"""Changed fields of an option → its whole quote.

In:   OptionUpdate messages of one contract.      Out:  its OptionBook, and a mask of what the last message changed.
Prices and greeks × PRICE_SCALE, implied volatility as a fraction × IV_SCALE; None = not known, or the feed says that
there is none: `absent` says which of the two.
"""

from __future__ import annotations

from msgspec import UNSET

from alphakite.derive.book import TRADE_TIME, VOLUME, Book, scaled
from alphakite.model import PRICE_SCALE, OptionFlag, OptionUpdate

NO_QUOTE, NO_IV, NO_GREEKS = int(OptionFlag.NO_QUOTE), int(OptionFlag.NO_IV), int(OptionFlag.NO_GREEKS)
GREEKS = ("delta", "gamma", "theta", "vega", "rho")
Stored = tuple[int | None, ...]
"""The stored columns: bid, ask, last, bid_size, ask_size, day_volume, open_interest, iv and five greeks."""


class OptionBook(Book):
    """The whole quote of one contract."""

    open_interest: int | None = None
    iv: int | None = None
    delta: int | None = None
    gamma: int | None = None
    theta: int | None = None
    vega: int | None = None
    rho: int | None = None
    underlying_price: int | None = None
    no_bid: bool = False
    no_ask: bool = False
    no_iv: bool = False
    lacking: tuple[str, ...] = ()
    """What the feed says it has not: a bid, an ask, a volatility, these greeks."""

    def forget(self) -> None:
        """What comes next is an image."""
        fresh = OptionBook()
        for name in self.__struct_fields__:
            setattr(self, name, getattr(fresh, name))

    @property
    def absent(self) -> int:
        """Flags of what the feed says it has not."""
        flags = NO_QUOTE if self.no_bid or self.no_ask else 0
        if self.no_iv:
            flags |= NO_IV
        return flags | NO_GREEKS if self.lacking else flags

    def take(self, update: OptionUpdate) -> int:
        """Take over the changed fields; VOLUME and TRADE_TIME in the mask if the message named them."""
        mask = 0
        if (price := update.bid) is not UNSET:
            self.bid, self.no_bid = scaled(price), price is None
        if (price := update.ask) is not UNSET:
            self.ask, self.no_ask = scaled(price), price is None
        if (price := update.last) is not UNSET:
            self.last = scaled(price)
        if (size := update.bid_size) is not UNSET:
            self.bid_size = size
        if (size := update.ask_size) is not UNSET:
            self.ask_size = size
        if (volume := update.volume) is not UNSET and volume is not None:
            self.volume = volume
            mask |= VOLUME
        if (interest := update.open_interest) is not UNSET:
            self.open_interest = interest
        if (percent := update.implied_volatility_percent) is not UNSET:
            self.iv = None if percent is None else round(percent * PRICE_SCALE)
            self.no_iv = percent is None
        if (
            update.delta is not UNSET
            or update.gamma is not UNSET
            or update.theta is not UNSET
            or update.vega is not UNSET
            or update.rho is not UNSET
        ):
            self._take_greeks(update)
        if (price := update.underlying_price) is not UNSET:
            self.underlying_price = scaled(price)
        if (time := update.quote_time_ms) is not UNSET:
            self.quote_time_ms = time
        if (time := update.trade_time_ms) is not UNSET:
            self.trade_time_ms = time
            mask |= TRADE_TIME
        return mask

    def _take_greeks(self, update: OptionUpdate) -> None:
        lacking = set(self.lacking)
        for name in GREEKS:
            value = getattr(update, name)
            if value is not UNSET:
                setattr(self, name, scaled(value))
                lacking.add(name) if value is None else lacking.discard(name)
        self.lacking = tuple(name for name in GREEKS if name in lacking)

    def stored(self) -> Stored:
        """The stored columns as they are now."""
        return (
            self.bid,
            self.ask,
            self.last,
            self.bid_size,
            self.ask_size,
            self.volume,
            self.open_interest,
            self.iv,
            self.delta,
            self.gamma,
            self.theta,
            self.vega,
            self.rho,
        )
