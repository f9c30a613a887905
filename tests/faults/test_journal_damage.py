"""Bytes of the journal go bad, whole or in part: what is sound is still given, and the damage is on record."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from alphakite.cli import journal as cli_journal
from alphakite.errors import UnavailableError
from alphakite.journal.reader import Fault, JournalReader, journal_id, segments
from alphakite.journal.record import HEADER_BYTES, RECORD_BYTES, Kind, Record, pack_header
from alphakite.journal.writer import JournalWriter

SEGMENT_BYTES = 250
FIRST_NS = 1_795_446_904_182_000_000


def write(folder: Path, count: int, segment_bytes: int = SEGMENT_BYTES) -> list[Record]:
    """`count` further records of 30 to 39 bytes, each flushed by itself; what they ought to read as."""
    writer = JournalWriter(folder, segment_bytes=segment_bytes)
    made: list[Record] = []
    for _ in range(count):
        number = writer.appended_seq + 1
        record = Record(number, FIRST_NS + number, 1, Kind.FRAME, f'{{"notify":[{{"heartbeat":{number}}}]}}'.encode())
        writer.append(record.kind, record.conn, record.ts_ns, record.payload)
        writer.flush()
        made.append(record)
    writer.close()
    return made


def verify(data: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    """`alphakite journal verify --json`: its exit code and what it printed."""
    parser = argparse.ArgumentParser()
    cli_journal.add_parser(parser.add_subparsers())
    code = cli_journal.run(parser.parse_args(["journal", "verify", "--json", "--data", str(data)]))
    return code, json.loads(capsys.readouterr().out)


def test_a_flipped_byte_anywhere_costs_one_record_and_is_reported(tmp_path: Path) -> None:
    """In a middle segment every single byte may go bad: header, length, checksum, seq, time, payload."""
    records = write(tmp_path, 12)
    middle = segments(tmp_path)[1]
    assert len(segments(tmp_path)) > 2
    sound = middle.read_bytes()
    for place in range(len(sound)):
        for mask in (0x01, 0x80, 0xFF):
            middle.write_bytes(sound[:place] + bytes([sound[place] ^ mask]) + sound[place + 1 :])
            reader = JournalReader(tmp_path)
            found = list(reader)
            lost = [record for record in records if record not in found]
            assert len(reader.faults) == 1, f"byte {place}"
            fault = reader.faults[0]
            assert fault.segment == middle.name and not fault.torn
            assert fault.offset <= place < fault.offset + fault.length
            assert len(lost) == (0 if place < HEADER_BYTES else 1), f"byte {place}"
            assert [record for record in records if record not in lost] == found
    middle.write_bytes(sound)
    assert list(JournalReader(tmp_path)) == records


@pytest.mark.parametrize("place", [3, HEADER_BYTES + 2, HEADER_BYTES + RECORD_BYTES + 4, -1])
def test_verify_reports_damage_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int) -> None:
    folder = tmp_path / "journal"
    write(folder, 12)
    assert verify(tmp_path, capsys)[0] == 0
    middle = segments(folder)[1]
    data = bytearray(middle.read_bytes())
    data[place] ^= 0x10
    middle.write_bytes(data)
    code, found = verify(tmp_path, capsys)
    assert code == 1
    assert found["checksum_faults"] == 1
    assert found["torn_bytes"] == 0
    assert found["records"] == (12 if place == 3 else 11)
    assert found["last_seq"] == 12


def test_verify_reports_a_torn_tail_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "journal"
    write(folder, 3, 10_000)
    last = segments(folder)[-1]
    data = last.read_bytes()[:-7]
    last.write_bytes(data)
    code, found = verify(tmp_path, capsys)
    assert code == 1
    assert (found["records"], found["checksum_faults"]) == (2, 0)
    assert found["torn_bytes"] == RECORD_BYTES + len('{"notify":[{"heartbeat":3}]}') - 7
    assert last.read_bytes() == data


def test_damage_in_the_last_segment_gives_no_seq_a_second_time(tmp_path: Path) -> None:
    """Records after a bad byte may be committed: a writer goes on behind them and cuts nothing sound."""
    records = write(tmp_path, 6, 10_000)
    last = segments(tmp_path)[-1]
    data = bytearray(last.read_bytes())
    data[HEADER_BYTES + RECORD_BYTES + 3] ^= 0x40
    last.write_bytes(data)
    more = write(tmp_path, 2, 10_000)
    assert [record.seq for record in more] == [7, 8]
    for upto in (None, 8):
        reader = JournalReader(tmp_path)
        assert reader.read(upto) + reader.read(upto) == records[1:] + more
        assert [fault.offset for fault in reader.faults] == [HEADER_BYTES]


def test_a_follower_does_not_hang_on_damage_before_the_end(tmp_path: Path) -> None:
    """The record it waits for is past the damage, or is itself the damage."""
    records = write(tmp_path, 3, 10_000)
    last = segments(tmp_path)[-1]
    data = bytearray(last.read_bytes())
    size = RECORD_BYTES + len(records[0].payload)
    data[HEADER_BYTES + size + RECORD_BYTES] ^= 1
    last.write_bytes(data)
    reader = JournalReader(tmp_path)
    assert reader.read(2) == records[:1]
    assert reader.read(2) == []
    assert reader.read(3) == records[2:]
    assert reader.faults == [Fault(last.name, HEADER_BYTES + size, size, False)]


def test_several_damaged_places_are_several_faults(tmp_path: Path) -> None:
    records = write(tmp_path, 12)
    for segment, place in zip(segments(tmp_path), (HEADER_BYTES, 0, -1), strict=False):
        data = bytearray(segment.read_bytes())
        data[place] ^= 0x55
        segment.write_bytes(data)
    reader = JournalReader(tmp_path)
    found = list(reader)
    assert len(reader.faults) == 3
    assert len(found) == len(records) - 2


def test_a_half_written_header_of_the_newest_segment(tmp_path: Path) -> None:
    """A file system that lost the header's end: the segment is set aside, and the seq goes on from the one before."""
    records = write(tmp_path, 12)
    count = len(segments(tmp_path))
    begun = tmp_path / f"{13:020d}.akj"
    begun.write_bytes(segments(tmp_path)[0].read_bytes()[: HEADER_BYTES - 5])
    more = write(tmp_path, 1)
    assert [record.seq for record in more] == [13]
    assert list(JournalReader(tmp_path)) == records + more
    assert (tmp_path / f"{13:020d}.torn-0").stat().st_size == HEADER_BYTES - 5
    assert len(segments(tmp_path)) - count in (0, 1)


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1])
def test_a_half_written_header_of_the_only_segment(tmp_path: Path, length: int) -> None:
    """Nothing was in it: the journal begins at the same seq, under the same identity."""
    JournalWriter(tmp_path, segment_bytes=SEGMENT_BYTES).close()
    identity = journal_id(tmp_path)
    only = segments(tmp_path)[0]
    only.write_bytes(only.read_bytes()[:length])
    records = write(tmp_path, 2)
    assert [record.seq for record in records] == [1, 2]
    assert list(JournalReader(tmp_path)) == records
    assert journal_id(tmp_path) == identity


def test_a_lost_only_segment_does_not_count_from_one_again(tmp_path: Path) -> None:
    """After a trim the only segment may begin at 500: what follows it must be past what may be committed."""
    JournalWriter(tmp_path, segment_bytes=SEGMENT_BYTES).close()
    segments(tmp_path)[0].unlink()
    (tmp_path / f"{500:020d}.akj").write_bytes(b"\0" * 200)
    assert [record.seq for record in write(tmp_path, 1)] == [500]
    assert (tmp_path / f"{500:020d}.torn-0").read_bytes() == b"\0" * 200


def test_a_damaged_header_of_the_newest_segment_keeps_its_records(tmp_path: Path) -> None:
    records = write(tmp_path, 4, 10_000)
    last = segments(tmp_path)[-1]
    data = bytearray(last.read_bytes())
    data[0] ^= 1
    last.write_bytes(data)
    more = write(tmp_path, 1, 10_000)
    reader = JournalReader(tmp_path)
    assert list(reader) == records + more
    assert reader.faults == [Fault(last.name, 0, HEADER_BYTES, False)]


def test_an_empty_newest_segment_goes_on_from_the_one_before(tmp_path: Path) -> None:
    """Power went between the roll and the first write: seq, time and connection number carry over."""
    records = write(tmp_path, 3, 10_000)
    first = segments(tmp_path)[0]
    (tmp_path / f"{4:020d}.akj").write_bytes(pack_header(journal_id(tmp_path), 4))
    writer = JournalWriter(tmp_path, segment_bytes=10_000)
    assert (writer.appended_seq, writer.written_seq, writer.fsynced_seq) == (3, 3, 3)
    assert (writer.last_ts_ns, writer.last_conn, writer.torn_bytes) == (records[-1].ts_ns, 1, 0)
    assert writer.segment_path.name == f"{4:020d}.akj"
    writer.close()
    more = write(tmp_path, 2, 10_000)
    assert list(JournalReader(tmp_path)) == records + more
    assert first in segments(tmp_path)


def test_a_lost_identity_is_read_from_the_segments(tmp_path: Path) -> None:
    """`journal.id` lost or garbage: the rows in the database still belong to this journal."""
    records = write(tmp_path, 8)
    identity = journal_id(tmp_path)
    path = tmp_path / "journal.id"
    for content in (None, b"", b"not an id\n", b"\xff\xfe\x00"):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(UnavailableError) as refused:
            journal_id(tmp_path)
        assert refused.value.next_step
        records += write(tmp_path, 1)
        assert journal_id(tmp_path) == identity
    head = segments(tmp_path)[0]
    head.write_bytes(b"\0" * HEADER_BYTES + head.read_bytes()[HEADER_BYTES:])
    path.unlink()
    records += write(tmp_path, 1)
    assert journal_id(tmp_path) == identity
    assert list(JournalReader(tmp_path)) == records


def test_no_identity_and_no_segments_is_a_new_journal(tmp_path: Path) -> None:
    write(tmp_path, 1)
    before = journal_id(tmp_path)
    for path in (*segments(tmp_path), tmp_path / "journal.id"):
        path.unlink()
    assert [record.seq for record in write(tmp_path, 1)] == [1]
    assert journal_id(tmp_path) != before
