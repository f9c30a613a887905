"""`/quotes` and `/{symbol}/quotes`: equities and indices from their streamed fields, options from their quotes.

In:   the Market, the query, tape time.      Out:  one object keyed by symbol; unknown ones under `errors`.
A key whose value is not known is absent. Sizes are as streamed; percentages in percent points; greeks with 8 decimals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from alphakite.simulator.listing import listing_of
from alphakite.simulator.market import Market
from alphakite.simulator.rest_answers import answer, bad_parameter, market_error
from alphakite.simulator.rest_options import option, ssid_of

BLOCKS = ("extended", "fundamental", "quote", "reference", "regular")
MOST_SYMBOLS = 500
POINTERS = ["/data/attributes/symbols", "/data/attributes/cusips", "/data/attributes/ssids"]
PRICE, COUNT, TEXT, FLAG = "price", "count", "text", "flag"
QUOTE = (
    ("52WeekHigh", 19, PRICE),
    ("52WeekLow", 20, PRICE),
    ("askMICId", 39, TEXT),
    ("askPrice", 2, PRICE),
    ("askSize", 5, COUNT),
    ("askTime", 38, COUNT),
    ("bidMICId", 40, TEXT),
    ("bidPrice", 1, PRICE),
    ("bidSize", 4, COUNT),
    ("bidTime", 37, COUNT),
    ("closePrice", 12, PRICE),
    ("highPrice", 10, PRICE),
    ("lastMICId", 41, TEXT),
    ("lastPrice", 3, PRICE),
    ("lastSize", 9, COUNT),
    ("lowPrice", 11, PRICE),
    ("mark", 33, PRICE),
    ("markChange", 44, PRICE),
    ("markPercentChange", 45, PRICE),
    ("netChange", 18, PRICE),
    ("netPercentChange", 42, PRICE),
    ("openPrice", 17, PRICE),
    ("postMarketChange", 50, PRICE),
    ("postMarketPercentChange", 51, PRICE),
    ("quoteTime", 34, COUNT),
    ("securityStatus", 32, TEXT),
    ("totalVolume", 8, COUNT),
    ("tradeTime", 35, COUNT),
)
"""Key of the answer, number of the LEVELONE_EQUITIES field, kind."""
NOT_OF_AN_INDEX = ("ask", "bid", "mark", "postMarket", "lastMIC", "lastSize", "quoteTime")
INDEX_QUOTE = tuple(row for row in QUOTE if not row[0].startswith(NOT_OF_AN_INDEX))
REGULAR = (
    ("regularMarketLastPrice", 29, PRICE),
    ("regularMarketLastSize", 30, COUNT),
    ("regularMarketNetChange", 31, PRICE),
    ("regularMarketPercentChange", 43, PRICE),
    ("regularMarketTradeTime", 36, COUNT),
)
EXTENDED = (
    ("askPrice", 2, PRICE),
    ("askSize", 5, COUNT),
    ("bidPrice", 1, PRICE),
    ("bidSize", 4, COUNT),
    ("lastPrice", 3, PRICE),
    ("lastSize", 9, COUNT),
    ("mark", 33, PRICE),
    ("quoteTime", 34, COUNT),
    ("totalVolume", 8, COUNT),
    ("tradeTime", 35, COUNT),
)


def quotes(market: Market, query: Mapping[str, str], now_ms: int) -> web.Response:
    """Many symbols."""
    asked = {name: [one for one in query.get(name, "").split(",") if one] for name in ("symbols", "cusips", "ssids")}
    total = sum(map(len, asked.values()))
    if total > MOST_SYMBOLS:
        return market_error(400, f"Search combination should not exceed {MOST_SYMBOLS}.", {"pointer": POINTERS})
    if total == 0:
        return market_error(400, "Search combination should have min of 1.", {"pointer": POINTERS})
    blocks = _blocks(query.get("fields", "all"))
    if blocks is None:
        return bad_parameter("fields", "fields is not one of quote,fundamental,extended,reference,regular,all")
    found: dict[str, object] = {}
    unknown: list[str] = []
    for symbol in dict.fromkeys(asked["symbols"]):
        one = _quote(market, symbol, blocks, now_ms)
        if one is None:
            unknown.append(symbol)
            continue
        found[symbol] = one
        if query.get("indicative", "false").lower() == "true" and one["assetMainType"] == "EQUITY":
            found[f"${symbol}.IV"] = _indicative(market, symbol)
    errors = {"invalidSymbols": unknown, "invalidCusips": asked["cusips"], "invalidSSIDs": asked["ssids"]}
    if any(errors.values()):
        found["errors"] = {name: values for name, values in errors.items() if values}
    return answer(found)


def single_quote(market: Market, symbol: str, query: Mapping[str, str], now_ms: int) -> web.Response:
    """One symbol by path; unknown: 404."""
    blocks = _blocks(query.get("fields", "all"))
    if blocks is None:
        return bad_parameter("fields", "fields is not one of quote,fundamental,extended,reference,regular,all")
    one = _quote(market, symbol, blocks, now_ms)
    return market_error(404) if one is None else answer({symbol: one})


def field_values(fields: Mapping[int, str], wanted: tuple[tuple[str, int, str], ...]) -> dict[str, object]:
    """The wanted keys whose field is known; prices as doubles."""
    values: dict[str, object] = {}
    for key, number, kind in wanted:
        if number in fields:
            value: Any = json.loads(fields[number])
            values[key] = float(value) if kind == PRICE else value
    return values


def _blocks(text: str) -> frozenset[str] | None:
    names = {name.strip() for name in text.split(",") if name.strip()} or {"all"}
    if names - {*BLOCKS, "all"}:
        return None
    return frozenset(BLOCKS) if "all" in names else frozenset(names)


def _quote(market: Market, symbol: str, blocks: frozenset[str], now_ms: int) -> dict[str, object] | None:
    if symbol in market.symbols:
        fields = market.symbols[symbol].fields
        return _index(symbol, fields, blocks) if symbol.startswith("$") else _equity(symbol, fields, blocks)
    contract = market.contract(symbol)
    return None if contract is None else option(contract, market.option_quote(contract), blocks, now_ms)


def _equity(symbol: str, fields: Mapping[int, str], blocks: frozenset[str]) -> dict[str, object]:
    listing = listing_of(symbol)
    envelope: dict[str, object] = {
        "assetMainType": listing.main_type,
        "assetSubType": listing.sub_type,
        "quoteType": "NBBO",
        "realtime": True,
        "ssid": ssid_of(symbol),
        "symbol": symbol,
    }
    fundamental = {
        "avg10DaysVolume": 4.0e7,
        "avg1YearVolume": 4.2e7,
        "divAmount": float(fields.get(22, "0")),
        "divFreq": 4,
        "divPayAmount": float(fields.get(22, "0")) / 4,
        "divYield": float(fields.get(23, "0")),
        "eps": 0.0,
        "fundLeverageFactor": 0.0,
        "peRatio": float(fields.get(21, "0")),
        "declarationDate": "2013-09-19T04:00:00Z",
        "divExDate": "2013-09-20T04:00:00Z",
        "divPayDate": "2013-10-31T04:00:00Z",
        "lastEarningsDate": "2013-09-19T04:00:00Z",
        "nextDivExDate": "2013-12-20T05:00:00Z",
        "nextDivPayDate": "2014-01-31T05:00:00Z",
    }
    reference = {
        "cusip": listing.cusip,
        "description": listing.description,
        "exchange": listing.exchange,
        "exchangeName": listing.exchange_name,
        "isHardToBorrow": fields.get(48) == "1",
        "isShortable": fields.get(49) != "0",
        "htbQuantity": int(fields.get(46, "0")),
        "htbRate": float(fields.get(47, "0")),
    }
    known: dict[str, Mapping[str, object]] = {
        "extended": field_values(fields, EXTENDED),
        "fundamental": dict(sorted(fundamental.items())),
        "quote": field_values(fields, QUOTE),
        "reference": reference,
        "regular": field_values(fields, REGULAR),
    }
    return envelope | {block: known[block] for block in BLOCKS if block in blocks}


def _index(symbol: str, fields: Mapping[int, str], blocks: frozenset[str]) -> dict[str, object]:
    listing = listing_of(symbol)
    envelope: dict[str, object] = {
        "assetMainType": "INDEX",
        "realtime": True,
        "ssid": ssid_of(symbol),
        "symbol": symbol,
    }
    known: dict[str, Mapping[str, object]] = {
        "quote": field_values(fields, INDEX_QUOTE),
        "reference": {
            "description": listing.description,
            "exchange": listing.exchange,
            "exchangeName": listing.exchange_name,
        },
    }
    return envelope | {block: known[block] for block in BLOCKS if block in blocks and block in known}


def _indicative(market: Market, symbol: str) -> dict[str, object]:
    fields = market.symbols[symbol].fields
    name = f"${symbol}.IV"
    envelope = {"assetMainType": "INDEX", "realtime": True, "ssid": ssid_of(name), "symbol": name}
    return envelope | {"quote": field_values(fields, INDEX_QUOTE)}
