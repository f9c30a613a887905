"""Old segments go: which, when, and what is left whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from alphakite.cli.main import main
from alphakite.journal import checkpoint
from alphakite.journal.reader import JournalReader, first_seq, segments
from alphakite.journal.record import Kind
from alphakite.journal.retention import DAY_NS, HOUR_NS, Retention, bytes_per_day, needed_seq, size_bytes
from alphakite.journal.writer import JournalWriter

RECORDS = 60
HALF_HOUR_NS = HOUR_NS // 2
START_NS = 1_795_446_900_000_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A data folder with a journal of many segments, a record each half hour, and checkpoints at 20 and 40."""
    writer = JournalWriter(tmp_path / "journal", segment_bytes=400)
    for number in range(RECORDS):
        writer.append(Kind.FRAME, 1, START_NS + number * HALF_HOUR_NS, b"x" * 100)
        writer.flush()
    for seq in (20, 40):
        checkpoint.save(tmp_path / "checkpoints", writer.journal_id, seq, b"state")
    writer.close()
    return tmp_path


def identity(folder: Path) -> uuid.UUID:
    return uuid.UUID((folder / "journal" / "journal.id").read_text().strip())


def retention(folder: Path, budget: int = 1, min_free: int = 0, free: int = 10**12) -> Retention:
    return Retention(
        folder / "journal",
        folder / "checkpoints",
        identity(folder),
        budget_bytes=budget,
        min_free_bytes=min_free,
        free_bytes=lambda _folder: free,
    )


def kept(folder: Path) -> list[int]:
    """The seqs that are left; without a hole."""
    reader = JournalReader(folder / "journal")
    found = [record.seq for record in reader]
    assert reader.faults == []
    assert found == list(range(found[0], RECORDS + 1))
    return found


def test_only_what_is_committed_and_before_every_checkpoint_goes(journal: Path) -> None:
    """The older checkpoint counts: the newer may turn out to be damaged."""
    trimmed = retention(journal).trim(committed_seq=RECORDS)
    assert trimmed.files > 0 and trimmed.bytes > 0
    assert kept(journal)[0] == trimmed.first_seq == first_seq(segments(journal / "journal")[0])
    assert 1 < trimmed.first_seq <= 20
    assert retention(journal).trim(RECORDS).files == 0


def test_the_committed_position_holds_segments_back(journal: Path) -> None:
    """A checkpoint past it is none that a start would use."""
    assert retention(journal).trim(committed_seq=30).first_seq <= 20
    assert retention(journal).trim(committed_seq=10).files == 0
    assert needed_seq(journal / "checkpoints", identity(journal), 10) == 0
    assert needed_seq(journal / "checkpoints", identity(journal), 39) == 20


def test_without_a_sound_checkpoint_nothing_goes(journal: Path) -> None:
    """Derivation would have to begin at the journal's start."""
    for path in (journal / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert retention(journal).trim(RECORDS).files == 0
    assert kept(journal)[0] == 1


def test_within_the_budget_nothing_goes_and_beyond_it_no_more_than_needed(journal: Path) -> None:
    """Oldest first, until it fits."""
    total = size_bytes(journal / "journal")
    assert retention(journal, budget=total).trim(RECORDS).files == 0
    assert retention(journal, budget=total - 1).trim(RECORDS).files == 1
    assert size_bytes(journal / "journal") < total


def test_a_low_disk_removes_within_the_budget(journal: Path) -> None:
    """Before the recorder would have to stop; with budget 0 nothing is ever removed."""
    full = {"budget": 10**9, "min_free": 1000}
    assert retention(journal, **full, free=1501).trim(RECORDS).files == 0
    assert retention(journal, budget=0, min_free=1000, free=1400).trim(RECORDS).files == 0
    assert retention(journal, **full, free=1400).trim(RECORDS).files > 0


def test_the_newest_segment_stays(tmp_path: Path) -> None:
    """Even if all of it is committed."""
    writer = JournalWriter(tmp_path / "journal", segment_bytes=10**6)
    for number in range(RECORDS):
        writer.append(Kind.FRAME, 1, START_NS + number, b"x")
    writer.close()
    checkpoint.save(tmp_path / "checkpoints", writer.journal_id, RECORDS, b"state")
    assert retention(tmp_path).trim(RECORDS).files == 0
    assert len(kept(tmp_path)) == RECORDS


def test_bytes_set_aside_go_with_their_segment(journal: Path) -> None:
    """They count, and do not outlive it."""
    first = segments(journal / "journal")[0]
    aside = journal / "journal" / f"{first.stem}.torn-99"
    aside.write_bytes(b"y" * 50)
    trimmed = retention(journal).trim(RECORDS)
    assert trimmed.files > 0 and not aside.exists()


def test_a_trimmed_journal_is_written_read_and_verified(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The writer goes on with the same seqs, a reader from 0 begins at the first; verify says where that is."""
    begins = retention(journal).trim(RECORDS).first_seq
    writer = JournalWriter(journal / "journal", segment_bytes=400)
    assert (writer.appended_seq, writer.last_conn) == (RECORDS, 1)
    assert writer.append(Kind.FRAME, 1, START_NS * 2, b"more") == RECORDS + 1
    writer.close()
    assert main(["journal", "verify", "--data", str(journal), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first_seq"], found["last_seq"], found["holes"]) == (begins, RECORDS + 1, 0)


@pytest.mark.parametrize("step", ["before_trim", "after_trim"])
@pytest.mark.parametrize("occasion", [1, 2])
def test_a_kill_between_two_removals_leaves_a_sound_journal(journal: Path, step: str, occasion: int) -> None:
    """It begins later, without a hole; the next round goes on."""
    code = f"""
import os, signal, uuid
from pathlib import Path
from alphakite.journal.retention import Retention
count = 0
def on_step(step):
    global count
    count += step == {step!r}
    if count == {occasion}:
        os.kill(os.getpid(), signal.SIGKILL)
folder = Path({str(journal)!r})
Retention(folder / "journal", folder / "checkpoints", uuid.UUID({str(identity(journal))!r}), budget_bytes=1,
          min_free_bytes=0, on_step=on_step).trim({RECORDS})
"""
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    removed = occasion - (step == "before_trim")
    before = kept(journal)[0]
    assert (before > 1) == (removed > 0)
    assert retention(journal).trim(RECORDS).first_seq > before


def test_a_reader_whose_segment_goes_resumes_at_the_oldest_left(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No error; what it passed over is known to be removed, not damaged."""
    reader = JournalReader(journal / "journal")
    assert [record.seq for record in reader.read(max_bytes=100)] == [1]
    begins = retention(journal).trim(RECORDS).first_seq
    seqs = [record.seq for record in reader]
    assert seqs == list(range(begins, RECORDS + 1))
    assert reader.resumed == {begins} and reader.faults == []


def test_growth_and_days_left(journal: Path) -> None:
    """The last day's bytes where there is a day; None for less than an hour; the nearer of budget and disk."""
    folder = journal / "journal"
    last_ns = START_NS + RECORDS * HALF_HOUR_NS
    day = bytes_per_day(folder, last_ns)
    assert day is not None
    assert day == pytest.approx(48 * 129, rel=0.35)  # 48 records a day; a segment's header beside them
    assert bytes_per_day(folder, START_NS + HALF_HOUR_NS) is None
    assert bytes_per_day(folder, 0) is None
    size = size_bytes(folder)
    assert retention(journal, budget=size + int(day * 3)).days_left(last_ns) == pytest.approx(3, rel=0.01)
    assert retention(journal, budget=1).days_left(last_ns) == 0
    assert retention(journal, budget=0, free=int(day * 5) + 7, min_free=7).days_left(last_ns) == pytest.approx(
        5, rel=0.01
    )
    much_later = last_ns + 30 * DAY_NS
    assert (bytes_per_day(folder, much_later) or 0) < day


def test_an_empty_journal(tmp_path: Path) -> None:
    """Nothing to remove, nothing known."""
    keeper = Retention(tmp_path / "none", tmp_path, uuid.uuid4(), budget_bytes=1, min_free_bytes=0)
    assert keeper.trim(5).first_seq == 0
    assert size_bytes(tmp_path / "none") == 0 and bytes_per_day(tmp_path / "none", START_NS) is None


def test_each_segment_keeps_a_checkpoint_as_its_base(tmp_path: Path) -> None:
    """Where the trimmed journal begins, derivation can begin: with a state of that segment, and no record missing."""
    writer = JournalWriter(tmp_path / "journal", segment_bytes=400)
    folder = tmp_path / "checkpoints"
    keeper = Retention(tmp_path / "journal", folder, writer.journal_id, budget_bytes=1500, min_free_bytes=0)
    for number in range(1, RECORDS + 1):
        writer.append(Kind.FRAME, 1, START_NS + number, b"x" * 100)
        writer.flush()
        if number % 2 == 0:
            checkpoint.save(folder, writer.journal_id, number, b"state %d" % number)
        begins = keeper.trim(committed_seq=number).first_seq
        found = checkpoint.load_base(folder, writer.journal_id, begins)
        assert number < 2 or (found is not None and found[1] == b"state %d" % found[0])
        assert found is None or begins - 1 <= found[0] <= begins + 6
    writer.close()
    assert begins > 1
    assert len(checkpoint.bases(folder)) <= len(segments(tmp_path / "journal")) + 1
    assert checkpoint.bases(folder)[0] >= begins - 1
    assert checkpoint.load_base(folder, uuid.uuid4(), begins) is None
    newest = checkpoint.load(folder, writer.journal_id, RECORDS)
    assert [seq for seq, _state in newest] == [60, 58]


def test_an_earlier_journals_checkpoints_do_not_outlive_it(tmp_path: Path) -> None:
    """A new journal begins with seq 1: the old one's greater seqs must not push its checkpoints out."""
    old, new = uuid.uuid4(), uuid.uuid4()
    for seq in (500, 600):
        checkpoint.save(tmp_path, old, seq, b"old")
    checkpoint.keep_base(tmp_path, 400)
    for seq in (3, 5, 7):
        checkpoint.save(tmp_path, new, seq, b"new")
    assert [seq for seq, _state in checkpoint.load(tmp_path, new, 999)] == [7, 5]
    assert checkpoint.load(tmp_path, old, 999) == [] and checkpoint.bases(tmp_path) == []
