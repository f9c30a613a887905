"""Reading a journal folder: from a position on, live or at rest.

In:   segment files.      Out:  Record objects in order of seq, and Fault objects where bytes are damaged.
Reads whole records only; never changes a file. `follow` positions survive a segment roll; memory is one chunk.
A journal may begin later than seq 1: its oldest segments are removed by `retention.py`, also under a reader's feet;
the reader then goes on with the oldest one that is left, and `resumed` holds the seq where it did.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from alphakite.errors import UnavailableError
from alphakite.journal.record import (
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    RECORD,
    RECORD_BYTES,
    SUFFIX,
    Record,
    unpack_from,
    unpack_header,
)

CHUNK_BYTES = 1 << 20


class Fault(msgspec.Struct, frozen=True):
    """Bytes of a segment that hold no sound record. `torn`: they are the end of the last segment."""

    segment: str
    offset: int
    length: int
    torn: bool


class Position(msgspec.Struct):
    """Where a follower stands: the segment, the offset of the next record in it, and the last seq it was given."""

    segment: Path | None = None
    offset: int = 0
    seq: int = 0


def segments(folder: Path) -> list[Path]:
    """The segment files, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


def first_seq(segment: Path) -> int:
    """The seq of a segment's first record, from its name."""
    return int(segment.name.removesuffix(SUFFIX))


def journal_id(folder: Path) -> uuid.UUID:
    """The journal's id. Raises UnavailableError if the folder holds no journal."""
    try:
        return uuid.UUID((folder / "journal.id").read_text().strip())
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"no journal in {folder}",
            next_step="name the data folder of a recorder with --data, or start one with `alphakite run`",
        ) from error


class JournalReader:
    """Follows a journal from a position.

    Args:
        folder: the journal's folder.
        after_seq: give records with a greater seq only.
    """

    def __init__(self, folder: Path, after_seq: int = 0) -> None:
        self.folder = folder
        self.faults: list[Fault] = []
        self.resumed: set[int] = set()
        self._segment: Path | None = None
        self._offset = 0
        self._seq = after_seq

    @property
    def seq(self) -> int:
        """The last seq that was given, or `after_seq`."""
        return self._seq

    def read(self, upto_seq: int | None = None, max_bytes: int = CHUNK_BYTES) -> list[Record]:
        """The next records, about `max_bytes` of them at most, none past `upto_seq`; [] when there are none yet.

        `upto_seq` is the last seq that the writer has written; a reader of a journal at rest leaves it None, and a
        torn tail is then reported as a Fault.
        """
        records: list[Record] = []
        while not records and (upto_seq is None or self._seq < upto_seq):
            try:
                if not self._read_on(records, upto_seq, max_bytes):
                    break
            except FileNotFoundError:
                self._resume()
        return records

    def __iter__(self) -> Iterator[Record]:
        while records := self.read():
            yield from records

    def _read_on(self, records: list[Record], upto_seq: int | None, max_bytes: int) -> bool:
        """One chunk, or one step to where the next one lies. False: wait for more."""
        if self._segment is None and not self._enter():
            return False
        assert self._segment is not None
        with self._segment.open("rb") as file:
            file.seek(self._offset)
            data = file.read(max_bytes)
            need = int.from_bytes(data[:4], "little") + RECORD_BYTES if len(data) >= 4 else 0
            if len(data) < need <= MAX_PAYLOAD_BYTES + RECORD_BYTES:
                data += file.read(need - len(data))
        return self._take(data, records, upto_seq) or self._next_segment(data, upto_seq)

    def _resume(self) -> None:
        """The segment was removed: go on with the oldest one left after it, or wait for one."""
        gone = self._segment
        left = [file for file in segments(self.folder) if gone is None or file.name > gone.name]
        self._segment = None
        if left and first_seq(left[0]) > self._seq + 1:
            self.resumed.add(first_seq(left[0]))
            self._seq = first_seq(left[0]) - 1

    def _take(self, data: bytes, records: list[Record], upto_seq: int | None) -> bool:
        """Parse whole records from `data`; True if the offset moved."""
        offset = 0
        while (found := unpack_from(data, offset)) is not None:
            record, end = found
            if upto_seq is not None and record.seq > upto_seq:
                break
            if record.seq > self._seq:
                records.append(record)
                self._seq = record.seq
            offset = end
        self._offset += offset
        return offset > 0

    def _enter(self) -> bool:
        """Find the segment that holds the record after the last one given."""
        files = segments(self.folder)
        if not files:
            return False
        chosen = files[0]
        for file in files:
            if first_seq(file) <= self._seq + 1:
                chosen = file
        self._begin(chosen)
        return True

    def _begin(self, segment: Path) -> None:
        """Go to a segment's first record. A damaged header is a fault, but the records after it can be read."""
        self._segment, self._offset = segment, HEADER_BYTES
        if check_header(segment) is None:
            self.faults.append(Fault(segment.name, 0, min(HEADER_BYTES, segment.stat().st_size), False))

    def _next_segment(self, data: bytes, upto_seq: int | None) -> bool:
        """No whole record stands at the offset: skip damage or go on to the next segment. False: wait for more."""
        assert self._segment is not None
        later = [file for file in segments(self.folder) if file.name > self._segment.name]
        if not data and not later:
            return False
        with self._segment.open("rb") as file:  # again: the writer may have gone on before it rolled
            file.seek(self._offset)
            rest = file.read()
        if (found := unpack_from(rest, 0)) is not None:
            return upto_seq is None or found[0].seq <= upto_seq
        skip = find_record(rest)
        if rest and (later or upto_seq is None or skip is not None):
            length = len(rest) if skip is None else skip
            self.faults.append(Fault(self._segment.name, self._offset, length, not later and skip is None))
            self._offset += length
            if skip is not None:
                return True
        if not later:
            return False
        self._begin(later[0])
        return True


def find_record(data: bytes, start: int = 1) -> int | None:
    """The offset of the next sound record after damage, None if there is none."""
    for offset in range(start, len(data) - RECORD_BYTES + 1):
        length, _crc, _seq, _ts, _conn, kind = RECORD.unpack_from(data, offset)
        if 1 <= kind <= 6 and offset + RECORD_BYTES + length <= len(data) and unpack_from(data, offset) is not None:
            return offset
    return None


def check_header(segment: Path) -> tuple[uuid.UUID, int] | None:
    """Journal id and first seq of a segment, None if its header is damaged."""
    with segment.open("rb") as file:
        return unpack_header(file.read(HEADER_BYTES))
