"""Other programs' sign-ins: each known form, naive stamps as UTC, and the source untouched."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.errors import UsageError
from alphakite.feed.schwab.token_import import COLUMNS, Imported, read_foreign

ACCESS, REFRESH = "I0.SECRET-ACCESS@", "SECRET-REFRESH@"
LOGIN_S = int(datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC).timestamp())
ISSUED_S = LOGIN_S + 86_400
TOKEN = {"expires_in": 1800, "token_type": "Bearer", "scope": "api", "refresh_token": REFRESH, "access_token": ACCESS}
NAIVE, AWARE, ELSEWHERE = "2026-11-20T12:00:00", "2026-11-20T12:00:00+00:00", "2026-11-20T07:00:00.1234567-05:00"
ISSUED = "2026-11-21T12:00:00"


def write(folder: Path, document: object) -> Path:
    path = folder / "foreign.json"
    path.write_text(json.dumps(document))
    return path


def schwabdev(folder: Path, row: dict[str, Any] | None, table: str = "schwabdev") -> Path:
    """A database as Schwabdev 3 and 4 make it."""
    path = folder / "tokens.db"
    connection = sqlite3.connect(path)
    connection.execute(
        f"create table {table} (access_token_issued text not null, refresh_token_issued text not null,"
        " access_token text not null, refresh_token text not null, id_token text not null, expires_in integer,"
        " token_type text, scope text)"
    )
    if row is not None:
        marks = ",".join("?" * len(COLUMNS))
        connection.execute(f"insert into {table} values ({marks})", [row[name] for name in COLUMNS])
    connection.commit()
    connection.close()
    return path


ROW = TOKEN | {"access_token_issued": ISSUED, "refresh_token_issued": NAIVE, "id_token": "ID"}


def untouched(path: Path) -> Imported:
    """Read it, and see that neither the file nor its folder changed."""
    before = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())
    found = read_foreign(path)
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) == before[:2]
    assert sorted(path.parent.iterdir()) == before[2]
    return found


def check(found: Imported, kind: str, login_s: float, expires_s: float) -> None:
    token = found.document["token"]
    assert (found.kind, found.login_at_s, token["expires_at"]) == (kind, login_s, expires_s)
    assert (token["access_token"], token["refresh_token"]) == (ACCESS, REFRESH)
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize("name", ["creation_timestamp", "timestamp"])
def test_schwab_py(tmp_path: Path, name: str) -> None:
    """And schwab_rb, which names the login time otherwise."""
    found = untouched(write(tmp_path, {name: LOGIN_S, "token": TOKEN | {"expires_at": ISSUED_S + 1800}}))
    check(found, "schwab-py", LOGIN_S, ISSUED_S + 1800)


@pytest.mark.parametrize("login", [NAIVE, AWARE, ELSEWHERE])
def test_schwabdev_3(tmp_path: Path, login: str) -> None:
    """A stamp without a zone is UTC, whatever this machine's zone is."""
    check(untouched(schwabdev(tmp_path, ROW | {"refresh_token_issued": login})), "Schwabdev", LOGIN_S, ISSUED_S + 1800)


def test_schwabdev_3_while_its_owner_writes(tmp_path: Path) -> None:
    """An open transaction of the owner's does not stop the reading, and is not stopped by it."""
    path = schwabdev(tmp_path, ROW)
    owner = sqlite3.connect(path)
    owner.execute("begin immediate")
    check(read_foreign(path), "Schwabdev", LOGIN_S, ISSUED_S + 1800)
    owner.rollback()
    owner.close()


def test_schwabdev_3_encrypted(tmp_path: Path) -> None:
    path = schwabdev(tmp_path, ROW | {"refresh_token": "enc:SECRET", "access_token": "enc:SECRET"})
    with pytest.raises(UsageError, match="encrypted") as refused:
        read_foreign(path)
    assert "alphakite auth" in refused.value.next_step and "SECRET" not in str(refused.value)


@pytest.mark.parametrize("login", [NAIVE, AWARE])
def test_schwabdev_2(tmp_path: Path, login: str) -> None:
    document = {"access_token_issued": ISSUED, "refresh_token_issued": login, "token_dictionary": TOKEN}
    check(untouched(write(tmp_path, document)), "Schwabdev 2", LOGIN_S, ISSUED_S + 1800)


def test_schwab_api_cs(tmp_path: Path) -> None:
    """It keeps the ends; the login was seven days before."""
    document = {
        "AccessToken": ACCESS,
        "RefreshToken": REFRESH,
        "AccessTokenExpires": "2026-11-21T12:30:00Z",
        "RefreshTokenExpires": "2026-11-27T07:00:00.0000000-05:00",
        "AppKey": "SECRET-KEY",
        "Secret": "SECRET",
        "Redirect_uri": "https://127.0.0.1:8182",
    }
    found = untouched(write(tmp_path, document))
    check(found, "SchwabApiCS", LOGIN_S, ISSUED_S + 1800)
    assert "SECRET-KEY" not in json.dumps(found.document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (TOKEN, "without the time of its login"),
        ({"creation_timestamp": "SECRET", "token": TOKEN}, "a value is not as it should be"),
        ({"creation_timestamp": True, "token": TOKEN}, "a value is not as it should be"),
        ({"token": TOKEN}, "'timestamp' is missing"),
        ({"creation_timestamp": LOGIN_S, "token": {"access_token": "SECRET"}}, "'refresh_token' is missing"),
        ({"creation_timestamp": LOGIN_S, "token": TOKEN | {"access_token": 7}}, "a value is not as it should be"),
        ({"refresh_token_issued": "SECRET", "access_token_issued": "x", "token_dictionary": TOKEN}, "a value is not"),
        ({"RefreshToken": "SECRET"}, "'AccessToken' is missing"),
        ({"SECRET": 1}, "its keys are not"),
        ([], "no JSON object"),
    ],
)
def test_what_is_no_sign_in_is_said(tmp_path: Path, document: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read_foreign(write(tmp_path, document))
    assert "SECRET" not in str(refused.value) and "schwab-py" in refused.value.next_step


@pytest.mark.parametrize(("content", "said"), [(b"", "empty"), (b"\xff\x00", "neither"), (b"[" * 99_999, "neither")])
def test_what_is_no_document_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_foreign(path)


@pytest.mark.parametrize(
    ("row", "table", "said"),
    [
        (None, "schwabdev", "never signed in"),
        (ROW, "other", "not Schwabdev's"),
        (ROW | {"refresh_token_issued": "SECRET"}, "schwabdev", "not as it should be"),
        (ROW | {"refresh_token": ""}, "schwabdev", "not as it should be"),
    ],
)
def test_other_databases_are_said(tmp_path: Path, row: dict[str, Any] | None, table: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read_foreign(schwabdev(tmp_path, row, table))
    assert "SECRET" not in str(refused.value)


def test_a_damaged_database(tmp_path: Path) -> None:
    path = schwabdev(tmp_path, ROW)
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000)
    with pytest.raises(UsageError, match="cannot be read"):
        read_foreign(path)


@given(content=st.binary(max_size=200))
def test_random_bytes_are_no_sign_in(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read_foreign(path)
