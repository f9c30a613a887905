"""Frames → changed fields: captured shapes, every field's "absent", bad values beside good ones, garbage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from alphakite.feed.schwab.decode import Decoded, decode, stamp_ms
from alphakite.feed.schwab.fields import EQUITY, MAX_PRICE, MAX_TIME_MS, MAX_WHOLE
from alphakite.model import ChartBar, EquityUpdate, OptionUpdate

GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "golden" / "schwab_frames.json").read_text(encoding="utf-8")
)
AT_MS = 1795446904182
READ = EquityUpdate.__struct_fields__[1:]
NAMES = {field.name: str(field.number) for field in EQUITY if field.name in READ and field.name != "security_status"}
OTHER = [field.number for field in EQUITY if field.name not in READ]
PRICES = ("bid", "ask", "last")
SIZES = ("bid_size", "ask_size", "volume", "last_size")
TIMES = ("quote_time_ms", "trade_time_ms", "regular_trade_time_ms")


def frame(*items: str, service: str = "LEVELONE_EQUITIES") -> bytes:
    """A data frame whose items are given as JSON text."""
    content = ",".join(items)
    return (
        f'{{"data":[{{"service":"{service}", "timestamp":{AT_MS},"command":"SUBS","content":[{content}]}}]}}'
    ).encode()


def said(records: list[Any], kind: type[Any]) -> list[dict[str, Any]]:
    """Records as plain dictionaries of what was in the message."""
    return [
        {name: value for name in kind.__struct_fields__ if (value := getattr(record, name)) is not UNSET}
        for record in records
    ]


def changed(decoded: Decoded) -> list[dict[str, Any]]:
    """The updates of equities."""
    return said(decoded.updates, EquityUpdate)


def test_the_three_kinds_of_number_are_all_there_are() -> None:
    assert set(NAMES) == {*PRICES, *SIZES, *TIMES}


@pytest.mark.parametrize("golden", GOLDEN, ids=[golden["name"] for golden in GOLDEN])
def test_frames_of_the_schwab_reference(golden: dict[str, Any]) -> None:
    """Names as in the reference's list of literal frames; what cannot be used is counted, never guessed."""
    payload = golden["frame"].encode()
    decoded = decode(payload)
    assert decoded.kind == golden["kind"]
    assert stamp_ms(payload) == golden["stamp_ms"]
    assert changed(decoded) == golden["updates"]
    assert said(decoded.options, OptionUpdate) == golden["options"]
    assert said(decoded.bars, ChartBar) == golden["bars"]
    assert len(decoded.rejected) == golden["rejected"], decoded.rejected


TABLE: list[tuple[str, str, object]] = [
    *[(name, text, None) for name in NAMES for text in ("null", '"NaN"', '""', "-999", "-999.0", "NaN")],
    *[(name, "0", None) for name in (*PRICES, *TIMES)],
    *[(name, "0", 0) for name in SIZES],
    *[(name, "0.0", 0) for name in SIZES],
    *[(name, text, None) for name in PRICES for text in ("0.0", "-0.0", "-0.01")],
    *[(name, text, float(text)) for name in PRICES for text in ("604", "604.11", "0.0001", str(MAX_PRICE))],
    *[(name, "7.0", 7) for name in SIZES],
    *[(name, str(MAX_WHOLE), MAX_WHOLE) for name in SIZES],
    *[(name, str(AT_MS), AT_MS) for name in TIMES],
    *[(name, str(MAX_TIME_MS), MAX_TIME_MS) for name in TIMES],
    *[
        (name, text, UNSET)
        for name in NAMES
        for text in ("true", "false", '"604.11"', '"-999"', "[]", "{}", "[604]", "1e300", "1e400", "Infinity")
    ],
    *[(name, "9" * digits, UNSET) for name in NAMES for digits in (20, 400, 5000)],
    *[(name, "7.5", UNSET) for name in (*SIZES, *TIMES)],
    *[(name, str(MAX_WHOLE + 1), UNSET) for name in SIZES],
    *[(name, str(MAX_TIME_MS + 1), UNSET) for name in TIMES],
]


@pytest.mark.parametrize(("name", "text", "expected"), TABLE, ids=[f"{name}={text[:24]}" for name, text, _ in TABLE])
def test_every_value_of_every_field(name: str, text: str, expected: object) -> None:
    """0 is a size and no price; -999, null, "NaN" and "" are absent everywhere; a wrong type is refused and named.

    Whatever it is, the other fields of the item and the other items of the frame are decoded.
    """
    other = "ask" if name != "ask" else "bid"
    decoded = decode(frame(f'{{"key":"QQQ","{NAMES[name]}":{text},"{NAMES[other]}":604.13}}', '{"key":"SPY","8":7}'))
    qqq, spy = changed(decoded)
    assert spy == {"key": "SPY", "volume": 7}
    assert qqq.pop(other) == 604.13
    if expected is UNSET:
        assert qqq == {"key": "QQQ"}
        assert len(decoded.rejected) == 1
        assert f"field {NAMES[name]} ({name})" in decoded.rejected[0]
    else:
        assert qqq == {"key": "QQQ", name: expected}
        assert type(qqq[name]) is type(expected)
        assert decoded.rejected == []


values = st.fixed_dictionaries(
    {"key": st.sampled_from(["QQQ", "SPY", "$SPX", "BRK/B"])},
    optional={
        **{NAMES[name]: st.floats(0.0001, 1e6) | st.integers(1, 100_000) for name in PRICES},
        **{NAMES[name]: st.integers(0, 2**53) for name in SIZES},
        **{NAMES[name]: st.integers(1, MAX_TIME_MS) for name in TIMES},
        **{str(number): st.none() | st.booleans() | st.text() | st.floats(-9, 9) for number in OTHER[::5]},
    },
)


@given(st.lists(values, max_size=4))
def test_the_quick_and_the_slow_way_agree(items: list[dict[str, Any]]) -> None:
    """An unknown field sends the frame the slow way: it costs that field, and changes nothing else."""
    quick = decode(frame(*map(json.dumps, items)))
    slow = decode(frame(*map(json.dumps, items), '{"key":"XYZ","99":1}'))
    assert changed(slow) == [*changed(quick), {"key": "XYZ"}]
    assert quick.rejected == []
    assert [reason[:23] for reason in slow.rejected] == ["XYZ: unknown field '99'"]
    reversed_keys = [dict(reversed(item.items())) for item in items]
    assert changed(decode(frame(*map(json.dumps, reversed_keys)))) == changed(quick)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Halted"', "Halted"),
        ("null", None),
        ('""', None),
        ('"NaN"', None),
        ("7", UNSET),
        ("true", UNSET),
        ("[]", UNSET),
        ('"a\\u0000b"', UNSET),
        ('"\\ud800"', UNSET),
        ('"' + "x" * 513 + '"', UNSET),
    ],
)
def test_the_security_status(text: str, expected: object) -> None:
    """A text that no database can hold is refused like any other value of the wrong type."""
    for more in ("", ',"99":1'):  # the quick way and the slow one
        decoded = decode(frame(f'{{"key":"QQQ","32":{text},"8":7{more}}}'))
        (update,) = changed(decoded)
        assert update == {"key": "QQQ", "volume": 7} | ({} if expected is UNSET else {"security_status": expected})
        assert len(decoded.rejected) == (expected is UNSET) + bool(more)


@pytest.mark.parametrize("field", ["99", "52", "-1", "03", "3.0", " 3", "²", "٣", "", "last", "9" * 5000])
def test_an_unknown_field_is_counted_and_nothing_else_is_lost(field: str) -> None:
    """A name is known only as Schwab spells it: a digit of another alphabet is no field number."""
    decoded = decode(frame(json.dumps({"key": "QQQ", field: 1, "3": 604.12})))
    assert changed(decoded) == [{"key": "QQQ", "last": 604.12}]
    assert len(decoded.rejected) == 1


def test_two_bad_values_and_good_neighbours() -> None:
    decoded = decode(frame('{"key":"QQQ","1":"604.11","2":604.13,"8":[1]}', '{"3":1}', "7", '{"key":7}', '{"key":"A"}'))
    assert changed(decoded) == [{"key": "QQQ", "ask": 604.13}, {"key": "A"}]
    assert len(decoded.rejected) == 5


def test_an_unknown_service_is_counted_beside_a_known_one() -> None:
    known = frame('{"key":"QQQ","3":604.12}')[9:-2].decode()
    for other in ('{"service":"NEW","timestamp":1,"command":"SUBS","content":[]}', '{"service":[]}', "7", "{}", "null"):
        decoded = decode(f'{{"data":[{other},{known}]}}'.encode())
        assert changed(decoded) == [{"key": "QQQ", "last": 604.12}]
        assert len(decoded.rejected) == 1


@pytest.mark.parametrize("missing", ["timestamp", "command"])
def test_an_element_without_a_part_of_its_envelope_still_counts(missing: str) -> None:
    document = json.loads(frame('{"key":"QQQ","3":604.12}', '{"key":"SPY","8":"x"}'))
    del document["data"][0][missing]
    decoded = decode(json.dumps(document).encode())
    assert changed(decoded) == [{"key": "QQQ", "last": 604.12}, {"key": "SPY"}]
    assert len(decoded.rejected) == 1


@pytest.mark.parametrize("content", ["null", "7", '"x"', "{}", '{"key":"QQQ"}'])
def test_content_that_is_no_list_is_refused(content: str) -> None:
    whole = frame().replace(b'"content":[]', b'"content":' + content.encode())
    decoded = decode(whole)
    assert (decoded.kind, decoded.updates, len(decoded.rejected)) == ("data", [], 1)


@pytest.mark.parametrize(
    "text",
    ["", " ", "null", "7", '"x"', "[]", "{}", '{"data":null}', '{"data":{}}', '{"data":7}', '{"snapshot":[]}', "\x00"],
)
def test_an_envelope_of_another_shape_is_refused_once(text: str) -> None:
    decoded = decode(text.encode())
    assert (decoded.kind, decoded.updates, len(decoded.rejected)) == ("other", [], 1)


@pytest.mark.parametrize("golden", GOLDEN, ids=[golden["name"] for golden in GOLDEN])
def test_a_frame_cut_at_any_byte_is_refused_once(golden: dict[str, Any]) -> None:
    payload = golden["frame"].encode()
    for length in range(len(payload)):
        decoded = decode(payload[:length])
        assert (decoded.kind, decoded.updates, len(decoded.rejected)) == ("other", [], 1)


def test_bytes_that_are_not_utf8_cost_only_their_value() -> None:
    decoded = decode(frame('{"key":"QQQ","3":604.12,"15":"\u00e9"}').replace("\u00e9".encode(), b"\xe9"))
    assert changed(decoded) == [{"key": "QQQ", "last": 604.12}]


def test_nesting_without_end_is_refused() -> None:
    for deep in (b"[" * 100_000, b'{"data":' * 50_000, frame('{"key":"Q","15":' + "[" * 50_000 + "]" * 50_000 + "}")):
        decoded = decode(deep)
        assert decoded.updates == []
        assert len(decoded.rejected) == 1


@given(st.binary())
def test_random_bytes_never_raise(payload: bytes) -> None:
    decoded = decode(payload)
    assert decoded.updates == []
    assert len(decoded.rejected) == 1
    stamp_ms(payload)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["key", "1", "8", "34", "99", "²"]), inner),
    ),
    st.sampled_from(["whole", "data", "element", "service", "content", "item", "value"]),
)
def test_any_json_in_any_place_never_raises(value: Any, place: str) -> None:
    """And what is decoded is of the type it should be."""
    item: Any = value if place == "item" else {"key": "QQQ", "1": value, "8": value, "34": value}
    element = {
        "service": value if place == "service" else "LEVELONE_EQUITIES",
        "timestamp": AT_MS,
        "command": "SUBS",
        "content": value if place == "content" else [item, {"key": "SPY"}],
    }
    whole = {"data": value if place == "data" else [value if place == "element" else element]}
    decoded = decode(json.dumps(value if place == "whole" else whole).encode("utf-8", "surrogatepass"))
    for update in changed(decoded):
        for name, got in update.items():
            assert got is None or type(got) is (str if name == "key" else float if name in PRICES else int), name


@given(st.sampled_from(GOLDEN), st.data())
def test_a_flipped_byte_never_raises(golden: dict[str, Any], data: st.DataObject) -> None:
    payload = bytearray(golden["frame"].encode())
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    decode(bytes(payload))
    stamp_ms(bytes(payload))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"notify":[{"heartbeat":"1795446914133"}]}', 1795446914133),
        (
            '{"data":[{"timestamp":1795446914133},{"timestamp":1795446914139},{"timestamp":1795446914131}]}',
            1795446914139,
        ),
        ('{"data":[{"timestamp":"1795446914133"}]}', None),
        ('{"data":[{"timestamp":-999}]}', None),
        ('{"data":[{"timestamp":9999999999999999}]}', None),
        (f'{{"data":[{{"timestamp":{MAX_TIME_MS + 1}}},{{"timestamp":{MAX_TIME_MS}}}]}}', MAX_TIME_MS),
        ('{"data":[{"quotetimestamp":1795446914133}]}', None),
        ('{"data":[{"note":"\\"timestamp\\":1795446914133"}]}', None),
        ("", None),
    ],
)
def test_the_time_a_frame_tells(text: str, expected: int | None) -> None:
    """The greatest of the frame; one that no record could hold is none."""
    assert stamp_ms(text.encode()) == expected
