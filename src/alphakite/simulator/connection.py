"""One WebSocket of a client: what it has subscribed to, its pings, and the sending of frames with their faults.

A connection that fails is marked closed; nothing is raised to the player, who sees it by `closed` and `changed`.
Frames are written without waiting: a client that is slow keeps the transport's buffer full, and `slow` says so.
The send log is written at the moment of sending, with what is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator

from aiohttp import WSMsgType, web

from alphakite.simulator.conflation import OptionStream
from alphakite.simulator.mischief import Mischief
from alphakite.simulator.sendlog import SendLog
from alphakite.simulator.services import SERVICES

SLOW_BYTES = 4 << 20
SLOW_S = 10.0
"""A client whose unsent bytes stay above the one for so long as the other is too slow."""
CLOSE_WITHIN_S = 2.0
"""How long a close frame's answer is awaited."""
END_WITHIN_S = 10.0
DRIP_PIECES = 128
DRIP_BYTES = 7
DRIP_NAP_S = 0.001
WITHOUT_LIMIT = 1 << 62
"""A writer that never waits for its client: the turn is never held by a slow one."""


class Connection:
    """`number` counts connections from 1. `keys`: per service, the fields wanted of each key."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        number: int,
        log: SendLog,
        mischief: Mischief,
    ) -> None:
        self.ws = ws
        self.number = number
        self.token = ""
        self.correl_id = ""
        self.logged_in = False
        self.closed = False
        self.placed = False
        """A LEVELONE_EQUITIES subscription has put the tape where it goes on for this connection."""
        self.complete = False
        """All symbols being played have been named once: lock-step may go on, whatever is changed later."""
        self.named: set[str] = set()
        """The symbols that LEVELONE_EQUITIES commands have named, kept or not."""
        self.keys: dict[str, dict[str, frozenset[int]]] = {service: {} for service in SERVICES}
        self.options = OptionStream()
        self.books: dict[tuple[str, str], str] = {}
        """(service, key) → the sides of the book last sent."""
        self.screened_ms: dict[str, int] = {}
        """Screener → tape time of what was last sent."""
        self.dead = False
        """Half-open: the socket is there, and carries nothing."""
        self.admitted: Callable[[], bool] | None = None
        """Whether the access token is still good, where its end ends the stream."""
        self.changed = asyncio.Event()
        self.over = asyncio.Event()
        """Nothing more will be read from it."""
        self._transport = transport
        self._log = log
        self._mischief = mischief
        self._pinged = 0
        self._acked = 0
        self._silent_until_s = 0.0
        self._held_back: deque[tuple[str, int, int]] = deque()
        self._waiting_place: tuple[str, int, int] | None = None
        self._slow_since_s: float | None = None
        self._writing = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def subscribed(self) -> bool:
        """Whether any key of any service is left."""
        return any(self.keys.values())

    async def send(self, text: str, stamp_ms: int, lost_s: int = 0, *, data: bool = False) -> None:
        """Log a frame and send it; `data` frames may be doubled or change places."""
        if not self._mischief.armed:
            await self._put(text, stamp_ms, lost_s)
            return
        if self.closed:
            return
        text = self._mischief.skewed(text)
        if data and self._waiting_place is None and self._mischief.take("reorder") is not None:
            self._waiting_place = (text, stamp_ms, lost_s)
            return
        await self._put(text, stamp_ms, lost_s)
        if data:
            await self.settle()
            if self._mischief.take("duplicate") is not None:
                await self._put(text, stamp_ms, 0)

    async def settle(self) -> None:
        """Send the frame that waits to come after its successor."""
        if self._waiting_place is not None:
            frame, self._waiting_place = self._waiting_place, None
            await self._put(*frame)

    async def send_raw(self, frame: bytes, stamp_ms: int) -> None:
        """Send the bytes of a text frame, UTF-8 or not."""
        if self.closed:
            return
        self._log.write(self.number, stamp_ms, 0, frame.decode("utf-8", "surrogateescape"))
        with self._failing():
            await self.ws.send_frame(frame, WSMsgType.TEXT)

    async def ping(self) -> int:
        """Ask for a pong; what `ponged` wants to know."""
        self._log.flush()
        self._pinged += 1
        if not self.closed:
            with self._failing():
                await self.ws.ping(str(self._pinged).encode())
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

    async def pong(self, payload: bytes) -> None:
        """Answer a client's ping, never in the midst of a frame."""
        async with self._writing:
            if not self.closed:
                with self._failing():
                    await self.ws.pong(payload)

    def slow(self) -> bool:
        """Whether the client has left too much unread for too long."""
        waiting = self._transport.get_write_buffer_size() if self._transport is not None else 0
        now_s = time.monotonic()
        if waiting <= SLOW_BYTES:
            self._slow_since_s = None
        elif self._slow_since_s is None:
            self._slow_since_s = now_s
        return self._slow_since_s is not None and now_s - self._slow_since_s >= SLOW_S

    def watch_idleness(
        self, limit_s: float | None, act: Callable[[], Coroutine[object, object, None]] | None = None
    ) -> None:
        """Act in so many seconds, unless asked again; None: no more. A clock that runs already runs on."""
        if limit_s is None or act is None:
            if self._idle is not None:
                self._idle.cancel()
            self._idle = None
        elif self._idle is None:
            self._idle = asyncio.get_running_loop().call_later(limit_s, lambda: self.aside(act()))

    # Ends.

    def mark_closed(self) -> None:
        """The connection is over."""
        self.closed = True
        self.changed.set()

    def leave(self) -> None:
        """Its socket is read no more. A client that has answered the close frame finds the connection ended."""
        self.mark_closed()
        self.over.set()
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """End it without a close frame, after what was sent."""
        self.mark_closed()
        if self._transport is not None:
            self._transport.close()
            self._abort_later()

    def reset(self) -> None:
        """End it as a router that has lost the connection does: by RST."""
        self.mark_closed()
        if self._transport is None:
            return
        if (sock := self._transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def go_dead(self) -> None:
        """The socket stays, and carries nothing more in either direction."""
        self.dead = True
        self.mark_closed()
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.pause_reading()

    def end(self, code: int = 1000, *, frame: bool = True) -> None:
        """End it now. The close frame's answer is awaited aside, for it may be a client that was killed."""
        if self.closed:
            return
        if not frame:
            self.drop()
            return
        self.mark_closed()
        self.aside(self._say_goodbye(code))

    async def _say_goodbye(self, code: int) -> None:
        with self._failing():
            await self.ws.send_frame(code.to_bytes(2, "big"), WSMsgType.CLOSE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self.over.wait()
        if self._transport is not None:
            self._transport.close()
            self._abort_later()

    # Silence.

    def hush(self, seconds: float) -> None:
        """Hold back every frame for so long."""
        self._silent_until_s = time.monotonic() + seconds
        self.aside(self.quiet())

    @property
    def silent(self) -> bool:
        """Whether frames are being held back."""
        return bool(self._silent_until_s or self._held_back)

    async def quiet(self) -> None:
        """Wait until silence is over, if there is any, and send what was held back."""
        while not self.closed and (left_s := self._silent_until_s - time.monotonic()) > 0:
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self.changed.wait()
        self._silent_until_s = 0.0
        while self._held_back and not self.closed:
            await self._write(*self._held_back.popleft())

    async def _put(self, text: str, stamp_ms: int, lost_s: int) -> None:
        if self.silent:
            self._held_back.append((text, stamp_ms, lost_s))
        else:
            await self._write(text, stamp_ms, lost_s)

    async def _write(self, text: str, stamp_ms: int, lost_s: int) -> None:
        if self.closed:
            return
        self._log.write(self.number, stamp_ms, lost_s, text)
        with self._failing():
            if self._mischief.take("drip") is not None:
                await self._drip(text.encode())
            else:
                await self.ws.send_str(text)

    async def _drip(self, payload: bytes) -> None:
        """Write a text frame piece by piece, each in a packet of its own."""
        length = len(payload)
        if length < 126:
            head = bytes((0x81, length))
        elif length < 1 << 16:
            head = bytes((0x81, 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((0x81, 127)) + length.to_bytes(8, "big")
        whole = head + payload
        step = max(DRIP_BYTES, len(whole) // DRIP_PIECES)
        async with self._writing:
            for place in range(0, len(whole), step):
                if self._transport is None or self._transport.is_closing():
                    raise ConnectionResetError
                self._transport.write(whole[place : place + step])
                await asyncio.sleep(DRIP_NAP_S)

    def _abort_later(self) -> None:
        """A client that reads nothing more keeps no socket open."""
        if self._transport is not None:
            asyncio.get_running_loop().call_later(END_WITHIN_S, self._transport.abort)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionError, RuntimeError):
            self.mark_closed()

    def aside(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run it beside the connection's own work."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
