"""What a window of the tape, or a subscription, brings a connection: items by service.

In:   the market as played, and the subscriptions of a connection.      Out:  (service, items), as the wire spells them.
LEVELONE_*: an image, then what changed. CHART_EQUITY: the last bar, then each as its minute ends. Books: when a side
has changed. Screeners: every ten tape seconds. ACCT_ACTIVITY: that it is subscribed. All else stays silent, by switch
indices too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from alphakite.simulator import whole, wire
from alphakite.simulator.connection import Connection
from alphakite.simulator.market import Market
from alphakite.simulator.services import ACTIVITY, BOOKS, CHART, EQUITIES, OPTIONS, SCREENERS
from alphakite.simulator.synthetic import is_index

SCREEN_EVERY_MS = 10_000
ACCOUNT = "00000000"
Elements = list[tuple[str, list[str]]]


class Publication:
    """One simulation's; `sequence` numbers CHART_EQUITY items and runs on through all connections and days."""

    def __init__(self, market: Market, switches: dict[str, str]) -> None:
        self.sequence = 0
        self._market = market
        self._key_last = switches.get("key-order") == "last"
        self._index_silent = switches.get("index") == "silent"
        self._activities = 0

    def window(self, connection: Connection, after_ms: int, until_ms: int) -> Elements:
        """What was played in [after_ms, until_ms) brings, in the order in which it is sent."""
        market, keys = self._market, connection.keys
        elements: Elements = []
        if wanted := keys[EQUITIES]:
            items = [
                item
                for symbol in market.moved
                if symbol.symbol in wanted
                and not self._is_silent(symbol.symbol)
                and (item := symbol.delta(wanted[symbol.symbol]))
            ]
            if items:
                elements.append((EQUITIES, items))
        if wanted := keys[OPTIONS]:
            items = connection.options.deltas(market, wanted)
            if items:
                elements.append((OPTIONS, items))
        if wanted := keys[CHART]:
            items = [
                wire.chart_item(symbol, bar, self._next_sequence(), wanted[symbol])
                for symbol in market.symbols
                if symbol in wanted
                for bar in market.bars_between(symbol, after_ms, until_ms)
            ]
            if items:
                elements.append((CHART, items))
        for service in BOOKS:
            if keys[service] and (items := self._books(connection, service, keys[service], until_ms - 1)):
                elements.append((service, items))
        for service in SCREENERS:
            if keys[service] and until_ms >= connection.screened_ms.get(service, 0) + SCREEN_EVERY_MS:
                items = self._screens(connection, service, keys[service], until_ms - 1)
                if items:
                    elements.append((service, items))
        return [(service, self._ordered(items)) for service, items in elements] if self._key_last else elements

    def image(self, connection: Connection, service: str, keys: Iterable[str], stamp_ms: int) -> list[str]:
        """What a subscription brings at once, as of the market's position."""
        market, held = self._market, connection.keys[service]
        kept = {key: held[key] for key in keys if key in held}
        if service == EQUITIES:
            streaming = {key: one for key, one in market.symbols.items() if not self._is_silent(key)}
            items = [streaming[key].image(fields) for key, fields in kept.items() if key in streaming]
        elif service == OPTIONS:
            items = [connection.options.image(market, key, fields) for key, fields in kept.items()]
        elif service == CHART:
            bars = {key: market.last_bar(key) for key in kept if key in market.symbols}
            items = [wire.chart_item(key, bar, self._next_sequence(), kept[key]) for key, bar in bars.items() if bar]
        elif service in BOOKS:
            for key in kept:
                connection.books.pop((service, key), None)
            items = self._books(connection, service, kept, stamp_ms)
        elif service in SCREENERS:
            items = self._screens(connection, service, kept, stamp_ms)
        elif service == ACTIVITY:
            items = [wire.activity_item(key, self._next_activity(), ACCOUNT, fields) for key, fields in kept.items()]
        else:
            items = []
        return self._ordered([item for item in items if item])

    def _is_silent(self, symbol: str) -> bool:
        return self._index_silent and is_index(symbol)

    def _ordered(self, items: list[str]) -> list[str]:
        return [wire.key_last(item) for item in items] if self._key_last else items

    def _next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence - 1

    def _next_activity(self) -> int:
        self._activities += 1
        return self._activities - 1

    def _books(self, connection: Connection, service: str, wanted: dict[str, frozenset[int]], at_ms: int) -> list[str]:
        items: list[str] = []
        for key, fields in wanted.items():
            texts = self._texts(service, key)
            if texts is None:
                continue
            numbers = whole.OPTION_SIDES if service == "OPTIONS_BOOK" else whole.EQUITY_SIDES
            sides = whole.book_sides(service, *whole.sides_of(texts, numbers))
            told = "".join(sides)
            if connection.books.get((service, key)) != told:
                connection.books[service, key] = told
                items.append(whole.book_item(key, at_ms, sides, fields))
        return items

    def _texts(self, service: str, key: str) -> dict[int, str] | None:
        if service == "OPTIONS_BOOK":
            contract = self._market.contract(key)
            return None if contract is None else self._market.option_texts(contract)[1]
        symbol = self._market.symbols.get(key)
        return None if symbol is None else symbol.fields

    def _screens(
        self, connection: Connection, service: str, wanted: dict[str, frozenset[int]], at_ms: int
    ) -> list[str]:
        connection.screened_ms[service] = at_ms
        lines = self._lines(connection, service)
        return [item for key, fields in wanted.items() if (item := whole.screener_item(key, at_ms, lines, fields))]

    def _lines(self, connection: Connection, service: str) -> list[whole.Screened]:
        """SCREENER_OPTION knows the contracts that this connection has subscribed to."""
        if service == "SCREENER_EQUITY":
            known = {symbol.symbol: (symbol.fields, (15, 3, 18, 8)) for symbol in self._market.symbols.values()}
        else:
            told = {key: connection.options.told(key) for key in connection.keys[OPTIONS]}
            known = {key: (texts, (1, 4, 19, 8)) for key, texts in told.items() if texts}
        return [
            whole.Screened(key, json.loads(texts.get(name, '""')), *(texts.get(number, "0") for number in rest))
            for key, (texts, (name, *rest)) in known.items()
        ]
