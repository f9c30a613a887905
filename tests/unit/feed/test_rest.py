"""Schwab's REST against a real small server: refresh, dead sign-in, trouble that passes, candles."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from alphakite.errors import ConfigError, TransientError
from alphakite.feed.schwab.rest import SchwabRest, Streamer, parse_candles
from alphakite.feed.schwab.tokens import TokenFile
from alphakite.model import Candle

R6 = (
    r'{"error":"unsupported_token_type","error_description":"400 Bad Request: \"{\"error_description\":\"Exception '
    r"while authenticating refresh token [tokenDigest=0123abcd, Exception=Failed refresh token authentication "
    r'[tokenDigest=0123abcd]]\",\"error\":\"refresh_token_authentication_error\"}\""}'
)
"""A dead refresh token, literally, from the Schwab reference: it is not even sound JSON."""
INFO = {
    "streamerSocketUrl": "ws://127.0.0.1:8765/ws",
    "schwabClientCustomerId": "customer",
    "schwabClientCorrelId": "correl",
    "schwabClientChannel": "N9",
    "schwabClientFunctionId": "APIAPP",
}
HTML = "<html><body>502 Bad Gateway</body></html>"
DATE_MS = 1_381_239_000_000
DATE = "Tue, 08 Oct 2013 13:30:00 GMT"


class Schwab:
    """The server's answers, settable, and what it was asked."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.refresh: tuple[int, str] = (200, json.dumps({"access_token": "second", "expires_in": 1800}))
        self.asked: list[str] = []
        self.bearers: list[str] = []
        self.url = ""
        self.silent: asyncio.Event | None = None

    async def get(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        self.bearers.append(request.headers["Authorization"])
        if self.silent is not None:
            await self.silent.wait()
            return web.Response()
        return self.answers.pop(0)

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.asked.append(" ".join((request.path, str(form["grant_type"]), str(form["refresh_token"]))))
        self.bearers.append(request.headers["Authorization"])
        status, text = self.refresh
        return web.Response(status=status, text=text, headers={"Date": DATE})


@pytest.fixture
async def schwab() -> AsyncIterator[Schwab]:
    made = Schwab()
    app = web.Application()
    app.router.add_post("/v1/oauth/token", made.token)
    app.router.add_get("/{path:.*}", made.get)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    path = tmp_path / "token.json"
    token = {"access_token": "first", "refresh_token": "REFRESH", "expires_at": time.time() + 1800}
    path.write_text(json.dumps({"creation_timestamp": 1, "token": token}))
    return TokenFile(path)


@pytest.fixture
def dates() -> list[int]:
    return []


@pytest.fixture
async def rest(schwab: Schwab, tokens: TokenFile, dates: list[int]) -> AsyncIterator[SchwabRest]:
    made = SchwabRest(schwab.url, "KEY", "SECRET", tokens, dates.append)
    yield made
    await made.close()


async def test_the_streamer_is_named_by_user_preference(schwab: Schwab, rest: SchwabRest) -> None:
    """In either shape that was seen: an object, or a list of one."""
    for body in ({"streamerInfo": [INFO]}, [{"streamerInfo": [INFO]}]):
        schwab.answers.append(web.json_response(body))
        assert await rest.streamer() == Streamer("ws://127.0.0.1:8765/ws", "customer", "correl", "N9", "APIAPP")


@pytest.mark.parametrize(
    "body",
    ["", HTML, "null", "[]", "{}", '{"streamerInfo":[]}', '{"streamerInfo":null}', '{"streamerInfo":[{}]}', "7"]
    + [json.dumps({"streamerInfo": [INFO | {name: value}]}) for name in INFO for value in (None, 7)],
)
async def test_a_user_preference_without_a_streamer_is_asked_again(schwab: Schwab, rest: SchwabRest, body: str) -> None:
    schwab.answers.append(web.Response(text=body))
    with pytest.raises(TransientError, match="names no streamer"):
        await rest.streamer()


async def test_a_401_is_answered_by_one_refresh(schwab: Schwab, rest: SchwabRest, tokens: TokenFile) -> None:
    schwab.answers += [web.Response(status=401), web.json_response({"candles": []})]
    answer = await rest.price_history("SPY", 1, 2)
    assert (answer.status, json.loads(answer.body)) == (200, {"candles": []})
    assert answer.params["symbol"] == "SPY"
    assert schwab.asked[1] == "/v1/oauth/token refresh_token REFRESH"
    assert schwab.bearers[0] == "Bearer first"
    assert schwab.bearers[1] == httpx.BasicAuth("KEY", "SECRET")._auth_header
    assert schwab.bearers[2] == "Bearer second"
    assert tokens.token()["access_token"] == "second"


async def test_two_401_in_a_row_are_given_up_for_now(schwab: Schwab, rest: SchwabRest) -> None:
    schwab.answers += [web.Response(status=401), web.Response(status=401)]
    with pytest.raises(TransientError, match="401"):
        await rest.get("/x", {})
    assert len(schwab.asked) == 3


async def test_a_token_that_ends_soon_is_refreshed_first(schwab: Schwab, rest: SchwabRest, tokens: TokenFile) -> None:
    tokens.store({"expires_in": 200})
    assert await rest.access_token() == "second"
    assert await rest.access_token() == "second"
    assert len(schwab.asked) == 1
    assert await rest.access_token(force=True) == "second"
    assert len(schwab.asked) == 2


@pytest.mark.parametrize(
    ("status", "body"), [(400, R6), (401, '{"error":"invalid_client"}'), (400, '{"error":"invalid_grant"}')]
)
async def test_a_dead_sign_in_needs_a_person(schwab: Schwab, rest: SchwabRest, status: int, body: str) -> None:
    schwab.refresh = (status, body)
    with pytest.raises(ConfigError) as refused:
        await rest.access_token(force=True)
    assert "sign in again" in refused.value.next_step
    for secret in ("REFRESH", "SECRET", "KEY", "first", "0123abcd"):
        assert secret not in str(refused.value) + refused.value.next_step


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, HTML),
        (502, ""),
        (429, "{}"),
        (400, HTML),
        (200, HTML),
        (200, ""),
        (200, "[]"),
        (200, "{}"),
        (200, '{"access_token":""}'),
        (200, '{"access_token":"x","expires_in":"soon"}'),
    ],
)
async def test_trouble_at_the_token_endpoint_passes(
    schwab: Schwab, rest: SchwabRest, tokens: TokenFile, status: int, body: str
) -> None:
    """The token at hand stays."""
    schwab.refresh = (status, body)
    with pytest.raises(TransientError):
        await rest.access_token(force=True)
    assert tokens.token()["access_token"] == "first"


@pytest.mark.parametrize("status", [400, 404, 429, 500, 502, 503])
async def test_any_answer_but_200_is_trouble_that_passes(schwab: Schwab, rest: SchwabRest, status: int) -> None:
    schwab.answers.append(web.Response(status=status, text=HTML))
    with pytest.raises(TransientError, match=str(status)) as failed:
        await rest.get("/marketdata/v1/pricehistory", {})
    assert "first" not in str(failed.value)


async def test_a_server_that_is_away(tokens: TokenFile) -> None:
    with socket.socket() as bound:  # bound and not listening: a connection is refused
        bound.bind(("127.0.0.1", 0))
        away = SchwabRest(f"http://127.0.0.1:{bound.getsockname()[1]}", "KEY", "SECRET", tokens, lambda _ms: None)
        with pytest.raises(TransientError, match="cannot be reached"):
            await away.get("/x", {})
        await away.close()


async def test_a_server_that_does_not_answer(schwab: Schwab, rest: SchwabRest) -> None:
    """The limit is shortened, so that the test need not wait ten seconds."""
    rest._client.timeout = httpx.Timeout(5.0, read=0.05)
    schwab.silent = asyncio.Event()
    with pytest.raises(TransientError, match="ReadTimeout"):
        await rest.get("/x", {})
    schwab.silent.set()


async def test_every_answer_tells_its_date(schwab: Schwab, rest: SchwabRest, dates: list[int]) -> None:
    """Also a refusal's and the token endpoint's; a date that is none is no trouble."""
    schwab.answers += [
        web.Response(status=401, headers={"Date": DATE}),
        web.Response(status=200, headers={"Date": DATE}),
        web.Response(status=200, headers={"Date": "half past nine"}),
    ]
    await rest.get("/x", {})
    await rest.get("/x", {})
    assert dates == [DATE_MS] * 3


CANDLE = '{"open":1.1,"high":2,"low":0.00000001,"close":604.12,"volume":7.0,"datetime":%d}'


def test_candles_are_exact_and_oldest_first() -> None:
    body = f'{{"symbol":"SPY","empty":false,"candles":[{CANDLE % 120_000},{CANDLE % 60_000}],"previousClose":3}}'
    found = parse_candles(body.encode())
    assert found is not None
    symbol, candles = found
    assert symbol == "SPY"
    assert candles == [Candle(minute * 60_000_000, 110_000_000, 200_000_000, 1, 60_412_000_000, 7) for minute in (1, 2)]


def test_an_empty_history_is_one() -> None:
    assert parse_candles(b'{"symbol":"SPY","empty":true,"candles":[]}') == ("SPY", [])
    assert parse_candles(b'{"symbol":"SPY","empty":true}') == ("SPY", [])


@pytest.mark.parametrize(
    "body",
    [
        "",
        HTML,
        "null",
        "[]",
        "{}",
        '{"candles":[]}',
        '{"symbol":"SPY","candles":null}',
        '{"symbol":"SPY","candles":[{}]}',
        '{"symbol":"SPY","candles":[7]}',
        (f'{{"symbol":"SPY","candles":[{CANDLE % 1}]}}')[:-3],
        f'{{"symbol":"SPY","candles":[{CANDLE % 1}]}}'.replace("604.12", '"NaN"'),
        f'{{"symbol":"SPY","candles":[{CANDLE % 1}]}}'.replace("604.12", "NaN"),
        f'{{"symbol":"SPY","candles":[{CANDLE % 1}]}}'.replace("604.12", "1e400"),
        f'{{"symbol":"SPY","candles":[{CANDLE % 1}]}}'.replace("604.12", "null"),
        "[" * 100_000,
    ],
)
def test_a_body_that_is_no_history_is_none(body: str) -> None:
    assert parse_candles(body.encode()) is None


@given(st.binary())
def test_random_bytes_are_no_history(body: bytes) -> None:
    assert parse_candles(body) is None
