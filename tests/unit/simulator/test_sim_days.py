"""Several sessions one after the other, and the characters of synthetic symbols."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from alphakite.errors import UsageError
from alphakite.sessions import EXCHANGE, exchange_date, session_on
from alphakite.simulator.market import Market
from alphakite.simulator.options import SimulatorOptions, TapeFile
from alphakite.simulator.programme import Programme, make_programme
from alphakite.simulator.synthetic import synthetic_tape
from alphakite.simulator.tape import SymbolTape, candles_of
from alphakite.simulator.truth import Truth, compute_truth

WEDNESDAY = date(2026, 11, 25)
"""Then Thanksgiving, a half-day, a weekend."""
ALL = frozenset(range(52))


def ms(day: str, wall: str) -> int:
    return int(datetime.combine(date.fromisoformat(day), time.fromisoformat(wall), EXCHANGE).timestamp() * 1000)


def programme_of(*symbols: str, **options: Any) -> Programme:
    return make_programme(SimulatorOptions(symbols=symbols, **{"session": WEDNESDAY, "days": 3, **options}))


def play(programme: Programme) -> list[tuple[int, dict[str, Any]]]:
    """(stamp, item) of every window with something to send, as the player goes."""
    market = Market(programme)
    found = [(programme.start_ms, json.loads(one.image(ALL))) for one in market.symbols.values()]
    while market.position_ms < programme.end_ms:
        end_ms, phase_ms, busy_ms = market.window_end_ms(), programme.phase_ms, market.next_ms()
        if busy_ms >= end_ms:
            end_ms = (busy_ms - phase_ms) // 1000 * 1000 + 1000 + phase_ms
        end_ms = min(end_ms, programme.end_ms)
        market.play(end_ms)
        found += [(end_ms - 1, json.loads(text)) for one in market.moved if (text := one.delta(ALL))]
    return found


def rows_of(frames: list[tuple[int, dict[str, Any]]], symbol: str) -> list[tuple[int, float | None, int]]:
    """(second, price, change of volume) of the frames inside sessions, by definitions alone."""
    rows: list[tuple[int, float | None, int]] = []
    fields: dict[str, Any] = {}
    last_ms = 0
    for stamp_ms, item in frames:
        if item["key"] != symbol:
            continue
        before, image = fields.get("8", 0), not fields
        fields.update(item)
        session = session_on(exchange_date(stamp_ms * 1000))
        assert session is not None
        if last_ms < session.volume_reset_us // 1000 <= stamp_ms:
            before = 0
        last_ms = stamp_ms
        if not image and session.extended_open_us <= stamp_ms * 1000 < session.extended_close_us:
            priced = fields.get("35", 0) >= session.extended_open_us // 1000
            rows.append((stamp_ms // 1000, fields["3"] if priced else None, fields["8"] - before))
    return rows


def test_calendar_between_the_days() -> None:
    """Wednesday, then the half-day Friday, then Monday; the programme is the first day's, its end the last one's."""
    programme = programme_of("QQQ")
    assert programme.session.date == WEDNESDAY
    assert (programme.start_ms, programme.end_ms) == (ms("2026-11-25", "04:00"), ms("2026-11-30", "20:00"))
    days = list(programme.days())
    assert [day.session.date.isoformat() for day in days] == ["2026-11-25", "2026-11-27", "2026-11-30"]
    assert days[1].session.half_day
    assert (days[1].start_ms, days[1].end_ms) == (ms("2026-11-27", "04:00"), ms("2026-11-27", "20:00"))


def test_start_and_end_are_the_first_and_the_last_days() -> None:
    """10:15 of the first session to 09:45 of the last one; between them whole sessions."""
    programme = programme_of("QQQ", start=time(10, 15), end=time(9, 45))
    assert (programme.start_ms, programme.end_ms) == (ms("2026-11-25", "10:15"), ms("2026-11-30", "09:45"))
    with pytest.raises(UsageError, match="--start and --end"):
        programme_of("QQQ", days=1, start=time(10, 15), end=time(9, 45))
    with pytest.raises(UsageError, match="--start and --end"):
        programme_of("QQQ", start=time(20))


def test_tapes_and_days_do_not_go_together(tmp_path: Path) -> None:
    """A tape is one session."""
    path = tmp_path / "trades.csv"
    path.write_text(f"epoch_ms,price,size,sale_condition_hex\n{ms('2026-11-25', '10:00')},1,1,0\n")
    with pytest.raises(UsageError, match="a tape is one session"):
        make_programme(SimulatorOptions(tapes=(TapeFile("trades", path),), days=2))


def test_days_continue_and_are_seeded() -> None:
    """Each day begins where the earlier one closed, is another walk, and the same again for the same seed."""
    first, second, _ = (day.tapes["QQQ"] for day in programme_of("QQQ").days())
    again = [day.tapes["QQQ"] for day in programme_of("QQQ").days()][1]
    assert second.prints == again.prints and second.history == again.history
    assert abs(second.prints.prices[0] - first.prints.prices[-1]) <= 4_000_000
    assert second.prints.prices[:50] != first.prints.prices[:50]
    other = [day.tapes["QQQ"] for day in programme_of("QQQ", seed=2).days()][1]
    assert other.prints.prices != second.prints.prices


def test_the_played_day_becomes_history() -> None:
    """Its minutes from 07:00 on are the newest candles, its last regular close the previous close."""
    programme = programme_of("QQQ", days=2)
    market = Market(programme)
    assert market.session.date == WEDNESDAY
    before = len(market.history["QQQ"])
    market.play(ms("2026-11-25", "19:59:59"))
    today = market.candles("QQQ")[before:]
    market.play(ms("2026-11-25", "20:00"))
    assert market.session.date == date(2026, 11, 27)
    assert market.next_ms() >= ms("2026-11-27", "04:00")
    assert market.history["QQQ"][before:-1] == today
    assert market.last_bar("QQQ") == market.history["QQQ"][-1]
    assert market.bars_between("QQQ", ms("2026-11-25", "19:59:59"), ms("2026-11-25", "20:00")) == [
        market.history["QQQ"][-1]
    ]
    closing = next(c for c in reversed(today) if c.minute_us < ms("2026-11-25", "16:00") * 1000)
    assert market.previous_close["QQQ"] == closing.close
    market.play(ms("2026-11-27", "07:05"))
    assert len(market.candles("QQQ")) == len(market.history["QQQ"]) + 5


def test_history_is_bounded() -> None:
    """Two weeks and more of sessions: candles of the newest twelve only."""
    tape: SymbolTape | None = None
    for day in programme_of("ZZILL", days=16).days():
        tape = day.tapes["ZZILL"]
    assert tape is not None
    assert len({exchange_date(candle.minute_us) for candle in tape.history}) == 12


@pytest.mark.parametrize("align", ["second", "random"])
def test_truth_of_several_days_is_what_the_frames_say(align: str) -> None:
    """Row by row over two nights, a half-day and a weekend: price, change of volume, second."""
    programme = programme_of("QQQ", "ZZILL", start=time(15, 50), end=time(9, 40), align=align, seed=4)
    truth, frames = compute_truth(programme), play(programme)
    for symbol in ("QQQ", "ZZILL"):
        expected = [
            (row.timestamp_s, None if row.price is None else row.price / 1e8, row.volume)
            for row in truth.seconds
            if row.ticker == symbol
        ]
        assert rows_of(frames, symbol) == expected
    assert [(row.ticker, row.session) for row in truth.days] == [
        (symbol, day) for day in ("2026-11-25", "2026-11-27", "2026-11-30") for symbol in ("QQQ", "ZZILL")
    ]


def test_truth_carries_sma9_and_begins_vwap_anew() -> None:
    """In the second day's first regular second sma9 stands on the first day's closes, vwap on that second alone."""
    programme = programme_of("QQQ", days=2, end=time(9, 31))
    truth = compute_truth(programme)
    minutes = [row for row in truth.minutes if row.ticker == "QQQ"]
    first = next(row for row in minutes if row.timestamp_s * 1000 == ms("2026-11-27", "09:30"))
    closes = [row.close for row in minutes[minutes.index(first) - 8 : minutes.index(first)]]
    assert first.sma9 == round(sum([*closes, first.close]) / 9 / 100)
    second = next(row for row in truth.seconds if row.timestamp_s * 1000 == ms("2026-11-27", "09:30"))
    assert second.price is not None and second.vwap == pytest.approx(second.price / 100, abs=1)


def test_volume_goes_on_until_the_reset() -> None:
    """Before 07:28 the cumulative volume is still yesterday's plus the morning's, as Schwab's is."""
    truth = compute_truth(programme_of("QQQ", days=2))
    volumes = {row.timestamp_s * 1000: row.day_volume or 0 for row in truth.seconds}
    evening = max(at for at in volumes if at < ms("2026-11-25", "20:00"))
    morning = min(at for at in volumes if at >= ms("2026-11-27", "04:00"))
    reset = min(at for at in volumes if at >= ms("2026-11-27", "07:28"))
    assert volumes[morning] >= volumes[evening] > 1_000_000
    assert volumes[reset] < 1000


def test_options_roll() -> None:
    """Yesterday's 0DTE is gone, today's is there; a contract once asked for is known until it expires."""
    market = Market(programme_of("QQQ"))
    market.play(ms("2026-11-25", "12:00"))
    today, later = market.chain("QQQ")[100], market.chain("QQQ")[700]
    market.option_texts(today)
    market.option_texts(later)
    market.play(ms("2026-11-27", "12:00"))
    assert market.chain("QQQ")[0].expiry == date(2026, 11, 27)
    assert market.contract(today.symbol) is None
    kept = market.contract(later.symbol)
    assert kept is not None and kept.symbol == later.symbol
    assert market.option_texts(kept)[1][27] == str((later.expiry - date(2026, 11, 27)).days)


# ── characters ──────────────────────────────────────────────────────────────────────────────────────────────────────


def tape_of(symbol: str) -> SymbolTape:
    session = session_on(WEDNESDAY)
    assert session is not None
    return synthetic_tape(symbol, session, 1)


def truth_of(symbol: str) -> Truth:
    return compute_truth(programme_of(symbol, days=1))


def test_a_symbol_that_never_trades() -> None:
    """Quotes only, no history: rows without price, volume 0, no indicators, no bars."""
    assert not tape_of("ZZNEV").prints.times_ms and not tape_of("ZZNEV").history
    truth = truth_of("ZZNEV")
    assert len(truth.seconds) > 10_000 and not truth.minutes
    assert {(row.price, row.volume, row.sma9, row.vwap) for row in truth.seconds} == {(None, 0, None, None)}


def test_a_symbol_that_halts() -> None:
    """Nothing but the two status changes from 11:00 to 11:10; then an auction print."""
    tape = tape_of("ZZHLT")
    begin, end = ms("2026-11-25", "11:00"), ms("2026-11-25", "11:10")
    assert tape.statuses == [(begin, "Halted"), (end, "Normal")]
    assert not [at for at in tape.prints.times_ms if begin <= at < end]
    assert tape.quotes is not None and not [at for at in tape.quotes.times_ms if begin <= at < end]
    auction = tape.prints.times_ms.index(end)
    assert tape.prints.sizes[auction] == 10_000
    inside = [row.timestamp_s * 1000 for row in truth_of("ZZHLT").seconds if begin <= row.timestamp_s * 1000 < end]
    assert inside == [begin]


def test_an_illiquid_symbol() -> None:
    """A print every few minutes, in regular hours only: most minutes have no bar."""
    tape = tape_of("ZZILL")
    gaps = [b - a for a, b in zip(tape.prints.times_ms, tape.prints.times_ms[1:], strict=False)]
    assert 40 < len(tape.prints.times_ms) < 150 and min(gaps) >= 120_000
    assert len(candles_of(tape.prints)) < 150


def test_a_symbol_that_gaps() -> None:
    """No print before 08:00 or in the ten minutes before the opening, which is a tenth higher."""
    prints = tape_of("ZZGAP").prints
    opening = ms("2026-11-25", "09:30")
    early = [at for at in prints.times_ms if at < opening]
    assert ms("2026-11-25", "08:00") <= early[0] and early[-1] < opening - 600_000
    first = prints.prices[len(early)]
    assert 1.05 < first / prints.prices[len(early) - 1] < 1.15


def test_an_index() -> None:
    """A value in each regular second, no volume: its rows have NULL volume and vwap, and an sma9."""
    truth = truth_of("$SPX")
    assert {row.volume for row in truth.seconds} == {None} and {row.vwap for row in truth.seconds} == {None}
    assert all(row.sma9 for row in truth.seconds if row.timestamp_s * 1000 < ms("2026-11-25", "16:00"))
    assert len(truth.minutes) == 390
    frames = play(programme_of("$SPX", days=1))
    assert len(frames) - 1 == len(truth.seconds)
    market = Market(programme_of("$SPX", days=1))
    market.play(ms("2026-11-25", "12:00"))
    assert market.bars_between("$SPX", 0, market.position_ms) == []
    assert len(market.candles("$SPX")) == 390 + 150


def test_first_tick_by_switch() -> None:
    """With first-tick=07:00 nothing of equities comes before."""
    programme = programme_of("QQQ", days=2, switches=("first-tick=07:00",))
    for day in programme.days():
        tape = day.tapes["QQQ"]
        assert tape.quotes is not None
        first = min(tape.prints.times_ms[0], tape.quotes.times_ms[0])
        assert ms(day.session.date.isoformat(), "07:00") <= first < ms(day.session.date.isoformat(), "07:01")


def test_closing_cross_by_switch() -> None:
    """With cross-trade-time=still the truth leaves the closing cross out of vwap."""
    moved, still = (
        compute_truth(programme_of("QQQ", days=1, switches=(f"cross-trade-time={value}",)))
        for value in ("moves", "still")
    )
    assert moved.seconds == still.seconds
    assert moved.days[0].vwap != still.days[0].vwap
    assert moved.days[0].close == still.days[0].close
