"""What Schwab's side can do to a stream, done to a whole recorder: the gap has its reason, and the rest is right."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
from tests import harness
from tests.harness import Recording, derived_again, output, table

TAPE = ("--session", "2026-11-20", "--start", "10:15", "--end", "10:19", "--seed", "3")
END_US = int(datetime.fromisoformat("2026-11-20T10:19:00-05:00").timestamp()) * 1_000_000
SETTINGS = {"METRICS_INTERVAL": "1", "BATCH_INTERVAL": "0.1"}
AT = "10:16:30"
ENDS = {
    "drop": "socket_down",
    "close=1011": "socket_down",
    "close-silent": "socket_down",
    "half-open": "silence",
    "stop=slow": "stopped",
    "stop=empty": "stopped",
}
"""Fault → the reason of the gap after it."""
BORNE = ("duplicate", "drip", "huge=3", "code=22",
         *(f"garbage={kind}" for kind in ("json", "utf8", "service", "field", "nan", "nul")))  # fmt: skip
"""Faults that cost nothing."""
LONGER = (*(f"garbage={kind}" for kind in ("utf8", "field", "nan")), "huge=3")
"""Only in `make faults`."""
NULLS = ("garbage=nan", "garbage=nul")
REJECTED = ("garbage=json", "garbage=service", "garbage=field")
SERVICE_AWAY_S = 60
"""Of real time: a service that answered 11 is asked again after it."""

Rows = dict[str, tuple[str, str]]


def facing(folder: Path, *faults: str, speed: str = "max", silence_s: int = 1) -> Recording:
    """A recorder against a simulator with these faults."""
    play = ["--speed", speed, "--on-disconnect", "hold" if speed == "max" else "run"]
    for fault in faults:
        play += ["--fault", fault if "@" in fault or fault.startswith("code") else f"{fault}@{AT}"]
    recording = Recording(folder, *TAPE, *play, env=SETTINGS | {"SILENCE_TIMEOUT": str(silence_s)})
    recording.begin()
    return recording


@pytest.fixture(scope="module")
def truth() -> Rows:
    return {row["timestamp"]: (row["price"], row["volume"]) for row in harness.truth(*TAPE)}


def rows_of(recording: Recording, *, flagged: bool = True) -> Rows:
    rows = table(recording.data, "equity_data")
    return {row["timestamp"]: (row["price"], row["volume"]) for row in rows if flagged or not row["flags"]}


def gaps_within(recording: Recording) -> list[dict[str, str]]:
    """Those that begin while the tape plays."""
    return [gap for gap in table(recording.data, "stream_gaps") if "15:15" < gap["start_at"][11:] < "15:19"]


@pytest.mark.parametrize("fault", ENDS)
def test_a_stream_that_ends_is_begun_again_and_the_hole_has_its_reason(tmp_path: Path, truth: Rows, fault: str) -> None:
    with facing(tmp_path, fault) as recording:
        recording.until_played(END_US)
        recording.end()
        assert [gap["reason"] for gap in gaps_within(recording)] == [ENDS[fault]]
        found = rows_of(recording, flagged=False)
        assert len(found) >= len(truth) - 4
        assert found.items() <= truth.items()
        assert derived_again(recording.data)["differences"] == 0


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.slow) if fault in LONGER else fault for fault in BORNE]
)
def test_what_can_be_borne_costs_nothing(tmp_path: Path, truth: Rows, fault: str) -> None:
    with facing(tmp_path, fault) as recording:
        recording.until_played(END_US)
        recording.end()
        assert gaps_within(recording) == [], recording.lines()
        rows, status = rows_of(recording), recording.status()
    if fault in NULLS:  # absent is absent: the second of that frame, or the one it was due in, may say NULL
        rows = {at: row for at, row in rows.items() if "" not in row}
        assert len(rows) >= len(truth) - 2 and rows.items() <= truth.items()
    else:
        assert rows == truth
    assert status["rejected"] >= (1 if fault in REJECTED else 0)
    assert status["frames"] == status["decoded"] + status["rejected_frames"] > len(truth)


SHIFTED = {"reorder": (29, 31), "skew=5000": (29, 34), "skew=-5000": (28, 29)}
"""Fault at 10:16:30 → the seconds of 10:16 that it may change, first and last. The frame then is that of second 29."""


@pytest.mark.parametrize("fault", SHIFTED)
def test_a_frame_out_of_its_time_changes_only_its_seconds(tmp_path: Path, truth: Rows, fault: str) -> None:
    """Time never goes back, no volume is lost or negative, and what cannot be told apart from a fall is called one."""
    with facing(tmp_path, fault) as recording:
        recording.until_played(END_US)
        recording.end()
        assert gaps_within(recording) == [], recording.lines()
        rows, events = rows_of(recording), table(recording.data, "quality_events")
        flagged = {row["timestamp"] for row in table(recording.data, "equity_data") if row["flags"]}
        assert derived_again(recording.data)["differences"] == 0
    first, last = (f"2026-11-20T15:16:{second}.000000Z" for second in SHIFTED[fault])
    changed = {at for at in truth | rows if truth.get(at) != rows.get(at)}
    assert changed and all(first <= at <= last for at in changed), sorted(changed)
    assert rows[last if fault != "skew=-5000" else first][0] == truth[last][0], "the price in the end"
    fell = 0
    if fault == "reorder":
        (event,) = events
        assert (event["kind"], event["timestamp"][:19]) == ("volume_fell", "2026-11-20T15:16:30")
        before, after = (int(word) for word in event["detail"].split() if word.isdigit())
        fell = before - after
        assert flagged == {"2026-11-20T15:16:30.000000Z"}
    else:
        assert (events, flagged) == ([], set())
    assert volume(rows) == volume(truth) + fell and all(int(size) >= 0 for _, size in rows.values())


def volume(rows: Rows) -> int:
    return sum(int(size) for _, size in rows.values())


def test_a_service_that_is_away_is_asked_again_after_its_time(tmp_path: Path, truth: Rows) -> None:
    """Code 11: the other service streams on, the refusal is shown, and after a minute rows come, and are right."""
    with facing(tmp_path, "drop@10:15:30", "code=11:SUBS@10:15:30", speed="2", silence_s=45) as recording:
        recording.until(lambda status: status["refused"] == {"LEVELONE_EQUITIES": 1})
        refused_at = time.monotonic()
        status = recording.until(lambda status: status["conn"] == 2 and status["capture"] == "streaming")
        images = status["images"]
        status = recording.until(lambda status: status["images"] > images, SERVICE_AWAY_S + 40)
        assert time.monotonic() - refused_at > SERVICE_AWAY_S - 2
        rows = status["rows_committed"]
        status = recording.until(lambda status: status["rows_committed"] > rows + 20)
        assert (status["refused"], status["conn"]) == ({}, 2)
        recording.end()
        (refusal,) = (line for line in recording.lines() if line["event"] == "subscription_refused")
        assert (refusal["service"], refusal["code"]) == ("LEVELONE_EQUITIES", 11)
        _late, away, _down = table(recording.data, "stream_gaps")
        start, end = (datetime.fromisoformat(away[name]).timestamp() for name in ("start_at", "end_at"))
        assert away["reason"] == "socket_down" and end - start > SERVICE_AWAY_S
        found = rows_of(recording, flagged=False)
        assert found.items() <= truth.items() and len(found) > 30
        last = max(found)
        missing = {datetime.fromisoformat(at).timestamp() for at in truth if at <= last and at not in found}
        assert all(start - 1 < at < end for at in missing - {min(missing)}), "beside the first, partial second"
        assert derived_again(recording.data)["differences"] == 0


def test_another_program_takes_the_stream(tmp_path: Path) -> None:
    """It is said in those words, everywhere, and a minute passes before the next try."""
    with facing(tmp_path, "evict") as recording:
        recording.until(lambda status: status["capture"] == "connecting" and status["reconnects"] >= 1)
        evicted = next(line for line in recording.lines() if line["event"] == "evicted")
        assert "another program took this stream" in evicted["error"] and evicted["again_in_s"] >= 60
        shown = output("status", "--data", str(recording.data))
        assert "another program took this stream" in " ".join(shown.split())
        recording.end()
        assert [gap["reason"] for gap in gaps_within(recording)] == ["evicted"]
