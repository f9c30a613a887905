"""The released schwab-py against the local Schwab: signs in, calls every REST endpoint, refreshes, reads the stream.

Nothing of ours is imported, nothing of schwab-py is changed.
In:   SCHWAB_APP_KEY, SCHWAB_APP_SECRET, SCHWAB_CALLBACK_URL, TOKEN_PATH, SYMBOL, DAY in the environment, which also
leads it to the local Schwab (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE). STREAM: symbols to subscribe to, by commas, with
the contracts around the money of those in OPTIONS_OF; without it the stream is left alone.
Out:  one JSON object: what each call brought; `stream`: by service and key the last value of each field under the
client's own name, how often each came, every bar, counts of messages and items, seconds.
"""

from __future__ import annotations

import asyncio
import html.parser
import json
import os
import time
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import websockets
from schwab import auth
from schwab.client import AsyncClient, Client
from schwab.streaming import StreamClient

KEY, SECRET, CALLBACK = (os.environ[f"SCHWAB_{name}"] for name in ("APP_KEY", "APP_SECRET", "CALLBACK_URL"))
TOKEN_PATH, SYMBOL = Path(os.environ["TOKEN_PATH"]), os.environ["SYMBOL"]
DAY = date.fromisoformat(os.environ["DAY"])
STREAM, OPTIONS_OF = (os.environ.get(name, "").split(",") for name in ("STREAM", "OPTIONS_OF"))
HISTORY_FROM = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
FIELDS = {
    "LEVELONE_EQUITIES": StreamClient.LevelOneEquityFields,
    "LEVELONE_OPTIONS": StreamClient.LevelOneOptionFields,
    "CHART_EQUITY": StreamClient.ChartEquityFields,
}


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
    with httpx.Client(timeout=20) as browser:
        page = browser.get(authorization_url)
        form = Form(page.raise_for_status().text)
        answer = browser.post(page.url.join(form.action), data=form.fields | {"decision": "approve"})
        assert answer.status_code == 302, answer.status_code
        return answer.headers["Location"]


def calls(client: Client) -> dict[str, httpx.Response]:
    """Every REST call that the local Schwab offers, and that schwab-py has."""
    markets, history = client.MarketHours.Market, client.PriceHistory
    answers = {
        "userPreference": client.get_user_preferences(),
        "quote": client.get_quote(SYMBOL, fields=[client.Quote.Fields.QUOTE]),
        "quoteWhole": client.get_quote(SYMBOL),
        "quotes": client.get_quotes([SYMBOL, "ZZZZ9"], indicative=True),
        "chain": client.get_option_chain(
            SYMBOL, strike_count=4, from_date=DAY, to_date=DAY, include_underlying_quote=True
        ),
        "chainCalls": client.get_option_chain(
            SYMBOL, contract_type=client.Options.ContractType.CALL, strike_count=2, from_date=DAY, to_date=DAY
        ),
        "expirationchain": client.get_option_expiration_chain(SYMBOL),
        "minutes": client.get_price_history_every_minute(SYMBOL, need_previous_close=True),
        "span": client.get_price_history_every_minute(
            SYMBOL, start_datetime=HISTORY_FROM, need_extended_hours_data=False
        ),
        "fives": client.get_price_history_every_five_minutes(SYMBOL),
        "tens": client.get_price_history_every_ten_minutes(SYMBOL),
        "fifteens": client.get_price_history_every_fifteen_minutes(SYMBOL),
        "thirties": client.get_price_history_every_thirty_minutes(SYMBOL),
        "days": client.get_price_history_every_day(SYMBOL),
        "weeks": client.get_price_history_every_week(SYMBOL),
        "months": client.get_price_history(
            SYMBOL,
            period_type=history.PeriodType.YEAR,
            frequency_type=history.FrequencyType.MONTHLY,
            frequency=history.Frequency.EVERY_MINUTE,
        ),
        "markets": client.get_market_hours([markets.EQUITY, markets.OPTION]),
        "everyMarket": client.get_market_hours(list(markets), date=DAY),
        "movers": client.get_movers(client.Movers.Index.EQUITY_ALL),
        "instruments": client.get_instruments(SYMBOL, client.Instrument.Projection.SYMBOL_SEARCH),
    }
    answers["optionQuotes"] = client.get_quotes(contracts_of(answers["chainCalls"].json()))
    answers["cusip"] = client.get_instrument_by_cusip(answers["instruments"].json()["instruments"][0]["cusip"])
    return answers


def contracts_of(chain: dict[str, Any]) -> list[str]:
    """The symbols of a chain's contracts."""
    sides = (chain["callExpDateMap"], chain["putExpDateMap"])
    strikes = [strike for side in sides for expiry in side.values() for strike in expiry.values()]
    return [contract["symbol"] for strike in strikes for contract in strike]


async def asynchronous() -> int:
    """The asynchronous client reads the same file."""
    client = auth.client_from_token_file(str(TOKEN_PATH), KEY, SECRET, asyncio=True)
    answer = await client.get_quotes([SYMBOL])
    await client.close_async_session()
    return int(answer.status_code)


class Known:
    """What a reader of the stream knows."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, dict[str, Any]]] = {name: defaultdict(dict) for name in FIELDS}
        self.seen: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in FIELDS}
        self.bars: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.messages: Counter[str] = Counter()
        self.items: Counter[str] = Counter()

    def take(self, message: dict[str, Any]) -> None:
        """A handler of schwab-py: one service's message, its fields renamed."""
        service, content = message["service"], message["content"]
        self.messages[service] += 1
        self.items[service] += len(content)
        for item in content:
            key = item["key"]
            self.last[service][key].update(item)
            self.seen[service][key].update(item.keys())
            if service == "CHART_EQUITY":
                self.bars[key].append(item)


async def streamed(client: AsyncClient, contracts: list[str]) -> dict[str, Any]:
    """Subscribe, and read until the stream is closed in order. The tape waits until the equities are asked for."""
    stream, known = StreamClient(client), Known()
    stream.add_level_one_equity_handler(known.take)
    stream.add_level_one_option_handler(known.take)
    stream.add_chart_equity_handler(known.take)
    await stream.login()
    await stream.level_one_option_subs(contracts)
    await stream.chart_equity_subs(STREAM)
    await stream.level_one_equity_subs(STREAM)
    began = time.monotonic()
    try:
        while True:
            await stream.handle_message()
    except websockets.exceptions.ConnectionClosedOK:
        wall_s = time.monotonic() - began
    numbers = {service: {field.name: field.value for field in fields} for service, fields in FIELDS.items()}
    return vars(known) | {"numbers": numbers, "contracts": contracts, "wall_s": wall_s}


async def whole_session() -> dict[str, Any]:
    """By the asynchronous client: the contracts of the day around the money, then the stream."""
    client = auth.client_from_token_file(str(TOKEN_PATH), KEY, SECRET, asyncio=True)
    contracts: list[str] = []
    for symbol in OPTIONS_OF:
        chain = await client.get_option_chain(symbol, strike_count=1, from_date=DAY, to_date=DAY)
        contracts += contracts_of(chain.json())
    try:
        return await streamed(client, contracts)
    finally:
        await client.close_async_session()


def main() -> None:
    """Sign in, call, age the file, come back by it, read the stream."""
    context = auth.get_auth_context(KEY, CALLBACK)

    def write(token: Any, *_: Any, **__: Any) -> None:
        TOKEN_PATH.write_text(json.dumps(token), encoding="utf-8")

    client = auth.client_from_received_url(KEY, SECRET, context, consent(context.authorization_url), write)
    answers = {name: {"status": one.status_code, "body": one.json()} for name, one in calls(client).items()}
    saved = json.loads(TOKEN_PATH.read_text(encoding="utf-8"))
    first = saved["token"]["access_token"]
    saved["token"]["expires_at"] = 0
    write(saved)
    refreshed = auth.client_from_token_file(str(TOKEN_PATH), KEY, SECRET)
    status = refreshed.get_quotes([SYMBOL]).status_code
    second = json.loads(TOKEN_PATH.read_text(encoding="utf-8"))["token"]["access_token"]
    report = {"answers": answers, "after_refresh": status, "token_changed": first != second}
    report["asynchronous"] = asyncio.run(asynchronous())
    if any(STREAM):
        report["stream"] = asyncio.run(whole_session())
    print(json.dumps(report))


if __name__ == "__main__":
    main()
