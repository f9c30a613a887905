"""What a client has last been told of each option contract: an image first, then only the texts that differ.

In:   the market, and the keys and fields subscribed.      Out:  items of LEVELONE_OPTIONS, as the wire spells them.
A key whose contract the market does not know gives nothing. The market's side: `contract(symbol)`, and what it has
spelled of a contract (Told), which stays the same until the contract moves: most do so in few of the seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from alphakite.simulator.contracts import Contract, OptionQuote

HEADS = tuple(f',"{number}":' for number in range(64))
"""Before each field's text."""


class Told(NamedTuple):
    """A contract's fields as spelled, until a position (epoch ms, included) at which it may have moved.

    `before`, `changed`: the texts that these followed, and the numbers of those that differ, upwards; None: not known.
    """

    quote: OptionQuote
    texts: dict[int, str]
    until_ms: int
    before: dict[int, str] | None = None
    changed: tuple[int, ...] = ()


class OptionMarket(Protocol):
    """What is asked of the market."""

    position_ms: int
    options_told: dict[str, Told]

    def contract(self, symbol: str) -> Contract | None:
        """The contract of a 21-character symbol; None if it is not played."""

    def option_texts(self, contract: Contract) -> tuple[str, dict[int, str]]:
        """The meta keys' text and the fields' texts."""

    def option_told(self, contract: Contract) -> Told:
        """The texts as of the position."""


class OptionStream:
    """One connection's."""

    def __init__(self) -> None:
        self._told: dict[str, dict[int, str]] = {}

    def image(self, market: OptionMarket, key: str, wanted: frozenset[int]) -> str:
        """Meta keys and every wanted field; empty for an unknown contract."""
        contract = market.contract(key)
        if contract is None:
            return ""
        meta, texts = market.option_texts(contract)
        self._told[key] = texts
        values = "".join(f',"{number}":{texts[number]}' for number in sorted(texts) if number in wanted)
        return f'{{"key":"{key}",{meta}{values}}}'

    def deltas(self, market: OptionMarket, wanted: Mapping[str, frozenset[int]]) -> list[str]:
        """The items of all keys that have any. A contract that cannot have moved is passed over."""
        position_ms, spelled, told = market.position_ms, market.options_told, self._told
        items: list[str] = []
        for key, fields in wanted.items():
            known = spelled.get(key)
            if known is not None and position_ms <= known.until_ms and told.get(key) is known.texts:
                continue
            if item := self.delta(market, key, fields):
                items.append(item)
        return items

    def delta(self, market: OptionMarket, key: str, wanted: frozenset[int]) -> str:
        """The wanted fields that differ from what was told; empty if none does. An image for a contract new today."""
        contract = market.contract(key)
        if contract is None:
            return ""
        told = self._told.get(key)
        if told is None:
            return self.image(market, key, wanted)
        known = market.option_told(contract)
        texts = known.texts
        if texts is told:
            return ""
        self._told[key] = texts
        if known.before is told:
            values = "".join([HEADS[number] + texts[number] for number in known.changed if number in wanted])
        else:
            values = "".join(
                [
                    HEADS[number] + text
                    for number, text in texts.items()
                    if number in wanted and told.get(number) != text
                ]
            )
        return f'{{"key":"{key}"{values}}}' if values else ""

    def told(self, key: str) -> dict[int, str]:
        """The texts last told, of all fields; empty for a key that is not told of."""
        return self._told.get(key, {})

    def forget(self, key: str) -> None:
        """The key is no longer subscribed."""
        self._told.pop(key, None)
