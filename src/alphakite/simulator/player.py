"""The player: moves the tape and sends what each window brings.

Lock-step (`speed` None)   a window's frames go out, then one ping; the tape stands until its pong. Windows that bring
                           nothing are passed over. The tape begins when a connection has named every symbol; it stands
                           while none is there, and during REST calls and commands (`turn`).
Clocked                    the tape follows the monotonic clock, times `speed`, from the first subscription on.
A disconnection costs nothing under `hold`; under `run` a seeded 3 to 120 tape seconds in lock-step, else what passes.
A heartbeat goes out every `heartbeat_s` tape seconds, between windows, stamped with the tape time reached; in
lock-step it is pinged for as well, so that the tape is never far ahead of what the client has. The end: a heartbeat
stamped with the programme's end, its pong, close 1000.
"""

from __future__ import annotations

import asyncio
import random
import time

from alphakite.simulator import wire
from alphakite.simulator.connection import Connection
from alphakite.simulator.market import Market
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.sendlog import SendLog

LOST_S = (3, 120)
LONGEST_NAP_S = 0.2


class Player:
    """`active` is the one connection that is logged in; `turn` is held by whoever sends."""

    def __init__(self, market: Market, options: SimulatorOptions, log: SendLog) -> None:
        self.market = market
        self.turn = asyncio.Lock()
        self.ended = asyncio.Event()
        self.active: Connection | None = None
        self._options = options
        self._log = log
        self._losses = random.Random(f"{options.seed}:loss")
        self._left_ms: int | None = None
        self._rest_calls = 0
        self._news = asyncio.Event()
        self._next_heartbeat_ms = market.position_ms + options.heartbeat_s * 1000
        self._sequence = 0
        self._anchor_tape_ms = float(market.position_ms)
        self._anchor_mono_s: float | None = None

    # What the protocol and REST sides tell and ask.

    def tape_ms(self) -> int:
        """The time on the tape: never before what was played, never beyond the next frame's stamp."""
        reached = self.market.position_ms
        if self._anchor_mono_s is None:
            return reached
        latest = max(reached, self.market.window_end_ms() - 1)
        return min(max(int(self._clock_ms()), reached), latest)

    def connected(self, connection: Connection) -> None:
        """A connection has logged in."""
        self.active = connection
        self._tell()

    def disconnected(self, connection: Connection) -> None:
        """A connection is over."""
        if self.active is not connection:
            return
        self.active = None
        if connection.placed:
            self._left_ms = self.market.position_ms
            if self._options.on_disconnect == "hold" or self.ended.is_set():
                self._stop_clock()
        self._tell()

    def place(self, connection: Connection) -> int:
        """The first subscription of a connection: move the tape to where it goes on; the tape seconds lost."""
        if connection.placed:
            return 0
        connection.placed = True
        lost_s = 0
        if self._left_ms is not None:
            lost_s = self._move_on(self._left_ms)
        self._left_ms = None
        self._next_heartbeat_ms = self.market.position_ms + self._options.heartbeat_s * 1000
        if self._options.speed is not None and self._anchor_mono_s is None and not self.ended.is_set():
            self._anchor_tape_ms = float(self.market.position_ms)
            self._anchor_mono_s = time.monotonic()
        return lost_s

    def subscribed(self, connection: Connection) -> None:
        """The keys of a connection have changed."""
        if self.market.symbols.keys() <= connection.keys["LEVELONE_EQUITIES"].keys():
            connection.complete = True
        self._tell()

    def rest_began(self) -> None:
        """A REST call has come: in lock-step the tape stands."""
        self._rest_calls += 1

    def rest_ended(self) -> None:
        """A REST call is answered."""
        self._rest_calls -= 1
        self._tell()

    def next_sequence(self) -> int:
        """The `seq` of the next chart item."""
        self._sequence += 1
        return self._sequence - 1

    # The tape's way.

    async def run(self) -> None:
        """Play to the end. Cancel it to stop."""
        if self._options.speed is None:
            await self._run_lockstep()
        else:
            await self._run_clocked()
        await self._finish()

    async def _run_lockstep(self) -> None:
        while self.market.position_ms < self.market.programme.end_ms:
            connection = await self._ready()
            async with self.turn:
                if connection.closed or self._rest_calls:
                    continue
                if not await self._window(connection, skip=True):
                    await asyncio.sleep(0)
                    continue
                ping = await connection.ping()
            await connection.ponged(ping)

    async def _run_clocked(self) -> None:
        speed = self._options.speed or 1.0
        while self.market.position_ms < self.market.programme.end_ms:
            if self._anchor_mono_s is None:
                self._news.clear()
                await self._news.wait()
                continue
            delay_s = (self.market.window_end_ms() - self._clock_ms()) / 1000 / speed
            if delay_s > 0:
                await asyncio.sleep(min(delay_s, LONGEST_NAP_S))
                continue
            async with self.turn:
                if self._anchor_mono_s is None:
                    continue
                connection = self.active
                await self._window(connection if connection is not None and connection.placed else None, skip=False)
                self._log.flush()
            await asyncio.sleep(0)

    async def _ready(self) -> Connection:
        """The connection for which lock-step may go on."""
        while True:
            connection = self.active
            if connection is not None and connection.complete and not connection.closed and not self._rest_calls:
                return connection
            self._news.clear()
            await self._news.wait()

    async def _window(self, connection: Connection | None, *, skip: bool) -> bool:
        """Play one window (with `skip`, to the next one that brings something) and send it. True if anything was."""
        market = self.market
        began_ms = market.position_ms
        end_ms = market.window_end_ms()
        if skip:
            end_ms = self._next_busy_end_ms()
        market.play(end_ms)
        if connection is None:
            return False
        sent = False
        wanted = connection.keys["LEVELONE_EQUITIES"]
        items = [
            item for symbol in market.moved if symbol.symbol in wanted and (item := symbol.delta(wanted[symbol.symbol]))
        ]
        if items:
            await connection.send(wire.data_frame("LEVELONE_EQUITIES", end_ms - 1, items), end_ms - 1)
            sent = True
        sent |= await self._send_bars(connection, began_ms, end_ms)
        if self._options.heartbeat_s and self._next_heartbeat_ms <= end_ms < market.programme.end_ms:
            await connection.send(wire.heartbeat(end_ms), end_ms)
            self._next_heartbeat_ms = end_ms + self._options.heartbeat_s * 1000
            sent = True
        return sent

    def _next_busy_end_ms(self) -> int:
        """The end of the next window with an event or a heartbeat."""
        market = self.market
        end_ms, phase_ms = market.window_end_ms(), market.programme.phase_ms
        busy_ms = market.next_ms()
        if self._options.heartbeat_s:
            busy_ms = min(busy_ms, self._next_heartbeat_ms - 1)
        if busy_ms >= end_ms:
            end_ms = (busy_ms - phase_ms) // 1000 * 1000 + 1000 + phase_ms
        return min(end_ms, market.programme.end_ms)

    async def _send_bars(self, connection: Connection, after_ms: int, until_ms: int) -> bool:
        wanted = connection.keys["CHART_EQUITY"]
        items = [
            wire.chart_item(symbol, bar, self.next_sequence(), wanted[symbol])
            for symbol in self.market.symbols
            if symbol in wanted
            for bar in self.market.bars_between(symbol, after_ms, until_ms)
        ]
        if items:
            await connection.send(wire.data_frame("CHART_EQUITY", until_ms - 1, items), until_ms - 1)
        return bool(items)

    async def _finish(self) -> None:
        """The last heartbeat, its pong, the close; the tape stands at its end from here on."""
        end_ms = self.market.programme.end_ms
        lockstep = self._options.speed is None
        self._stop_clock()
        while True:
            connection = await self._ready() if lockstep else self.active
            if connection is None:
                break
            async with self.turn:
                await connection.send(wire.heartbeat(end_ms), end_ms)
                ping = await connection.ping()
            if lockstep:
                ponged = await connection.ponged(ping)
            else:
                try:
                    async with asyncio.timeout(self._options.pong_wait_s):
                        ponged = await connection.ponged(ping)
                except TimeoutError:
                    ponged = True
            if ponged:
                await connection.close()
                break
            await asyncio.sleep(0)
            if not lockstep and self._options.on_disconnect == "run":
                break
        self._log.flush()
        self.ended.set()

    def _move_on(self, left_ms: int) -> int:
        """After a disconnection; the tape seconds lost."""
        market = self.market
        if self.ended.is_set():
            return 0
        if self._options.speed is not None and self._options.on_disconnect == "run":
            return (market.position_ms - left_ms) // 1000
        whole_ms = -(-market.position_ms // 1000) * 1000
        lost_s = self._losses.randint(*LOST_S) if self._options.on_disconnect == "run" else 0
        target_ms = min(whole_ms + lost_s * 1000, market.programme.end_ms)
        market.play(target_ms)
        return max(0, (target_ms - whole_ms) // 1000)

    def _clock_ms(self) -> float:
        if self._anchor_mono_s is None:
            return self._anchor_tape_ms
        passed_s = time.monotonic() - self._anchor_mono_s
        return self._anchor_tape_ms + passed_s * 1000 * (self._options.speed or 1.0)

    def _stop_clock(self) -> None:
        if self._anchor_mono_s is not None:
            self._anchor_tape_ms, self._anchor_mono_s = self._clock_ms(), None

    def _tell(self) -> None:
        self._news.set()
