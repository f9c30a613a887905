"""docs/definitions.md, row by row: messages in, rows out."""

from __future__ import annotations

from datetime import date, datetime, time

from hypothesis import given, settings
from hypothesis import strategies as st

from alphakite.derive.engine import Engine
from alphakite.derive.moment import DeriveSettings
from alphakite.derive.rows import Rows
from alphakite.model import PRICE_SCALE, Candle, EquityUpdate, Flag
from alphakite.sessions import EXCHANGE

DAY = date(2026, 11, 20)


def us(clock: str, day: date = DAY) -> int:
    """Exchange wall time, as 10:15:00.999, in µs UTC."""
    return int(datetime.combine(day, time.fromisoformat(clock), EXCHANGE).timestamp() * 1000) * 1000


def candle(clock: str, close: float, volume: int, day: date = DAY) -> Candle:
    price = round(close * PRICE_SCALE)
    return Candle(us(clock, day), price, price, price, price, volume)


class Tape:
    """Feeds an engine as the recorder does; one ticker, QQQ."""

    def __init__(self, **derive: object) -> None:
        self.engine = Engine(7)
        self.rows = Rows()
        self.seq = 0
        self.conn = 0
        self.settings = DeriveSettings(("QQQ",), **derive)  # type: ignore[arg-type]

    def start(self, clock: str, day: date = DAY) -> None:
        self.engine.started(us(clock, day))
        self.engine.configure(us(clock, day), self.settings)
        self._done()

    def history(self, clock: str, candles: list[Candle]) -> None:
        self.engine.history(us(clock), "QQQ", candles)
        self._done()

    def connect(self) -> None:
        self.conn += 1

    def send(self, clock: str, day: date = DAY, **fields: float) -> None:
        """One message of QQQ; `trade` is the trade's wall time."""
        if isinstance(trade := fields.pop("trade", None), str):
            fields["trade_time_ms"] = us(trade, day) // 1000
        self.engine.frame(self.seq + 1, us(clock, day), self.conn, [EquityUpdate("QQQ", **fields)], 0)  # type: ignore[arg-type]
        self._done()

    def heartbeat(self, clock: str, day: date = DAY) -> None:
        self.engine.frame(self.seq + 1, us(clock, day), self.conn, [], 0)
        self._done()

    def down(self, clock: str, reason: str = "socket_down", day: date = DAY) -> None:
        self.engine.lost(us(clock, day), reason)
        self._done()

    def _done(self) -> None:
        self.seq += 1
        self.engine.done(self.seq)
        made = self.engine.take()
        self.rows.equity += made.equity
        self.rows.indicators += made.indicators
        self.rows.gaps += made.gaps
        self.rows.events += made.events

    def volumes(self) -> list[int | None]:
        return [row.volume for row in self.rows.equity]

    def gaps(self) -> dict[int, tuple[int | None, str, int | None]]:
        """The newest state of each gap."""
        return {gap.start_us: (gap.end_us, gap.reason, gap.volume) for gap in self.rows.gaps}


def begun(clock: str = "10:00:00.000", *, volume: int = 1000, last: float = 600.0, **derive: object) -> Tape:
    """A tape that was connected before the session and got its image then, and again nothing was missed."""
    tape = Tape(**derive)
    tape.start("03:00:00")
    tape.connect()
    tape.send("03:00:00.000", last=590.0, volume=0, trade="03:00:00.000")
    tape.heartbeat("07:28:00.000")
    tape.send(clock, last=last, volume=volume, trade=clock)
    return tape


def test_a_second_is_a_row_and_ends_with_the_next_record() -> None:
    """Two updates of a second make one row at its start; nothing is stored before a later record shows it is over."""
    tape = begun()
    before = len(tape.rows.equity)
    tape.send("10:00:01.200", last=600.5, volume=1100, trade="10:00:01.100")
    tape.send("10:00:01.900", last=600.25, volume=1150, trade="10:00:01.800")
    assert len(tape.rows.equity) == before + 1  # the second before
    tape.heartbeat("10:00:02.000")
    row = tape.rows.equity[-1]
    assert (row.timestamp_us, row.price, row.volume, row.flags) == (us("10:00:01"), 60_025_000_000, 150, 0)
    assert tape.engine.state.counts.conflated == 1


def test_an_image_makes_no_row_and_carries_yesterdays_price() -> None:
    """price is NULL until a trade of this session is known."""
    tape = Tape()
    tape.start("03:59:00")
    tape.connect()
    tape.send("03:59:00.000", last=590.0, volume=5000, trade="03:00:00.000")
    tape.send("04:00:05.500", bid=589.9)
    tape.send("04:00:06.500", last=591.0, volume=5100, trade="04:00:06.100")
    tape.heartbeat("04:00:07.000")
    assert [(row.price, row.volume) for row in tape.rows.equity] == [(None, 0), (59_100_000_000, 100)]
    assert tape.gaps() == {}


def test_volume_needs_a_base() -> None:
    """An image without field 8: NULL until the second known cumulative value."""
    tape = Tape()
    tape.start("03:59:00")
    tape.connect()
    tape.send("03:59:00.000", last=590.0)
    for clock, fields in (("04:00:01.5", {"bid": 1.0}), ("04:00:02.5", {"volume": 100}), ("04:00:03.5", {"bid": 1.1})):
        tape.send(clock, **fields)
    tape.send("04:00:04.5", volume=130)
    tape.heartbeat("04:00:05")
    assert tape.volumes() == [None, None, None, 30]
    assert all(row.flags == Flag.NO_VOLUME_BASE for row in tape.rows.equity[:3])


def test_the_reset_has_base_zero_by_the_clock() -> None:
    """The first value at or after 07:28 counts from 0, without an event."""
    tape = Tape()
    tape.start("03:59:00")
    tape.connect()
    tape.send("03:59:00.000", last=590.0, volume=9000)
    tape.send("07:27:59.5", volume=9100)
    tape.send("07:28:00.5", volume=40)
    tape.send("07:28:01.5", volume=45)
    tape.heartbeat("07:28:02")
    assert tape.volumes() == [100, 40, 5]
    assert tape.rows.events == []


def test_a_fall_is_an_event_and_never_negative() -> None:
    """At any other time a fall re-bases, is counted and flagged; what traded before it in the second is kept."""
    tape = begun(volume=1000)
    tape.send("10:00:01.1", volume=1100)
    tape.send("10:00:01.5", volume=700)
    tape.send("10:00:02.5", volume=720)
    tape.heartbeat("10:00:03")
    assert tape.volumes()[-2:] == [100, 20]
    assert tape.rows.equity[-2].flags == Flag.VOLUME_FELL
    assert [event.kind for event in tape.rows.events] == ["volume_fell"]


def test_a_gap_is_a_row_and_its_seconds_know_no_volume() -> None:
    """Partly covered seconds are inside; the gap has what traded unseen; the sum is Schwab's total."""
    tape = begun(volume=1000)
    tape.send("10:00:01.2", volume=1100)
    tape.down("10:00:01.2")
    tape.connect()
    tape.send("10:00:05.3", last=601.0, volume=1500, trade="10:00:05.0")
    tape.send("10:00:05.6", volume=1510)
    tape.send("10:00:06.5", volume=1530)
    tape.heartbeat("10:00:07")
    assert tape.gaps() == {us("10:00:01.2"): (us("10:00:05.3"), "socket_down", 510)}
    assert [(row.timestamp_us, row.volume) for row in tape.rows.equity[-3:]] == [
        (us("10:00:01"), None), (us("10:00:05"), None), (us("10:00:06"), 20),
    ]  # fmt: skip
    assert sum(volume or 0 for volume in tape.volumes()) + 510 == 1530


def test_a_gap_of_no_length_flags_nothing() -> None:
    """The image comes at the time of the last record: no time was lost, no volume either, and the row is closed."""
    tape = begun("09:30:00.500", volume=100, last=600.0)
    tape.send("09:30:01.500", last=601.0, volume=150, trade="09:30:01.400")
    tape.down("09:30:01.500")
    tape.connect()
    tape.send("09:30:01.500", last=601.0, volume=150, trade="09:30:01.400")
    tape.send("09:30:02.500", last=602.0, volume=180, trade="09:30:02.400")
    tape.heartbeat("09:30:03")
    assert tape.gaps() == {us("09:30:01.500"): (us("09:30:01.500"), "socket_down", 0)}
    assert tape.volumes()[-2:] == [50, 30]
    assert all(row.flags == 0 for row in tape.rows.indicators)
    assert all(row.flags == 0 for row in tape.rows.equity)


def test_a_gap_that_begins_before_the_minutes_first_trade_is_flagged() -> None:
    """Only a quote was seen in the minute: the row's window lacks what the gap may have taken."""
    tape = begun("09:30:30.000", volume=100, last=601.0)
    for minute in range(1, 9):
        tape.send(f"09:{30 + minute}:30.0", last=601.0 + minute, volume=100 + minute, trade=f"09:{30 + minute}:30.0")
    tape.send("09:39:00.999", bid=600.0)
    tape.down("09:39:00.999")
    tape.connect()
    tape.send("09:39:05.000", last=610.0, volume=150, trade="09:39:04.000")
    tape.heartbeat("09:39:06.000")
    row = tape.rows.indicators[-1]
    assert (row.timestamp_us, row.sma9) == (us("09:39:00"), 605_000_000)
    assert row.flags == Flag.SMA9_GAP | Flag.VWAP_GAP


def test_a_short_window_with_a_hole_says_so() -> None:
    """A minute lost among the session's first nine: SMA9 is NULL for longer, and flagged."""
    tape = begun("09:30:30.000", volume=100, last=601.0)
    tape.down("09:30:30.000")
    tape.connect()
    tape.send("09:32:00.000", last=602.0, volume=150, trade="09:31:30.000")
    for minute in range(32, 40):
        tape.send(f"09:{minute}:30.0", last=600.0 + minute, volume=150 + minute, trade=f"09:{minute}:30.0")
    tape.heartbeat("09:40:00")
    found = [(row.sma9 is None, bool(row.flags & Flag.SMA9_GAP)) for row in tape.rows.indicators[-8:]]
    assert found == [(True, True)] * 7 + [(False, True)]


def test_a_reconnection_after_the_session_is_no_gap() -> None:
    """At 20:00:00 nothing is recorded any more: neither an open row nor one of no length."""
    tape = begun("19:59:59.000")
    tape.heartbeat("20:00:00.000")
    tape.down("20:00:00.000")
    tape.connect()
    tape.send("20:00:00.000", last=600.0, volume=1000)
    assert tape.gaps() == {}


def test_first_bars_lost_are_flagged() -> None:
    """The opening minutes are lost without candles: a window that is not full says why."""
    tape = begun("09:29:59.999", volume=100, last=600.0)
    tape.down("09:29:59.999")
    tape.connect()
    tape.send("09:31:00.000", last=601.0, volume=150, trade="09:30:01.400")
    for minute in range(31, 40):
        tape.send(f"09:{minute}:30.0", last=600.0 + minute, volume=150 + minute, trade=f"09:{minute}:30.0")
    tape.heartbeat("09:40:00")
    found = [(row.sma9 is None, bool(row.flags & Flag.SMA9_GAP)) for row in tape.rows.indicators[-9:]]
    assert found == [(True, True)] * 8 + [(False, False)]


def test_touching_gaps_count_once() -> None:
    """Two gaps with no complete second between them: each change goes to one of them."""
    tape = begun(volume=1000)
    tape.down("10:00:01.0")
    tape.connect()
    tape.send("10:00:03.1", volume=1200, last=600.0)
    tape.send("10:00:03.4", volume=1210)
    tape.down("10:00:03.4")
    tape.connect()
    tape.send("10:00:06.0", volume=1400, last=600.0)
    tape.heartbeat("10:00:07")
    assert sum(volume or 0 for _end, _why, volume in tape.gaps().values()) == 1400  # the second 10:00:00 is inside too


def test_a_gap_across_sessions_is_a_row_for_each() -> None:
    """The first piece ends with its session, the last begins with its own and counts from the reset."""
    monday = date(2026, 11, 23)
    tape = begun()
    tape.send("19:00:00.5", volume=2000)
    tape.down("19:00:00.5")
    tape.start("10:00:00", monday)
    tape.connect()
    tape.send("10:00:00.000", monday, last=600.0, volume=700, trade="09:59:59.000")
    assert tape.gaps() == {
        us("19:00:00.5"): (us("20:00:00"), "socket_down", None),
        us("04:00:00", monday): (us("10:00:00", monday), "socket_down", 700),
    }


def test_a_late_start_is_seeded() -> None:
    """SMA9 and VWAP are there in the first row; the gap runs from the session's start and has the image's volume."""
    tape = Tape()
    tape.start("10:15:00")
    friday = [candle(f"{9 + (30 + i) // 60:02}:{(30 + i) % 60:02}:00", 600 + i / 100, 1000) for i in range(45)]
    tape.history("10:15:00", [candle("15:59:00", 500, 9, date(2026, 11, 19)), *friday])
    tape.connect()
    tape.send("10:15:00.000", last=601.0, volume=50_000, trade="10:14:59.000")
    tape.send("10:15:00.999", last=602.0, volume=50_100, trade="10:15:00.500")
    tape.heartbeat("10:15:01")
    assert tape.gaps() == {us("04:00:00"): (us("10:15:00"), "late_start", 50_000)}
    row = tape.rows.indicators[-1]
    closes = [600 + i / 100 for i in range(37, 45)] + [602.0]
    assert row.sma9 == round(sum(closes) / 9 * 1_000_000)
    value = sum((600 + i / 100) * 1000 for i in range(45)) + 100 * 602.0
    assert row.vwap == round(value / 45_100 * 1_000_000)
    assert row.flags == Flag.SMA9_SEEDED | Flag.VWAP_SEEDED


def test_a_late_start_awaits_its_candles() -> None:
    """Without them VWAP is NULL, not that of a part; when they come it is whole."""
    tape = Tape(hours="regular")
    tape.start("10:15:00")
    tape.connect()
    tape.send("10:15:00.000", last=601.0, volume=50_000, trade="10:14:59.000")
    tape.send("10:15:00.999", last=602.0, volume=50_100, trade="10:15:00.500")
    tape.heartbeat("10:15:01")
    assert tape.rows.indicators[-1].vwap is None
    assert tape.engine.awaiting_history() == ["QQQ"]
    tape.history("10:15:01", [candle("09:30:00", 600, 900)])
    tape.send("10:15:01.999", bid=1.0)
    tape.heartbeat("10:15:02")
    assert tape.rows.indicators[-1].vwap == 600_200_000
    assert tape.rows.indicators[-1].flags & Flag.VWAP_SEEDED


def test_a_gap_in_the_session_counts_its_span_once() -> None:
    """At the image's last price; VWAP is flagged from then on, SMA9 while a touched bar is in its window."""
    tape = begun("09:30:00.500", volume=100, last=600.0)
    tape.down("09:30:00.500")
    tape.connect()
    tape.send("09:30:02.000", last=602.0, volume=300, trade="09:30:01.500")
    tape.send("09:30:02.500", last=604.0, volume=400, trade="09:30:02.400")
    tape.heartbeat("09:30:03")
    row = tape.rows.indicators[-1]
    assert row.vwap == round((100 * 600 + 200 * 602 + 100 * 604) / 400 * 1_000_000)
    assert row.flags == Flag.VWAP_GAP | Flag.SMA9_GAP
    minute = 0
    while tape.rows.indicators[-1].sma9 is None:
        minute += 1
        tape.send(f"09:{30 + minute}:00.500", last=605.0, volume=400 + minute, trade=f"09:{30 + minute}:00.400")
        tape.heartbeat(f"09:{30 + minute}:01.000")
    assert minute == 8
    assert tape.rows.indicators[-1].flags == Flag.VWAP_GAP | Flag.SMA9_GAP
    tape.send("09:39:00.500", last=605.0, volume=500, trade="09:39:00.400")
    tape.heartbeat("09:39:01")
    assert tape.rows.indicators[-1].flags == Flag.VWAP_GAP


def test_a_gap_over_the_opening_is_seeded_and_flagged() -> None:
    """With a whole minute lost candles stand for it; a lost second over 09:30:00 counts its span."""
    tape = begun("09:29:00.000", volume=100)
    tape.down("09:29:00.000")
    tape.history("09:31:00", [candle("09:30:00", 610, 500)])
    tape.connect()
    tape.send("09:31:00.000", last=611.0, volume=700, trade="09:30:59.000")
    tape.send("09:31:00.999", last=612.0, volume=800, trade="09:31:00.500")
    tape.heartbeat("09:31:01")
    row = tape.rows.indicators[-1]
    assert row.vwap == round((500 * 610 + 100 * 612) / 600 * 1_000_000)
    assert row.flags & Flag.VWAP_SEEDED and row.flags & Flag.VWAP_GAP
    short = begun("09:29:59.999", volume=100)
    short.down("09:29:59.999")
    short.connect()
    short.send("09:30:01.000", last=611.0, volume=700, trade="09:30:00.500")
    short.send("09:30:01.999", bid=1.0)
    short.heartbeat("09:30:02")
    assert short.rows.indicators[-1].vwap == 611_000_000


def test_indicators_are_null_outside_regular_hours_and_the_cross_counts() -> None:
    """Rows after the close are NULL; the closing cross is in the state while field 36 moves with it."""
    tape = begun("15:59:59.000", volume=100, last=600.0)
    ms = us("16:00:05") // 1000
    tape.send("16:00:05.500", last=610.0, volume=200, trade="16:00:05.0", regular_trade_time_ms=ms)
    tape.send("16:00:06.500", last=620.0, volume=300, trade="16:00:06.0")
    tape.send("16:05:06.500", last=620.0, volume=400, trade="16:05:06.0", regular_trade_time_ms=ms + 300_000)
    tape.heartbeat("16:05:07")
    assert [(row.sma9, row.vwap) for row in tape.rows.indicators[-3:]] == [(None, None)] * 3
    assert tape.engine.state.instruments["QQQ"].vwap.value()[0] == 605_000_000


def test_a_minute_without_a_trade_has_no_bar() -> None:
    """The nine completed bars count until the minute's first trade."""
    tape = begun("09:30:30.000", volume=100, last=601.0)
    for minute in range(1, 9):
        tape.send(f"09:{30 + minute}:30.0", last=601.0 + minute, volume=100 + minute, trade=f"09:{30 + minute}:30.0")
    tape.send("09:45:10.0", bid=600.0)
    tape.heartbeat("09:45:11")
    assert tape.rows.indicators[-1].sma9 == 605_000_000
    tape.send("09:45:12.0", last=619.0, volume=200, trade="09:45:12.0")
    tape.heartbeat("09:45:13")
    assert tape.rows.indicators[-1].sma9 == 607_000_000


def test_an_index_without_volume_has_no_vwap() -> None:
    """Its volume is NULL, its VWAP NULL, its price and bars are there."""
    tape = Tape()
    tape.start("03:59:00")
    tape.connect()
    tape.send("03:59:00.000", last=6000.0)
    tape.send("10:00:00.5", last=6001.0, trade="10:00:00.4")
    tape.heartbeat("10:00:01")
    assert (tape.rows.equity[-1].price, tape.rows.equity[-1].volume) == (600_100_000_000, None)
    assert tape.rows.indicators[-1].vwap is None


def test_tick_has_a_row_for_each_update() -> None:
    """At the receive time, with the journal's key; the gap's volume is known with the image."""
    tape = begun(resolution="tick", volume=1000)
    tape.send("10:00:01.200", volume=1100)
    tape.send("10:00:01.900", volume=1150)
    assert [(row.timestamp_us, row.volume, row.journal_no, row.seq) for row in tape.rows.equity[-2:]] == [
        (us("10:00:01.200"), 100, 7, tape.seq - 1), (us("10:00:01.900"), 50, 7, tape.seq),
    ]  # fmt: skip
    tape.down("10:00:01.900")
    tape.connect()
    tape.send("10:00:03.500", last=600.0, volume=1300)
    tape.send("10:00:03.600", volume=1310)
    assert tape.gaps() == {us("10:00:01.900"): (us("10:00:03.500"), "socket_down", 150)}
    assert tape.rows.equity[-1].volume == 10


def test_outside_the_recorded_hours_there_is_no_row() -> None:
    """Counted as outside; SKIP_MARKET_HOURS records everything."""
    tape = Tape()
    tape.start("02:00:00")
    tape.connect()
    tape.send("02:00:00.0", last=1.0, volume=1)
    tape.send("02:00:01.0", last=1.0, volume=2)
    tape.heartbeat("02:00:02")
    assert tape.rows.equity == []
    assert tape.engine.state.counts.outside == 1
    always = Tape(skip_market_hours=True)
    always.start("02:00:00")
    always.connect()
    always.send("02:00:00.0", last=1.0, volume=1)
    always.send("02:00:01.0", last=1.0, volume=2)
    always.heartbeat("02:00:02")
    assert [(row.price, row.volume) for row in always.rows.equity] == [(PRICE_SCALE, 1)]


def test_damage_in_the_journal_is_a_gap() -> None:
    """Records that are missing from the journal are a gap with its own reason."""
    tape = begun(volume=1000)
    tape.engine.damaged(us("10:00:03.000"))
    tape.send("10:00:03.000", last=600.0, volume=1300, trade="10:00:02.000")
    tape.heartbeat("10:00:04")
    assert tape.gaps() == {us("10:00:00"): (us("10:00:03"), "journal_fault", 1300)}


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["trade", "quote", "down", "restart", "quiet"]), st.integers(1, 90_000), st.integers(0, 50)
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, st.integers(0, 59))
def test_a_snapshot_at_any_place_changes_nothing(actions: list[tuple[str, int, int]], cut: int) -> None:
    """Restored from a checkpoint anywhere, derivation makes the same rows; and the volume identity holds."""

    def play(cut_at: int | None) -> tuple[Rows, int]:
        tape = begun("09:20:00.000", volume=100)
        at_us, total = us("09:20:00"), 100
        for number, (action, wait_ms, size) in enumerate(actions):
            at_us += wait_ms * 1000
            clock = datetime.fromtimestamp(at_us / 1e6, EXCHANGE).time().isoformat("milliseconds")
            total += 0 if action == "quiet" else size
            if action in ("down", "restart"):
                tape.down(clock) if action == "down" else tape.start(clock)
                tape.connect()
                tape.send(clock, last=600.0 + size / 100, volume=total, trade=clock)
            elif action == "quiet":
                tape.heartbeat(clock)
            else:
                tape.send(
                    clock, **({"last": 600.0 + size / 100, "trade": clock} if action == "trade" else {"bid": 1.0})
                )
                tape.send(clock, volume=total)
            if number == cut_at:
                restored = Engine.restore(tape.engine.snapshot())
                assert restored is not None
                tape.engine = restored
        end = datetime.fromtimestamp(at_us / 1e6 + 2, EXCHANGE).time().isoformat("milliseconds")
        tape.heartbeat(end)
        return tape.rows, total

    whole, total = play(None)
    cut_rows, _total = play(cut % len(actions))
    assert whole == cut_rows
    unseen = {gap.start_us: gap.volume or 0 for gap in whole.gaps}
    assert sum(row.volume or 0 for row in whole.equity) + sum(unseen.values()) == total
    assert all(row.volume is None or row.volume >= 0 for row in whole.equity)
