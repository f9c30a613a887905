"""A journal kept within its budget: the recorder goes on, and what is left derives to the same rows."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from tests.faults.kill_session import SETTINGS
from tests.harness import Recording, derived_again, output

BUDGET_MB = 1
END_US = int(datetime.fromisoformat("2026-11-20T14:00:00-05:00").timestamp()) * 1_000_000
DEADLINE_S = 60.0
PLAY = ("--session", "2026-11-20", "--start", "09:00", "--end", "14:00", "--speed", "max", "--on-disconnect", "hold")


def test_old_segments_go_and_the_rest_derives_to_the_same_rows(tmp_path: Path) -> None:
    with Recording(tmp_path, *PLAY, env=SETTINGS | {"JOURNAL_BUDGET_MB": str(BUDGET_MB)}) as recording:
        recording.begin()
        status = recording.until(
            lambda found: found["journal_first_seq"] > 1000 and found["now_us"] >= END_US, DEADLINE_S, "a trimmed end"
        )
        assert status["journal_bytes"] <= BUDGET_MB * 1_000_000 + 100_000
        recording.end()
        verified = json.loads(output("journal", "verify", "--data", str(recording.data), "--json"))
        assert verified["first_seq"] == status["journal_first_seq"]
        found = derived_again(recording.data)
        assert found["differences"] == 0
        assert found["rows"] > 3_000
        assert found["first_seq"] >= verified["first_seq"]
