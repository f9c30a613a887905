"""Measured program: the whole recorder, as `alphakite run` starts it. Settings come from the environment.

Answers `{"ready": 1}` once every image of `--tickers N` is derived. Told {"rows": N, "frames": N} it answers when so
many rows are committed: CPU seconds since it was told, when the last commit came, peak memory, rows, and when which
frame was committed (`commits`: frames covered, seconds of the monotonic clock).
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

from alphakite import log
from alphakite.config import load
from alphakite.feed.schwab import rest
from alphakite.feed.schwab.pace import Pace
from alphakite.model import Batch
from alphakite.service import Service
from alphakite.store.postgres import PostgresSink
from bench.child import listen, peak_rss_mb, say

LOOK_S = 0.05
"""How often the status is looked at before the measurement."""
STILL_LOOKS = 10
PUBLISHED_S = 0.5
"""Within this time the recorder publishes its counters again."""


class Commits:
    """Notes when each batch was committed, around the sink's own `write`; `reached` is set at so many rows."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []
        self.rows = 0
        self.wanted = 0
        self.reached = asyncio.Event()
        write = PostgresSink.write

        async def noted(sink: PostgresSink, batch: Batch) -> int:
            duplicates = await write(sink, batch)
            self.seen.append((batch.last_seq, time.monotonic()))
            self.rows += len(batch)
            if 0 < self.wanted <= self.rows:
                self.reached.set()
            return duplicates

        PostgresSink.write = noted  # type: ignore[method-assign, assignment]


async def measured(tickers: int) -> None:
    """Start the recorder; measure it from word to word; stop it."""
    commits = Commits()
    # price history of all tickers at once
    rest.Pace = lambda: Pace(1000.0, 1000)  # type: ignore[assignment, attr-defined, misc]
    service = Service(load(overrides={}))
    status = service.status
    running = asyncio.create_task(service.run())
    still = 0
    before = -1
    while status.images < tickers or still < STILL_LOOKS:
        if running.done():
            running.result()
            raise SystemExit("the recorder ended before it was ready")
        await asyncio.sleep(LOOK_S)
        still = still + 1 if status.appended == before and status.derived == status.appended else 0
        before = status.appended
    say(ready=1)
    told = await asyncio.get_running_loop().run_in_executor(None, listen)
    if told is not None:
        first_seq, frames, rejected = status.appended, status.frames, status.rejected
        commits.seen.clear()
        commits.rows, commits.wanted = 0, told["rows"]
        cpu_s = time.process_time()
        say(started=1)
        reached = asyncio.create_task(commits.reached.wait())
        await asyncio.wait([reached, running], return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        cpu_s = time.process_time() - cpu_s
        await asyncio.sleep(PUBLISHED_S)
        say(
            cpu_s=cpu_s,
            last_s=commits.seen[-1][1],
            rss_mb=peak_rss_mb(),
            rows=commits.rows,
            frames=status.frames - frames,
            rejected=status.rejected - rejected,
            commits=[(seq - first_seq, at) for seq, at in commits.seen],
        )
    service.stop()
    await running


if __name__ == "__main__":
    log.setup("warning", "text")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measured(int(sys.argv[1])))
