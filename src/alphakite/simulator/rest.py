"""The HTTP side: routes, bearer check, headers, faults. Every answer's `Date` is tape time, a refusal's too.

In lock-step the tape stands while a call is under way: the middleware tells the player, and writes the whole answer
before it lets the tape go on. A call that hangs by order is not under way: the tape goes on, as time would.
What is answered is in `rest_oauth`, `rest_quotes`, `rest_chains`, `rest_history`, `rest_markets`.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from alphakite.errors import UsageError
from alphakite.simulator import rest_chains, rest_history, rest_markets, rest_quotes
from alphakite.simulator.faults import NAMES, Faults
from alphakite.simulator.oauth import TokenStore
from alphakite.simulator.player import Player
from alphakite.simulator.rest_answers import (
    access_denied,
    answer,
    service_error,
    throttled,
    too_big,
    unauthorized,
)
from alphakite.simulator.rest_oauth import AT_AUTHORIZE, AUTHORIZE, TOKEN, OAuthRoutes
from alphakite.simulator.streamer import Streamer
from alphakite.simulator.switches import parse_switches
from alphakite.simulator.tls import API_HOST

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STREAMER_PATH = "/ws"
CORREL_ID, RESOURCE_VERSION = "Schwab-Client-CorrelId", "Schwab-Resource-Version"
HANG, NO_STREAMER = "hang", "nostreamer"
REST_FAULTS = {"html": "", HANG: "", "unauthorized": "", "toobig": "/chains", NO_STREAMER: "/userPreference"}
"""What `rest=` may order beside a status, and the part of a path that it waits for if none is named."""
LOOK_S = 0.05
"""How often a hanging call looks whether its client has gone."""


class Rest:
    """Handlers of the HTTP routes. `address`: HOST:PORT listened on, once it is known."""

    def __init__(
        self,
        player: Player,
        tokens: TokenStore,
        streamer: Streamer,
        *,
        faults: Faults | None = None,
        switches: Mapping[str, str] | None = None,
    ) -> None:
        """Raises UsageError for an `oauth=` or `rest=` order that could never be served."""
        self.address = ""
        self._player = player
        self._tokens = tokens
        self._streamer = streamer
        self._faults = Faults() if faults is None else faults
        self._switches = switches if switches is not None else parse_switches(())
        self._oauth = OAuthRoutes(tokens, self._switches["code-error"])
        self._check_orders()
        self._correl_id = str(uuid.uuid4())
        self._closing = asyncio.Event()

    def add_to(self, app: web.Application) -> None:
        """Add routes, middleware and the Date of tape time."""
        market = self._player.market
        now = self._player.tape_ms
        self._oauth.add_to(app)
        get: dict[str, Callable[[web.Request], web.Response]] = {
            "/trader/v1/userPreference": self._user_preference,
            "/marketdata/v1/quotes": lambda r: rest_quotes.quotes(market, r.query, now()),
            "/marketdata/v1/{symbol}/quotes": lambda r: rest_quotes.single_quote(
                market, r.match_info["symbol"], r.query, now()
            ),
            "/marketdata/v1/chains": lambda r: rest_chains.chain(market, r.query, now(), self._switches),
            "/marketdata/v1/expirationchain": lambda r: rest_chains.expirations(market, r.query, now()),
            "/marketdata/v1/pricehistory": lambda r: rest_history.price_history(market, r.query, now()),
            "/marketdata/v1/markets": lambda r: rest_markets.markets(r.query, now()),
            "/marketdata/v1/markets/{name}": lambda r: rest_markets.one_market(r.match_info["name"], r.query, now()),
            "/marketdata/v1/movers/{name}": lambda r: rest_markets.movers(market, r.match_info["name"], r.query),
            "/marketdata/v1/instruments": lambda r: rest_markets.instruments(market, r.query),
            "/marketdata/v1/instruments/{cusip}": lambda r: rest_markets.instrument(market, r.match_info["cusip"]),
        }
        for path, answer_to in get.items():
            app.router.add_get(path, _handler(answer_to))
        app.middlewares.append(self._stand_still)
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(self._date)

    def close(self) -> None:
        """Let hanging calls end."""
        self._closing.set()

    @web.middleware
    async def _stand_still(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == STREAMER_PATH:
            return await handler(request)
        if self._hangs(request):
            return await self._hang(request)
        self._player.rest_began()
        try:
            response = await handler(request)
            await response.prepare(request)
            await response.write_eof()
            return response
        finally:
            self._player.rest_ended()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == STREAMER_PATH:
            return await handler(request)
        response = await self._answered(request, handler)
        if not request.path.startswith("/v1/oauth/"):
            response.headers[CORREL_ID] = request.headers.get(CORREL_ID) or str(uuid.uuid4())
            response.headers[RESOURCE_VERSION] = "1"
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path.startswith("/v1/oauth/"):
                return self._oauth_fault(request) or await handler(request)
            faulty = self._rest_fault(request)
            if faulty is not None:
                return faulty
            if not self._tokens.admits(_bearer(request)):
                return unauthorized()
            return await handler(request)
        except web.HTTPException as error:
            return service_error(request.path, error.status)

    async def _date(self, request: web.Request, response: web.StreamResponse) -> None:
        tape = datetime.fromtimestamp(self._player.tape_ms() // 1000, UTC)
        response.headers["Date"] = format_datetime(tape, usegmt=True)

    # Faults.

    def _check_orders(self) -> None:
        for order in self._faults.orders:
            word = order.value.partition(":")[0]
            if order.name == "oauth":
                known = order.value in (HANG, AT_AUTHORIZE) or self._oauth.fault(order.value) is not None
            elif order.name == "rest":
                known = word in REST_FAULTS or _is_status(word)
            else:
                known = True
            if not known:
                raise UsageError(f"--fault {order.name}={order.value}: not a value", next_step=NAMES[order.name])

    def _take(self, name: str, accepts: Callable[[str], bool]) -> str | None:
        """The value of the first order of this name that is due and fits the occasion."""
        day, wall = self._player.moment()
        for order in self._faults.orders:
            if order.name == name and accepts(order.value) and self._faults.take(name, wall, order.value, day=day):
                return order.value
        return None

    def _hangs(self, request: web.Request) -> bool:
        if request.path == TOKEN:
            return self._take("oauth", lambda value: value == HANG) is not None
        if request.path == AUTHORIZE:
            return False
        return self._take("rest", lambda value: _fits(value, request.path, (HANG,))) is not None

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        while request.transport is not None and not request.transport.is_closing() and not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._closing.wait()
        return service_error(request.path, 504)

    def _oauth_fault(self, request: web.Request) -> web.Response | None:
        if request.path == AUTHORIZE:
            value = self._take("oauth", lambda value: value == AT_AUTHORIZE)
        else:
            value = self._take("oauth", lambda value: value != AT_AUTHORIZE and self._oauth.fault(value) is not None)
        return None if value is None else self._oauth.fault(value)

    def _rest_fault(self, request: web.Request) -> web.Response | None:
        words = ("html", "unauthorized", "toobig")
        value = self._take("rest", lambda value: _fits(value, request.path, words))
        if value is None:
            return None
        match value.partition(":")[0]:
            case "html":
                return access_denied()
            case "unauthorized":
                self._tokens.revoke(_bearer(request))
                return unauthorized()
            case "toobig":
                return too_big()
            case "401":
                return unauthorized()
            case "429":
                return throttled()
            case status:
                return service_error(request.path, int(status))

    # userPreference.

    def _user_preference(self, request: web.Request) -> web.Response:
        correl_id = self._correl_id if self._switches["correl-id"] == "kept" else str(uuid.uuid4())
        self._streamer.correl_ids.add(correl_id)
        preference: dict[str, object] = {
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
                    "streamerSocketUrl": self._socket_url(request),
                    "schwabClientCustomerId": self._tokens.customer_id,
                    "schwabClientCorrelId": correl_id,
                    "schwabClientChannel": "N9",
                    "schwabClientFunctionId": "APIAPP",
                }
            ],
            "offers": [{"level2Permissions": False, "mktDataPermission": "NP"}],
        }
        if self._take("rest", lambda value: _fits(value, request.path, (NO_STREAMER,))) is not None:
            del preference["streamerInfo"]
        return answer([preference] if self._switches["user-preference"] == "array" else preference)

    def _socket_url(self, request: web.Request) -> str:
        """At the address that the client has used; by a host name of Schwab's (the proxy), at our own."""
        secure = request.transport is not None and request.transport.get_extra_info("sslcontext") is not None
        host = self.address if request.host.partition(":")[0] == API_HOST else request.host
        return f"{'wss' if secure else 'ws'}://{host}{STREAMER_PATH}"


def _handler(answer_to: Callable[[web.Request], web.Response]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return answer_to(request)

    return handle


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


def _is_status(word: str) -> bool:
    return word.isdigit() and 400 <= int(word) < 600


def _fits(value: str, path: str, words: tuple[str, ...]) -> bool:
    """Whether `rest=WORD[:PATH]` is for this path; a status is a word when errors are asked for."""
    word, _, part = value.partition(":")
    if _is_status(word):
        return HANG not in words and NO_STREAMER not in words and part in path
    return word in words and (part or REST_FAULTS[word]) in path
