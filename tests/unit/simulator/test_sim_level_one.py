"""LEVELONE_EQUITIES as the reference's §3.7 to §3.9 say: images, changes, and how the fields move through a day."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from typing import Any

import pytest

from alphakite.model import Candle
from alphakite.sessions import EXCHANGE, previous_session, session_on
from alphakite.simulator.level_one import LevelOne, percent_text
from alphakite.simulator.market import Market
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.programme import make_programme
from alphakite.simulator.tape import Prints, Quotes, SymbolTape

DAY = date(2026, 11, 24)
SESSION = session_on(DAY)
assert SESSION is not None
ALL = frozenset(range(1, 52))
EVERY = set(map(str, ALL))
DOLLAR = 100_000_000
META = ["key", "delayed", "assetMainType", "assetSubType", "cusip"]


def ms(wall: str) -> int:
    return int(datetime.combine(DAY, time.fromisoformat(wall), EXCHANGE).timestamp() * 1000)


def market_of(*symbols: str, **options: Any) -> Market:
    return Market(make_programme(SimulatorOptions(symbols=symbols, session=DAY, **options)))


def image_at(wall: str, symbol: str = "QQQ", **options: Any) -> dict[str, Any]:
    market = market_of(symbol, **options)
    market.play(ms(wall))
    image: dict[str, Any] = json.loads(market.symbols[symbol].image(ALL))
    return image


def deltas(symbol: str, begin: str, end: str, **options: Any) -> list[dict[str, Any]]:
    """The items of each second between two times."""
    market = market_of(symbol, **options)
    market.play(ms(begin))
    found: list[dict[str, Any]] = []
    while market.position_ms < ms(end):
        market.play(market.window_end_ms())
        found += [json.loads(text) for one in market.moved if (text := one.delta(ALL))]
    return found


def handmade(*trades: tuple[str, float, int, bool], quotes: Quotes | None = None, **options: bool) -> LevelOne:
    """Trades (wall, dollars, size, closing) after a session that closed at 100."""
    prints = Prints()
    for wall, price, size, closing in trades:
        prints.add(ms(wall), round(price * DOLLAR), size, closing)
    close_us = previous_session(DAY).regular_close_us
    history = [Candle(close_us - 60_000_000, *[100 * DOLLAR] * 4, 10)]
    assert SESSION is not None
    return LevelOne(SymbolTape("QQQ", prints, quotes, history), SESSION, **options)


def test_3_8_image_is_every_field_with_meta_keys_first() -> None:
    """The first item holds key and meta keys, then all 51 fields in the order of their numbers; never a "0"."""
    image = image_at("12:00")
    assert list(image)[:5] == META
    assert list(image)[5:] == [str(number) for number in range(1, 52)]
    assert (image["delayed"], image["assetMainType"], image["assetSubType"]) == (False, "EQUITY", "ETF")


def test_3_8_delta_is_the_key_and_what_changed() -> None:
    """Later items have no meta keys, and no value equal to the one sent before, the quote times apart."""
    market = market_of("QQQ")
    market.play(ms("12:00"))
    one = market.symbols["QQQ"]
    known = json.loads(one.image(ALL))
    for _ in range(300):
        market.play(market.window_end_ms())
        item = json.loads(one.delta(ALL))
        assert next(iter(item)) == "key" and not {"delayed", "cusip", "0"} & item.keys()
        assert all(known[name] != value for name, value in item.items() if name not in ("key", "34", "37", "38"))
        known.update(item)
    assert known == json.loads(one.image(ALL))


def test_3_8_field_filter_applies() -> None:
    """Only the numbers asked for are sent."""
    market = market_of("QQQ")
    market.play(ms("12:00"))
    assert json.loads(market.symbols["QQQ"].image(frozenset({3, 8}))).keys() == {*META, "3", "8"}


def test_3_8_a_field_without_value_is_absent() -> None:
    """A symbol without trades or history: no last price, no close, not even as 0."""
    image = image_at("12:00", "ZZNEV")
    assert not {"3", "9", "12", "18", "29", "33", "35", "36", "42", "44"} & image.keys()
    assert {"1", "2", "8", "34"} <= image.keys() and image["8"] == 0


def test_3_8_a_value_that_returns_within_the_window_is_not_sent() -> None:
    """Up and back within a second: the price is not sent, the trade's time and volume are."""
    one = handmade(("10:00:00", 101, 5, False), ("10:00:01.100", 102, 5, False), ("10:00:01.900", 101, 5, False))
    one.play(ms("10:00:01"))
    one.play(ms("10:00:02"))
    item = json.loads(one.delta(ALL))
    assert "3" not in item and "33" not in item
    assert (item["8"], item["35"]) == (15, ms("10:00:01.900"))


def test_3_8_sizes_are_shares_or_lots() -> None:
    """By the switch: 150 shares are 150, or one lot; below a lot is 0."""
    for lots, sizes in ((False, (150, 60)), (True, (1, 0))):
        quotes = Quotes()
        quotes.add(ms("10:00:00.999"), 100 * DOLLAR, 150, 101 * DOLLAR, 60)
        one = handmade(quotes=quotes, lots=lots)
        one.play(ms("10:00:01"))
        image = json.loads(one.image(ALL))
        assert (image["4"], image["5"]) == sizes
    shares, lots_image = image_at("12:00"), image_at("12:00", switches=("sizes=lots",))
    assert shares["4"] == 100 * lots_image["4"]


def test_3_8_index_streams_without_ask_and_volume() -> None:
    """$SPX: last, bid, changes, mark and times as captured in 2026-10; no ask, no size, no volume, no venue."""
    image = image_at("12:00", "$SPX")
    assert list(image)[:3] == ["key", "delayed", "assetMainType"] and image["assetMainType"] == "INDEX"
    assert not {"2", "4", "5", "6", "7", "8", "9", "37", "38", "39", "40", "41"} & image.keys()
    item = next(one for one in deltas("$SPX", "12:00", "12:01") if "3" in one)
    assert {"1", "3", "18", "29", "31", "33", "34", "35", "36", "42", "43", "44", "45"} == item.keys() - {"key"}
    assert (image["13"], image["15"], image["32"]) == ("0", "S&P 500 INDEX", "Normal")
    assert not {"1", "34"} & image_at("12:00", "$NDX").keys()


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ("1 2 3 10 11 12 17 18 19 20 21 22 23 24 29 31 33 42 43 44 45 47 50 51", (int, float)),
        ("4 5 8 9 30 34 35 36 37 38 46 48 49", int),
        ("6 7 13 15 16 25 26 32 39 40 41", str),
        ("14 27 28", bool),
    ],
)
def test_3_9_types(numbers: str, kind: Any) -> None:
    """Doubles, whole numbers, strings and booleans as the table says."""
    image = image_at("12:00")
    for number in numbers.split():
        assert isinstance(image[number], kind) and (kind is bool or not isinstance(image[number], bool)), number


def test_3_9_venues_come_as_letter_and_mic() -> None:
    """6 is the ask's and 7 the bid's; 39, 40 and 41 are the MICs of 6, 7 and 16; they change with quote and trade."""
    pairs = set[tuple[str, str]]()
    known = image_at("12:00")
    for item in deltas("QQQ", "12:00", "12:10"):
        assert "34" in item if {"6", "7", "39", "40"} & item.keys() else True
        assert "35" in item if {"16", "41"} & item.keys() else True
        known.update(item)
        pairs |= {(known["6"], known["39"]), (known["7"], known["40"]), (known["16"], known["41"])}
    assert {("D", "XADF"), ("P", "ARCX"), ("Q", "XNAS")} <= pairs
    assert all(len(letter) == 1 and len(mic) == 4 for letter, mic in pairs)


def test_3_9_extremes_and_open_are_of_the_regular_session() -> None:
    """10, 11 and 17 are 0 until the first regular print, and ignore what trades before and after."""
    one = handmade(
        ("08:00:00", 120, 5, False), ("09:30:00", 101, 5, False), ("09:31:00", 99, 5, False), ("16:10", 150, 5, False)
    )
    one.play(ms("09:00"))
    before = json.loads(one.image(ALL))
    assert (before["10"], before["11"], before["17"], before["3"]) == (0, 0, 0, 120)
    one.play(ms("20:00"))
    after = json.loads(one.image(ALL))
    assert (after["10"], after["11"], after["17"], after["3"], after["29"]) == (101, 99, 101, 150, 99)


def test_3_9_changes_follow_from_prices() -> None:
    """18 = last - close, 42 in percent; 31, 43 of the regular last; 44, 45 of the mark."""
    for image in (image_at("12:00"), image_at("18:00"), image_at("08:00")):
        close = image["12"]
        for price, change, percent in (("3", "18", "42"), ("29", "31", "43"), ("33", "44", "45")):
            assert image[change] == pytest.approx(image[price] - close, abs=1e-9)
            assert image[percent] == pytest.approx(100 * image[change] / close, abs=1e-6)


def test_3_9_post_market_fields_are_against_the_regular_last() -> None:
    """50 and 51: 0 in the day, after the close last - regular last."""
    one = handmade(("15:59:59", 101, 5, False), ("16:10:00", 103.02, 5, False))
    one.play(ms("16:00"))
    image = json.loads(one.image(ALL))
    assert (image["50"], image["51"]) == (0, 0)
    one.play(ms("16:11"))
    item = json.loads(one.delta(ALL))
    assert (item["50"], item["51"]) == (2.02, 2)


def test_3_9_52_week_range_holds_the_day() -> None:
    """19 and 20 are beyond the close and grow with the session's own extremes."""
    one = handmade(("09:30:00", 150, 5, False), ("09:31:00", 10, 5, False))
    one.play(ms("09:00"))
    before = json.loads(one.image(ALL))
    assert (before["19"], before["20"]) == (109, 71)
    one.play(ms("10:00"))
    after = json.loads(one.image(ALL))
    assert (after["19"], after["20"]) == (150, 10)


def test_3_9_regular_flags() -> None:
    """27 and 28: whether the last quote and trade were of the regular session."""
    for wall, regular in (("08:00", False), ("12:00", True), ("18:00", False)):
        image = image_at(wall)
        assert (image["27"], image["28"]) == (regular, regular), wall


def test_3_9_mark_lies_within_bid_and_ask() -> None:
    """33 is the last price, or the nearer side of the quote."""
    known = image_at("12:00")
    for item in deltas("QQQ", "12:00", "12:05"):
        known.update(item)
        assert known["1"] <= known["33"] <= known["2"]


def test_3_9_security_status() -> None:
    """32: Unknown before 07:28, then Normal, sent with the volume's reset; Halted and Normal again when halted."""
    assert image_at("05:00")["32"] == "Unknown"
    (reset,) = [item for item in deltas("QQQ", "07:27:55", "07:28:05") if "32" in item]
    assert reset["32"] == "Normal" and "8" in reset
    changes = [item for item in deltas("ZZHLT", "10:59", "11:11") if "32" in item]
    assert [item["32"] for item in changes] == ["Halted", "Normal"]


def test_3_9_field_36_and_the_closing_cross() -> None:
    """By the switch the closing cross moves 36, or does not; price and size it always moves."""
    for moves in (True, False):
        one = handmade(("15:59:59", 101, 5, False), ("16:00:01", 102, 900, True), cross_moves=moves)
        one.play(ms("16:01"))
        image = json.loads(one.image(ALL))
        assert (image["29"], image["30"]) == (102, 900)
        assert image["36"] == (ms("16:00:01") if moves else ms("15:59:59"))


def test_3_9_listing_by_kind_of_symbol() -> None:
    """ETFs are ETF, other shares COE; the same symbol always looks the same."""
    share = image_at("12:00", "AAPL")
    assert (share["assetSubType"], len(share["cusip"])) == ("COE", 9)
    assert share["cusip"] == image_at("13:00", "AAPL", seed=9)["cusip"]
    assert image_at("12:00", "SPY")["cusip"] == "78462F103"


def test_3_9_borrowing_fields_know_a_null() -> None:
    """46, 48 and 49 are -1 where nothing is known, else a quantity, 0 or 1."""
    unknown, known = image_at("12:00", "ZZILL"), image_at("12:00", "AAPL")
    assert (unknown["46"], unknown["48"], unknown["49"]) == (-1, -1, -1)
    assert known["46"] > 0 and (known["47"], known["48"], known["49"]) == (0, 0, 1)


def test_3_7_image_at_four_shows_reset_extremes() -> None:
    """03:30 lies before the first second played: high, low and open are 0 in the first image, the close is there."""
    image = image_at("04:00")
    assert (image["10"], image["11"], image["17"], image["8"]) == (0, 0, 0, 0)
    assert image["12"] > 0 and image["3"] > 0


def test_3_7_volume_is_zeroed_at_0728() -> None:
    """What traded before 07:28 is gone after it, and 0 is sent even if nothing trades then."""
    one = handmade(("06:00:00", 100, 70, False))
    one.play(ms("07:28"))
    assert json.loads(one.image(ALL))["8"] == 70
    assert one.play(ms("07:28:01")) and json.loads(one.delta(ALL))["8"] == 0


def test_3_7_next_day_begins_with_its_resets() -> None:
    """Over the night: the image is reset; the next update brings the zeros and the new close, and volume goes on."""
    one = handmade(("10:00:00", 104, 70, False))
    one.play(ms("20:00"))
    last = one.delta(ALL)
    following = session_on(date(2026, 11, 25))
    assert following is not None
    prints = Prints()
    prints.add(following.extended_open_us // 1000 + 500, 105 * DOLLAR, 30)
    one.begin(SymbolTape("QQQ", prints, None, [Candle(ms("15:59") * 1000, *[104 * DOLLAR] * 4, 70)]), following)
    assert one.delta(ALL) == last
    image = json.loads(one.image(ALL))
    assert (image["10"], image["11"], image["17"], image["12"], image["18"], image["8"]) == (0, 0, 0, 104, 0, 70)
    assert one.play(following.extended_open_us // 1000 + 1000)
    item = json.loads(one.delta(ALL))
    assert (item["10"], item["11"], item["17"], item["12"], item["18"], item["8"]) == (0, 0, 0, 104, 1, 100)
    assert item["31"] == 0 and item["32"] == "Unknown"


@pytest.mark.parametrize(
    ("change", "base", "text"),
    [(1, 3, "33.333333"), (-5, 100_000_000_000, "0"), (0, 7, "0"), (100, 100, "100"), (1, 0, "0")],
)
def test_percent_texts(change: int, base: int, text: str) -> None:
    """Six decimals, no trailing zeros, no minus zero."""
    assert percent_text(change, base) == text
