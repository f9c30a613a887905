"""Reading while writing, one writer per folder, and what each surface says about itself."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from alphakite.errors import UnavailableError
from alphakite.journal import checkpoint
from alphakite.journal.reader import JournalReader, check_header, first_seq, segments
from alphakite.journal.record import HEADER_BYTES, Kind, Record
from alphakite.journal.writer import JournalWriter

LARGE = 70_000


def test_a_follower_crosses_rolls_and_reads_records_larger_than_a_chunk(tmp_path: Path) -> None:
    """It is given each record once and whole, whatever the chunk, and never one past `upto_seq`."""
    writer = JournalWriter(tmp_path, segment_bytes=1000)
    reader = JournalReader(tmp_path)
    assert reader.read(writer.written_seq) == []
    given: list[Record] = []
    made: list[bytes] = []
    for number in range(1, 60):
        made.append(bytes([number]) * (LARGE if number % 7 == 0 else number * 10))
        writer.append(Kind.FRAME, 1, number, made[-1])
        if number % 3 == 0:
            writer.flush()
            while records := reader.read(writer.written_seq - 1, max_bytes=256):
                given += records
            assert reader.seq == writer.written_seq - 1
            assert reader.read(writer.written_seq - 1) == []
    given += reader.read(writer.written_seq)
    writer.flush()
    while records := reader.read(writer.written_seq, max_bytes=256):
        given += records
    writer.close()
    assert [record.payload for record in given] == made
    assert [record.seq for record in given] == list(range(1, 60))
    assert len(segments(tmp_path)) > 5
    assert reader.faults == []


def test_a_reader_in_another_thread_loses_nothing_at_a_roll(tmp_path: Path) -> None:
    """The segment's last records may be written between the reader's look at its end and its look for the next."""
    writer = JournalWriter(tmp_path, segment_bytes=200)
    total = 400

    def write() -> None:
        for number in range(1, total + 1):
            writer.append(Kind.FRAME, 1, number, b"x" * (number % 50))
            writer.flush()
        writer.close()

    reader = JournalReader(tmp_path)
    given: list[int] = []
    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(given) < total and (thread.is_alive() or reader.seq < writer.written_seq):
            given += [record.seq for record in reader.read(writer.written_seq, max_bytes=100)]
    finally:
        thread.join(60)
    assert given == list(range(1, total + 1))
    assert reader.faults == []


def test_a_reader_may_begin_anywhere(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, segment_bytes=150)
    for number in range(1, 31):
        writer.append(Kind.FRAME, 1, number, b"payload")
        writer.flush()
    writer.close()
    for after in range(31):
        assert [record.seq for record in JournalReader(tmp_path, after)] == list(range(after + 1, 31))
    for path in segments(tmp_path):
        header = check_header(path)
        assert header == (writer.journal_id, first_seq(path))


def test_appended_is_not_written_and_written_is_told(tmp_path: Path) -> None:
    """`append` alone reaches no reader; `on_written` tells when a group has."""
    writer = JournalWriter(tmp_path, segment_bytes=1000)
    told: list[int] = []
    writer.on_written = lambda: told.append(writer.written_seq)
    writer.append(Kind.FRAME, 1, 5, b"a")
    writer.append(Kind.FRAME, 2, 6, memoryview(b"b"))
    assert list(JournalReader(tmp_path)) == []
    writer.flush()
    writer.flush()
    assert told == [2]
    assert (writer.written_seq, writer.fsynced_seq, writer.last_conn, writer.last_ts_ns) == (2, 0, 2, 6)
    assert writer.fsynced_bytes == HEADER_BYTES
    assert writer.sync() == 2
    assert writer.fsynced_bytes == segments(tmp_path)[0].stat().st_size
    writer.close()


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = JournalWriter(tmp_path, segment_bytes=1000)
    with pytest.raises(UnavailableError) as refused:
        JournalWriter(tmp_path, segment_bytes=1000)
    assert "in use" in str(refused.value)
    assert "--data" in refused.value.next_step
    assert first.append(Kind.FRAME, 1, 1, b"still mine") == 1
    first.close()
    JournalWriter(tmp_path, segment_bytes=1000).close()


def test_what_was_received_is_for_the_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    writer = JournalWriter(folder, segment_bytes=1000)
    writer.close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_checkpoints_are_a_cache_that_may_be_missing_or_damaged(tmp_path: Path) -> None:
    """Only sound ones of this journal, at or before the position, newest first; the two newest are kept."""
    journal = JournalWriter(tmp_path / "journal", segment_bytes=1000)
    other = JournalWriter(tmp_path / "other", segment_bytes=1000)
    folder = tmp_path / "checkpoints"
    assert checkpoint.load(folder, journal.journal_id, 10) == []
    for seq in (10, 20, 30):
        checkpoint.save(folder, journal.journal_id, seq, b"state %d" % seq)
    assert checkpoint.load(folder, journal.journal_id, 99) == [(30, b"state 30"), (20, b"state 20")]
    assert checkpoint.load(folder, journal.journal_id, 29) == [(20, b"state 20")]
    assert checkpoint.load(folder, other.journal_id, 99) == []
    newest = folder / f"{30:020d}.ckpt"
    sound = newest.read_bytes()
    for place in range(len(sound)):
        newest.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        assert checkpoint.load(folder, journal.journal_id, 99) == [(20, b"state 20")]
        newest.write_bytes(sound[:place])
        assert checkpoint.load(folder, journal.journal_id, 99) == [(20, b"state 20")]
    journal.close()
    other.close()
