"""Option contracts: what of a stream becomes a row, what a gap, and what neither."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.derive.script import Script, option_flags

from alphakite.derive.engine import Engine
from alphakite.model import ChainContract

CALL, PUT = "QQQ   261120C00600000", "QQQ   261120P00600000"
NEXT = "QQQ   261123C00600000"


def begun(*symbols: str, opened: bool = True, **derive: object) -> Script:
    """Connected before the session, if `opened` come to 09:30. Each contract's image: bid 1.0, ask 1.1, 50 traded."""
    derive = {"greeks_interval_s": 0.0} | derive
    script = Script(**derive).start("02:59:00").watch("02:59:30", *(symbols or (CALL,))).connect()
    script.send("03:00:00", last=600.0, volume=0)
    for symbol in symbols or (CALL,):
        script.option("03:00:00", symbol, bid=1.0, ask=1.1, bid_size=10, ask_size=20, volume=50, open_interest=700)
    return script.beat("03:30:01").beat("09:30:00") if opened else script


def test_a_row_is_a_second_in_which_a_stored_column_changed() -> None:
    """The underlying's price, the quote's time or the same values again make none."""
    script = begun().option("10:00:00.2", CALL, underlying_price=600.1, quote="10:00:00.2").beat("10:00:01")
    script.option("10:00:01.5", CALL, bid=1.0, quote="10:00:01.5").beat("10:00:02")
    script.option("10:00:02.1", CALL, bid=1.05, quote="10:00:02.1").option("10:00:02.9", CALL, ask=1.15)
    script.option("10:00:03.5", CALL, bid=1.2).option("10:00:03.6", CALL, bid=1.05).beat("10:00:04")
    assert script.option_quotes(CALL) == [("10:00:02", 1.05, 1.15, 0, 50, "")]
    assert script.engine.counts.conflated == 5 and script.engine.counts.stored == 1


def test_the_image_is_no_row_and_is_kept() -> None:
    """It stands in option_images."""
    script = (
        begun().watch("10:00:00", CALL, PUT).option("10:00:00.5", PUT, bid=0.0, ask=0.05, volume=3).beat("10:00:02")
    )
    assert script.option_quotes(PUT) == []
    (image,) = (row for row in script.rows.images if row.symbol == PUT)
    assert (image.symbol, script.clock(image.timestamp_us), image.bid, image.day_volume) == (PUT, "10:00:00.5", 0, 3)
    assert (image.ticker, image.right, image.strike, image.expiry) == ("QQQ", "P", 600 * 10**8, date(2026, 11, 20))


def test_a_session_begins_with_what_is_known() -> None:
    """A contract watched over night is in each day's images, also one that does not change."""
    script = begun(NEXT).beat("2026-11-22 12:00:00").beat("2026-11-23 04:00:03").beat("2026-11-23 10:00:00")
    made = [(script.clock(row.timestamp_us), row.bid) for row in script.rows.images]
    assert made == [("03:00:00", 10**8), ("04:00:00", 10**8), ("2026-11-23 04:00:00", 10**8)]


def test_volume_is_what_traded_in_the_second_since_the_reset_at_half_past_three() -> None:
    """The reset makes no row; the first value after it counts from 0."""
    script = begun().option("10:00:00", CALL, volume=5).option("10:00:01", CALL, volume=5, bid=1.01)
    script.option("10:00:02", CALL, volume=12).beat("10:00:03")
    assert [(row[0], *row[3:]) for row in script.option_quotes(CALL)] == [
        ("10:00:00", 5, 5, ""),
        ("10:00:01", 0, 5, ""),
        ("10:00:02", 7, 12, ""),
    ]
    assert script.events(CALL) == []


def test_a_reset_that_is_sent_makes_no_row() -> None:
    """Nor does what else changes before the recorded hours."""
    script = begun(opened=False).option("03:30:00", CALL, volume=0, bid=0.9).beat("10:00:00")
    script.option("10:00:00.5", CALL, bid=0.9).option("10:00:01", CALL, volume=2).beat("10:00:02")
    assert script.option_quotes(CALL) == [("10:00:01", 0.9, 1.1, 2, 2, "")]


def test_a_contract_watched_late_has_a_gap_from_the_sessions_start() -> None:
    """Its image's volume is the gap's: the reset came before the recorded hours."""
    script = begun().watch("11:00:00", CALL, PUT)
    assert script.gaps(PUT) == [("04:00:00", None, "late_start", None)] and script.engine.open_gaps() == [PUT]
    script.option("11:00:00.4", PUT, bid=2.0, ask=2.1, volume=40).option("11:00:01", PUT, volume=44).beat("11:00:02")
    assert script.gaps(PUT) == [("04:00:00", "11:00:00.4", "late_start", 40)]
    assert script.option_quotes(PUT) == [("11:00:01", 2.0, 2.1, 4, 44, "")]
    assert script.gaps(CALL) == []


def test_a_lost_connection_is_a_gap_of_each_contract() -> None:
    """The partly covered second is inside; volume telescopes."""
    script = begun().option("10:00:00", CALL, volume=5).beat("10:00:01.5").down("10:00:02").connect()
    script.option("10:00:05.2", CALL, bid=1.3, ask=1.4, volume=20).option("10:00:05.7", CALL, bid=1.31)
    script.option("10:00:06", CALL, volume=23).beat("10:00:07")
    assert script.gaps(CALL) == [("10:00:01.5", "10:00:05.2", "socket_down", 15)]
    assert script.option_quotes(CALL)[1:] == [
        ("10:00:05", 1.31, 1.4, None, 20, "gap"),
        ("10:00:06", 1.31, 1.4, 3, 23, ""),
    ]


def test_no_time_lost_loses_no_row() -> None:
    """A connection lost and an image at one moment: what had changed in that second is its row."""
    script = begun().option("10:00:00.2", CALL, bid=1.05, volume=5).down("10:00:00.2").connect()
    script.option("10:00:00.2", CALL, bid=1.05, ask=1.1, volume=5).beat("10:00:01")
    assert script.option_quotes(CALL) == [("10:00:00", 1.05, 1.1, 5, 5, "")]
    assert script.gaps(CALL) == [("10:00:00.2", "10:00:00.2", "socket_down", 0)]


def test_let_go_and_wanted_again() -> None:
    """What is let go makes nothing more; wanted again in the session, the time between is a gap."""
    script = begun(CALL, PUT).option("10:00:00", PUT, volume=5).beat("10:00:01").watch("10:00:01.5", CALL)
    script.option("10:00:02", PUT, volume=9)
    assert script.gaps(PUT) == [] and script.engine.counts.outside == 1
    script.watch("10:10:00", CALL, PUT).option("10:10:01", PUT, bid=1.0, ask=1.1, volume=30).beat("10:10:03")
    assert script.gaps(PUT) == [("10:00:01", "10:10:01", "unsubscribed", 25)]


def test_what_was_let_go_is_forgotten_with_the_session() -> None:
    """A year of rolls leaves nothing behind; the contract of the next session goes on over the night."""
    script = begun(CALL, NEXT).watch("16:15:00", NEXT).beat("20:00:01").beat("2026-11-23 04:00:01")
    assert list(script.engine.state.options.retired) == []
    script.option("2026-11-23 10:00:00", NEXT, volume=4).beat("2026-11-23 10:00:01")
    assert script.option_quotes(NEXT) == [("2026-11-23 10:00:00", 1.0, 1.1, 4, 4, "")]


def test_regular_hours_of_options_end_a_quarter_past() -> None:
    """STREAM_HOURS=regular."""
    script = begun(opened=False, hours="regular").option("09:29:59", CALL, bid=0.5).option("16:14:59", CALL, bid=0.6)
    script.option("16:15:00", CALL, bid=0.7).beat("16:15:01")
    assert [row[0] for row in script.option_quotes(CALL)] == ["16:14:59"]


def test_what_the_feed_says_it_has_not_is_null_and_flagged() -> None:
    """Never sent is neither; a value that comes clears its flag."""
    script = begun().option("10:00:00", CALL, bid=None, implied_volatility_percent=None, delta=None, gamma=0.05)
    script.option("10:00:01", CALL, bid=1.0, implied_volatility_percent=18.12345678, delta=0.5).beat("10:00:02")
    first, second = script.option_rows(CALL)
    assert (first.bid, first.iv, first.delta, first.gamma) == (None, None, None, 5_000_000)
    assert [row[-1] for row in script.option_quotes(CALL)] == ["absent:quote,absent:iv,absent:greeks", ""]
    assert (second.iv, second.delta, second.theta) == (1_812_345_678, 50_000_000, None)
    assert script.engine.state.options.quality == {"absent:quote": 1, "absent:iv": 1, "absent:greeks": 1}


def test_each_update_is_a_row_under_tick() -> None:
    """OPTION_RESOLUTION=tick: its key says which; what changes no column makes none."""
    script = begun(option_resolution="tick").option("10:00:00.1", CALL, bid=1.05).option("10:00:00.2", CALL, bid=1.05)
    script.option("10:00:00.3", CALL, volume=3).beat("10:00:01")
    rows = script.option_rows(CALL)
    assert [(script.clock(row.timestamp_us), row.journal_no, row.volume) for row in rows] == [
        ("10:00:00.1", 7, 0),
        ("10:00:00.3", 7, 3),
    ]
    assert [row.seq for row in rows] == [script.seq - 3, script.seq - 1]


def definition(symbol: str, **changes: object) -> ChainContract:
    fields = {"settlement": "P", "exercise": "A", "kind": "W", "multiplier": 100} | changes
    right = symbol[12]
    return ChainContract(symbol, "QQQ", "QQQ", right, 600 * 10**8, date(2026, 11, 20), **fields)  # type: ignore[arg-type]


def test_definitions_are_stored_when_they_are_new_or_change() -> None:
    """Open interest and delta are no part of them; expired ones are forgotten."""
    script = begun().chain("10:00:00", definition(CALL, open_interest=5), definition(PUT))
    script.chain(
        "11:00:00", definition(CALL, open_interest=9, delta=0.5), definition(PUT, adjusted=True, multiplier=50)
    )
    made = [(script.clock(row.valid_from_us), row.symbol, row.adjusted) for row in script.rows.contracts]
    assert made == [("10:00:00", CALL, False), ("10:00:00", PUT, False), ("11:00:00", PUT, True)]
    assert script.engine.state.options.contracts[CALL].settlement == "P"
    script.chain("2026-11-23 09:00:00")
    assert script.engine.state.options.definitions == {}


@given(
    st.lists(
        st.tuples(st.sampled_from(["bid", "volume", "beat", "lost", "snapshot"]), st.integers(0, 3), st.integers(0, 4)),
        max_size=40,
    )
)
def test_volumes_of_rows_and_gaps_add_up(steps: list[tuple[str, int, int]]) -> None:
    """Whatever comes, and from whichever snapshot derivation goes on: Σ rows + Σ gaps = the cumulative volume."""
    script = begun()
    at, total, up = script.us("10:00:00"), 0, True
    for name, wait, amount in steps:
        at += wait * 400_000
        clock = script.clock(at)
        if name == "lost" and up:
            script.down(clock).connect()
            up = False
        elif name == "snapshot":
            restored = Engine.restore(script.engine.snapshot())
            assert restored is not None
            script.engine = restored
        elif name == "beat" and up:
            script.beat(clock)
        elif name in ("bid", "volume"):
            total += amount if name == "volume" else 0
            script.option(clock, CALL, bid=1 + amount / 100, volume=total)
            up = True
    if not up:
        script.option(script.clock(at + 500_000), CALL, volume=total)
    script.beat(script.clock(at + 3_000_000))
    rows = sum(row.volume or 0 for row in script.option_rows(CALL))
    assert rows + sum(gap[3] or 0 for gap in script.gaps(CALL)) == total


def test_model_values_stand_in_a_contracts_rows_every_so_often() -> None:
    """GREEKS_INTERVAL a contract; in between the columns are NULL. A chain of one side without a spot has a reason."""
    script = begun(CALL, PUT, greeks_interval_s=5.0)
    for second in range(8):
        script.option(f"15:00:0{second}.5", CALL, bid=0.45 + second / 100, ask=0.47 + second / 100)
    script.option("15:00:08", PUT, bid=0.45, ask=0.47).beat("15:00:09")
    models = [row.model for row in script.option_rows(CALL)]
    assert [place for place, model in enumerate(models) if model is not None] == [0, 5]
    first = models[0]
    assert first is not None and first.reason == "" and first.iv is not None and first.delta is not None
    assert 0.1 < first.iv / 1e8 < 0.4 and 0.2 < first.delta / 1e8 < 0.5  # the forward lies below the strike
    assert first.definition.clock == "act365_sec" and first.definition.rate == 0.04
    (put,) = script.option_rows(PUT)
    assert put.model is not None and put.model.reason == ""
    alone = begun(CALL, greeks_interval_s=5.0).option("15:00:00", CALL, bid=0.45).beat("15:00:01")
    (row,) = alone.option_rows(CALL)
    assert row.model is not None and row.model.reason == "stale_underlying" and row.model.iv is None


def test_quality_is_judged_by_the_chain() -> None:
    """And counted."""
    script = begun(CALL, PUT).option("10:00:00", CALL, bid=1.2, quote="10:00:00").beat("10:00:01")
    assert [option_flags(row.flags) for row in script.option_rows(CALL)] == ["crossed"]
    assert script.engine.state.options.quality == {"crossed": 1}
