"""One connection to Schwab's streamer: login, acknowledged subscription, frames, silence.

In:   the streamer's address, an access token, symbols.      Out:  every text message to `on_text`, as it arrived.
The socket's pings are answered only after `on_flush`, so that a pong tells the server: all before it is journaled.
A silent or closed connection ends `run` with a reason; the caller reconnects. No command is sent before the login is
acknowledged, and one at a time (Schwab's guide; two in flight can fail).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from typing import Any

import picows

from alphakite.errors import TransientError
from alphakite.feed.schwab.fields import EQUITY_REQUEST
from alphakite.feed.schwab.rest import Streamer

CHART_REQUEST = "0,1,2,3,4,5,6,7,8"
KEYS_PER_REQUEST = 500
MAX_FRAME_BYTES = 64 * 1024 * 1024
ANSWER_TIMEOUT_S = 10.0
SUCCESS = (0, 26, 27, 28, 29)


class Refused(TransientError):
    """Schwab refused a command."""

    def __init__(self, command: str, code: int, message: str) -> None:
        super().__init__(f"{command} was refused: {code} {message}", next_step="it is tried again")
        self.command, self.code = command, code


class SchwabStream(picows.WSListener):
    """The listener of one connection.

    Args:
        on_text: called with each text message and whether more wait in the same read.
        on_flush: called before a ping is answered.
        coalesce_s: let the socket fill this long between reads; fewer wake-ups, that much latency. A server that
            pings to pace itself by our answers ends it for the connection.
    """

    def __init__(
        self,
        streamer: Streamer,
        on_text: Callable[[bytes, bool], None],
        on_flush: Callable[[], None],
        coalesce_s: float,
    ) -> None:
        self._streamer = streamer
        self._on_text = on_text
        self._on_flush = on_flush
        self._transport: picows.WSTransport | None = None
        self._parts: list[bytes] = []
        self._answers: dict[str, asyncio.Future[tuple[int, str]]] = {}
        self._next_id = 0
        self._heard = True
        self._error: BaseException | None = None
        self._coalesce_s = coalesce_s
        self.ended = asyncio.get_running_loop().create_future()
        self.ready = False

    @classmethod
    async def connect(
        cls,
        streamer: Streamer,
        on_text: Callable[[bytes, bool], None],
        on_flush: Callable[[], None],
        coalesce_s: float = 0.0,
    ) -> SchwabStream:
        """Open the socket. Raises TransientError."""
        listener = cls(streamer, on_text, on_flush, coalesce_s)
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
        """Raises Refused (code 3: the token), TransientError."""
        await self._command(
            "ADMIN",
            "LOGIN",
            {
                "Authorization": access_token,
                "SchwabClientChannel": self._streamer.channel,
                "SchwabClientFunctionId": self._streamer.function_id,
            },
        )

    async def subscribe(self, symbols: tuple[str, ...]) -> None:
        """Quotes and minute bars of equities; the first request replaces, the rest add."""
        for service, fields in (("CHART_EQUITY", CHART_REQUEST), ("LEVELONE_EQUITIES", EQUITY_REQUEST)):
            for start in range(0, len(symbols), KEYS_PER_REQUEST):
                keys = ",".join(symbols[start : start + KEYS_PER_REQUEST])
                await self._command(service, "ADD" if start else "SUBS", {"keys": keys, "fields": fields})
        self.ready = True

    async def run(self, silence_s: float) -> str:
        """Until the connection ends: the reason, `socket_down` or `silence`. Raises what `on_text` raised."""
        while True:
            self._heard = False
            with contextlib.suppress(TimeoutError):
                return str(await asyncio.wait_for(asyncio.shield(self.ended), silence_s))
            if not self._heard:
                self.close()
                return "silence"

    def close(self) -> None:
        """Drop the connection. May be called twice."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def logout(self) -> None:
        """Say goodbye and close."""
        with contextlib.suppress(TransientError, TimeoutError):
            await asyncio.wait_for(self._command("ADMIN", "LOGOUT", {}), 1.0)
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
                if payload.startswith(b'{"response"'):
                    self._answer(payload)
                if self._coalesce_s and self.ready and frame.last_in_buffer:
                    transport.underlying_transport.pause_reading()
                    asyncio.get_running_loop().call_later(self._coalesce_s, self._resume)
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
                answer.set_exception(
                    self._error
                    or TransientError("the connection ended before Schwab answered", next_step="it is tried again")
                )
        if not self.ended.done():
            if self._error is not None:
                self.ended.set_exception(self._error)
                self.ended.exception()  # a login that waits is told; nobody else need ask
            else:
                self.ended.set_result("socket_down")

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────

    async def _command(self, service: str, command: str, parameters: dict[str, Any]) -> None:
        self._next_id += 1
        request_id = str(self._next_id)
        request = {
            "service": service,
            "requestid": request_id,
            "command": command,
            "SchwabClientCustomerId": self._streamer.customer_id,
            "SchwabClientCorrelId": self._streamer.correl_id,
            "parameters": parameters,
        }
        assert self._transport is not None
        if self.ended.done():
            raise self._error or TransientError("the connection has ended", next_step="it is tried again")
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        self._transport.send(picows.WSMsgType.TEXT, json.dumps({"requests": [request]}, separators=(",", ":")).encode())
        try:
            code, message = await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise TransientError(f"no answer to {command} within {ANSWER_TIMEOUT_S:.0f} s") from error
        finally:
            del self._answers[request_id]
        if code not in SUCCESS:
            raise Refused(command, code, message)

    def _answer(self, payload: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            for response in json.loads(payload)["response"]:
                future = self._answers.get(str(response.get("requestid")))
                if future is not None and not future.done():
                    content = response["content"]
                    future.set_result((int(content["code"]), str(content.get("msg", ""))))
