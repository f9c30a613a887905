"""One connection to a streamer, against a real local WebSocket server: order, pings, fragments, codes, endings."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import picows
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alphakite.errors import FatalError, TransientError
from alphakite.feed.schwab.rest import Streamer
from alphakite.feed.schwab.stream import Evicted, Refused, SchwabStream, Stopped
from alphakite.feed.schwab.subscriptions import KEYS_PER_REQUEST, SERVICE_AWAY_S

DEADLINE_S = 10.0
FRAME = b'{"data":[]}'
EQUITIES, OPTIONS, CHART = "LEVELONE_EQUITIES", "LEVELONE_OPTIONS", "CHART_EQUITY"
CAP_TEXT = "You've reached the maximum number of symbols allowed.  (LEVELONE_OPTIONS=3, DISCARDED=2)"
TEXT, CONTINUATION, PING = picows.WSMsgType.TEXT, picows.WSMsgType.CONTINUATION, picows.WSMsgType.PING


class Server(picows.WSListener):
    """The streamer's side of one connection: what came in, and the answer to each command."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.events: list[str] = []
        self.code: Callable[[dict[str, Any]], int | None] = lambda _request: 0
        self.says = "said the server"
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
        content = {"code": code, "msg": self.says}
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

    async def connect(self, coalesce_s: float = 0.0, caps: dict[str, int] | None = None) -> SchwabStream:
        streamer = Streamer(self.url, "customer", "correl", "N9", "APIAPP")
        self.stream = await SchwabStream.connect(streamer, self.text, self.flush, coalesce_s, caps)
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
    assert client.server.requests[1]["parameters"]["keys"].split(",") == list(symbols[:300]), "the cap of bars"
    asked = [(request["service"], request["command"]) for request in client.server.requests]
    assert asked == [
        ("ADMIN", "LOGIN"),
        ("CHART_EQUITY", "SUBS"),
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
    assert len({request["requestid"] for request in client.server.requests}) == 4
    assert (first["parameters"]["keys"] + "," + rest["parameters"]["keys"]).split(",") == list(symbols)
    assert first["parameters"]["fields"] == ",".join(map(str, range(52)))
    assert len(client.events) == 4, "each answer is journaled too"


@pytest.mark.parametrize("code", [3, 9, 20])
async def test_a_connection_that_is_of_no_use_must_be_begun_anew(client: Client, code: int) -> None:
    client.server.code = lambda request: code if request["command"] == "SUBS" else 0
    stream = await client.connect()
    await stream.login("the token")
    with pytest.raises(Refused, match="said the server") as refused:
        await stream.subscribe(("QQQ",))
    assert (refused.value.command, refused.value.code) == ("SUBS", code)
    assert not stream.ready


@pytest.mark.parametrize(("code", "times"), [(11, 1), (19, 1), (21, 1), (22, 2), (24, 2), (77, 1)])
async def test_no_quotes_at_all_is_a_refusal(client: Client, code: int, times: int) -> None:
    """What Schwab refused is asked for once or twice, never without end; a stream without a quote is none."""
    client.server.code = lambda request: code if request["service"] == EQUITIES else 0
    stream = await client.connect()
    await stream.login("the token")
    with pytest.raises(Refused, match="said the server") as refused:
        await stream.subscribe(("QQQ",))
    assert refused.value.code == code
    assert [request["service"] for request in client.server.requests].count(EQUITIES) == times
    assert client.server.most_unanswered == 1


async def test_a_refused_login_names_the_code(client: Client) -> None:
    client.server.code = lambda _request: 3
    stream = await client.connect()
    with pytest.raises(Refused, match="said the server") as refused:
        await stream.login("the token")
    assert (refused.value.command, refused.value.code) == ("LOGIN", 3)


def keys_of(request: dict[str, Any]) -> list[str]:
    return str(request["parameters"]["keys"]).split(",")


async def test_subscriptions_follow_what_is_desired(client: Client) -> None:
    """Tickers come and go on one connection: only what changed is asked for, the others are not touched."""
    stream = await client.connect()
    await stream.login("the token")
    assert await stream.reconcile({EQUITIES: ("QQQ", "SPY"), CHART: ("QQQ",)}) == []
    before = len(client.server.requests)
    assert await stream.reconcile({EQUITIES: ("QQQ", "IWM"), OPTIONS: ("QQQ   261123C00605000",)}) == []
    asked = [(r["service"], r["command"], keys_of(r)) for r in client.server.requests[before:]]
    assert asked == [
        (EQUITIES, "ADD", ["IWM"]),
        (EQUITIES, "UNSUBS", ["SPY"]),
        (OPTIONS, "SUBS", ["QQQ   261123C00605000"]),
    ]
    assert client.server.requests[-1]["parameters"]["fields"] == ",".join(map(str, range(56)))
    assert stream.subscriptions.held(CHART) == ("QQQ",)
    before = len(client.server.requests)
    assert await stream.reconcile({EQUITIES: ("IWM", "QQQ")}) == []
    assert len(client.server.requests) == before


async def test_two_reconciliations_at_once_take_turns(client: Client) -> None:
    stream = await client.connect()
    await stream.login("the token")
    many = tuple(f"S{number}" for number in range(KEYS_PER_REQUEST * 2))
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(
            stream.reconcile({EQUITIES: many}),
            stream.reconcile({EQUITIES: ("QQQ",)}),
            stream.reconcile({CHART: ("A",)}),
        )
    assert client.server.most_unanswered == 1
    assert (stream.subscriptions.held(EQUITIES), stream.subscriptions.held(CHART)) == (("QQQ",), ("A",))


async def test_more_bars_than_the_cap_cost_no_quotes(client: Client) -> None:
    """300 symbols of CHART_EQUITY are allowed; the least important of 301 has quotes and no bars."""
    stream = await client.connect()
    await stream.login("the token")
    symbols = tuple(f"S{number}" for number in range(301))
    await stream.subscribe(symbols)
    assert stream.subscriptions.held(EQUITIES) == symbols
    assert stream.subscriptions.held(CHART) == symbols[:300]
    assert stream.subscriptions.counts()[CHART]["refused"] == 1


async def test_a_cap_of_schwab_is_learned_once(client: Client) -> None:
    """Code 19, then 24 for the same request: the last keys are dropped, and are not asked for again."""
    server, caps = client.server, {OPTIONS: 100}

    def capped(request: dict[str, Any]) -> int | None:
        if request["service"] != OPTIONS:
            return 0
        server.says = CAP_TEXT
        asyncio.get_running_loop().call_later(0.002, server.answer, request, 24)
        return 19

    server.code = capped
    stream = await client.connect(caps=caps)
    await stream.login("the token")
    names = tuple(f"OPTION{number}" for number in range(5))
    (refusal,) = await stream.reconcile({OPTIONS: names})
    assert (refusal.service, refusal.keys, refusal.code) == (OPTIONS, names[3:], 19)
    assert stream.subscriptions.held(OPTIONS) == names[:3]
    assert caps == {OPTIONS: 3}
    await server.until(lambda: sum('"code":24' in event for event in client.events) == 1)
    before = len(server.requests)
    assert len(await stream.reconcile({OPTIONS: names, EQUITIES: ("QQQ",)})) == 1
    assert [request["service"] for request in server.requests[before:]] == [EQUITIES]


async def test_a_service_that_is_away_is_not_asked_at_once(client: Client) -> None:
    client.server.code = lambda request: 11 if request["service"] == OPTIONS else 0
    stream = await client.connect()
    await stream.login("the token")
    for _again in range(3):
        (refusal,) = await stream.reconcile({OPTIONS: ("O1",), EQUITIES: ("QQQ",)})
        assert (refusal.keys, refusal.code) == (("O1",), 11)
        assert refusal.retry_s is not None
        assert 0 < refusal.retry_s <= SERVICE_AWAY_S
    assert [request["service"] for request in client.server.requests].count(OPTIONS) == 1


async def test_a_key_is_added_again_once(client: Client) -> None:
    """Whether that brings a new image is what the self-test wants to know."""
    stream = await client.connect()
    await stream.login("the token")
    await stream.reconcile({EQUITIES: ("QQQ",)})
    assert await stream.readd(EQUITIES, "QQQ")
    assert not await stream.readd(EQUITIES, "SPY")
    assert [(r["command"], keys_of(r)) for r in client.server.requests[1:]] == [("SUBS", ["QQQ"]), ("ADD", ["QQQ"])]
    client.server.code = lambda _request: 24
    assert not await stream.readd(EQUITIES, "QQQ")
    assert stream.subscriptions.held(EQUITIES) == ("QQQ",)


EVICTION = (
    b'{"response":[{"service":"ADMIN","command":"LOGIN","requestid":"0","content":{"code":12,"msg":"too many"}}]}'
)


@pytest.mark.parametrize("envelope", ["response", "notify"])
@pytest.mark.parametrize("ending", ["close", "drop", "silent", "half open"])
async def test_an_eviction_is_told_from_a_lost_socket(
    client: Client, envelope: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code 12, then a close frame, none, or not even an end; what came before is kept."""
    monkeypatch.setattr("alphakite.feed.schwab.stream.CLOSE_TIMEOUT_S", 0.05 if ending == "silent" else DEADLINE_S)
    stream = await client.connect()
    transport = client.server.transport
    assert transport is not None
    client.server.send(EVICTION.replace(b"response", envelope.encode(), 1))
    if ending == "close":
        transport.send_close(picows.WSCloseCode.OK)
    elif ending == "drop":
        await client.server.until(lambda: bool(client.events))
        transport.disconnect(graceful=False)
    assert await run(stream, silence_s=0.1 if ending == "half open" else DEADLINE_S) == "evicted"
    assert stream.last_notice == "too many"
    with pytest.raises(Evicted, match="another program took this stream: too many") as evicted:
        await stream.login("the token")
    assert evicted.value.wait_first_s >= 60
    assert "other program" in evicted.value.next_step


@pytest.mark.parametrize("at", ["LOGIN", "SUBS", "ADD"])
@pytest.mark.parametrize(("code", "raised"), [(12, Evicted), (30, Stopped)])
async def test_an_eviction_in_an_answer_is_raised(
    client: Client, at: str, code: int, raised: type[TransientError]
) -> None:
    """The new connection may be the one that must go."""
    client.server.code = lambda request: code if request["command"] == at else 0
    stream = await client.connect()

    async def begin() -> None:
        await stream.login("the token")
        await stream.reconcile({EQUITIES: ("QQQ",)})
        await stream.reconcile({EQUITIES: ("QQQ", "SPY")})

    with pytest.raises(raised, match="said the server"):
        await begin()


@pytest.mark.parametrize(("code", "raised"), [(12, Evicted), (30, Stopped)])
async def test_a_notice_instead_of_an_answer_is_raised(client: Client, code: int, raised: type[TransientError]) -> None:
    """Sent while a command waits, and the socket ends without a close frame."""

    def stop(_request: dict[str, Any]) -> None:
        client.server.send({"notify": [{"service": "ADMIN", "timestamp": 1, "content": {"code": code, "msg": "go"}}]})
        assert client.server.transport is not None
        asyncio.get_running_loop().call_later(0.02, client.server.transport.disconnect, False)

    client.server.code = stop
    stream = await client.connect()
    with pytest.raises(raised, match="go"):
        await stream.login("the token")


@pytest.mark.parametrize(
    ("text", "slow"),
    [
        ("Stop streaming due to empty subscription", False),
        ("Stop streaming due to slow client", True),
        ("Client is too slow to process the data", True),
        ("Connection fell behind: buffer is full", True),
    ],
)
async def test_a_stop_keeps_schwabs_text(client: Client, text: str, slow: bool) -> None:
    stream = await client.connect()
    assert client.server.transport is not None
    client.server.send(
        {"notify": [{"service": "ADMIN", "timestamp": 1795446937102, "content": {"code": 30, "msg": text}}]}
    )
    await client.server.until(lambda: bool(client.events))
    client.server.transport.disconnect(graceful=False)
    assert await run(stream) == "stopped"
    assert stream.last_notice == text
    with pytest.raises(Stopped, match=text) as stopped:
        await stream.reconcile({EQUITIES: ("QQQ",)})
    assert stopped.value.slow is slow


async def test_a_late_answer_still_counts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up after the timeout, answered afterwards: the key is held, and is not asked for again."""
    stream = await client.connect()
    await stream.login("the token")
    monkeypatch.setattr("alphakite.feed.schwab.stream.ANSWER_TIMEOUT_S", 0.05)
    client.server.code = lambda _request: None
    with pytest.raises(TransientError, match="no answer to SUBS"):
        await stream.reconcile({EQUITIES: ("QQQ",)})
    heard = len(client.events)
    client.server.answer(client.server.requests[-1], 0)
    await client.server.until(lambda: len(client.events) > heard)
    assert stream.subscriptions.held(EQUITIES) == ("QQQ",)
    assert await stream.reconcile({EQUITIES: ("QQQ",)}) == []


async def test_an_answer_at_the_moment_of_a_cancellation_does_not_hide_it(client: Client) -> None:
    """Whoever is ended while Schwab answers ends: a task that swallowed it would go on, and its end be waited for."""
    stream = await client.connect()
    await stream.login("the token")
    loop = asyncio.get_running_loop()
    asking = asyncio.create_task(stream.reconcile({EQUITIES: ("QQQ",)}))

    def ended_meanwhile(_text: bytes) -> None:
        loop.call_soon(asking.cancel)

    client.on_text = ended_meanwhile
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_the_end_at_the_moment_of_a_cancellation_does_not_hide_it(client: Client) -> None:
    stream = await client.connect()
    running = asyncio.create_task(stream.run(DEADLINE_S))
    await asyncio.sleep(0)
    stream.ended.add_done_callback(lambda _ended: running.cancel())
    stream.close()
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_late_cap_is_remembered(client: Client) -> None:
    """An answer to nothing that is known: its cap holds from now on."""
    stream = await client.connect()
    await stream.login("the token")
    client.server.says = CAP_TEXT
    client.server.answer({"service": OPTIONS, "command": "ADD", "requestid": "99"}, 19)
    client.server.says = "ok"
    await client.server.until(lambda: any("DISCARDED" in event for event in client.events))
    (refusal,) = await stream.reconcile({OPTIONS: ("A", "B", "C", "D")})
    assert refusal.keys == ("D",)


async def test_no_compression_is_offered() -> None:
    """A proxy that answers with an unasked permessage-deflate would break the frames."""
    offered: list[bytes] = []

    def listener(request: picows.WSUpgradeRequest) -> Server:
        offered.extend(name for name in request.headers if "extension" in str(name).lower())
        return Server()

    listening = await picows.ws_create_server(listener, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/ws"
    stream = await Client(Server(), url).connect()
    stream.close()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait([stream.ended])
    listening.close()
    await listening.wait_closed()
    assert offered == []


@pytest.mark.parametrize("trusted", [True, False])
async def test_wss_trusts_the_authority_that_is_named(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE names it; a certificate of anyone else is refused."""
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    made = Server()
    listening = await picows.ws_create_server(lambda _request: made, "127.0.0.1", 0, ssl=context)
    client = Client(made, f"wss://127.0.0.1:{listening.sockets[0].getsockname()[1]}/ws")
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        stream = await client.connect()
        await stream.login("the token")
        stream.close()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait([stream.ended])
    else:
        with pytest.raises(TransientError, match="cannot be reached"):
            await client.connect()
    listening.close()
    await listening.wait_closed()


def self_signed(folder: Path) -> Path:
    """Key and certificate of 127.0.0.1 in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    pem, no_secret = serialization.Encoding.PEM, serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_secret) + certificate.public_bytes(pem)
    )
    return file


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
    odd = [
        b'{"notify":[{"content":{"code":[]}}]}',
        b'{"notify":[{"service":"ADMIN","content":{"code":"x","msg":7}}]}',
        b'{"response":[{"requestid":"77","content":{"code":0,"msg":"to nobody"}}]}',
        b"[" * 5000,
        b'{"response":7}',
        b'{"response":[7]}',
        b'{"response":[{"requestid":"1"}]}',
        b'{"response"',
        b"{}",
    ]
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
