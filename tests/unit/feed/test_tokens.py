"""The token file: for the owner only, whole or not at all, and silent about what is in it."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from alphakite.errors import ConfigError
from alphakite.feed.schwab.tokens import TokenFile

ACCESS, REFRESH = "I0.aW52ZW50ZWQ.bm90LWEtdG9rZW4@", "aW52ZW50ZWQ.cmVmcmVzaA@"
CREATED_S = 1_795_431_600


def document(**changes: Any) -> dict[str, Any]:
    """The file as schwab-py writes it (R5 of the Schwab reference)."""
    token = {"expires_in": 1800, "token_type": "Bearer", "refresh_token": REFRESH, "access_token": ACCESS}
    return {"creation_timestamp": CREATED_S, "token": token | {"expires_at": int(time.time()) + 1800} | changes}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "token.json"
    made.write_text(json.dumps(document()))
    made.chmod(0o600)
    return made


def test_it_reads_what_schwab_py_wrote(path: Path) -> None:
    tokens = TokenFile(path)
    assert (tokens.token()["access_token"], tokens.token()["refresh_token"]) == (ACCESS, REFRESH)
    assert not tokens.stale()


def test_a_file_that_another_program_replaced_is_read_again(path: Path) -> None:
    """The person signed in again with another tool: no restart is needed."""
    tokens = TokenFile(path)
    tokens.token()
    newer = path.with_suffix(".new")
    newer.write_text(json.dumps(document(access_token="newer")))
    newer.replace(path)
    assert tokens.token()["access_token"] == "newer"


@pytest.mark.parametrize(("expires_in_s", "stale"), [(1800, False), (310, False), (290, True), (0, True), (-1, True)])
def test_it_is_stale_five_minutes_before_its_end(path: Path, expires_in_s: int, stale: bool) -> None:
    path.write_text(json.dumps(document(expires_at=time.time() + expires_in_s)))
    assert TokenFile(path).stale() is stale


@pytest.mark.parametrize("end", [None, "soon", [], {}])
def test_an_end_that_is_no_number_is_stale(path: Path, end: object) -> None:
    path.write_text(json.dumps(document(expires_at=end)))
    assert TokenFile(path).stale()


def test_a_refresh_replaces_the_file_whole_and_keeps_the_rest(path: Path) -> None:
    """0600 under any umask; the creation time and what the answer leaves out stay; no temporary file is left."""
    tokens = TokenFile(path)
    inode = path.stat().st_ino
    mask = os.umask(0)
    try:
        tokens.store({"access_token": "next", "expires_in": 900})
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino != inode
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    found = json.loads(path.read_text())
    assert found["creation_timestamp"] == CREATED_S
    assert (found["token"]["access_token"], found["token"]["refresh_token"]) == ("next", REFRESH)
    assert abs(found["token"]["expires_at"] - time.time() - 900) < 60
    assert tokens.token()["access_token"] == "next"


def test_a_refresh_that_dies_half_way_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    tokens = TokenFile(path)

    def power_cut(_fd: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", power_cut)
        with pytest.raises(KeyboardInterrupt):
            tokens.store({"access_token": "next"})
    assert path.read_bytes() == before
    tokens.store({"access_token": "next"})
    assert TokenFile(path).token()["access_token"] == "next"


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "not json SECRET",
        "[]",
        "null",
        '"SECRET"',
        '{"token":"SECRET"}',
        '{"token":["SECRET"]}',
        '{"access_token":"SECRET","refresh_token":"SECRET"}',
        '{"token":{"access_token":"SECRET"}}',
        '{"token":{"access_token":"SECRET","refresh_token":""}}',
        '{"token":{"access_token":"","refresh_token":"SECRET"}}',
        "\udcff\udcfe SECRET",
    ],
)
def test_no_usable_file_is_a_setting_to_mend(tmp_path: Path, content: str | None) -> None:
    """It names the file and the next step, and nothing that stands in the file."""
    path = tmp_path / "token.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError) as refused:
        TokenFile(path).token()
    assert str(path) in str(refused.value)
    assert "SCHWAB_TOKEN_FILE" in refused.value.next_step
    assert "SECRET" not in str(refused.value) + refused.value.next_step
