"""Schwab's REST: the token endpoint, `userPreference`, `pricehistory`.

In:   settings and the token file.      Out:  answers as bytes; every answer's `Date` is told to `on_date_ms`.
Transient troubles raise TransientError; a dead sign-in ConfigError with the next step. No secret is in any message.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from alphakite.errors import ConfigError, TransientError
from alphakite.feed.schwab.tokens import TokenFile
from alphakite.model import PRICE_SCALE, Candle

DEAD_TOKEN = ("refresh_token_authentication_error", "invalid_grant", "unsupported_token_type", "invalid_client")


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


class SchwabRest:
    """One HTTP client. `on_date_ms` is called with each answer's Date, epoch milliseconds."""

    def __init__(
        self, base_url: str, app_key: str, app_secret: str, tokens: TokenFile, on_date_ms: Callable[[int], None]
    ) -> None:
        self._client = httpx.AsyncClient(base_url=base_url, timeout=10.0, headers={"Accept": "application/json"})
        self._auth = httpx.BasicAuth(app_key, app_secret)
        self._tokens = tokens
        self._on_date_ms = on_date_ms

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def access_token(self, *, force: bool = False) -> str:
        """A valid access token, refreshed if it ends soon."""
        if force or self._tokens.stale():
            await self._refresh()
        return str(self._tokens.token()["access_token"])

    async def streamer(self) -> Streamer:
        """The streamer's address and identifiers, fresh for one connection."""
        answer = await self.get("/trader/v1/userPreference", {})
        try:
            document: Any = json.loads(answer.body)
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
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise TransientError(
                "userPreference names no streamer", next_step="Schwab's side; it is asked again"
            ) from error

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
        """GET with the bearer token; one forced refresh on 401. Raises TransientError for all but a 200."""
        for attempt in (0, 1):
            token = await self.access_token(force=attempt > 0)
            response = await self._send("GET", path, params=params, headers={"Authorization": f"Bearer {token}"})
            if response.status_code != 401:
                break
        if response.status_code != 200:
            raise TransientError(f"Schwab answered {response.status_code} to {path}", next_step="it is asked again")
        return Answer(path, params, response.status_code, response.content)

    async def _refresh(self) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": str(self._tokens.token()["refresh_token"])}
        response = await self._send("POST", "/v1/oauth/token", data=form, auth=self._auth)
        if response.status_code == 200:
            try:
                answer = response.json()
                if not answer["access_token"]:
                    raise KeyError("access_token")
                self._tokens.store(answer)
            except (ValueError, KeyError, TypeError) as error:
                raise TransientError("the token endpoint answered no token", next_step="it is asked again") from error
            return
        if response.status_code in (400, 401) and any(mark in response.text for mark in DEAD_TOKEN):
            raise ConfigError(
                "the Schwab sign-in is dead", next_step="sign in again and start again: the token file is refused"
            )
        raise TransientError(f"the token endpoint answered {response.status_code}", next_step="it is asked again")

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise TransientError(
                f"Schwab cannot be reached: {type(error).__name__} ({self._client.base_url})",
                next_step="it is tried again",
            ) from error
        if stamp := response.headers.get("date"):
            with contextlib.suppress(ValueError, OverflowError):
                self._on_date_ms(int(email.utils.parsedate_to_datetime(stamp).timestamp() * 1000))
        return response


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
