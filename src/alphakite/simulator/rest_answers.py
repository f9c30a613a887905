"""How Schwab's HTTP side spells its answers: JSON with Java's numbers, and the shapes of its errors.

In:   Python values (float: a double; int: an integer; None is left to the caller).      Out:  aiohttp responses.
Four kinds of errors: marketdata's `errors`, trader's `message`, the gateway's `fault`, the CDN's HTML page. A 401 comes
from before the services and has one shape. `status` is the string that most captures show, an int in the 401.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from aiohttp import web

from alphakite.model import PRICE_SCALE

BODY_LIMIT_BYTES = 10 * 1024 * 1024
"""The gateway's buffer; a longer answer is a 502."""
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
WHITELABEL_PAGE = (
    "<html><body><h1>Whitelabel Error Page</h1><p>This application has no explicit mapping for /error, so you are "
    "seeing this as a fallback.</p><div>There was an unexpected error (type=Internal Server Error, status=500).</div>"
    "</body></html>"
)
DENIED_PAGE = (
    "<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>\n<H1>Access Denied</H1>\n \nYou don't have permission "
    "to access this page on this server.<P>\nReference&#32;&#35;18&#46;0\n</BODY>\n</HTML>\n"
)


def java_double(value: float) -> str:
    """A double as Java prints it: 100.0, 6.6691E-4, 3.01570298E8; NaN as the text that Schwab makes of it."""
    if value != value:
        return '"NaN"'
    if value == 0:
        return "0.0"
    if 1e-3 <= abs(value) < 1e7:
        return repr(float(value))
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    rest = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{rest}E{exponent + len(digits) - 1}"


@lru_cache(maxsize=100_000)
def price_double(price: int) -> str:
    """A price × PRICE_SCALE as a double's text."""
    return java_double(price / PRICE_SCALE)


def dump(value: object) -> str:
    """JSON without blanks, in the given key order."""
    match value:
        case str():
            return json.dumps(value)
        case bool():
            return "true" if value else "false"
        case float():
            return java_double(value)
        case int():
            return str(value)
        case Mapping():
            return "{" + ",".join([f"{json.dumps(str(key))}:{dump(inner)}" for key, inner in value.items()]) + "}"
        case list() | tuple():
            return "[" + ",".join([dump(inner) for inner in value]) + "]"
    return json.dumps(value)


def answer(value: object, status: int = 200) -> web.Response:
    """An answer in JSON; the gateway's refusal if it is too large."""
    return text_answer(dump(value), status)


def text_answer(text: str, status: int = 200) -> web.Response:
    """JSON that is spelled already."""
    if len(text) > BODY_LIMIT_BYTES:
        return too_big()
    return web.Response(text=text, status=status, content_type="application/json")


def page(text: str, status: int) -> web.Response:
    """An HTML page."""
    return web.Response(text=text, status=status, content_type="text/html")


def market_error(status: int, detail: str | None = None, source: Mapping[str, object] | None = None) -> web.Response:
    """marketdata's shape. Args: source: `{"parameter": name}`, `{"header": name}` or `{"pointer": [...]}`."""
    error: dict[str, object] = {"id": str(uuid.uuid4()), "status": str(status), "title": TITLES.get(status, "Error")}
    if detail is not None:
        error["detail"] = detail
    if source is not None:
        error["source"] = dict(source)
    return answer({"errors": [error]}, status)


def bad_parameter(name: str, detail: str) -> web.Response:
    """A 400 that names the parameter."""
    return market_error(400, detail, {"parameter": name})


def trader_error(status: int, *errors: str) -> web.Response:
    """trader's shape."""
    title = TITLES.get(status, "Error")
    return answer({"message": title, "errors": list(errors) or [title]}, status)


def service_error(path: str, status: int) -> web.Response:
    """The error of whichever service the path belongs to."""
    return trader_error(status) if path.startswith("/trader/") else market_error(status)


def unauthorized() -> web.Response:
    """An access token that is expired, voided or unknown."""
    error = {"id": str(uuid.uuid4()), "status": 401, "title": "Unauthorized", "detail": "Client not authorized"}
    return answer({"errors": [error]}, 401)


def too_big() -> web.Response:
    """The gateway's refusal of an answer beyond its buffer."""
    fault = {"faultstring": "Body buffer overflow", "detail": {"errorcode": "protocol.http.TooBigBody"}}
    return answer({"fault": fault}, 502)


def throttled() -> web.Response:
    """The gateway's 429; no Retry-After, which Schwab does not promise."""
    detail = {"errorcode": "policies.ratelimit.QuotaViolation"}
    return answer({"fault": {"faultstring": "Rate limit quota violation.", "detail": detail}}, 429)


def access_denied() -> web.Response:
    """The CDN's page."""
    return page(DENIED_PAGE, 403)
