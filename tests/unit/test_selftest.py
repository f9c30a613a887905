"""The self-test, fed with frames as the simulator writes them, under both values of each switch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date

import pytest

from alphakite.journal.record import Kind
from alphakite.recorder.selftest import FACTS, SelfTest
from alphakite.sessions import session_on
from alphakite.simulator.level_one import LevelOne
from alphakite.simulator.tape import Prints, Quotes, SymbolTape
from alphakite.simulator.wire import data_frame, heartbeat

SESSION = session_on(date(2013, 10, 8))
assert SESSION is not None
OPEN_MS, CLOSE_MS = SESSION.regular_open_us // 1000, SESSION.regular_close_us // 1000
EARLY_MS = SESSION.extended_open_us // 1000
DOLLAR = 100_000_000
ALL = frozenset(range(52))


class Feed:
    """A journal in the making."""

    def __init__(self, test: SelfTest, tickers: tuple[str, ...] = ("SPY",)) -> None:
        self.test, self.seq, self.conn = test, 0, 0
        self.put(Kind.CONFIG, 0, {"event": "derive", "settings": {"tickers": list(tickers)}})

    def put(self, kind: int, at_ms: int, event: object) -> None:
        self.seq += 1
        payload = event.encode() if isinstance(event, str) else json.dumps(event, separators=(",", ":")).encode()
        self.test.feed(kind, self.conn, at_ms * 1_000_000, self.seq, payload)

    def up(self, at_ms: int, **more: int) -> None:
        self.conn += 1
        self.put(Kind.CONNECTION, at_ms, {"event": "up", **more})
        self.put(Kind.FRAME, at_ms, heartbeat(at_ms))

    def data(self, at_ms: int, *items: str) -> None:
        self.put(Kind.FRAME, at_ms, data_frame("LEVELONE_EQUITIES", at_ms, list(items)))


def book(prints: Prints | None = None, quotes: Quotes | None = None, symbol: str = "SPY", **switches: bool) -> LevelOne:
    assert SESSION is not None
    return LevelOne(SymbolTape(symbol, prints or Prints(), quotes), SESSION, **switches)


def value(test: SelfTest, name: str) -> str:
    return str(test.facts()[name]["value"])


@pytest.mark.parametrize(
    ("unit", "lots", "spoken"), [(100, False, "shares"), (40, False, "shares"), (100, True, "lots")]
)
def test_sizes_in_lots_or_shares(unit: int, lots: bool, spoken: str) -> None:
    """Round lots are hundreds, forties for dear stocks; in lots they are small numbers."""
    quotes = Quotes()
    for place in range(150):
        quotes.add(OPEN_MS + place * 1000, DOLLAR, unit * (1 + place % 9), 2 * DOLLAR, unit * (1 + place % 7))
    test, level = SelfTest(), book(quotes=quotes, lots=lots)
    feed = Feed(test)
    feed.up(OPEN_MS)
    feed.data(OPEN_MS, level.image(ALL))
    for place in range(150):
        level.play(OPEN_MS + place * 1000 + 1)
        feed.data(OPEN_MS + place * 1000, level.delta(ALL))
    fact = test.facts()["sizes"]
    assert (fact["value"], fact["state"]) == (spoken, "settled")
    assert fact["seq"] > 100 and fact["ts_us"] > OPEN_MS * 1000 and "200 sizes" in fact["evidence"]


def frames(seconds: int, mode: str) -> Iterator[tuple[int, bool]]:
    """(second, heartbeat?): nothing in the first third, then data each second."""
    last = 0
    for second in range(1, seconds):
        flows = second >= seconds // 3
        if flows:
            yield second, False
            last = last if mode == "always" else second
        if mode != "never" and second - last >= 10:
            yield second, True
            last = second


@pytest.mark.parametrize(
    ("mode", "spoken"),
    [
        ("always", "every 10.0 s, also while data flows"),
        ("idle", "every 10.0 s, only when idle"),
        ("never", "none while data flows"),
    ],
)
def test_heartbeats(mode: str, spoken: str) -> None:
    """The cadence, and whether they come beside data."""
    test = SelfTest()
    feed = Feed(test)
    feed.up(OPEN_MS)
    for second, beat in frames(900, mode):
        at_ms = OPEN_MS + second * 1000
        if beat:
            feed.put(Kind.FRAME, at_ms, heartbeat(at_ms))
        else:
            feed.data(at_ms, f'{{"key":"SPY","35":{at_ms}}}')
    assert value(test, "heartbeat") == spoken


@pytest.mark.parametrize("streams", [True, False])
def test_index(streams: bool) -> None:
    """`$SPX` had an image, or had none two minutes after the subscription."""
    test = SelfTest()
    feed = Feed(test, ("SPY", "$SPX"))
    feed.up(OPEN_MS)
    feed.put(Kind.CONFIG, OPEN_MS, {"event": "self_test", "fact": "sizes"})
    feed.data(OPEN_MS, book().image(ALL), *([book(symbol="$SPX").image(ALL)] if streams else []))
    assert test.facts()["index"]["state"] == "open"
    feed.data(OPEN_MS + 121_000, '{"key":"SPY","3":1}')
    assert value(test, "index") == ("$SPX streams" if streams else "$SPX is silent")


@pytest.mark.parametrize("moves", [True, False])
def test_cross_trade_time(moves: bool) -> None:
    """The closing cross' volume comes with a step of field 36, or without."""
    prints = Prints()
    prints.add(CLOSE_MS - 30_000, 10 * DOLLAR, 100)
    prints.add(CLOSE_MS + 2_000, 10 * DOLLAR, 1_000_000, closing=True)
    prints.add(CLOSE_MS + 250_000, 10 * DOLLAR, 5)
    test, level = SelfTest(), book(prints, cross_moves=moves)
    feed = Feed(test)
    feed.up(CLOSE_MS - 60_000)
    feed.data(CLOSE_MS - 59_000, level.image(ALL))
    for after_ms in (-29_000, 2_500, 251_000):
        level.play(CLOSE_MS + after_ms)
        feed.data(CLOSE_MS + after_ms, level.delta(ALL))
    feed.data(CLOSE_MS + 301_000, '{"key":"SPY","3":9}')
    fact = test.facts()["cross_trade_time"]
    assert fact["value"] == ("moves" if moves else "stands still")
    assert ("+1000000 with" if moves else "+1000005 without") in fact["evidence"]


def test_the_cross_is_not_judged_without_it() -> None:
    """A connection that began after the close, or saw no volume there, says nothing."""
    test = SelfTest()
    feed = Feed(test)
    feed.up(CLOSE_MS + 1000)
    for after in (1_000, 2_000, 302_000):
        feed.data(CLOSE_MS + after, f'{{"key":"SPY","8":{1000 + after}}}')
    assert test.facts()["cross_trade_time"]["state"] == "open"


@pytest.mark.parametrize("image", [True, False])
def test_re_add(image: bool) -> None:
    """The ADD of a key that is subscribed brings an image, or only changes for a while."""
    test, level = SelfTest(), book()
    feed = Feed(test)
    feed.up(OPEN_MS)
    feed.data(OPEN_MS, level.image(ALL))
    feed.put(Kind.CONNECTION, OPEN_MS + 1000, {"event": "readd", "key": "SPY"})
    feed.data(OPEN_MS + 1100, '{"key":"SPY","3":7}')
    if image:
        feed.data(OPEN_MS + 1200, level.image(ALL))
    feed.data(OPEN_MS + 17_000, '{"key":"SPY","3":8}')
    assert value(test, "re_add") == ("a fresh image" if image else "no image")


def test_thirty_minutes_and_the_tokens_end() -> None:
    """A frame later than both proves that the connection lives on."""
    test = SelfTest()
    feed = Feed(test)
    feed.up(OPEN_MS, access_expires_us=(OPEN_MS + 1_000_000) * 1000)
    feed.put(Kind.FRAME, OPEN_MS + 1_050_000, heartbeat(OPEN_MS + 1_050_000))
    assert test.facts()["token_expiry"]["state"] == "open"
    feed.put(Kind.FRAME, OPEN_MS + 1_801_000, heartbeat(OPEN_MS + 1_801_000))
    assert value(test, "thirty_minutes") == value(test, "token_expiry") == "the connection lives on"


def test_a_socket_that_closes_with_its_token() -> None:
    """The switch token-expiry=closes."""
    test = SelfTest()
    feed = Feed(test)
    feed.up(OPEN_MS, access_expires_us=(OPEN_MS + 1_000_000) * 1000)
    feed.put(Kind.CONNECTION, OPEN_MS + 1_002_000, {"event": "down", "reason": "socket_down"})
    assert value(test, "token_expiry") == "the socket closes"


@pytest.mark.parametrize(("begins_ms", "known"), [(-600_000, True), (60_000, False)])
def test_first_tick(begins_ms: int, known: bool) -> None:
    """Known only if the connection listened before 04:00; else the fact stays open and says since when."""
    test = SelfTest()
    feed = Feed(test)
    feed.up(EARLY_MS + begins_ms)
    feed.data(EARLY_MS + begins_ms, book().image(ALL))
    feed.data(EARLY_MS + 10_800_000, '{"key":"SPY","3":7}')
    fact = test.facts()["first_tick"]
    assert (fact["state"], fact["value"]) == (("settled", "07:00:00") if known else ("open", ""))
    assert "07:00:00 New York, SPY" in fact["evidence"]


def test_state_survives_a_restart_and_garbage_harms_nothing() -> None:
    """Saved as JSON; a settled fact keeps its evidence; no payload raises."""
    test = SelfTest()
    feed = Feed(test)
    feed.up(OPEN_MS)
    feed.put(Kind.FRAME, OPEN_MS + 1_900_000, heartbeat(1))
    assert test.changed
    again = SelfTest(test.save())
    assert not test.changed
    assert again.facts() == test.facts()
    feed.test = again
    before = again.save()
    for seq in range(1, feed.seq + 1):
        again.feed(Kind.CONNECTION, 9, OPEN_MS, seq, b'{"event":"up"}')
    assert again.save() == before
    assert json.loads(SelfTest(before, "another journal").save())["seq"] == 0
    assert SelfTest(b"\xff garbage").facts()["sizes"]["state"] == "open"
    for payload in (
        "",
        "[]",
        '{"data"',
        '{"data":[{"service":"LEVELONE_EQUITIES","content":[7,{"key":3,"4":"x","5":null,"8":true}]}]}',
    ):
        feed.put(Kind.FRAME, CLOSE_MS, payload)
        feed.put(Kind.CONNECTION, CLOSE_MS, payload)
        feed.put(Kind.CONFIG, CLOSE_MS, payload)


def test_once_settled_a_frame_costs_next_to_nothing() -> None:
    """Less than 1 µs a frame; and a few µs while only rare facts are open."""
    test = SelfTest()
    for fact in test._memory.facts.values():
        fact.state = "settled"
    settled, rare = SelfTest(test.save()), SelfTest()
    assert settled.settled
    feed = Feed(rare)
    feed.up(EARLY_MS + 1000)
    for name in FACTS:
        rare._memory.facts[name].state = "open" if name in ("re_add", "first_tick", "index") else "settled"
    frame = data_frame("LEVELONE_EQUITIES", OPEN_MS, [f'{{"key":"SPY","3":7,"35":{OPEN_MS}}}']).encode()

    def each_us(one: SelfTest) -> float:
        best = 1e9
        for _ in range(20):
            first = json.loads(one.save())["seq"] + 1
            begin = time.perf_counter()
            for seq in range(first, first + 2000):
                one.feed(Kind.FRAME, 1, OPEN_MS * 1_000_000, seq, frame)
            best = min(best, (time.perf_counter() - begin) / 2000 * 1e6)
        return best

    assert each_us(settled) < 1.0
    assert each_us(rare) < 20.0
