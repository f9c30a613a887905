"""The released Schwabdev against the local Schwab: signs in, calls every REST endpoint, refreshes, reads the stream.

Nothing of ours is imported, nothing of Schwabdev is changed.
In:   SCHWAB_APP_KEY, SCHWAB_APP_SECRET, SCHWAB_CALLBACK_URL, TOKEN_PATH (its database), SYMBOL, DAY, API_URL in the
environment, which also leads it to the local Schwab (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, REQUESTS_CA_BUNDLE).
STREAM: symbols to subscribe to, by commas, with the contracts around the money of those in OPTIONS_OF; without it the
stream is left alone. STREAM_BY: `Stream` (with Client, in a thread; the default) or `StreamAsync` (with ClientAsync).
Out:  one JSON object: what each call brought; `stream`: by service and key the last value of each field under its
number, how often each came, every bar, counts of messages and items, seconds; the digest of all frames' text.
Its aiohttp client knows no proxy: `_base_api_url` is its only way.
"""

from __future__ import annotations

import asyncio
import hashlib
import html.parser
import json
import os
import threading
import time
import urllib.parse
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from typing import Any

import requests
import schwabdev

KEY, SECRET, CALLBACK = (os.environ[f"SCHWAB_{name}"] for name in ("APP_KEY", "APP_SECRET", "CALLBACK_URL"))
TOKEN_PATH, SYMBOL, API_URL = os.environ["TOKEN_PATH"], os.environ["SYMBOL"], os.environ["API_URL"]
DAY = date.fromisoformat(os.environ["DAY"])
STREAM, OPTIONS_OF = (os.environ.get(name, "").split(",") for name in ("STREAM", "OPTIONS_OF"))
HISTORY_FROM = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
FIELDS = {"LEVELONE_OPTIONS": range(56), "CHART_EQUITY": range(9), "LEVELONE_EQUITIES": range(52)}
"""Service → fields asked for. The equities come last: the tape waits for them."""
BEGUN_WITHIN_S = 30
LOOK_S = 0.05


class Form(html.parser.HTMLParser):
    """The inputs and the action of the first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        elif tag == "input":
            self.fields[given["name"]] = given.get("value", "")


def consent(authorization_url: str) -> str:
    """What a person does in the browser: the address that it is led to."""
    with requests.Session() as browser:
        page = browser.get(authorization_url, timeout=20)
        page.raise_for_status()
        form = Form(page.text)
        address = urllib.parse.urljoin(page.url, form.action)
        answer = browser.post(address, data=form.fields | {"decision": "approve"}, allow_redirects=False, timeout=20)
        assert answer.status_code == 302, answer.status_code
        return answer.headers["Location"]


def calls(client: schwabdev.Client) -> dict[str, requests.Response]:
    """Every REST call that the local Schwab offers."""
    by_minute = {"periodType": "day", "frequencyType": "minute"}
    answers = {
        "userPreference": client.preferences(),
        "quote": client.quote(SYMBOL, fields="quote"),
        "quoteWhole": client.quote(SYMBOL),
        "quotes": client.quotes([SYMBOL, "ZZZZ9"], indicative=True),
        "chain": client.option_chains(
            SYMBOL, strikeCount=4, fromDate=DAY, toDate=DAY, includeUnderlyingQuote=True, contractType="ALL"
        ),
        "chainCalls": client.option_chains(SYMBOL, contractType="CALL", strikeCount=2, fromDate=DAY, toDate=DAY),
        "expirationchain": client.option_expiration_chain(SYMBOL),
        "minutes": client.price_history(SYMBOL, **by_minute, frequency=1, needPreviousClose=True),
        "span": client.price_history(
            SYMBOL, **by_minute, frequency=1, startDate=HISTORY_FROM, needExtendedHoursData=False
        ),
        "fives": client.price_history(SYMBOL, **by_minute, frequency=5),
        "tens": client.price_history(SYMBOL, **by_minute, frequency=10),
        "fifteens": client.price_history(SYMBOL, **by_minute, frequency=15),
        "thirties": client.price_history(SYMBOL, **by_minute, frequency=30),
        "days": client.price_history(SYMBOL, periodType="year", frequencyType="daily"),
        "weeks": client.price_history(SYMBOL, periodType="year", frequencyType="weekly"),
        "months": client.price_history(SYMBOL, periodType="year", frequencyType="monthly", frequency=1),
        "markets": client.market_hours(["equity", "option"]),
        "everyMarket": client.market_hours(["equity", "option", "bond", "future", "forex"], date=DAY),
        "market": client.market_hour("equity"),
        "movers": client.movers("EQUITY_ALL", sort="VOLUME", frequency=0),
        "instruments": client.instruments(SYMBOL, "symbol-search"),
    }
    answers["optionQuotes"] = client.quotes(contracts_of(answers["chainCalls"].json()))
    answers["cusip"] = client.instrument_cusip(answers["instruments"].json()["instruments"][0]["cusip"])
    return answers


def contracts_of(chain: dict[str, Any]) -> list[str]:
    """The symbols of a chain's contracts."""
    sides = (chain["callExpDateMap"], chain["putExpDateMap"])
    strikes = [strike for side in sides for expiry in side.values() for strike in expiry.values()]
    return [contract["symbol"] for strike in strikes for contract in strike]


async def asynchronous() -> int:
    """The asynchronous client, by the tokens that the other one has stored."""
    schwabdev.ClientAsync._base_api_url = API_URL
    async with schwabdev.ClientAsync(KEY, SECRET, CALLBACK, tokens_db=TOKEN_PATH) as client:
        answer = await client.quotes([SYMBOL], parsed=False)
        return int(answer.status)


class Known:
    """What a reader of the stream knows."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, dict[str, Any]]] = {name: defaultdict(dict) for name in FIELDS}
        self.seen: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in FIELDS}
        self.bars: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.messages: Counter[str] = Counter()
        self.items: Counter[str] = Counter()
        self.frames = 0
        self.digest = hashlib.sha256()
        self.begun = threading.Event()

    def take(self, raw: str) -> None:
        """A receiver of Schwabdev: the text of a frame."""
        self.frames += 1
        self.digest.update(raw.encode() + b"\n")
        for element in json.loads(raw).get("data", ()):
            self.begun.set()
            service, content = element["service"], element["content"]
            self.messages[service] += 1
            self.items[service] += len(content)
            for item in content:
                key = item["key"]
                self.last[service][key].update(item)
                self.seen[service][key].update(item.keys())
                if service == "CHART_EQUITY":
                    self.bars[key].append(item)

    def report(self, contracts: list[str], began: float) -> dict[str, Any]:
        """All of it as JSON has it."""
        shown = {name: value for name, value in vars(self).items() if name not in ("digest", "begun")}
        wall_s = time.monotonic() - began
        return shown | {"sha256": self.digest.hexdigest(), "contracts": contracts, "wall_s": wall_s}


def requests_of(stream: schwabdev.Stream | schwabdev.StreamAsync, contracts: list[str]) -> list[dict[str, Any]]:
    """Every field of everything."""
    numbers = {service: ",".join(map(str, fields)) for service, fields in FIELDS.items()}
    return [
        stream.level_one_options(contracts, numbers["LEVELONE_OPTIONS"]),
        stream.chart_equity(STREAM, numbers["CHART_EQUITY"]),
        stream.level_one_equities(STREAM, numbers["LEVELONE_EQUITIES"]),
    ]


def streamed(client: schwabdev.Client) -> dict[str, Any]:
    """Read until the stream is closed in order; requests made before the start are sent with it."""
    contracts = []
    for symbol in OPTIONS_OF:
        contracts += contracts_of(client.option_chains(symbol, strikeCount=1, fromDate=DAY, toDate=DAY).json())
    stream, known = schwabdev.Stream(client), Known()
    stream.send(requests_of(stream, contracts))
    began = time.monotonic()
    stream.start(known.take)
    assert known.begun.wait(BEGUN_WITHIN_S), "nothing came"
    while stream.active:
        time.sleep(LOOK_S)
    stream.stop()
    return known.report(contracts, began)


async def streamed_asynchronously() -> dict[str, Any]:
    """The same by ClientAsync and StreamAsync."""
    schwabdev.ClientAsync._base_api_url = API_URL
    async with schwabdev.ClientAsync(KEY, SECRET, CALLBACK, tokens_db=TOKEN_PATH) as client:
        contracts = []
        for symbol in OPTIONS_OF:
            chain = await client.option_chains(symbol, strikeCount=1, fromDate=DAY, toDate=DAY, parsed=True)
            contracts += contracts_of(chain)
        stream, known = schwabdev.StreamAsync(client), Known()
        await stream.send(requests_of(stream, contracts))
        began = time.monotonic()
        await stream.start(known.take)
        assert await asyncio.to_thread(known.begun.wait, BEGUN_WITHIN_S), "nothing came"
        while stream.active:  # noqa: ASYNC110 - the client has no event for it
            await asyncio.sleep(LOOK_S)
        await stream.stop()
        return known.report(contracts, began)


def main() -> None:
    """Sign in, call, refresh by force, read the stream."""
    with schwabdev.Client(KEY, SECRET, CALLBACK, tokens_db=TOKEN_PATH, call_on_auth=consent) as client:
        answers = {name: {"status": one.status_code, "body": one.json()} for name, one in calls(client).items()}
        first = client.tokens.access_token
        updated = client.update_tokens(force_access_token=True)
        changed = first != client.tokens.access_token
        status = client.quotes([SYMBOL]).status_code
    report = {"answers": answers, "after_refresh": status, "token_changed": bool(updated) and changed}
    report["asynchronous"] = asyncio.run(asynchronous())
    if any(STREAM) and os.environ.get("STREAM_BY") == "StreamAsync":
        report["stream"] = asyncio.run(streamed_asynchronously())
    elif any(STREAM):
        with schwabdev.Client(KEY, SECRET, CALLBACK, tokens_db=TOKEN_PATH) as client:
            report["stream"] = streamed(client)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
