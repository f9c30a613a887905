"""Liveness and readiness, a row for each state; and `health --live` as Docker calls it."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from alphakite import health
from alphakite.cli import database_words
from alphakite.cli import health as command
from alphakite.cli.main import main
from alphakite.errors import UnavailableError
from alphakite.health import Pulse, judge
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import SignInStatus, Status, read_status, write_status

OPEN_US = 1_795_446_900_000_000  # Monday 2026-11-23, 10:55 New York
NIGHT_US = OPEN_US - 8 * 3_600_000_000
WALL_US = 1_800_000_000_000_000


def status(**fields: object) -> Status:
    given: dict[str, object] = {
        "pid": 7,
        "state": "streaming",
        "now_us": OPEN_US,
        "last_frame_us": OPEN_US - 1_000_000,
        "updated_wall_us": WALL_US - 300_000,
        "last_fsync_wall_us": WALL_US - 900_000,
    }
    return Status(**(given | fields))  # type: ignore[arg-type]


def seconds_ago(seconds: int) -> int:
    return WALL_US - seconds * 1_000_000


DEAD_LOGIN = SignInStatus(state="auth_required", reason="the refresh token is refused")


@pytest.mark.parametrize(
    ("found", "held", "live", "ready", "state", "reason"),
    [
        (status(), True, True, True, "streaming", ""),
        (None, False, False, False, "never_started", "no recorder has written"),
        (status(), False, False, False, "dead", "gone without having stopped"),
        (status(state="stopped"), False, False, False, "stopped", "was stopped"),
        (status(state="stopped"), True, False, False, "starting", "is starting"),
        (
            status(updated_wall_us=seconds_ago(40)),
            True,
            False,
            False,
            "stuck",
            "loop does not turn: its last word is 40",
        ),
        (status(last_fsync_wall_us=seconds_ago(50)), True, False, False, "stuck", "journal is not written: last made"),
        (status(last_fsync_wall_us=0), True, True, True, "streaming", ""),
        (status(state="connecting", last_frame_us=0), True, True, False, "connecting", "nothing was received yet"),
        (status(last_frame_us=OPEN_US - 90_000_000), True, True, False, "streaming", "nothing was received for 90 s"),
        (status(now_us=NIGHT_US, state="connecting", last_frame_us=0), True, True, True, "market_closed", "is closed"),
        (status(sign_in=DEAD_LOGIN), True, True, True, "auth_required", "auth_required: the refresh token is refused"),
        (
            status(state="auth_required", reason="no login"),
            True,
            True,
            True,
            "auth_required",
            "auth_required: no login",
        ),
        (
            status(state="auth_required", last_frame_us=OPEN_US - 90_000_000),
            True,
            True,
            False,
            "auth_required",
            "auth_required: Schwab wants",
        ),
        (status(state="database_away", reason="refused"), True, True, True, "database_away", "database_away: refused"),
        (status(state="starting"), True, True, False, "starting", "is starting"),
    ],
)
def test_each_state(found: Status | None, held: bool, live: bool, ready: bool, state: str, reason: str) -> None:
    """A closed market, a missing sign-in and an absent database are states, not failures of liveness."""
    verdict = judge(found, lock_held=held, now_wall_us=WALL_US)
    assert (verdict.live, verdict.ready, verdict.state) == (live, ready, state)
    assert reason in "; ".join(verdict.reasons) and bool(reason) == bool(verdict.reasons)
    if state in ("auth_required", "dead", "stuck", "never_started", "stopped"):
        assert verdict.next_step


def test_any_hour_knows_no_closed_market() -> None:
    """SKIP_MARKET_HOURS: silence at night is silence."""
    found = status(now_us=NIGHT_US, last_frame_us=NIGHT_US - 90_000_000)
    assert judge(found, lock_held=True, now_wall_us=WALL_US, any_hour=True).state == "streaming"
    far = status(now_us=OPEN_US * 3, last_frame_us=OPEN_US * 3)
    assert judge(far, lock_held=True, now_wall_us=WALL_US).ready


def test_a_slow_disk_by_setting_is_no_fault() -> None:
    """JOURNAL_FSYNC_INTERVAL=60 is given five of its intervals."""
    found = status(last_fsync_wall_us=seconds_ago(200))
    assert not judge(found, lock_held=True, now_wall_us=WALL_US).live
    assert judge(found, lock_held=True, now_wall_us=WALL_US, fsync_interval_s=60).live


def test_the_pulse() -> None:
    """A fault once the journal was not made safe for long, by monotonic time."""
    now = 100.0
    pulse = Pulse(1.0, monotonic=lambda: now)
    now += health.FSYNC_LATE_S - 1
    assert pulse.fault() == ""
    now += 2
    assert "21 s ago" in pulse.fault()
    pulse.fsynced()
    assert pulse.fault() == ""


def test_old_status_files_read(tmp_path: Path) -> None:
    """A file of the version before has none of the new fields."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "status.json").write_text('{"schema":1,"pid":3,"state":"streaming","future":1}')
    found = read_status(tmp_path)
    assert found is not None and found.sign_in.state == "unknown" and found.journal_days_left is None


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A data folder whose recorder lives, waiting for a sign-in."""
    now_us = time.time_ns() // 1000
    found = status(state="auth_required", updated_wall_us=now_us, last_fsync_wall_us=now_us, sign_in=DEAD_LOGIN)
    found.last_frame_us = found.now_us - 600_000_000
    write_status(tmp_path, found)
    (tmp_path / "journal").mkdir()
    return tmp_path


def test_live_as_docker_asks(recorder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the lock and the status file are read; auth_required is alive, and named with what to do."""
    with (recorder / "journal" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["health", "--live", "--data", str(recorder), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["schema"], found["live"], found["state"]) == (1, True, "auth_required")
        assert "alphakite auth" in found["next_step"] and found["ready"] is False
        assert main(["health", "--live", "--data", str(recorder)]) == 0
        assert "next: sign in: alphakite auth" in capsys.readouterr().out
    assert main(["health", "--live", "--data", str(recorder)]) == 1
    assert "the recorder is gone" in capsys.readouterr().out


def test_a_probe_does_not_keep_a_recorder_from_starting(tmp_path: Path) -> None:
    """Whoever looks whether the lock is held holds it for a moment; the writer has that much patience."""
    JournalWriter(tmp_path, segment_bytes=1000).close()
    with (tmp_path / "lock").open() as probe:
        fcntl.flock(probe, fcntl.LOCK_SH)
        timer = threading.Timer(0.05, lambda: fcntl.flock(probe, fcntl.LOCK_UN))
        timer.start()
        JournalWriter(tmp_path, segment_bytes=1000).close()
        timer.join()


def test_live_is_quick_because_it_loads_nothing(recorder: Path) -> None:
    """No database driver, no event loop, no HTTP: a probe every few seconds must cost nothing."""
    code = (
        "import sys; from alphakite.cli.main import main\n"
        f"main(['health', '--live', '--data', {str(recorder)!r}])\n"
        "print([n for n in sys.modules if n in ('asyncio', 'asyncpg', 'httpx', 'rich', 'picows', 'ssl', 'uvloop')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_parts_are_named(
    recorder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`health` keeps its keys, and adds the parts and the verdict."""
    row = {
        "ticker": "QQQ",
        "status": "healthy",
        "last_data_at": "2026-11-23T15:55:00Z",
        "data_age_seconds": 1.0,
        "records_last_hour": 9,
        "error_rate_percent": None,
        "session_state": "open",
        "open_gaps": 0,
    }
    monkeypatch.setattr(command, "ask_database", lambda _settings, tickers: [row | {"ticker": one} for one in tickers])
    assert main(["health", "--data", str(recorder), "--json", "--ticker", "spy"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is True and [one["ticker"] for one in found["tickers"]] == ["SPY"]
    assert set(found["parts"]) == {"recorder", "sign-in", "journal", "database"}
    assert found["parts"]["sign-in"] == {"state": "auth_required", "detail": "the refresh token is refused"}
    assert found["live"] is False
    assert main(["health", "--data", str(recorder)]) == 0
    assert "sign-in    auth_required" in capsys.readouterr().out


def test_a_database_that_is_away(
    recorder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4, and the parts that are there are shown all the same."""

    def away(_settings: object, _tickers: object) -> list[dict[str, object]]:
        raise UnavailableError("the database does not answer")

    monkeypatch.setattr(command, "ask_database", away)
    assert main(["health", "--data", str(recorder), "--json"]) == 4
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["healthy"], found["tickers"]) == (False, [])
    assert found["parts"]["database"] == {"state": "away", "detail": "the database does not answer"}
    assert found["parts"]["recorder"]["state"] == "dead"
    assert "the database does not answer" in shown.err


def test_status_says_what_to_do(recorder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both clocks in words, the journal's budget, and a next step for each problem."""
    now_us = time.time_ns() // 1000
    found = read_status(recorder)
    assert found is not None
    found.sign_in = SignInStatus(
        state="expiring",
        login_at_us=now_us - 6 * 86_400_000_000,
        access_expires_us=now_us + 1_500_500_000,
        refresh_expires_us=now_us + 86_400_000_000 + 7_200_500_000,
    )
    found.state, found.notices = "streaming", ["another program took this stream"]
    found.journal_bytes, found.journal_budget_bytes, found.journal_days_left = 1_234_500_000, 4_000_000_000, 12.34
    found.journal_first_seq, found.refused = 5_000, {"LEVELONE_EQUITIES": 3}
    found.selftest = {"sizes": {"value": "shares", "state": "settled", "evidence": "200 sizes"}, "index": {}}
    write_status(recorder, found)
    with (recorder / "journal" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["status", "--data", str(recorder)]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert main(["status", "--data", str(recorder), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
    for words in (
        "expiring, signed in",
        "login good for 1 d 2 h, access token good for 25 min",
        "1,234.5 MB, begins at record 5,000, earlier ones were removed, budget 4,000 MB, budget full in 12.3 days",
        "! the sign-in ends in 1 d 2 h: renew it before, alphakite auth",
        "! another program took this stream",
        "! Schwab refused 3 of LEVELONE_EQUITIES",
        "self-test 1 of 2 facts about Schwab are known sizes shares (200 sizes)",
    ):
        assert words in shown
    assert document["sign_in"]["token_file"] is False
    for key in ("state", "alive", "conservation", "sign_in", "database", "pid", "frames"):
        assert key in document
    assert database_words.span(40) == "40 s" and database_words.span(11_520) == "3 h 12 min"
