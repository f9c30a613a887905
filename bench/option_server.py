"""The local Schwab of the options' measurements: chains over REST, images of what is subscribed, made frames.

Arguments: the load's name, the second of the day at which it begins (after 04:00).
Told {"seconds": so many, "step": seconds between their stamps, "paced": at real time or at once}; answers with the
`frames` and `items` sent since the beginning, images not counted, and how late the latest frame was (`late_s`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.child import listen, say
from bench.option_chains import chain, expirations
from bench.option_frames import DAY_MS, LOADS, Market
from bench.schwab_server import Server, acknowledged, read_message, wire

FIRST_MS = 2000
"""The images' stamps lie so long before the first second."""


class OptionServer(Server):
    """One recorder's Schwab."""

    def __init__(self, market: Market, start_s: int) -> None:
        super().__init__(b"", [])
        self._market = market
        self._next_ms = DAY_MS + start_s * 1000
        self._now_ms = self._next_ms - FIRST_MS
        self._sent_frames = self._sent_items = 0

    async def run(self) -> None:
        """Until stdin ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        say(port=self._port)
        loop = asyncio.get_running_loop()
        while (told := await loop.run_in_executor(None, listen)) is not None:
            assert self._client is not None
            late_s = await self._play(self._client, told["seconds"], told["step"], told["paced"])
            say(frames=self._sent_frames, items=self._sent_items, late_s=late_s)
        server.close()

    async def _play(self, client: asyncio.StreamWriter, seconds: int, step: int, paced: bool) -> float:
        """So many seconds. Returns the greatest delay."""
        late_s, began = 0.0, time.monotonic()
        for number in range(seconds):
            second_ms = self._next_ms
            for offset_ms, frame in self._market.second(second_ms):
                due = began + number + offset_ms / 1000
                if paced and (wait_s := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                late_s = max(late_s, time.monotonic() - due) if paced else 0.0
                self._now_ms = second_ms + offset_ms
                self._sent_frames += 1
                self._sent_items += frame.count(b'"key"')
                client.write(wire(frame))
            await client.drain()
            await asyncio.sleep(0)  # commands, too
            self._next_ms += 1000 * step
        return late_s

    def _answer(self, target: str) -> bytes:
        asked = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        if asked.path == "/marketdata/v1/expirationchain":
            return expirations(query["symbol"])
        if asked.path == "/marketdata/v1/chains":
            return chain(self._market, query["symbol"], date.fromisoformat(query["fromDate"]))
        return super()._answer(target)

    async def _commands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each command succeeds; what is new has its image behind the answer."""
        while (text := await read_message(reader)) is not None:
            for request in json.loads(text)["requests"]:
                writer.write(wire(acknowledged(request, self._now_ms)))
                for frame in self._images(request):
                    writer.write(wire(frame))
        writer.close()

    def _images(self, request: dict[str, Any]) -> list[bytes]:
        service, command = request["service"], request["command"]
        if command not in ("SUBS", "ADD", "UNSUBS"):
            return []
        if service == "LEVELONE_EQUITIES":
            return [self._market.equity_image(self._now_ms)]
        if service != "LEVELONE_OPTIONS":
            return []
        keys = request["parameters"]["keys"].split(",")
        if command == "UNSUBS":
            self._market.leave(keys)
            return []
        return list(self._market.images(self._market.watch(keys), self._now_ms))


if __name__ == "__main__":
    asyncio.run(OptionServer(Market(LOADS[sys.argv[1]]), int(sys.argv[2])).run())
