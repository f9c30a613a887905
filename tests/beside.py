"""An async block held open by a thread of its own, for tests that wait for processes meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

WITHIN_S = 10.0
T = TypeVar("T")


@contextmanager
def beside(block: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What the block gives; it runs on a loop of its own and ends with this one."""
    entered, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    given: list[T] = []

    async def hold() -> None:
        async with block as one:
            given.append(one)
            entered.set()
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(hold())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert entered.wait(WITHIN_S)
        yield given[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
