"""The streamer's protocol: commands in, responses and images out.

LOGIN (3 if the token is not ours; a second one evicts the first connection with 12), SUBS, ADD, UNSUBS, VIEW, LOGOUT.
Before LOGIN, or with ids that are not ours: 20. Not JSON, or something missing: 21. A service we do not play: 11.
An unknown symbol is accepted and never ticks. Commands run while the player's `turn` is held: the tape stands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from alphakite.simulator import wire
from alphakite.simulator.connection import SERVICES, Connection
from alphakite.simulator.oauth import TokenStore
from alphakite.simulator.player import Player
from alphakite.simulator.sendlog import SendLog

LARGEST_REQUEST_BYTES = 65_535
CLOSE_WITHIN_S = 2.0
SERVER = "server=s0sim-1;status=NP"
NO_LOGIN, BAD_FORMAT, NO_SERVICE, DENIED, EVICTED = 20, 21, 11, 3, 12


@dataclass(slots=True)
class Command:
    """One request, with what is known of it."""

    service: str
    command: str
    request_id: str
    customer_id: str
    correl_id: str
    parameters: dict[str, object]
    sound: bool


class Streamer:
    """Serves every WebSocket; `correl_ids` are those that userPreference has given out."""

    def __init__(self, player: Player, tokens: TokenStore, log: SendLog) -> None:
        self.correl_ids: set[str] = set()
        self.connections: set[Connection] = set()
        self._player = player
        self._tokens = tokens
        self._log = log
        self._count = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """The life of one WebSocket."""
        ws = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=LARGEST_REQUEST_BYTES, timeout=CLOSE_WITHIN_S
        )
        await ws.prepare(request)
        self._count += 1
        connection = Connection(ws, request.transport, self._count, self._log)
        self.connections.add(connection)
        try:
            async for message in ws:
                if message.type is WSMsgType.PONG:
                    connection.take_pong(bytes(message.data))
                elif message.type is WSMsgType.PING:
                    await ws.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    async with self._player.turn:
                        await self._take(connection, message.data)
                        self._log.flush()
                    if connection.closed:
                        break
        except ConnectionError:
            pass
        finally:
            connection.mark_closed()
            self._player.disconnected(connection)
            self.connections.discard(connection)
        return ws

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            await connection.close(1001)

    async def _take(self, connection: Connection, text: str) -> None:
        try:
            whole = json.loads(text)
        except ValueError:
            whole = None
        requests = whole.get("requests", [whole]) if isinstance(whole, dict) else [None]
        for request in requests if isinstance(requests, list) and requests else [None]:
            await self._obey(connection, _command(request))
            if connection.closed:
                return

    async def _obey(self, connection: Connection, command: Command) -> None:
        if not command.sound:
            await self._answer(connection, command, BAD_FORMAT, "Bad command formatting")
        elif command.customer_id != self._tokens.customer_id or command.correl_id not in self.correl_ids:
            await self._answer(connection, command, NO_LOGIN, "Stream connection not found.")
        elif command.service == "ADMIN" and command.command == "LOGIN":
            await self._log_in(connection, command)
        elif not connection.logged_in:
            await self._answer(connection, command, NO_LOGIN, "Stream connection not found.")
        elif command.service == "ADMIN" and command.command == "LOGOUT":
            await self._answer(connection, command, 0, "SUCCESS")
            await connection.close()
        elif command.service == "ADMIN":
            await self._answer(connection, command, BAD_FORMAT, "Bad command formatting")
        elif command.service not in SERVICES:
            await self._answer(connection, command, NO_SERVICE, f"Service {command.service} is not available")
        else:
            await self._change(connection, command)

    async def _log_in(self, connection: Connection, command: Command) -> None:
        if not self._tokens.admits(str(command.parameters.get("Authorization"))):
            await self._answer(connection, command, DENIED, "Login Denied.: token is invalid or has expired.")
            await connection.close()
            return
        older = self._player.active
        if older is not None and older is not connection:
            await self._evict(older)
        connection.logged_in = True
        self._player.connected(connection)
        await self._answer(connection, command, 0, SERVER)
        stamp_ms = self._player.tape_ms()
        await connection.send(wire.heartbeat(stamp_ms), stamp_ms)

    async def _evict(self, older: Connection) -> None:
        stamp_ms = self._player.tape_ms()
        message = "Maximum connections reached: another connection of this user is logged in"
        text = wire.response("ADMIN", "LOGIN", "0", "", stamp_ms, EVICTED, message)
        await older.send(text, stamp_ms)
        self._player.disconnected(older)
        # Dropped without waiting for its close frame: it may be a client that was killed.
        older.drop()

    async def _change(self, connection: Connection, command: Command) -> None:
        """SUBS, ADD, UNSUBS, VIEW."""
        keys, fields = _list(command.parameters.get("keys")), _numbers(command.parameters.get("fields"))
        held, name = connection.keys[command.service], command.command
        if (name in ("SUBS", "ADD", "VIEW") and not fields) or (name != "VIEW" and not keys):
            await self._answer(connection, command, BAD_FORMAT, "Bad command formatting")
            return
        if name == "SUBS":
            held.clear()
        if name in ("SUBS", "ADD"):
            held.update(dict.fromkeys(keys, fields))
        elif name == "UNSUBS":
            for key in keys:
                held.pop(key, None)
        elif name == "VIEW":
            held.update(dict.fromkeys(held, fields))
        else:
            await self._answer(connection, command, BAD_FORMAT, "Bad command formatting")
            return
        subscribes = name in ("SUBS", "ADD")
        lost_s = self._player.place(connection) if subscribes and command.service == SERVICES[0] else 0
        await self._answer(connection, command, 0, f"{name} command succeeded")
        if subscribes:
            await self._send_images(connection, command.service, keys, lost_s)
        if self._player.ended.is_set():
            end_ms = self._player.tape_ms()
            await connection.send(wire.heartbeat(end_ms), end_ms)
        self._player.subscribed(connection)

    async def _send_images(self, connection: Connection, service: str, keys: list[str], lost_s: int) -> None:
        """The full images; stamped with the end of what has been played."""
        market = self._player.market
        stamp_ms = market.position_ms
        held = connection.keys[service]
        items: list[str] = []
        for key in dict.fromkeys(keys):
            if key not in market.symbols:
                continue
            if service == SERVICES[0]:
                items.append(market.symbols[key].image(held[key]))
            elif (bar := market.last_bar(key)) is not None:
                items.append(wire.chart_item(key, bar, self._player.next_sequence(), held[key]))
        if items:
            await connection.send(wire.data_frame(service, stamp_ms, items), stamp_ms, lost_s)

    async def _answer(self, connection: Connection, command: Command, code: int, message: str) -> None:
        stamp_ms = self._player.tape_ms()
        text = wire.response(
            command.service, command.command, command.request_id, command.correl_id, stamp_ms, code, message
        )
        await connection.send(text, stamp_ms)


def _command(request: object) -> Command:
    """Read one request; `sound` only if service, command and requestid are there."""
    known = request if isinstance(request, dict) else {}
    parameters = known.get("parameters", {})
    texts = {name: known.get(name) for name in ("service", "command", "requestid")}
    sound = all(isinstance(value, str | int) and value != "" for value in texts.values()) and isinstance(
        parameters, dict
    )
    return Command(
        service=str(known.get("service", "")),
        command=str(known.get("command", "")),
        request_id=str(known.get("requestid", "")),
        customer_id=str(known.get("SchwabClientCustomerId", "")),
        correl_id=str(known.get("SchwabClientCorrelId", "")),
        parameters=parameters if isinstance(parameters, dict) else {},
        sound=sound,
    )


def _list(value: object) -> list[str]:
    return [key for key in value.split(",") if key] if isinstance(value, str) else []


def _numbers(value: object) -> frozenset[int]:
    """Field numbers; empty if any of them is not a number. Numbers beyond the table are ignored by who sends."""
    texts = [text.strip() for text in _list(value)]
    return frozenset(int(text) for text in texts) if all(map(str.isdigit, texts)) else frozenset()
