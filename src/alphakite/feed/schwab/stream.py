"""One connection to Schwab's streamer: login, subscriptions that follow what is desired, frames, endings.

In:   the streamer's address, an access token, symbols.      Out:  every text message to `on_text`, as it arrived.
The socket's pings are answered only after `on_flush`, so that a pong tells the server: all before it is journaled.
It never reconnects. No command is sent before the login is acknowledged, and one at a time (Schwab's guide; two in
flight on a service can fail); those of several services may share a message. Compression is not offered: a proxy's
unasked permessage-deflate breaks clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import picows

from alphakite.errors import TransientError
from alphakite.feed.schwab.rest import Streamer
from alphakite.feed.schwab.subscriptions import (
    CAP,
    EVICTED,
    STOPPED,
    SUCCESS,
    Answer,
    Command,
    Refusal,
    Subscriptions,
    Verdict,
    answers,
)

MAX_FRAME_BYTES = 64 * 1024 * 1024
ANSWER_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
"""After an eviction or a stop Schwab closes; if it does not, we do."""
LATE_ANSWERS = 16
"""So many commands are remembered after they were given up: their answers still count."""
SLOW = re.compile(r"slow|fall(?:en|ing)? behind|not keeping up|backlog|buffer", re.IGNORECASE)


class Refused(TransientError):
    """Schwab refused a command."""

    def __init__(self, command: str, code: int, message: str) -> None:
        super().__init__(f"{command} was refused: {code} {message}", next_step="it is tried again")
        self.command, self.code = command, code


class Evicted(TransientError):
    """Another program took this stream."""

    reason = "evicted"
    wait_first_s = 60.0
    wait_most_s = 900.0
    """How long to stay away, doubling: two programs that reconnect at once evict each other for ever."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"another program took this stream: {message}",
            next_step="a Schwab login has one stream: stop the other program; it is tried again after a minute or more",
        )


class Stopped(TransientError):
    """Schwab stops the stream. `slow`: because we did not read fast enough."""

    reason = "stopped"

    def __init__(self, message: str) -> None:
        super().__init__(f"Schwab stops the stream: {message}", next_step="it is tried again")
        self.slow = bool(SLOW.search(message))


class SchwabStream(picows.WSListener):
    """The listener of one connection.

    Args:
        on_text: called with each text message and whether more wait in the same read.
        on_flush: called before a ping is answered.
        coalesce_s: let the socket fill this long between reads; fewer wake-ups, that much latency. A server that
            pings to pace itself by our answers ends it for the connection.
        caps: see Subscriptions.
    """

    def __init__(
        self,
        streamer: Streamer,
        on_text: Callable[[bytes, bool], None],
        on_flush: Callable[[], None],
        coalesce_s: float,
        caps: dict[str, int] | None = None,
    ) -> None:
        self._streamer = streamer
        self._on_text = on_text
        self._on_flush = on_flush
        self._transport: picows.WSTransport | None = None
        self._parts: list[bytes] = []
        self._answers: dict[str, asyncio.Future[tuple[int, str]]] = {}
        self._late: dict[str, Command] = {}
        self._next_id = 0
        self._heard = True
        self._error: BaseException | None = None
        self._coalesce_s = coalesce_s
        self._lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self.subscriptions = Subscriptions(caps)
        self.ended = self._loop.create_future()
        self.ready = False
        """Whether the first reconciliation is done."""
        self.ending: Evicted | Stopped | None = None
        """Why Schwab ends this connection; None as long as it has not said so."""
        self.last_notice: str | None = None
        """What Schwab said with its last notice or eviction."""

    @classmethod
    async def connect(
        cls,
        streamer: Streamer,
        on_text: Callable[[bytes, bool], None],
        on_flush: Callable[[], None],
        coalesce_s: float = 0.0,
        caps: dict[str, int] | None = None,
    ) -> SchwabStream:
        """Open the socket. Raises TransientError."""
        listener = cls(streamer, on_text, on_flush, coalesce_s, caps)
        context = ssl.create_default_context() if streamer.url.startswith("wss:") else None
        try:
            await picows.ws_connect(
                lambda: listener,
                streamer.url,
                ssl_context=context,
                enable_auto_pong=False,
                max_frame_size=MAX_FRAME_BYTES,
                websocket_handshake_timeout=ANSWER_TIMEOUT_S,
            )
        except (OSError, picows.WSError, TimeoutError) as error:
            raise TransientError(f"the streamer cannot be reached: {error}", next_step="it is tried again") from error
        return listener

    async def login(self, access_token: str) -> None:
        """Raises Refused (code 3: the token), Evicted, Stopped, TransientError."""
        parameters = {
            "Authorization": access_token,
            "SchwabClientChannel": self._streamer.channel,
            "SchwabClientFunctionId": self._streamer.function_id,
        }
        async with self._lock:
            code, message = await self._command("ADMIN", "LOGIN", parameters)
        self._raise_for(code, message)
        if code not in SUCCESS:
            raise Refused("LOGIN", code, message)

    async def reconcile(self, desired: Mapping[str, tuple[str, ...]], together: Collection[str] = ()) -> list[Refusal]:
        """Bring the subscriptions to what is desired: service → symbols, the most important first.

        May be called at any time and again; a service that is not named keeps what it has. Returns what is desired
        and not subscribed. Raises Refused (the connection must be begun anew), Evicted, Stopped, TransientError.

        Args:
            together: services whose first commands go in one message, so that their images are of the same moment.
        """
        async with self._lock:
            self.subscriptions.want(desired)
            while plan := self.subscriptions.plan(self._loop.time()):
                first = {command.service: command for command in reversed(plan) if command.service in together}
                at_once = tuple(first[service] for service in together if service in first)
                together = ()
                await self._apply(at_once or plan[:1])
            self.ready = True
            return self.subscriptions.refusals(self._loop.time())

    async def readd(self, service: str, key: str) -> bool:
        """ADD a key that is subscribed already: does it get a new image? False if it is not or Schwab refused."""
        async with self._lock:
            if key not in self.subscriptions.held(service):
                return False
            command = Command(service, "ADD", (key,))
            code, message = await self._command(service, "ADD", command.parameters())
            self._raise_for(code, message)
            return code in SUCCESS

    async def subscribe(self, symbols: tuple[str, ...]) -> None:
        """Quotes and minute bars of equities. Raises Refused if no quotes of any can be had; see `reconcile`."""
        refusals = await self.reconcile({"CHART_EQUITY": symbols, "LEVELONE_EQUITIES": symbols})
        if symbols and not self.subscriptions.held("LEVELONE_EQUITIES"):
            worst = next(refusal for refusal in refusals if refusal.service == "LEVELONE_EQUITIES")
            raise Refused("SUBS", worst.code or 0, worst.reason)

    async def run(self, silence_s: float) -> str:
        """Until the connection ends: the reason. Raises what `on_text` raised.

        socket_down; silence; evicted: another program took this stream; stopped: Schwab's text is in `last_notice`.
        """
        while True:
            self._heard = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(silence_s):
                    return str(await asyncio.shield(self.ended))
            if not self._heard:
                self.close()
                return self.ending.reason if self.ending is not None else "silence"

    def close(self) -> None:
        """Drop the connection. May be called twice."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def logout(self) -> None:
        """Say goodbye and close."""
        with contextlib.suppress(TransientError, TimeoutError):
            async with asyncio.timeout(1.0), self._lock:
                await self._command("ADMIN", "LOGOUT", {})
        self.close()

    # ── picows ──────────────────────────────────────────────────────────────────────────────────────────────

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        try:
            if kind == picows.WSMsgType.TEXT or kind == picows.WSMsgType.CONTINUATION:
                self._heard = True
                if not frame.fin or self._parts:
                    self._parts.append(frame.get_payload_as_bytes())
                    if not frame.fin:
                        return
                    payload = b"".join(self._parts)
                    self._parts.clear()
                else:
                    payload = frame.get_payload_as_bytes()
                self._on_text(payload, frame.last_in_buffer)
                if not payload.startswith(b'{"data"'):
                    for answer in answers(payload):
                        self._take(answer)
                if self._coalesce_s and self.ready and frame.last_in_buffer:
                    transport.underlying_transport.pause_reading()
                    self._loop.call_later(self._coalesce_s, self._resume)
            elif kind == picows.WSMsgType.PING:
                self._coalesce_s = 0.0
                self._on_flush()
                transport.send_pong(frame.get_payload_as_bytes())
            elif kind == picows.WSMsgType.CLOSE:
                self._on_flush()
                transport.send_close(frame.get_close_code())
                transport.disconnect()
        except BaseException as error:
            self._error = error
            transport.disconnect(graceful=False)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._why())
        if not self.ended.done():
            if self._error is not None:
                self.ended.set_exception(self._error)
                self.ended.exception()  # a login that waits is told; nobody else need ask
            else:
                self.ended.set_result("socket_down" if self.ending is None else self.ending.reason)

    def _why(self) -> BaseException:
        """What to tell a command on a connection that has ended."""
        return (
            self._error
            or self.ending
            or TransientError("the connection has ended before Schwab answered", next_step="it is tried again")
        )

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────

    async def _apply(self, commands: Sequence[Command]) -> None:
        """Send commands of a plan in one message, each of another service, and take the answers over."""
        self._check()
        asked = [self._request(one.service, one.command, one.parameters()) for one in commands]
        self._send([request for request, _answer in asked])
        unheard = dict(zip((request["requestid"] for request, _answer in asked), commands, strict=True))
        try:
            for (request, answer), command in zip(asked, commands, strict=True):
                code, message = await self._answered(answer, command.command)
                del unheard[request["requestid"]]
                verdict = self.subscriptions.took(command, code, message, self._loop.time())
                self._raise_for(code, message)
                if verdict is Verdict.BEGIN_ANEW:
                    raise Refused(command.command, code, message)
        finally:
            for request, answer in asked:
                del self._answers[request["requestid"]]
                if answer.done() and not answer.cancelled():
                    answer.exception()  # of several the first is raised
            self._late |= unheard
            while len(self._late) > LATE_ANSWERS:
                del self._late[next(iter(self._late))]

    async def _command(self, service: str, command: str, parameters: dict[str, Any]) -> tuple[int, str]:
        """The code and text of Schwab's answer."""
        self._check()
        request, answer = self._request(service, command, parameters)
        self._send([request])
        try:
            return await self._answered(answer, command)
        finally:
            del self._answers[request["requestid"]]

    def _check(self) -> None:
        assert self._transport is not None
        if self.ended.done() or self.ending is not None:
            raise self._why()

    def _request(
        self, service: str, command: str, parameters: dict[str, Any]
    ) -> tuple[dict[str, Any], asyncio.Future[tuple[int, str]]]:
        """A request, and what its answer is told to."""
        self._next_id += 1
        request_id = str(self._next_id)
        self._answers[request_id] = answer = self._loop.create_future()
        return {
            "service": service,
            "requestid": request_id,
            "command": command,
            "SchwabClientCustomerId": self._streamer.customer_id,
            "SchwabClientCorrelId": self._streamer.correl_id,
            "parameters": parameters,
        }, answer

    def _send(self, requests: list[dict[str, Any]]) -> None:
        assert self._transport is not None
        self._transport.send(picows.WSMsgType.TEXT, json.dumps({"requests": requests}, separators=(",", ":")).encode())

    async def _answered(self, answer: asyncio.Future[tuple[int, str]], command: str) -> tuple[int, str]:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError as error:
            raise TransientError(
                f"no answer to {command} within {ANSWER_TIMEOUT_S:.0f} s", next_step="it is tried again"
            ) from error

    def _take(self, answer: Answer) -> None:
        """A response to a command that waits or has been given up, or a notice."""
        if answer.envelope == "notify" or answer.code in (EVICTED, STOPPED):
            self.last_notice = answer.message
        if answer.code in (EVICTED, STOPPED):
            self._end(answer)
        waiting = self._answers.get(answer.request_id) if answer.envelope == "response" else None
        if waiting is not None:
            if not waiting.done():
                waiting.set_result((answer.code, answer.message))
            return
        late = self._late.pop(answer.request_id, None) if answer.envelope == "response" else None
        if late is not None:
            self.subscriptions.took(late, answer.code, answer.message, self._loop.time())
        elif answer.code == CAP:
            self.subscriptions.heard_late(answer.message)

    def _end(self, answer: Answer) -> None:
        """Schwab ends the connection: it closes the socket now, often without a close frame."""
        if self.ending is None:
            self.ending = Evicted(answer.message) if answer.code == EVICTED else Stopped(answer.message)
            self._loop.call_later(CLOSE_TIMEOUT_S, self.close)

    def _raise_for(self, code: int, message: str) -> None:
        """Raise if Schwab ends the connection."""
        if code in (EVICTED, STOPPED):
            raise self.ending or (Evicted(message) if code == EVICTED else Stopped(message))
