"""The send log: one JSON line for every text frame sent to a client, written before it is sent.

    {"n": frame, "conn": connection, "wall_ns": ..., "tape_ms": the frame's stamp, "lost_s": tape seconds that the
     disconnection before cost (on the image frame after a re-subscription, else 0), "frame": the text}
Flushed with each ping, so that whoever answers the ping finds its frames here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TextIO

from alphakite.errors import UsageError


class SendLog:
    """Counts frames; writes them if there is a path."""

    def __init__(self, path: Path | None) -> None:
        self.frames = 0
        self._file: TextIO | None = None
        if path is not None:
            try:
                self._file = path.open("w", encoding="utf-8", buffering=1 << 16)
            except OSError as error:
                raise UsageError(
                    f"--send-log {path}: {error}", next_step="name a file in a folder you may write"
                ) from error

    def write(self, conn: int, tape_ms: int, lost_s: int, frame: str) -> None:
        """Note a frame."""
        self.frames += 1
        if self._file is not None:
            self._file.write(
                f'{{"n":{self.frames},"conn":{conn},"wall_ns":{time.time_ns()},"tape_ms":{tape_ms},'
                f'"lost_s":{lost_s},"frame":{json.dumps(frame)}}}\n'
            )

    def flush(self) -> None:
        """Let readers see what was written."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Flush and close; may be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None
