"""The simulator's OAuth over real sockets; a test's name begins with the section of Schwab's reference it holds to."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, time
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from alphakite.errors import UsageError
from alphakite.simulator import Simulator, SimulatorOptions, start
from alphakite.simulator.oauth import APP_KEY, Refused, TokenStore

DAY = date(2026, 11, 20)
CALLBACK = "https://127.0.0.1:8182"
OTHER = "https://127.0.0.1:9000/back?x=1"
DEADLINE_S = 20.0


class Form(HTMLParser):
    """Action, inputs and buttons of a page's form."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action, self.method = "", ""
        self.fields: dict[str, str] = {}
        self.buttons: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action, self.method = given["action"], given["method"]
        elif tag == "input":
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "button":
            self.buttons.append(given["value"])


class User:
    """A person with a browser, and an app with its key and secret."""

    def __init__(self, simulator: Simulator, http: aiohttp.ClientSession) -> None:
        self.simulator, self.http = simulator, http
        self.env = simulator.env()
        self.url = simulator.api_url
        self.saved = json.loads(simulator.token_file.read_text())["token"]

    async def page(self, **query: str) -> tuple[int, str]:
        asked = {"client_id": self.env["SCHWAB_APP_KEY"], "redirect_uri": CALLBACK} | query
        answer = await self.http.get(f"{self.url}/v1/oauth/authorize", params=asked)
        assert answer.content_type == "text/html"
        return answer.status, await answer.text()

    async def decide(self, decision: str = "approve", **query: str) -> str:
        """Where the browser is led."""
        status, text = await self.page(**query)
        form = Form(text)
        assert (status, form.method) == (200, "post")
        fields = form.fields | {"decision": decision}
        answer = await self.http.post(self.url + form.action, data=fields, allow_redirects=False)
        assert answer.status == 302
        return answer.headers["Location"]

    async def code(self, **query: str) -> str:
        return parse_qs(urlsplit(await self.decide(**query)).query)["code"][0]

    async def token(self, secret: str | None = None, **form: str) -> tuple[int, Any]:
        pair = f"{self.env['SCHWAB_APP_KEY']}:{secret or self.env['SCHWAB_APP_SECRET']}"
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        answer = await self.http.post(f"{self.url}/v1/oauth/token", data=form, headers=headers)
        text = await answer.text()
        return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def exchange(self, code: str, callback: str = CALLBACK) -> tuple[int, Any]:
        return await self.token(grant_type="authorization_code", code=code, redirect_uri=callback)

    async def refresh(self, token: str | None = None) -> tuple[int, Any]:
        return await self.token(grant_type="refresh_token", refresh_token=token or self.saved["refresh_token"])

    async def call(self, access: str | None = None, path: str = "/trader/v1/userPreference") -> int:
        token = access or self.saved["access_token"]
        answer = await self.http.get(self.url + path, headers={"Authorization": f"Bearer {token}"})
        return answer.status


@asynccontextmanager
async def user(**options: Any) -> AsyncIterator[User]:
    """A user of a simulator that stands at 10:15 unless told otherwise."""
    settings: dict[str, Any] = {"speed": None, "symbols": ("QQQ",), "session": DAY, "start": time(10, 15)}
    simulator = await start(SimulatorOptions(**settings | options))
    try:
        async with aiohttp.ClientSession() as http:
            yield User(simulator, http)
    finally:
        await simulator.stop()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 (the simulator tells nobody)
            await asyncio.sleep(0.01)


# 1.1, 1.2: keys and the authorize step


async def test_1_1_key_and_secret_have_the_portals_lengths() -> None:
    """32 and 16 characters: Schwabdev looks."""
    async with user() as one:
        assert (len(one.env["SCHWAB_APP_KEY"]), len(one.env["SCHWAB_APP_SECRET"])) == (32, 16)


@pytest.mark.parametrize(
    "wrong",
    [
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": "https://localhost:8182"},
        {"redirect_uri": CALLBACK.upper()},
        {"client_id": "another"},
        {"response_type": "token"},
    ],
)
async def test_1_1_the_callback_matches_byte_for_byte(wrong: dict[str, str]) -> None:
    """A trailing stroke, another host, another app: an error page, no form, no redirect."""
    async with user() as one:
        status, text = await one.page(**wrong)
        assert status == 400 and "unable to complete your request" in text and "<form" not in text
        form = {"client_id": APP_KEY, "redirect_uri": CALLBACK, "decision": "approve"} | wrong
        answer = await one.http.post(f"{one.url}/v1/oauth/authorize", data=form, allow_redirects=False)
        assert answer.status == 400


async def test_1_1_several_callbacks_may_be_registered() -> None:
    """Each is taken; a query in it is kept."""
    async with user(callbacks=(CALLBACK, OTHER)) as one:
        assert (await one.decide()).startswith(f"{CALLBACK}?code=")
        assert (await one.decide(redirect_uri=OTHER)).startswith(f"{OTHER}&code=")
        code = await one.code(redirect_uri=OTHER)
        assert (await one.exchange(code, OTHER))[0] == 200
        assert one.env["SCHWAB_CALLBACK_URL"] == CALLBACK


def test_1_1_callbacks_are_https() -> None:
    """Schwab registers nothing else."""
    with pytest.raises(UsageError, match="--callback"):
        SimulatorOptions(callbacks=("http://127.0.0.1",))


async def test_1_1_an_app_that_is_pending_gets_the_whitelabel_page() -> None:
    """HTTP 500 at the authorize step, by order."""
    async with user(faults=("oauth=pending",)) as one:
        status, text = await one.page()
        assert status == 500 and "Whitelabel Error Page" in text
        assert (await one.page())[0] == 200


@pytest.mark.parametrize("extra", [{}, {"response_type": "code", "state": "a b&c", "scope": "readonly"}])
async def test_1_2_the_redirect_has_code_session_and_state(extra: dict[str, str]) -> None:
    """`?code=...%40&session=<uuid>[&state=]`; response_type, state and scope may be left out."""
    async with user() as one:
        status, text = await one.page(**extra)
        assert status == 200 and Form(text).buttons == ["approve", "cancel"]
        address = await one.decide(**extra)
        pattern = re.escape(CALLBACK) + r"\?code=C0\.[\w-]+\.[\w-]+%40&session=([0-9a-f-]{36})"
        match = re.match(pattern, address)
        assert match is not None and uuid.UUID(match[1])
        assert address[match.end() :] == (f"&state={quote(extra['state'])}" if extra else "")


async def test_1_2_cancel_is_access_denied() -> None:
    """The other button."""
    async with user() as one:
        assert await one.decide("cancel", state="n") == f"{CALLBACK}?error=access_denied&state=n"


async def test_1_2_what_is_shown_is_escaped() -> None:
    """A state is text, not markup, and comes back unchanged."""
    async with user() as one:
        state = '"><script>x</script>'
        assert "<script>" not in (await one.page(state=state))[1]
        assert parse_qs(urlsplit(await one.decide(state=state)).query)["state"] == [state]


async def test_1_2_a_code_is_good_once() -> None:
    """The second use fails, and so does a code that was never given."""
    async with user() as one:
        code = await one.code()
        assert (await one.exchange(code))[0] == 200
        for late in (code, "C0.x.y@"):
            status, body = await one.exchange(late)
            assert (status, body["error"]) == (400, "invalid_grant")


def test_1_2_a_code_is_good_for_30_seconds_of_wall_time() -> None:
    """Whatever the tape does."""
    wall = [100.0]
    tokens = TokenStore(lambda: 0.0, monotonic_s=lambda: wall[0])
    early, late = tokens.grant_code(CALLBACK), tokens.grant_code(CALLBACK)
    wall[0] += 29.9
    assert isinstance(tokens.exchange(early, CALLBACK), dict)
    wall[0] += 0.1
    assert tokens.exchange(late, CALLBACK) is Refused.CODE


async def test_1_2_a_new_login_kills_the_refresh_token_before() -> None:
    """The access token of before lives to its end; its refresh token is unknown from then on."""
    async with user() as one:
        assert (await one.refresh())[0] == 200
        status, fresh = await one.exchange(await one.code())
        assert status == 200 and fresh["refresh_token"] != one.saved["refresh_token"]
        status, body = await one.refresh()
        assert status == 400 and "refresh_token_authentication_error" in body["error_description"]
        assert (await one.refresh(fresh["refresh_token"]))[0] == 200
        assert await one.call() == 200


# 1.3: the token endpoint


async def test_1_3_success_has_the_six_fields() -> None:
    """R5: their order, types and shapes; a refresh gives the same refresh token."""
    async with user() as one:
        _, first = await one.exchange(await one.code())
        status, second = await one.refresh(first["refresh_token"])
        assert status == 200
        for body in (first, second):
            assert list(body) == ["expires_in", "token_type", "scope", "refresh_token", "access_token", "id_token"]
            assert (body["expires_in"], body["token_type"], body["scope"]) == (1800, "Bearer", "api")
            assert re.fullmatch(r"I0\.[\w-]+\.[\w-]+@", body["access_token"]) and body["refresh_token"].endswith("@")
            assert body["id_token"].count(".") == 2
            assert await one.call(body["access_token"]) == 200
        assert second["refresh_token"] == first["refresh_token"] and second["access_token"] != first["access_token"]


def test_1_3_an_access_token_lives_its_life() -> None:
    """1800 s of the clock that ages it, whatever happens besides; a new one does not end it."""
    now = [1000.0]
    tokens = TokenStore(lambda: now[0])
    access = json.loads(tokens.token_file_text())["token"]["access_token"]
    now[0] += 1799
    assert tokens.admits(access) and tokens.expiry_ms(access) == 2_800_000
    now[0] += 1
    assert not tokens.admits(access)


def test_1_3_a_refresh_token_lives_seven_days_from_the_login() -> None:
    """However often it is used; a new login begins anew."""
    now = [0.0]
    tokens = TokenStore(lambda: now[0])
    refresh = json.loads(tokens.token_file_text())["token"]["refresh_token"]
    for _ in range(6):
        now[0] += 86_400
        assert isinstance(tokens.refresh(refresh), dict)
    now[0] += 86_399
    assert isinstance(tokens.refresh(refresh), dict)
    now[0] += 1
    assert tokens.refresh(refresh) is Refused.EXPIRED
    fresh = tokens.exchange(tokens.grant_code(CALLBACK), CALLBACK)
    assert isinstance(fresh, dict)
    assert isinstance(tokens.refresh(str(fresh["refresh_token"])), dict)
    assert tokens.refresh(refresh) is Refused.UNKNOWN


@pytest.mark.parametrize("token_clock", ["tape", "wall"])
async def test_1_3_tokens_age_by_the_clock_chosen(token_clock: str) -> None:
    """By the tape, on which time stands before a subscription, or by the wall, for clients that know no other."""
    async with user(token_clock=token_clock, access_life_s=1, start=time(10)) as one:
        created = json.loads(one.simulator.token_file.read_text())["creation_timestamp"]
        tape = datetime.combine(DAY, time(10), ZoneInfo("America/New_York")).timestamp()
        assert (created == tape) == (token_clock == "tape")
        assert one.saved["expires_at"] == created + 1
        if token_clock == "tape":
            assert await one.call() == 200
        else:
            await until(lambda: not one.simulator._tokens.admits(one.saved["access_token"]))
            assert await one.call() == 401


async def test_1_3_the_tape_ages_tokens_and_a_refresh_still_works(tmp_path: Any) -> None:
    """After half an hour of tape the access token of the file is dead; its refresh token lets a restarted client in."""
    async with user(access_life_s=1800, start=time(4), end=time(5)) as one:
        async with one.http.ws_connect(one.url.replace("http", "ws") + "/ws", autoping=True) as socket:
            answer = await one.http.get(
                one.url + "/trader/v1/userPreference", headers={"Authorization": f"Bearer {one.saved['access_token']}"}
            )
            ids = (await answer.json())["streamerInfo"][0]
            for number, (service, command, parameters) in enumerate(
                [
                    ("ADMIN", "LOGIN", {"Authorization": one.saved["access_token"]}),
                    ("LEVELONE_EQUITIES", "SUBS", {"keys": "QQQ", "fields": "0,3"}),
                ]
            ):
                request = {
                    "service": service,
                    "command": command,
                    "requestid": str(number),
                    "SchwabClientCustomerId": ids["schwabClientCustomerId"],
                    "SchwabClientCorrelId": ids["schwabClientCorrelId"],
                    "parameters": parameters,
                }
                await socket.send_str(json.dumps({"requests": [request]}))
            async with asyncio.timeout(60):
                async for _ in socket:
                    pass
        assert await one.call() == 401
        status, fresh = await one.refresh()
        assert status == 200 and await one.call(fresh["access_token"]) == 200


# 1.4: the errors of the token endpoint

DIGEST = "[0-9a-f]+"


async def test_1_4_unknown_or_superseded_refresh_token() -> None:
    """[W] R6, to the letter; the inner text is JSON whose quotes are not escaped once decoded."""
    async with user() as one:
        status, body = await one.refresh("another")
        assert status == 400 and list(body) == ["error", "error_description"]
        assert body["error"] == "unsupported_token_type"
        assert re.fullmatch(
            r'400 Bad Request: "\{"error_description":"Exception while authenticating refresh token '
            rf"\[tokenDigest=({DIGEST}), Exception=Failed refresh token authentication \[tokenDigest=\1\]\]"
            r'","error":"refresh_token_authentication_error"\}"',
            body["error_description"],
        )


async def test_1_4_natural_expiry() -> None:
    """The same envelope; the nested code is invalid_grant."""
    async with user(refresh_life_s=0) as one:
        status, body = await one.refresh()
        assert (status, body["error"]) == (400, "unsupported_token_type")
        assert body["error_description"].startswith('400 Bad Request: "{"error_description":"')
        assert "invalid, expired or revoked" in body["error_description"]
        assert body["error_description"].endswith('"error":"invalid_grant"}"')


@pytest.mark.parametrize("code", ["invalid_grant", "unsupported_token_type", "invalid_request"])
async def test_1_4_late_codes_and_other_redirects(code: str) -> None:
    """A 400 with `error` set; which one is not known, and a switch. A refused attempt uses the code up."""
    async with user(switches=(f"code-error={code}",), callbacks=(CALLBACK, OTHER)) as one:
        given = await one.code()
        for callback in (OTHER, CALLBACK):
            status, body = await one.exchange(given, callback)
            assert (status, body["error"]) == (400, code)


async def test_1_4_wrong_key_or_secret() -> None:
    """401, whatever the grant."""
    async with user() as one:
        for form in ({"grant_type": "refresh_token", "refresh_token": one.saved["refresh_token"]}, {}):
            status, body = await one.token(secret="wrong", **form)
            assert (status, body["error"]) == (401, "invalid_client")
        answer = await one.http.post(f"{one.url}/v1/oauth/token", data={"grant_type": "refresh_token"})
        assert answer.status == 401


async def test_1_4_unsupported_grant() -> None:
    """Another grant type, or none."""
    async with user() as one:
        for form in ({"grant_type": "password"}, {}):
            status, body = await one.token(**form)
            assert (status, body["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    ("value", "status", "part"),
    [
        ("dead", 400, "refresh_token_authentication_error"),
        ("expired", 400, "invalid_grant"),
        ("grant", 400, '"error": "invalid_grant"'),
        ("client", 400, "refresh token invalid"),
        ("html", 403, "Access Denied"),
        ("500", 500, "Error"),
        ("503", 503, "Error"),
        ("429", 429, "ratelimit"),
    ],
)
async def test_1_4_each_failure_by_order(value: str, status: int, part: str) -> None:
    """`oauth=VALUE` once, then all is well."""
    async with user(faults=(f"oauth={value}",)) as one:
        given, body = await one.refresh()
        assert given == status and part in (body if isinstance(body, str) else json.dumps(body)).replace('\\"', '"')
        assert (await one.refresh())[0] == 200


async def test_1_4_a_fault_waits_for_its_time_and_counts() -> None:
    """`@` a later time: not yet; `x2`: twice."""
    async with user(faults=("oauth=503@10:16", "oauth=500@10:15x2")) as one:
        assert [(await one.refresh())[0] for _ in range(3)] == [500, 500, 200]


async def test_1_4_a_hanging_endpoint_answers_nothing() -> None:
    """The client's own deadline ends it; the next call is served."""
    async with user(faults=("oauth=hang",)) as one:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await one.refresh()
        assert (await one.refresh())[0] == 200


@pytest.mark.parametrize("fault", ["oauth", "oauth=nonsense", "oauth=200", "rest=nonsense", "rest=99:/quotes"])
async def test_1_4_an_order_that_is_none_is_refused(fault: str) -> None:
    """Rather than never served."""
    with pytest.raises(UsageError, match="not a value"):
        await start(SimulatorOptions(symbols=("QQQ",), session=DAY, faults=(fault,)))


# 1.5: the token file


async def test_1_5_the_ready_file_is_schwab_pys() -> None:
    """R5: keys, types, and stamps that agree."""
    async with user() as one:
        saved = json.loads(one.simulator.token_file.read_text())
        assert list(saved) == ["creation_timestamp", "token"]
        token = saved["token"]
        assert isinstance(saved["creation_timestamp"], int) and isinstance(token["expires_at"], int)
        assert set(token) == {
            "expires_in",
            "token_type",
            "scope",
            "refresh_token",
            "access_token",
            "id_token",
            "expires_at",
        }
        assert token["expires_at"] - saved["creation_timestamp"] == token["expires_in"] == 1800
        assert await one.call() == 200
