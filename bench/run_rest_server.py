"""Measured program: the tests' PostgREST-shaped server in a process of its own. Told {"dsn": …}, it says where."""

from __future__ import annotations

import asyncio

import uvloop

from bench import borrowed
from bench.child import listen, say


async def main() -> None:
    """Until stdin ends."""
    told = listen()
    if told is None:
        return
    async with borrowed.Project(told["dsn"]).running() as project:
        say(url=project.url)
        await asyncio.get_running_loop().run_in_executor(None, listen)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
