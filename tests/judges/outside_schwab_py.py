"""The released schwab-py against the local Schwab: signs in, calls every REST endpoint, refreshes. Nothing of ours.

In:   SCHWAB_APP_KEY, SCHWAB_APP_SECRET, SCHWAB_CALLBACK_URL, TOKEN_PATH, SYMBOL, DAY in the environment, which also
leads it to the local Schwab (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE).      Out:  one JSON object: what each call brought.
"""

from __future__ import annotations

import asyncio
import html.parser
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import httpx
from schwab import auth
from schwab.client import Client

KEY, SECRET, CALLBACK = (os.environ[f"SCHWAB_{name}"] for name in ("APP_KEY", "APP_SECRET", "CALLBACK_URL"))
TOKEN_PATH, SYMBOL = Path(os.environ["TOKEN_PATH"]), os.environ["SYMBOL"]
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
    with httpx.Client(timeout=20) as browser:
        page = browser.get(authorization_url)
        form = Form(page.raise_for_status().text)
        answer = browser.post(page.url.join(form.action), data=form.fields | {"decision": "approve"})
        assert answer.status_code == 302, answer.status_code
        return answer.headers["Location"]


def calls(client: Client) -> dict[str, httpx.Response]:
    """Every REST call that the local Schwab offers."""
    return {
        "userPreference": client.get_user_preferences(),
        "quote": client.get_quote(SYMBOL, fields=[client.Quote.Fields.QUOTE]),
        "quotes": client.get_quotes([SYMBOL, "ZZZZ9"], indicative=True),
        "chain": client.get_option_chain(
            SYMBOL, strike_count=4, from_date=DAY, to_date=DAY, include_underlying_quote=True
        ),
        "expirationchain": client.get_option_expiration_chain(SYMBOL),
        "minutes": client.get_price_history_every_minute(SYMBOL, need_previous_close=True),
        "fives": client.get_price_history_every_five_minutes(SYMBOL),
        "days": client.get_price_history_every_day(SYMBOL),
        "weeks": client.get_price_history_every_week(SYMBOL),
        "markets": client.get_market_hours([client.MarketHours.Market.EQUITY, client.MarketHours.Market.OPTION]),
        "movers": client.get_movers(client.Movers.Index.EQUITY_ALL),
        "instruments": client.get_instruments(SYMBOL, client.Instrument.Projection.SYMBOL_SEARCH),
    }


async def asynchronous() -> int:
    """The asynchronous client reads the same file."""
    client = auth.client_from_token_file(str(TOKEN_PATH), KEY, SECRET, asyncio=True)
    answer = await client.get_quotes([SYMBOL])
    await client.close_async_session()
    return int(answer.status_code)


def main() -> None:
    """Sign in, call, age the file, come back by it."""
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
    print(json.dumps(report | {"asynchronous": asyncio.run(asynchronous())}))


if __name__ == "__main__":
    main()
