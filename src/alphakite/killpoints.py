"""Test-only hooks: die at a named step, and say what would survive a power cut.

`ALPHAKITE_TEST_KILL=before_commit:7`  SIGKILL this process when the step is reached for the seventh time. A crash test
                                       can so interrupt the very instruction it wants to, which a signal from outside
                                       hits only by luck.
`ALPHAKITE_TEST_KILL=after_write:1:FILE`
                                       The same, and counted only once FILE is there: the first write after a command.
`ALPHAKITE_TEST_DURABLE=FILE`          after each fsync, FILE says which segment is durable up to which byte.
Unset, as in production, `hook` gives a function that does nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

KILL = "ALPHAKITE_TEST_KILL"
DURABLE = "ALPHAKITE_TEST_DURABLE"
SYNCED = ("after_fsync", "after_roll", "opened")


def hook() -> Callable[[str], None]:
    """What to call with the name of each step."""
    name, _, counted = os.environ.get(KILL, "").partition(":")
    if not name:
        return lambda _reached: None
    count, _, arming = counted.partition(":")
    left = int(count or 1)

    def step(reached: str) -> None:
        nonlocal left
        if reached == name and (not arming or Path(arming).exists()):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return step


def durable(step: Callable[[str], None], tell: Callable[[], tuple[str, int]]) -> Callable[[str], None]:
    """The journal's hook. `tell`: the segment's name, and how many of its bytes are fsynced."""
    place = os.environ.get(DURABLE)
    if not place:
        return step
    path = Path(place)

    def told(reached: str) -> None:
        if reached in SYNCED:
            segment, size = tell()
            temporary = path.with_suffix(".tmp")
            temporary.write_text(f"{segment} {size}\n")
            temporary.replace(path)
        step(reached)

    return told
