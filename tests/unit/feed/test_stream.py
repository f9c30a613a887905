"""One connection to a streamer, against a real local WebSocket server: order, pings, fragments, endings."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import picows
import pytest

from alphakite.errors import FatalError, TransientError
from alphakite.feed.schwab.rest import Streamer
from alphakite.feed.schwab.stream import KEYS_PER_REQUEST, Refused, SchwabStream

DEADLINE_S = 10.0
FRAME = b'{"data":[]}'
TEXT, CONTINUATION, PING = picows.WSMsgType.TEXT, picows.WSMsgType.CONTINUATION, picows.WSMsgType.PING


class Server(picows.WSListener):
    """The streamer's side of one connection: what came in, and the answer to each command."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.events: list[str] = []
        self.code: Callable[[dict[str, Any]], int | None] = lambda _request: 0
        self.transport: picows.WSTransport | None = None
        self.unanswered = 0
        self.most_unanswered = 0
        self.changed = asyncio.Event()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.PONG:
            self.events.append(f"pong {frame.get_payload_as_ascii_text()}")
        elif frame.msg_type == TEXT:
            for request in json.loads(frame.get_payload_as_bytes())["requests"]:
                self.requests.append(request)
                self.unanswered += 1
                self.most_unanswered = max(self.most_unanswered, self.unanswered)
                code = self.code(request)
                if code is not None:  # answered one turn later: a second command in between would be seen
                    asyncio.get_running_loop().call_later(0.001, self.answer, request, code)
        self.changed.set()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.events.append("gone")
        self.changed.set()

    def answer(self, request: dict[str, Any], code: int) -> None:
        self.unanswered -= 1
        content = {"code": code, "msg": "said the server"}
        self.send(
            {"response": [{name: request[name] for name in ("service", "command", "requestid")} | {"content": content}]}
        )

    def send(self, message: dict[str, Any] | bytes) -> None:
        assert self.transport is not None
        text = message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()
        self.transport.send(TEXT, text)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Client:
    """A SchwabStream and what it told its owner, in order."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url
        self.events: list[str] = []
        self.on_text: Callable[[bytes], None] = lambda _text: None
        self.stream: SchwabStream

    def text(self, payload: bytes, _last: bool) -> None:
        self.events.append(payload.decode())
        self.on_text(payload)
        self.server.changed.set()

    def flush(self) -> None:
        self.events.append("flush")
        self.server.events.append("flush")

    async def connect(self, coalesce_s: float = 0.0) -> SchwabStream:
        streamer = Streamer(self.url, "customer", "correl", "N9", "APIAPP")
        self.stream = await SchwabStream.connect(streamer, self.text, self.flush, coalesce_s)
        return self.stream


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    made = Server()
    listening = await picows.ws_create_server(
        lambda _request: made, "127.0.0.1", 0, enable_auto_pong=False, enable_auto_ping=False
    )
    port = listening.sockets[0].getsockname()[1]
    yield made, f"ws://127.0.0.1:{port}/ws"
    if made.transport is not None:
        made.transport.disconnect(graceful=False)
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def client(server: tuple[Server, str]) -> AsyncIterator[Client]:
    made = Client(*server)
    yield made
    if hasattr(made, "stream"):
        made.stream.close()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait([made.stream.ended])


async def run(stream: SchwabStream, silence_s: float = DEADLINE_S) -> str:
    async with asyncio.timeout(DEADLINE_S):
        return await stream.run(silence_s)


async def test_login_then_subscriptions_one_at_a_time(client: Client) -> None:
    """Nothing is sent before the last is acknowledged; many symbols go in several requests, SUBS first, then ADD."""
    stream = await client.connect()
    await stream.login("the token")
    symbols = tuple(f"S{number}" for number in range(KEYS_PER_REQUEST + 1))
    await stream.subscribe(symbols)
    assert stream.ready
    asked = [(request["service"], request["command"]) for request in client.server.requests]
    assert asked == [
        ("ADMIN", "LOGIN"),
        ("CHART_EQUITY", "SUBS"),
        ("CHART_EQUITY", "ADD"),
        ("LEVELONE_EQUITIES", "SUBS"),
        ("LEVELONE_EQUITIES", "ADD"),
    ]
    assert client.server.most_unanswered == 1
    login, *_others, first, rest = client.server.requests
    assert login["parameters"] == {
        "Authorization": "the token",
        "SchwabClientChannel": "N9",
        "SchwabClientFunctionId": "APIAPP",
    }
    assert {request["SchwabClientCustomerId"] for request in client.server.requests} == {"customer"}
    assert len({request["requestid"] for request in client.server.requests}) == 5
    assert (first["parameters"]["keys"] + "," + rest["parameters"]["keys"]).split(",") == list(symbols)
    assert first["parameters"]["fields"] == ",".join(map(str, range(52)))
    assert len(client.events) == 5, "each answer is journaled too"


@pytest.mark.parametrize("code", [3, 12, 19, 21, 24])
async def test_a_refusal_names_command_and_code(client: Client, code: int) -> None:
    client.server.code = lambda request: code if request["command"] == "SUBS" else 0
    stream = await client.connect()
    await stream.login("the token")
    with pytest.raises(Refused, match="said the server") as refused:
        await stream.subscribe(("QQQ",))
    assert (refused.value.command, refused.value.code) == ("SUBS", code)
    assert not stream.ready


@pytest.mark.parametrize("code", [26, 27, 28, 29])
async def test_a_success_by_another_code_is_one(client: Client, code: int) -> None:
    client.server.code = lambda _request: code
    await (await client.connect()).login("the token")


async def test_a_ping_is_answered_only_after_the_flush(client: Client) -> None:
    """The pong tells the server that all before the ping is journaled: text, flush, pong, in that order."""
    await client.connect()
    server = client.server
    assert server.transport is not None
    for number in range(3):
        server.send(FRAME)
        server.transport.send(PING, str(number).encode())
    await server.until(lambda: server.events.count("flush") == 3 and "pong 2" in server.events)
    assert client.events == [FRAME.decode(), "flush"] * 3
    for number in range(3):
        before = server.events[: server.events.index(f"pong {number}")]
        assert before.count("flush") >= number + 1


async def test_a_ping_whose_flush_fails_is_never_answered(client: Client) -> None:
    stream = await client.connect()

    def refuse() -> None:
        raise FatalError("the disk is full")

    stream._on_flush = refuse
    assert client.server.transport is not None
    client.server.transport.send(PING, b"1")
    with pytest.raises(FatalError, match="the disk is full"):
        await run(stream)
    await client.server.until(lambda: "gone" in client.server.events)
    assert client.server.events == ["gone"]


@pytest.mark.parametrize("parts", [2, 3, 7])
async def test_a_fragmented_message_is_one_text(client: Client, parts: int) -> None:
    """Also with a ping between the fragments; the messages around it are untouched."""
    await client.connect()
    server, whole = client.server, b'{"data":[{"service":"X"}]}' + b" " * 50
    assert server.transport is not None
    server.send(FRAME)
    size = len(whole) // parts
    for number in range(parts):
        last = number == parts - 1
        piece = whole[number * size :] if last else whole[number * size : (number + 1) * size]
        server.transport.send(CONTINUATION if number else TEXT, piece, fin=last)
        server.transport.send(PING, b"between")
    server.send(FRAME)
    await server.until(lambda: client.events.count(FRAME.decode()) == 2)
    assert [event for event in client.events if event != "flush"] == [FRAME.decode(), whole.decode(), FRAME.decode()]


async def test_a_large_message_is_whole(client: Client) -> None:
    await client.connect()
    large = b'{"data":[' + b" " * 3_000_000 + b"]}"
    client.server.send(large)
    await client.server.until(lambda: bool(client.events))
    assert client.events == [large.decode()]


async def test_reads_that_are_gathered_lose_nothing(client: Client) -> None:
    """With `coalesce_s` the socket rests between reads; order and number stay, and a ping ends the resting."""
    stream = await client.connect(coalesce_s=0.02)
    await stream.login("the token")
    await stream.subscribe(("QQQ",))
    before = len(client.events)
    made = [b'{"data":[%d]}' % number for number in range(50)]
    for text in made:
        client.server.send(text)
        await asyncio.sleep(0)
    await client.server.until(lambda: len(client.events) == before + 50)
    assert client.events[before:] == [text.decode() for text in made]
    assert client.server.transport is not None
    client.server.transport.send(PING, b"1")
    await client.server.until(lambda: "pong 1" in client.server.events)
    assert stream._coalesce_s == 0.0


async def test_silence_ends_the_connection(client: Client) -> None:
    """Open and saying nothing, as half-open sockets do; pings are no data."""
    stream = await client.connect()
    assert client.server.transport is not None
    client.server.transport.send(PING, b"1")
    assert await run(stream, silence_s=0.05) == "silence"
    await client.server.until(lambda: "gone" in client.server.events)


async def test_a_heartbeat_keeps_it_alive(client: Client) -> None:
    stream = await client.connect()
    running = asyncio.create_task(run(stream, silence_s=0.3))
    loop = asyncio.get_running_loop()
    began = loop.time()
    sent = 0
    while loop.time() < began + 0.8:
        client.server.send(b'{"notify":[{"heartbeat":"1795446914133"}]}')
        sent += 1
        await client.server.until(lambda: len(client.events) == sent)  # noqa: B023 - awaited in this turn
        assert not running.done()
    assert await running == "silence"


@pytest.mark.parametrize("graceful", [True, False])
async def test_a_server_that_closes_is_a_socket_down(client: Client, graceful: bool) -> None:
    """With a close frame what came before is journaled first."""
    stream = await client.connect()
    assert client.server.transport is not None
    client.server.send(FRAME)
    if graceful:
        client.server.transport.send_close(picows.WSCloseCode.OK)
    else:
        await client.server.until(lambda: bool(client.events))
        client.server.transport.disconnect(graceful=False)
    assert await run(stream) == "socket_down"
    assert client.events == ([FRAME.decode(), "flush"] if graceful else [FRAME.decode()])
    with pytest.raises(TransientError, match="has ended"):
        await stream.login("the token")


async def test_what_on_text_raises_ends_the_run(client: Client) -> None:
    stream = await client.connect()

    def refuse(_text: bytes) -> None:
        raise FatalError("the disk is full")

    client.on_text = refuse
    client.server.send(FRAME)
    client.server.send(FRAME)
    with pytest.raises(FatalError, match="the disk is full"):
        await run(stream)
    await client.server.until(lambda: "gone" in client.server.events)


async def test_what_on_text_raises_ends_a_login_too(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk must not look like a connection that ended: it would be tried again for ever."""
    stream = await client.connect()

    def refuse(_text: bytes) -> None:
        raise FatalError("the disk is full")

    client.on_text = refuse
    with caplog.at_level(logging.ERROR), pytest.raises(FatalError, match="the disk is full"):
        await stream.login("the token")
    with pytest.raises(FatalError, match="the disk is full"):
        await stream.login("the token")
    assert caplog.records == []


async def test_a_connection_that_ends_during_login_is_tried_again(client: Client) -> None:
    def hang_up(_request: dict[str, Any]) -> None:
        assert client.server.transport is not None
        client.server.transport.disconnect(graceful=False)

    client.server.code = hang_up
    stream = await client.connect()
    with pytest.raises(TransientError, match="ended before"):
        await stream.login("the token")
    assert await run(stream) == "socket_down"


async def test_a_command_that_is_not_answered_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphakite.feed.schwab.stream.ANSWER_TIMEOUT_S", 0.05)
    client.server.code = lambda _request: None
    stream = await client.connect()
    with pytest.raises(TransientError, match="no answer to LOGIN"):
        await stream.login("the token")


async def test_answers_that_make_no_sense_are_kept_and_passed_over(client: Client) -> None:
    stream = await client.connect()
    odd = [b'{"response":7}', b'{"response":[7]}', b'{"response":[{"requestid":"1"}]}', b'{"response"', b"{}"]
    for text in odd:
        client.server.send(text)
    await stream.login("the token")
    assert client.events[: len(odd)] == [text.decode() for text in odd]


async def test_logout_says_goodbye_and_closes(client: Client) -> None:
    stream = await client.connect()
    await stream.logout()
    assert client.server.requests[-1]["command"] == "LOGOUT"
    await client.server.until(lambda: "gone" in client.server.events)
    stream.close()
    await stream.logout()


async def test_no_streamer_there_is_trouble_that_passes() -> None:
    with socket.socket() as bound:  # bound and not listening: a connection is refused
        bound.bind(("127.0.0.1", 0))
        gone = Client(Server(), f"ws://127.0.0.1:{bound.getsockname()[1]}/ws")
        with pytest.raises(TransientError, match="cannot be reached") as failed:
            await gone.connect()
    assert failed.value.next_step
