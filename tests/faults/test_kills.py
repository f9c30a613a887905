"""The real session with kills of the recorder and of PostgreSQL: nothing lost, doubled or made up.

Moments and seeds are printed; `pytest -s` or a failure shows them. `make faults` runs the long forms.
"""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import pytest
from tests.faults.kill_session import Play, disturbed, played, undisturbed
from tests.harness import truth


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """The undisturbed session, exported; equal to the independent script in every second's every value."""
    folder = tmp_path_factory.mktemp("calm")
    outcome = undisturbed(folder, shared_data)
    assert outcome.kills == 0
    return folder


@pytest.mark.parametrize(("mode", "seed"), [("hold", 11), ("run", 12)])
def test_twenty_five_kills(calm: Path, tmp_path: Path, shared_data: Path, mode: str, seed: int) -> None:
    """25 of the recorder, 5 of PostgreSQL, some of both at once, 5 with a power cut."""
    outcome = disturbed(tmp_path, calm, shared_data, mode, seed, 25, 5, 5)
    assert outcome.kills >= 23
    assert outcome.hook_kills >= 12
    assert outcome.database_kills >= 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("mode", ["hold", "run"])
def test_fifty_kills(calm: Path, tmp_path: Path, shared_data: Path, mode: str, seed: int) -> None:
    """50 of the recorder, at least 30 at a named step, 10 of PostgreSQL, 10 with a power cut."""
    outcome = disturbed(tmp_path, calm, shared_data, mode, seed, 50, 10, 10)
    assert outcome.kills == 50
    assert outcome.hook_kills >= 30
    assert outcome.power_cuts == 10
    assert outcome.database_kills >= 9


def test_kills_over_two_days(tmp_path: Path) -> None:
    """Another play: synthetic, over a night, ended by its time. Every row beside the gaps is the tape's."""
    tape = ("--symbol", "ZZILL", "--session", "2026-11-19", "--days", "2", "--start", "15:00")
    end_us = int(datetime.fromisoformat("2026-11-20T10:00:00-05:00").timestamp()) * 1_000_000
    steps = (("after_write", 200), ("after_commit", 60_000))
    outcome = played(tmp_path, Play(tape, 700_000, steps=steps, end_us=end_us), "run", 5, 4, 1, 1)
    assert outcome.kills >= 3
    assert set(outcome.steps) <= {name for name, _ in steps}
    expected = {row["timestamp"]: (row["price"], row["volume"]) for row in truth(*tape, "--seed", "5")}
    with (tmp_path / "equity_data.csv").open() as file:
        found = {row["timestamp"]: (row["price"], row["volume"]) for row in csv.DictReader(file) if not row["flags"]}
    assert len(found) > 1000
    assert found.items() <= expected.items()
    assert max(found) >= "2026-11-20T14:55", "into the second day"
