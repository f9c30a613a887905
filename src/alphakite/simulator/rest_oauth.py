"""The OAuth routes: the sign-in and consent page, its redirect, and the token endpoint with its errors.

Bodies are those of captures where there are any; where Schwab's are not known (a late code, a wrong secret), the
status is as observed and the body RFC 6749's, `--switch code-error=` choosing its code.
"""

from __future__ import annotations

import html
import secrets
import uuid
from urllib.parse import quote

from aiohttp import web
from multidict import MultiMapping

from alphakite.simulator.oauth import Refused, TokenStore
from alphakite.simulator.rest_answers import WHITELABEL_PAGE, access_denied, answer, page, throttled

AUTHORIZE, TOKEN = "/v1/oauth/authorize", "/v1/oauth/token"
AT_AUTHORIZE = "pending"
"""The one `oauth=` fault that is met at the authorize page."""
PASSED_ON = ("client_id", "redirect_uri", "response_type", "state", "scope")
UNABLE_PAGE = (
    "<html><head><title>Charles Schwab</title></head><body><h1>We are unable to complete your request</h1>"
    "<p>Please contact the developer of the application. ({reason})</p></body></html>"
)
CONSENT_PAGE = """<html><head><title>Schwab (simulated) - sign in</title></head><body>
<h1>Sign in to the simulated Schwab</h1>
<form method="post" action="{action}">
{hidden}
<p><label>Login ID <input name="username" value="simulated"></label></p>
<p><label>Password <input name="password" type="password" value=""></label></p>
<p><label><input name="accounts" type="checkbox" value="00000000" checked> account ...000</label></p>
<p><button name="decision" value="approve">Sign in and allow</button>
<button name="decision" value="cancel">Cancel</button></p>
</form></body></html>
"""


def nested_error(code: str, description: str) -> dict[str, str]:
    """The endpoint's envelope: a JSON text within a text, its quotes not escaped."""
    inner = f'{{"error_description":"{description}","error":"{code}"}}'
    return {"error": "unsupported_token_type", "error_description": f'400 Bad Request: "{inner}"'}


def dead_token() -> dict[str, str]:
    """For a refresh token that is unknown or of an earlier login."""
    digest = secrets.token_hex(16)
    failed = f"Failed refresh token authentication [tokenDigest={digest}]"
    text = f"Exception while authenticating refresh token [tokenDigest={digest}, Exception={failed}]"
    return nested_error("refresh_token_authentication_error", text)


def expired_token() -> dict[str, str]:
    """For a refresh token beyond its seven days."""
    return nested_error("invalid_grant", "The provided refresh token is invalid, expired or revoked")


class OAuthRoutes:
    """Handlers of authorize and token. `code_error`: the error code for codes that are not taken."""

    def __init__(self, tokens: TokenStore, code_error: str) -> None:
        self._tokens = tokens
        self._code_error = code_error

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(AUTHORIZE, self._show)
        app.router.add_post(AUTHORIZE, self._decide)
        app.router.add_post(TOKEN, self._token)

    def fault(self, value: str) -> web.Response | None:
        """What an `oauth=` fault answers; None for a value that is not known."""
        match value:
            case "dead":
                return answer(dead_token(), 400)
            case "expired":
                return answer(expired_token(), 400)
            case "grant":
                return answer({"error": "invalid_grant"}, 400)
            case "client":
                return answer({"error": "invalid_client", "error_description": "refresh token invalid"}, 400)
            case "html":
                return access_denied()
            case "pending":
                return page(WHITELABEL_PAGE, 500)
            case "429":
                return throttled()
        if value.isdigit() and 400 <= int(value) < 600:
            return page(WHITELABEL_PAGE.replace("500", value), int(value))
        return None

    async def _show(self, request: web.Request) -> web.Response:
        refused = self._refusal(request.query)
        if refused is not None:
            return refused
        hidden = "\n".join(
            f'<input type="hidden" name="{name}" value="{html.escape(request.query[name])}">'
            for name in PASSED_ON
            if name in request.query
        )
        return page(CONSENT_PAGE.format(action=AUTHORIZE, hidden=hidden), 200)

    async def _decide(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        refused = self._refusal(form)
        if refused is not None:
            return refused
        callback, state = form["redirect_uri"], form.get("state")
        if form.get("decision") == "cancel":
            query = "error=access_denied"
        else:
            query = f"code={quote(self._tokens.grant_code(callback), safe='')}&session={uuid.uuid4()}"
        if state is not None:
            query += f"&state={quote(state, safe='')}"
        mark = "&" if "?" in callback else "?"
        return web.Response(status=302, headers={"Location": f"{callback}{mark}{query}", "Cache-Control": "no-store"})

    def _refusal(self, query: MultiMapping[str] | dict[str, str]) -> web.Response | None:
        reason = None
        if query.get("client_id") != self._tokens.app_key:
            reason = "invalid_client"
        elif query.get("redirect_uri") not in self._tokens.callbacks:
            reason = "redirect_uri mismatch"
        elif query.get("response_type", "code") != "code":
            reason = "unsupported_response_type"
        return None if reason is None else page(UNABLE_PAGE.format(reason=reason), 400)

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if not self._tokens.knows_app(request.headers.get("Authorization", "")):
            return answer({"error": "invalid_client", "error_description": "Unauthorized"}, 401)
        match form.get("grant_type"):
            case "authorization_code":
                outcome = self._tokens.exchange(form.get("code", ""), form.get("redirect_uri", ""))
            case "refresh_token":
                outcome = self._tokens.refresh(form.get("refresh_token", ""))
            case _:
                return answer({"error": "unsupported_grant_type", "error_description": "400 Bad Request"}, 400)
        match outcome:
            case Refused.UNKNOWN:
                return answer(dead_token(), 400)
            case Refused.EXPIRED:
                return answer(expired_token(), 400)
            case Refused.CODE:
                text = "400 Bad Request: authorization code is invalid or has expired"
                return answer({"error": self._code_error, "error_description": text}, 400)
            case Refused.REDIRECT:
                text = "400 Bad Request: redirect_uri does not match"
                return answer({"error": self._code_error, "error_description": text}, 400)
        return answer(outcome)
