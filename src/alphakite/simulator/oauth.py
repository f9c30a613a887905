"""The simulator's own OAuth: app key and secret, refresh and access tokens, and the ready token file.

Tokens stay valid while the simulator lives, so that a recorder killed and started again logs in with the file it has;
`expires_in` is what Schwab tells. The token file has schwab-py's form and stamps of the wall clock; mode 0600.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from pathlib import Path

APP_KEY = "simulator-key"


class TokenStore:
    """Who may come in. One user, one app."""

    def __init__(self, life_s: int) -> None:
        self.app_key = APP_KEY
        self.app_secret = secrets.token_hex(8)
        self.customer_id = secrets.token_hex(32)
        self._life_s = life_s
        self._refresh = {_token("")}
        self._access: set[str] = set()

    def admits(self, access_token: str) -> bool:
        """Whether an access token is one of ours."""
        return access_token in self._access

    def knows_app(self, authorization: str) -> bool:
        """Whether a Basic Authorization header holds our app's key and secret."""
        expected = base64.b64encode(f"{self.app_key}:{self.app_secret}".encode()).decode()
        return secrets.compare_digest(authorization.encode(), f"Basic {expected}".encode())

    def refresh(self, refresh_token: str) -> dict[str, str | int] | None:
        """A new access token in the endpoint's form; None for a refresh token that is not ours."""
        if refresh_token not in self._refresh:
            return None
        access = _token("I0.")
        self._access.add(access)
        return {
            "expires_in": self._life_s,
            "token_type": "Bearer",
            "scope": "api",
            "refresh_token": refresh_token,
            "access_token": access,
            "id_token": "eyJhbGciOiJub25lIn0.e30.",
        }

    def token_file_text(self) -> str:
        """A ready sign-in, as schwab-py keeps it."""
        token = self.refresh(next(iter(self._refresh)))
        assert token is not None
        now = int(time.time())
        return json.dumps({"creation_timestamp": now, "token": {**token, "expires_at": now + self._life_s}})


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
