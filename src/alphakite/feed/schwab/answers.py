"""What an answer of Schwab's means: the decision table of the token endpoint, and error details without secrets.

The bodies are those of the Schwab reference §1.4 and §2.1. A dead token's body is not even sound JSON (quotes inside
quotes), so it is told by its words.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

Verdict = Literal["ok", "dead", "transient", "throttled"]

DEAD_MARKS = ("refresh_token_authentication_error", "invalid_grant", "unsupported_token_type", "invalid_client")
DETAIL_CHARS = 200
OPAQUE = re.compile(
    r"(?=[A-Za-z+/=_.@%~-]*\d)[A-Za-z0-9+/=_.@%~-]{24,}|[A-Za-z0-9+/=_.@%~-]{36,}|\[tokenDigest=[^]]*\]|tokenDigest=\w+"
)
"""What could be a token, a code, a key or a digest of one."""


def classify(status: int, body: str, content_type: str = "") -> Verdict:
    """What to do after the token endpoint's answer.

    ok         use it
    dead       only a person can go on: the refresh token, or the app's key, is refused
    throttled  ask again after half a minute at the earliest
    transient  ask again; the access token at hand still serves until it ends
    """
    if status == 429:
        return "throttled"
    if is_html(body, content_type):
        return "transient"
    if status == 200:
        return "ok"
    if status in (400, 401) and any(mark in body for mark in DEAD_MARKS):
        return "dead"
    return "transient"


def is_html(body: str, content_type: str = "") -> bool:
    """Whether a page came instead of an answer: a gateway's or the CDN's."""
    return "html" in content_type.lower() or body.lstrip()[:1] == "<"


def detail(body: str, content_type: str = "") -> str:
    """Schwab's own words about an error, short and without anything that could be a secret; "" if there are none."""
    if is_html(body, content_type):
        title = re.search(r"<(title|h1)[^>]*>(.*?)</\1>", body, re.IGNORECASE | re.DOTALL)
        return _plain(f"a page: {title[2]}" if title else "a page instead of an answer")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _plain(body)
    return _plain("; ".join(dict.fromkeys(_words(document))))


def _words(document: Any) -> list[str]:
    """The telling texts of each of the four error shapes."""
    if not isinstance(document, dict):
        return []
    found = [document.get(name) for name in ("error", "error_description", "message")]
    errors = document.get("errors")
    for one in errors if isinstance(errors, list) else []:
        found += [one.get("title"), one.get("detail")] if isinstance(one, dict) else [one]
    fault = document.get("fault")
    if isinstance(fault, dict):
        found.append(fault.get("faultstring"))
        if isinstance(fault.get("detail"), dict):
            found.append(fault["detail"].get("errorcode"))
    return [one for one in found if isinstance(one, str) and one]


def _plain(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in OPAQUE.sub("…", text)).split())
    return text if len(text) <= DETAIL_CHARS else text[: DETAIL_CHARS - 1] + "…"
