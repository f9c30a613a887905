"""The state of following on disk: what is watched stays watched through a crash.

One JSON file, a `Kept`, replaced whole, mode 0600. It is written before the journal's record of the same change: its
`changes` and `after_seq` tell the next process what to journal if this one dies in between.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

from alphakite.journal.reader import JournalReader
from alphakite.journal.record import Kind
from alphakite.recorder.following import Change, FollowState

VERSION = 1


NEAR = 20_000
"""The record follows its file within so many records."""


class Kept(msgspec.Struct):
    """`journal`: its id. `after_seq`: the journal's last record when `changes` led to `state`."""

    version: int
    journal: str
    state: FollowState
    changes: tuple[Change, ...] = ()
    after_seq: int = 0


_decoder = msgspec.json.Decoder(Kept)


def save_state(
    path: Path, journal_id: str, state: FollowState, changes: tuple[Change, ...] = (), after_seq: int = 0
) -> None:
    """Keep it safe against a power cut. Raises OSError."""
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(Kept(VERSION, journal_id, state, changes, after_seq)))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_state(path: Path, journal_id: str) -> Kept | None:
    """None if nothing was kept. Raises OSError, ValueError for a file that is broken or another journal's."""
    try:
        kept = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is broken: {error}") from error
    if (kept.version, kept.journal) != (VERSION, journal_id):
        raise ValueError("it is of another version or another journal")
    return kept


def is_noted(folder: Path, kept: Kept, written_seq: int) -> bool:
    """Whether the journal in `folder` has the record of what was kept, or has lost it to its budget since."""
    if not kept.changes:
        return True
    reader, next_seq = JournalReader(folder, kept.after_seq), kept.after_seq + 1
    while reader.seq < kept.after_seq + NEAR and (records := reader.read(written_seq)):
        if records[0].seq != next_seq:
            return True  # the journal begins later
        next_seq = reader.seq + 1
        for record in records:
            if record.kind == Kind.CONFIG and _is_following(record.payload):
                return True
    return False


def _is_following(payload: bytes) -> bool:
    try:
        event = json.loads(payload)
    except ValueError:
        return False
    return isinstance(event, dict) and event.get("event") == "following"
