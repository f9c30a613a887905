"""Tapes of options: kinds by columns, moments, bad lines, roots, re-dating; what is not known is not sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from alphakite.errors import UsageError
from alphakite.sessions import EXCHANGE
from alphakite.simulator.chain import contract_of
from alphakite.simulator.conflation import OptionStream
from alphakite.simulator.level_one import price_text
from alphakite.simulator.market import Market
from alphakite.simulator.option_tape import GREEKS, OptionReader
from alphakite.simulator.option_truth import option_seconds
from alphakite.simulator.options import SimulatorOptions, TapeFile, option_root, parse_tape, symbol_of
from alphakite.simulator.programme import Programme, make_programme
from alphakite.simulator.report import write_option_seconds
from alphakite.simulator.truth import compute_truth

DOLLAR = 100_000_000
Write = Callable[[str, str], Path]
QUOTES = "epoch_ms,expiry,right,strike,bid_open,bid_close,bid_size,ask_close,ask_size\n"
TRADES = "epoch_ms,expiry,right,strike,open,high,low,close,volume\n"
INTEREST = "epoch_ms,expiry,right,strike,open_interest\n"
BARS = "epoch_ms,open,high,low,close,volume\n"
SNAPSHOTS = (
    "time_ny_naive,root,expiration,strike,right,open,high,low,close,trade_volume,bid_size,bid,ask_size,ask,"
    "active_underlying_price,implied_volatility,delta,gamma,theta,vega,rho\n"
)
DAY = date(2015, 12, 23)
KEY = "GOOG  151224C00725000"


def ms(wall: str, day: date = DAY) -> int:
    return int(datetime.fromisoformat(f"{day}T{wall}").replace(tzinfo=EXCHANGE).timestamp() * 1000)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return file


def quote_line(wall: str, rest: str, day: date = DAY, expiry: str = "2015-12-24") -> str:
    return f"{ms(wall, day)},{expiry},C,725,1,{rest}\n"


def programme_of(*texts: str, **options: Any) -> Programme:
    return make_programme(SimulatorOptions(tapes=tuple(map(parse_tape, texts)), **options))


def goog(write: Write) -> list[str]:
    """Two quotes, two trades of which one has no quote, open interest; a bar of the underlying."""
    quotes = quote_line("09:31", "2.5,3,2.75,4") + quote_line("09:30", ",,2.8,5")
    line = "2015-12-24,C,725"
    trades = f"{ms('09:31')},{line},2.5,2.6,2.4,2.5,7\n{ms('09:35')},{line},2.7,2.9,2.7,2.9,3\n"
    interest, bars = f"{ms('06:30')},{line},25\n", f"{ms('09:31')},750,760,740,751,100\n"
    return [
        f"options={write('lean_GOOG_quotes.csv', QUOTES + quotes)}",
        f"options={write('lean_GOOG_trades.csv', TRADES + trades)}",
        f"options={write('lean_GOOG_interest.csv', INTEREST + interest)}",
        f"bars={write('lean_GOOG_bars.csv', BARS + bars)}",
    ]


def at(market: Market, wall: str, key: str = KEY) -> dict[int, str]:
    market.play(ms(wall))
    contract = market.contract(key)
    assert contract is not None
    return market.option_texts(contract)[1]


def test_a_bar_is_known_at_its_end(write: Write) -> None:
    """Nothing is sent before it is known; then what the bar says, with the times of the bar's last millisecond."""
    market = Market(programme_of(*goog(write)))
    image = at(market, "09:30:59")
    assert image.keys().isdisjoint({2, 3, 4, 7, 10, 11, 16, 17, 25, *range(28, 33), 34, 35, 37, 38, 39})
    assert (image[8], image[9], image[20]) == ("0", "25", "725")
    first = at(market, "09:31:00")
    assert (first[2], first[16], first[3], first[17]) == ("0", "0", "2.8", "5")
    assert first[38] == str(ms("09:30:59") + 999) and 4 not in first and 35 not in first
    second = at(market, "09:32:00")
    assert (second[2], second[4], second[8], second[5], second[6]) == ("2.5", "2.5", "7", "2.6", "2.4")
    assert second[39] == second[38] == str(ms("09:31:59") + 999)
    assert (second[35], second[11], second[25]) == ("751", "26", "-23.5")
    third = at(market, "09:36:00")
    assert (third[8], third[4], third[38]) == ("10", "2.9", second[38])
    assert at(market, "12:00:00") is third


def test_the_market_knows_when_an_option_moves(write: Write) -> None:
    """Lock-step stops at each moment of the tape; a tape has its contracts alone."""
    market = Market(programme_of(*goog(write)[:3]))
    assert [one.symbol for one in market.chain("GOOG")] == [KEY]
    assert market.contract(KEY.replace("725", "730")) is None and market.contract("QQQ   151224C00100000") is None
    market.play(ms("09:00"))
    assert market.next_ms() == ms("09:30:59") + 999


def test_the_bars_of_the_played_date_are_played(write: Write) -> None:
    """Each is a print of its close; history has the bar itself; an index needs no volume; quote bars are quotes."""
    programme = programme_of(*goog(write))
    tape = programme.tapes["GOOG"]
    assert (list(tape.prints.times_ms), list(tape.prints.prices)) == ([ms("09:31:59") + 999], [751 * DOLLAR])
    market = Market(programme)
    market.play(ms("12:00"))
    assert [(one.open // DOLLAR, one.high // DOLLAR, one.volume) for one in market.candles("GOOG")] == [(750, 760, 100)]
    rows = compute_truth(programme).seconds
    assert [(row.timestamp_s, row.volume) for row in rows[1:]] == [(ms("09:31:59") // 1000, 100)]
    options = goog(write)[0]
    index = write("lean_SPX_bars.csv", f"epoch_ms,open,high,low,close,ticks\n{ms('09:30')},3,3,3,3,59\n")
    quotes = write("lean_SPY_quotes.csv", f"epoch_ms,bid_close,bid_size,ask_close,ask_size\n{ms('09:30')},1,2,3,4\n")
    tapes = programme_of(options, f"bars={index}", f"bars={quotes}").tapes
    assert list(tapes["$SPX"].prints.sizes) == [0]
    played = tapes["SPY"].quotes
    assert played is not None and list(played.times_ms) == [ms("09:30:59") + 999]
    alone = programme_of(f"bars=$SPX:{index}", session=DAY)
    assert alone.session.date == DAY and len(alone.tapes["$SPX"].prints.times_ms) == 1


def snapshot(wall: str, iv: str, volume: int = 0, spot: str = "2733.28") -> str:
    return (
        f"2018-01-05 {wall},SPXW,2018-01-05,2725,C,5,6,4,5.5,{volume},1,5.1,16,5.6,{spot},{iv},0.7,0.05,-1,0.2,1.3958\n"
    )


def test_snapshots(write: Write) -> None:
    """At their own second; IV in percent; rho by a hundred; 0.02 is none found; the index beside them."""
    lines = snapshot("09:32:00", "0.02", spot="2734") + snapshot("09:31:00", "0.0919", 4)
    programme = programme_of(f"chain={write('cboe_SPXW_0DTE.csv', SNAPSHOTS + lines)}")
    assert programme.session.date == date(2018, 1, 5)
    market, day = Market(programme), date(2018, 1, 5)
    (contract,) = market.chain("$SPX")
    assert (contract.symbol, contract.settlement, contract.exercise) == ("SPXW  180105C02725000", "P", "E")
    market.play(ms("09:31", day))
    assert 10 not in market.option_texts(contract)[1]
    market.play(ms("09:31:01", day))
    texts = market.option_texts(contract)[1]
    assert [texts[number] for number in (10, 28, 29, 30, 31, 32)] == ["9.19", "0.7", "0.05", "-1", "0.2", "0.013958"]
    assert (texts[4], texts[8], texts[35], texts[38]) == ("5.5", "4", "2733.28", str(ms("09:31", day)))
    market.play(ms("09:33", day))
    texts = market.option_texts(contract)[1]
    assert [texts[number] for number in (10, 28, 32)] == ["-999"] * 3 and (texts[4], texts[8]) == ("5.5", "4")
    assert (texts[35], market.symbols["$SPX"].fields[3]) == ("2734", "2734")
    out = io.StringIO()
    write_option_seconds(option_seconds(programme), "csv", out)
    first, second = out.getvalue().splitlines()[1:]
    assert first.endswith("2018-01-05T14:31:00.000000Z,5.1,5.6,1,16,5.5,4,4,,0.0919,0.7,0.05,-1,0.2,0.013958")
    assert second.endswith("14:32:00.000000Z,5.1,5.6,1,16,5.5,0,4,,,,,,,")


def test_the_truth_of_a_tape(write: Write) -> None:
    """A row where a stored column changed: a repeated quote makes none; a start in the middle has its image."""
    texts = goog(write)
    again = write("lean_GOOG_more.csv", QUOTES + quote_line("09:33", "2.5,3,2.75,4"))
    programme = programme_of(*texts, f"options={again}")
    rows = list(option_seconds(programme))
    seconds = [ms(wall) // 1000 for wall in ("09:30:59", "09:31:59", "09:35:59")]
    assert [(row.timestamp_s, row.bid, row.volume, row.day_volume) for row in rows] == [
        (seconds[0], 0, 0, 0),
        (seconds[1], 5 * DOLLAR // 2, 7, 7),
        (seconds[2], 5 * DOLLAR // 2, 3, 10),
    ]
    assert {row.open_interest for row in rows} == {25} and rows[0].last is None
    late = programme_of(*texts, start=time(9, 34))
    assert list(option_seconds(late)) == rows[2:]
    assert list(option_seconds(programme, ["GOOG  151224P"])) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epoch_ms,price\n1,2\n", "line 1: neither quote bars"),
        (QUOTES + quote_line("09:30", "1,1,2,1") + quote_line("09:30:01", "1,1,2,1"), "line 3: .* start of a minute"),
        (QUOTES + quote_line("09:30", "x,1,2,1"), "line 2: 'x' is not a price"),
        (QUOTES + quote_line("09:30", "1,1,2,1").replace(",C,", ",X,"), "line 2: X 725 is no option"),
        (QUOTES + quote_line("09:30", "1,1,2,1", expiry="2015-12-22"), "line 2: expired"),
        (QUOTES + quote_line("09:30", "1,1,2,1", expiry="soon"), "line 2: Invalid isoformat"),
        (QUOTES + quote_line("09:30", "1"), "line 2: too few columns"),
        (
            QUOTES + "".join(quote_line("09:30", "1,1,2,1", day) for day in (DAY, date(2015, 12, 22))),
            "line 3: a line of",
        ),
        (TRADES + f"{ms('09:30')},2015-12-24,C,725,1,1,1,0,1\n", "line 2: a price of 0"),
    ],
)
def test_a_bad_line_is_named(write: Write, text: str, reason: str) -> None:
    """File and line."""
    path = write("bad.csv", text)
    with pytest.raises(UsageError, match=f"bad.csv: {reason}"):
        OptionReader("GOOG").read_bars(path, "GOOG")


def test_a_bad_snapshot_is_named(write: Write) -> None:
    """No column, no number, no greek."""
    for text, reason in (
        ("time_ny_naive,root\n", "line 1: no column expiration"),
        (SNAPSHOTS + snapshot("9.31", "0.1"), "line 2: time data"),
        (SNAPSHOTS + snapshot("09:31:00", "0.1").replace(",0.7,", ",nan,"), "line 2: 'nan' is not a greek"),
        (SNAPSHOTS, "an empty tape"),
    ):
        path = write("bad.csv", text)
        with pytest.raises(UsageError, match=f"bad.csv: {reason}"):
            programme_of(f"chain=SPXW:{path}")


def test_lines_of_one_time_are_one_moment(write: Write) -> None:
    """Quote and trade of a minute; of two quotes the later line, of two trades the sum."""
    reader = OptionReader("GOOG")
    line = f"{ms('09:30')},2015-12-24,C,725"
    reader.read_bars(write("q.csv", QUOTES + quote_line("09:30", "1,1,2,1") + quote_line("09:30", "1.5,1,2,1")), "GOOG")
    reader.read_bars(write("t.csv", f"{TRADES}{line},1,3,1,2,5\n{line},2,2,0.5,1,6\n"), "GOOG")
    (moment,) = reader.finish().contracts[KEY].moments
    assert moment.quoted is not None and moment.quoted.bid == 3 * DOLLAR // 2
    assert moment.bar is not None
    assert (price_text(moment.bar.low), price_text(moment.bar.close), moment.bar.volume) == ("0.5", "1", 11)


def test_whose_options() -> None:
    """SPXW and SPX are $SPX's, with the root of the name or the prefix; others are their own."""
    for text, symbols, underlying, root in (
        ("options=lean_SPXW_options_1.csv", (), "$SPX", "SPXW"),
        ("options=lean_SPXW_options_1.csv", ("$SPX",), "$SPX", "SPXW"),
        ("options=SPX:a.csv", (), "$SPX", "SPX"),
        ("options=$SPX:a.csv", (), "$SPX", "SPXW"),
        ("options=mattheis_SPY_0DTE_20150402_1m.csv", (), "SPY", "SPY"),
        ("options=BRK/B:a.csv", (), "BRK/B", "BRKB"),
    ):
        file = parse_tape(text)
        assert symbol_of(file, symbols) == underlying
        assert option_root(file, underlying) == root
    assert symbol_of(TapeFile("trades", Path("a.csv"), "SPX"), ()) == "SPX"


def test_kinds_of_contracts() -> None:
    """By the calendar and the root: a third Friday, the end of a month, of a quarter; SPX settles at the opening."""
    for underlying, root, expiry, kind, settlement in (
        ("$SPX", "SPX", date(2026, 11, 20), "S", "A"),
        ("$SPX", "SPXW", date(2026, 11, 20), "W", "P"),
        ("$SPX", "SPXW", date(2026, 11, 30), "M", "P"),
        ("SPY", "SPY", date(2026, 12, 31), "Q", "P"),
        ("GOOG", "GOOG", date(2015, 12, 18), "S", "P"),
        ("GOOG", "GOOG", date(2015, 12, 31), "W", "P"),
    ):
        contract = contract_of(underlying, root, expiry, "C", 100 * DOLLAR)
        assert (contract.expiration_type, contract.settlement) == (kind, settlement), (root, expiry)


def test_redating_moves_expiries_by_sessions(write: Write) -> None:
    """Tomorrow's expiry is the next session's; exchange wall time is kept; beyond the calendar it is refused."""
    texts = goog(write)
    programme = programme_of(*texts, session=date(2026, 11, 25))
    (tape,) = programme.options["GOOG"].contracts.values()
    assert tape.contract.symbol == "GOOG  261127C00725000" and tape.open_interest == 25
    assert tape.moments[0].time_ms == ms("09:30:59", date(2026, 11, 25)) + 999
    assert programme.tapes["GOOG"].prints.times_ms[0] == ms("09:31:59", date(2026, 11, 25)) + 999
    far = write("lean_GOOG_far.csv", QUOTES + quote_line("09:30", "1,1,2,1", expiry="2018-01-19"))
    with pytest.raises(UsageError, match="no place for the expiry 2018-01-19"):
        programme_of(f"options={far}", session=date(2027, 12, 1))


def test_greeks_are_in_the_order_of_the_wire() -> None:
    """Fields 28 to 32."""
    assert GREEKS == ("delta", "gamma", "theta", "vega", "rho")


def test_a_chain_has_a_middle(write: Write, shared_data: Path) -> None:
    """Without earlier bars the close before is the day's first price; without any it is put-call parity's."""
    texts = goog(write)
    assert Market(programme_of(*texts)).symbols["GOOG"].fields[12] == "750"
    assert 12 not in Market(programme_of(*texts[:3])).symbols["GOOG"].fields
    alone = programme_of(f"options={shared_data / 'lean_GOOG_options_20151223_quote_1m.csv.gz'}")
    fields = Market(alone).symbols["GOOG"].fields
    assert abs(float(fields[12]) - 753.5) < 1 and 3 not in fields
    snapshots = programme_of(f"chain={write('cboe_SPXW_1.csv', SNAPSHOTS + snapshot('09:31:00', '0.1'))}")
    assert Market(snapshots).symbols["$SPX"].fields[12] == "2733.28"


STORED = (2, 3, 16, 17, 4, 8, 9, 10, 28, 29, 30, 31, 32)


def stored(texts: dict[int, str]) -> list[str | None]:
    """The stored fields; from one sentinel to another nothing changes."""
    return [
        None if text in ("-999", '"NaN"') or (number, text) == (10, "0") else text
        for number in STORED
        for text in [texts.get(number)]
    ]


def seconds_of(programme: Programme, keys: list[str]) -> list[tuple[str, int]]:
    """The seconds in which a stored field changes on the way through every window."""
    market, stream = Market(programme), OptionStream()
    every = frozenset(range(56))
    for key in keys:
        stream.image(market, key, every)
    rows = []
    while market.position_ms < programme.end_ms:
        before = {key: stream.told(key) for key in keys}
        market.play(market.window_end_ms())
        for key in keys:
            stream.delta(market, key, every)
            if stored(before[key]) != stored(stream.told(key)):
                rows.append((key, (market.position_ms - 1) // 1000))
    return sorted(rows)


@pytest.mark.parametrize("align", ["second", "random"])
@pytest.mark.parametrize("span", [(7, 29, 7, 32), (9, 29, 9, 33), (15, 59, 16, 16)])
def test_the_truth_knows_the_windows(align: str, span: tuple[int, int, int, int]) -> None:
    """Rows lie in the seconds of the frames' stamps, of what expires today, tomorrow and later."""
    day, start, end = date(2026, 11, 20), time(*span[:2]), time(*span[2:])
    programme = make_programme(
        SimulatorOptions(symbols=("QQQ", "$SPX"), session=day, start=start, end=end, align=align, seed=5)
    )
    market = Market(programme)
    chains = [*market.chain("QQQ"), *market.chain("$SPX")]
    keys = sorted(one.symbol for one in chains)[30::173]
    rows = list(option_seconds(programme, keys))
    assert [(row.option_symbol, row.timestamp_s) for row in rows] == seconds_of(programme, keys)
    assert rows
