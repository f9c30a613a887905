"""Options and minute bars: the quick way and the slow one, absent values, sanity of bars, real captures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from alphakite.feed.schwab.decode import Decoded, decode
from alphakite.feed.schwab.fields import OPTION, SERVICES, SIGNED, Field, Kind
from alphakite.model import PRICE_SCALE, ChartBar, EquityUpdate, OptionUpdate

CALL = "QQQ   261123C00605000"
MINUTE_MS = 1795446840000
NAMES = {field.name: field for field in OPTION if field.name in OptionUpdate.__struct_fields__}
BAR: dict[str, Any] = {
    "seq": 0,
    "key": "QQQ",
    "1": 194,
    "2": 604.02,
    "3": 604.31,
    "4": 603.98,
    "5": 604.12,
    "6": 182340.0,
    "7": MINUTE_MS,
    "8": 20780,
}


def frame(service: str, *items: dict[str, Any] | str) -> bytes:
    content = ",".join(item if isinstance(item, str) else json.dumps(item) for item in items)
    return f'{{"data":[{{"service":"{service}", "timestamp":1,"command":"SUBS","content":[{content}]}}]}}'.encode()


def options(*items: dict[str, Any] | str) -> Decoded:
    return decode(frame("LEVELONE_OPTIONS", *items))


def said(update: object, record: type[Any] = OptionUpdate) -> dict[str, Any]:
    return {name: value for name in record.__struct_fields__ if (value := getattr(update, name)) is not UNSET}


def test_a_bid_or_an_ask_of_nothing_is_a_value() -> None:
    (update,) = options({"key": CALL, "2": 0, "3": 0.05, "37": 0.025}, {"key": CALL, "3": 0}).options[:1]
    assert said(update) == {"key": CALL, "bid": 0.0, "ask": 0.05, "mark": 0.025}
    assert options({"key": CALL, "3": 0}).options[0].ask == 0.0


def test_the_sentinels_cost_only_their_values() -> None:
    """-999, -1, "NaN", 0 of a time and of an IV: none of them is a number, and nothing is rejected."""
    good = {"key": "QQQ   261123P00605000", "28": -0.5, "30": -12.25}
    odd = '{"key":"X","10":0,"28":-999,"29":-999.0,"30":"NaN","31":NaN,"32":null,"34":-1,"38":0,"2":1.5}'
    decoded = options(good, odd, good)
    assert decoded.rejected == []
    names = ("implied_volatility_percent", "delta", "gamma", "theta", "vega", "rho", "theoretical", "quote_time_ms")
    assert said(decoded.options[1]) == {"key": "X", "bid": 1.5} | dict.fromkeys(names)
    assert [said(decoded.options[place]) for place in (0, 2)] == [
        {"key": good["key"], "delta": -0.5, "theta": -12.25}
    ] * 2


def test_bad_values_are_named_one_by_one() -> None:
    decoded = options({"key": CALL, "2": "1.42", "9": 7.5, "21": 7, "56": 1, "3": 1.44}, "7", {"2": 1})
    assert [said(update) for update in decoded.options] == [{"key": CALL, "ask": 1.44}]
    assert [reason.partition(": kept")[0] for reason in decoded.rejected] == [
        f"{CALL}: field 2 (bid) is '1.42'",
        f"{CALL}: field 9 (open_interest) is 7.5",
        f"{CALL}: field 21 (contract_type) is 7",
        f"{CALL}: unknown field '56'",
        "an item without a key",
        "an item without a key",
    ]


def strategy(field: Field) -> st.SearchStrategy[Any]:
    """Values and absent values of a field, as JSON carries them."""
    absent = st.sampled_from([None, "NaN", *field.absent])
    if field.kind is Kind.TEXT:
        return absent | st.text(st.characters(min_codepoint=32, codec="utf-8"), min_size=1, max_size=9)
    if field.kind in (Kind.SIZE, Kind.COUNT, Kind.TIME):
        return absent | st.integers(1, 2**40)
    return absent | st.floats(-500 if field.kind in SIGNED else 0.0001, 1e6) | st.integers(1, 9000)


items = st.fixed_dictionaries(
    {"key": st.just(CALL)}, optional={str(field.number): strategy(field) for field in NAMES.values()}
)


@given(st.lists(items, max_size=4))
def test_the_quick_and_the_slow_way_agree(made: list[dict[str, Any]]) -> None:
    """An unknown field sends its item the slow way; the answer is the same, whatever the order of the fields."""
    quick = options(*made)
    slow = options(*[item | {"99": 1} for item in made])
    turned = options(*[dict(reversed(item.items())) for item in made])
    assert quick.rejected == turned.rejected == []
    assert len(slow.rejected) == len(made)
    want = [said(update) for update in quick.options]
    assert [said(update) for update in slow.options] == [said(update) for update in turned.options] == want
    for item, update in zip(made, want, strict=True):
        for name, value in update.items():
            given_value = item["key"] if name == "key" else item[str(NAMES[name].number)]
            if value is None:
                assert given_value in (None, "NaN", *NAMES[name].absent)
            else:
                assert value == given_value


def test_the_last_of_two_equal_names_counts() -> None:
    for more in ("", ',"99":1'):
        (update,) = options(f'{{"key":"A","2":1,"2":1.5,"key":"{CALL}"{more}}}').options
        assert said(update) == {"key": CALL, "bid": 1.5}


def test_several_services_in_one_frame() -> None:
    parts = [
        frame("LEVELONE_EQUITIES", {"key": "QQQ", "3": 604.12}),
        frame("LEVELONE_OPTIONS", {"key": CALL, "2": 1.42}, {"key": CALL, "2": -999}),
        frame("CHART_EQUITY", BAR),
        frame("LEVELONE_OPTIONS", {"key": CALL, "4": 1.43}),
        frame("NASDAQ_BOOK", {"key": "QQQ"}),
    ]
    decoded = decode(b'{"data":[' + b",".join(part[len(b'{"data":[') : -2] for part in parts) + b"]}")
    assert [said(update, EquityUpdate) for update in decoded.updates] == [{"key": "QQQ", "last": 604.12}]
    assert [said(update) for update in decoded.options] == [
        {"key": CALL, "bid": 1.42},
        {"key": CALL, "bid": None},
        {"key": CALL, "last": 1.43},
    ]
    assert len(decoded.bars) == 1
    assert len(decoded.rejected) == 1


# ── minute bars ─────────────────────────────────────────────────────────────────────────────────────────────────


def bars(*made: dict[str, Any] | str) -> Decoded:
    return decode(frame("CHART_EQUITY", *made))


def test_a_bar_in_its_true_order() -> None:
    """1 is the sequence, 2 to 5 open, high, low, close: not as the guide's table says."""
    decoded = bars(BAR)
    price = PRICE_SCALE // 100
    expected = ChartBar("QQQ", MINUTE_MS * 1000, 60402 * price, 60431 * price, 60398 * price, 60412 * price, 182340)
    assert decoded.bars == [expected]
    assert decoded.rejected == []
    assert bars(BAR | {"1": None, "99": 1}).bars == [expected]


@pytest.mark.parametrize(
    "bad",
    [
        {"4": 604.03},
        {"3": 604.11},
        {"2": 604.32},
        {"5": 603.97},
        {"7": MINUTE_MS + 1},
        {"7": MINUTE_MS // 1000},
        {"2": 0},
        {"3": None},
        {"4": "NaN"},
        {"5": -999},
        {"6": -1},
        {"7": 0},
        {"1": 604.02, "2": 604.31, "3": 603.98, "4": 604.12, "5": 182340.0, "6": 194},
    ],
)
def test_a_bar_that_makes_no_sense_is_rejected_alone(bad: dict[str, Any]) -> None:
    """The last one is in the order of the guide's table."""
    decoded = bars(BAR, BAR | bad, BAR | {"key": "SPY"})
    assert [bar.key for bar in decoded.bars] == ["QQQ", "SPY"]
    assert len(decoded.rejected) == 1


@pytest.mark.parametrize("name", ["2", "3", "4", "5", "6", "7"])
def test_a_bar_without_a_part_is_rejected(name: str) -> None:
    decoded = bars({field: value for field, value in BAR.items() if field != name}, BAR)
    assert len(decoded.bars) == len(decoded.rejected) == 1
    assert "a bar without" in decoded.rejected[0]


# ── any bytes ───────────────────────────────────────────────────────────────────────────────────────────────────

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "schwab_frames.json").read_text(encoding="utf-8"))
FRAMES = [golden["frame"].encode() for golden in GOLDEN]


def check(decoded: Decoded) -> None:
    """Whatever came in, what comes out is of the type it should be."""
    for bar in decoded.bars:
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.minute_us % 60_000_000 == 0
    for update in decoded.options:
        for name, value in said(update).items():
            kind = NAMES[name].kind if name != "key" else Kind.TEXT
            types = {Kind.TEXT: str, Kind.SIZE: int, Kind.COUNT: int, Kind.TIME: int}
            assert value is None or type(value) is types.get(kind, float), name


@given(
    st.sampled_from(FRAMES), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), max_size=6)
)
def test_a_mutated_frame_never_raises(whole: bytes, changes: list[tuple[float, bytes]]) -> None:
    """Bytes replaced, put in, taken out."""
    payload = whole
    for place, piece in changes:
        at = int(place * len(payload))
        payload = payload[:at] + piece + payload[at + (len(piece) + len(whole)) % 3 :]
    check(decode(payload))


@given(st.sampled_from(sorted(SERVICES)), st.binary() | st.text().map(str.encode))
def test_any_content_never_raises(service: str, content: bytes) -> None:
    check(
        decode(f'{{"data":[{{"service":"{service}","timestamp":1,"command":"","content":'.encode() + content + b"}]}")
    )


@given(
    st.sampled_from(sorted(SERVICES)),
    st.lists(
        st.dictionaries(
            st.sampled_from(["key", "2", "3", "4", "5", "6", "7", "10", "21", "28", "34", "38"]),
            st.none()
            | st.booleans()
            | st.floats()
            | st.integers()
            | st.text(max_size=3)
            | st.sampled_from([-999, -1, "NaN", MINUTE_MS, CALL, 604.12]),
        ),
        max_size=3,
    ),
)
def test_any_values_never_raise(service: str, made: list[dict[str, Any]]) -> None:
    check(decode(frame(service, *made)))


# ── captures of 2026 ────────────────────────────────────────────────────────────────────────────────────────────

THEIR_NAMES = {
    "LEVELONE_EQUITIES": "SYMBOL BID_PRICE ASK_PRICE LAST_PRICE BID_SIZE ASK_SIZE ASK_ID BID_ID TOTAL_VOLUME LAST_SIZE "
    "HIGH_PRICE LOW_PRICE CLOSE_PRICE EXCHANGE_ID MARGINABLE DESCRIPTION LAST_ID OPEN_PRICE NET_CHANGE "
    "HIGH_PRICE_52_WEEK LOW_PRICE_52_WEEK PE_RATIO DIVIDEND_AMOUNT DIVIDEND_YIELD NAV EXCHANGE_NAME DIVIDEND_DATE "
    "REGULAR_MARKET_QUOTE REGULAR_MARKET_TRADE REGULAR_MARKET_LAST_PRICE REGULAR_MARKET_LAST_SIZE "
    "REGULAR_MARKET_NET_CHANGE SECURITY_STATUS MARK QUOTE_TIME_MILLIS TRADE_TIME_MILLIS REGULAR_MARKET_TRADE_MILLIS "
    "BID_TIME_MILLIS ASK_TIME_MILLIS ASK_MIC_ID BID_MIC_ID LAST_MIC_ID NET_CHANGE_PERCENT "
    "REGULAR_MARKET_CHANGE_PERCENT MARK_CHANGE MARK_CHANGE_PERCENT HTB_QUANTITY HTB_RATE HARD_TO_BORROW IS_SHORTABLE "
    "POST_MARKET_NET_CHANGE POST_MARKET_NET_CHANGE_PERCENT",
    "LEVELONE_OPTIONS": "SYMBOL DESCRIPTION BID_PRICE ASK_PRICE LAST_PRICE HIGH_PRICE LOW_PRICE CLOSE_PRICE "
    "TOTAL_VOLUME OPEN_INTEREST VOLATILITY MONEY_INTRINSIC_VALUE EXPIRATION_YEAR MULTIPLIER DIGITS OPEN_PRICE BID_SIZE "
    "ASK_SIZE LAST_SIZE NET_CHANGE STRIKE_TYPE CONTRACT_TYPE UNDERLYING EXPIRATION_MONTH DELIVERABLES TIME_VALUE "
    "EXPIRATION_DAY DAYS_TO_EXPIRATION DELTA GAMMA THETA VEGA RHO SECURITY_STATUS THEORETICAL_OPTION_VALUE "
    "UNDERLYING_PRICE UV_EXPIRATION_TYPE MARK QUOTE_TIME_MILLIS TRADE_TIME_MILLIS EXCHANGE_ID EXCHANGE_NAME "
    "LAST_TRADING_DAY SETTLEMENT_TYPE NET_PERCENT_CHANGE MARK_CHANGE MARK_CHANGE_PERCENT IMPLIED_YIELD IS_PENNY "
    "OPTION_ROOT HIGH_PRICE_52_WEEK LOW_PRICE_52_WEEK INDICATIVE_ASKING_PRICE INDICATIVE_BID_PRICE "
    "INDICATIVE_QUOTE_TIME EXERCISE_TYPE",
    "CHART_EQUITY": "SYMBOL SEQUENCE OPEN_PRICE HIGH_PRICE LOW_PRICE CLOSE_PRICE VOLUME CHART_TIME_MILLIS CHART_DAY",
}
"""The recorder that captured these wrote schwab-py's names; in the order of the numbers."""


def captured(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Service and item, with numbers as on the wire; a name that stands in no table stays one, and is rejected."""
    found = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            whole = json.loads(line)
            numbers = {name: str(number) for number, name in enumerate(THEIR_NAMES[whole["service"]].split())}
            found.append((whole["service"], {numbers.get(name, name): v for name, v in whole["item"].items()}))
    return found


@pytest.mark.parametrize(
    ("name", "items_in_it"),
    [
        ("LEVELONE_EQUITIES_20261005_1500ET", 35),
        ("LEVELONE_OPTIONS_TSLA_open_20260929", 6),
        ("LEVELONE_OPTIONS_SPY_minus999_20260928", 3),
        ("CHART_EQUITY_SPY_20261005_0700", 24),
    ],
)
def test_every_item_of_the_captures_is_understood(shared_data: Path, name: str, items_in_it: int) -> None:
    """Nothing is rejected; each value that we read is the captured one, or absent by the table."""
    found = captured(shared_data / f"schwab_stream_{name}.jsonl.gz")
    assert len(found) == items_in_it
    for service, item in found:
        decoded = decode(frame(service, item))
        assert decoded.rejected == []
        if service == "CHART_EQUITY":
            (bar,) = decoded.bars
            prices = [round(item[number] * PRICE_SCALE) for number in "2345"]
            assert [bar.open, bar.high, bar.low, bar.close] == prices
            assert (bar.key, bar.minute_us, bar.volume) == (item["key"], item["7"] * 1000, item["6"])
            continue
        record: type[Any] = EquityUpdate if service == "LEVELONE_EQUITIES" else OptionUpdate
        (update,) = decoded.updates or decoded.options
        values = said(update, record)
        assert values.pop("key") == item["key"]
        for field in SERVICES[service]:
            if field.name in record.__struct_fields__ and str(field.number) in item:
                sent = item[str(field.number)]
                assert values.pop(field.name) == (None if sent in field.absent else sent)
        assert values == {}


def test_the_captured_option_on_its_last_day(shared_data: Path) -> None:
    """01:00 ET: greeks -999, theoretical -1, quote time 0; 08:05 ET: high, low, open 0 again."""
    name = "schwab_stream_LEVELONE_OPTIONS_SPY_minus999_20260928.jsonl.gz"
    before, night, morning = [options(item).options[0] for _service, item in captured(shared_data / name)]
    assert (before.strike, before.contract_type, before.root, before.settlement_type) == (772.0, "C", "SPY", "P")
    assert (before.expiration_year, before.expiration_month, before.expiration_day) == (2026, 9, 28)
    assert (before.multiplier, before.exercise_type, before.underlying) == (100, "A", "SPY")
    assert before.implied_volatility_percent == 8.23847625
    absent = ("implied_volatility_percent", "delta", "gamma", "theta", "vega", "rho", "theoretical", "quote_time_ms")
    assert [getattr(night, name) for name in absent] == [None] * len(absent)
    assert (night.security_status, night.bid_size, night.bid) == ("Unknown", 0, UNSET)
    assert (morning.volume, morning.open_interest, morning.quote_time_ms) == (0, 5995, None)


def test_the_index_streams_without_ask_and_volume(shared_data: Path) -> None:
    found = captured(shared_data / "schwab_stream_LEVELONE_EQUITIES_20261005_1500ET.jsonl.gz")
    (update,) = [decode(frame(*one)).updates[0] for one in found if one[1]["key"] == "$SPX"]
    assert update.last is not UNSET
    assert update.ask is update.volume is UNSET
