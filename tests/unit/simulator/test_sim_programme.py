"""Whose tape, which date, from when: options and re-dating."""

from __future__ import annotations

from datetime import date, datetime, time
from pathlib import Path

import pytest

from alphakite.errors import UsageError
from alphakite.sessions import EXCHANGE, session_on
from alphakite.simulator.options import SimulatorOptions, TapeFile, parse_tape, symbol_of
from alphakite.simulator.programme import make_programme
from alphakite.simulator.synthetic import synthetic_tape


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=EXCHANGE).timestamp() * 1000)


def trades(folder: Path, *times: str) -> TapeFile:
    path = folder / "trades.csv"
    rows = "".join(f"{ms(text)},10,1,0\n" for text in times)
    path.write_text("epoch_ms,price,size,sale_condition_hex\n" + rows)
    return TapeFile("trades", path)


def bars(folder: Path, *times: str) -> TapeFile:
    path = folder / "bars.csv"
    rows = "".join(f"{ms(text)},10,10,10,{10 + place},1\n" for place, text in enumerate(times))
    path.write_text("epoch_ms,open,high,low,close,volume\n" + rows)
    return TapeFile("bars", path)


def test_whose_tape() -> None:
    """Prefix, then the only --symbol, then the file's name, then QQQ; what is unclear is asked for."""
    assert parse_tape("trades=SPY:a.csv") == TapeFile("trades", Path("a.csv"), "SPY")
    named, plain = parse_tape("trades=x/lean_SPY_1.csv"), parse_tape("trades=a.csv")
    assert symbol_of(named, ()) == "SPY"
    assert symbol_of(named, ("IBM",)) == "IBM"
    assert symbol_of(plain, ()) == "QQQ"
    assert symbol_of(named, ("IBM", "SPY")) == "SPY"
    for tape, symbols in ((plain, ("IBM", "SPY")), (named, ("IBM", "QQQ"))):
        with pytest.raises(UsageError):
            symbol_of(tape, symbols)


def test_later_tapes() -> None:
    """Kinds of a later release are refused by name."""
    with pytest.raises(UsageError, match="not yet played"):
        parse_tape("journal=a")


def test_refusals(tmp_path: Path) -> None:
    """Impossible options are UsageErrors."""
    for wrong in ("trades", "trades=", "news=a"):
        with pytest.raises(UsageError):
            parse_tape(wrong)
    with pytest.raises(UsageError, match="not a fault"):
        SimulatorOptions(faults=("stall",))
    with pytest.raises(UsageError):
        SimulatorOptions(speed=0)
    tape = trades(tmp_path, "2013-10-08T09:30:00")
    twice = trades(tmp_path, "2013-10-08T09:30:00")
    for options in (
        SimulatorOptions(tapes=(tape, twice)),
        SimulatorOptions(tapes=(tape,), symbols=("SPY", "QQQ")),
        SimulatorOptions(tapes=(tape,), session=date(2013, 10, 12)),
        SimulatorOptions(tapes=(tape,), start=time(3)),
        SimulatorOptions(tapes=(tape,), start=time(10), end=time(9)),
        SimulatorOptions(tapes=(bars(tmp_path, "2013-10-07T09:30:00"),)),
        SimulatorOptions(tapes=(tape, bars(tmp_path, "2013-10-08T09:30:00"))),
    ):
        with pytest.raises(UsageError):
            make_programme(options)
    with pytest.raises(UsageError, match="holds 2013-10-08 to 2013-10-09"):
        make_programme(SimulatorOptions(tapes=(trades(tmp_path, "2013-10-08T09:30:00", "2013-10-09T09:30:00"),)))


def test_redating_keeps_wall_time(tmp_path: Path) -> None:
    """From summer to winter time 09:30 stays 09:30; earlier days go to the sessions before, newest first."""
    earlier = bars(tmp_path, "2013-10-03T15:59:00", "2013-10-07T15:59:00")
    tape = trades(tmp_path, "2013-10-08T09:30:00")
    options = SimulatorOptions(tapes=(tape, earlier), session=date(2026, 11, 27), start=time(10, 15))
    programme = make_programme(options)
    played = programme.tapes["QQQ"]
    assert list(played.prints.times_ms) == [ms("2026-11-27T09:30:00")]
    stamps = [(candle.minute_us // 1000, candle.close) for candle in played.history]
    assert stamps == [(ms("2026-11-24T15:59:00"), 1_000_000_000), (ms("2026-11-25T15:59:00"), 1_100_000_000)]
    assert programme.start_ms == ms("2026-11-27T10:15:00")
    assert programme.session.regular_close_us == ms("2026-11-27T13:00:00") * 1000


def test_own_date(tmp_path: Path) -> None:
    """Without --session a tape and its earlier bars keep their dates, missing days included."""
    programme = make_programme(
        SimulatorOptions(tapes=(trades(tmp_path, "2013-10-08T09:30:00"), bars(tmp_path, "2013-10-03T15:59:00")))
    )
    assert programme.session.date == date(2013, 10, 8)
    assert programme.tapes["QQQ"].history[0].minute_us == ms("2013-10-03T15:59:00") * 1000


def test_synthetic_is_seeded_and_ordered() -> None:
    """The same seed and symbol give the same day; times never go back; another symbol is another walk."""
    session = session_on(date(2026, 11, 24))
    assert session is not None
    one, same, other = (synthetic_tape(name, session, 7) for name in ("SPY", "SPY", "QQQ"))
    assert one.prints == same.prints and one.quotes == same.quotes and one.history == same.history
    assert one.prints.prices != other.prints.prices
    times = list(one.prints.times_ms)
    assert times == sorted(times)
    assert session.extended_open_us // 1000 <= times[0] and times[-1] < session.extended_close_us // 1000
    assert sum(one.prints.closing) == 2
