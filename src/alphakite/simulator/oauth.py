"""The simulator's own OAuth: one app, one user; codes, refresh and access tokens, and the ready token file.

Codes age by wall time, tokens by the clock given: the tape's, or the wall's for clients that know no other. An access
token lives `access_life_s`; a refresh token `refresh_life_s` from the login, however often it is used. A login makes
the refresh token of the one before unknown; access tokens given out stay good to their end. The token file has
schwab-py's form, stamped by the clock that ages tokens; mode 0600. A recorder killed and started again gets in with it.
"""

from __future__ import annotations

import base64
import enum
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

APP_KEY = "alphakiteSimulatorAppKey00000001"
"""32 characters, as the portal's."""
DEFAULT_CALLBACK = "https://127.0.0.1:8182"
ID_TOKEN = "eyJhbGciOiJub25lIn0.e30."


class Refused(enum.Enum):
    """Why there is no token."""

    UNKNOWN = "a refresh token that is not ours, or of an earlier login"
    EXPIRED = "a refresh token beyond its life"
    CODE = "a code that is late, used or not ours"
    REDIRECT = "another redirect_uri than at the authorize step"


@dataclass(slots=True)
class Code:
    """`until_s`: wall time, monotonic."""

    callback: str
    until_s: float


class TokenStore:
    """Who may come in. `now_s`: epoch seconds of the clock that ages tokens."""

    def __init__(
        self,
        now_s: Callable[[], float] = time.time,
        *,
        access_life_s: int = 1800,
        refresh_life_s: int = 604_800,
        code_life_s: int = 30,
        callbacks: tuple[str, ...] = (DEFAULT_CALLBACK,),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app_key = APP_KEY
        self.app_secret = secrets.token_hex(8)
        self.customer_id = secrets.token_hex(32)
        self.callbacks = callbacks
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._access_life_s, self._refresh_life_s, self._code_life_s = access_life_s, refresh_life_s, code_life_s
        self._codes: dict[str, Code] = {}
        self._access: dict[str, float] = {}
        self._refresh = _token("")
        self._login_s = now_s()

    def admits(self, access_token: str) -> bool:
        """Whether an access token is one of ours and within its life."""
        until_s = self._access.get(access_token)
        return until_s is not None and self._now_s() < until_s

    def expiry_ms(self, access_token: str) -> int | None:
        """When an access token of ours ends, epoch ms of the clock that ages it."""
        until_s = self._access.get(access_token)
        return None if until_s is None else int(until_s * 1000)

    def revoke(self, access_token: str) -> None:
        """Void an access token before its time."""
        self._access.pop(access_token, None)

    def knows_app(self, authorization: str) -> bool:
        """Whether a Basic Authorization header holds our app's key and secret."""
        expected = base64.b64encode(f"{self.app_key}:{self.app_secret}".encode()).decode()
        return secrets.compare_digest(authorization.encode(), f"Basic {expected}".encode())

    def grant_code(self, callback: str) -> str:
        """The consent was given: a code for this callback."""
        now_s = self._monotonic_s()
        self._codes = {code: known for code, known in self._codes.items() if now_s < known.until_s}
        code = _token("C0.")
        self._codes[code] = Code(callback, now_s + self._code_life_s)
        return code

    def exchange(self, code: str, callback: str) -> dict[str, str | int] | Refused:
        """The tokens of a new login. A code is used up by the attempt."""
        known = self._codes.pop(code, None)
        if known is None or self._monotonic_s() >= known.until_s:
            return Refused.CODE
        if callback != known.callback:
            return Refused.REDIRECT
        self._refresh, self._login_s = _token(""), self._now_s()
        return self._grant()

    def refresh(self, refresh_token: str) -> dict[str, str | int] | Refused:
        """A new access token in the endpoint's form."""
        if refresh_token != self._refresh:
            return Refused.UNKNOWN
        if self._now_s() - self._login_s >= self._refresh_life_s:
            return Refused.EXPIRED
        return self._grant()

    def token_file_text(self) -> str:
        """A ready sign-in, as schwab-py keeps it."""
        token = self._grant()
        now = int(self._now_s())
        return json.dumps({"creation_timestamp": now, "token": {**token, "expires_at": now + self._access_life_s}})

    def _grant(self) -> dict[str, str | int]:
        access, now_s = _token("I0."), self._now_s()
        self._access = {token: until_s for token, until_s in self._access.items() if now_s < until_s}
        self._access[access] = now_s + self._access_life_s
        return {
            "expires_in": self._access_life_s,
            "token_type": "Bearer",
            "scope": "api",
            "refresh_token": self._refresh,
            "access_token": access,
            "id_token": ID_TOKEN,
        }


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; it becomes visible whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _token(prefix: str) -> str:
    return f"{prefix}{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(24)}@"
