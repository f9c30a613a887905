"""Orders of faults: their spelling, when they are due, and how often; switches likewise."""

from __future__ import annotations

from datetime import time

import pytest

from alphakite.errors import UsageError
from alphakite.simulator.faults import NAMES, VALUES, Faults, parse_fault
from alphakite.simulator.switches import SWITCHES, parse_switches

NOON = time(12)


@pytest.mark.parametrize(
    ("spec", "name", "value", "day", "at", "left"),
    [
        ("drop", "drop", "", 1, None, 1),
        ("dropx3", "drop", "", 1, None, 3),
        ("dropx0", "drop", "", 1, None, None),
        ("close=1011@10:15", "close", "1011", 1, time(10, 15), 1),
        ("close=1011@10:15:30x2", "close", "1011", 1, time(10, 15, 30), 2),
        ("drop@2:10:15", "drop", "", 2, time(10, 15), 1),
        ("drop@2:10:15:00", "drop", "", 2, time(10, 15), 1),
        ("drop@12:10:15:00", "drop", "", 12, time(10, 15), 1),
        ("skew=-500", "skew", "-500", 1, None, 1),
        ("silence=2.5", "silence", "2.5", 1, None, 1),
        ("code=22:SUBS", "code", "22:SUBS", 1, None, 1),
        ("rest=500:/marketdata/v1/chains@09:30x2", "rest", "500:/marketdata/v1/chains", 1, time(9, 30), 2),
        ("oauth=deadx0", "oauth", "dead", 1, None, None),
    ],
)
def test_spelling(spec: str, name: str, value: str, day: int, at: time | None, left: int | None) -> None:
    fault = parse_fault(spec)
    assert (fault.name, fault.value, fault.day, fault.at, fault.left) == (name, value, day, at, left)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "explode",
        "drop@",
        "drop@25:00",
        "drop@10:75",
        "drop@0:10:15",
        "drop@100:10:15:00",
        "drop=now",
        "close=99",
        "garbage=sand",
        "silence",
        "skew=soon",
        "code",
        "code=31",
        "code=30",
        "stop=now",
        "huge=-1",
        "dropx",
    ],
)
def test_what_is_no_order(spec: str) -> None:
    """Each is refused with a next step."""
    with pytest.raises(UsageError) as caught:
        parse_fault(spec)
    assert caught.value.next_step


def test_due_from_its_time_on_and_so_often() -> None:
    faults = Faults(("drop@12:00x2", "drop@2:04:00"))
    assert faults.take("drop", time(11, 59, 59)) is None
    assert faults.take("close", NOON) is None
    assert [faults.take("drop", NOON) is not None for _ in range(3)] == [True, True, False]
    assert faults.take("drop", time(3, 59), day=2) is None
    assert faults.take("drop", time(4), day=2) is not None
    assert faults.take("drop", time(5), day=2) is None


def test_the_first_day_s_order_is_due_on_every_later_one() -> None:
    faults = Faults(("dropx0",))
    late = Faults(("drop@20:00",))
    assert all(faults.take("drop", NOON, day=day) for day in (1, 2, 30))
    assert late.take("drop", NOON) is None and late.take("drop", NOON, day=2) is not None


def test_accepts_chooses_by_value() -> None:
    faults = Faults(("oauth=503", "oauth=dead"))
    fault = faults.take("oauth", NOON, "dead")
    assert fault is not None and fault.value == "dead"
    assert faults.take("oauth", NOON, "dead") is None and faults.take("oauth", NOON) is not None


def test_every_value_form_is_of_a_name() -> None:
    assert set(VALUES) <= set(NAMES)


def test_switches() -> None:
    assert parse_switches(()) == {name: switch.values[0] for name, switch in SWITCHES.items()}
    assert parse_switches(("evicts=newer",))["evicts"] == "newer"
    for wrong in ("evict=newer", "evicts=both", "evicts"):
        with pytest.raises(UsageError):
            parse_switches((wrong,))
