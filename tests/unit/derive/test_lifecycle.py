"""Tickers come and go, connections stay away for a reason, quotes are asked for: what derivation makes of it."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.derive.script import Script

from alphakite.derive.engine import Engine
from alphakite.derive.moment import DeriveSettings
from alphakite.journal.record import Kind, Record
from alphakite.model import Flag
from alphakite.recorder.deriver import Deriver


def begun(*tickers: str, **derive: object) -> Script:
    """Connected before the session, 600.0 at 10:00:00 with 1000 shares traded since the reset."""
    script = Script(*tickers, **derive).start("03:00:00").connect()
    for key in script.tickers:
        script.send("03:00:00", key, last=590.0, volume=0)
    script.beat("07:28:00")
    for key in script.tickers:
        script.send("10:00:00", key, last=600.0, volume=1000)
    return script


# ── tickers added and removed ───────────────────────────────────────────────────────────────────────────────────


def test_an_added_ticker_starts_late() -> None:
    """Its gap runs from the session's start to its image, with the image's volume; the other one has none."""
    script = begun().config("10:00:01", "QQQ", "SPY")
    assert script.gaps("SPY") == [("04:00:00", None, "late_start", None)]
    assert script.engine.open_gaps() == ["SPY"]
    script.send("10:00:01.5", "SPY", last=500.0, volume=300).send("10:00:02.5", "SPY", last=501.0, volume=310)
    script.beat("10:00:03")
    assert script.gaps("SPY") == [("04:00:00", "10:00:01.5", "late_start", 300)]
    assert script.quotes("SPY") == [("10:00:02", 501.0, 10, "")]
    assert script.gaps() == [] and script.engine.open_gaps() == []


def test_a_removed_ticker_makes_nothing_more() -> None:
    """Its second was cut short and has no volume; what still comes is counted; a lost connection is no gap of it."""
    script = begun("QQQ", "SPY").send("10:00:01.2", "SPY", last=601.0, volume=1100)
    script.config("10:00:01.5", "QQQ").send("10:00:01.7", "SPY", last=602.0, volume=1200).beat("10:00:02")
    assert script.quotes("SPY") == [("10:00:00", 600.0, 1000, ""), ("10:00:01", 601.0, None, "gap")]
    assert script.engine.state.counts.outside == 1
    script.down("10:00:03").connect().send("10:00:05", volume=1300).beat("10:00:06")
    assert script.gaps("SPY") == [] and script.engine.open_gaps() == []
    assert script.gaps() == [("10:00:02", "10:00:05", "socket_down", 300)]


def test_an_open_gap_of_a_removed_ticker_is_closed() -> None:
    """At the time of the record, its volume unknown; a late start likewise."""
    script = begun("QQQ", "SPY").beat("10:00:01").down("10:00:02").config("10:00:03", "QQQ", "DIA")
    assert script.gaps("SPY") == [("10:00:01", "10:00:03", "socket_down", None)]
    assert script.gaps("DIA") == [("04:00:00", None, "late_start", None)]
    script.config("10:00:04", "QQQ")
    assert script.gaps("DIA") == [("04:00:00", "10:00:04", "late_start", None)]
    assert script.engine.open_gaps() == ["QQQ"]


def test_a_ticker_that_comes_back_has_a_gap() -> None:
    """From the last frame before it went to its image, with what traded meanwhile; VWAP and SMA9 as after any gap."""
    script = begun("QQQ", "SPY").send("10:00:01.2", "SPY", last=601.0, volume=1100).beat("10:00:01.4")
    script.config("10:00:01.5", "QQQ").beat("10:00:30").config("10:00:40", "QQQ", "SPY")
    assert script.gaps("SPY") == [("10:00:01.4", None, "unsubscribed", None)]
    assert script.engine.open_gaps() == ["SPY"]
    script.send("10:00:40.5", "SPY", last=610.0, volume=1700, trade="10:00:39")
    script.send("10:00:41.5", "SPY", last=611.0, volume=1800).beat("10:00:42")
    assert script.gaps("SPY") == [("10:00:01.4", "10:00:40.5", "unsubscribed", 700)]
    assert script.quotes("SPY")[1:] == [("10:00:01", 601.0, None, "gap"), ("10:00:41", 611.0, 100, "")]
    assert script.total("SPY") == 1800
    vwap = (1000 * 600 + 100 * 601 + 600 * 610 + 100 * 611) / 1800
    assert script.values("SPY")[-1] == ("10:00:41", None, round(vwap, 6), "gap:sma9,gap:vwap")
    assert script.values()[-1][3] == ""


def test_it_comes_back_within_the_second_of_its_going() -> None:
    """One row for that second, inside the gap."""
    script = begun("QQQ", "SPY").send("10:00:01.2", "SPY", last=601.0, volume=1100)
    script.config("10:00:01.3", "QQQ").config("10:00:01.4", "QQQ", "SPY")
    script.send("10:00:01.5", "SPY", last=602.0, volume=1150).send("10:00:01.6", "SPY", last=603.0, volume=1160)
    script.send("10:00:02.5", "SPY", volume=1200).beat("10:00:03")
    assert script.quotes("SPY")[1:] == [("10:00:01", 603.0, None, "gap"), ("10:00:02", 603.0, 40, "")]
    assert script.gaps("SPY") == [("10:00:01.2", "10:00:01.5", "unsubscribed", 160)]


def test_no_time_between_going_and_coming_back_is_no_gap() -> None:
    """All at one moment: nothing was missed, nothing is flagged."""
    script = begun("QQQ", "SPY").send("10:00:01.2", "SPY", last=601.0, volume=1100)
    script.config("10:00:01.2", "QQQ").config("10:00:01.2", "QQQ", "SPY")
    script.send("10:00:01.2", "SPY", last=601.0, volume=1100, trade="10:00:01.2").beat("10:00:02")
    assert script.quotes("SPY")[-1] == ("10:00:01", 601.0, 100, "")
    assert script.gaps("SPY") == [("10:00:01.2", "10:00:01.2", "unsubscribed", 0)]
    assert script.values("SPY")[-1][3] == ""


def test_a_gap_that_was_open_when_it_went_passes_its_volume_on() -> None:
    """Two rows side by side; what traded over both stands in the second. VWAP counts it once."""
    script = begun("QQQ", "SPY").beat("10:00:01").down("10:00:02").config("10:00:03", "QQQ").connect()
    script.beat("10:01:00").config("10:02:00", "QQQ", "SPY")
    script.send("10:02:01", "SPY", last=610.0, volume=1700, trade="10:02:00")
    script.send("10:02:01.5", "SPY", bid=1.0).beat("10:02:02")
    assert script.gaps("SPY") == [
        ("10:00:01", "10:00:03", "socket_down", None), ("10:00:03", "10:02:01", "unsubscribed", 700),
    ]  # fmt: skip
    assert script.values("SPY")[-1][2] == round((1000 * 600 + 700 * 610) / 1700, 6)


def test_one_that_went_before_the_opening_and_came_back_after_it_is_seeded() -> None:
    """It had a gap when it went, after the opening: the opening lies in what is not known."""
    script = Script("QQQ", "SPY").start("03:00:00").connect()
    script.send("03:00:00", "SPY", last=590.0, volume=0).beat("09:00:00").down("09:00:00")
    script.config("09:45:00", "QQQ").connect().beat("09:46:00").config("10:00:00", "QQQ", "SPY")
    script.send("10:00:00.5", "SPY", last=610.0, volume=1700).send("10:00:01.5", "SPY", bid=1.0).beat("10:00:02")
    assert script.values("SPY")[-1][2] is None and script.engine.awaiting_history() == ["SPY"]
    script.history("10:00:03", [script.candle("09:30:00", 605.0, 500)], "SPY")
    script.send("10:00:03.5", "SPY", bid=2.0).beat("10:00:04")
    assert script.values("SPY")[-1][2] == 605.0


def test_one_that_comes_back_in_another_session_starts_late() -> None:
    """The days on which nobody wanted it are no gap."""
    script = begun("QQQ", "SPY").send("10:00:01.2", "SPY", last=601.0, volume=1100)
    script.config("10:00:01.5", "QQQ").beat("19:59:59").beat("2026-11-23 10:00:00")
    script.config("2026-11-23 10:00:00", "QQQ", "SPY")
    script.send("2026-11-23 10:00:01", "SPY", last=620.0, volume=400).beat("2026-11-23 10:00:02")
    assert script.gaps("SPY") == [("2026-11-23 04:00:00", "2026-11-23 10:00:01", "late_start", 400)]


def test_one_that_went_before_its_first_image_starts_late() -> None:
    """Nothing was ever known of it in this session: one gap from the session's start."""
    script = begun().config("10:00:01", "QQQ", "SPY").config("10:00:02", "QQQ")
    assert script.gaps("SPY") == [("04:00:00", "10:00:02", "late_start", None)]
    script.beat("10:00:03").config("10:00:04", "QQQ", "SPY").send("10:00:05", "SPY", last=1.0, volume=70)
    assert script.gaps("SPY") == [("04:00:00", "10:00:05", "late_start", 70)]


def test_without_session_logic_every_absence_is_a_gap() -> None:
    """Under SKIP_MARKET_HOURS there is no session to end it."""
    script = Script("QQQ", "SPY", skip_market_hours=True).start("21:00:00").connect()
    script.send("21:00:00", "SPY", last=1.0, volume=10).send("21:00:01", "SPY", volume=20).beat("21:00:02")
    script.config("21:00:03", "QQQ").beat("2026-11-21 12:00:00").config("2026-11-21 12:00:01", "QQQ", "SPY")
    script.send("2026-11-21 12:00:02", "SPY", last=1.0, volume=50)
    assert script.gaps("SPY") == [("21:00:02", "2026-11-21 12:00:02", "unsubscribed", 30)]


def test_a_restart_with_fewer_tickers_removes_them() -> None:
    """What the process missed is closed with the settings of the next one."""
    script = begun("QQQ", "SPY").beat("10:00:01")
    script.tickers = ("QQQ",)
    script.start("10:05:00")
    assert script.gaps("SPY") == [("10:00:01", "10:05:00", "process_down", None)]
    assert script.engine.open_gaps() == ["QQQ"]


def test_tick_rows_of_a_ticker_that_comes_back() -> None:
    """No row lies inside a gap; its volume is known with the image."""
    script = begun("QQQ", "SPY", resolution="tick").send("10:00:01.2", "SPY", volume=1100)
    script.config("10:00:01.5", "QQQ").config("10:00:01.6", "QQQ", "SPY")
    script.send("10:00:01.7", "SPY", last=601.0, volume=1300).send("10:00:01.8", "SPY", volume=1310)
    assert script.gaps("SPY") == [("10:00:01.2", "10:00:01.7", "unsubscribed", 200)]
    assert script.quotes("SPY")[1:] == [("10:00:01.2", 600.0, 100, ""), ("10:00:01.8", 601.0, 10, "")]


def test_no_time_lost_in_the_second_of_another_gap() -> None:
    """The second stays inside the first gap, which has all that traded in it."""
    script = begun().beat("10:00:01").down("10:00:02").connect().send("10:00:03.2", last=601.0, volume=1100)
    script.send("10:00:03.4", last=602.0, volume=1150).down("10:00:03.4").connect()
    script.send("10:00:03.4", last=602.0, volume=1150).send("10:00:03.8", volume=1170)
    script.send("10:00:04.5", volume=1200).beat("10:00:05")
    assert script.quotes()[1:] == [("10:00:03", 602.0, None, "gap"), ("10:00:04", 602.0, 30, "")]
    assert script.gaps() == [
        ("10:00:01", "10:00:03.2", "socket_down", 170), ("10:00:03.4", "10:00:03.4", "socket_down", 0),
    ]  # fmt: skip


# ── why there is no connection ──────────────────────────────────────────────────────────────────────────────────


def test_the_newest_reason_counts() -> None:
    """The open row is made again with its key; the closed one keeps the newest reason."""
    script = begun().beat("10:00:01").down("10:00:02").waiting("10:00:03", "evicted").waiting("10:00:04", "evicted")
    script.waiting("10:00:05", "auth_required")
    assert [(gap.start_us, gap.end_us, gap.reason) for gap in script.rows.gaps] == [
        (script.us("10:00:01"), None, reason) for reason in ("socket_down", "evicted", "auth_required")
    ]
    script.connect("10:30:00").send("10:30:01", last=601.0, volume=1500).beat("10:30:02")
    assert script.gaps() == [("10:00:01", "10:30:01", "auth_required", 500)]


def test_a_late_start_has_a_reason_too() -> None:
    """It stays a late start in all but the word: VWAP is seeded, the volume is the image's."""
    script = Script().start("10:00:00").waiting("10:00:01", "auth_required").connect("10:15:00")
    script.history("10:15:00", [script.candle("09:30:00", 605.0, 500)])
    script.send("10:15:01", last=610.0, volume=700).send("10:15:01.5", bid=1.0).beat("10:15:02")
    assert script.gaps() == [("04:00:00", "10:15:01", "auth_required", 700)]
    assert script.values()[-1] == ("10:15:01", None, 605.0, "gap:sma9,seeded:vwap")


def test_a_session_that_begins_while_waiting_is_missed_for_that_reason() -> None:
    """Started on Sunday without a sign-in, signed in on Monday."""
    script = Script().start("2026-11-22 12:00:00").waiting("2026-11-22 12:00:01", "auth_required")
    assert script.gaps() == [] and script.engine.open_gaps() == []
    script.connect("2026-11-23 09:45:00")
    assert script.engine.open_gaps() == ["QQQ"]
    script.send("2026-11-23 09:45:01", last=610.0, volume=700)
    assert script.gaps() == [("2026-11-23 04:00:00", "2026-11-23 09:45:01", "auth_required", 700)]


def test_a_reason_ends_with_the_waiting() -> None:
    """A ticker that is added after the connection is back starts late for no other reason."""
    script = begun().down("10:00:02").waiting("10:00:03", "stopped").connect("10:00:04").send("10:00:05", volume=1100)
    script.config("10:00:06", "QQQ", "SPY")
    assert script.gaps("SPY") == [("04:00:00", None, "late_start", None)]


def test_while_a_connection_is_up_nothing_waits() -> None:
    """A reason without an open connection to explain changes nothing, and time does not move."""
    script = begun().waiting("10:00:09", "evicted")
    assert script.gaps() == [] and script.quotes() == []
    assert script.engine.waiting == 1


def test_without_a_connection_a_reason_moves_time() -> None:
    """The second before is over."""
    script = begun().down("10:00:00.5").waiting("10:00:09", "evicted")
    assert script.quotes() == [("10:00:00", 600.0, None, "gap")]


def test_a_gap_outside_the_session_is_explained_where_it_counts() -> None:
    """Lost on Saturday, back on Monday: the piece of Monday has the reason."""
    script = begun().beat("2026-11-21 11:00:00").down("2026-11-21 11:00:01")
    script.waiting("2026-11-21 11:00:02", "auth_required")
    assert script.gaps() == []
    script.connect("2026-11-23 09:00:00").send("2026-11-23 09:00:01.5", last=1.0, volume=70)
    script.beat("2026-11-23 09:00:02")
    assert script.gaps() == [("2026-11-23 04:00:00", "2026-11-23 09:00:01.5", "auth_required", 70)]


def test_a_try_that_fails_ends_no_reason() -> None:
    """Connected and refused before the session: what is missed of it is missed for the same reason."""
    script = Script().start("03:00:00").waiting("03:00:01", "auth_required").connect("03:30:00").down("03:30:01")
    script.connect("04:30:00").send("04:30:01", last=610.0, volume=700)
    assert script.gaps() == [("04:00:00", "04:30:01", "auth_required", None)]


def test_another_process_knows_no_reason() -> None:
    """It says itself what it waits for."""
    script = Script().start("03:00:00").waiting("03:00:01", "auth_required").start("03:30:00").connect("04:30:00")
    assert script.gaps() == [("04:00:00", None, "late_start", None)]


# ── quotes that were asked for ──────────────────────────────────────────────────────────────────────────────────


def index() -> Script:
    """An index that does not stream, beside a stock that does."""
    script = Script("QQQ", "$SPX").start("03:00:00").connect().send("03:00:00", last=590.0, volume=0)
    return script.poll("03:00:00.5", "$SPX", last=6000.0, trade="2026-11-19 16:00:00").beat("10:00:00")


def test_asked_quotes_stand_for_a_stream() -> None:
    """The first is the image, later ones make rows that say where they come from."""
    script = index().poll("10:00:00.5", "$SPX", last=6001.0).beat("10:00:01")
    script.poll("10:00:01.2", "$SPX", last=6002.0).poll("10:00:01.7", "$SPX", last=6003.0).beat("10:00:02")
    assert script.quotes("$SPX") == [
        ("10:00:00", 6001.0, None, "no_volume_base,polled"), ("10:00:01", 6003.0, None, "no_volume_base,polled"),
    ]  # fmt: skip
    assert script.gaps("$SPX") == [] and script.values("$SPX")[-1][2] is None


def test_asked_quotes_move_no_time() -> None:
    """They count for their own second, once the next frame shows that the connection was up."""
    script = index().poll("10:00:05.5", "$SPX", last=6001.0).poll("10:00:06.5", "$SPX", last=6002.0)
    assert script.quotes("$SPX") == []
    script.beat("10:00:08")
    assert [row[:2] for row in script.quotes("$SPX")] == [("10:00:05", 6001.0), ("10:00:06", 6002.0)]


def test_asked_quotes_after_the_last_frame_lie_in_the_gap() -> None:
    """The connection turns out to be lost: they are counted and make nothing; nor do they without a connection."""
    script = index().poll("10:00:05.5", "$SPX", last=6001.0).down("10:00:30").poll("10:00:31", "$SPX", last=6002.0)
    assert script.engine.state.counts.outside == 2 and script.quotes("$SPX") == []
    script.connect().beat("10:01:00").poll("10:01:00.5", "$SPX", last=6003.0).beat("10:01:02")
    assert script.gaps("$SPX") == [("10:00:00", "10:01:00.5", "socket_down", None)]


def test_the_stream_takes_over() -> None:
    """As soon as it sends the key the flag ends, also in that second; an answer that is older then is left out."""
    script = index().poll("10:00:00.2", "$SPX", last=6001.0).send("10:00:00.5", "$SPX", last=6001.5)
    script.beat("10:00:01").poll("10:00:01.2", "$SPX", last=6001.0, trade="10:00:00.2").beat("10:00:02")
    script.send("10:00:02.5", "$SPX", last=6002.0).beat("10:00:03")
    assert script.quotes("$SPX") == [
        ("10:00:00", 6001.5, None, "no_volume_base"), ("10:00:02", 6002.0, None, "no_volume_base"),
    ]  # fmt: skip
    assert script.engine.state.counts.outside == 1


def test_a_newer_answer_counts_where_the_stream_fell_silent() -> None:
    """The key was sent once on this connection, and no more."""
    script = index().send("10:00:00.5", "$SPX", last=6001.0).beat("10:00:01")
    script.poll("10:00:10", "$SPX", last=6005.0, trade="10:00:09").beat("10:00:11").send("10:00:11.5", "$SPX", bid=1.0)
    script.beat("10:00:12")
    assert [row[3] for row in script.quotes("$SPX")] == ["no_volume_base", "no_volume_base,polled", "no_volume_base"]


def test_asked_quotes_of_unwanted_tickers_make_nothing() -> None:
    """Neither of one that was removed nor of one that never was wanted."""
    script = index().config("10:00:00", "QQQ").poll("10:00:00.5", "$SPX", last=1.0).poll("10:00:00.6", "$NDX", last=1.0)
    assert script.engine.state.counts.outside == 2 and list(script.engine.state.instruments) == ["QQQ"]


def test_asked_quotes_in_tick_are_rows_of_their_own() -> None:
    """At the time of the answer."""
    script = Script("$SPX", resolution="tick").start("10:00:00").connect().beat("10:00:00")
    script.poll("10:00:00.5", "$SPX", last=6000.0).poll("10:00:00.7", "$SPX", last=6001.0).beat("10:00:01")
    assert script.quotes("$SPX") == [("10:00:00.7", 6001.0, None, "no_volume_base,polled")]


# ── halts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_change_of_status_is_an_event() -> None:
    """Not the first one known, and not one that repeats."""
    script = begun().send("10:00:01", security_status="Normal").send("10:00:02", security_status="Halted")
    script.send("10:00:03", security_status="Halted").send("10:00:04", security_status=None, bid=1.0)
    script.send("10:00:05", security_status="Normal").beat("10:00:06")
    assert script.events() == [
        ("10:00:02", "status", "Normal -> Halted"), ("10:00:05", "status", "Halted -> Normal"),
    ]  # fmt: skip
    assert len(script.quotes()) == 6


def test_the_status_of_an_image() -> None:
    """An event only if it is unusual, or changed while nothing was received."""
    script = Script().start("03:00:00").connect().send("03:00:00", security_status="Halted").beat("03:00:01")
    script.down("03:00:01").connect().send("03:00:02", security_status="Halted").beat("03:00:03")
    script.down("03:00:03").connect().send("03:00:04", security_status="Normal").beat("03:00:05")
    script.down("03:00:05").connect().send("03:00:06", security_status="Normal")
    assert script.events() == [
        ("03:00:00", "status", "unknown -> Halted"), ("03:00:04", "status", "Halted -> Normal"),
    ]  # fmt: skip


# ── records ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_records_of_the_journal_reach_the_engine() -> None:
    """CONFIG, CONNECTION up, down and waiting, and the answers of REST; what is not ours is passed over."""
    deriver = Deriver(Engine())
    seq = 0

    def record(kind: Kind, clock: str, payload: object, body: str = "") -> None:
        nonlocal seq
        seq += 1
        text = payload if isinstance(payload, str) else json.dumps(payload)
        ts_ns = Script().us(clock) * 1000
        deriver.apply(Record(seq, ts_ns, 1, kind, text.encode() + (b"\n" + body.encode() if body else b"")))

    derive = msgspec.to_builtins(DeriveSettings(("$SPX",)))
    record(Kind.PROCESS, "10:00:00", {"event": "start"})
    record(Kind.CONFIG, "10:00:00", {"event": "derive", "settings": derive})
    record(Kind.CONNECTION, "10:00:01", {"event": "waiting", "reason": "auth_required"})
    record(Kind.CONNECTION, "10:00:01", {"event": "waiting"})
    assert [gap.reason for gap in deriver.engine.take().gaps] == ["late_start", "auth_required"]
    record(Kind.CONNECTION, "10:00:02", {"event": "up"})
    record(Kind.FRAME, "10:00:03", {"notify": [{"heartbeat": "1795446904102"}]})
    asked = {"path": "/marketdata/v1/quotes", "params": {"symbols": "$SPX"}, "status": 200}
    answer = {"$SPX": {"quote": {"lastPrice": 6000.5, "tradeTime": Script().us("10:00:02") // 1000}}}
    for clock in ("10:00:03.5", "10:00:03.7"):
        record(Kind.REST, clock, asked, json.dumps(answer))
    record(Kind.REST, "10:00:03.8", asked, "<html>")
    record(Kind.REST, "10:00:03.9", {"path": "/trader/v1/userPreference", "status": 200}, "{}")
    record(Kind.FRAME, "10:00:05", {"notify": [{"heartbeat": "1795446904102"}]})
    rows = deriver.engine.take()
    assert [(row.price, row.flags) for row in rows.equity] == [(600_050_000_000, Flag.POLLED | Flag.GAP)]
    assert [(gap.end_us, gap.reason) for gap in rows.gaps] == [(Script().us("10:00:03.5"), "auth_required")]
    assert deriver.engine.state.rejected == 1 and "record 9" in deriver.tally.last


# ── properties ──────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = ("QQQ", "SPY", "SPY", "add", "remove", "down", "restart", "waiting", "poll", "beat")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.sampled_from((0, 1, 200, 400, 999, 1000, 61_000, 400_000)), st.integers(0, 50)
    ),
    max_size=50,
)


def play(steps: list[tuple[str, int, int]], *, other: bool = True, cut: int | None = None) -> tuple[Script, int]:
    """QQQ streams throughout; SPY comes and goes with `other`. Returns what SPY traded since the reset."""
    script = Script("QQQ").start("03:00:00").connect().send("03:00:00", last=590.0, volume=0).beat("09:28:00")
    at_us, up, wanted, present = script.us("09:28:00"), True, False, False
    totals = {"QQQ": 100, "SPY": 100}

    def images(clock: str) -> None:
        nonlocal present
        script.send(clock, "QQQ", last=600.0, volume=totals["QQQ"])
        present = wanted
        if wanted and other:
            script.send(clock, "SPY", last=500.0, volume=totals["SPY"])

    def change(clock: str) -> None:
        if other:
            script.config(clock, *(("QQQ", "SPY") if wanted else ("QQQ",)))
        else:
            script._done()  # the other record of that place

    for number, (kind, wait_ms, size) in enumerate([*steps, ("add", 1000, 0), ("up", 0, 0), ("SPY", 1500, 3)]):
        at_us += wait_ms * 1000
        clock = script.clock(at_us)
        totals["QQQ"] += size
        totals["SPY"] += size
        if not up and kind not in ("waiting", "add", "remove", "restart"):
            script.connect(clock)
            up = True
            images(clock)
        elif kind in ("QQQ", "SPY") and up:
            if kind == "QQQ" or (present and other):
                script.send(clock, kind, last=500.0 + size, volume=totals[kind])
            else:
                script.beat(clock)
        elif kind == "down":
            script.down(clock)
            up = present = False
        elif kind == "restart":
            script.engine.started(at_us)
            script._done()
            up = present = False
            change(clock)
        elif kind == "waiting":
            script.waiting(clock, "auth_required")
        elif kind == "poll" and other:
            script.poll(clock, "SPY", last=500.0, quote=clock, volume=totals["SPY"])
        elif kind in ("add", "remove") and wanted != (kind == "add"):
            wanted = kind == "add"
            present = present and wanted
            change(clock)
            if up and wanted:
                present = True
                if other:
                    script.send(clock, "SPY", last=500.0, volume=totals["SPY"])
                else:
                    script.beat(clock)
        elif kind == "beat":
            script.beat(clock)
        if number == cut:
            restored = Engine.restore(script.engine.snapshot())
            assert restored is not None
            script.engine = restored
    script.beat(script.clock(at_us + 2_000_000))
    return script, totals["SPY"]


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_other_tickers_are_untouched(steps: list[tuple[str, int, int]]) -> None:
    """Every row of QQQ is the same, whether SPY comes and goes or was never there."""
    (with_it, _), (without, _) = play(steps), play(steps, other=False)
    for name in ("equity", "indicators", "gaps", "events"):
        ours, theirs = getattr(with_it.rows, name), getattr(without.rows, name)
        assert [row for row in ours if row.ticker == "QQQ"] == [row for row in theirs if row.ticker == "QQQ"], name


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 50))
def test_what_comes_and_goes_is_counted_once(steps: list[tuple[str, int, int]], cut: int) -> None:
    """Σ volume + Σ gap volume of SPY is its total; one row a key; a checkpoint anywhere changes nothing."""
    script, total = play(steps)
    assert script.total("SPY") == total
    keys = [(row.ticker, row.timestamp_us) for row in script.rows.equity]
    assert len(keys) == len(set(keys))
    for start, end, _reason, _volume in script.gaps("SPY"):
        assert end is not None, f"the gap of {start} stays open"
        low, high = script.us(start), script.us(end)
        inside = [r for r in script.rows.equity if r.ticker == "SPY" and r.timestamp_us + 1_000_000 > low]
        assert low == high or all(row.volume is None for row in inside if row.timestamp_us < high)
    again, _ = play(steps, cut=cut)
    assert again.rows == script.rows
