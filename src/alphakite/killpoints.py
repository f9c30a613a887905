"""A test-only hook: SIGKILL this process at the n-th time that a named step is reached.

`ALPHAKITE_TEST_KILL=before_commit:7` arms it; unset, the hook is a function that does nothing. A crash test can so
interrupt the very instruction it wants to, which a signal from outside hits only by luck.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

VARIABLE = "ALPHAKITE_TEST_KILL"


def hook() -> Callable[[str], None]:
    """What to call with the name of each step."""
    spec = os.environ.get(VARIABLE, "")
    name, _, count = spec.partition(":")
    left = int(count or 1)

    def step(reached: str) -> None:
        nonlocal left
        if reached == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return step if name else lambda _reached: None
