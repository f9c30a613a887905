"""The JSON of GET /quotes → indices: what is taken, what is passed over, garbage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from alphakite.feed.schwab.quotes import Quotes, parameters, parse_quotes
from alphakite.model import EquityUpdate

SPX: dict[str, Any] = {
    "assetMainType": "INDEX",
    "realtime": True,
    "ssid": 1819771877,
    "symbol": "$SPX",
    "quote": {
        "52WeekHigh": 6660.41,
        "52WeekLow": 4835.04,
        "closePrice": 6629.07,
        "highPrice": 6660.41,
        "lastPrice": 6641.22,
        "lowPrice": 6630.05,
        "netChange": 12.15,
        "netPercentChange": 0.18328363,
        "openPrice": 6640.1,
        "securityStatus": "Normal",
        "totalVolume": 1234567,
        "tradeTime": 1795446903202,
    },
}
QQQ = {"assetMainType": "EQUITY", "symbol": "QQQ", "quote": {"lastPrice": 604.12, "totalVolume": 7}}


def parsed(document: object) -> Quotes:
    return parse_quotes(json.dumps(document).encode())


def said(update: EquityUpdate) -> dict[str, Any]:
    return {n: value for n in EquityUpdate.__struct_fields__ if (value := getattr(update, n)) is not UNSET}


def test_an_index_has_a_last_price_and_no_volume() -> None:
    """Others in the same answer are passed over, unknown symbols are named."""
    quotes = parsed({"$SPX": SPX, "QQQ": QQQ, "errors": {"invalidSymbols": ["$ZZZ9"]}})
    assert [said(update) for update in quotes.updates] == [
        {"key": "$SPX", "last": 6641.22, "trade_time_ms": 1795446903202, "security_status": "Normal"}
    ]
    assert (quotes.rejected, quotes.unknown) == ([], ["$ZZZ9"])


@pytest.mark.parametrize(
    ("changes", "expected", "rejected"),
    [
        ({"lastPrice": 6641}, {"last": 6641.0}, 0),
        ({"lastPrice": 0}, None, 0),
        ({"lastPrice": -999.0}, None, 0),
        ({"lastPrice": "NaN"}, None, 0),
        ({"lastPrice": None}, None, 0),
        ({"lastPrice": "6641.22"}, None, 1),
        ({"lastPrice": 1e300}, None, 1),
        ({"tradeTime": 0}, {"trade_time_ms": None}, 0),
        ({"tradeTime": 1.5}, {"trade_time_ms": UNSET}, 1),
        ({"securityStatus": ""}, {"security_status": None}, 0),
        ({"securityStatus": 7}, {"security_status": UNSET}, 1),
    ],
)
def test_absent_and_wrong_values(changes: dict[str, Any], expected: dict[str, Any] | None, rejected: int) -> None:
    """Without a last price there is nothing to tell; every other bad value costs itself."""
    quotes = parsed({"$SPX": SPX | {"quote": SPX["quote"] | changes}, "$VIX": SPX})
    assert len(quotes.rejected) == rejected
    if expected is None:
        assert [update.key for update in quotes.updates] == ["$VIX"]
    else:
        assert [update.key for update in quotes.updates] == ["$SPX", "$VIX"]
        assert {name: getattr(quotes.updates[0], name) for name in expected} == expected


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Access Denied</html>", b"[]", b"7", b"\xff", b"[" * 50_000, b'{"$SPX":7}', b'{"$SPX":{"quote":[]}}'],
)
def test_what_is_no_answer_is_refused_once(body: bytes) -> None:
    quotes = parse_quotes(body)
    assert (quotes.updates, quotes.unknown, len(quotes.rejected)) == ([], [], 1)


def test_an_error_of_the_whole_request_is_named() -> None:
    quotes = parsed({"errors": [{"status": "400", "title": "Bad Request"}]})
    assert "Bad Request" in quotes.rejected[0]


def test_bare_nan_and_endless_digits() -> None:
    body = b'{"$A":{"quote":{"lastPrice":NaN}},"$B":{"quote":{"lastPrice":%s}},"$C":{"quote":{"lastPrice":5}}}'
    quotes = parse_quotes(body % (b"9" * 6000))
    assert [update.key for update in quotes.updates] == ["$C"]
    assert len(quotes.rejected) == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["$SPX", "errors", "quote", "lastPrice", "tradeTime", "invalidSymbols"]), inner
            )
        ),
    )
)
def test_any_json_never_raises(document: Any) -> None:
    for update in parsed(document).updates:
        assert type(update.last) is float


@given(st.binary())
def test_any_bytes_never_raise(body: bytes) -> None:
    parse_quotes(body)


def test_a_request_names_the_symbols() -> None:
    assert parameters(("$SPX", "$VIX")) == {"symbols": "$SPX,$VIX", "fields": "quote"}
    assert len(parameters(tuple(f"${number}" for number in range(600)))["symbols"].split(",")) == 500
