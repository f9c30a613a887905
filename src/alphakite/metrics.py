"""What the recorder counts, and the status it publishes in the data folder.

`Counters` lives in the process; frames, updates and rejections are derived from the journal, so that they only grow
from one start to the next. `write_status` replaces `run/status.json` whole, about once a second; readers need no lock.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

STATUS_FILE = "run/status.json"


class Status(msgspec.Struct, kw_only=True):
    """The state of a recorder, as `alphakite status --json` shows it. Times are µs since 1970 UTC, 0 = never."""

    schema: int = 1
    pid: int = 0
    state: str = "starting"
    """starting, connecting, streaming, database_away, stopping, stopped."""
    reason: str = ""
    clock: str = "system"
    now_us: int = 0
    started_wall_us: int = 0
    updated_wall_us: int = 0
    journal_id: str = ""
    appended: int = 0
    written: int = 0
    fsynced: int = 0
    derived: int = 0
    committed: int = 0
    torn_bytes: int = 0
    conn: int = 0
    tickers: list[str] = []
    last_frame_us: int = 0
    frames: int = 0
    decoded: int = 0
    rejected_frames: int = 0
    rejected: int = 0
    updates: int = 0
    stored: int = 0
    conflated: int = 0
    waiting: int = 0
    images: int = 0
    outside: int = 0
    rows_committed: int = 0
    duplicates: int = 0
    reconnects: int = 0
    commits: int = 0
    open_gaps: list[str] = []
    last_rejection: str = ""
    session_over: bool = False


def write_status(data_dir: Path, status: Status) -> None:
    """Replace the status file whole."""
    path = data_dir / STATUS_FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.encode(status))
    temporary.replace(path)


def read_status(data_dir: Path) -> Status | None:
    """The last status that a recorder of this folder wrote, None if there is none."""
    try:
        return msgspec.json.decode((data_dir / STATUS_FILE).read_bytes(), type=Status)
    except (OSError, msgspec.DecodeError):
        return None
