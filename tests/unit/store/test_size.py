"""The size as the schema's functions say it, and the days that pruning goes through."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alphakite.errors import FatalError
from alphakite.store.partitions import DAY_US
from alphakite.store.room import windows
from alphakite.store.size import Part, Pruned, Removed, Size, read, read_pruned, read_removed

SAID: dict[str, Any] = {
    "bytes": 1000,
    "now": 5 * DAY_US,
    "partitions": [
        ["option_prices", "option_prices_19700103", 2 * DAY_US, 3 * DAY_US, False, 30],
        ["option_prices", "option_prices_19700102", DAY_US, 2 * DAY_US, False, 50],
        ["option_prices", "option_prices_default", None, None, True, 10],
        ["equity_data", "equity_data_before", None, DAY_US, False, 100],
    ],
}


@pytest.mark.parametrize("found", [SAID, json.dumps(SAID), json.dumps(SAID).encode()])
def test_read(found: Any) -> None:
    """Text, as a connection of our own has it, or decoded, as REST has it."""
    size = read(found)
    assert (size.bytes, size.now_us, len(size.parts)) == (1000, 5 * DAY_US, 4)
    assert size.by_table() == {"equity_data": 100, "option_prices": 90}
    assert list(size.by_table()) == ["equity_data", "option_prices"]
    assert [day.bytes for day in size.days("option_prices")] == [50, 30]
    assert size.days("equity_data") == size.days("nothing") == ()
    assert [part.is_day for part in size.parts] == [True, True, False, False]


def test_read_what_a_removal_did() -> None:
    """Both kinds."""
    assert read_removed('{"rows": {"equity_data": 3}, "bytes": 8192}') == Removed({"equity_data": 3}, 8192)
    said = [{"partition": "p", "low": None, "high": 7, "rows": 1, "bytes": 0}]
    assert read_pruned(said) == (Pruned("p", None, 7, 1, 0),)


@pytest.mark.parametrize("found", [None, "", "[]", {}, SAID | {"bytes": "x"}, SAID | {"partitions": [["a"]]}])
def test_another_shape_is_no_size(found: Any) -> None:
    """Whatever answers."""
    with pytest.raises(FatalError):
        read(found)


def test_windows() -> None:
    """Each day by itself, the first also with what is older; the last up to the edge, a midnight."""
    days = [Part("equity_data", str(at), at * DAY_US, (at + 1) * DAY_US, False, 1) for at in (4, 2, 3, 9)]
    size = Size(9, 10 * DAY_US, (*days, Part("equity_data", "d", None, None, True, 1)))
    assert windows(size, "equity_data", 6 * DAY_US + 5) == [
        (None, 3 * DAY_US),
        (3 * DAY_US, 4 * DAY_US),
        (4 * DAY_US, 5 * DAY_US),
        (5 * DAY_US, 6 * DAY_US),
    ]
    assert windows(size, "equity_data", 3 * DAY_US) == [(None, 3 * DAY_US)]
    assert windows(size, "option_prices", DAY_US) == [(None, DAY_US)]
