"""Facts of the Schwab reference that the client must hold to, each test named after its section."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.unit.feed.test_stream_simulator import CHART, EQUITIES, Reader, local_schwab

from alphakite.feed.schwab.decode import decode
from alphakite.feed.schwab.fields import CHART as CHART_FIELDS
from alphakite.feed.schwab.fields import EQUITY, META, OPTION, REQUEST, Field, Kind
from alphakite.feed.schwab.stream import Evicted, Refused, SchwabStream

DEADLINE_S = 30.0
DOUBLE = {Kind.PRICE, Kind.CHANGE, Kind.RATIO, Kind.PERCENT, Kind.GREEK}
WHOLE = {Kind.SIZE, Kind.COUNT, Kind.TIME, Kind.FLAG}
TYPES = {"double": DOUBLE, "whole": WHOLE, "text": {Kind.TEXT}, "bool": {Kind.FLAG}}
EQUITY_TYPES = {
    "double": "1 2 3 10 11 12 17 18 19 20 21 22 23 24 29 31 33 42 43 44 45 47 50 51",
    "whole": "4 5 8 9 30 34 35 36 37 38 46 48 49",
    "text": "0 6 7 13 15 16 25 26 32 39 40 41",
    "bool": "14 27 28",
}
OPTION_TYPES = {
    "double": "2 3 4 5 6 7 10 11 15 19 20 25 28 29 30 31 32 34 35 37 44 45 46 47 50 51 52 53",
    "whole": "8 9 12 13 14 16 17 18 23 26 27 38 39 42 54",
    "text": "0 1 21 22 24 33 36 40 41 43 49 55",
    "bool": "48",
}
CHART_TYPES = {"double": "2 3 4 5", "whole": "1 6 7 8", "text": "0"}
"""Numbers by type, from the tables of §3.9 to §3.11; an option's multiplier and a bar's volume are whole in doubles."""


@pytest.mark.parametrize(
    ("fields", "types"),
    [
        pytest.param(EQUITY, EQUITY_TYPES, id="3.9"),
        pytest.param(OPTION, OPTION_TYPES, id="3.10"),
        pytest.param(CHART_FIELDS, CHART_TYPES, id="3.11"),
    ],
)
def test_3_9_to_3_11_every_field_has_its_type(fields: tuple[Field, ...], types: dict[str, str]) -> None:
    """No number of the three tables is missing, none is more, each is read as what it is sent as."""
    expected = {int(number): TYPES[name] for name, numbers in types.items() for number in numbers.split()}
    assert sorted(expected) == list(range(len(fields))) == [field.number for field in fields]
    assert [field for field in fields if field.kind not in expected[field.number]] == []


def test_3_9_ask_before_bid() -> None:
    """Venues and MICs: 6 and 39 are the ask's, 7 and 40 the bid's."""
    names = {field.number: field.name for field in EQUITY}
    assert [names[number] for number in (6, 7, 39, 40)] == ["ask_venue", "bid_venue", "ask_mic", "bid_mic"]


@pytest.mark.parametrize("wrap", ["first", "last"])
def test_3_3_keys_by_name_in_any_order(wrap: str) -> None:
    """`key` and meta keys before or behind the numbers: the same update, nothing rejected."""
    meta: dict[str, object] = {"key": "QQQ", "delayed": False, "assetMainType": "EQUITY", "cusip": "46090E103"}
    numbers: dict[str, object] = {"1": 604.11, "2": 604.13, "3": 604.12, "8": 9184402}
    item = meta | numbers if wrap == "first" else numbers | meta
    element = {"service": EQUITIES, "timestamp": 1795446904182, "command": "SUBS", "content": [item]}
    decoded = decode(json.dumps({"data": [element]}).encode())
    (update,) = decoded.updates
    assert (update.key, update.bid, update.ask, update.last, update.volume) == ("QQQ", 604.11, 604.13, 604.12, 9184402)
    assert decoded.rejected == [] and set(meta) - {"key"} <= set(META)


def test_3_8_items_of_one_key_apply_in_the_order_of_the_frame() -> None:
    content = [{"key": "QQQ", "3": 604.12}, {"key": "SPY", "3": 661.02}, {"key": "QQQ", "3": 604.14}]
    element = {"service": EQUITIES, "timestamp": 1795446904182, "command": "SUBS", "content": content}
    updates = decode(json.dumps({"data": [element]}).encode()).updates
    assert [(update.key, update.last) for update in updates] == [("QQQ", 604.12), ("SPY", 661.02), ("QQQ", 604.14)]


async def test_3_13_f1_f4_our_requests_are_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOGIN and SUBS as in F1 and F4, key by key in order; the token is bare; one request in a message."""
    sent: list[bytes] = []
    command = SchwabStream._command

    async def spied(stream: SchwabStream, *asked: Any, **more: Any) -> tuple[int, str]:
        assert stream._transport is not None
        if not hasattr(stream._transport, "spied"):
            stream._transport = Spy(stream._transport, sent)  # type: ignore[assignment]
        return await command(stream, *asked, **more)

    monkeypatch.setattr(SchwabStream, "_command", spied)
    async with local_schwab() as connect:
        reader = await connect()
        streamer = reader.stream._streamer
        await reader.stream.login(reader.token)
        await reader.stream.reconcile({EQUITIES: ("QQQ", "SPY")})
    ids = {"SchwabClientCustomerId": streamer.customer_id, "SchwabClientCorrelId": streamer.correl_id}
    login = {"Authorization": reader.token, "SchwabClientChannel": "N9", "SchwabClientFunctionId": "APIAPP"}
    subs = {"keys": "QQQ,SPY", "fields": REQUEST[EQUITIES]}
    assert sent[:2] == [
        as_sent({"service": "ADMIN", "requestid": "1", "command": "LOGIN", **ids, "parameters": login}),
        as_sent({"service": EQUITIES, "requestid": "2", "command": "SUBS", **ids, "parameters": subs}),
    ]
    assert REQUEST[EQUITIES] == ",".join(map(str, range(52)))


class Spy:
    """A transport that keeps what is sent."""

    spied = True

    def __init__(self, transport: Any, sent: list[bytes]) -> None:
        self._transport, self._sent = transport, sent

    def send(self, kind: Any, text: bytes) -> None:
        self._sent.append(text)
        self._transport.send(kind, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def as_sent(request: dict[str, Any]) -> bytes:
    return json.dumps({"requests": [request]}, separators=(",", ":")).encode()


async def logged_in(connect: Any) -> Reader:
    reader: Reader = await connect()
    await reader.stream.login(reader.token)
    return reader


@pytest.mark.parametrize("code", [11, 19, 21])
async def test_3_5_codes_that_cost_their_keys_only(code: int) -> None:
    """11 is asked again after a minute, 19 and 21 never; the connection and the other service go on."""
    async with local_schwab(faults=(f"code={code}:SUBS",)) as connect:
        reader = await logged_in(connect)
        (refusal,) = await reader.stream.reconcile({CHART: ("QQQ",), EQUITIES: ("QQQ", "SPY")})
        assert (refusal.service, refusal.keys, refusal.code) == (CHART, ("QQQ",), code)
        assert (refusal.retry_s is not None) == (code == 11)
        assert reader.stream.subscriptions.held(EQUITIES) == ("QQQ", "SPY")
        await reader.until(lambda: "SPY" in reader.keys)


@pytest.mark.parametrize(("code", "command"), [(22, "SUBS"), (23, "UNSUBS"), (24, "ADD")])
async def test_3_5_22_to_24_are_sent_once_more(code: int, command: str) -> None:
    """A failed command is repeated, alone, and succeeds; 25 answers VIEW, which we never send."""
    async with local_schwab(faults=(f"code={code}:{command}",)) as connect:
        reader = await logged_in(connect)
        assert await reader.stream.reconcile({EQUITIES: ("QQQ",)}) == []
        assert await reader.stream.reconcile({EQUITIES: ("QQQ", "SPY")}) == []
        assert await reader.stream.reconcile({EQUITIES: ("SPY",)}) == []
        assert reader.stream.subscriptions.held(EQUITIES) == ("SPY",)


@pytest.mark.parametrize(("code", "command"), [(26, "SUBS"), (27, "UNSUBS"), (28, "ADD")])
async def test_3_5_26_to_28_are_success(code: int, command: str) -> None:
    async with local_schwab(faults=(f"code={code}:{command}",)) as connect:
        reader = await logged_in(connect)
        for wanted in (("QQQ",), ("QQQ", "SPY"), ("SPY",)):
            assert await reader.stream.reconcile({EQUITIES: wanted}) == []
            assert reader.stream.subscriptions.held(EQUITIES) == wanted


@pytest.mark.parametrize("code", [9, 20])
async def test_3_5_9_and_20_begin_anew(code: int) -> None:
    """The connection is of no use any more, whether Schwab closes it or not."""
    async with local_schwab(faults=(f"code={code}:SUBS",)) as connect:
        reader = await logged_in(connect)
        with pytest.raises(Refused) as refused:
            await reader.stream.reconcile({EQUITIES: ("QQQ",)})
        assert refused.value.code == code
        again = await logged_in(connect)
        assert await again.stream.reconcile({EQUITIES: ("QQQ",)}) == []


async def test_3_5_12_in_an_answer() -> None:
    async with local_schwab(faults=("code=12:SUBS",)) as connect:
        reader = await logged_in(connect)
        with pytest.raises(Evicted, match="another program took this stream"):
            await reader.stream.reconcile({EQUITIES: ("QQQ",)})
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.stream.run(DEADLINE_S) == "evicted"


@pytest.mark.parametrize(("value", "slow"), [("empty", False), ("slow", True)])
async def test_3_5_30_in_a_notice(value: str, slow: bool) -> None:
    """Its text tells whether we were too slow."""
    async with local_schwab(faults=(f"stop={value}",)) as connect:
        reader = await logged_in(connect)
        await reader.stream.reconcile({EQUITIES: ("QQQ",)})
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.stream.run(DEADLINE_S) == "stopped"
        assert reader.stream.ending is not None and reader.stream.ending.slow is slow  # type: ignore[union-attr]


async def test_3_7_a_second_connection_says_everything_again() -> None:
    """The server keeps nothing: a new connection's subscriptions begin with SUBS, and images come."""
    async with local_schwab() as connect:
        for _ in range(2):
            reader = await logged_in(connect)
            assert reader.stream.subscriptions.held(EQUITIES) == ()
            assert await reader.stream.reconcile({EQUITIES: ("QQQ",)}) == []
            await reader.until(lambda keys=reader.keys: "QQQ" in keys)  # type: ignore[misc]
            await reader.stream.logout()
