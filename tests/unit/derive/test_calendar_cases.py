"""The calendar, by a table: each case a short script of records, and all the rows that it must make, written out.

Rows of equity_data: time, price, volume, flags. Rows of indicators: time, SMA9, VWAP, flags. Gaps: start, end, reason,
volume. Events: time, kind, detail. What a case does not name it does not make. Times are New York's if not said.
`docs/definitions.md` names the case of each statement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.unit.derive.script import Script

Quote = tuple[str, float | None, int | None, str]
Value = tuple[str, float | None, float | None, str]


class Made(NamedTuple):
    """What a script must make of QQQ. `values` None: all NULL, without a flag. `final`: VWAP's state at the end."""

    script: Script
    quotes: list[Quote]
    values: list[Value] | None = None
    gaps: Sequence[tuple[str, str | None, str, int | None]] = ()
    events: Sequence[tuple[str, str, str]] = ()
    final: float | None = None


CASES: dict[str, Callable[[], Made]] = {}


def case(make: Callable[[], Made]) -> Callable[[], Made]:
    """Put it into the table; its docstring is what the case says."""
    CASES[make.__name__] = make
    return make


@pytest.mark.parametrize("name", CASES)
def test_calendar_case(name: str) -> None:
    """Rows, indicators, gaps and events, all of them."""
    made = CASES[name]()
    script = made.script
    assert script.quotes() == made.quotes
    assert script.values() == (made.values or [(row[0], None, None, "") for row in made.quotes])
    assert script.gaps() == list(made.gaps)
    assert script.events() == list(made.events)
    if made.final is not None:
        value, _flags = script.engine.state.instruments["QQQ"].vwap.value()
        assert value is not None and value / 1_000_000 == made.final


def test_every_case_is_named_in_the_definitions(checkout: Path) -> None:
    """And each name there in italics is a test or a case."""
    named = set(re.findall(r"\*([a-z]\w*_\w+)\*", (checkout / "docs" / "definitions.md").read_text(encoding="utf-8")))
    assert set(CASES) <= named
    tests = "".join(path.read_text(encoding="utf-8") for path in (checkout / "tests").rglob("*.py"))
    assert {name for name in named if f"def {name}(" not in tests} == set()


def early(*, day: date = date(2026, 11, 20), volume: int | None = 0, **derive: object) -> Script:
    """Connected at 03:00, with an image that carries yesterday's last, 590.0 at 16:00."""
    script = Script(day=day, **derive).start("03:00:00").connect()  # type: ignore[arg-type]
    return script.send("03:00:00", last=590.0, volume=volume, trade="2026-01-01 16:00:00")


def nine(script: Script, first: str = "09:30", volume: int = 0) -> int:
    """One trade a minute at 601, 602, … 609, ten shares each; the cumulative volume after them."""
    hour, minute = map(int, first.split(":"))
    for number in range(9):
        total = hour * 60 + minute + number
        volume += 10
        script.send(f"{total // 60:02}:{total % 60:02}:30", last=601.0 + number, volume=volume)
    return volume


NINE_QUOTES: list[Quote] = [(f"09:{30 + n}:30", 601.0 + n, 10, "") for n in range(9)]
NINE_VALUES: list[Value] = [
    (f"09:{30 + n}:30", 605.0 if n == 8 else None, (601.0 + 601.0 + n) / 2, "") for n in range(9)
]
"""The mean of nine closes is there with the ninth; VWAP is the mean of what traded so far."""


# ── late start ──────────────────────────────────────────────────────────────────────────────────────────────────


@case
def late_start_before_the_reset() -> Made:
    """At 06:00 the cumulative volume counts from yesterday: the gap's volume is not known; at 07:28 it begins anew."""
    script = Script().start("06:00:00").connect().send("06:00:00.5", last=600.0, volume=5000)
    script.send("06:00:01.5", last=601.0, volume=5100).send("07:28:00", volume=0)
    script.send("07:28:05.5", last=602.0, volume=50).beat("07:28:06")
    return Made(
        script,
        [("06:00:01", 601.0, 100, ""), ("07:28:00", 601.0, 0, ""), ("07:28:05", 602.0, 50, "")],
        gaps=[("04:00:00", "06:00:00.5", "late_start", None)],
    )


@case
def late_start_after_the_reset_before_the_opening() -> Made:
    """At 08:00 the image's volume is what traded since 07:28; the opening is not missed, nothing is seeded."""
    script = Script().start("08:00:00").connect().send("08:00:00.5", last=600.0, volume=700)
    script.send("08:00:01.5", last=601.0, volume=720).send("09:30:00.5", last=602.0, volume=1000).beat("09:30:01")
    return Made(
        script,
        [("08:00:01", 601.0, 20, ""), ("09:30:00", 602.0, 280, "")],
        [("08:00:01", None, None, ""), ("09:30:00", None, 602.0, "")],
        [("04:00:00", "08:00:00.5", "late_start", 700)],
    )


@case
def late_start_in_the_session() -> Made:
    """Both indicators stand in the first row, from candles; those of the pre-market and of the cross are no bars."""
    script = Script().start("09:50:00")
    yesterday = [script.candle(f"2026-11-19 15:{minute}:00", 500.0) for minute in range(50, 60)]
    after = [script.candle("2026-11-19 16:00:00", 999.0), script.candle("2026-11-19 17:00:00", 999.0)]
    before = [script.candle(f"09:{minute}:00", 999.0) for minute in range(10, 30)]
    today = [script.candle(f"09:{minute}:00", 600.0, 100) for minute in range(30, 34)]
    script.history("09:50:00", [*yesterday, *after, *before, *today]).connect()
    script.send("09:50:00", last=610.0, volume=5000, trade="09:49:59")
    script.send("09:50:00.5", last=620.0, volume=5100).beat("09:50:01")
    sma9 = (4 * 500 + 4 * 600 + 620) / 9
    return Made(
        script,
        [("09:50:00", 620.0, 100, "")],
        [("09:50:00", round(sma9, 6), (400 * 600 + 100 * 620) / 500, "seeded:sma9,seeded:vwap")],
        [("04:00:00", "09:50:00", "late_start", 5000)],
    )


@case
def before_the_opening_the_window_is_yesterdays() -> Made:
    """Asked in the pre-market, the candles of regular minutes count, not the newest ones."""
    script = Script().start("09:00:00")
    yesterday = [script.candle(f"2026-11-19 15:{minute}:00", 500.0) for minute in range(50, 60)]
    before = [script.candle(f"08:{minute}:00", 999.0) for minute in range(10, 60)]
    script.history("09:00:00", [*yesterday, *before]).connect().send("09:00:00.5", last=600.0, volume=700)
    script.send("09:30:00.5", last=609.0, volume=710).beat("09:30:01")
    return Made(
        script,
        [("09:30:00", 609.0, 10, "")],
        [("09:30:00", round((8 * 500 + 609) / 9, 6), 609.0, "seeded:sma9")],
        [("04:00:00", "09:00:00.5", "late_start", 700)],
    )


@case
def late_start_after_the_close() -> Made:
    """VWAP's final value comes from the regular candles and that of the cross, not from later ones."""
    script = Script().start("16:30:00")
    candles = [script.candle("09:30:00", 600.0, 100), script.candle("16:00:00", 610.0, 100)]
    later = [script.candle("16:01:00", 999.0, 100), script.candle("16:20:00", 999.0, 100)]
    script.history("16:30:00", [script.candle("09:29:00", 1.0), *candles, *later]).connect()
    script.send("16:30:00.5", last=611.0, volume=900).send("16:30:01.5", last=612.0, volume=910).beat("16:30:02")
    return Made(
        script,
        [("16:30:01", 612.0, 10, "")],
        gaps=[("04:00:00", "16:30:00.5", "late_start", 900)],
        final=605.0,
    )


@case
def start_after_the_session() -> Made:
    """At 20:30 nothing is missed any more, and nothing is recorded; the next session is whole."""
    script = Script().start("20:30:00").connect().send("20:30:00", last=600.0, volume=900)
    script.send("20:30:01.5", last=601.0, volume=910).beat("2026-11-23 03:59:59")
    script.send("2026-11-23 04:00:00.5", last=602.0, volume=930).beat("2026-11-23 04:00:01")
    return Made(script, [("2026-11-23 04:00:00", 602.0, 20, "")])


@case
def late_start_under_regular_hours() -> Made:
    """The session starts at 09:30: the gap does not cover all that the volume counts, so that its volume is unknown."""
    script = Script(hours="regular").start("10:00:00").connect().send("10:00:00.5", last=600.0, volume=900)
    script.send("10:00:01.5", last=601.0, volume=910).beat("10:00:02")
    script.history("10:00:02", [script.candle("09:30:00", 605.0)]).send("10:00:02.5", bid=1.0).beat("10:00:03")
    return Made(
        script,
        [("10:00:01", 601.0, 10, ""), ("10:00:02", 601.0, 0, "")],
        [("10:00:01", None, None, "gap:sma9"), ("10:00:02", None, 604.636364, "gap:sma9,seeded:vwap")],
        [("09:30:00", "10:00:00.5", "late_start", None)],
    )


@case
def regular_hours_have_no_row_outside() -> Made:
    """STREAM_HOURS=regular: the first row counts from the last value before 09:30, the last one is before 16:00."""
    script = early(hours="regular").send("09:29:59.5", last=600.0, volume=100)
    script.send("09:30:00", last=601.0, volume=130).send("15:59:59", last=602.0, volume=140)
    script.send("16:00:00", last=603.0, volume=150).beat("16:00:01")
    return Made(
        script,
        [("09:30:00", 601.0, 30, ""), ("15:59:59", 602.0, 10, "")],
        [("09:30:00", None, 601.0, ""), ("15:59:59", None, 601.25, "")],
    )


# ── one day ─────────────────────────────────────────────────────────────────────────────────────────────────────


@case
def the_session_begins_while_connected() -> Made:
    """From 04:00:00 on there are rows; the price is NULL until the first trade of this session."""
    script = early(volume=5000).send("03:59:59.9", bid=589.0).send("04:00:00", bid=589.5)
    script.send("04:00:01", last=591.0, volume=5010).beat("04:00:02")
    return Made(script, [("04:00:00", None, 0, ""), ("04:00:01", 591.0, 10, "")])


@case
def pre_market_then_the_opening() -> Made:
    """Indicators are NULL until 09:30; a quote in the session is no trade of it; the opening cross counts."""
    script = early().send("09:29:59", last=600.0, volume=100).send("09:30:00.2", bid=600.5)
    script.send("09:30:01.5", last=601.0, volume=900).send("09:30:02.5", last=603.0, volume=1100).beat("09:30:03")
    return Made(
        script,
        [("09:29:59", 600.0, 100, ""), ("09:30:00", 600.0, 0, ""), ("09:30:01", 601.0, 800, ""),
         ("09:30:02", 603.0, 200, "")],
        [("09:29:59", None, None, ""), ("09:30:00", None, None, ""), ("09:30:01", None, 601.0, ""),
         ("09:30:02", None, 601.4, "")],
    )  # fmt: skip


@case
def the_reset_is_at_0728() -> Made:
    """The first value at or after it counts from 0, without an event."""
    script = early(volume=5000).send("07:27:59.5", last=600.0, volume=5010).send("07:28:00", last=600.5, volume=3)
    script.send("07:28:01", volume=8).beat("07:28:02")
    return Made(script, [("07:27:59", 600.0, 10, ""), ("07:28:00", 600.5, 3, ""), ("07:28:01", 600.5, 5, "")])


@case
def the_reset_comes_late() -> Made:
    """No message at 07:28 itself: the first one after it counts from 0 all the same."""
    script = early(volume=5000).send("07:27:00", last=600.0, volume=5010).send("07:40:00.5", last=600.5, volume=7000)
    return Made(script.beat("07:40:01"), [("07:27:00", 600.0, 10, ""), ("07:40:00", 600.5, 7000, "")])


@case
def a_fall_of_the_volume() -> Made:
    """At another time than the reset: based anew, said, never negative; VWAP counts nothing for it."""
    script = early().send("09:30:00.5", last=600.0, volume=100).send("09:30:01.5", last=610.0, volume=40)
    script.send("09:30:02.5", last=606.0, volume=140).beat("09:30:03")
    return Made(
        script,
        [("09:30:00", 600.0, 100, ""), ("09:30:01", 610.0, 0, "volume_fell"), ("09:30:02", 606.0, 100, "")],
        [("09:30:00", None, 600.0, ""), ("09:30:01", None, 600.0, ""), ("09:30:02", None, 603.0, "")],
        events=[("09:30:01.5", "volume_fell", "cumulative volume fell from 100 to 40")],
    )


@case
def a_halt_across_minutes() -> Made:
    """Quotes go on: rows without volume, no bars; SMA9 is that of the nine completed ones, VWAP stands still."""
    script = early()
    volume = nine(script)
    script.send("09:39:00.5", security_status="Normal").send("09:39:10", security_status="Halted")
    script.send("09:44:00", bid=600.0).send("09:50:00", security_status="Normal", bid=601.0)
    script.send("09:50:05", last=619.0, volume=volume + 10).beat("09:50:06")
    still = [(clock, 605.0, 605.0, "") for clock in ("09:39:00", "09:39:10", "09:44:00", "09:50:00")]
    return Made(
        script,
        [*NINE_QUOTES, *[(row[0], 609.0, 0, "") for row in still], ("09:50:05", 619.0, 10, "")],
        [*NINE_VALUES, *still, ("09:50:05", 607.0, (9 * 605 + 619) / 10, "")],
        events=[("09:39:10", "status", "Normal -> Halted"), ("09:50:00", "status", "Halted -> Normal")],
    )


@case
def a_symbol_that_never_trades() -> Made:
    """Quotes only: the price is NULL, the volume 0, VWAP NULL all day, before the opening and after the close."""
    script = early(volume=5000)
    clocks = ("04:00:00", "07:00:00", "07:28:00", "09:30:00", "12:00:00", "16:00:00", "19:59:59")
    for clock in clocks:
        script.send(clock, **({"volume": 0} if clock == "07:28:00" else {"bid": 1.0}))
    return Made(script.beat("20:00:00"), [(clock, None, 0, "") for clock in clocks])


@case
def a_symbol_that_never_sends_a_volume() -> Made:
    """Without field 8 the volume is NULL, not 0."""
    script = early(volume=None).send("04:00:00", bid=1.0).send("10:00:00", bid=2.0).beat("10:00:01")
    return Made(script, [(clock, None, None, "no_volume_base") for clock in ("04:00:00", "10:00:00")])


@case
def an_index_without_volume() -> Made:
    """It has prices, bars and SMA9; its volume and its VWAP are NULL."""
    script = early(volume=None)
    for minute in range(30, 39):
        script.send(f"09:{minute}:30", last=6001.0 + minute - 30)
    return Made(
        script.beat("09:39:00"),
        [(f"09:{30 + n}:30", 6001.0 + n, None, "no_volume_base") for n in range(9)],
        [(f"09:{30 + n}:30", 6005.0 if n == 8 else None, None, "") for n in range(9)],
    )


# ── the close ───────────────────────────────────────────────────────────────────────────────────────────────────


@case
def the_cross_prints_within_five_minutes() -> Made:
    """Rows after the close are NULL; what moves the regular trade time until 16:04:59.999 is in the final value."""
    script = early().send("15:59:59.9", last=600.0, volume=100, regular="15:59:59.9")
    script.send("16:00:00", last=610.0, volume=200, regular="16:00:00").send("16:00:01", last=999.0, volume=300)
    script.send("16:04:59.999", last=620.0, volume=400, regular="16:00:01")
    script.send("16:05:00", last=999.0, volume=500, regular="16:00:02").beat("16:05:01")
    return Made(
        script,
        [("15:59:59", 600.0, 100, ""), ("16:00:00", 610.0, 100, ""), ("16:00:01", 999.0, 100, ""),
         ("16:04:59", 620.0, 100, ""), ("16:05:00", 999.0, 100, "")],
        [("15:59:59", None, 600.0, ""),
         *[(f"16:0{clock}", None, None, "") for clock in ("0:00", "0:01", "4:59", "5:00")]],
        final=610.0,
    )  # fmt: skip


@case
def the_cross_prints_before_the_close() -> Made:
    """A closing print that arrives at 15:59:59.9 is a trade like any other."""
    script = early().send("15:59:00", last=600.0, volume=100).send("15:59:59.9", last=610.0, volume=300)
    return Made(
        script.beat("16:00:00"),
        [("15:59:00", 600.0, 100, ""), ("15:59:59", 610.0, 200, "")],
        [("15:59:00", None, 600.0, ""), ("15:59:59", None, round((600 + 2 * 610) / 3, 6), "")],
        final=round((600 + 2 * 610) / 3, 6),
    )


@case
def the_regular_trade_time_alone_is_no_cross() -> Made:
    """The change of volume and field 36 must come in one message."""
    script = early().send("15:59:59", last=600.0, volume=100).send("16:00:01", last=610.0, volume=200)
    script.send("16:00:02", regular="16:00:01").beat("16:00:03")
    return Made(
        script,
        [("15:59:59", 600.0, 100, ""), ("16:00:01", 610.0, 100, ""), ("16:00:02", 610.0, 0, "")],
        [("15:59:59", None, 600.0, ""), ("16:00:01", None, None, ""), ("16:00:02", None, None, "")],
        final=600.0,
    )


@case
def a_gap_over_the_close() -> Made:
    """The span counts once, at the image's last price, if the regular trade time shows the cross."""
    script = early().send("15:59:00", last=600.0, volume=100, regular="15:59:00").down("15:59:00").connect()
    script.send("16:01:00.5", last=610.0, volume=300, regular="16:00:01", trade="16:00:01").beat("16:01:01")
    return Made(
        script,
        [("15:59:00", 600.0, None, "gap")],
        [("15:59:00", None, 600.0, "gap:sma9,gap:vwap")],
        [("15:59:00", "16:01:00.5", "socket_down", 300)],
        final=round((100 * 600 + 200 * 610) / 300, 6),
    )


@case
def a_half_day() -> Made:
    """2026-11-27 closes at 13:00: indicators end there, the cross has until 13:05, and rows go on until 20:00."""
    script = early(day=date(2026, 11, 27)).send("12:59:59", last=600.0, volume=100, regular="12:59:59")
    script.send("13:00:05", last=610.0, volume=200, regular="13:00:00").send(
        "13:05:00", last=9.0, volume=210, regular="13:04:59"
    )
    script.send("15:00:00", last=611.0, volume=220).send("17:30:00", bid=1.0).send("19:59:59", bid=2.0)
    script.send("20:00:00", bid=3.0).beat("20:00:01")
    return Made(
        script,
        [("12:59:59", 600.0, 100, ""), ("13:00:05", 610.0, 100, ""), ("13:05:00", 9.0, 10, ""),
         ("15:00:00", 611.0, 10, ""), ("17:30:00", 611.0, 0, ""), ("19:59:59", 611.0, 0, "")],
        [("12:59:59", None, 600.0, ""), *[(clock, None, None, "") for clock in
         ("13:00:05", "13:05:00", "15:00:00", "17:30:00", "19:59:59")]],
        final=605.0,
    )  # fmt: skip


@case
def a_half_day_under_regular_hours() -> Made:
    """The recorded hours end with the close, and a gap is cut there."""
    script = early(day=date(2026, 12, 24), hours="regular").send("12:59:00", last=600.0, volume=100)
    script.beat("12:59:01").down("12:59:02").connect().send("14:00:00", last=601.0, volume=150).beat("14:00:01")
    return Made(
        script,
        [("12:59:00", 600.0, 100, "")],
        [("12:59:00", None, 600.0, "")],
        [("12:59:01", "13:00:00", "socket_down", None)],
    )


@case
def a_half_day_is_missed() -> Made:
    """Started at 14:00: seeded with the candle of 13:00, where the cross stands, and no later one."""
    script = Script(day=date(2026, 11, 27)).start("14:00:00")
    candles = [script.candle("12:59:00", 600.0), script.candle("13:00:00", 610.0), script.candle("13:01:00", 999.0)]
    script.history("14:00:00", candles).connect().send("14:00:00.5", last=611.0, volume=900).beat("14:00:01")
    return Made(script, [], gaps=[("04:00:00", "14:00:00.5", "late_start", 900)], final=605.0)


# ── from one session to the next ────────────────────────────────────────────────────────────────────────────────


def over(day: date, following: str) -> Script:
    """Nine bars on `day`, then the first two trades of the next session, 04:00 and 09:30, with the reset between."""
    script = early(day=day)
    nine(script)
    script.beat("20:00:00").beat(f"{following} 03:59:59").send(f"{following} 04:00:00", last=700.0, volume=95)
    script.send(f"{following} 07:28:00", volume=0).send(f"{following} 09:30:00", bid=1.0)
    return script.send(f"{following} 09:30:05", last=710.0, volume=20).beat(f"{following} 09:30:06")


def carried(script: Script, following: str) -> Made:
    """SMA9 goes on with yesterday's bars, VWAP begins anew, the volume counts from 07:28 in New York."""
    return Made(
        script,
        [*NINE_QUOTES, (f"{following} 04:00:00", 700.0, 5, ""), (f"{following} 07:28:00", 700.0, 0, ""),
         (f"{following} 09:30:00", 700.0, 0, ""), (f"{following} 09:30:05", 710.0, 20, "")],
        [*NINE_VALUES, (f"{following} 04:00:00", None, None, ""), (f"{following} 07:28:00", None, None, ""),
         (f"{following} 09:30:00", 605.0, None, ""),
         (f"{following} 09:30:05", round((sum(range(602, 610)) + 710) / 9, 6), 710.0, "")],
    )  # fmt: skip


@case
def a_weekend() -> Made:
    """Friday to Monday."""
    return carried(over(date(2026, 11, 20), "2026-11-23"), "2026-11-23")


@case
def a_holiday_between() -> Made:
    """Wednesday, Thanksgiving, and the half-day after it."""
    return carried(over(date(2026, 11, 25), "2026-11-27"), "2026-11-27")


@case
def a_year_ends() -> Made:
    """31 December and 2 January, with New Year's Day between."""
    return carried(over(date(2025, 12, 31), "2026-01-02"), "2026-01-02")


@case
def clocks_go_forward() -> Made:
    """The Friday before and the Monday after: wall time holds, the weekend has 71 hours from 04:00 to 04:00."""
    return carried(over(date(2027, 3, 12), "2027-03-15"), "2027-03-15")


@case
def clocks_go_back() -> Made:
    """Wall time holds, the weekend has 73 hours."""
    return carried(over(date(2026, 10, 30), "2026-11-02"), "2026-11-02")


@case
def clocks_go_forward_in_utc() -> Made:
    """The same by UTC: 04:00 is 09:00 on Friday and 08:00 on Monday; the reset 12:28 and 11:28."""
    script = Script(day=date(2027, 3, 12), zone=UTC).start("08:00:00").connect()
    script.send("08:00:00", last=590.0, volume=5000, trade="2027-03-11 21:00:00")
    script.send("08:59:59", bid=1.0).send("09:00:00", bid=2.0).send("12:27:59", bid=3.0).send("12:28:00", volume=3)
    monday = "2027-03-15"
    script.beat("2027-03-13 01:00:00").send(f"{monday} 07:59:59", bid=1.0).send(f"{monday} 08:00:00", bid=2.0)
    script.send(f"{monday} 11:27:59", bid=3.0).send(f"{monday} 11:28:00", volume=4)
    script.send(f"{monday} 13:29:59", last=600.0, volume=6).send(f"{monday} 13:30:00", last=601.0, volume=7)
    script.send(f"{monday} 23:59:59", bid=1.0).send("2027-03-16 00:00:00", bid=2.0).beat("2027-03-16 00:00:01")
    rows: list[Quote] = [
        ("09:00:00", None, 0, ""), ("12:27:59", None, 0, ""), ("12:28:00", None, 3, ""),
        (f"{monday} 08:00:00", None, 0, ""), (f"{monday} 11:27:59", None, 0, ""), (f"{monday} 11:28:00", None, 4, ""),
        (f"{monday} 13:29:59", 600.0, 2, ""), (f"{monday} 13:30:00", 601.0, 1, ""),
        (f"{monday} 23:59:59", 601.0, 0, ""),
    ]  # fmt: skip
    return Made(script, rows, [(r[0], None, 601.0 if r[0].endswith("13:30:00") else None, "") for r in rows])


@case
def clocks_go_back_in_utc() -> Made:
    """04:00 is 08:00 on Friday and 09:00 on Monday; the session ends at 00:00 and at 01:00 of the next day."""
    script = Script(day=date(2026, 10, 30), zone=UTC).start("07:00:00").connect()
    script.send("07:00:00", last=590.0, volume=5000, trade="2026-10-29 20:00:00").send("08:00:00", bid=2.0)
    script.send("23:59:59", bid=1.0).send("2026-10-31 00:00:00", bid=2.0)
    monday = "2026-11-02"
    script.send(f"{monday} 08:59:59", bid=1.0).send(f"{monday} 09:00:00", bid=2.0)
    script.send("2026-11-03 00:59:59", bid=1.0).send("2026-11-03 01:00:00", bid=2.0).beat("2026-11-03 01:00:01")
    clocks = ("08:00:00", "23:59:59", f"{monday} 09:00:00", "2026-11-03 00:59:59")
    return Made(script, [(clock, None, 0, "") for clock in clocks])


@case
def a_gap_over_the_end_of_the_year() -> Made:
    """A row for each session; none for New Year's Day; the newest has what traded since the reset."""
    script = early(day=date(2025, 12, 31)).send("19:00:00", last=600.0, volume=100).beat("19:00:01").down("19:00:02")
    script.connect().send("2026-01-02 08:00:00", last=601.0, volume=70).beat("2026-01-02 08:00:01")
    return Made(
        script,
        [("19:00:00", 600.0, 100, "")],
        gaps=[
            ("19:00:01", "20:00:00", "socket_down", None),
            ("2026-01-02 04:00:00", "2026-01-02 08:00:00", "socket_down", 70),
        ],
    )


@case
def a_gap_over_a_change_of_clocks() -> Made:
    """Cut at 20:00 and 04:00 of New York, whatever these are in UTC."""
    script = early(day=date(2027, 3, 12)).send("15:00:00", last=600.0, volume=100, bid=1.0).beat("15:00:01")
    script.down("15:00:02").connect().send("2027-03-15 08:00:00", last=601.0, volume=70).beat("2027-03-15 08:00:01")
    return Made(
        script,
        [("15:00:00", 600.0, 100, "")],
        [("15:00:00", None, 600.0, "")],
        [
            ("15:00:01", "20:00:00", "socket_down", None),
            ("2027-03-15 04:00:00", "2027-03-15 08:00:00", "socket_down", 70),
        ],
    )


@case
def a_lost_session_is_no_window() -> Made:
    """Regular minutes of an earlier session were lost: SMA9 starts again from candles, and says so."""
    script = early(day=date(2026, 11, 20))
    nine(script)
    script.beat("10:00:00").down("10:00:01").connect()
    monday = "2026-11-23"
    friday = [script.candle(f"15:{minute}:00", 500.0) for minute in range(50, 60)]
    script.history(f"{monday} 09:00:00", friday).send(f"{monday} 09:00:00", last=600.0, volume=70)
    script.send(f"{monday} 09:30:00.5", last=509.0, volume=80).beat(f"{monday} 09:30:01")
    return Made(
        script,
        [*NINE_QUOTES, (f"{monday} 09:30:00", 509.0, 10, "")],
        [*NINE_VALUES, (f"{monday} 09:30:00", 501.0, 509.0, "gap:sma9,seeded:sma9")],
        [("10:00:00", "20:00:00", "socket_down", None),
         (f"{monday} 04:00:00", f"{monday} 09:00:00", "socket_down", 70)],
    )  # fmt: skip


@case
def a_holiday_has_no_rows() -> Made:
    """Thanksgiving: what arrives is in the journal, not in the tables, and a lost connection is no gap."""
    script = early(day=date(2026, 11, 26), volume=900).send("10:00:00", last=600.0, volume=910).beat("10:00:01")
    script.down("10:00:02").connect().send("12:00:00", last=601.0, volume=950).send("12:00:01.5", bid=1.0)
    return Made(script.beat("12:00:03"), [])


# ── without session logic ───────────────────────────────────────────────────────────────────────────────────────


@case
def all_hours() -> Made:
    """SKIP_MARKET_HOURS: rows at night and at the weekend, with the last price known, whenever it was."""
    script = early(day=date(2026, 11, 20), volume=900, skip_market_hours=True).send("03:00:01", bid=1.0)
    script.send("05:00:00", bid=2.0).send("10:00:00", last=600.0, volume=50).send("2026-11-21 12:00:00", volume=60)
    script.send("2026-11-23 03:00:00", bid=3.0).beat("2026-11-23 03:00:01")
    rows: list[Quote] = [
        ("03:00:01", 590.0, 0, ""), ("05:00:00", 590.0, 0, ""), ("10:00:00", 600.0, 50, ""),
        ("2026-11-21 12:00:00", 600.0, 10, ""), ("2026-11-23 03:00:00", 600.0, 0, ""),
    ]  # fmt: skip
    return Made(script, rows, [(row[0], None, 600.0 if row[0] == "10:00:00" else None, "") for row in rows])


@case
def all_hours_gaps_are_whole() -> Made:
    """From Friday to Monday: one row, with what traded since Monday's reset."""
    script = early(day=date(2026, 11, 20), skip_market_hours=True).send("19:00:00", last=600.0, volume=50)
    script.beat("19:00:01").down("19:00:02").connect().send("2026-11-23 08:00:00", last=601.0, volume=70)
    return Made(
        script.beat("2026-11-23 08:00:01"),
        [("19:00:00", 600.0, 50, "")],
        gaps=[("19:00:01", "2026-11-23 08:00:00", "socket_down", 70)],
    )


@case
def all_hours_when_clocks_go_forward() -> Made:
    """Sunday 2027-03-14 has 23 hours: 01:59:59 and 03:00:00 are neighbours, 06:59:59 and 07:00:00 UTC."""
    script = Script(day=date(2027, 3, 14), zone=UTC, skip_market_hours=True).start("05:00:00").connect()
    script.send("05:00:00", last=1.0, volume=10).send("06:59:59", volume=20).send("07:00:00", volume=30).beat(
        "07:00:01"
    )
    return Made(script, [("06:59:59", 1.0, 10, ""), ("07:00:00", 1.0, 10, "")])


@case
def all_hours_when_clocks_go_back() -> Made:
    """Sunday 2026-11-01 has 25 hours: 01:30:00 comes twice, and is two rows."""
    script = Script(day=date(2026, 11, 1), zone=UTC, skip_market_hours=True).start("04:00:00").connect()
    script.send("04:00:00", last=1.0, volume=10).send("05:30:00", volume=20).send("06:30:00", volume=30).beat(
        "06:30:01"
    )
    return Made(script, [("05:30:00", 1.0, 10, ""), ("06:30:00", 1.0, 10, "")])


@case
def all_hours_late_start() -> Made:
    """Within a session the indicators need its beginning all the same; at the weekend nothing is late."""
    script = Script(skip_market_hours=True).start("10:00:00").history("10:00:00", []).connect()
    script.history("10:00:00", [script.candle("09:30:00", 605.0)]).send("10:00:00.5", last=600.0, volume=900)
    script.send("10:00:01.5", bid=1.0).beat("10:00:02")
    return Made(
        script,
        [("10:00:01", 600.0, 0, "")],
        [("10:00:01", None, 605.0, "gap:sma9,seeded:vwap")],
        [("04:00:00", "10:00:00.5", "late_start", 900)],
    )
