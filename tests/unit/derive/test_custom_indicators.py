"""Custom indicators: the shipped ones equal TA-Lib, the host feeds them right and outlives what they do."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from math import sqrt
from pathlib import Path

import msgspec
import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from alphakite.derive.engine import Engine
from alphakite.derive.indicators import Indicator, MinuteBar, pinned, problems, resolve, search_in
from alphakite.derive.indicators.found import SHIPPED, load
from alphakite.derive.indicators.rounding import LIMIT, units
from alphakite.derive.moment import DeriveSettings
from alphakite.derive.rows import Rows
from alphakite.errors import ConfigError
from alphakite.model import PRICE_SCALE, Candle, EquityUpdate, Flag, IndicatorValueRow
from alphakite.sessions import EXCHANGE

DAY, DAY_BEFORE = date(2026, 11, 20), date(2026, 11, 19)
Bars = list[MinuteBar]


def golden() -> Bars:
    """The tape of reference §2.9: sixty bars."""
    state = 12345

    def draw(modulus: int) -> int:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return (state >> 8) % modulus

    found, opening = [], 61000
    for minute in range(60):
        close = opening + draw(41) - 20
        high = max(opening, close) + draw(11)
        low = min(opening, close) - draw(11)
        volume = 1000 + draw(9000)
        found.append(MinuteBar(minute, opening / 100, high / 100, low / 100, close / 100, volume, minute * 60_000_000))
        opening = close + draw(5) - 2
    return found


def walk(seed: int, count: int = 2000) -> Bars:
    chance = random.Random(seed)
    found, price = [], 60_000
    for minute in range(count):
        opening = price
        price = max(100, price + chance.randint(-30, 30))
        high, low = max(opening, price) + chance.randint(0, 9), min(opening, price) - chance.randint(0, 9)
        volume = chance.randint(0, 5000)
        bar = MinuteBar(minute % 390, opening / 100, high / 100, low / 100, price / 100, volume, minute * 60_000_000)
        found.append(bar)
    return found


def values(name: str, bars: Bars) -> list[tuple[float | None, ...]]:
    """After each bar, through the state's bytes as the host does it."""
    loaded = load(name)
    assert not loaded.problem
    found, state = [], b""
    for bar in bars:
        indicator = loaded.thaw(state)
        indicator.bar(bar)
        state = msgspec.msgpack.encode(indicator)
        value = indicator.value()
        found.append(value if isinstance(value, tuple) else (value,) * len(loaded.definitions))
    return found  # type: ignore[return-value]


Talib = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
JUDGES: dict[str, Talib] = {
    "ema9": lambda high, low, close: (talib.EMA(close, 9),),
    "ema21": lambda high, low, close: (talib.EMA(close, 21),),
    "rsi": lambda high, low, close: (talib.RSI(close, 14),),
    "rsi_2": lambda high, low, close: (talib.RSI(close, 2),),
    "macd": lambda high, low, close: talib.MACD(close, 12, 26, 9),
    "macd_3_10_5": lambda high, low, close: talib.MACD(close, 3, 10, 5),
    "bollinger": lambda high, low, close: talib.BBANDS(close, 20, 2, 2),
    "bollinger_5_1": lambda high, low, close: talib.BBANDS(close, 5, 1, 1),
    "atr": lambda high, low, close: (talib.ATR(high, low, close, 14),),
    "atr5": lambda high, low, close: (talib.ATR(high, low, close, 5),),
}


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("bars", [golden(), walk(1), walk(2)], ids=["golden", "walk 1", "walk 2"])
def test_equal_to_talib(name: str, bars: Bars) -> None:
    """From the first valid index on, which is the same, to 1e-9."""
    high, low, close = (np.array([getattr(bar, one) for bar in bars]) for one in ("high", "low", "close"))
    theirs = np.column_stack(JUDGES[name](high, low, close))
    ours = values(name, bars)
    for at, (mine, wanted) in enumerate(zip(ours, theirs, strict=True)):
        assert [one is None for one in mine] == list(np.isnan(wanted)), f"{name} begins at another bar: {at}"
        for one, other in zip(mine, wanted, strict=True):
            assert one is None or abs(one - other) < 1e-9, f"{name} at {at}: {one} {other}"


def test_golden_values() -> None:
    """The numbers that the reference prints (§2.9)."""
    bars = golden()
    assert (bars[0].close, bars[59].volume) == (610.06, 5136)
    assert round(sum(bar.close for bar in bars), 2) == 36638.35
    for name, at, wanted in (
        ("ema9", 59, (611.19129964,)),
        ("ema21", 20, (610.43952381,)),
        ("rsi14", 20, (79.87723155,)),
        ("macd", 33, (0.11026395, 0.16883475, -0.05857080)),
        ("bollinger", 40, (611.06552870, 610.6125, 610.15947130)),
        ("atr14", 59, (0.20047476,)),
    ):
        assert values(name, bars)[at] == pytest.approx(wanted, abs=5e-9)
    assert values("vwap_bands", bars)[59][1] == pytest.approx(610.62860015, abs=5e-9)


@pytest.mark.parametrize("bars", [golden(), walk(3, 390)], ids=["golden", "walk"])
def test_vwap_bands_equal_a_script(bars: Bars) -> None:
    """Exact fractions of what the definition says."""
    for at, value in enumerate(values("vwap_bands_3", bars)):
        seen = [(Fraction(bar.high) + Fraction(bar.low) + Fraction(bar.close), bar.volume) for bar in bars[: at + 1]]
        volume = sum(one for _, one in seen)
        if volume == 0:
            assert value == (None,) * 3
            continue
        mean = sum(price * one for price, one in seen) / 3 / volume
        sigma = sqrt(sum(one * (price / 3 - mean) ** 2 for price, one in seen) / volume)
        assert value == pytest.approx((float(mean) + 3 * sigma, float(mean), float(mean) - 3 * sigma), abs=1e-9)


def test_opening_range_equals_a_script() -> None:
    """High and low of the first minutes, so far while they last, then standing."""
    bars = walk(4, 390)
    for at, value in enumerate(values("opening_range_15", bars)):
        first = bars[: min(at + 1, 15)]
        assert value == (max(bar.high for bar in first), min(bar.low for bar in first))
    assert values("opening_range_15", bars[20:])[-1] == (None, None), "its minutes are not known"


def test_nothing_moves() -> None:
    """A constant price that no double holds exactly: bands of no width, no RSI, no NaN."""
    bars = [MinuteBar(at, 6000.1, 6000.1, 6000.1, 6000.1, 10, 0) for at in range(1000)]
    assert [units(one) for one in values("bollinger", bars)[-1]] == [6_000_100_000] * 3  # type: ignore[arg-type]
    assert [units(one) for one in values("vwap_bands", bars)[-1]] == [6_000_100_000] * 3  # type: ignore[arg-type]
    assert values("rsi", bars)[-1] == (None,)
    assert units(values("macd", bars)[-1][2]) == 0
    assert values("atr", bars)[-1] == (0.0,)


# ── rounding ────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.floats(-1e11, 1e11) | st.decimals(-(10**9), 10**9, places=9) | st.fractions() | st.integers(-(10**9), 10**9))
def test_rounded_once_half_to_even(value: float | Decimal | Fraction) -> None:
    """The nearest millionth of the exact value."""
    exact = Fraction(value)
    if abs(exact) < LIMIT:
        scaled = exact * 10**6
        assert units(value) == round(scaled)  # Fraction rounds half to even
        if isinstance(value, Decimal):
            assert units(value) == int(value.quantize(Decimal("1e-6"), ROUND_HALF_EVEN).scaleb(6))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -float("inf"), Decimal("NaN"), 1e300, 10**12])
def test_no_number_no_value(value: float | Decimal | None) -> None:
    """Not finite, or what no price can be: NULL."""
    assert units(value) is None


@pytest.mark.parametrize("value", ["1.0", True, [1.0], b"1"])
def test_a_wrong_type_is_told(value: object) -> None:
    """It is a fault of the class, not a missing value."""
    with pytest.raises(TypeError, match="number"):
        units(value)  # type: ignore[arg-type]


# ── found by name ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules are found, and forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    search_in([str(tmp_path)])
    yield tmp_path
    forget(tmp_path)


def forget(folder: Path) -> None:
    """As a new process: nothing is loaded."""
    for name, module in [*sys.modules.items()]:
        if getattr(module, "__file__", None) and Path(str(module.__file__)).parent == folder:
            del sys.modules[name]
    load.cache_clear()


HEAD = "from alphakite.derive.indicators import Indicator\n\n"
LAST = """
class Last(Indicator):
    close: float | None = None

    def bar(self, bar):
        self.close = bar.close

    def value(self):
        return self.close
"""


def write(folder: Path, body: str, name: str = "mine") -> None:
    (folder / f"{name}.py").write_text(HEAD + body)
    forget(folder)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_one_is_found(name: str) -> None:
    """By its short name, with its parameters in the definition."""
    (found,) = resolve(["sma9", name, "vwap"])
    assert found.name == name
    assert [one.output for one in found.definitions]
    numbers = msgspec.json.decode(found.definitions[0].parameters)
    assert list(numbers) and all(isinstance(one, int) for one in numbers.values())


def test_numbers_are_parameters() -> None:
    """In order; another number is another definition, the same numbers are the same."""
    for name in ("ema21", "ema_21"):
        assert msgspec.json.decode(load(name).definitions[0].parameters) == {"length": 21}
    assert msgspec.json.decode(load("macd_5_35").definitions[0].parameters) == {"fast": 5, "slow": 35, "signal": 9}
    assert load("ema21").digest != load("ema20").digest
    assert load("ema21").digest == load("ema21").digest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ema_0", "at least 1"),
        ("ema_1_2", "length"),
        ("bbands", "no such indicator"),
        ("no_such_module:X", "ModuleNotFoundError"),
        ("json:JSONDecoder", "JSONDecoder"),
        ("mine:Missing", "Missing"),
        ("broken:X", "SyntaxError"),
        ("leaving:X", "SystemExit"),
        ("mine:Empty", "bar and value"),
        ("mine:Twice", "different"),
        ("mine:Needs", "TypeError"),
        ("odd:X", "ValueError: odd"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, name: str, words: str) -> None:
    """A ConfigError that names the indicator and the next step."""
    (folder / "broken.py").write_text("class X(:\n")
    (folder / "leaving.py").write_text("raise SystemExit(3)\n")
    (folder / "odd.py").write_text("raise ValueError('odd')\n")
    write(
        folder,
        LAST + "class Empty(Indicator):\n    pass\n\n\nclass Twice(Last):\n    outputs = ('a', 'a')\n\n\n"
        "class Needs(Last, kw_only=True):\n    length: int\n",
    )
    with pytest.raises(ConfigError, match=words) as caught:
        resolve(["sma9", name])
    assert name in str(caught.value)
    assert "MODULE:CLASS" in caught.value.next_step
    assert len(problems([name])) == 1


def test_a_changed_file_is_another_definition(folder: Path) -> None:
    """However small the change; and the pinned name of before is then a problem."""
    write(folder, LAST)
    (before,) = resolve(["mine:Last"])
    (pin,) = pinned(["mine:Last"])
    assert pinned(["sma9", "vwap"]) == ("sma9", "vwap")
    assert load(pin).digest == before.digest
    write(folder, LAST + "# changed")
    assert load("mine:Last").digest != before.digest
    assert "changed" in load(pin).problem
    write(folder, LAST)
    assert not load(pin).problem


def test_a_changed_base_is_another_definition(folder: Path) -> None:
    """A class of another file that it builds on belongs to it."""
    write(folder, LAST)
    (folder / "child.py").write_text("from mine import Last\n\n\nclass Child(Last):\n    pass\n")
    before = load("child:Child").digest
    assert before
    write(folder, LAST + "# changed")
    assert load("child:Child").digest != before


def test_parameters_of_a_subclass_are_its_own(folder: Path) -> None:
    """As the guide does it: a number that a name cannot carry."""
    (folder / "wide.py").write_text(
        "from alphakite.derive.indicators.bollinger import Bollinger\n\n\nclass Wide(Bollinger):\n"
        "    deviations = 2.5\n"
    )
    (wide,) = resolve(["wide:Wide"])
    assert msgspec.json.decode(wide.definitions[0].parameters) == {"deviations": 2.5, "length": 20}
    upper, middle, lower = values("wide:Wide", walk(6, 30))[-1]
    assert upper is not None and middle is not None and lower is not None
    narrow = values("bollinger_20_2", walk(6, 30))[-1][0]
    assert narrow is not None and (upper - middle) / (narrow - middle) == pytest.approx(1.25)


# ── hosted ──────────────────────────────────────────────────────────────────────────────────────────────────


def us(clock: str, day: date = DAY) -> int:
    """Exchange wall time in µs UTC."""
    return int(datetime.combine(day, time.fromisoformat(clock), EXCHANGE).timestamp() * 1000) * 1000


class Tape:
    """Feeds an engine as the recorder does, and keeps what it makes; `restarts`: through a checkpoint each time."""

    def __init__(self, *indicators: str, restarts: bool = False) -> None:
        self.engine = Engine(7)
        self.made = Rows()
        self.restarts = restarts
        self.seq = 0
        self.conn = 1
        self.traded = 0
        self.configure("03:00:00", *indicators)
        self.send("03:00:00.000", 590.0, volume=0)
        self.send("07:28:00.000", 590.0, volume=0)

    def configure(self, clock: str, *indicators: str, day: date = DAY) -> None:
        self.engine.configure(us(clock, day), DeriveSettings(("QQQ",), indicators=("sma9", "vwap", *indicators)))
        self.done()

    def send(self, clock: str, last: float, *, volume: int | None = None, day: date = DAY) -> None:
        """A trade of 100."""
        self.traded = self.traded + 100 if volume is None else volume
        update = EquityUpdate("QQQ", last=last, volume=self.traded, trade_time_ms=us(clock, day) // 1000)
        self.engine.frame(self.seq + 1, us(clock, day), self.conn, [update], 0)
        self.done()

    def down(self, clock: str) -> None:
        self.engine.lost(us(clock), "socket_down")
        self.conn += 1
        self.done()

    def done(self) -> None:
        self.seq += 1
        self.engine.done(self.seq)
        rows = self.engine.take()
        for name in rows.__struct_fields__:
            getattr(self.made, name).extend(getattr(rows, name))
        if self.restarts:
            restored = Engine.restore(self.engine.snapshot())
            assert restored is not None
            self.engine = restored

    def minutes(self, count: int, first: int = 0, seed: int = 5) -> list[float]:
        """Four trades a minute from 09:30 on; the minutes' closes."""
        chance = random.Random(seed)
        closes = []
        for minute in range(first, first + count):
            at = us("09:30:00") // 1_000_000 + 60 * minute
            for second in (3, 20, 41, 59):
                closing = 600 + chance.randint(-200, 200) / 100
                wall = datetime.fromtimestamp(at + second, EXCHANGE)
                self.send(f"{wall:%H:%M:%S}.500", closing)
            closes.append(closing)
        return closes

    def values(self, name: str = "", output: str = "value") -> list[IndicatorValueRow]:
        return [
            row for row in self.made.values if row.definition.output == output and name in ("", row.definition.name)
        ]

    def last_of_minute(self, name: str, output: str = "value") -> list[int | None]:
        """As the minute's last row has it."""
        found = {row.timestamp_us // 60_000_000: row.value for row in self.values(name, output)}
        return list(found.values())


def test_beside_each_row_of_regular_hours() -> None:
    """The same keys as `indicators`, every output; in the minute's last row what TA-Lib says of the closes so far."""
    tape = Tape("ema9", "macd_3_6_4")
    closes = np.array(tape.minutes(40))
    tape.send("10:20:00.000", 600.0)
    ours = tape.last_of_minute("ema9")
    for mine, wanted in zip(ours, talib.EMA(closes, 9), strict=True):
        assert mine is None if np.isnan(wanted) else mine == units(float(wanted))
    for output, theirs in zip(("line", "signal", "histogram"), talib.MACD(closes, 3, 6, 4), strict=True):
        mine_last = tape.last_of_minute("macd_3_6_4", output)[-1]
        assert mine_last is not None and abs(mine_last - float(theirs[-1]) * 1e6) <= 1
    regular = [row.timestamp_us for row in tape.made.indicators if row.timestamp_us >= us("09:30:00")]
    assert [row.timestamp_us for row in tape.values("ema9")] == regular
    assert {row.flags for row in tape.made.values} == {0}


def test_the_minute_in_progress_is_never_kept(folder: Path) -> None:
    """`live`: each row is as if its minute ended now; else the value stands until the next minute is complete."""
    write(folder, LAST + "\n\nclass Settled(Last):\n    live = False\n")
    tape = Tape("mine:Last", "mine:Settled")
    closes = tape.minutes(3)
    tape.send("09:33:10.000", 610.0)
    tape.send("09:34:10.000", 611.0)
    prices = [row.price // 100 for row in tape.made.equity if row.timestamp_us >= us("09:30:00") and row.price]
    assert [row.value for row in tape.values("mine:Last")] == prices
    settled = [None] * 4 + [units(one) for one in closes for _ in range(4)]
    assert [row.value for row in tape.values("mine:Settled")] == settled[:13]


def test_checkpoints_change_no_bit(folder: Path) -> None:
    """Through a snapshot after each record, the shipped ones and one of a person's own: the same rows."""
    write(folder, LAST)
    names = (*SHIPPED, "mine:Last")
    made = []
    for restarts in (False, True):
        tape = Tape(*names, restarts=restarts)
        tape.minutes(20)
        tape.down("09:50:05")
        tape.send("09:52:00.000", 601.0)
        tape.minutes(20, first=23)
        made.append(msgspec.json.encode(tape.made))
    assert made[0] == made[1]
    assert len(made[0]) > 100_000


def candles(clock: str, count: int, day: date, seed: int = 9) -> list[Candle]:
    chance = random.Random(seed)
    found = []
    for minute in range(count):
        price = (60_000 + chance.randint(-200, 200)) * PRICE_SCALE // 100
        found.append(Candle(us(clock, day) + minute * 60_000_000, price, price, price, price, 100))
    return found


def test_price_history_seeds() -> None:
    """All candles before the first own bar, not only nine; the session says so by a flag."""
    tape = Tape("ema30")
    history = candles("15:20:00", 40, DAY_BEFORE)
    tape.engine.history(us("08:00:00"), "QQQ", history)
    tape.done()
    closes = tape.minutes(3)
    tape.send("09:40:00.000", 600.0)
    everything = np.array([one.close / PRICE_SCALE for one in history] + closes)
    assert tape.last_of_minute("ema30") == [units(float(one)) for one in talib.EMA(everything, 30)[40:]]
    assert {row.flags for row in tape.made.values} == {Flag.CUSTOM_SEEDED}
    assert tape.made.indicators[-1].sma9 is not None


def test_a_gap_marks_the_rest_of_the_session() -> None:
    """It goes on with the bars it gets."""
    tape = Tape("ema_2")
    tape.minutes(5)
    tape.down("09:35:10")
    tape.send("09:40:30.000", 601.0)
    tape.minutes(2, first=12)
    tape.send("09:45:00.000", 602.0)
    flagged = {row.timestamp_us: row.flags for row in tape.made.values}
    lost_us = us("09:34:59")  # the second of the last record before it is not whole
    assert {flags for at, flags in flagged.items() if at < lost_us} == {0}
    assert {flags for at, flags in flagged.items() if at >= lost_us} == {Flag.CUSTOM_GAP}
    assert tape.made.values[-1].value is not None


def test_a_session_begins_anew() -> None:
    """`session` is told before the first row of the day; flags of the day before are gone."""
    tape = Tape("opening_range_5", "ema_2")
    tape.minutes(8)
    tape.down("09:40:00")
    tape.send("09:45:00.000", 601.0)
    tape.send("09:46:00.000", 601.0)
    monday = date(2026, 11, 23)
    tape.send("03:00:00.000", 601.0, day=monday)
    tape.send("07:28:00.000", 601.0, volume=0, day=monday)
    tape.send("09:30:01.000", 655.0, day=monday)
    tape.send("09:30:05.000", 654.0, day=monday)
    tape.send("09:30:09.000", 654.0, day=monday)
    newest = {row.definition.output: row for row in tape.made.values[-3:]}
    assert (newest["high"].value, newest["low"].value) == (655_000_000, 654_000_000)
    assert newest["value"].value is not None, "carried over"
    assert {row.flags for row in newest.values()} == {0}


def test_added_and_removed_while_a_journal_goes_on() -> None:
    """A new one begins with the bars to come, one that stays goes on; of one that left there are no more rows."""
    tape = Tape("ema_2")
    closes = tape.minutes(3)
    tape.configure("09:33:00", "ema_2", "ema_3")
    closes += tape.minutes(4, first=4)
    tape.send("09:38:30.000", closes[-1])
    tape.send("09:38:31.000", closes[-1])
    tape.configure("09:38:31.500", "ema_3")
    tape.minutes(1, first=9)
    tape.send("09:45:00.000", 600.0)
    assert tape.last_of_minute("ema_2")[-2] == units(float(talib.EMA(np.array(closes), 2)[-1]))
    assert len(tape.values("ema_2")) == 29, "the second that was not over then has none any more"
    minutes = tape.last_of_minute("ema_3")
    assert minutes[:3] == [None, None, units(sum(closes[2:5]) / 3)]


def test_under_tick_each_update_has_its_values() -> None:
    """With the key of its row."""
    tape = Tape()
    settings = DeriveSettings(("QQQ",), resolution="tick", indicators=("sma9", "vwap", "opening_range"))
    tape.engine.configure(us("07:30:00"), settings)
    tape.minutes(2)
    regular = [row for row in tape.made.indicators if row.timestamp_us >= us("09:30:00")]
    keys = [(row.timestamp_us, row.journal_no, row.seq, row.item) for row in regular]
    assert len(keys) == 8
    assert [(row.timestamp_us, row.journal_no, row.seq, row.item) for row in tape.values("", "high")] == keys


def test_built_in_ones_may_be_left_out() -> None:
    """Their columns are then NULL."""
    tape = Tape()
    tape.engine.configure(us("03:00:01"), DeriveSettings(("QQQ",), indicators=("vwap",)))
    tape.minutes(10)
    assert {row.sma9 for row in tape.made.indicators} == {None}
    assert tape.made.indicators[-1].vwap is not None
    assert tape.made.values == []


def test_an_old_journal_has_both_built_in_ones() -> None:
    """Its settings have no `indicators`."""
    assert msgspec.convert({"tickers": ["QQQ"]}, DeriveSettings).indicators == ("sma9", "vwap")


# ── faulty ──────────────────────────────────────────────────────────────────────────────────────────────────

FAULTS = {
    "raises": "class X(Last):\n    def value(self):\n        return 1 / 0\n",
    "raises_in_bar": "class X(Last):\n    def bar(self, bar):\n        raise KeyError('no')\n",
    "raises_in_session": "class X(Last):\n    def session(self):\n        raise OSError('no')\n"
    "    def value(self):\n        return None\n",
    "leaves": "class X(Last):\n    def value(self):\n        raise SystemExit(1)\n",
    "wrong_type": "class X(Last):\n    def value(self):\n        return '1'\n",
    "too_many": "class X(Last):\n    def value(self):\n        return 1, 2\n",
    "wrong_state": "class X(Last):\n    def bar(self, bar):\n        self.close = 'text'\n"
    "    def value(self):\n        return None\n",
    "endless": "class X(Last):\n    def value(self):\n        return self.value()\n",
    "unannotated": "class X(Last):\n    seen = 0\n    def bar(self, bar):\n        self.seen += 1\n"
    "    def value(self):\n        return self.close\n",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("restarts", [False, True], ids=["", "with checkpoints"])
def test_a_fault_costs_the_value(folder: Path, fault: str, restarts: bool) -> None:
    """NULL and a flag, one event that says why; the quote, the built-in values and the other indicators stay."""
    write(folder, LAST + "\n\n" + FAULTS[fault])
    clean, faulty = Tape("mine:Last"), Tape("mine:X", "mine:Last", restarts=restarts)
    for tape in (clean, faulty):
        tape.minutes(4)
        tape.send("09:40:00.000", 600.0)
    assert faulty.made.equity == clean.made.equity
    assert faulty.made.indicators == clean.made.indicators
    assert faulty.values("mine:Last") == clean.values("mine:Last")
    assert {row.value for row in faulty.values("mine:X")} == {None}
    assert faulty.values("mine:X")[-1].flags == Flag.CUSTOM_FAULT
    (event,) = faulty.made.events
    assert (event.kind, event.ticker, event.item) == ("indicator_fault", "QQQ", 0)
    assert event.detail.startswith("mine:X: ")
    assert "Error" in event.detail or "SystemExit" in event.detail


def test_it_goes_on_after_a_fault(folder: Path) -> None:
    """The bar it failed on is missing, the next ones count; the flag stays for the session, the event is one."""
    write(
        folder,
        "class X(Indicator):\n    seen: int = 0\n\n    def bar(self, bar):\n        self.seen += 1\n"
        "        if bar.minute in (2, 4):\n            raise ValueError(bar.minute)\n\n"
        "    def value(self):\n        return self.seen\n",
    )
    tape = Tape("mine:X")
    tape.minutes(7)
    tape.send("09:40:00.000", 600.0)
    assert tape.last_of_minute("mine:X") == [1_000_000, 2_000_000, None, 3_000_000, None, 4_000_000, 5_000_000]
    assert [row.flags for row in tape.values("mine:X")] == [0] * 8 + [Flag.CUSTOM_FAULT] * 20
    assert [event.detail for event in tape.made.events] == ["mine:X: ValueError: 2"]


def test_nan_is_no_value_and_no_fault(folder: Path) -> None:
    """Not finite: NULL."""
    write(folder, LAST + "\n\nclass X(Last):\n    def value(self):\n        return float('nan')\n")
    tape = Tape("mine:X")
    tape.minutes(2)
    assert {(row.value, row.flags) for row in tape.made.values} == {(None, 0)}
    assert tape.made.events == []


def test_an_old_journal_names_what_is_gone(folder: Path) -> None:
    """No rows of it, one event a session; a changed one likewise. All else is derived as ever."""
    write(folder, LAST)
    (pin,) = pinned(["mine:Last"])
    write(folder, LAST + "# changed")
    tape = Tape("gone:X", pin, "ema_2")
    tape.minutes(3)
    assert {row.definition.name for row in tape.made.values} == {"ema_2"}
    assert sorted(event.detail.partition(" ")[0] for event in tape.made.events) == ["gone:X:", "mine:Last:"]


@pytest.mark.parametrize("restarts", [False, True], ids=["", "with checkpoints"])
def test_a_checkpoint_outlives_a_changed_class(folder: Path, restarts: bool) -> None:
    """The quotes go on from it; the class's state is of no use, and it begins anew with the CONFIG that names it."""
    write(folder, LAST)
    (before,) = pinned(["mine:Last"])
    tape = Tape(before, "ema_2", restarts=restarts)
    tape.minutes(3)
    snapshot = tape.engine.snapshot()
    write(
        folder,
        "class Last(Indicator):\n    bars: list[str] = []\n\n    def bar(self, bar):\n"
        "        self.bars.append('x')\n\n    def value(self):\n        return len(self.bars)\n",
    )
    restored = Engine.restore(snapshot)
    assert restored is not None
    tape.engine = restored
    tape.send("09:33:05.000", 600.0)
    (after,) = pinned(["mine:Last"])
    tape.configure("09:33:06", after, "ema_2")
    tape.minutes(3, first=4)
    tape.send("09:40:00.000", 600.0)
    assert tape.last_of_minute("mine:Last")[-4:] == [1_000_000, 2_000_000, 3_000_000, 4_000_000]
    assert len(tape.last_of_minute("ema_2")) == 7
    digests = [row.definition.digest for row in tape.values("mine:Last")]
    assert len(set(digests[:11])) == len(set(digests[11:])) == 1, "11 rows were derived before the change"
    assert digests[0] != digests[-1]


def test_a_class_that_keeps_its_name_but_not_its_bars(folder: Path) -> None:
    """Two tickers have two states."""
    write(folder, LAST)
    tape = Tape("mine:Last")
    tape.engine.configure(us("07:30:00"), DeriveSettings(("QQQ", "SPY"), indicators=("mine:Last",)))
    for clock, key, last in (("09:30:00", "SPY", 400.0), ("09:30:01", "SPY", 401.0), ("09:30:02", "QQQ", 600.0)):
        tape.engine.frame(0, us(clock), 1, [EquityUpdate(key, last=last, trade_time_ms=us(clock) // 1000)], 0)
    tape.engine.frame(0, us("09:30:05"), 1, [], 0)
    rows = tape.engine.take().values
    assert {(row.ticker, row.value) for row in rows} == {("SPY", 401_000_000), ("QQQ", 600_000_000)}


def test_the_class_is_a_struct() -> None:
    """What is annotated is state; the rest belongs to the class."""
    assert Indicator.__struct_fields__ == ()
    assert load("ema21").thaw(b"").__struct_fields__ == ("seen", "total", "ema")
