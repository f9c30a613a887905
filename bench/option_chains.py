"""The REST answers by which the recorder finds the contracts that option_frames.py plays, each as long as Schwab's."""

from __future__ import annotations

import json
from datetime import date

from bench.option_frames import CLOSE_MS, EXPIRIES, SESSION, TICKERS, Contract, Market


def expirations(ticker: str) -> bytes:
    """The answer of /expirationchain."""
    found = [
        {
            "expirationDate": str(expiry), "daysToExpiration": (expiry - SESSION).days, "expirationType": "W",
            "settlementType": "P", "optionRoots": ticker, "standard": True,
        }
        for expiry in EXPIRIES
    ]  # fmt: skip
    return json.dumps({"expirationList": found}).encode()


def chain(market: Market, ticker: str, expiry: date) -> bytes:
    """The answer of /chains for one expiry: all strikes there are."""
    under = market.equities[TICKERS.index(ticker)]
    maps: dict[str, dict[str, list[dict[str, object]]]] = {"C": {}, "P": {}}
    for one in market.contracts.values():
        if one.under is under and EXPIRIES[one.at] == expiry:
            maps[one.right].setdefault(f"{one.strike}", []).append(_listed(one, expiry))
    number = sum(len(strikes) for strikes in maps.values())
    day = f"{expiry}:{(expiry - SESSION).days}"
    whole = {
        "symbol": ticker, "status": "SUCCESS", "strategy": "SINGLE", "isDelayed": False,
        "underlyingPrice": under.last / 100, "numberOfContracts": number, "isChainTruncated": False,
        "underlying": {"last": under.last / 100},
        "callExpDateMap": {day: maps["C"]}, "putExpDateMap": {day: maps["P"]},
    }  # fmt: skip
    return json.dumps(whole, separators=(",", ":")).encode()


def _listed(one: Contract, expiry: date) -> dict[str, object]:
    ticker = one.under.key
    return {
        "putCall": "CALL" if one.right == "C" else "PUT", "symbol": one.key,
        "description": f"{ticker} {expiry:%m/%d/%Y} {one.strike:.2f} {one.right}", "exchangeName": "OPR", "bid": 25.3,
        "ask": 27.2, "last": 25.5, "mark": 26.25, "bidSize": 100, "askSize": 1, "bidAskSize": "100X1", "lastSize": 0,
        "highPrice": 48, "lowPrice": 19.4, "openPrice": 0, "closePrice": 43.92, "totalVolume": 835,
        "tradeTimeInLong": 1729005339933, "quoteTimeInLong": 1729005356539, "netChange": -18.42, "volatility": 15.237,
        "delta": 0.832, "gamma": 0.01, "theta": -2.492, "vega": 0.414, "rho": 0.039, "openInterest": 445,
        "timeValue": 1.69, "theoreticalOptionValue": 26.352, "theoreticalVolatility": 29,
        "optionDeliverablesList": [{"symbol": ticker, "assetType": "STOCK", "deliverableUnits": 100}],
        "strikePrice": one.strike, "expirationDate": f"{expiry}T21:00:00.000+00:00", "daysToExpiration": 0,
        "expirationType": "W", "lastTradingDay": CLOSE_MS[one.at] + 14_400_000, "multiplier": 100,
        "settlementType": "P", "deliverableNote": f"100 {ticker}", "percentChange": -41.94, "markChange": -17.67,
        "markPercentChange": -40.23, "intrinsicValue": 23.81, "extrinsicValue": 1.69, "optionRoot": ticker,
        "exerciseType": "A", "high52Week": 50.83, "low52Week": 7.8, "nonStandard": False, "pennyPilot": False,
        "inTheMoney": True, "mini": False,
    }  # fmt: skip
