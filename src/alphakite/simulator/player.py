"""The player: moves the tape and sends what each window brings.

Lock-step (`speed` None)   a window's frames go out, then one ping; the tape stands until its pong. Windows that bring
                           nothing are passed over. The tape begins when a connection has named every symbol; it stands
                           while none is there, and during REST calls and commands (`turn`).
Clocked                    the tape follows the monotonic clock, times `speed`, from the first subscription on.
A disconnection costs nothing under `hold`; under `run` a seeded 3 to 120 tape seconds in lock-step, else what passes.
A heartbeat goes out every `heartbeat_s` tape seconds, between windows, stamped with the tape time reached; in
lock-step it is pinged for as well, so that the tape is never far ahead of what the client has, and comes every five
minutes between two sessions. The end: a heartbeat stamped with the programme's end, its pong, close 1000.
Faults of the stream come between two windows, before anything of the second is sent.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime
from datetime import time as wall_time

from alphakite.sessions import EXCHANGE, exchange_date, next_session, session_at, session_on
from alphakite.simulator import wire
from alphakite.simulator.connection import Connection
from alphakite.simulator.faults import Faults
from alphakite.simulator.market import Market
from alphakite.simulator.mischief import Mischief, garbage_frame, huge_frame
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.publication import Elements, Publication
from alphakite.simulator.sendlog import SendLog
from alphakite.simulator.services import EVICTED, STOP_TEXTS, STOPPED, text_of
from alphakite.simulator.switches import parse_switches

LOST_S = (3, 120)
LONGEST_NAP_S = 0.2
NIGHT_STEP_MS = 300_000
"""Between sessions lock-step goes in steps of so much, heartbeat by heartbeat."""


class Player:
    """`active` is the one connection that is logged in; `turn` is held by whoever sends."""

    def __init__(
        self,
        market: Market,
        options: SimulatorOptions,
        log: SendLog,
        *,
        faults: Faults | None = None,
        switches: dict[str, str] | None = None,
    ) -> None:
        self.market = market
        self.lockstep = options.speed is None
        self.switches = parse_switches(options.switches) if switches is None else switches
        self.caps = dict(options.caps)
        self.publication = Publication(market, self.switches)
        self.mischief = Mischief(Faults(options.faults) if faults is None else faults, self.moment)
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
        self._beats = options.heartbeat_s > 0 and self.switches["heartbeat"] != "never"
        self._day, self._session = 1, market.programme.session
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
        if self.market.symbols.keys() <= connection.named:
            connection.complete = True
        self._tell()

    def rest_began(self) -> None:
        """A REST call has come: in lock-step the tape stands."""
        self._rest_calls += 1

    def rest_ended(self) -> None:
        """A REST call is answered."""
        self._rest_calls -= 1
        self._tell()

    async def publish(self, connection: Connection, elements: Elements, stamp_ms: int, lost_s: int = 0) -> None:
        """Send data: one frame for each service, or one for all."""
        if len(elements) > 1 and self.switches["services"] == "together":
            await connection.send(wire.data_frames(stamp_ms, elements), stamp_ms, lost_s, data=True)
            return
        for service, items in elements:
            await connection.send(wire.data_frame(service, stamp_ms, items), stamp_ms, lost_s, data=True)

    async def stop_stream(self, connection: Connection, reason: str) -> None:
        """Code 30 in a notify, then the end."""
        stamp_ms = self.tape_ms()
        await connection.send(wire.notify(stamp_ms, STOPPED, STOP_TEXTS[reason]), stamp_ms)
        self._part(connection)

    async def evict(self, connection: Connection) -> None:
        """Code 12, then the end: another connection of the same user is logged in."""
        stamp_ms = self.tape_ms()
        text = text_of(EVICTED, "ADMIN", "LOGIN")
        frame = wire.response("ADMIN", "LOGIN", "0", connection.correl_id, stamp_ms, EVICTED, text)
        await connection.send(frame, stamp_ms)
        self._part(connection)

    def _part(self, connection: Connection) -> None:
        connection.end(frame=self.switches["close-frame"] == "yes")
        self.disconnected(connection)

    # The tape's way.

    async def run(self) -> None:
        """Play to the end. Cancel it to stop."""
        if self.lockstep:
            await self._run_lockstep()
        else:
            await self._run_clocked()
        await self._finish()

    async def _run_lockstep(self) -> None:
        while self.market.position_ms < self.market.programme.end_ms:
            connection = await self._ready()
            if connection.silent:
                await connection.quiet()
            async with self.turn:
                if connection.closed or self._rest_calls or await self._befall(connection):
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
                if connection is not None and (not connection.placed or await self._befall(connection)):
                    connection = None
                if self._anchor_mono_s is None:
                    continue
                await self._window(connection, skip=self._is_far_behind())
                if connection is not None and connection.slow():
                    await self.stop_stream(connection, "slow")
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
        end_ms = self._next_busy_end_ms() if skip else market.window_end_ms()
        market.play(end_ms)
        if connection is None:
            return False
        elements = self.publication.window(connection, began_ms, end_ms)
        if elements:
            await self.publish(connection, elements, end_ms - 1)
        if not self._beats:
            return bool(elements)
        if elements and self.switches["heartbeat"] == "idle":
            self._next_heartbeat_ms = self._heartbeat_after(end_ms)
        elif self._next_heartbeat_ms <= end_ms < market.programme.end_ms:
            await connection.send(wire.heartbeat(end_ms), end_ms)
            self._next_heartbeat_ms = self._heartbeat_after(end_ms)
            return True
        return bool(elements)

    def _next_busy_end_ms(self) -> int:
        """The end of the next window with an event or a heartbeat; at a numeric speed not beyond the clock."""
        market = self.market
        end_ms, phase_ms = market.window_end_ms(), market.programme.phase_ms
        busy_ms = market.next_ms()
        if self._beats:
            busy_ms = min(busy_ms, self._next_heartbeat_ms - 1)
        if not self.lockstep:
            busy_ms = min(busy_ms, int(self._clock_ms()) - 1000)
        if busy_ms >= end_ms:
            end_ms = (busy_ms - phase_ms) // 1000 * 1000 + 1000 + phase_ms
        return min(end_ms, market.programme.end_ms)

    def _heartbeat_after(self, end_ms: int) -> int:
        next_ms = end_ms + self._options.heartbeat_s * 1000
        if not self.lockstep or session_at(end_ms * 1000) is not None:
            return next_ms
        return max(next_ms, min(end_ms + NIGHT_STEP_MS, _next_opening_ms(end_ms)))

    def _is_far_behind(self) -> bool:
        """At a numeric speed, and between two sessions, windows of nothing are passed over to keep up."""
        position_ms = self.market.position_ms
        return self._clock_ms() - position_ms > 10_000 and session_at(position_ms * 1000) is None

    async def _befall(self, connection: Connection) -> bool:
        """What is due between two windows. True if the connection takes no window now."""
        if connection.admitted is not None and not connection.admitted():
            connection.end()
            self.disconnected(connection)
            return True
        while (fault := self.mischief.occasion()) is not None:
            stamp_ms = self.tape_ms()
            match fault.name:
                case "garbage":
                    await connection.send_raw(garbage_frame(fault.value, self.market, stamp_ms), stamp_ms)
                case "huge":
                    await connection.send(huge_frame(fault.value, stamp_ms), stamp_ms)
                case "silence":
                    connection.hush(float(fault.value))
                    return self.lockstep
                case "stop":
                    await self.stop_stream(connection, fault.value or "empty")
                case "evict":
                    await self.evict(connection)
                case "close":
                    connection.end(int(fault.value or 1000))
                case "close-silent":
                    connection.drop()
                case "half-open":
                    connection.go_dead()
                case _:
                    connection.reset()
            if connection.closed:
                self._log.flush()
                self.disconnected(connection)
                return True
        return False

    def moment(self) -> tuple[int, wall_time]:
        """The number of the session played, from 1, and exchange wall time."""
        position_ms = self.market.position_ms
        while position_ms * 1000 >= (following := next_session(self._session.date)).extended_open_us:
            self._day, self._session = self._day + 1, following
        return self._day, datetime.fromtimestamp(position_ms / 1000, EXCHANGE).time()

    async def _finish(self) -> None:
        """The last heartbeat, its pong, the close; the tape stands at its end from here on."""
        end_ms = self.market.programme.end_ms
        self._stop_clock()
        while True:
            connection = await self._ready() if self.lockstep else self.active
            if connection is None:
                break
            await connection.quiet()
            async with self.turn:
                await connection.settle()
                await connection.send(wire.heartbeat(end_ms), end_ms)
                ping = await connection.ping()
            if self.lockstep:
                ponged = await connection.ponged(ping)
            else:
                try:
                    async with asyncio.timeout(self._options.pong_wait_s):
                        ponged = await connection.ponged(ping)
                except TimeoutError:
                    ponged = True
            if ponged:
                connection.end()
                await connection.over.wait()
                break
            await asyncio.sleep(0)
            if not self.lockstep and self._options.on_disconnect == "run":
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


def _next_opening_ms(at_ms: int) -> int:
    """When the first session after this time opens."""
    day = exchange_date(at_ms * 1000)
    session = session_on(day)
    if session is None or session.extended_open_us // 1000 <= at_ms:
        session = next_session(day)
    return session.extended_open_us // 1000
