"""One login through the browser: the address to open, what comes back, and the code's exchange for tokens.

    authorize_url()  → a person signs in at Schwab and ticks an account → the browser goes to the callback address with
    `?code=…&state=…` → parse_redirect() → exchange() within 30 s → a document → check_access() → TokenFile.replace

An error says what is most likely wrong and what to do, because Schwab's own answers do not. No code, token or key is
in any message; the authorize address holds the app's key and is for the person's eyes only.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import httpx

from alphakite.errors import SignInError, TransientError
from alphakite.feed.schwab.answers import detail, is_html
from alphakite.feed.schwab.rest import parse_streamer
from alphakite.feed.schwab.tokens import ACCESS_LIFE_S
from alphakite.feed.schwab.transport import TOKEN_PATH, client_for, send

AUTHORIZE_PATH = "/v1/oauth/authorize"
CODE_LIFE_S = 30
AGAIN = "run `alphakite auth` again"
NOT_APPROVED = (
    'the app must read "Ready For Use" in the portal (developer.schwab.com) and have "Market Data Production" and '
    '"Accounts and Trading Production"; "Approved - Pending" is not enough'
)


class Login:
    """One login. `now_s` stamps it; every answer's Date is told to `on_date_ms` first, so that it may be Schwab's."""

    def __init__(
        self,
        base_url: str,
        app_key: str,
        app_secret: str,
        callback_url: str,
        now_s: Callable[[], float],
        on_date_ms: Callable[[int], None],
    ) -> None:
        self._client = client_for(base_url)
        self._base_url = base_url
        self._app_key, self._app_secret = app_key, app_secret
        self._callback_url = callback_url
        self._now_s = now_s
        self._on_date_ms = on_date_ms
        self.state = secrets.token_urlsafe(16)
        """Comes back with the code, and shows that it belongs to this login."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def authorize_url(self) -> str:
        """The address to open in a browser."""
        query = {
            "response_type": "code",
            "client_id": self._app_key,
            "redirect_uri": self._callback_url,
            "state": self.state,
        }
        return f"{self._base_url}{AUTHORIZE_PATH}?{urlencode(query)}"

    async def exchange(self, code: str) -> dict[str, Any]:
        """The tokens for a code, as a token document. Raises SignInError, TransientError; the code is spent either way.

        `creation_timestamp`, the start of the seven days, is now: Schwab's tokens are a second old at most.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._callback_url}
        auth = httpx.BasicAuth(self._app_key, self._app_secret)
        response = await send(self._client, self._on_date_ms, "POST", TOKEN_PATH, data=form, auth=auth)
        body, kind = response.text, response.headers.get("content-type", "")
        if response.status_code != 200 or is_html(body, kind):
            message, step = explain(response.status_code, body, kind, self._callback_url)
            for secret in (code, self._app_key, self._app_secret):
                message = message.replace(secret, "…")
            raise SignInError(message, next_step=step)
        try:
            answer = response.json()
            token = {name: value for name, value in answer.items() if value is not None}
            if not all(isinstance(token[name], str) and token[name] for name in ("access_token", "refresh_token")):
                raise ValueError
            lasts_s = int(token.get("expires_in", ACCESS_LIFE_S))
        except (ValueError, KeyError, TypeError, AttributeError):  # whose text may quote tokens
            raise TransientError("the token endpoint answered no token", next_step=AGAIN) from None
        now = int(self._now_s())
        return {"creation_timestamp": now, "token": token | {"expires_at": now + lasts_s}}

    async def check_access(self, document: dict[str, Any]) -> str:
        """Ask `userPreference` with the new token: a mark of whose login it is, the same at every login of theirs.

        Raises SignInError when the app or the login may not use the streamer, TransientError if that cannot be told.
        """
        headers = {"Authorization": f"Bearer {document['token']['access_token']}"}
        response = await send(self._client, self._on_date_ms, "GET", "/trader/v1/userPreference", headers=headers)
        body, kind, status = response.text, response.headers.get("content-type", ""), response.status_code
        words = detail(body, kind)
        if status in (401, 403) and not is_html(body, kind):
            raise SignInError(f"the app may not ask for data: {status} {words}".strip(), next_step=NOT_APPROVED)
        if status != 200 or is_html(body, kind):
            raise TransientError(f"userPreference answered {status} {words}".strip(), next_step="it is asked again")
        if (streamer := parse_streamer(response.content)) is None:
            raise SignInError(
                "this login has no streamer",
                next_step="sign in with the brokerage login, not the developer portal's, and tick at least one account "
                "that has thinkorswim enabled on the consent page",
            )
        return hashlib.sha256(streamer.customer_id.encode()).hexdigest()[:16]


def parse_redirect(text: str, state: str = "") -> str:
    """The code in what a person pasted: the whole address bar, or the bare code; decoded once.

    Args: state: what the address must carry, "" for any; a bare code carries none.
    Raises: SignInError when there is no code in it, saying what it seems to be instead.
    """
    text = "".join(text.split()).strip("'\"<>")
    query = parse_qs(text.split("#")[0].partition("?")[2] or (text if text.startswith("code=") else ""))
    if not text:
        raise SignInError("nothing was pasted", next_step="paste the whole address that the browser ended at")
    if "error" in query:
        refused = query["error"][0] == "access_denied"
        raise SignInError(
            "access was denied on Schwab's page" if refused else f"Schwab's page answered {_word(query['error'][0])}",
            next_step=f"{AGAIN}, and accept on the consent page" if refused else AGAIN,
        )
    if "code" in query:
        if state and query.get("state", [state])[0] != state:
            raise SignInError(
                "this address belongs to another sign-in", next_step="open the address shown last, and paste what comes"
            )
        return query["code"][0].replace(" ", "+")
    if "client_id" in query or AUTHORIZE_PATH in text:
        raise SignInError(
            "this is the address to open, not the one that comes back",
            next_step="sign in there first, then paste the address that the browser ends at",
        )
    if "://" in text or "?" in text or ("/" in text and not text.startswith("C0.")) or len(text) < 8:
        raise SignInError(
            "there is no code in this address", next_step="paste the whole address: it begins with the callback address"
        )
    return unquote(text)


def explain(status: int, body: str, content_type: str, callback_url: str) -> tuple[str, str]:
    """(what is wrong, what to do) when the code's exchange is refused.

    Which code Schwab's body carries for what is not published (reference §1.4); the words are looked for.
    """
    words = detail(body, content_type)
    said = f"{status} {words}".strip()
    low = body.lower()
    if is_html(body, content_type) and "access denied" in low:
        return (
            f"Schwab's front refused the request before the token endpoint saw it ({said})",
            f"wait some minutes, then {AGAIN}; if it stays, use https://127.0.0.1:8182 as callback, never localhost",
        )
    if "whitelabel" in low or (status == 500 and is_html(body, content_type)):
        return f"the app is not approved yet ({said})", NOT_APPROVED
    if status == 429:
        return f"Schwab asks for fewer sign-ins ({said})", f"wait a minute, then {AGAIN}"
    if status >= 500:
        return f"Schwab's side is in trouble ({said})", f"wait some minutes, then {AGAIN}"
    if status == 401 or "invalid_client" in low:
        return (
            f"the app key or the app secret is wrong, or the app is not approved ({said})",
            f"compare SCHWAB_APP_KEY and SCHWAB_APP_SECRET with the portal; {NOT_APPROVED}",
        )
    if "redirect" in low:
        return (
            f"the callback address is not the registered one ({said})",
            f"SCHWAB_CALLBACK_URL is {callback_url}: it must be the portal's letter for letter; {_slash(callback_url)}",
        )
    return (
        f"Schwab did not take the code ({said})",
        f"a code is good for {CODE_LIFE_S} seconds, and once: {AGAIN} and be quicker; if it stays, SCHWAB_CALLBACK_URL "
        f"({callback_url}) is not the portal's letter for letter: {_slash(callback_url)}",
    )


def _slash(callback_url: str) -> str:
    return f"a / at the end counts, and yours has {'one' if callback_url.endswith('/') else 'none'}"


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z_ -]", "", text)[:40] or "an error"
