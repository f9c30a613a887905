"""Measured program: schwab-py's StreamClient on the same frames. Argument: a file of frames, the first one the image.

Told `{}`, it lets `handle_message` take every frame from a socket that has them ready, and answers with CPU seconds.
Its own way from text to a labelled message is measured, nothing of a network and no merge; the handler only counts.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path
from typing import Any

from schwab.streaming import StreamClient

from bench.child import listen, peak_rss_mb, say
from bench.frames import read_frames


class ReadySocket:
    """What StreamClient uses of a socket: the next message, as text."""

    def __init__(self, frames: list[bytes]) -> None:
        self._texts = [frame.decode() for frame in frames]
        self._next = 0

    async def recv(self) -> str:
        """The next message, from the start again after the last."""
        text = self._texts[self._next]
        self._next = (self._next + 1) % len(self._texts)
        return text


async def handled(client: Any, count: int) -> float:
    """CPU seconds of handling so many messages."""
    began = time.process_time()
    for _ in range(count):
        await client.handle_message()
    return time.process_time() - began


def main() -> None:
    """Until stdin ends."""
    frames = read_frames(Path(sys.argv[1]))
    client: Any = StreamClient(None)
    client._socket = ReadySocket(frames)  # what `login` does after connecting
    quotes = 0

    def count(message: dict[str, Any]) -> None:
        nonlocal quotes
        quotes += len(message["content"])

    client.add_level_one_equity_handler(count)
    gc.freeze()
    while listen() is not None:
        quotes = 0
        cpu_s = asyncio.run(handled(client, len(frames)))
        say(cpu_s=cpu_s, quotes=quotes, rss_mb=peak_rss_mb())


if __name__ == "__main__":
    main()
