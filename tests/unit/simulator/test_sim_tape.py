"""Reading tapes: exact prices, order by time, and errors that name the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.errors import UsageError
from alphakite.simulator.level_one import price_text
from alphakite.simulator.tape import PriceReader, Prints, candles_of, read_bars, read_quotes, read_trades

HEADER = "time_ny,epoch_ms,price,size,exchange,sale_condition_hex"


@given(st.integers(min_value=0, max_value=10**17))
def test_price_texts_come_back(price: int) -> None:
    """What is printed reads as the same price, and has no trailing zeros."""
    text = price_text(price)
    assert PriceReader()(text) == price
    assert "." not in text or not text.endswith(("0", "."))


@pytest.mark.parametrize(
    ("price", "text"),
    [(23_500_000_000, "235"), (16_742_000_000, "167.42"), (-12_000_000, "-0.12"), (0, "0"), (1, "0.00000001")],
)
def test_price_texts(price: int, text: str) -> None:
    """Doubles as on the wire."""
    assert price_text(price) == text


def test_trades_are_sorted_stably(tmp_path: Path) -> None:
    """Lines go by time; those of one time stay in file order; conditions mark closing prints."""
    path = tmp_path / "trades.csv.gz"
    lines = [HEADER, "x,2000,1.5,1,Q,80", "x,1000,2,2,Q,2000", "x,2000,3,3,Q,1000000", "", "x,1000,4.00000001,4,Q,"]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    prints = read_trades(path)
    assert list(prints.times_ms) == [1000, 1000, 2000, 2000]
    assert list(prints.sizes) == [2, 4, 1, 3]
    assert list(prints.closing) == [0, 0, 1, 1]
    assert prints.prices[1] == 400_000_001


@pytest.mark.parametrize(
    "line",
    [
        "x,later,1,1,Q,0",
        "x,1000,1.123456789,1,Q,0",
        "x,1000,-1,1,Q,0",
        "x,1000,0,1,Q,0",
        "x,1000,1,1.5,Q,0",
        "x,1000,1,1,Q,zz",
        "x,1000",
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    """The error names file and line number, and the next step."""
    path = tmp_path / "trades.csv"
    path.write_text(f"{HEADER}\nx,1000,1,1,Q,0\n{line}\n")
    with pytest.raises(UsageError, match=r"trades\.csv: line 3") as caught:
        read_trades(path)
    assert caught.value.next_step


def test_unreadable_files(tmp_path: Path) -> None:
    """A missing file, a missing column, a torn archive: each a UsageError."""
    torn = tmp_path / "torn.csv.gz"
    torn.write_bytes(gzip.compress((HEADER + "\n" + "x,1000,1,1,Q,0\n" * 5000).encode())[:-20])
    headless = tmp_path / "headless.csv"
    headless.write_text("epoch_ms,price\n1,2\n")
    for path, text in (
        (torn, "cannot be read"),
        (headless, "no column size"),
        (tmp_path / "none.csv", "cannot be read"),
    ):
        with pytest.raises(UsageError, match=text):
            read_trades(path)


def test_quotes_are_known_in_their_last_millisecond(tmp_path: Path) -> None:
    """A one-second bar is known at its end; an empty side is no quote."""
    path = tmp_path / "quotes.csv"
    path.write_text("epoch_ms,bid_open,bid_close,bid_size,ask_close,ask_size\n5000,1,2,100,,\n")
    quotes = read_quotes(path)
    assert (list(quotes.times_ms), list(quotes.bids), list(quotes.asks)) == ([5999], [200_000_000], [0])


def test_bars(tmp_path: Path) -> None:
    """Bars start on the minute."""
    path = tmp_path / "bars.csv"
    path.write_text("epoch_ms,open,high,low,close,volume\n60000,1,2,0.5,1.5,10\n60001,1,2,0.5,1.5,10\n")
    with pytest.raises(UsageError, match="line 3: 60001"):
        read_bars(path)


def test_candles_count_every_print() -> None:
    """Open, high, low, close and volume of a minute's prints; a minute without one has none."""
    prints = Prints()
    for time_ms, price, size in ((60_000, 5, 1), (119_999, 7, 2), (100_000_000, 3, 4), (100_000_001, 2, 1)):
        prints.add(time_ms, price, size)
    first, second = candles_of(prints)
    assert (first.minute_us, first.open, first.high, first.low, first.close, first.volume) == (
        60_000_000,
        5,
        7,
        5,
        7,
        3,
    )
    assert (second.minute_us, second.low, second.close, second.volume) == (99_960_000_000, 2, 2, 5)
    assert candles_of(Prints()) == []
