"""One WebSocket of a client: what it has subscribed to, its pings, and the sending of frames.

A connection that fails is marked closed; nothing is raised to the player, who sees it by `closed` and `changed`.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from alphakite.simulator.sendlog import SendLog

SERVICES = ("LEVELONE_EQUITIES", "CHART_EQUITY")
SEND_WITHIN_S = 30.0
"""A client that takes nothing for so long is dropped."""


class Connection:
    """`number` counts connections from 1. `keys`: per service, the fields wanted of each key."""

    def __init__(
        self, ws: web.WebSocketResponse, transport: asyncio.Transport | None, number: int, log: SendLog
    ) -> None:
        self.ws = ws
        self._transport = transport
        self.number = number
        self.logged_in = False
        self.closed = False
        self.placed = False
        """A LEVELONE_EQUITIES subscription has put the tape where it goes on for this connection."""
        self.complete = False
        """All symbols being played have been named: lock-step may go on."""
        self.keys: dict[str, dict[str, frozenset[int]]] = {service: {} for service in SERVICES}
        self.changed = asyncio.Event()
        self._log = log
        self._pinged = 0
        self._acked = 0

    async def send(self, text: str, stamp_ms: int, lost_s: int = 0) -> None:
        """Log a frame, then send it."""
        if self.closed:
            return
        self._log.write(self.number, stamp_ms, lost_s, text)
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                await self.ws.send_str(text)
        except TimeoutError:
            self.drop()
        except (ConnectionError, RuntimeError):
            self.mark_closed()

    async def ping(self) -> int:
        """Ask for a pong; what `ponged` wants to know."""
        self._log.flush()
        self._pinged += 1
        try:
            await self.ws.ping(str(self._pinged).encode())
        except (ConnectionError, RuntimeError):
            self.mark_closed()
        return self._pinged

    async def ponged(self, number: int) -> bool:
        """Wait for the pong of this ping. False: the connection ended before."""
        while not self.closed and self._acked < number:
            self.changed.clear()
            await self.changed.wait()
        return self._acked >= number

    def take_pong(self, payload: bytes) -> None:
        """A pong has come; one that was not asked for is ignored."""
        if payload.isdigit() and self._acked < int(payload) <= self._pinged:
            self._acked = int(payload)
            self.changed.set()

    def mark_closed(self) -> None:
        """The connection is over."""
        self.closed = True
        self.changed.set()

    def drop(self) -> None:
        """End it without a close frame, after what was sent."""
        self.mark_closed()
        if self._transport is not None:
            self._transport.close()

    async def close(self, code: int = 1000) -> None:
        """Close; a client that does not answer the close frame is dropped."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self.ws.close(code=code)
        self.mark_closed()
