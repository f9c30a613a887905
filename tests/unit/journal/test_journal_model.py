"""The journal meets a model: random appends, flushes, syncs and crashes, two implementations, one answer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from alphakite.journal.reader import JournalReader, segments
from alphakite.journal.record import HEADER_BYTES, RECORD_BYTES, Kind, Record
from alphakite.journal.writer import JournalWriter

SEGMENT_BYTES = 400
FIRST_NS = 1_795_446_904_182_000_000

Append = tuple[str, bytes]
Action = Append | tuple[str, float] | tuple[str]

appends = st.tuples(st.just("append"), st.binary(max_size=300))
crashes = st.tuples(st.just("crash"), st.floats(0, 1))
others = st.sampled_from([("flush",), ("sync",), ("close",)])
actions = st.lists(st.one_of(appends, appends, appends, others, crashes), max_size=40)


class Model:
    """What the journal ought to hold: all records, how many are written, how many are durable."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.written = 0
        self.durable = 0

    def sync(self) -> None:
        self.written = self.durable = len(self.records)

    def crash(self, kept: int) -> None:
        del self.records[kept:]
        self.written = self.durable = kept


@contextmanager
def no_disk() -> Iterator[None]:
    """A crash is played by cutting files, so that the real fsyncs would only cost time."""
    with mock.patch("os.fsync"), mock.patch("os.fdatasync"), tempfile.TemporaryDirectory() as name:
        Player.root = Path(name)
        yield


class Player:
    """Plays actions on a real writer and on the model, and compares after each."""

    root = Path()

    def __init__(self) -> None:
        self.model = Model()
        self.life = 0
        self.folder = self.root / "0"
        self.writer = JournalWriter(self.folder, segment_bytes=SEGMENT_BYTES)
        self.identity = self.writer.journal_id
        self.follower = JournalReader(self.folder)
        self.followed: list[Record] = []

    def append(self, payload: bytes) -> None:
        number = len(self.model.records) + 1
        record = Record(number, FIRST_NS + number, self.life + 1, Kind.FRAME, payload)
        self.model.records.append(record)
        seq = self.writer.append(record.kind, record.conn, record.ts_ns, payload)
        assert seq == number, "seq counts on without a hole, over rolls and crashes"

    def flush(self) -> None:
        self.writer.flush()
        self.model.written = len(self.model.records)

    def sync(self) -> None:
        self.writer.flush()
        assert self.writer.sync() == len(self.model.records)
        self.model.sync()

    def close(self) -> None:
        """An orderly stop and start."""
        self.writer.close()
        self.writer.close()
        self.model.sync()
        self.reopen(self.folder)
        assert self.writer.torn_bytes == 0

    def crash(self, share: float) -> None:
        """Power goes: of what was not fsynced, any first part of the file's bytes is there."""
        writer = self.writer
        assert writer.fsynced_seq <= self.model.written
        durable, durable_bytes = max(self.model.durable, writer.fsynced_seq), writer.fsynced_bytes
        self.life += 1
        folder = self.root / str(self.life)
        shutil.copytree(self.folder, folder)
        last = segments(folder)[-1]
        size = last.stat().st_size
        length = durable_bytes + round((size - durable_bytes) * share)
        data = last.read_bytes()[:length]
        last.write_bytes(data)
        first = int(last.stem)
        kept, boundary = first - 1, HEADER_BYTES
        for record in self.model.records[first - 1 : self.model.written]:
            if boundary + RECORD_BYTES + len(record.payload) > length:
                break
            kept, boundary = record.seq, boundary + RECORD_BYTES + len(record.payload)
        writer.close()
        self.model.crash(kept)
        assert kept >= durable, "nothing that was fsynced is lost"
        self.reopen(folder)
        assert self.writer.torn_bytes == length - boundary
        if self.writer.torn_bytes:
            assert (folder / f"{last.stem}.torn-{boundary}").read_bytes() == data[boundary:]
        self.followed = self.followed[:kept]
        self.follower = JournalReader(folder, len(self.followed))

    def reopen(self, folder: Path) -> None:
        self.folder = folder
        self.writer = JournalWriter(folder, segment_bytes=SEGMENT_BYTES)
        assert self.writer.journal_id == self.identity
        newest = self.model.records[-1] if self.model.records else None
        assert self.writer.last_ts_ns == (newest.ts_ns if newest else 0)
        assert self.writer.last_conn == (newest.conn if newest else 0)

    def check(self) -> None:
        written = self.model.records[: self.model.written]
        assert self.writer.written_seq == self.model.written
        assert self.writer.appended_seq == len(self.model.records)
        reader = JournalReader(self.folder)
        assert list(reader) == written
        assert reader.faults == []
        half = self.model.written // 2
        assert list(JournalReader(self.folder, half)) == written[half:]
        while records := self.follower.read(self.writer.written_seq, max_bytes=64):
            self.followed += records
        assert self.followed == written
        assert self.follower.faults == []


@settings(max_examples=150, deadline=None)
@given(actions)
def test_the_journal_answers_as_a_list_would(todo: list[Action]) -> None:
    """After any mixture of appends, rolls, syncs and crashes a reader sees what the model holds, and nothing else."""
    with no_disk():
        player = Player()
        for name, *arguments in todo:
            getattr(player, name)(*arguments)
            player.check()
        player.writer.close()


def test_an_order_of_sync_and_roll_keeps_what_was_promised() -> None:
    """An fsync begun before a roll and finished after it says what it covered, not more."""
    with no_disk():
        player = Player()
        for number in range(4):
            player.append(bytes(100 + number))
        player.flush()
        pending = player.writer.begin_sync()
        player.append(bytes(200))
        player.flush()
        assert len(segments(player.folder)) == 2
        player.append(b"x")
        player.flush()
        assert player.writer.finish_sync(pending) == 4
        assert player.writer.fsynced_bytes == HEADER_BYTES
        assert player.writer.sync() == 6
        player.writer.close()
