"""An option in `/quotes`, and what `/chains` shares with it: how values of the model and derived ones are spelled.

In:   a Contract and its OptionQuote.      Out:  objects for the JSON writer.
Greeks have 8 decimals here. Where the model has no answer stands -999.0, or the text NaN once the contract has settled.
"""

from __future__ import annotations

import zlib
from datetime import date, datetime

from alphakite.model import PRICE_SCALE
from alphakite.sessions import EXCHANGE
from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.listing import listing_of
from alphakite.simulator.option_wire import deliverable, description, last_trading_ms


def intrinsic(contract: Contract, quote: OptionQuote) -> int:
    """Signed: negative out of the money; × PRICE_SCALE."""
    value = quote.underlying_price - contract.strike
    return value if contract.right == "C" else -value


def percent(change: int, base: int) -> float:
    """Percent points; 10000.0 on nothing, as Schwab does."""
    return 10000.0 if base == 0 else 100 * change / base


def sentinel(value: float | None, quote: OptionQuote, decimals: int) -> float | str:
    """A value of the model, rounded; where there is none, -999.0, or the text NaN once expired."""
    if value is None:
        return "NaN" if quote.nan else -999.0
    return round(value, decimals)


def theoretical(quote: OptionQuote, decimals: int) -> float | str:
    """The model's price; never -999."""
    return "NaN" if quote.theoretical is None else round(quote.theoretical, decimals)


def option(contract: Contract, quote: OptionQuote, blocks: frozenset[str], now_ms: int) -> dict[str, object]:
    """Envelope and the wanted ones of `quote` and `reference`."""
    envelope: dict[str, object] = {
        "assetMainType": "OPTION",
        "realtime": True,
        "ssid": ssid_of(contract.symbol),
        "symbol": contract.symbol,
    }
    known = {
        "quote": _option_block(contract, quote),
        "reference": {
            "contractType": contract.right,
            "daysToExpiration": (contract.expiry - date_of(now_ms)).days,
            "deliverables": deliverable(contract),
            "description": description(contract),
            "exchange": "O",
            "exchangeName": "OPR",
            "exerciseType": contract.exercise,
            "expirationDay": contract.expiry.day,
            "expirationMonth": contract.expiry.month,
            "expirationType": contract.expiration_type,
            "expirationYear": contract.expiry.year,
            "isPennyPilot": contract.penny,
            "lastTradingDay": last_trading_ms(contract.expiry),
            "multiplier": float(contract.multiplier),
            "settlementType": contract.settlement,
            "strikePrice": contract.strike / PRICE_SCALE,
            "underlying": contract.underlying,
            "underlyingAssetType": listing_of(contract.underlying).sub_type or "INDEX",
        },
    }
    return envelope | {block: known[block] for block in known if block in blocks}


def ssid_of(symbol: str) -> int:
    """A number that names the symbol, always the same."""
    return zlib.crc32(symbol.encode())


def date_of(now_ms: int) -> date:
    """The exchange date."""
    return datetime.fromtimestamp(now_ms // 1000, EXCHANGE).date()


def _option_block(contract: Contract, quote: OptionQuote) -> dict[str, object]:
    inner, change, mark_change = intrinsic(contract, quote), quote.last - quote.close, quote.mark - quote.close
    return {
        "52WeekHigh": quote.high_52 / PRICE_SCALE,
        "52WeekLow": quote.low_52 / PRICE_SCALE,
        "askPrice": quote.ask / PRICE_SCALE,
        "askSize": quote.ask_size,
        "bidPrice": quote.bid / PRICE_SCALE,
        "bidSize": quote.bid_size,
        "closePrice": quote.close / PRICE_SCALE,
        "delta": sentinel(quote.delta, quote, 8),
        "gamma": sentinel(quote.gamma, quote, 8),
        "highPrice": quote.high / PRICE_SCALE,
        "indAskPrice": 0.0,
        "indBidPrice": 0.0,
        "indQuoteTime": 0,
        "impliedYield": 0.0,
        "lastPrice": quote.last / PRICE_SCALE,
        "lastSize": quote.last_size,
        "lowPrice": quote.low / PRICE_SCALE,
        "mark": quote.mark / PRICE_SCALE,
        "markChange": mark_change / PRICE_SCALE,
        "markPercentChange": round(percent(mark_change, quote.close), 8),
        "moneyIntrinsicValue": inner / PRICE_SCALE,
        "netChange": change / PRICE_SCALE,
        "netPercentChange": round(percent(change, quote.close), 8),
        "openInterest": quote.open_interest,
        "openPrice": quote.open / PRICE_SCALE,
        "quoteTime": quote.quote_time_ms,
        "rho": sentinel(quote.rho, quote, 8),
        "securityStatus": quote.status,
        "theoreticalOptionValue": theoretical(quote, 8),
        "theta": sentinel(quote.theta, quote, 8),
        "timeValue": (quote.last - max(inner, 0)) / PRICE_SCALE,
        "totalVolume": quote.volume,
        "tradeTime": quote.trade_time_ms,
        "underlyingPrice": quote.underlying_price / PRICE_SCALE,
        "vega": sentinel(quote.vega, quote, 8),
        "volatility": sentinel(quote.iv, quote, 8),
    }
