"""Checkpoints: derivation's state at a journal position, so that a start need not read the session again.

A checkpoint is a cache: it may be missing, old or damaged, and is then ignored. Format of `<seq, 20 digits>.ckpt`:
magic "AKCKPT1\\n", 16 bytes journal id, u64 seq, u32 CRC-32 of the 32 bytes before and of the state, the state's
bytes. The two newest are kept.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from pathlib import Path

from alphakite.journal.writer import Step, write_durably

MAGIC = b"AKCKPT1\n"
HEAD = struct.Struct("<8s16sQI")
KEPT = 2


def save(folder: Path, journal_id: uuid.UUID, seq: int, state: bytes, on_step: Step = lambda _step: None) -> None:
    """Write a checkpoint durably and remove all but the two newest."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    on_step("before_checkpoint")
    head = HEAD.pack(MAGIC, journal_id.bytes, seq, 0)
    head = HEAD.pack(MAGIC, journal_id.bytes, seq, _checksum(head, state))
    write_durably(folder / f"{seq:020d}.ckpt", head + state)
    on_step("after_checkpoint")
    for old in sorted(folder.glob("*.ckpt"))[:-KEPT]:
        old.unlink(missing_ok=True)


def load(folder: Path, journal_id: uuid.UUID, upto_seq: int) -> list[tuple[int, bytes]]:
    """The sound checkpoints of this journal at or before a position, newest first."""
    found: list[tuple[int, bytes]] = []
    for path in sorted(folder.glob("*.ckpt"), reverse=True) if folder.is_dir() else []:
        data = path.read_bytes()
        if len(data) < HEAD.size:
            continue
        magic, owner, seq, crc = HEAD.unpack_from(data)
        state = data[HEAD.size :]
        if magic == MAGIC and owner == journal_id.bytes and _checksum(data, state) == crc and seq <= upto_seq:
            found.append((seq, state))
    return found


def _checksum(head: bytes, state: bytes) -> int:
    return zlib.crc32(state, zlib.crc32(head[: HEAD.size - 4]))
