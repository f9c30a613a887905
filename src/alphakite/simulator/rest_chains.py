"""`/chains` and `/expirationchain`: the contracts of an underlying, in the keys and the order of real captures.

In:   the Market, the query, tape time, switches.      Out:  aiohttp responses.
Greeks have 3 decimals here; -999.0 or the text NaN stands where the model has no answer. Strategies but SINGLE and
ANALYTICAL are not played (400). What matches nothing is an empty map and a 200. A chain beyond the gateway's buffer
is its 502.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

from aiohttp import web

from alphakite.model import PRICE_SCALE
from alphakite.sessions import EXCHANGE
from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.listing import listing_of
from alphakite.simulator.market import Market
from alphakite.simulator.option_book import RATE
from alphakite.simulator.option_wire import deliverable, description, last_trading_ms
from alphakite.simulator.rest_answers import answer, bad_parameter, market_error
from alphakite.simulator.rest_chain_query import in_range, refusal, strikes_asked, wanted
from alphakite.simulator.rest_options import date_of, intrinsic, percent, sentinel, theoretical
from alphakite.simulator.rest_quotes import QUOTE, field_values

INTEREST_RATE = 100 * RATE
PLACEHOLDER_VOLATILITY = 29.0
CLOSE_HOUR = 16
EXCHANGE_NAMES = {"Q": "NAS", "P": "PAC", "N": "NYS"}


def chain(market: Market, query: Mapping[str, str], now_ms: int, switches: Mapping[str, str]) -> web.Response:
    """The chain of one underlying."""
    symbol = query.get("symbol", "")
    refused = refusal(query, date_of(now_ms))
    if refused is not None:
        return refused
    if symbol not in market.symbols:
        return market_error(404)
    contracts = [one for one in market.chain(symbol) if wanted(one, query)]
    spot = _spot(market, symbol)
    strikes = strikes_asked({one.strike for one in contracts}, spot, query, switches)
    contracts = [one for one in contracts if one.strike in strikes and in_range(one, spot, query.get("range", "ALL"))]
    days = sorted({(one.expiry - date_of(now_ms)).days for one in contracts})
    index, listing = symbol.startswith("$"), listing_of(symbol)
    root: dict[str, object] = {"symbol": symbol, "status": "SUCCESS" if contracts else switches["empty-chain"]}
    if query.get("includeUnderlyingQuote", "false").lower() == "true":
        root["underlying"] = _underlying(market, symbol)
    root |= {
        "strategy": query.get("strategy", "SINGLE"),
        "interval": 0.0,
        "isDelayed": False,
        "isIndex": index,
        "interestRate": float(query.get("interestRate", INTEREST_RATE)),
        "underlyingPrice": spot / PRICE_SCALE,
        "volatility": PLACEHOLDER_VOLATILITY,
        "daysToExpiration": float(days[0]) if len(days) == 1 else 0.0,
        "dividendYield": -1.0 if index else 0.0,
        "numberOfContracts": len(contracts),
        "assetMainType": listing.main_type,
        "assetSubType": listing.sub_type,
        "isChainTruncated": False,
        "ethOptionEligible": listing.sub_type != "ETF",
        "callExpDateMap": _expiry_map(market, contracts, "C", now_ms),
        "putExpDateMap": _expiry_map(market, contracts, "P", now_ms),
    }
    return answer(root)


def expirations(market: Market, query: Mapping[str, str], now_ms: int) -> web.Response:
    """One entry for each expiry, settlement and root."""
    symbol = query.get("symbol", "")
    if not symbol:
        return bad_parameter("symbol", "symbol is required")
    if symbol not in market.symbols:
        return market_error(404)
    today = date_of(now_ms)
    series = sorted({(one.expiry, one.settlement, one.root, one.expiration_type) for one in market.chain(symbol)})
    entries = [
        {
            "expirationDate": expiry.isoformat(),
            "daysToExpiration": (expiry - today).days,
            "expirationType": kind,
            "settlementType": settlement,
            "optionRoots": root,
            "standard": True,
        }
        for expiry, settlement, root, kind in series
        if expiry >= today
    ]
    return answer({"expirationList": entries})


def contract_object(contract: Contract, quote: OptionQuote, now_ms: int) -> dict[str, object]:
    """The 52 keys of a contract, in the order of the wire."""
    inner, change, mark_change = intrinsic(contract, quote), quote.last - quote.close, quote.mark - quote.close
    return {
        "putCall": "CALL" if contract.right == "C" else "PUT",
        "symbol": contract.symbol,
        "description": description(contract),
        "exchangeName": "OPR",
        "bid": quote.bid / PRICE_SCALE,
        "ask": quote.ask / PRICE_SCALE,
        "last": quote.last / PRICE_SCALE,
        "mark": quote.mark / PRICE_SCALE,
        "bidSize": quote.bid_size,
        "askSize": quote.ask_size,
        "bidAskSize": f"{quote.bid_size}X{quote.ask_size}",
        "lastSize": quote.last_size,
        "highPrice": quote.high / PRICE_SCALE,
        "lowPrice": quote.low / PRICE_SCALE,
        "openPrice": 0.0,
        "closePrice": quote.close / PRICE_SCALE,
        "totalVolume": quote.volume,
        "tradeTimeInLong": quote.trade_time_ms,
        "quoteTimeInLong": quote.quote_time_ms,
        "netChange": round(change / PRICE_SCALE, 2),
        "volatility": sentinel(quote.iv, quote, 3),
        "delta": sentinel(quote.delta, quote, 3),
        "gamma": sentinel(quote.gamma, quote, 3),
        "theta": sentinel(quote.theta, quote, 3),
        "vega": sentinel(quote.vega, quote, 3),
        "rho": sentinel(quote.rho, quote, 3),
        "openInterest": quote.open_interest,
        "timeValue": round((quote.last - max(inner, 0)) / PRICE_SCALE, 2),
        "theoreticalOptionValue": theoretical(quote, 3),
        "theoreticalVolatility": PLACEHOLDER_VOLATILITY,
        "optionDeliverablesList": [
            {
                "symbol": contract.underlying,
                "assetType": "STOCK",
                "deliverableUnits": float(contract.multiplier),
            }
        ],
        "strikePrice": contract.strike / PRICE_SCALE,
        "expirationDate": _expiration_text(contract.expiry),
        "daysToExpiration": (contract.expiry - date_of(now_ms)).days,
        "expirationType": contract.expiration_type,
        "lastTradingDay": last_trading_ms(contract.expiry),
        "multiplier": float(contract.multiplier),
        "settlementType": contract.settlement,
        "deliverableNote": deliverable(contract),
        "percentChange": round(percent(change, quote.close), 2),
        "markChange": round(mark_change / PRICE_SCALE, 2),
        "markPercentChange": round(percent(mark_change, quote.close), 2),
        "intrinsicValue": round(inner / PRICE_SCALE, 2),
        "extrinsicValue": round((quote.last - inner) / PRICE_SCALE, 2),
        "optionRoot": contract.root,
        "exerciseType": contract.exercise,
        "high52Week": quote.high_52 / PRICE_SCALE,
        "low52Week": quote.low_52 / PRICE_SCALE,
        "nonStandard": False,
        "pennyPilot": contract.penny,
        "inTheMoney": inner > 0,
        "mini": False,
    }


def _expiry_map(market: Market, contracts: list[Contract], right: str, now_ms: int) -> dict[str, object]:
    today = date_of(now_ms)
    expiries: dict[str, dict[str, list[dict[str, object]]]] = {}
    for one in sorted(contracts, key=lambda one: (one.expiry, one.strike, one.root)):
        if one.right == right:
            strikes = expiries.setdefault(f"{one.expiry.isoformat()}:{(one.expiry - today).days}", {})
            strikes.setdefault(str(one.strike / PRICE_SCALE), []).append(
                contract_object(one, market.option_quote(one), now_ms)
            )
    return dict(expiries)


def _spot(market: Market, symbol: str) -> int:
    """The regular session's last price; before it, whatever is known."""
    fields = market.symbols[symbol].fields
    text = next((fields[number] for number in (29, 3, 33, 12) if number in fields and float(fields[number])), "0")
    return round(float(text) * PRICE_SCALE)


def _underlying(market: Market, symbol: str) -> dict[str, object]:
    listing = listing_of(symbol)
    known = field_values(market.symbols[symbol].fields, QUOTE)
    names = {
        "ask": "askPrice",
        "askSize": "askSize",
        "bid": "bidPrice",
        "bidSize": "bidSize",
        "change": "netChange",
        "close": "closePrice",
        "delayed": None,
        "description": None,
        "exchangeName": None,
        "fiftyTwoWeekHigh": "52WeekHigh",
        "fiftyTwoWeekLow": "52WeekLow",
        "highPrice": "highPrice",
        "last": "lastPrice",
        "lowPrice": "lowPrice",
        "mark": "mark",
        "markChange": "markChange",
        "markPercentChange": "markPercentChange",
        "openPrice": "openPrice",
        "percentChange": "netPercentChange",
        "quoteTime": "quoteTime",
        "symbol": None,
        "totalVolume": "totalVolume",
        "tradeTime": "tradeTime",
    }
    given: dict[str, object] = {
        "delayed": False,
        "description": listing.description,
        "exchangeName": EXCHANGE_NAMES.get(listing.exchange, "IND"),
        "symbol": symbol,
    }
    return {
        name: given[name] if source is None else known[source]
        for name, source in names.items()
        if source is None or source in known
    }


def _expiration_text(expiry: date) -> str:
    close = datetime(expiry.year, expiry.month, expiry.day, CLOSE_HOUR, tzinfo=EXCHANGE).astimezone(UTC)
    return f"{close:%Y-%m-%dT%H:%M:%S}.000+00:00"
