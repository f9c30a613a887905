"""The released Schwabdev against the local Schwab: signs in, calls every REST endpoint, refreshes. Nothing of ours.

In:   SCHWAB_APP_KEY, SCHWAB_APP_SECRET, SCHWAB_CALLBACK_URL, TOKEN_PATH (its database), SYMBOL, DAY, API_URL in the
environment, which also leads it to the local Schwab (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, REQUESTS_CA_BUNDLE).
Out:  one JSON object: what each call brought. Its aiohttp client knows no proxy: `_base_api_url` is its only way.
"""

from __future__ import annotations

import asyncio
import html.parser
import json
import os
import urllib.parse
from datetime import date

import requests
import schwabdev

KEY, SECRET, CALLBACK = (os.environ[f"SCHWAB_{name}"] for name in ("APP_KEY", "APP_SECRET", "CALLBACK_URL"))
TOKEN_PATH, SYMBOL, API_URL = os.environ["TOKEN_PATH"], os.environ["SYMBOL"], os.environ["API_URL"]
DAY = date.fromisoformat(os.environ["DAY"])


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
    return {
        "userPreference": client.preferences(),
        "quote": client.quote(SYMBOL, fields="quote"),
        "quotes": client.quotes([SYMBOL, "ZZZZ9"], indicative=True),
        "chain": client.option_chains(
            SYMBOL, strikeCount=4, fromDate=DAY, toDate=DAY, includeUnderlyingQuote=True, contractType="ALL"
        ),
        "expirationchain": client.option_expiration_chain(SYMBOL),
        "minutes": client.price_history(
            SYMBOL, periodType="day", frequencyType="minute", frequency=1, needPreviousClose=True
        ),
        "fives": client.price_history(SYMBOL, periodType="day", frequencyType="minute", frequency=5),
        "days": client.price_history(SYMBOL, periodType="year", frequencyType="daily"),
        "weeks": client.price_history(SYMBOL, periodType="year", frequencyType="weekly"),
        "markets": client.market_hours(["equity", "option"]),
        "market": client.market_hour("equity"),
        "movers": client.movers("EQUITY_ALL", sort="VOLUME", frequency=0),
        "instruments": client.instruments(SYMBOL, "symbol-search"),
    }


async def asynchronous() -> int:
    """The asynchronous client, by the tokens that the other one has stored."""
    schwabdev.ClientAsync._base_api_url = API_URL
    async with schwabdev.ClientAsync(KEY, SECRET, CALLBACK, tokens_db=TOKEN_PATH) as client:
        answer = await client.quotes([SYMBOL], parsed=False)
        return int(answer.status)


def main() -> None:
    """Sign in, call, refresh by force."""
    with schwabdev.Client(KEY, SECRET, CALLBACK, tokens_db=TOKEN_PATH, call_on_auth=consent) as client:
        answers = {name: {"status": one.status_code, "body": one.json()} for name, one in calls(client).items()}
        first = client.tokens.access_token
        updated = client.update_tokens(force_access_token=True)
        changed = first != client.tokens.access_token
        status = client.quotes([SYMBOL]).status_code
    report = {"answers": answers, "after_refresh": status, "token_changed": bool(updated) and changed}
    print(json.dumps(report | {"asynchronous": asyncio.run(asynchronous())}))


if __name__ == "__main__":
    main()
