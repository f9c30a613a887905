"""The truth against values worked out by hand."""

from __future__ import annotations

from datetime import date, time

from alphakite.model import Candle
from alphakite.sessions import session_on
from alphakite.simulator.level_one import LevelOne
from alphakite.simulator.programme import Programme
from alphakite.simulator.tape import Prints, Quotes, SymbolTape
from alphakite.simulator.truth import Truth, compute_truth
from alphakite.simulator.wire import chart_item, heartbeat, response

SESSION = session_on(date(2013, 10, 8))
assert SESSION is not None
OPEN_MS = SESSION.regular_open_us // 1000
YESTERDAY = session_on(date(2013, 10, 7))
assert YESTERDAY is not None
DOLLAR = 100_000_000


def history(*closes: int) -> list[Candle]:
    """Yesterday's last minutes, and one after the close that must not count."""
    assert YESTERDAY is not None
    first_us = YESTERDAY.regular_close_us - len(closes) * 60_000_000
    candles = [
        Candle(first_us + place * 60_000_000, close * DOLLAR, close * DOLLAR, close * DOLLAR, close * DOLLAR, 10)
        for place, close in enumerate(closes)
    ]
    late = 999 * DOLLAR
    return [*candles, Candle(YESTERDAY.regular_close_us, late, late, late, late, 10)]


def truth_of(prints: Prints, past: list[Candle], start_ms: int | None = None, quotes: Quotes | None = None) -> Truth:
    assert SESSION is not None
    begin_ms = SESSION.extended_open_us // 1000
    tape = SymbolTape("SPY", prints, quotes, past)
    end_ms = SESSION.extended_close_us // 1000
    return compute_truth(Programme(SESSION, start_ms or begin_ms, end_ms, 0, {"SPY": tape}))


def test_sma9_and_vwap() -> None:
    """Eight closes carried over and the forming bar; nine while the minute has not traded; vwap by changes."""
    prints, quotes = Prints(), Quotes()
    prints.add(OPEN_MS + 100, 19 * DOLLAR, 100)
    prints.add(OPEN_MS + 900, 20 * DOLLAR, 100)
    prints.add(OPEN_MS + 59_000, 30 * DOLLAR, 200)
    quotes.add(OPEN_MS + 61_999, 1, 1, 1, 1)
    truth = truth_of(prints, history(1, 2, 3, 4, 5, 6, 7, 8, 9), quotes=quotes)
    reset, first, second, quoted = truth.seconds
    assert (reset.volume, reset.price, reset.sma9) == (0, None, None)
    # Two prints of one second count at the last price; (2+...+9+20)/9 = 64/9.
    assert (first.price, first.volume, first.day_volume) == (20 * DOLLAR, 200, 200)
    assert (first.sma9, first.vwap) == (7_111_111, 20_000_000)
    assert (second.sma9, second.vwap) == (8_222_222, 25_000_000)
    # 09:31 has a quote but no trade: the nine completed bars, 2 to 9 and 30.
    assert (quoted.sma9, quoted.vwap, quoted.volume) == (8_222_222, 25_000_000, 0)
    (minute,) = truth.minutes
    assert (minute.open, minute.high, minute.low, minute.close) == (20 * DOLLAR, 30 * DOLLAR, 20 * DOLLAR, 30 * DOLLAR)
    assert (minute.volume, minute.sma9, minute.vwap) == (400, 8_222_222, 25_000_000)
    (day,) = truth.days
    assert (day.open, day.high, day.rows, day.volume, day.vwap) == (19 * DOLLAR, 30 * DOLLAR, 4, 400, 25_000_000)


def test_too_few_bars_is_no_mean() -> None:
    """Seven closes and a forming bar are eight: NULL."""
    prints = Prints()
    prints.add(OPEN_MS, DOLLAR, 1)
    assert truth_of(prints, history(1, 2, 3, 4, 5, 6, 7)).seconds[-1].sma9 is None


def test_late_start_is_seeded() -> None:
    """vwap begins with typical price × volume of the minutes before the start, sma9 with their closes."""
    prints = Prints()
    for offset, price in ((0, 9), (1000, 12), (2000, 11)):
        prints.add(OPEN_MS + offset, price * DOLLAR, 10)
    prints.add(OPEN_MS + 60_500, 13 * DOLLAR, 30)
    truth = truth_of(prints, history(1, 1, 1, 1, 1, 1, 1), OPEN_MS + 60_000)
    (row,) = truth.seconds
    # (12 + 9 + 11) / 3 × 30 = 320; (320 + 13 × 30) / 60.
    assert row.vwap == 11_833_333
    assert row.sma9 == round((7 * 1 + 11 + 13) / 9 * 1_000_000)
    assert (row.volume, row.day_volume) == (30, 60)


def test_level_one_without_news_sends_nothing() -> None:
    """A second without an event changes nothing; equal values are skipped, a quote line's times are not."""
    assert SESSION is not None
    prints, quotes = Prints(), Quotes()
    prints.add(OPEN_MS, 10 * DOLLAR, 5)
    for second in (1, 2):
        quotes.add(OPEN_MS + second * 1000 + 999, 9 * DOLLAR, 100, 10 * DOLLAR, 200)
    state = LevelOne(SymbolTape("SPY", prints, quotes), SESSION)
    wanted = frozenset({1, 2, 3, 4, 5, 8, 34, 37, 38})
    assert state.play(OPEN_MS + 1000) and not state.play(OPEN_MS + 1000)
    state.play(OPEN_MS + 2000)
    bid_ask = f'"1":9,"2":10,"4":100,"5":200,"34":{OPEN_MS + 1999},"37":{OPEN_MS + 1999},"38":{OPEN_MS + 1999}'
    assert state.delta(wanted) == f'{{"key":"SPY",{bid_ask}}}'
    state.play(OPEN_MS + 3000)
    assert state.delta(wanted) == f'{{"key":"SPY","34":{OPEN_MS + 2999},"37":{OPEN_MS + 2999},"38":{OPEN_MS + 2999}}}'
    assert state.delta(frozenset({3, 8})) == ""


def test_wire_bytes() -> None:
    """Frames as in the captures."""
    assert heartbeat(1795446904127) == '{"notify":[{"heartbeat":"1795446904127"}]}'
    assert response("ADMIN", "LOGIN", "1", "0a1b", 1795446904102, 0, "server=s0123abc-4;status=NP") == (
        '{"response":[{"service":"ADMIN","command":"LOGIN","requestid":"1","SchwabClientCorrelId":"0a1b",'
        '"timestamp":1795446904102,"content":{"code":0,"msg":"server=s0123abc-4;status=NP"}}]}'
    )
    candle = Candle(1795446840000000, 60402000000, 60431000000, 60398000000, 60412000000, 182340)
    minute = (1795446840 - 1795435200) // 60
    assert chart_item("QQQ", candle, 0, frozenset(range(9))) == (
        f'{{"seq":0,"key":"QQQ","1":{minute},"2":604.02,"3":604.31,"4":603.98,"5":604.12,"6":182340.0,'
        '"7":1795446840000,"8":20780}'
    )


def test_session_times_are_those_of_the_exchange() -> None:
    """The constants above are what they say."""
    assert SESSION is not None
    assert time(9, 30) == time.fromisoformat("09:30") and OPEN_MS == 1_381_239_000_000
