"""The streamer's protocol: commands in, responses and images out.

LOGIN (3 if the token is not ours; a second one evicts a connection with 12), SUBS, ADD, UNSUBS, VIEW, LOGOUT. Before
LOGIN, or with ids that are not ours: 20. Not JSON, or something missing: 21. A service that is not there: 11. More
symbols than the service takes: 19, and then 22 or 24. An unknown symbol is accepted and never ticks. No subscription
for 30 seconds by the wall: a code 30 notify, and the end. A message above 65,535 bytes: the end, without a word.
What is not known of Schwab is a switch. Commands run while the player's `turn` is held: the tape stands.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from alphakite.simulator import wire
from alphakite.simulator.commands import Command, parse_commands
from alphakite.simulator.connection import CLOSE_WITHIN_S, WITHOUT_LIMIT, Connection
from alphakite.simulator.faults import Faults
from alphakite.simulator.mischief import Mischief
from alphakite.simulator.oauth import TokenStore
from alphakite.simulator.player import Player
from alphakite.simulator.sendlog import SendLog
from alphakite.simulator.services import (
    BAD_FORMAT,
    DENIED,
    EQUITIES,
    EVICTED,
    FAILED,
    NO_LOGIN,
    NO_SERVICE,
    OPTIONS,
    SERVICES,
    SUCCEEDED,
    SUCCESS,
    TOO_MANY,
    TOO_MANY_TEXT,
    text_of,
)

LARGEST_REQUEST_BYTES = 65_535
LARGEST_MESSAGE_BYTES = 64 << 20
"""So much is read before a message is found to be too large."""
IDLE_S = 30.0
"""So long may a connection that is logged in be without any subscription; real seconds, in lock-step too."""
FIRST_HEARTBEAT_S = 0.025
SERVER = "server=s0sim-1;status=NP"


class Streamer:
    """Serves every WebSocket; `correl_ids` are those that userPreference has given out."""

    def __init__(
        self,
        player: Player,
        tokens: TokenStore,
        log: SendLog,
        *,
        faults: Faults | None = None,
        switches: dict[str, str] | None = None,
        caps: dict[str, int] | None = None,
    ) -> None:
        self.correl_ids: set[str] = set()
        self.connections: set[Connection] = set()
        self._player = player
        self._tokens = tokens
        self._log = log
        self._mischief = player.mischief if faults is None else Mischief(faults, player.moment)
        self._switches = player.switches if switches is None else switches
        self._caps: dict[str, int | None] = {name: service.cap for name, service in SERVICES.items()}
        self._caps.update(player.caps if caps is None else caps)
        self._count = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """The life of one WebSocket."""
        ws = web.WebSocketResponse(
            autoping=False,
            compress=False,
            max_msg_size=LARGEST_MESSAGE_BYTES,
            timeout=CLOSE_WITHIN_S,
            writer_limit=WITHOUT_LIMIT,
            autoclose=False,
        )
        await ws.prepare(request)
        self._count += 1
        connection = Connection(ws, request.transport, self._count, self._log, self._mischief)
        self.connections.add(connection)
        try:
            async for message in ws:
                if connection.closed:
                    continue
                if message.type is WSMsgType.PONG:
                    connection.take_pong(bytes(message.data))
                elif message.type is WSMsgType.PING:
                    await connection.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    if len(message.data) > LARGEST_REQUEST_BYTES or len(message.data.encode()) > LARGEST_REQUEST_BYTES:
                        connection.reset()
                        continue
                    async with self._player.turn:
                        await self._take(connection, message.data)
                        self._log.flush()
            if not connection.closed:
                await ws.close()
        except ConnectionError:
            pass
        finally:
            connection.leave()
            connection.watch_idleness(None)
            self._player.disconnected(connection)
            self.connections.discard(connection)
        return ws

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            if connection.dead:
                connection.reset()
            connection.end(1001)
        for connection in list(self.connections):
            await connection.over.wait()

    async def _take(self, connection: Connection, text: str) -> None:
        busy: set[str] = set()
        for command in parse_commands(text):
            if self._switches["parallel"] == "fails" and command.service in busy and command.command in FAILED:
                await self._answer(connection, command, FAILED[command.command])
            else:
                await self._obey(connection, command)
            busy.add(command.service)
            if connection.closed:
                return

    async def _obey(self, connection: Connection, command: Command) -> None:
        logs_in = command.service == "ADMIN" and command.command == "LOGIN"
        code = self._mischief.code_for(command.command) if command.sound and self._knows(connection, command) else None
        if not command.sound:
            await self._answer(connection, command, BAD_FORMAT)
        elif not self._knows(connection, command):
            await self._answer(connection, command, NO_LOGIN)
            if not connection.logged_in and self._switches["early-command"] == "closes":
                connection.end()
        elif code is not None and code not in (SUCCESS, *SUCCEEDED.values()):
            await self._refuse(connection, command, code)
        elif logs_in:
            await self._log_in(connection, command)
        elif command.service == "ADMIN" and command.command == "LOGOUT":
            await self._answer(connection, command, SUCCESS, "SUCCESS")
            connection.end()
            self._player.disconnected(connection)
        elif command.service == "ADMIN":
            await self._answer(connection, command, BAD_FORMAT)
        elif command.service not in SERVICES:
            await self._answer(connection, command, NO_SERVICE)
        else:
            await self._change(connection, command, code or SUCCESS)

    def _knows(self, connection: Connection, command: Command) -> bool:
        """Whether the ids are ours, and the same through a connection; before LOGIN only LOGIN is known."""
        if command.customer_id != self._tokens.customer_id:
            return False
        if command.service == "ADMIN" and command.command == "LOGIN":
            return command.correl_id in self.correl_ids
        return connection.logged_in and command.correl_id == connection.correl_id

    async def _refuse(self, connection: Connection, command: Command, code: int) -> None:
        """Answer with a code on order; the command is not obeyed."""
        if code == TOO_MANY:
            await self._answer_too_many(connection, command, len(connection.keys.get(command.service, ())), 0)
            return
        await self._answer(connection, command, code)
        if code == EVICTED:
            connection.end(frame=self._switches["close-frame"] == "yes")
        elif code == DENIED or (code == NO_LOGIN and self._switches["early-command"] == "closes"):
            connection.end()
        if connection.closed:
            self._player.disconnected(connection)

    async def _log_in(self, connection: Connection, command: Command) -> None:
        token = str(command.parameters.get("Authorization"))
        if not self._tokens.admits(token):
            await self._answer(connection, command, DENIED)
            connection.end()
            return
        older = self._player.active
        if older is not None and older is not connection:
            if self._switches["evicts"] == "newer":
                await self._answer(connection, command, EVICTED)
                connection.end(frame=self._switches["close-frame"] == "yes")
                return
            await self._player.evict(older)
        for dead in [known for known in self.connections if known.dead]:
            dead.reset()
        connection.logged_in, connection.token, connection.correl_id = True, token, command.correl_id
        if self._switches["token-expiry"] == "closes":
            connection.admitted = lambda: self._tokens.admits(token)
        self._player.connected(connection)
        self._watch(connection)
        await self._answer(connection, command, SUCCESS, SERVER)
        if self._player.lockstep:
            await self._beat(connection)
        else:
            connection.aside(self._first_heartbeat(connection))

    async def _first_heartbeat(self, connection: Connection) -> None:
        await asyncio.sleep(FIRST_HEARTBEAT_S)
        async with self._player.turn:
            await self._beat(connection)
            self._log.flush()

    async def _beat(self, connection: Connection) -> None:
        stamp_ms = self._player.tape_ms()
        await connection.send(wire.heartbeat(stamp_ms), stamp_ms)

    def _watch(self, connection: Connection) -> None:
        """Without a subscription the connection's time is limited."""

        async def stop() -> None:
            async with self._player.turn:
                if not connection.closed and not connection.subscribed:
                    await self._player.stop_stream(connection, "empty")
                    self._log.flush()

        connection.watch_idleness(None if connection.subscribed or connection.closed else IDLE_S, stop)

    async def _change(self, connection: Connection, command: Command, code: int) -> None:
        """SUBS, ADD, UNSUBS, VIEW."""
        service, name = command.service, command.command
        keys, fields = command.keys, command.fields
        if name not in SERVICES[service].commands or (name != "UNSUBS" and not fields) or (name != "VIEW" and not keys):
            await self._answer(connection, command, BAD_FORMAT)
            return
        held = connection.keys[service]
        before = set(held)
        kept, discarded = keys, 0
        if name in ("SUBS", "ADD"):
            kept, discarded = self._subscribe(connection, service, keys, fields, afresh=name == "SUBS")
        elif name == "UNSUBS":
            for key in keys:
                held.pop(key, None)
                connection.options.forget(key) if service == OPTIONS else None
        else:
            held.update(dict.fromkeys(held, fields))
        subscribes = name in ("SUBS", "ADD")
        lost_s = self._player.place(connection) if subscribes and service == EQUITIES else 0
        if discarded:
            await self._answer_too_many(connection, command, self._caps[service] or 0, discarded)
        else:
            await self._answer(connection, command, code, None if code else f"{name} command succeeded")
        if name == "ADD" and self._switches["re-add"] == "nothing":
            kept = [key for key in kept if key not in before]
        if subscribes:
            await self._send_images(connection, service, kept, lost_s)
        if self._player.ended.is_set():
            await self._beat(connection)
        self._watch(connection)
        self._player.subscribed(connection)

    def _subscribe(
        self, connection: Connection, service: str, keys: list[str], fields: frozenset[int], *, afresh: bool
    ) -> tuple[list[str], int]:
        """Take the keys up to the cap; those taken, and how many were not."""
        held, cap = connection.keys[service], self._caps[service]
        if afresh:
            held.clear()
        if service == EQUITIES:
            connection.named.update(keys)
        kept: list[str] = []
        for key in keys:
            if key in held or cap is None or len(held) < cap:
                held[key] = fields
                kept.append(key)
        return kept, len(keys) - len(kept)

    async def _send_images(self, connection: Connection, service: str, keys: list[str], lost_s: int) -> None:
        """The full images; stamped with the end of what has been played."""
        stamp_ms = self._player.market.position_ms
        items = self._player.publication.image(connection, service, keys, stamp_ms)
        if items:
            await self._player.publish(connection, [(service, items)], stamp_ms, lost_s)

    async def _answer_too_many(self, connection: Connection, command: Command, cap: int, discarded: int) -> None:
        """Two responses to one request; `discarded` 0: all of its keys."""
        message = TOO_MANY_TEXT.format(service=command.service, cap=cap, discarded=discarded or len(command.keys))
        await self._answer(connection, command, TOO_MANY, message)
        if command.command in FAILED:
            await self._answer(connection, command, FAILED[command.command])

    async def _answer(self, connection: Connection, command: Command, code: int, message: str | None = None) -> None:
        stamp_ms = self._player.tape_ms()
        if message is None:
            message = text_of(code, command.service, command.command)
        text = wire.response(
            command.service, command.command, command.request_id, command.correl_id, stamp_ms, code, message
        )
        await connection.send(text, stamp_ms)
