"""A cancellation reaches who was cancelled."""

from __future__ import annotations

import asyncio

import pytest

from alphakite.recorder.ending import end, wait_within


async def test_ones_own_cancellation_is_not_taken_for_the_tasks() -> None:
    """While it waits for a task that ends slowly, the waiter is cancelled itself."""

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)

    async def for_ever() -> None:
        while True:
            task = asyncio.create_task(slow())
            await asyncio.sleep(0)
            await end(task)

    waiter = asyncio.create_task(for_ever())
    await asyncio.sleep(0.005)
    waiter.cancel()
    assert (await asyncio.wait({waiter}, timeout=5))[0] == {waiter} and waiter.cancelled()


async def test_an_event_at_the_moment_of_a_cancellation_does_not_hide_it() -> None:
    """`asyncio.wait_for` of Python 3.11 goes on."""
    event = asyncio.Event()

    async def for_ever() -> None:
        while True:
            await wait_within(event, 5.0)
            event.clear()

    waiter = asyncio.create_task(for_ever())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    event.set()
    waiter.cancel()
    assert (await asyncio.wait({waiter}, timeout=5))[0] == {waiter} and waiter.cancelled()


async def test_what_a_task_failed_with_is_raised_unless_expected() -> None:
    """And time runs out quietly."""

    async def fails() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end(task, expected=(ValueError,))
    with pytest.raises(ValueError, match="broken"):
        await end(task)
    assert not await wait_within(asyncio.Event(), 0.001)
