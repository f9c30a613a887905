"""The token file: schwab-py's JSON form (`creation_timestamp`, `token`), 0600, replaced whole.

Holds secrets: nothing here is logged. Times are seconds since 1970 by the wall clock, as the file's other users count.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from alphakite.errors import ConfigError

REFRESH_BEFORE_S = 300


class TokenFile:
    """Reads the file when it changes; writes what a refresh returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: tuple[int, int] | None = None
        self._document: dict[str, Any] = {}

    def token(self) -> dict[str, Any]:
        """The `token` object. Raises ConfigError when there is no usable file."""
        try:
            stat = self.path.stat()
            if self._read_at != (stat.st_mtime_ns, stat.st_ino):
                self._document = json.loads(self.path.read_text())
                self._read_at = (stat.st_mtime_ns, stat.st_ino)
            token = self._document["token"]
            if not token["access_token"] or not token["refresh_token"]:
                raise KeyError("access_token")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"no usable Schwab token in {self.path}: {error}",
                next_step="name a ready token file with SCHWAB_TOKEN_FILE; "
                "`alphakite simulate --env-file FILE` makes one for the local Schwab",
            ) from error
        return dict(token)

    def stale(self) -> bool:
        """Whether the access token ends within five minutes."""
        try:
            return not float(self.token().get("expires_at", 0)) - time.time() >= REFRESH_BEFORE_S
        except (TypeError, ValueError):
            return True

    def store(self, answer: dict[str, Any]) -> None:
        """Keep what the token endpoint answered, whole or not at all."""
        token = self.token() | answer
        token["expires_at"] = int(time.time()) + int(answer.get("expires_in", 1800))
        document = self._document | {"token": token}
        temporary = self.path.with_name(self.path.name + ".tmp")
        with open(temporary, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
