"""One login: the address, what comes back, the code's exchange, and the listener at the callback address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from alphakite.errors import SignInError, TransientError, UnavailableError
from alphakite.feed.schwab import callback as module
from alphakite.feed.schwab.callback import START_PATH, CallbackListener, is_local, server_context
from alphakite.feed.schwab.oauth import Login, explain, parse_redirect

KEY, SECRET = "APPKEYAPPKEYAPPKEYAPPKEYAPPKEY00", "APPSECRETAPPSECR"
CODE = "C0.b2F1dGgy.aW52ZW50ZWQ+x/y=@"
ENCODED = "C0.b2F1dGgy.aW52ZW50ZWQ%2Bx%2Fy%3D%40"
CALLBACK = "https://127.0.0.1:8182"
TOKENS = {"access_token": "ACCESS-TOKEN", "refresh_token": "REFRESH-TOKEN", "expires_in": 1800, "id_token": None}
CDN = "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD></HTML>"
WHITELABEL = "<html><body><h1>Whitelabel Error Page</h1></body></html>"
DATE, DATE_S = "Tue, 08 Oct 2013 13:30:00 GMT", 1_381_239_000
INFO = {
    "streamerSocketUrl": "ws://127.0.0.1:8765/ws",
    "schwabClientCustomerId": "customer",
    "schwabClientCorrelId": "correl",
    "schwabClientChannel": "N9",
    "schwabClientFunctionId": "APIAPP",
}


class Schwab:
    """The token endpoint and `userPreference`, their answers settable."""

    def __init__(self) -> None:
        self.token: tuple[int, str] = (200, json.dumps(TOKENS))
        self.preference: tuple[int, str] = (200, json.dumps({"streamerInfo": [INFO]}))
        self.forms: list[dict[str, str]] = []
        self.authorizations: list[str] = []
        self.now_s = 0.0

    async def post(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        return self._answer(request, self.token)

    async def get(self, request: web.Request) -> web.Response:
        return self._answer(request, self.preference)

    def _answer(self, request: web.Request, answer: tuple[int, str]) -> web.Response:
        self.authorizations.append(request.headers["Authorization"])
        kind = "text/html" if answer[1].startswith("<") else "application/json"
        return web.Response(status=answer[0], text=answer[1], content_type=kind, headers={"Date": DATE})

    def told(self, date_ms: int) -> None:
        self.now_s = date_ms / 1000


@pytest.fixture
async def schwab() -> AsyncIterator[tuple[Schwab, Login]]:
    made = Schwab()
    app = web.Application()
    app.router.add_post("/v1/oauth/token", made.post)
    app.router.add_get("/trader/v1/userPreference", made.get)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    login = Login(url, KEY, SECRET, CALLBACK, lambda: made.now_s, made.told)
    yield made, login
    await login.close()
    await runner.cleanup()


async def test_the_address_to_open(schwab: tuple[Schwab, Login]) -> None:
    """What the reference §1.2 lists; the state is new for each login."""
    _, login = schwab
    parts = urlsplit(login.authorize_url())
    assert parts.path == "/v1/oauth/authorize"
    assert parse_qs(parts.query) == {
        "response_type": ["code"],
        "client_id": [KEY],
        "redirect_uri": [CALLBACK],
        "state": [login.state],
    }
    assert f"redirect_uri=https%3A%2F%2F127.0.0.1%3A8182&state={login.state}" in parts.query
    assert len(login.state) >= 16


@pytest.mark.parametrize(
    "text",
    [
        f"{CALLBACK}/?code={ENCODED}&session=0a1b&state=STATE",
        f"{CALLBACK}/?state=STATE&session=0a1b&code={ENCODED}",
        f"  '{CALLBACK}/?code={ENCODED}&session=0a1b&state=STATE'\n",
        f"{CALLBACK}/?code={ENCODED[:20]}\n{ENCODED[20:]}&state=STATE",
        f"127.0.0.1:8182/?code={ENCODED}&session=0a1b#",
        f"/?code={ENCODED}&session=0a1b&state=STATE",
        f"code={ENCODED}",
        ENCODED,
        CODE.replace("+", "%2B"),
        f"{CALLBACK}/?code={CODE}&session=0a1b",
    ],
)
def test_the_code_is_found_in_whatever_is_pasted(text: str) -> None:
    """The whole address bar, wrapped or without its scheme, or the bare code; decoded once."""
    assert parse_redirect(text, "STATE") == CODE


def test_it_is_decoded_once() -> None:
    assert parse_redirect(f"{CALLBACK}/?code=abcdefgh%2540") == "abcdefgh%40"
    assert parse_redirect("abcdefgh%2540") == "abcdefgh%40"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing was pasted"),
        (f"{CALLBACK}/", "no code"),
        ("hello", "no code"),
        ("https://api.schwabapi.com/v1/oauth/authorize?client_id=SECRET-KEY&redirect_uri=x", "the address to open"),
        (f"{CALLBACK}/?error=access_denied&state=STATE", "access was denied"),
        (f"{CALLBACK}/?error=server_error&state=STATE", "server_error"),
        (f"{CALLBACK}/?code=SECRET-CODE&state=ANOTHER", "another sign-in"),
        (f"{CALLBACK}/?code=&state=STATE", "no code"),
    ],
)
def test_what_holds_no_code_is_explained(text: str, said: str) -> None:
    with pytest.raises(SignInError, match=said) as refused:
        parse_redirect(text, "STATE")
    assert refused.value.next_step and "SECRET" not in f"{refused.value} {refused.value.next_step}"


@given(st.text())
def test_anything_pasted_is_a_code_or_an_explanation(text: str) -> None:
    try:
        assert parse_redirect(text, "STATE")
    except SignInError as error:
        assert error.next_step


async def test_a_code_becomes_a_token_document(schwab: tuple[Schwab, Login]) -> None:
    """In schwab-py's form, stamped by the Date of the answer where that is the clock."""
    server, login = schwab
    found = await login.exchange(CODE)
    assert server.forms == [{"grant_type": "authorization_code", "code": CODE, "redirect_uri": CALLBACK}]
    assert server.authorizations == [httpx.BasicAuth(KEY, SECRET)._auth_header]
    token = {"access_token": "ACCESS-TOKEN", "refresh_token": "REFRESH-TOKEN", "expires_in": 1800}
    assert found == {"creation_timestamp": DATE_S, "token": token | {"expires_at": DATE_S + 1800}}
    mark = await login.check_access(found)
    assert server.authorizations[1] == "Bearer ACCESS-TOKEN"
    assert len(mark) == 16 and "customer" not in mark


@pytest.mark.parametrize(
    ("status", "body", "said", "step"),
    [
        (400, '{"error":"invalid_request","error_description":"redirect_uri does not match"}', "not the registered",
         "letter for letter; a / at the end counts, and yours has none"),
        (400, '{"error":"invalid_grant","error_description":"code is invalid or has expired"}', "did not take the code",
         "30 seconds, and once"),
        (400, '{"error":"unsupported_token_type"}', "did not take the code", "letter for letter"),
        (401, '{"error":"invalid_client"}', "app key or the app secret is wrong", "SCHWAB_APP_SECRET"),
        (401, "", "app key or the app secret is wrong", "Ready For Use"),
        (500, WHITELABEL, "not approved yet", "Ready For Use"),
        (403, CDN, "front refused", "never localhost"),
        (200, CDN, "front refused", "wait some minutes"),
        (503, "", "trouble", "wait some minutes"),
        (429, "", "fewer sign-ins", "wait a minute"),
    ],
)  # fmt: skip
async def test_a_refused_exchange_explains_itself(
    schwab: tuple[Schwab, Login], status: int, body: str, said: str, step: str
) -> None:
    """What is most likely wrong and what to do; no code, key or secret."""
    server, login = schwab
    server.token = (status, body)
    with pytest.raises(SignInError, match=said) as refused:
        await login.exchange(CODE)
    assert step in refused.value.next_step
    assert str(status) in str(refused.value)
    for secret in (CODE, KEY, SECRET, "ACCESS", "REFRESH"):
        assert secret not in f"{refused.value} {refused.value.next_step}"


def test_a_slash_at_the_end_is_seen() -> None:
    body = '{"error":"invalid_request","error_description":"redirect"}'
    assert "yours has one" in explain(400, body, "", "https://127.0.0.1:8182/")[1]


@pytest.mark.parametrize("body", ["", "[]", "7", "{}", '{"access_token":"SECRET"}', '{"refresh_token":"SECRET"}'])
async def test_an_answer_without_tokens(schwab: tuple[Schwab, Login], body: str) -> None:
    server, login = schwab
    server.token = (200, body)
    with pytest.raises(TransientError, match="answered no token") as failed:
        await login.exchange(CODE)
    assert failed.value.__cause__ is None and "SECRET" not in str(failed.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, '{"errors":[{"title":"Unauthorized","detail":"Client not authorized"}]}', SignInError, "not authorized"),
        (403, "{}", SignInError, "may not ask"),
        (200, "{}", SignInError, "no streamer"),
        (200, CDN, TransientError, "200"),
        (403, CDN, TransientError, "Access Denied"),
        (500, "{}", TransientError, "500"),
    ],
)
async def test_a_login_that_may_not_ask_is_found_at_once(
    schwab: tuple[Schwab, Login], status: int, body: str, kind: type[Exception], said: str
) -> None:
    """A product that is missing, a login without a brokerage account; trouble of Schwab's is told apart."""
    server, login = schwab
    server.preference = (status, body)
    with pytest.raises(kind, match=said):
        await login.check_access({"token": TOKENS})


# ── the listener ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("https://127.0.0.1:8182", True),
        ("https://127.9.9.9", True),
        ("https://[::1]:8182/cb", True),
        ("https://localhost:8182", True),
        ("https://example.com/callback", False),
        ("https://192.168.1.7:8182", False),
    ],
)
def test_what_this_machine_is(url: str, local: bool) -> None:
    assert is_local(url) is local


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


async def ask(port: int, target: str, method: str = "GET") -> str:
    """One request by a browser that accepted the certificate; the whole answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_redirect_is_taken_once_and_nothing_else_ends_the_wait() -> None:
    """Favicon, plain http, a distrustful browser, another login's state: each is answered or dropped."""
    port = free_port()
    async with CallbackListener(f"https://127.0.0.1:{port}", "STATE", "https://schwab.example/authorize") as listener:
        waiting = asyncio.create_task(listener.redirect())
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /?code=x&state=STATE HTTP/1.1\r\n\r\n")
        with_no_tls = b""
        with contextlib.suppress(ConnectionError):
            with_no_tls = await asyncio.wait_for(reader.read(), 10)
        assert b"200" not in with_no_tls
        writer.close()
        for method, target, status in (
            ("GET", "/favicon.ico", 404),
            ("GET", "/", 404),
            ("GET", "/?code=x", 400),
            ("GET", "/?code=x&state=OTHER", 400),
            ("GET", "/elsewhere?code=x&state=STATE", 404),
            ("POST", "/?code=x&state=STATE", 405),
        ):
            assert (await ask(port, target, method)).startswith(f"HTTP/1.1 {status} "), target
        start = await ask(port, START_PATH)
        assert start.startswith("HTTP/1.1 302 ") and "Location: https://schwab.example/authorize\r\n" in start
        assert not waiting.done()
        answer = await ask(port, f"/?code={ENCODED}&session=1&state=STATE")
        assert answer.startswith("HTTP/1.1 200 ") and "replaceState" in answer and ENCODED not in answer
        assert parse_redirect(await asyncio.wait_for(waiting, 10), "STATE") == CODE
        assert (await ask(port, f"/?code={ENCODED}&state=STATE")).startswith("HTTP/1.1 410 ")
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_denied_access_comes_through() -> None:
    port = free_port()
    async with CallbackListener(f"https://localhost:{port}/cb", "STATE", "") as listener:
        await ask(port, "/cb?error=access_denied&state=STATE")
        with pytest.raises(SignInError, match="denied"):
            parse_redirect(await asyncio.wait_for(listener.redirect(), 10), "STATE")


@pytest.mark.parametrize("sent", [b"", b"GET", b"\x00" * 40_000, b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n"])
async def test_what_is_no_request_is_dropped(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_WITHIN_S", 0.2)
    port = free_port()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with CallbackListener(f"https://127.0.0.1:{port}", "STATE", "") as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        await ask(port, f"/?code={ENCODED}&state=STATE")
        assert await asyncio.wait_for(listener.redirect(), 10)


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"port {port} cannot be had") as failed:
            async with CallbackListener(f"https://127.0.0.1:{port}", "STATE", ""):
                raise AssertionError
        assert "paste" in failed.value.next_step


def test_the_key_of_the_certificate_stays_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    began = time.monotonic()
    server_context("127.0.0.1")
    assert list(tmp_path.iterdir()) == [] and time.monotonic() - began < 30
