"""Ending tasks and waiting for events so that our own cancellation is never taken for theirs.

`with suppress(CancelledError): await task` swallows the cancellation of whoever waits, and up to Python 3.11
`asyncio.wait_for` does so if what it waits for comes at the same moment: a loop around either then runs on for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any


async def end(*tasks: asyncio.Task[Any], expected: tuple[type[Exception], ...] = ()) -> None:
    """Cancel these and wait until they have ended. Raises what one failed with, but for what is expected."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, expected):
            raise error


async def wait_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether the event is set, at the latest after these seconds; None: wait for it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
