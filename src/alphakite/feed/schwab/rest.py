"""Schwab's REST: `userPreference`, `quotes`, `pricehistory`, with a sign-in that is kept alive (refresh.py).

In:   settings and the token file.      Out:  answers as bytes; every answer's `Date` is told to `on_date_ms`.
Trouble that passes raises TransientError, a refused sign-in SignInError. No secret is in any message; Schwab's own
words are. GETs are paced (pace.py), halved after a 429.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from alphakite.errors import TransientError
from alphakite.feed.schwab.answers import detail
from alphakite.feed.schwab.pace import Pace
from alphakite.feed.schwab.refresh import Refresher
from alphakite.feed.schwab.tokens import SignIn, TokenFile
from alphakite.feed.schwab.transport import client_for, retry_after_s, send
from alphakite.model import PRICE_SCALE, Candle

LONGEST_PACE_S = 10.0
"""A caller waits so long for its turn; beyond, it is told."""


class Streamer(msgspec.Struct, frozen=True):
    """What `userPreference` tells about the streamer; used throughout one connection."""

    url: str
    customer_id: str
    correl_id: str
    channel: str
    function_id: str


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer: what was asked (path and parameters, no secret), status, body."""

    path: str
    params: dict[str, str]
    status: int
    body: bytes


class BadAnswer(TransientError):
    """Schwab answered with another status than 200."""

    def __init__(self, status: int, message: str, next_step: str) -> None:
        super().__init__(message, next_step=next_step)
        self.status = status


class SchwabRest:
    """One HTTP client. `on_date_ms` is called with each answer's Date, epoch milliseconds."""

    def __init__(
        self,
        base_url: str,
        app_key: str,
        app_secret: str,
        tokens: TokenFile,
        on_date_ms: Callable[[int], None],
        *,
        pace: Pace | None = None,
    ) -> None:
        self._client = client_for(base_url)
        self._refresher = Refresher(self._client, httpx.BasicAuth(app_key, app_secret), tokens, on_date_ms)
        self._on_date_ms = on_date_ms
        self._pace = pace or Pace()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # ── the sign-in (refresh.py) ────────────────────────────────────────────────────────────────────────────

    def sign_in(self) -> SignIn:
        """How the sign-in stands now; asks nobody."""
        return self._refresher.sign_in()

    async def access_token(self, *, force: bool = False) -> str:
        """An access token that serves. Raises SignInError, TransientError. `force`: a new one, or the error."""
        return await self._refresher.access_token(force=force)

    async def keep_fresh(self, on_change: Callable[[SignIn], None]) -> None:
        """The timer, until it is cancelled; tells how the sign-in stands at first and at each change."""
        await self._refresher.keep_fresh(on_change)

    async def wait_for_sign_in(self) -> None:
        """Until there is a usable token file that Schwab has not refused."""
        await self._refresher.wait_for_sign_in()

    def refuse(self, reason: str) -> None:
        """The streamer refuses a fresh access token: `auth_required` until another login, or `accept`."""
        self._refresher.refuse(reason)

    def accept(self) -> None:
        """The streamer let us in."""
        self._refresher.accept()

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────

    async def streamer(self) -> Streamer:
        """The streamer's address and identifiers, fresh for one connection."""
        answer = await self.get("/trader/v1/userPreference", {})
        if (found := parse_streamer(answer.body)) is None:
            raise TransientError("userPreference names no streamer", next_step="Schwab's side; it is asked again")
        return found

    async def quotes(self, symbols: tuple[str, ...]) -> Answer:
        """The quotes of up to 500 symbols, indices among them."""
        return await self.get("/marketdata/v1/quotes", {"symbols": ",".join(symbols), "fields": "quote"})

    async def price_history(self, symbol: str, start_ms: int, end_ms: int) -> Answer:
        """One-minute candles with extended hours; times are epoch milliseconds."""
        return await self.get(
            "/marketdata/v1/pricehistory",
            {
                "symbol": symbol,
                "periodType": "day",
                "frequencyType": "minute",
                "frequency": "1",
                "startDate": str(start_ms),
                "endDate": str(end_ms),
                "needExtendedHoursData": "true",
            },
        )

    async def get(self, path: str, params: dict[str, str]) -> Answer:
        """GET with the bearer token; one forced refresh on 401. Raises TransientError for all but 200, SignInError."""
        token = await self.access_token()
        response = await self._paced(path, params, token)
        if response.status_code == 401 and not self._refresher.is_new(token):
            response = await self._paced(path, params, await self._refresher.new_token(token))
        if response.status_code != 200:
            raise self._trouble(path, response)
        return Answer(path, params, response.status_code, response.content)

    def _trouble(self, path: str, response: httpx.Response) -> TransientError:
        status = response.status_code
        words = detail(response.text, response.headers.get("content-type", ""))
        step = "it is asked again"
        if status == 429:
            self._pace.throttled(retry_after_s(response))
            step = f"it is asked again after {self._pace.closed_s():.0f} s, half as often as before"
        if status == 401:
            step = 'the app must read "Ready For Use" and have both API products; it is asked again'
        return BadAnswer(status, f"Schwab answered {status} to {path}" + (f": {words}" if words else ""), step)

    async def _paced(self, path: str, params: dict[str, str], token: str) -> httpx.Response:
        if (closed_s := self._pace.closed_s()) > LONGEST_PACE_S:
            raise TransientError(
                f"Schwab asked for fewer requests; the next one in {closed_s:.0f} s", next_step="it is asked again"
            )
        if (wait_s := self._pace.reserve()) > 0:
            await asyncio.sleep(wait_s)
        headers = {"Authorization": f"Bearer {token}"}
        return await send(self._client, self._on_date_ms, "GET", path, params=params, headers=headers)


def parse_streamer(body: bytes) -> Streamer | None:
    """The streamer that a `userPreference` body names: an object, or a list of one; None if it names none."""
    try:
        document: Any = json.loads(body)
        if isinstance(document, list):
            document = document[0]
        info = document["streamerInfo"][0]
        return msgspec.convert(
            {
                "url": info["streamerSocketUrl"],
                "customer_id": info["schwabClientCustomerId"],
                "correl_id": info["schwabClientCorrelId"],
                "channel": info["schwabClientChannel"],
                "function_id": info["schwabClientFunctionId"],
            },
            Streamer,
        )
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None


class _Candle(msgspec.Struct, gc=False):
    open: float
    high: float
    low: float
    close: float
    volume: float
    datetime: int


class _History(msgspec.Struct):
    symbol: str
    candles: list[_Candle] = []


def parse_candles(body: bytes) -> tuple[str, list[Candle]] | None:
    """The symbol and its candles, oldest first; None if the body is no price history."""
    try:
        history = msgspec.json.decode(body, type=_History)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    candles = [
        Candle(
            c.datetime * 1000,
            round(c.open * PRICE_SCALE),
            round(c.high * PRICE_SCALE),
            round(c.low * PRICE_SCALE),
            round(c.close * PRICE_SCALE),
            int(c.volume),
        )
        for c in history.candles
    ]
    return history.symbol, sorted(candles, key=lambda candle: candle.minute_us)
