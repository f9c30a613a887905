"""The token file: for the owner only, whole or not at all, one writer at a time, and silent about what is in it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from alphakite.errors import SignInError, TransientError
from alphakite.feed.schwab import tokens as module
from alphakite.feed.schwab.tokens import SIGN_IN_LIFE_S, TokenFile

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
    """0600 under any umask; the creation time and what the answer leaves out stay; only the copy before is left."""
    tokens = TokenFile(path)
    before = path.read_text()
    inode = path.stat().st_ino
    mask = os.umask(0)
    try:
        tokens.store({"access_token": "next", "expires_in": 900})
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino != inode
    backup = path.with_name("token.json.bak")
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, backup.name}
    assert (json.loads(backup.read_text()), stat.S_IMODE(backup.stat().st_mode)) == (json.loads(before), 0o600)
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
def test_no_usable_file_asks_for_a_sign_in(tmp_path: Path, content: str | None) -> None:
    """It names the file and the next step, and nothing that stands in the file."""
    path = tmp_path / "token.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    tokens = TokenFile(path)
    with pytest.raises(SignInError) as refused:
        tokens.token()
    assert (tokens.sign_in().state, tokens.version()) == ("missing", "")
    assert str(path) in str(refused.value)
    assert "alphakite auth" in refused.value.next_step
    assert "SCHWAB_TOKEN_FILE" in refused.value.next_step
    assert "SECRET" not in str(refused.value) + refused.value.next_step


@pytest.mark.parametrize("broken", ["", "{", '{"token":', "[]"])
def test_a_broken_file_is_replaced_by_the_copy_before(
    path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that writes in place and dies leaves half a file: the .bak serves, and that is said once."""
    TokenFile(path).store({"access_token": "second"})
    path.write_text(broken)
    tokens = TokenFile(path)
    assert [tokens.token()["access_token"] for _ in range(3)] == [ACCESS] * 3
    assert [record.message for record in caplog.records].count("token_file_broken") == 1
    tokens.store({"access_token": "third"})
    assert TokenFile(path).token()["access_token"] == "third"
    assert json.loads(path.with_name("token.json.bak").read_text())["token"]["access_token"] == ACCESS


def test_a_file_that_was_taken_away_stays_away(path: Path) -> None:
    """Who removes the file signs out: the copy before is for broken files only."""
    tokens = TokenFile(path)
    tokens.store({"access_token": "second"})
    path.unlink()
    with pytest.raises(SignInError, match="there is none"):
        tokens.token()


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    """The file that is meant is replaced, not the way to it."""
    link = tmp_path / "elsewhere" / "link.json"
    link.parent.mkdir()
    link.symlink_to(path)
    TokenFile(link).store({"access_token": "second"})
    assert link.is_symlink() and TokenFile(path).token()["access_token"] == "second"


def test_a_new_sign_in_replaces_all_of_it(tmp_path: Path) -> None:
    """In a folder that is made for it; what is no token document is not written."""
    tokens = TokenFile(tmp_path / "new" / "token.json")
    assert tokens.writable()
    tokens.replace(document())
    assert (tokens.login_at, tokens.refresh_expires) == (CREATED_S, CREATED_S + SIGN_IN_LIFE_S)
    assert stat.S_IMODE(tokens.path.parent.stat().st_mode) == 0o700
    with pytest.raises(ValueError, match="holds no refresh_token"):
        tokens.replace(document(refresh_token=""))
    assert tokens.token()["refresh_token"] == REFRESH


def test_a_refresh_that_cannot_be_written_serves_from_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until somebody writes the file anew."""
    tokens = TokenFile(path)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        tokens.store({"access_token": "second"})
    assert tokens.token()["access_token"] == "second"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    TokenFile(path).store({"access_token": "third"})
    assert tokens.token()["access_token"] == "third"


@pytest.mark.parametrize(
    ("now_s", "refused", "state"),
    [
        (CREATED_S, "", "ok"),
        (CREATED_S + 6 * 86_400 - 1, "", "ok"),
        (CREATED_S + 6 * 86_400 + 1, "", "expiring"),
        (CREATED_S + 7 * 86_400, "", "auth_required"),
        (CREATED_S, "refused", "auth_required"),
        (0, "", "ok"),
    ],
)
def test_both_clocks_age_by_the_time_given(path: Path, now_s: float, refused: str, state: str) -> None:
    """The seven days count from the login; before a feed clock knows the time nothing is old."""
    path.write_text(json.dumps(document(expires_at=CREATED_S + 1800)))
    tokens = TokenFile(path, lambda: now_s)
    found = tokens.sign_in(refused)
    assert (found.state, found.needs_login) == (state, state == "auth_required")
    assert (found.login_at_s, found.refresh_expires_s) == (CREATED_S, CREATED_S + 604_800)
    assert tokens.stale() is (now_s > CREATED_S)
    tokens.store({"access_token": "second", "expires_in": 1800})
    assert tokens.login_at == CREATED_S
    assert tokens.access_expires == now_s + 1800


def test_the_seven_days_are_over_while_the_access_token_still_serves(path: Path) -> None:
    path.write_text(json.dumps(document(expires_at=CREATED_S + 604_800 + 900)))
    found = TokenFile(path, lambda: CREATED_S + 604_800.0).sign_in()
    assert (found.state, found.reason) == ("expiring", "the seven days of this sign-in are over")


@pytest.mark.parametrize("created", [None, "then", True, -5, float("nan")])
def test_a_login_time_that_is_none_is_not_known(path: Path, created: object) -> None:
    path.write_text(json.dumps(document() | {"creation_timestamp": created}))
    tokens = TokenFile(path)
    assert (tokens.login_at, tokens.refresh_expires, tokens.sign_in().state) == (0, 0, "ok")


def test_the_version_changes_with_the_tokens_only(path: Path) -> None:
    """So that a dead sign-in is not tried again because somebody touched the file; and it tells nothing of it."""
    tokens = TokenFile(path)
    first = tokens.version()
    os.utime(path)
    assert tokens.version() == first
    assert ACCESS not in first and REFRESH not in first
    tokens.store({"access_token": "second"})
    assert tokens.version() not in (first, "")


async def test_one_at_a_time_in_one_process(path: Path) -> None:
    inside, most = 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with TokenFile(path).lock():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(5)))
    assert most == 1


HOLD = """
import asyncio, sys
from pathlib import Path
from alphakite.feed.schwab.tokens import TokenFile
async def main():
    tokens = TokenFile(Path(sys.argv[1]))
    async with tokens.lock():
        print("held", flush=True)
        sys.stdin.readline()
        tokens.store({"access_token": "of another process"})
asyncio.run(main())
"""


async def test_one_at_a_time_across_processes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop turns while it waits, the wait has an end, and inside the file is read again."""
    tokens = TokenFile(path)
    assert tokens.token()["access_token"] == ACCESS
    other = subprocess.Popen(  # noqa: ASYNC220 - the other side, without a loop of ours
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None and other.stdout is not None
    try:
        assert other.stdout.readline() == "held\n"
        with monkeypatch.context() as patch:
            patch.setattr(module, "LOCK_WITHIN_S", 0.1)
            with pytest.raises(TransientError, match="another process holds"):
                async with tokens.lock():
                    raise AssertionError("the lock is not ours")

        async def enter() -> str:
            async with tokens.lock():
                return str(tokens.token()["access_token"])

        waiting = asyncio.create_task(enter())
        await asyncio.sleep(0)
        assert not waiting.done()
        other.stdin.write("\n")
        other.stdin.close()
        assert await asyncio.wait_for(waiting, 20) == "of another process"
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
