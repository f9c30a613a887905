"""kill −9 between two steps that belong together: told Schwab and not ourselves, or the other way round; half a file.

The next life brings both sides to what the settings say, no row is wrong, and nothing but the time between is a gap.
"""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path

import pytest
from tests.harness import CHECKOUT, Recording, derived_again, output, table, truth

QUIET, BUSY = "ZZILL", "QQQ"
"""One hardly trades, so that the first write after a command is that of the command."""
TAPE = ("--symbol", QUIET, "--symbol", BUSY, "--session", "2026-11-20", "--start", "10:15", "--end", "10:35")
SPEED = "8"
TRIES = 5
OURS, SCHWABS = "config", "frame"
"""What the last records tell of: the tickers that are wanted, or Schwab's answer to the command."""
LAST = {OURS: 1, SCHWABS: 3}
"""How many records count as the last: an image may have come in one read with the answer."""


def records(recording: Recording) -> list[dict[str, str]]:
    lines = output("journal", "export", "--data", str(recording.data)).splitlines()
    return [json.loads(line) for line in lines]


def told(recording: Recording, *tickers: str) -> None:
    """The settings name these tickers."""
    lines = recording.env_file.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("STREAM_TICKER=")]
    recording.env_file.write_text("\n".join([*kept, f"STREAM_TICKER={','.join(tickers)}\n"]))


def killed_in_change(recording: Recording, before: tuple[str, ...], after: tuple[str, ...], write: int) -> list[str]:
    """A life that begins with some tickers and dies at so many writes after it was told others: its last records."""
    armed = recording.folder / "armed"
    armed.unlink(missing_ok=True)
    told(recording, *before)
    recorder = recording.begin(env={"ALPHAKITE_TEST_KILL": f"after_write:{write}:{armed}"})
    recording.until(
        lambda status: status["capture"] == "streaming" and len(status["tickers"]) == len(before) and status["images"]
    )
    told(recording, *after)
    armed.touch()
    recorder.send_signal(signal.SIGHUP)
    recording.killed()
    return [f"{record['kind']} {record['payload']}" for record in records(recording)]


@pytest.mark.parametrize(
    ("before", "after", "write", "last"),
    [
        pytest.param((QUIET,), (QUIET, BUSY), 1, OURS, id="added-not-asked-for"),
        pytest.param((QUIET,), (QUIET, BUSY), 2, SCHWABS, id="asked-for"),
        pytest.param((QUIET, BUSY), (QUIET,), 1, SCHWABS, id="stopped-not-let-go"),
        pytest.param((QUIET, BUSY), (QUIET,), 3, OURS, id="let-go"),
    ],
)
def test_tickers_change_at_the_moment_of_a_kill(
    tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...], write: int, last: str
) -> None:
    """Whichever of the two knew, the next life records what the settings say, and what was recorded is true."""
    command = "ADD" if len(after) > len(before) else "UNSUBS"
    wanted = json.dumps([*after], separators=(",", ":"))
    mark = f'"tickers":{wanted}' if last == OURS else f'"command":"{command}"'
    with Recording(tmp_path, *TAPE, "--speed", SPEED, env={"BATCH_INTERVAL": "0.1"}) as recording:
        for _ in range(TRIES):
            found = killed_in_change(recording, before, after, write)[-LAST[last] :]
            if any(record.startswith(f"{last} ") and mark in record for record in found):
                break
        else:
            raise AssertionError(f"never at the moment: {found}")
        recording.begin()
        status = recording.until(lambda status: status["capture"] == "streaming" and status["tickers"] == [*after])
        rows = status["rows_committed"]
        recording.until(lambda status: status["rows_committed"] > rows + 3 and status["committed"])
        recording.end()
        expected = {(row["ticker"], row["timestamp"]): (row["price"], row["volume"]) for row in truth(*TAPE)}
        kept = {
            (row["ticker"], row["timestamp"]): (row["price"], row["volume"])
            for row in table(recording.data, "equity_data")
            if not row["flags"]
        }
        assert kept.items() <= expected.items()
        gaps = table(recording.data, "stream_gaps")
        assert {gap["reason"] for gap in gaps if gap["ticker"] in after} <= {"late_start", "process_down"}
        ends = {ticker: [gap for gap in gaps if gap["ticker"] == ticker] for ticker in (QUIET, BUSY)}
        assert [gap["end_at"] for gap in ends[BUSY] if not gap["end_at"]] == ([""] if BUSY in after else [])
        assert any(ticker == BUSY for ticker, _ in kept) or BUSY not in after
        assert derived_again(recording.data)["differences"] == 0
        streamed = [row["payload"] for row in records(recording) if row["kind"] == "frame"][-10:]
        assert any(f'"key":"{BUSY}"' in payload for payload in streamed) is (BUSY in after)


def test_the_token_file_is_never_half(tmp_path: Path) -> None:
    """Killed at each moment of its replacement by the running recorder: there is a whole file, and it goes on."""
    play = ("--session", "2026-11-20", "--start", "10:00", "--end", "12:00", "--speed", "max", "--access-life", "900")
    with Recording(tmp_path, *play, "--on-disconnect", "hold") as recording:
        (place,) = (
            line.partition("=")[2]
            for line in recording.env_file.read_text().splitlines()
            if line.startswith("SCHWAB_TOKEN_FILE=")
        )
        file = Path(place).resolve()
        moments = (
            ("os.rename", str(file), 1),
            ("os.rename", f"{file}.bak", 2),
            ("open", f"{file}.tmp", 2),
            ("open", str(file.parent), 2),
        )
        before = file.read_text()
        for moment in moments:
            path = f"{CHECKOUT / 'tests' / 'faults' / 'dying'}:{CHECKOUT / 'src'}"
            recording.begin(env={"PYTHONPATH": path, "ALPHAKITE_TEST_DIE": json.dumps(moment)})
            recording.killed()
            token = json.loads(file.read_text())["token"]
            assert token["access_token"] and token["refresh_token"]
            assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in tmp_path.glob("env.token.json*"))
        assert file.read_text() != before
        recording.begin()
        end_us = 1795194000 * 1_000_000
        status = recording.until_played(end_us)
        recording.end()
        assert status["sign_in"]["state"] == "ok"
        assert "auth_required" not in recording.events()
        reasons = {gap["reason"] for gap in table(recording.data, "stream_gaps")}
        assert reasons <= {"late_start", "process_down", "socket_down"}
        assert derived_again(recording.data)["differences"] == 0
        assert not list(tmp_path.glob("*.tmp"))
