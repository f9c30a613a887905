"""The REST side: token endpoint, userPreference, pricehistory. Every answer's `Date` is tape time, a refusal's too.

In lock-step the tape stands while a call is under way: the middleware tells the player, and writes the whole answer
before it lets the tape go on.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from email.utils import format_datetime

from aiohttp import web

from alphakite.model import Candle
from alphakite.sessions import EXCHANGE, session_at
from alphakite.simulator.level_one import price_text
from alphakite.simulator.oauth import TokenStore
from alphakite.simulator.player import Player
from alphakite.simulator.streamer import Streamer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DEAD_TOKEN = {
    "error": "unsupported_token_type",
    "error_description": (
        '400 Bad Request: "{"error_description":"Exception while authenticating refresh token '
        "[tokenDigest=0123abcd, Exception=Failed refresh token authentication [tokenDigest=0123abcd]]"
        '","error":"refresh_token_authentication_error"}"'
    ),
}
DEFAULT_PERIOD_DAYS = 10


class Rest:
    """Handlers of the REST routes."""

    def __init__(self, player: Player, tokens: TokenStore, streamer: Streamer) -> None:
        self._player = player
        self._tokens = tokens
        self._streamer = streamer

    def add_to(self, app: web.Application) -> None:
        """Add routes, middleware and the Date of tape time."""
        app.router.add_post("/v1/oauth/token", self._token)
        app.router.add_get("/trader/v1/userPreference", self._user_preference)
        app.router.add_get("/marketdata/v1/pricehistory", self._price_history)
        app.middlewares.append(self._stand_still)
        app.on_response_prepare.append(self._date)

    @web.middleware
    async def _stand_still(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/ws":
            return await handler(request)
        self._player.rest_began()
        try:
            response = await handler(request)
            await response.prepare(request)
            await response.write_eof()
            return response
        finally:
            self._player.rest_ended()

    async def _date(self, request: web.Request, response: web.StreamResponse) -> None:
        tape = datetime.fromtimestamp(self._player.tape_ms() // 1000, UTC)
        response.headers["Date"] = format_datetime(tape, usegmt=True)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if not self._tokens.knows_app(request.headers.get("Authorization", "")):
            return _json({"error": "invalid_client"}, 401)
        if form.get("grant_type") != "refresh_token":
            return _json({"error": "unsupported_grant_type", "error_description": "400 Bad Request"}, 400)
        token = self._tokens.refresh(str(form.get("refresh_token", "")))
        return _json(DEAD_TOKEN, 400) if token is None else _json(token)

    async def _user_preference(self, request: web.Request) -> web.Response:
        if not self._admitted(request):
            return _unauthorized()
        correl_id = str(uuid.uuid4())
        self._streamer.correl_ids.add(correl_id)
        return _json(
            {
                "accounts": [
                    {
                        "accountNumber": "00000000",
                        "primaryAccount": True,
                        "type": "BROKERAGE",
                        "nickName": "Individual",
                        "displayAcctId": "...000",
                        "autoPositionEffect": False,
                        "accountColor": "Green",
                        "lotSelectionMethod": "FIFO",
                    }
                ],
                "streamerInfo": [
                    {
                        "streamerSocketUrl": f"ws://{request.host}/ws",
                        "schwabClientCustomerId": self._tokens.customer_id,
                        "schwabClientCorrelId": correl_id,
                        "schwabClientChannel": "N9",
                        "schwabClientFunctionId": "APIAPP",
                    }
                ],
                "offers": [{"level2Permissions": False, "mktDataPermission": "NP"}],
            }
        )

    async def _price_history(self, request: web.Request) -> web.Response:
        if not self._admitted(request):
            return _unauthorized()
        query = request.query
        symbol = query.get("symbol", "")
        minutes = query.get("frequencyType", "minute") == "minute" and query.get("frequency", "1") == "1"
        if not symbol or not minutes or query.get("periodType", "day") != "day":
            return _bad_request("Only minute candles of periodType=day are played.")
        try:
            start_ms, end_ms = (int(query[name]) if name in query else None for name in ("startDate", "endDate"))
            period = int(query.get("period", DEFAULT_PERIOD_DAYS))
        except ValueError:
            return _bad_request("startDate, endDate and period are numbers.")
        market = self._player.market
        known = market.candles(symbol) if symbol in market.symbols else []
        extended = query.get("needExtendedHoursData", "true").lower() != "false"
        candles = [candle for candle in known if extended or _is_regular(candle)]
        if start_ms is None:
            candles = _newest_days(candles, period)
        candles = [
            candle
            for candle in candles
            if (start_ms or 0) <= candle.minute_us // 1000 and (end_ms is None or candle.minute_us // 1000 <= end_ms)
        ]
        text = f'{{"candles":[{",".join(map(_candle_text, candles))}],"symbol":{json.dumps(symbol)}'
        text += f',"empty":{"false" if candles else "true"}'
        close = market.previous_close.get(symbol)
        if query.get("needPreviousClose", "false").lower() == "true" and close is not None:
            day_us = market.history[symbol][-1].minute_us
            text += f',"previousClose":{_double(close)},"previousCloseDate":{_central_midnight_ms(day_us)}'
        return web.Response(text=text + "}", content_type="application/json")

    def _admitted(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and self._tokens.admits(token)


def _is_regular(candle: Candle) -> bool:
    session = session_at(candle.minute_us)
    return session is not None and session.regular_open_us <= candle.minute_us < session.regular_close_us


def _newest_days(candles: list[Candle], period: int) -> list[Candle]:
    """The candles of the newest `period` days that have any."""
    days = sorted({_day(candle) for candle in candles})[-period:] if period > 0 else []
    return [candle for candle in candles if days and _day(candle) >= days[0]]


def _day(candle: Candle) -> date:
    return datetime.fromtimestamp(candle.minute_us // 1_000_000, EXCHANGE).date()


def _central_midnight_ms(time_us: int) -> int:
    """Schwab stamps a day with midnight in Chicago, an hour after New York's."""
    day = datetime.fromtimestamp(time_us // 1_000_000, EXCHANGE)
    return int(day.replace(hour=1, minute=0, second=0).timestamp()) * 1000


def _double(price: int) -> str:
    """REST prints doubles as Java does: 100.0."""
    text = price_text(price)
    return text if "." in text else f"{text}.0"


def _candle_text(candle: Candle) -> str:
    prices = zip(("open", "high", "low", "close"), (candle.open, candle.high, candle.low, candle.close), strict=True)
    fields = ",".join(f'"{name}":{_double(price)}' for name, price in prices)
    return f'{{{fields},"volume":{candle.volume},"datetime":{candle.minute_us // 1000}}}'


def _json(value: object, status: int = 200) -> web.Response:
    text = json.dumps(value, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json")


def _error(status: int, title: str, detail: str) -> web.Response:
    return _json({"errors": [{"id": str(uuid.uuid4()), "status": status, "title": title, "detail": detail}]}, status)


def _unauthorized() -> web.Response:
    return _error(401, "Unauthorized", "Client not authorized")


def _bad_request(detail: str) -> web.Response:
    return _error(400, "Bad Request", detail)
