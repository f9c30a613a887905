"""What people read of the database: how full, how far behind, what to do; and how the latter is reckoned."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from alphakite.cli.database_words import catch_up_words, problems, room_words, span
from alphakite.metrics import CatchUpStatus, RoomStatus, Status, overall
from alphakite.recorder.governor import forecast_words, state_of
from alphakite.recorder.progress import Progress
from alphakite.store.forecast import Forecast


def builtins(of: msgspec.Struct, **more: object) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(of)
    return found | more


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (RoomStatus(), ""),
        (RoomStatus(bytes=12_000_000, measured_us=1), "12 MB of no limit"),
        (
            RoomStatus(bytes=412_000_000, limit_bytes=500_000_000, measured_us=1, forecast="full on 2026-12-11"),
            "412 of 500 MB (82 %), full on 2026-12-11",
        ),
        (
            RoomStatus(bytes=1, measured_us=1, removed_days=2, last_removed="2026-11-20 of option_prices"),
            "0 MB of no limit, 2 days removed, the newest: 2026-11-20 of option_prices",
        ),
    ],
)
def test_room(room: RoomStatus, words: str) -> None:
    assert room_words(builtins(room)) == words


def test_catching_up() -> None:
    assert catch_up_words(None) == ""
    found = CatchUpStatus(records=1_204_300, behind_s=11_520, records_per_s=4_000, times_real=38.4, left_s=301)
    assert catch_up_words(builtins(found)) == (
        "behind by 3 h 12 min (1,204,300 records), catching up at 38x real time, 5 min left"
    )
    assert catch_up_words(builtins(CatchUpStatus(records=5_000, behind_s=61))) == "behind by 1 min (5,000 records)"
    assert [span(s) for s in (0, 59.9, 3_599, 90_000)] == ["0 s", "59 s", "59 min", "1 d 1 h"]


def test_what_to_do() -> None:
    away = Status(capture="streaming", database_error="over quota [over_quota]", database_state="over_quota")
    away.state = overall(away)
    assert away.state == "database_away"
    assert problems(builtins(away, alive=True)) == [
        "the database takes no rows (over_quota), the journal keeps everything: over quota [over_quota]"
    ]
    full = Status(capture="streaming", database_error="the database is full: …", database_state="full")
    full.state = overall(full)
    assert full.state == "database_full"
    assert problems(builtins(full, alive=True))[0].startswith("the database takes no rows, the journal keeps")
    room = RoomStatus(
        state="crowded", bytes=91, limit_bytes=100, measured_us=1, kept_because="DATABASE_THIN=yes is not set"
    )
    crowded = builtins(Status(state="streaming", room=room), alive=True)
    assert problems(crowded) == [
        "the database fills: 0 of 0 MB (91 %); at 95 % rows wait in the journal: alphakite db forecast",
        "days of the database that should go are kept: DATABASE_THIN=yes is not set",
    ]
    assert problems(builtins(Status(state="streaming"), alive=True)) == []


@pytest.mark.parametrize(
    ("share", "full", "word"),
    [
        (0.79, False, "ok"),
        (0.80, False, "warning"),
        (0.90, False, "crowded"),
        (0.96, True, "full"),
        (0.93, True, "full"),
    ],
)
def test_states(share: float, full: bool, word: str) -> None:
    assert state_of(share, full=full) == word


@pytest.mark.parametrize(
    ("seen", "limited", "words"),
    [
        (Forecast(None, None, None, "not known yet"), True, "what a session adds is not known yet"),
        (Forecast(None, None, None, "not known yet"), False, ""),
        (Forecast(21_400_000, date(2026, 12, 11), None, ""), True, "full on 2026-12-11 at 21.4 MB a session"),
        (Forecast(1_000_000, None, 99_000_000, ""), True, "1.0 MB a session, levels off at 99 MB: never full"),
        (Forecast(1_000_000, None, None, ""), False, "1.0 MB a session"),
    ],
)
def test_forecast(seen: Forecast, limited: bool, words: str) -> None:
    assert forecast_words(seen, limited=limited) == words


def test_progress_is_that_of_the_last_seconds() -> None:
    """10,000 records behind, 900 a second committed and 100 a second new: 12.5 s left; 45 service seconds a second."""
    now = 0.0
    progress = Progress(lambda: now)
    base_us = 1_800_000_000_000_000
    for second in range(31):
        now = float(second)
        found = progress.note(10_000 + 100 * second, 0, base_us, base_us + 500_000_000)
    assert found is not None
    assert found.left_s is None, "nothing is committed: it is not getting nearer"
    for second in range(12):
        now = 31.0 + second
        found = progress.note(20_000 + 100 * second, 900 * second, base_us + 45_000_000 * second, base_us + 600_000_000)
    assert found is not None
    assert found.records == 21_100 - 9_900
    assert found.records_per_s == pytest.approx(900)
    assert found.times_real == pytest.approx(45)
    assert found.left_s == pytest.approx(11_200 / 800)
    assert progress.note(21_200, 21_100, base_us, base_us + 600_000_000) is None, "few records wait: nothing to say"
    assert progress.note(31_200, 21_100, base_us, base_us + 2_000_000) is None, "two seconds are no delay"
