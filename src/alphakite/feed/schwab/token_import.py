"""Sign-ins that other programs keep, as token documents of ours. Reads only: the source is never written or locked.

    schwab-py        JSON  `creation_timestamp`, `token`           (and schwab_rb: `timestamp`)
    Schwabdev ≥ 3    SQLite, table `schwabdev`; tokens plain, or `enc:` with a key that only their owner has
    Schwabdev 2.x    JSON  `refresh_token_issued`, `token_dictionary`
    SchwabApiCS      JSON  `AccessToken`, `RefreshToken`, `RefreshTokenExpires`

Stamps without a zone are UTC. The seven days count from the login in the browser, wherever the program noted it. The
source keeps working: a refresh does not end it, a new login in either program ends the other's.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from alphakite.errors import UsageError
from alphakite.feed.schwab.tokens import ACCESS_LIFE_S, SIGN_IN_LIFE_S

SQLITE = b"SQLite format 3\x00"
MOST_BYTES = 16 * 1024 * 1024
KINDS = "schwab-py JSON, Schwabdev SQLite or JSON, SchwabApiCS JSON"
COLUMNS = (
    "access_token_issued",
    "refresh_token_issued",
    "access_token",
    "refresh_token",
    "id_token",
    "expires_in",
    "token_type",
    "scope",
)


class Imported(msgspec.Struct, frozen=True):
    """A sign-in found elsewhere. `login_at_s`: seconds since 1970."""

    kind: str
    document: dict[str, Any]

    @property
    def login_at_s(self) -> float:
        return float(self.document["creation_timestamp"])

    def __repr__(self) -> str:
        return f"Imported({self.kind})"


def read_foreign(path: Path) -> Imported:
    """The sign-in in another program's file. Raises UsageError saying what the file is instead; OSError."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if content.startswith(SQLITE):
        return _from_sqlite(path)
    if len(content) > MOST_BYTES:
        raise _not_one(path, "it is too large")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise _not_one(path, "it is empty" if not content.strip() else "it is neither JSON nor SQLite") from None
    if not isinstance(document, dict):
        raise _not_one(path, "it holds no JSON object")
    try:
        if isinstance(document.get("token_dictionary"), dict):
            return _from_schwabdev_json(document)
        if "RefreshToken" in document:
            return _from_schwab_api_cs(document)
        if isinstance(document.get("token"), dict):
            return _from_schwab_py(document)
    except (KeyError, ValueError, TypeError, OverflowError) as error:  # whose text may quote a token
        lacking = f": {error.args[0]!r} is missing" if type(error) is KeyError else ": a value is not as it should be"
        raise _not_one(path, f"it looks like one, but is broken{lacking}") from None
    if "refresh_token" in document:
        raise _not_one(path, "it is a token without the time of its login (schwab-py refuses this old form, too)")
    raise _not_one(path, "its keys are not those of a sign-in")


def _from_schwab_py(document: dict[str, Any]) -> Imported:
    login = document["creation_timestamp"] if "creation_timestamp" in document else document["timestamp"]
    expires = document["token"].get("expires_at")
    return _imported("schwab-py", document["token"], _number(login), _number(expires) if expires is not None else 0.0)


def _from_schwabdev_json(document: dict[str, Any]) -> Imported:
    token = document["token_dictionary"]
    issued, login = _stamp(document["access_token_issued"]), _stamp(document["refresh_token_issued"])
    return _imported("Schwabdev 2", token, login, issued + int(token.get("expires_in") or ACCESS_LIFE_S))


def _from_schwab_api_cs(document: dict[str, Any]) -> Imported:
    token = {"access_token": document["AccessToken"], "refresh_token": document["RefreshToken"]}
    ends = _stamp(document["RefreshTokenExpires"])
    access = document.get("AccessTokenExpires")
    return _imported("SchwabApiCS", token, ends - SIGN_IN_LIFE_S, _stamp(access) if access else 0.0)


def _from_sqlite(path: Path) -> Imported:
    """`mode=ro`: the database is read in place, and nothing is made beside it."""
    try:
        address = f"file:{quote(str(path.absolute()))}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=5.0)
        try:
            row = connection.execute(f"select {', '.join(COLUMNS)} from schwabdev limit 1").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "no such" in str(error):
            raise _not_one(path, "it is a database, but not Schwabdev's") from None
        raise _not_one(path, f"the database cannot be read: {error}") from None
    if row is None:
        raise _not_one(path, "Schwabdev's database is empty: it never signed in")
    found = dict(zip(COLUMNS, row, strict=True))
    if any(str(found[name]).startswith("enc:") for name in ("access_token", "refresh_token")):
        raise UsageError(
            f"the tokens in {path} are encrypted",
            next_step="only Schwabdev with your own key can read them: sign in with `alphakite auth`, or let Schwabdev "
            "write a database without `encryption=` and import that",
        )
    try:
        issued, login = _stamp(found["access_token_issued"]), _stamp(found["refresh_token_issued"])
        token = {name: found[name] for name in COLUMNS[2:] if found[name] is not None}
        return _imported("Schwabdev", token, login, issued + int(found["expires_in"] or ACCESS_LIFE_S))
    except (KeyError, ValueError, TypeError, OverflowError):
        raise _not_one(path, "Schwabdev's database holds a value that is not as it should be") from None


def _imported(kind: str, token: dict[str, Any], login_s: float, access_expires_s: float) -> Imported:
    for name in ("access_token", "refresh_token"):
        if not isinstance(token[name], str) or not token[name]:
            raise ValueError
    kept = token | {"expires_at": int(access_expires_s)}
    return Imported(kind, {"creation_timestamp": int(login_s), "token": kept})


def _stamp(text: Any) -> float:
    """ISO 8601 → seconds since 1970; without a zone: UTC."""
    if not isinstance(text, str):
        return _number(text)
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e11:
        raise ValueError
    return float(value)


def _not_one(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is no sign-in: {why}", next_step=f"name a file of {KINDS}")
