"""Schwab's REST against a real small server: refresh, timer, dead sign-in, trouble that passes, pace, candles."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from alphakite.errors import SignInError, TransientError
from alphakite.feed.schwab import refresh
from alphakite.feed.schwab.answers import classify, detail
from alphakite.feed.schwab.pace import Pace
from alphakite.feed.schwab.rest import SchwabRest, Streamer, parse_candles
from alphakite.feed.schwab.tokens import SignIn, TokenFile
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
        self.headers: dict[str, str] = {}

    @property
    def refreshes(self) -> int:
        return sum(line.startswith("/v1/oauth/token") for line in self.asked)

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
        if self.silent is not None:
            await self.silent.wait()
        status, text = self.refresh
        kind = "text/html" if text.startswith("<") else "application/json"
        return web.Response(status=status, text=text, content_type=kind, headers={"Date": DATE} | self.headers)


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
    with pytest.raises(SignInError) as refused:
        await rest.access_token(force=True)
    assert "alphakite auth" in refused.value.next_step
    assert "error" in str(refused.value) or "invalid" in str(refused.value)
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


@pytest.mark.parametrize(
    ("status", "body", "kind", "verdict"),
    [
        (200, '{"access_token":"x"}', "application/json", "ok"),
        (200, HTML, "text/html", "transient"),
        (200, HTML, "", "transient"),
        (400, R6, "application/json", "dead"),
        (400, '{"error":"unsupported_token_type","error_description":"... invalid_grant ..."}', "", "dead"),
        (400, '{"error":"invalid_grant"}', "", "dead"),
        (401, '{"error":"invalid_client","error_description":"refresh token invalid"}', "", "dead"),
        (401, "{}", "application/json", "transient"),
        (400, '{"error":"invalid_request"}', "", "transient"),
        (400, f"<html>{R6}</html>", "text/html", "transient"),
        (403, "<html><title>Access Denied</title></html>", "text/html", "transient"),
        (500, R6, "application/json", "transient"),
        (503, "", "", "transient"),
        (429, "", "", "throttled"),
        (429, HTML, "text/html", "throttled"),
    ],
)
def test_the_decision_table(status: int, body: str, kind: str, verdict: str) -> None:
    """Reference §1.4: what is dead, what passes, what is asked more slowly."""
    assert classify(status, body, kind) == verdict


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"errors":[{"id":"1","status":"400","title":"Bad Request","detail":"no"}]}', "Bad Request; no"),
        ('{"errors":[{"id":"1","status":401,"title":"Unauthorized"}]}', "Unauthorized"),
        ('{"message":"m","errors":["e"]}', "m; e"),
        ('{"fault":{"faultstring":"Body buffer overflow","detail":{"errorcode":"protocol.http.TooBigBody"}}}',
         "Body buffer overflow; protocol.http.TooBigBody"),
        ("<html><head><title>Access Denied</title></head></html>", "a page: Access Denied"),
        ("<p>", "a page instead of an answer"),
        ("", ""),
        ("[]", ""),
        ('{"error":"invalid_grant","error_description":"I0.aW52ZW50ZWQ12.bm90LWEtdG9rZW4@ is dead"}',
         "invalid_grant; … is dead"),
    ],
)  # fmt: skip
def test_schwabs_own_words(body: str, said: str) -> None:
    """Each shape of §2.1, and nothing that could be a token."""
    assert detail(body) == said


@given(st.text())
def test_words_of_anything_are_short(body: str) -> None:
    assert len(detail(body)) <= 200 and detail(body).isprintable()


async def test_a_dead_sign_in_is_not_tried_again(schwab: Schwab, rest: SchwabRest, tokens: TokenFile) -> None:
    """No storm of refreshes; the access token still serves; a new file, and only that, is tried."""
    schwab.refresh = (400, R6)
    for _ in range(3):
        with pytest.raises(SignInError, match="dead"):
            await rest.access_token(force=True)
    assert schwab.refreshes == 1
    assert await rest.access_token() == "first"
    assert (rest.sign_in().state, "refresh_token_authentication_error" in rest.sign_in().reason) == (
        "auth_required",
        True,
    )
    os.utime(tokens.path)
    with pytest.raises(SignInError):
        await rest.access_token(force=True)
    assert schwab.refreshes == 1
    waiting = asyncio.create_task(rest.wait_for_sign_in())
    await asyncio.sleep(0)
    assert not waiting.done()
    sign_in_again(tokens, access_token="new", refresh_token="NEW")
    await asyncio.wait_for(waiting, 5)
    schwab.refresh = (200, json.dumps({"access_token": "newer"}))
    assert await rest.access_token(force=True) == "newer"
    assert rest.sign_in().state == "ok"


async def test_a_missing_file_is_waited_for(schwab: Schwab, tmp_path: Path) -> None:
    rest = SchwabRest(schwab.url, "KEY", "SECRET", TokenFile(tmp_path / "none.json"), lambda _ms: None)
    with pytest.raises(SignInError):
        await rest.access_token()
    assert rest.sign_in().state == "missing"
    waiting = asyncio.create_task(rest.wait_for_sign_in())
    await asyncio.sleep(0)
    sign_in_again(TokenFile(tmp_path / "none.json"))
    await asyncio.wait_for(waiting, 5)
    assert await rest.access_token() == "first"
    await rest.close()


@pytest.mark.parametrize("refusal", [(503, HTML), (400, R6), (200, HTML), (429, "{}")])
async def test_the_old_access_token_serves_to_its_end(
    schwab: Schwab, rest: SchwabRest, tokens: TokenFile, refusal: tuple[int, str]
) -> None:
    """Whatever is wrong with the refresh; after the end the trouble shows."""
    tokens.store({"expires_in": 200})
    schwab.refresh = refusal
    assert await rest.access_token() == "first"
    assert await rest.access_token() == "first"
    assert schwab.refreshes == 1
    tokens.now_s = lambda: time.time() + 300
    with pytest.raises((TransientError, SignInError)):
        await rest.access_token()


async def test_a_429_at_the_token_endpoint_brings_half_a_minute_of_silence(
    schwab: Schwab, rest: SchwabRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    schwab.refresh = (429, "{}")
    with pytest.raises(TransientError, match="429"):
        await rest.access_token(force=True)
    schwab.refresh = (200, json.dumps({"access_token": "second"}))
    with pytest.raises(TransientError, match=r"not asked for (30|29) s"):
        await rest.access_token(force=True)
    now = time.monotonic
    monkeypatch.setattr(refresh.time, "monotonic", lambda: now() + 30)
    assert await rest.access_token(force=True) == "second"


async def test_a_token_endpoint_that_does_not_answer(
    schwab: Schwab, rest: SchwabRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "REFRESH_WITHIN_S", 0.05)
    schwab.silent = asyncio.Event()
    with pytest.raises(TransientError, match="does not answer"):
        await rest.access_token(force=True)
    schwab.silent.set()


async def test_two_recorders_of_one_sign_in_refresh_once(schwab: Schwab, tokens: TokenFile) -> None:
    """The slower one takes what the faster one got."""
    tokens.store({"expires_in": 200})
    made = [SchwabRest(schwab.url, "KEY", "SECRET", TokenFile(tokens.path), lambda _ms: None) for _ in range(3)]
    assert await asyncio.gather(*(one.access_token() for one in made)) == ["second"] * 3
    assert schwab.refreshes == 1
    for one in made:
        await one.close()


async def test_a_401_after_another_process_refreshed_needs_no_refresh(
    schwab: Schwab, rest: SchwabRest, tokens: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = tokens.token()["access_token"]
    TokenFile(tokens.path).store({"access_token": "of another"})
    schwab.answers += [web.Response(status=401), web.Response(status=200)]
    monkeypatch.setattr(rest._refresher, "access_token", lambda force: asyncio.sleep(0, used))
    await rest.get("/x", {})
    assert (schwab.refreshes, schwab.bearers) == (0, ["Bearer first", "Bearer of another"])


async def test_an_app_that_may_not_ask_makes_no_storm_of_refreshes(schwab: Schwab, rest: SchwabRest) -> None:
    """A 401 to a token that is seconds old: the words of Schwab, what to look at, and no further refresh."""
    body = {"errors": [{"title": "Unauthorized", "detail": "Client not authorized"}]}
    schwab.answers += [web.json_response(body, status=401) for _ in range(4)]
    for _ in range(3):
        with pytest.raises(TransientError, match="401 to /x: Unauthorized; Client not authorized") as failed:
            await rest.get("/x", {})
        assert "Ready For Use" in failed.value.next_step
    assert schwab.refreshes == 1


async def test_quotes(schwab: Schwab, rest: SchwabRest) -> None:
    schwab.answers.append(web.json_response({}))
    answer = await rest.quotes(("$SPX", "QQQ   251021C00390000"))
    assert answer.params["symbols"] == "$SPX,QQQ   251021C00390000"
    asked = httpx.URL(schwab.asked[0])
    assert (asked.path, asked.params["symbols"]) == ("/marketdata/v1/quotes", answer.params["symbols"])


async def test_a_login_that_the_streamer_refuses(schwab: Schwab, rest: SchwabRest, tokens: TokenFile) -> None:
    """It needs a person although refreshes work; another login ends the wait, and so does being let in."""
    for end in (lambda: sign_in_again(tokens), rest.accept):
        rest.refuse("denied twice")
        await rest.access_token(force=True)
        assert (rest.sign_in().state, rest.sign_in().reason) == ("auth_required", "denied twice")
        waiting = asyncio.create_task(rest.wait_for_sign_in())
        await asyncio.sleep(0)
        assert not waiting.done()
        end()
        await asyncio.wait_for(waiting, 5)
        assert not rest.sign_in().needs_login
    assert schwab.refreshes == 2


class Told:
    """What `on_change` was told."""

    def __init__(self) -> None:
        self.states: list[SignIn] = []
        self.news = asyncio.Event()

    def __call__(self, found: SignIn) -> None:
        self.states.append(found)
        self.news.set()

    async def until(self, wanted: Callable[[SignIn], bool]) -> None:
        async with asyncio.timeout(10):
            while not (self.states and wanted(self.states[-1])):
                self.news.clear()
                await self.news.wait()


async def test_the_timer_keeps_the_sign_in_alive(schwab: Schwab, tokens: TokenFile) -> None:
    """By the clock given: refreshed before its end, a dead token told once and not tried again, a new file seen."""
    now_s = time.time()
    tokens.now_s = lambda: now_s
    rest, told = SchwabRest(schwab.url, "KEY", "SECRET", tokens, lambda _ms: None), Told()
    timer = asyncio.create_task(rest.keep_fresh(told))
    await told.until(lambda found: found.state == "expiring")  # created in 1970
    assert schwab.refreshes == 0
    sign_in_again(tokens)
    await told.until(lambda found: found.state == "ok")
    now_s += 1800 - 230
    await told.until(lambda found: found.access_expires_s == int(now_s) + 1800)
    assert schwab.refreshes == 1
    schwab.refresh = (400, R6)
    now_s += 1800
    await told.until(lambda found: found.state == "auth_required")
    asked = schwab.refreshes
    tokens.path.unlink()
    await told.until(lambda found: found.state == "missing")
    sign_in_again(tokens, refresh_token="NEW")
    await told.until(lambda found: found.state == "ok")
    assert schwab.refreshes == asked == 2
    timer.cancel()
    await asyncio.gather(timer, return_exceptions=True)
    await rest.close()


async def test_the_timer_survives_a_listener_that_fails(rest: SchwabRest, tokens: TokenFile) -> None:
    told = Told()

    def fails_first(found: SignIn) -> None:
        told(found)
        if len(told.states) == 1:
            raise RuntimeError("SECRET")

    timer = asyncio.create_task(rest.keep_fresh(fails_first))
    await told.until(lambda _found: True)
    sign_in_again(tokens, access_token="other")
    await told.until(lambda found: found.login_at_s > 1)
    timer.cancel()
    await asyncio.gather(timer, return_exceptions=True)


def sign_in_again(tokens: TokenFile, **changes: Any) -> None:
    """What `alphakite auth` does to the file."""
    now_s = tokens.now_s()
    token = {"access_token": "first", "refresh_token": "REFRESH", "expires_at": now_s + 1800} | changes
    tokens.replace({"creation_timestamp": now_s, "token": token})


def test_the_pace() -> None:
    """Ten at once, then two in a second; a 429 brings half a minute of silence and half the rate, for some minutes."""
    now = 100.0
    pace = Pace(monotonic=lambda: now)
    assert [pace.reserve() for _ in range(12)] == [0.0] * 10 + [0.5, 1.0]
    now += 10
    assert pace.reserve() == 0.0
    pace.throttled()
    assert (pace.closed_s(), pace.rate_per_s, pace.reserve()) == (30.0, 1.0, 30.0)
    pace.throttled(retry_after_s=90)
    assert (pace.closed_s(), pace.rate_per_s) == (90.0, 0.5)
    for rate in (1.0, 2.0, 2.0):
        now += 300
        assert (pace.reserve(), pace.rate_per_s, pace.closed_s()) == (0.0, rate, 0.0)


async def test_a_429_closes_the_door_for_a_while(schwab: Schwab, rest: SchwabRest) -> None:
    schwab.answers.append(web.Response(status=429, headers={"Retry-After": "77"}))
    with pytest.raises(TransientError, match="429") as failed:
        await rest.get("/x", {})
    assert "77 s" in failed.value.next_step
    with pytest.raises(TransientError, match=r"fewer requests; the next one in 7[67] s"):
        await rest.get("/x", {})
    assert len(schwab.asked) == 1


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
