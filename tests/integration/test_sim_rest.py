"""The simulator's REST over real sockets; a test's name begins with the section of Schwab's reference it holds to."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from alphakite.model import PRICE_SCALE
from alphakite.simulator import Simulator, SimulatorOptions, TapeFile, start
from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.rest_answers import BODY_LIMIT_BYTES, dump, java_double
from alphakite.simulator.rest_chains import contract_object

EXCHANGE = ZoneInfo("America/New_York")
DAY = date(2026, 11, 20)
"""A Friday, and a third one."""
TODAY = DAY.isoformat()
DATA, TRADER = "/marketdata/v1", "/trader/v1"


def words(text: str) -> list[str]:
    """The keys of a line of the reference."""
    return text.split()


CONTRACT_KEYS = [
    "putCall",
    "symbol",
    "description",
    "exchangeName",
    "bid",
    "ask",
    "last",
    "mark",
    "bidSize",
    "askSize",
    "bidAskSize",
    "lastSize",
    "highPrice",
    "lowPrice",
    "openPrice",
    "closePrice",
    "totalVolume",
    "tradeTimeInLong",
    "quoteTimeInLong",
    "netChange",
    "volatility",
    "delta",
    "gamma",
    "theta",
    "vega",
    "rho",
    "openInterest",
    "timeValue",
    "theoreticalOptionValue",
    "theoreticalVolatility",
    "optionDeliverablesList",
    "strikePrice",
    "expirationDate",
    "daysToExpiration",
    "expirationType",
    "lastTradingDay",
    "multiplier",
    "settlementType",
    "deliverableNote",
    "percentChange",
    "markChange",
    "markPercentChange",
    "intrinsicValue",
    "extrinsicValue",
    "optionRoot",
    "exerciseType",
    "high52Week",
    "low52Week",
    "nonStandard",
    "pennyPilot",
    "inTheMoney",
    "mini",
]
ROOT_KEYS = [
    "symbol",
    "status",
    "strategy",
    "interval",
    "isDelayed",
    "isIndex",
    "interestRate",
    "underlyingPrice",
    "volatility",
    "daysToExpiration",
    "dividendYield",
    "numberOfContracts",
    "assetMainType",
    "assetSubType",
    "isChainTruncated",
    "ethOptionEligible",
    "callExpDateMap",
    "putExpDateMap",
]
EQUITY_QUOTE = [
    "52WeekHigh",
    "52WeekLow",
    "askMICId",
    "askPrice",
    "askSize",
    "askTime",
    "bidMICId",
    "bidPrice",
    "bidSize",
    "bidTime",
    "closePrice",
    "highPrice",
    "lastMICId",
    "lastPrice",
    "lastSize",
    "lowPrice",
    "mark",
    "markChange",
    "markPercentChange",
    "netChange",
    "netPercentChange",
    "openPrice",
    "postMarketChange",
    "postMarketPercentChange",
    "quoteTime",
    "securityStatus",
    "totalVolume",
    "tradeTime",
]
INDEX_QUOTE = [
    "52WeekHigh",
    "52WeekLow",
    "closePrice",
    "highPrice",
    "lastPrice",
    "lowPrice",
    "netChange",
    "netPercentChange",
    "openPrice",
    "securityStatus",
    "totalVolume",
    "tradeTime",
]
OPTION_QUOTE = [
    "52WeekHigh",
    "52WeekLow",
    "askPrice",
    "askSize",
    "bidPrice",
    "bidSize",
    "closePrice",
    "delta",
    "gamma",
    "highPrice",
    "indAskPrice",
    "indBidPrice",
    "indQuoteTime",
    "impliedYield",
    "lastPrice",
    "lastSize",
    "lowPrice",
    "mark",
    "markChange",
    "markPercentChange",
    "moneyIntrinsicValue",
    "netChange",
    "netPercentChange",
    "openInterest",
    "openPrice",
    "quoteTime",
    "rho",
    "securityStatus",
    "theoreticalOptionValue",
    "theta",
    "timeValue",
    "totalVolume",
    "tradeTime",
    "underlyingPrice",
    "vega",
    "volatility",
]
OPTION_REFERENCE = [
    "contractType",
    "daysToExpiration",
    "deliverables",
    "description",
    "exchange",
    "exchangeName",
    "exerciseType",
    "expirationDay",
    "expirationMonth",
    "expirationType",
    "expirationYear",
    "isPennyPilot",
    "lastTradingDay",
    "multiplier",
    "settlementType",
    "strikePrice",
    "underlying",
    "underlyingAssetType",
]


class Caller:
    """GET with a good token unless told otherwise."""

    def __init__(self, simulator: Simulator, http: aiohttp.ClientSession) -> None:
        self.simulator, self.http = simulator, http
        self.token = json.loads(simulator.token_file.read_text())["token"]["access_token"]

    async def raw(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> tuple[Any, str]:
        given = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        answer = await self.http.get(self.simulator.api_url + path, params=query, headers=given)
        return answer, await answer.text()

    async def get(self, path: str, **query: Any) -> tuple[int, Any]:
        answer, text = await self.raw(path, **query)
        return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def ok(self, path: str, **query: Any) -> Any:
        status, body = await self.get(path, **query)
        assert status == 200, body
        return body

    async def chain(self, **query: Any) -> Any:
        return await self.ok(f"{DATA}/chains", symbol="QQQ", **query)


@asynccontextmanager
async def calling(**options: Any) -> AsyncIterator[Caller]:
    """A caller to a simulator that stands at 10:15 of DAY unless told otherwise."""
    settings: dict[str, Any] = {
        "speed": None,
        "symbols": ("QQQ", "$SPX"),
        "session": DAY,
        "start": time(10, 15),
    }
    simulator = await start(SimulatorOptions(**settings | options))
    try:
        async with aiohttp.ClientSession() as http:
            yield Caller(simulator, http)
    finally:
        await simulator.stop()


def strikes(chain: Any, side: str = "call") -> list[float]:
    """All strikes of one side, in the order given."""
    return [float(strike) for expiry in chain[f"{side}ExpDateMap"].values() for strike in expiry]


def contracts(chain: Any) -> list[dict[str, Any]]:
    sides = (chain["callExpDateMap"], chain["putExpDateMap"])
    return [one for side in sides for expiry in side.values() for listed in expiry.values() for one in listed]


def at(wall: str, day: date = DAY) -> int:
    """Exchange wall time → epoch ms."""
    return int(datetime.combine(day, time.fromisoformat(wall), EXCHANGE).timestamp()) * 1000


# 2.1: what all calls have


async def test_2_1_correlation_id_and_resource_version() -> None:
    """[D] Echoed, or made; the version is always there, in a refusal too."""
    async with calling() as caller:
        answer, _ = await caller.raw(f"{TRADER}/userPreference", headers={"Schwab-Client-CorrelId": "mine"})
        assert answer.headers["Schwab-Client-CorrelId"] == "mine" and answer.headers["Schwab-Resource-Version"]
        for path in (f"{TRADER}/userPreference", f"{DATA}/quotes", f"{DATA}/nothing"):
            answer, _ = await caller.raw(path)
            assert uuid.UUID(answer.headers["Schwab-Client-CorrelId"]) and answer.headers["Schwab-Resource-Version"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100.0, "100.0"),
        (6.6691e-4, "6.6691E-4"),
        (301570298.0, "3.01570298E8"),
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (0.001, "0.001"),
        (1e7, "1.0E7"),
        (9999999.5, "9999999.5"),
        (-2.5e-5, "-2.5E-5"),
        (9.99999e-4, "9.99999E-4"),
        (1e21, "1.0E21"),
        (float("nan"), '"NaN"'),
    ],
)
def test_2_1_doubles_are_javas(value: float, text: str) -> None:
    """[W] A `.0` is kept; E-notation below 1e-3 and from 1e7."""
    assert java_double(value) == text


async def test_2_1_sizes_volumes_and_times_are_integers() -> None:
    """[W] Doubles have a point, integers have none, and no key is null."""
    async with calling() as caller:
        for path, query in (
            (f"{DATA}/quotes", {"symbols": "QQQ,$SPX"}),
            (f"{DATA}/chains", {"symbol": "QQQ", "strikeCount": 2, "includeUnderlyingQuote": "true"}),
            (f"{DATA}/pricehistory", {"symbol": "QQQ", "needPreviousClose": "true"}),
        ):
            _, text = await caller.raw(path, **query)
            assert "null" not in text
            for key in re.findall(r'"([A-Za-z0-9]*(?:Size|Time|Volume|Long|volume|datetime|ssid))":-?[\d.E-]+', text):
                values = re.findall(rf'"{key}":(-?[\d.E-]+)', text)
                doubles = key in ("avg10DaysVolume", "avg1YearVolume")
                assert all((("." in value) == doubles) for value in values), key
            for key in re.findall(r'"([A-Za-z0-9]*(?:Price|High|Low|open|close|bid|ask|strike))":-?[\d.E-]+', text):
                assert all("." in value for value in re.findall(rf'"{key}":(-?[\d.E-]+)', text)), key


def test_2_1_absent_keys_rather_than_null() -> None:
    """[W] The writer keeps key order and has no other null than one that is asked for."""
    assert dump({"b": 1, "a": [True, 2.0, "x"], "c": {}}) == '{"b":1,"a":[true,2.0,"x"],"c":{}}'


async def test_2_1_index_has_no_bid_and_no_null() -> None:
    """[W] What an index has not is absent."""
    async with calling() as caller:
        quote = (await caller.ok(f"{DATA}/quotes", symbols="$SPX"))["$SPX"]["quote"]
        assert not [key for key in quote if key.startswith(("bid", "ask"))] and None not in quote.values()


@pytest.mark.parametrize("path", [f"{DATA}/quotes", f"{DATA}/chains", f"{TRADER}/userPreference"])
async def test_2_1_unauthorized(path: str) -> None:
    """R4: title and detail of a token that is wrong, missing, or not a bearer's."""
    async with calling() as caller:
        for header in ("Bearer wrong", f"Basic {caller.token}", "", caller.token):
            answer, text = await caller.raw(path, headers={"Authorization": header})
            (error,) = json.loads(text)["errors"]
            assert answer.status == 401 and uuid.UUID(error.pop("id"))
            assert error == {"status": 401, "title": "Unauthorized", "detail": "Client not authorized"}


async def test_2_1_marketdata_errors() -> None:
    """R4: `errors` with id, status, title; detail and source where there is something to say."""
    async with calling() as caller:
        status, body = await caller.get(f"{DATA}/quotes", symbols="QQQ", fields="nonsense")
        (error,) = body["errors"]
        assert status == 400 and list(error) == ["id", "status", "title", "detail", "source"]
        assert (error["status"], error["title"]) == ("400", "Bad Request")
        assert error["source"] == {"parameter": "fields"}
        for path in (f"{DATA}/ZZZZ9/quotes", f"{DATA}/nothing", f"{DATA}/BRK/B/quotes"):
            status, body = await caller.get(path)
            (error,) = body["errors"]
            assert status == 404 and uuid.UUID(error.pop("id")) and error == {"status": "404", "title": "Not Found"}


async def test_2_1_trader_errors() -> None:
    """`message` and `errors` of texts."""
    async with calling(faults=("rest=500:userPreference",)) as caller:
        assert await caller.get(f"{TRADER}/nothing") == (404, {"message": "Not Found", "errors": ["Not Found"]})
        status, body = await caller.get(f"{TRADER}/userPreference")
        assert (status, body["message"], type(body["errors"][0])) == (500, "Internal Server Error", str)


async def test_2_1_gateway_too_big_body() -> None:
    """R4: 502 and the `fault` object, by order for a chain."""
    fault = {"faultstring": "Body buffer overflow", "detail": {"errorcode": "protocol.http.TooBigBody"}}
    async with calling(faults=("rest=toobig",)) as caller:
        assert (await caller.get(f"{DATA}/quotes", symbols="QQQ"))[0] == 200
        assert await caller.get(f"{DATA}/chains", symbol="QQQ") == (502, {"fault": fault})
        assert (await caller.get(f"{DATA}/chains", symbol="QQQ"))[0] == 200


async def test_2_1_a_chain_beyond_the_buffer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is a real one: the whole chain does not pass, a day of it does."""
    async with calling() as caller:
        _, text = await caller.raw(f"{DATA}/chains", symbol="$SPX", strikeCount=3)
        assert len(text) < BODY_LIMIT_BYTES
        monkeypatch.setattr("alphakite.simulator.rest_answers.BODY_LIMIT_BYTES", len(text))
        status, body = await caller.get(f"{DATA}/chains", symbol="$SPX")
        assert (status, list(body)) == (502, ["fault"])
        assert (await caller.get(f"{DATA}/chains", symbol="$SPX", strikeCount=3))[0] == 200


@pytest.mark.parametrize(("value", "status"), [("html", 403), ("429", 429), ("503", 503), ("401", 401), ("403", 403)])
async def test_2_1_each_refusal_by_order(value: str, status: int) -> None:
    """Once, and then all is well; the CDN's page is HTML."""
    async with calling(faults=(f"rest={value}",)) as caller:
        given, body = await caller.get(f"{DATA}/quotes", symbols="QQQ")
        assert given == status
        if value == "html":
            assert "<TITLE>Access Denied</TITLE>" in body
        assert (await caller.get(f"{DATA}/quotes", symbols="QQQ"))[0] == 200


async def test_2_1_a_fault_may_wait_for_its_path() -> None:
    """`STATUS:PATH`, `html:PATH`, `hang:PATH`: others are served."""
    faults = ("rest=503:/chains", "rest=html:pricehistory", "rest=hang:/markets")
    async with calling(faults=faults) as caller:
        assert (await caller.get(f"{DATA}/quotes", symbols="QQQ"))[0] == 200
        assert (await caller.get(f"{DATA}/chains", symbol="QQQ"))[0] == 503
        assert (await caller.get(f"{DATA}/pricehistory", symbol="QQQ"))[0] == 403
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await caller.get(f"{DATA}/markets", markets="equity")
        assert (await caller.get(f"{DATA}/markets", markets="equity"))[0] == 200


async def test_2_1_schwab_may_void_a_token_early() -> None:
    """`unauthorized` voids the token that was shown: the same one fails again."""
    async with calling(faults=("rest=unauthorized",)) as caller:
        statuses = [(await caller.get(f"{DATA}/quotes", symbols="QQQ"))[0] for _ in range(2)]
        assert statuses == [401, 401]


# 2.2: userPreference


async def test_2_2_one_object_with_its_paths() -> None:
    """[W] R7: an object, not an array; keys in order."""
    async with calling() as caller:
        body = await caller.ok(f"{TRADER}/userPreference")
        assert list(body) == ["accounts", "streamerInfo", "offers"]
        assert list(body["accounts"][0]) == [
            "accountNumber",
            "primaryAccount",
            "type",
            "nickName",
            "displayAcctId",
            "autoPositionEffect",
            "accountColor",
            "lotSelectionMethod",
        ]
        (streamer,) = body["streamerInfo"]
        assert list(streamer) == [
            "streamerSocketUrl",
            "schwabClientCustomerId",
            "schwabClientCorrelId",
            "schwabClientChannel",
            "schwabClientFunctionId",
        ]
        assert streamer["streamerSocketUrl"] == caller.simulator.api_url.replace("http", "ws") + "/ws"
        assert re.fullmatch("[0-9a-f]{64}", streamer["schwabClientCustomerId"])
        assert uuid.UUID(streamer["schwabClientCorrelId"])
        assert (streamer["schwabClientChannel"], streamer["schwabClientFunctionId"]) == ("N9", "APIAPP")
        assert body["offers"] == [{"level2Permissions": False, "mktDataPermission": "NP"}]


async def test_2_2_an_array_by_switch() -> None:
    """As the OpenAPI has it."""
    async with calling(switches=("user-preference=array",)) as caller:
        (body,) = await caller.ok(f"{TRADER}/userPreference")
        assert body["streamerInfo"]


@pytest.mark.parametrize(("switch", "number"), [("fresh", 2), ("kept", 1)])
async def test_2_2_correl_id_fresh_or_kept(switch: str, number: int) -> None:
    """It is not known whether the next call gives another one."""
    async with calling(switches=(f"correl-id={switch}",)) as caller:
        ids = {
            (await caller.ok(f"{TRADER}/userPreference"))["streamerInfo"][0]["schwabClientCorrelId"] for _ in range(2)
        }
        assert len(ids) == number


async def test_2_2_streamer_info_may_be_missing() -> None:
    """An outage: 200 without `streamerInfo`, once."""
    async with calling(faults=("rest=nostreamer",)) as caller:
        assert "streamerInfo" not in await caller.ok(f"{TRADER}/userPreference")
        assert "streamerInfo" in await caller.ok(f"{TRADER}/userPreference")


# 2.3: quotes


async def test_2_3_equity_has_every_block_and_key() -> None:
    """Envelope and blocks of the table, by default all of them."""
    async with calling() as caller:
        one = (await caller.ok(f"{DATA}/quotes", symbols="QQQ"))["QQQ"]
        envelope = ["assetMainType", "assetSubType", "quoteType", "realtime", "ssid", "symbol"]
        assert list(one) == [*envelope, "extended", "fundamental", "quote", "reference", "regular"]
        assert (one["assetMainType"], one["assetSubType"], one["quoteType"]) == ("EQUITY", "ETF", "NBBO")
        assert list(one["quote"]) == EQUITY_QUOTE
        assert list(one["regular"]) == [
            "regularMarketLastPrice",
            "regularMarketLastSize",
            "regularMarketNetChange",
            "regularMarketPercentChange",
            "regularMarketTradeTime",
        ]
        assert list(one["extended"]) == [
            "askPrice",
            "askSize",
            "bidPrice",
            "bidSize",
            "lastPrice",
            "lastSize",
            "mark",
            "quoteTime",
            "totalVolume",
            "tradeTime",
        ]
        assert list(one["reference"]) == [
            "cusip",
            "description",
            "exchange",
            "exchangeName",
            "isHardToBorrow",
            "isShortable",
            "htbQuantity",
            "htbRate",
        ]
        assert sorted(one["fundamental"]) == sorted(
            [
                "avg10DaysVolume",
                "avg1YearVolume",
                "declarationDate",
                "divAmount",
                "divExDate",
                "divFreq",
                "divPayAmount",
                "divPayDate",
                "divYield",
                "eps",
                "fundLeverageFactor",
                "lastEarningsDate",
                "nextDivExDate",
                "nextDivPayDate",
                "peRatio",
            ]
        )
        assert one["quote"]["securityStatus"] == "Normal"


async def test_2_3_values_are_those_of_the_stream() -> None:
    """Price, size and time equal the LEVELONE fields at the same moment."""
    async with calling() as caller:
        quote = (await caller.ok(f"{DATA}/QQQ/quotes", fields="quote"))["QQQ"]["quote"]
        fields = caller.simulator._player.market.symbols["QQQ"].fields
        for key, number in (("bidPrice", 1), ("askPrice", 2), ("lastPrice", 3), ("bidSize", 4), ("totalVolume", 8)):
            assert quote[key] == json.loads(fields[number]), key
        assert at("04:00") < quote["tradeTime"] < at("10:15")


async def test_2_3_index_has_no_bid_and_ask() -> None:
    """The keys of the index row."""
    async with calling() as caller:
        one = (await caller.ok(f"{DATA}/quotes", symbols="$SPX"))["$SPX"]
        assert one["assetMainType"] == "INDEX" and "assetSubType" not in one
        assert set(one["quote"]) <= set(INDEX_QUOTE) and "lastPrice" in one["quote"]


async def test_2_3_option_has_the_keys_of_its_row() -> None:
    """R2: keys in order, greeks with about eight decimals, times in epoch ms."""
    async with calling() as caller:
        symbol = contracts(await caller.chain(strikeCount=1, fromDate=TODAY, toDate=TODAY))[0]["symbol"]
        one = (await caller.ok(f"{DATA}/quotes", symbols=symbol))[symbol]
        assert list(one) == ["assetMainType", "realtime", "ssid", "symbol", "quote", "reference"]
        assert list(one["quote"]) == OPTION_QUOTE and list(one["reference"]) == OPTION_REFERENCE
        assert len(symbol) == 21 and one["reference"]["lastTradingDay"] == at("20:00")
        assert len(str(abs(one["quote"]["delta"]))) > 6
        single = await caller.ok(f"{DATA}/{symbol}/quotes")
        assert single == {symbol: one}


async def test_2_3_unknown_symbols_are_collected() -> None:
    """Under `errors`, with the kind, and HTTP 200; kinds without any are absent."""
    async with calling() as caller:
        body = await caller.ok(f"{DATA}/quotes", symbols="ZZZZ9,QQQ", cusips="1", ssids="2")
        assert list(body) == ["QQQ", "errors"]
        assert body["errors"] == {"invalidSymbols": ["ZZZZ9"], "invalidCusips": ["1"], "invalidSSIDs": ["2"]}
        only = await caller.ok(f"{DATA}/quotes", symbols="ZZZZ9")
        assert only == {"errors": {"invalidSymbols": ["ZZZZ9"]}}


async def test_2_3_500_symbols_at_most_and_one_at_least() -> None:
    """The texts of the 400s; symbols, cusips and ssids count together."""
    async with calling() as caller:
        many = ",".join(f"A{number}" for number in range(499))
        assert (await caller.get(f"{DATA}/quotes", symbols=many, cusips="1"))[0] == 200
        status, body = await caller.get(f"{DATA}/quotes", symbols=many, cusips="1,2")
        (error,) = body["errors"]
        assert (status, error["detail"]) == (400, "Search combination should not exceed 500.")
        pointers = [f"/data/attributes/{name}" for name in ("symbols", "cusips", "ssids")]
        assert error["source"] == {"pointer": pointers}
        for query in ({}, {"symbols": ""}, {"symbols": ","}):
            status, body = await caller.get(f"{DATA}/quotes", **query)
            assert status == 400 and "min of 1" in body["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("fields", "blocks"),
    [("quote", {"quote"}), ("quote,reference", {"quote", "reference"}), ("regular,all", None), ("all", None)],
)
async def test_2_3_fields_choose_the_blocks(fields: str, blocks: set[str] | None) -> None:
    """Only what is asked for."""
    async with calling() as caller:
        one = (await caller.ok(f"{DATA}/quotes", symbols="QQQ", fields=fields))["QQQ"]
        known = {"quote", "fundamental", "extended", "reference", "regular"}
        assert known & set(one) == (blocks or known)


async def test_2_3_indicative_adds_the_iv_symbol() -> None:
    """`$QQQ.IV`, only for equities."""
    async with calling() as caller:
        body = await caller.ok(f"{DATA}/quotes", symbols="QQQ,$SPX", indicative="true")
        assert set(body) == {"QQQ", "$QQQ.IV", "$SPX"}


# 2.4: chains


async def test_2_4_root_keys_in_order() -> None:
    """[W] As on the wire; `underlying` only where it was asked for, behind `status`."""
    async with calling() as caller:
        body = await caller.chain(strikeCount=1)
        assert list(body) == ROOT_KEYS
        assert (body["status"], body["strategy"], body["isIndex"], body["volatility"]) == (
            "SUCCESS",
            "SINGLE",
            False,
            29,
        )
        assert (body["assetMainType"], body["assetSubType"], body["ethOptionEligible"]) == ("EQUITY", "ETF", False)
        assert body["numberOfContracts"] == len(contracts(body))
        asked = await caller.chain(strikeCount=1, includeUnderlyingQuote="true")
        assert list(asked) == [*ROOT_KEYS[:2], "underlying", *ROOT_KEYS[2:]]
        assert list(asked["underlying"]) == [
            "ask",
            "askSize",
            "bid",
            "bidSize",
            "change",
            "close",
            "delayed",
            "description",
            "exchangeName",
            "fiftyTwoWeekHigh",
            "fiftyTwoWeekLow",
            "highPrice",
            "last",
            "lowPrice",
            "mark",
            "markChange",
            "markPercentChange",
            "openPrice",
            "percentChange",
            "quoteTime",
            "symbol",
            "totalVolume",
            "tradeTime",
        ]
        index = await caller.ok(f"{DATA}/chains", symbol="$SPX", strikeCount=1)
        assert (index["assetMainType"], index["assetSubType"], index["dividendYield"]) == ("INDEX", "", -1.0)


async def test_2_4_contracts_have_52_keys_in_order() -> None:
    """[W] Every contract; none of the names of the OpenAPI."""
    assert len(CONTRACT_KEYS) == 52
    async with calling() as caller:
        for symbol in ("QQQ", "$SPX"):
            body = await caller.ok(f"{DATA}/chains", symbol=symbol, strikeCount=5)
            assert contracts(body) and all(list(one) == CONTRACT_KEYS for one in contracts(body))


def shape(value: object) -> object:
    """Types, with integer and double as one where a capture's printer has lost the difference."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.mark.parametrize(
    ("name", "newer"),
    [
        ("schwab_chain_SPX_0DTE_20241015T151556Z", {"dividendYield", "ethOptionEligible"}),
        ("schwab_chain_SPX_exp20250520_seen20250511", {"ethOptionEligible"}),
    ],
)
async def test_2_4_the_same_shape_as_a_real_chain(name: str, newer: set[str], shared_data: Path) -> None:
    """[W] Key for key, in order, and type for type; only the keys that came later are more."""
    with gzip.open(shared_data / f"{name}.json.gz", "rt") as file:
        real = json.load(file)
    async with calling() as caller:
        monday = str(DAY + timedelta(3))
        ours = await caller.ok(f"{DATA}/chains", symbol="$SPX", strikeCount=5, fromDate=monday, toDate=monday)
    assert [key for key in ours if key not in newer] == list(real)
    maps = ("callExpDateMap", "putExpDateMap")
    assert {key: shape(ours[key]) for key in real if key not in maps} == {
        key: shape(real[key]) for key in real if key not in maps
    }
    assert json.dumps(shape(contracts(ours)[0])) == json.dumps(shape(contracts(real)[0]))
    assert {json.dumps(shape(one)) for one in contracts(ours)} == {json.dumps(shape(contracts(real)[0]))}
    doubles = {key for one in contracts(real) for key, value in one.items() if isinstance(value, float)}
    assert all(isinstance(one[key], float) for one in contracts(ours) for key in doubles)
    pattern = re.compile(r"\d{4}-\d\d-\d\d:\d+")
    for chain in (ours, real):
        for side in maps:
            assert all(pattern.fullmatch(key) for key in chain[side])
            assert all(re.fullmatch(r"\d+\.\d+", strike) for expiry in chain[side].values() for strike in expiry)


async def test_2_4_derived_values_agree() -> None:
    """Net change, intrinsic, extrinsic and time value, percent, sizes, as the table defines them."""
    async with calling() as caller:
        body = await caller.chain(strikeCount=8)
        for one in contracts(body):
            inner = body["underlyingPrice"] - one["strikePrice"]
            inner = inner if one["putCall"] == "CALL" else -inner
            assert one["intrinsicValue"] == pytest.approx(inner, abs=0.5)
            assert one["inTheMoney"] == (one["intrinsicValue"] > 0)
            assert one["extrinsicValue"] == pytest.approx(one["last"] - one["intrinsicValue"], abs=0.011)
            assert one["timeValue"] == pytest.approx(one["last"] - max(one["intrinsicValue"], 0), abs=0.011)
            assert one["netChange"] == pytest.approx(one["last"] - one["closePrice"], abs=0.011)
            assert one["bidAskSize"] == f"{one['bidSize']}X{one['askSize']}"
            assert (one["openPrice"], one["theoreticalVolatility"], one["multiplier"]) == (0.0, 29.0, 100.0)
            assert one["deliverableNote"] == "100 QQQ" and one["exchangeName"] == "OPR"
            for greek in ("delta", "gamma", "theta", "vega", "rho"):
                assert one[greek] == round(one[greek], 3)


async def test_2_4_dates_of_a_contract() -> None:
    """Expiry 16:00 New York in UTC, last trading day 20:00 New York, calendar days."""
    async with calling() as caller:
        body = await caller.chain(strikeCount=1)
        for key, expiry in body["callExpDateMap"].items():
            day, days = date.fromisoformat(key[:10]), int(key[11:])
            assert days == (day - DAY).days
            (one,) = next(iter(expiry.values()))
            assert one["expirationDate"] == f"{day}T21:00:00.000+00:00" or day > date(2027, 3, 14)
            assert (one["daysToExpiration"], one["lastTradingDay"]) == (days, at("20:00", day))
            assert one["symbol"][:12] == f"{'QQQ':<6}{day:%y%m%d}"
            assert one["description"] == f"QQQ {day:%m/%d/%Y} {one['strikePrice']:.2f} C"


async def test_2_4_strikes_of_two_roots_share_a_list() -> None:
    """AM and PM on the third Friday: both in one list, their roots and settlements told."""
    async with calling() as caller:
        body = await caller.ok(f"{DATA}/chains", symbol="$SPX", strikeCount=1, fromDate=TODAY, toDate=TODAY)
        for listed in body["callExpDateMap"][f"{DAY}:0"].values():
            assert {(one["optionRoot"], one["settlementType"]) for one in listed} == {("SPX", "A"), ("SPXW", "P")}
            assert {one["deliverableNote"] for one in listed} == {"100 $SPX(Cash)"}
            assert {one["exerciseType"] for one in listed} == {"E"}


@pytest.mark.parametrize(("switch", "number"), [("per-side", 8), ("total", 4)])
async def test_2_4_strike_count_by_switch(switch: str, number: int) -> None:
    """On each side of the money, or in all."""
    async with calling(switches=(f"strike-count={switch}",)) as caller:
        body = await caller.chain(strikeCount=4, fromDate=TODAY, toDate=TODAY)
        found = strikes(body)
        assert len(found) == number == len(strikes(body, "put")) and found == sorted(found)
        assert found[0] < body["underlyingPrice"] < found[-1]


async def test_2_4_parameters_narrow_the_chain() -> None:
    """contractType, dates, strike, range, month, option type."""
    async with calling() as caller:
        whole = await caller.chain()
        spot = whole["underlyingPrice"]
        calls = await caller.chain(contractType="CALL", strikeCount=2)
        assert calls["putExpDateMap"] == {} and calls["callExpDateMap"]
        today = await caller.chain(fromDate=TODAY, toDate=TODAY)
        assert list(today["callExpDateMap"]) == [f"{DAY}:0"] and today["daysToExpiration"] == 0.0
        later = await caller.chain(fromDate=str(DAY + timedelta(1)))
        assert f"{DAY}:0" not in later["callExpDateMap"]
        middle = strikes(today)[len(strikes(today)) // 2]
        exact = await caller.chain(strike=middle)
        assert set(strikes(exact)) == {middle}
        inside = await caller.chain(range="ITM", fromDate=TODAY, toDate=TODAY)
        assert max(strikes(inside)) < spot < min(strikes(inside, "put"))
        outside = await caller.chain(range="OTM", fromDate=TODAY, toDate=TODAY)
        assert min(strikes(outside)) >= spot >= max(strikes(outside, "put"))
        above, below = await caller.chain(range="SAK"), await caller.chain(range="SBK")
        assert min(strikes(above)) >= spot > max(strikes(below))
        near = await caller.chain(range="NTM", fromDate=TODAY, toDate=TODAY)
        assert 0 < len(strikes(near)) < len(strikes(today))
        month = await caller.chain(expMonth="DEC")
        assert {key[5:7] for key in month["callExpDateMap"]} == {"12"}
        assert contracts(await caller.chain(optionType="S", strikeCount=1))
        analytical = await caller.chain(strategy="ANALYTICAL", volatility=20, interestRate=4.5, strikeCount=1)
        assert (analytical["strategy"], analytical["interestRate"]) == ("ANALYTICAL", 4.5)


@pytest.mark.parametrize("status", ["SUCCESS", "FAILED"])
async def test_2_4_nothing_matches(status: str) -> None:
    """Empty maps and HTTP 200; what `status` says is a switch."""
    async with calling(switches=(f"empty-chain={status}",)) as caller:
        body = await caller.chain(optionType="NS")
        assert (body["status"], body["numberOfContracts"]) == (status, 0)
        assert body["callExpDateMap"] == body["putExpDateMap"] == {}
        assert list(body) == ROOT_KEYS


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"symbol": ""}, "symbol"),
        ({"contractType": "BOTH"}, "contractType"),
        ({"strikeCount": "x"}, "strikeCount"),
        ({"strikeCount": "-1"}, "strikeCount"),
        ({"strategy": "NONE"}, "strategy"),
        ({"range": "FAR"}, "range"),
        ({"fromDate": "11/20/2026"}, "fromDate"),
        ({"fromDate": str(DAY - timedelta(1))}, "fromDate"),
        ({"fromDate": "2026-11-27", "toDate": "2026-11-25"}, "toDate"),
        ({"expMonth": "XXX"}, "expMonth"),
        ({"optionType": "X"}, "optionType"),
        ({"entitlement": "X"}, "entitlement"),
        ({"includeUnderlyingQuote": "maybe"}, "includeUnderlyingQuote"),
        ({"interestRate": "high"}, "interestRate"),
    ],
)
async def test_2_4_bad_parameters(query: dict[str, str], name: str) -> None:
    """A 400 that names the parameter."""
    async with calling() as caller:
        status, body = await caller.get(f"{DATA}/chains", **{"symbol": "QQQ"} | query)
        assert (status, body["errors"][0]["source"]) == (400, {"parameter": name})


async def test_2_4_unknown_underlying() -> None:
    """`SPX` and `$SPX.X` are not `$SPX`."""
    async with calling() as caller:
        for symbol in ("SPX", "$SPX.X", "ZZZZ9"):
            assert (await caller.get(f"{DATA}/chains", symbol=symbol))[0] == 404


def test_2_4_sentinels() -> None:
    """-999.0 where the model has no answer, the text NaN once expired, and a percentage on a close of nothing."""
    contract = Contract("QQQ   261120C00600000", "QQQ", "QQQ", DAY, "C", 600 * PRICE_SCALE)
    quote = OptionQuote(*[0] * 15, *[None] * 7, 600 * PRICE_SCALE)
    quote.last = quote.mark = PRICE_SCALE
    one = contract_object(contract, quote, at("16:10"))
    names = ("volatility", "delta", "gamma", "theta", "vega", "rho")
    assert [one[name] for name in names] == [-999.0] * 6 and one["percentChange"] == 10000.0
    assert '"delta":-999.0' in dump(one)
    quote.nan = True
    one = contract_object(contract, quote, at("16:10"))
    assert [one[name] for name in (*names, "theoreticalOptionValue")] == ["NaN"] * 7


async def test_2_4_sentinels_appear_in_a_session() -> None:
    """Before the open no greeks, and after the settlement NaN, without being asked for."""
    async with calling(start=time(6)) as caller:
        early = contracts(await caller.chain(strikeCount=2, fromDate=TODAY, toDate=TODAY))
        assert {one["delta"] for one in early} == {-999.0}
    async with calling(start=time(16, 30)) as caller:
        late = contracts(await caller.chain(strikeCount=2, fromDate=TODAY, toDate=TODAY))
        assert {one["delta"] for one in late} == {"NaN"}


# 2.5: expirationchain


async def test_2_5_expirations() -> None:
    """`expirationDate`, not `expiration`; AM and PM roots are entries of their own."""
    async with calling() as caller:
        body = await caller.ok(f"{DATA}/expirationchain", symbol="QQQ")
        assert list(body) == ["expirationList"]
        first = body["expirationList"][0]
        assert list(first) == [
            "expirationDate",
            "daysToExpiration",
            "expirationType",
            "settlementType",
            "optionRoots",
            "standard",
        ]
        assert (first["expirationDate"], first["daysToExpiration"], first["optionRoots"]) == (TODAY, 0, "QQQ")
        index = (await caller.ok(f"{DATA}/expirationchain", symbol="$SPX"))["expirationList"]
        roots = {(one["optionRoots"], one["settlementType"]) for one in index if one["expirationDate"] == TODAY}
        assert roots == {("SPX", "A"), ("SPXW", "P")}
        assert (await caller.get(f"{DATA}/expirationchain", symbol="ZZZZ9"))[0] == 404
        assert (await caller.get(f"{DATA}/expirationchain"))[0] == 400


# 2.6: pricehistory


@asynccontextmanager
async def two_days(folder: Path, **options: Any) -> AsyncIterator[Caller]:
    """QQQ with every minute 06:58 to 20:00 of Thursday as bars, and prints on Friday."""
    rows: list[str] = []
    first = at("06:58", DAY - timedelta(1))
    for number in range((13 * 60) + 2):
        price = 100 + number / 100
        rows.append(f"{first + number * 60_000},{price},{price + 1},{price - 1},{price + 0.5},{10 + number}\n")
    bars, trades = folder / "bars.csv", folder / "trades.csv"
    bars.write_text("epoch_ms,open,high,low,close,volume\n" + "".join(rows))
    lines = [("09:30:00", 200, 100), ("09:31:30", 201, 50), ("09:34:59", 199, 50), ("09:35:00", 205, 7)]
    trades.write_text(
        "epoch_ms,price,size,sale_condition_hex\n" + "".join(f"{at(w)},{price},{n},0\n" for w, price, n in lines)
    )
    tapes = (TapeFile("bars", bars, "QQQ"), TapeFile("trades", trades, "QQQ"))
    async with calling(tapes=tapes, symbols=("QQQ",), session=None, **options) as caller:
        yield caller


async def history(caller: Caller, **query: Any) -> Any:
    return await caller.ok(f"{DATA}/pricehistory", symbol="QQQ", **query)


async def test_2_6_candles_are_stamped_with_their_start(tmp_path: Path) -> None:
    """R3: keys and order; minutes without trades are absent; 07:00 to 20:00 with extended hours."""
    async with two_days(tmp_path) as caller:
        body = await history(caller)
        assert set(body) == {"candles", "symbol", "empty"} and body["empty"] is False
        assert list(body["candles"][0]) == ["open", "high", "low", "close", "volume", "datetime"]
        stamps = [candle["datetime"] for candle in body["candles"]]
        assert stamps[0] == at("07:00", DAY - timedelta(1))
        assert stamps[-4:] == [at("09:30"), at("09:31"), at("09:34"), at("09:35")]
        regular = await history(caller, needExtendedHoursData="false")
        assert regular["candles"][0]["datetime"] == at("09:30", DAY - timedelta(1))
        assert len(regular["candles"]) == 390 + 4


@pytest.mark.parametrize("frequency", [5, 10, 15, 30])
async def test_2_6_coarser_minutes_are_made_of_minutes(frequency: int, tmp_path: Path) -> None:
    """First open, highest, lowest, last close, volume summed."""
    async with two_days(tmp_path) as caller:
        minutes = (await history(caller, frequency=1))["candles"]
        coarse = (await history(caller, frequency=frequency))["candles"]
        span_ms = frequency * 60_000
        for candle in coarse:
            parts = [one for one in minutes if 0 <= one["datetime"] - candle["datetime"] < span_ms]
            assert candle["datetime"] % span_ms == 0
            assert candle == {
                "open": parts[0]["open"],
                "high": max(one["high"] for one in parts),
                "low": min(one["low"] for one in parts),
                "close": parts[-1]["close"],
                "volume": sum(one["volume"] for one in parts),
                "datetime": candle["datetime"],
            }
        assert sum(one["volume"] for one in coarse) == sum(one["volume"] for one in minutes)


async def test_2_6_days_and_weeks_are_stamped_with_chicagos_midnight(tmp_path: Path) -> None:
    """06:00Z in winter; of the regular hours alone; a week by its Monday, a month by its first day."""
    async with two_days(tmp_path) as caller:
        days = (await history(caller, periodType="month", frequencyType="daily"))["candles"]
        assert [one["datetime"] for one in days] == [at("01:00", DAY - timedelta(1)), at("01:00")]
        assert days[1] == {"open": 200, "high": 205, "low": 199, "close": 205, "volume": 207, "datetime": at("01:00")}
        (week,) = (await history(caller, periodType="month"))["candles"]
        assert (week["datetime"], week["close"]) == (at("01:00", date(2026, 11, 16)), 205)
        (month,) = (await history(caller, periodType="year"))["candles"]
        assert month["datetime"] == at("00:00", date(2026, 11, 1)) + 3_600_000
        assert (await history(caller, periodType="ytd"))["candles"] == [week]


async def test_2_6_previous_close(tmp_path: Path) -> None:
    """Its value and its date, midnight in Chicago; only if asked for."""
    async with two_days(tmp_path) as caller:
        body = await history(caller, needPreviousClose="true")
        assert body["previousClose"] == pytest.approx(100 + (9 * 60 + 1) / 100 + 0.5)
        assert body["previousCloseDate"] == at("01:00", DAY - timedelta(1))
        assert "previousClose" not in await history(caller)


async def test_2_6_range_and_period(tmp_path: Path) -> None:
    """startDate and endDate bound the starts of candles; a period counts days that have candles."""
    async with two_days(tmp_path) as caller:
        part = await history(caller, startDate=at("09:31"), endDate=at("09:34"))
        assert [one["datetime"] for one in part["candles"]] == [at("09:31"), at("09:34")]
        day = await history(caller, period=1)
        assert {datetime.fromtimestamp(one["datetime"] / 1000, EXCHANGE).date() for one in day["candles"]} == {DAY}
        until = await history(caller, period=1, endDate=at("20:00", DAY - timedelta(1)))
        assert until["candles"][-1]["datetime"] == at("19:59", DAY - timedelta(1))


async def test_2_6_empty() -> None:
    """An unknown symbol is no error."""
    async with calling() as caller:
        assert await caller.ok(f"{DATA}/pricehistory", symbol="X") == {"candles": [], "symbol": "X", "empty": True}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"symbol": ""}, "symbol"),
        ({"periodType": "decade"}, "periodType"),
        ({"period": "7"}, "period"),
        ({"periodType": "month", "period": "10"}, "period"),
        ({"frequencyType": "daily"}, "frequencyType"),
        ({"periodType": "month", "frequencyType": "minute"}, "frequencyType"),
        ({"periodType": "ytd", "frequencyType": "monthly"}, "frequencyType"),
        ({"frequency": "2"}, "frequency"),
        ({"periodType": "year", "frequency": "5"}, "frequency"),
        ({"startDate": "2026-11-20"}, "startDate"),
        ({"endDate": "x"}, "endDate"),
    ],
)
async def test_2_6_bad_parameters(query: dict[str, str], name: str) -> None:
    """Periods and frequencies that do not go together: a 400 that names the parameter."""
    async with calling() as caller:
        status, body = await caller.get(f"{DATA}/pricehistory", **{"symbol": "QQQ"} | query)
        assert (status, body["errors"][0]["source"]) == (400, {"parameter": name})


# 2.7: markets

OPEN_DAY = (
    '{"option":{"EQO":{"date":"2026-11-23","marketType":"OPTION","product":"EQO","productName":"equity option",'
    '"isOpen":true,"sessionHours":{"regularMarket":[{"start":"2026-11-23T09:30:00-05:00","end":'
    '"2026-11-23T16:00:00-05:00"}]}},"IND":{"date":"2026-11-23","marketType":"OPTION","product":"IND","productName":'
    '"index option","isOpen":true,"sessionHours":{"regularMarket":[{"start":"2026-11-23T09:30:00-05:00","end":'
    '"2026-11-23T16:15:00-05:00"}]}}},"equity":{"EQ":{"date":"2026-11-23","marketType":"EQUITY","product":"EQ",'
    '"productName":"equity","isOpen":true,"sessionHours":{"preMarket":[{"start":"2026-11-23T07:00:00-05:00","end":'
    '"2026-11-23T09:30:00-05:00"}],"regularMarket":[{"start":"2026-11-23T09:30:00-05:00","end":'
    '"2026-11-23T16:00:00-05:00"}],"postMarket":[{"start":"2026-11-23T16:00:00-05:00","end":'
    '"2026-11-23T20:00:00-05:00"}]}}}}'
)


async def test_2_7_open_day() -> None:
    """[W] The reference's example, to the letter."""
    async with calling() as caller:
        _, text = await caller.raw(f"{DATA}/markets", markets="option,equity", date="2026-11-23")
        assert text == OPEN_DAY
        today = await caller.ok(f"{DATA}/markets/equity")
        assert today["equity"]["EQ"]["date"] == TODAY


async def test_2_7_closed_day() -> None:
    """[W] Thanksgiving: the market's name as key, no hours, no product name."""
    async with calling() as caller:
        _, text = await caller.raw(f"{DATA}/markets/equity", date="2026-11-26")
        closed = '{"date":"2026-11-26","marketType":"EQUITY","product":"equity","isOpen":false}'
        assert text == f'{{"equity":{{"equity":{closed}}}}}'
        option = await caller.ok(f"{DATA}/markets", markets="option", date="2026-11-28")
        assert option["option"]["option"]["isOpen"] is False


async def test_2_7_half_day() -> None:
    """The day after Thanksgiving ends at 13:00, index options a quarter hour later."""
    async with calling() as caller:
        body = await caller.ok(f"{DATA}/markets", markets="equity,option", date="2026-11-27")
        hours = body["equity"]["EQ"]["sessionHours"]
        assert hours["regularMarket"][0]["end"] == "2026-11-27T13:00:00-05:00" == hours["postMarket"][0]["start"]
        assert body["option"]["IND"]["sessionHours"]["regularMarket"][0]["end"] == "2026-11-27T13:15:00-05:00"


async def test_2_7_every_market_and_the_bad_ones() -> None:
    """Five names; others are 404 by path, 400 by list; dates from today to a year ahead."""
    async with calling() as caller:
        body = await caller.ok(f"{DATA}/markets", markets="equity,option,bond,future,forex")
        assert list(body) == ["equity", "option", "bond", "future", "forex"]
        assert (await caller.get(f"{DATA}/markets/stocks"))[0] == 404
        for query in ({}, {"markets": "stocks"}, {"markets": "equity,stocks"}):
            assert (await caller.get(f"{DATA}/markets", **query))[0] == 400
        for day in ("2026-11-19", "2028-01-03", "tomorrow", "2099-01-01"):
            status, error = await caller.get(f"{DATA}/markets", markets="equity", date=day)
            assert (status, error["errors"][0]["source"]) == (400, {"parameter": "date"})


# 2.8: movers, instruments


async def test_2_8_movers() -> None:
    """[W] `screeners` with the names of the wire; the percentage is a fraction."""
    async with calling() as caller:
        body = await caller.ok(f"{DATA}/movers/$SPX", sort="VOLUME", frequency=0)
        (one,) = body["screeners"]
        assert list(one) == [
            "description",
            "volume",
            "lastPrice",
            "netChange",
            "marketShare",
            "totalVolume",
            "trades",
            "netPercentChange",
            "symbol",
        ]
        quote = (await caller.ok(f"{DATA}/quotes", symbols="QQQ"))["QQQ"]["quote"]
        assert one["netPercentChange"] == pytest.approx(quote["netPercentChange"] / 100, abs=1e-4)
        assert (await caller.get(f"{DATA}/movers/NOWHERE"))[0] == 404
        assert (await caller.get(f"{DATA}/movers/NYSE", sort="X"))[0] == 400
        assert (await caller.get(f"{DATA}/movers/NYSE", frequency=2))[0] == 400


async def test_2_8_instruments_by_cusip_are_a_list_too() -> None:
    """[W] The same `instruments` list as a search."""
    async with calling() as caller:
        query = {"symbol": "QQQ,ZZZZ9", "projection": "symbol-search"}
        (one,) = (await caller.ok(f"{DATA}/instruments", **query))["instruments"]
        assert list(one) == ["cusip", "symbol", "description", "exchange", "assetType"]
        assert await caller.ok(f"{DATA}/instruments/{one['cusip']}") == {"instruments": [one]}
        known = await caller.ok(f"{DATA}/instruments", symbol="QQQ", projection="fundamental")
        assert known["instruments"][0]["fundamental"]["symbol"] == "QQQ"
        assert (await caller.get(f"{DATA}/instruments", symbol="QQQ", projection="x"))[0] == 400
        assert (await caller.get(f"{DATA}/instruments/000"))[0] == 404
