"""What a client has last been told of each option contract: an image first, then only the texts that differ.

In:   the market, and the keys and fields subscribed.      Out:  items of LEVELONE_OPTIONS, as the wire spells them.
A key whose contract the market does not know gives nothing. The market's side: `contract(symbol)`, and
`option_texts(contract)`: the meta keys' text, and every field's text as of its position, the same dict until it moves.
"""

from __future__ import annotations

from typing import Protocol

from alphakite.simulator.contracts import Contract


class OptionMarket(Protocol):
    """What is asked of the market."""

    def contract(self, symbol: str) -> Contract | None:
        """The contract of a 21-character symbol; None if it is not played."""

    def option_texts(self, contract: Contract) -> tuple[str, dict[int, str]]:
        """The meta keys' text and the fields' texts."""


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

    def delta(self, market: OptionMarket, key: str, wanted: frozenset[int]) -> str:
        """The wanted fields that differ from what was told; empty if none does. An image for a contract new today."""
        contract = market.contract(key)
        if contract is None:
            return ""
        told = self._told.get(key)
        if told is None:
            return self.image(market, key, wanted)
        _, texts = market.option_texts(contract)
        if texts is told:
            return ""
        self._told[key] = texts
        values = "".join(
            [f',"{number}":{text}' for number, text in texts.items() if number in wanted and told.get(number) != text]
        )
        return f'{{"key":"{key}"{values}}}' if values else ""

    def told(self, key: str) -> dict[int, str]:
        """The texts last told, of all fields; empty for a key that is not told of."""
        return self._told.get(key, {})

    def forget(self, key: str) -> None:
        """The key is no longer subscribed."""
        self._told.pop(key, None)
