"""Put before `src` on PYTHONPATH, this ends a Python process at a call of the operating system that a test names.

`ALPHAKITE_TEST_DIE=["os.rename", "/folder/token.json", 2]`  SIGKILL just before the second rename whose target that is.
`ALPHAKITE_TEST_DIE=["open", "/folder", 1]`                  SIGKILL just before this is opened for the first time.
So a crash test reaches moments inside a module that has no named step (alphakite/killpoints.py), and needs none.
"""

from __future__ import annotations

import json
import os
import signal
import sys

PLACE = {"os.rename": 1, "open": 0}
"""Audit event → which of its arguments is the path."""
_event, _path, _left = json.loads(os.environ.get("ALPHAKITE_TEST_DIE", '["", "", 0]'))


def _see(event: str, arguments: tuple[object, ...]) -> None:
    global _left
    if event != _event:
        return
    path = arguments[PLACE[event]]
    if isinstance(path, str | os.PathLike) and os.fspath(path) == _path:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


if _event:
    sys.addaudithook(_see)
