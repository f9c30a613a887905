"""The tables of fields: every number of every service, and for each field what is a value and what is absent."""

from __future__ import annotations

import math
from typing import Any

import pytest
from msgspec import UNSET

from alphakite.feed.schwab.decode import clean, decode
from alphakite.feed.schwab.fields import (
    CHART,
    EQUITY,
    MAX_TEXT,
    MOST,
    OPTION,
    REQUEST,
    SERVICES,
    SIGNED,
    Field,
    Kind,
)
from alphakite.model import EquityUpdate, OptionUpdate

EVERY = [(service, field) for service, fields in SERVICES.items() for field in fields]
IDS = [f"{service} {field.number} {field.name}" for service, field in EVERY]
every_field = pytest.mark.parametrize(("service", "field"), EVERY, ids=IDS)
WHOLE = (Kind.SIZE, Kind.COUNT, Kind.TIME)


@pytest.mark.parametrize(("fields", "last"), [(EQUITY, 51), (OPTION, 55), (CHART, 8)])
def test_every_number_has_one_name(fields: tuple[Field, ...], last: int) -> None:
    assert [field.number for field in fields] == list(range(last + 1))
    assert len({field.name for field in fields}) == len(fields)


def test_the_request_names_every_field() -> None:
    assert REQUEST["LEVELONE_EQUITIES"] == ",".join(map(str, range(52)))
    assert REQUEST["LEVELONE_OPTIONS"] == ",".join(map(str, range(56)))
    assert REQUEST["CHART_EQUITY"] == "0,1,2,3,4,5,6,7,8"


def test_every_record_is_filled_from_the_table() -> None:
    """A name in a record that no table has would never be filled."""
    for record, fields in ((EquityUpdate, EQUITY), (OptionUpdate, OPTION)):
        assert set(record.__struct_fields__) - {"key"} <= {field.name for field in fields}
        assert set(record.__annotations__) == set(record.__struct_fields__)


@every_field
def test_the_unit_is_the_last_part_of_the_name(service: str, field: Field) -> None:
    assert field.name.endswith("_ms") == (field.kind is Kind.TIME)
    assert field.name.endswith("_percent") == (field.kind is Kind.PERCENT)
    assert bool(field.absent) == bool(field.source), "an absent value has its source"


ABSENT: dict[str, dict[int, tuple[float, ...]]] = {
    "LEVELONE_EQUITIES": {
        **dict.fromkeys((1, 2, 3, 10, 11, 12, 17, 19, 20, 21, 24, 29, 33, 34, 35, 36, 37, 38), (0, -999)),
        **dict.fromkeys((4, 5, 8, 9, 30), (-999,)),
        **dict.fromkeys((46, 48, 49), (-1,)),
    },
    "LEVELONE_OPTIONS": {
        **dict.fromkeys((4, 5, 6, 7, 10, 12, 13, 15, 20, 23, 26, 35, 37, 38, 39, 42, 50, 51, 52, 53, 54), (0, -999)),
        **dict.fromkeys((2, 3, 8, 9, 16, 17, 18, 28, 29, 30, 31, 32), (-999,)),
        34: (-1, -999),
    },
    "CHART_EQUITY": {**dict.fromkeys((2, 3, 4, 5, 7), (0, -999)), 6: (-999,)},
}
"""By definitions: high, low, open 0; quote time 0; IV 0; greeks -999; theoretical -1; -1 in equity 46, 48, 49."""


@every_field
def test_what_means_absent(service: str, field: Field) -> None:
    assert field.absent == ABSENT[service].get(field.number, ())
    for value in (None, "NaN", "", *field.absent, *map(float, field.absent)):
        assert clean(field, value) is None
    if field.kind not in (Kind.TEXT, Kind.FLAG):
        assert clean(field, math.nan) is None
        if field.kind not in SIGNED:
            assert clean(field, -0.5) is None


@every_field
def test_what_is_a_value(service: str, field: Field) -> None:
    """0 is one unless the table says otherwise; the type is that of the kind."""
    kind = field.kind
    if kind is Kind.TEXT:
        assert clean(field, "ARCX") == "ARCX"
        assert clean(field, " ") == " "
        assert clean(field, "x" * MAX_TEXT) == "x" * MAX_TEXT
        return
    if kind is Kind.FLAG:
        assert [clean(field, value) for value in (True, False, 1, 0, 1.0)] == [True, False, True, False, True]
        return
    made = clean(field, 7)
    assert (made, type(made)) == (7, int if kind in WHOLE else float)
    assert type(clean(field, 7.0)) is type(made)
    assert clean(field, MOST[kind]) == MOST[kind]
    if 0 not in field.absent:
        assert clean(field, 0) == clean(field, 0.0) == 0
    if kind in SIGNED:
        assert clean(field, -0.25) == -0.25
        assert clean(field, -MOST[kind]) == -MOST[kind]
    if kind not in WHOLE:
        assert clean(field, 7.25) == 7.25


@every_field
def test_what_is_no_value(service: str, field: Field) -> None:
    wrong: list[Any] = [[], {}, [7]]
    if field.kind is Kind.TEXT:
        wrong += [7, 7.5, True, "a\x00b", "\ud800", "x" * (MAX_TEXT + 1)]
    elif field.kind is Kind.FLAG:
        wrong += ["true", "Y", 2, -7, 0.5]
    else:
        wrong += ["7", "-999", True, False, math.inf, MOST[field.kind] * 2]
        wrong += [7.5] if field.kind in WHOLE else []
    for value in wrong:
        assert clean(field, value) is UNSET, value


@every_field
def test_every_field_is_known_on_the_wire(service: str, field: Field) -> None:
    """Whatever a known field holds, its neighbours are decoded; nothing is rejected for being unknown."""
    value = '"C"' if field.kind is Kind.TEXT else "true" if field.kind is Kind.FLAG else "7"
    content = f'[{{"{field.number}":{value},"key":"K"}},{{"key":"L"}}]'
    text = f'{{"data":[{{"service":"{service}", "timestamp":1,"command":"SUBS","content":{content}}}]}}'
    decoded = decode(text.encode())
    if service == "CHART_EQUITY":
        assert all("a bar without" in reason for reason in decoded.rejected)
        return
    assert decoded.rejected == []
    records: list[Any] = decoded.updates if service == "LEVELONE_EQUITIES" else list(decoded.options)
    assert [record.key for record in records] == ["K", "L"]
    kinds = {Kind.TEXT: "C", Kind.FLAG: True}
    if hasattr(EquityUpdate("") if service == "LEVELONE_EQUITIES" else OptionUpdate(""), field.name):
        assert getattr(records[0], field.name) == kinds.get(field.kind, 7)
