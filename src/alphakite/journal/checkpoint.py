"""Checkpoints: derivation's state at a journal position, so that a start need not read the session again.

A checkpoint is a cache: it may be missing, old or damaged, and is then ignored. Format of `<seq, 20 digits>.ckpt`:
magic "AKCKPT1\\n", 16 bytes journal id, u64 seq, u32 CRC-32 of the 32 bytes before and of the state, the state's
bytes. The two newest are kept.

`<seq>.base` is the same file, kept on: one for each segment of a journal whose oldest segments are removed, so that
derivation can begin where the journal begins now, with the state of what came before.
"""

from __future__ import annotations

import contextlib
import struct
import uuid
import zlib
from pathlib import Path

from alphakite.journal.writer import Step, write_durably

MAGIC = b"AKCKPT1\n"
HEAD = struct.Struct("<8s16sQI")
KEPT = 2
CHECKPOINT, BASE = ".ckpt", ".base"


def save(folder: Path, journal_id: uuid.UUID, seq: int, state: bytes, on_step: Step = lambda _step: None) -> None:
    """Write a checkpoint durably and remove all but the two newest, and those of an earlier journal in this place."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    on_step("before_checkpoint")
    head = HEAD.pack(MAGIC, journal_id.bytes, seq, 0)
    head = HEAD.pack(MAGIC, journal_id.bytes, seq, _checksum(head, state))
    write_durably(folder / f"{seq:020d}.ckpt", head + state)
    on_step("after_checkpoint")
    strangers = {
        path for suffix in (CHECKPOINT, BASE) for path in _files(folder, suffix) if not _is_of(path, journal_id)
    }
    for old in [path for path in _files(folder, CHECKPOINT) if path not in strangers][:-KEPT]:
        old.unlink(missing_ok=True)
    for stranger in strangers:
        stranger.unlink(missing_ok=True)


def load(folder: Path, journal_id: uuid.UUID, upto_seq: int) -> list[tuple[int, bytes]]:
    """The sound checkpoints of this journal at or before a position, newest first."""
    found = [_read(path, journal_id) for path in reversed(_files(folder, CHECKPOINT))]
    return [one for one in found if one is not None and one[0] <= upto_seq]


def keep_base(folder: Path, segment_seq: int) -> bool:
    """Keep the newest checkpoint on, for the segment that begins with `segment_seq`, if it has none yet."""
    files = _files(folder, CHECKPOINT)
    if not files or _seq(files[-1]) < segment_seq - 1 or any(seq >= segment_seq - 1 for seq in bases(folder)):
        return False
    with contextlib.suppress(OSError):  # replaced meanwhile, or a file system without links: it is done without
        files[-1].with_suffix(BASE).hardlink_to(files[-1])
        return True
    return False


def bases(folder: Path) -> list[int]:
    """The seqs of the checkpoints that are kept on, ascending."""
    return [_seq(path) for path in _files(folder, BASE)]


def load_base(folder: Path, journal_id: uuid.UUID, first_seq: int) -> tuple[int, bytes] | None:
    """The oldest sound base from which a journal that begins with `first_seq` can be derived; None: there is none."""
    for path in _files(folder, BASE):
        if _seq(path) >= first_seq - 1 and (found := _read(path, journal_id)) is not None:
            return found
    return None


def drop_bases(folder: Path, first_seq: int) -> None:
    """Remove those of segments that are gone."""
    for path in _files(folder, BASE):
        if _seq(path) < first_seq - 1:
            path.unlink(missing_ok=True)


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*{suffix}")) if folder.is_dir() else []


def _seq(path: Path) -> int:
    return int(path.stem)


def _is_of(path: Path, journal_id: uuid.UUID) -> bool:
    """By its head alone; a damaged one counts as the journal's."""
    with path.open("rb") as file:
        head = file.read(HEAD.size)
    return len(head) < HEAD.size or HEAD.unpack(head)[1] == journal_id.bytes


def _read(path: Path, journal_id: uuid.UUID) -> tuple[int, bytes] | None:
    """Seq and state, None if they are damaged or another journal's."""
    data = path.read_bytes()
    if len(data) < HEAD.size:
        return None
    magic, owner, seq, crc = HEAD.unpack_from(data)
    state = data[HEAD.size :]
    sound = magic == MAGIC and owner == journal_id.bytes and _checksum(data, state) == crc
    return (seq, state) if sound else None


def _checksum(head: bytes, state: bytes) -> int:
    return zlib.crc32(state, zlib.crc32(head[: HEAD.size - 4]))
