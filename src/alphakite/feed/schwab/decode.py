"""Frames → changed fields; pure.

In:   the text of one WebSocket message.      Out:  Decoded: updates in the order of the frame, and what was rejected.
The quick way decodes straight into structs and refuses anything unknown; what it refuses is taken apart item by item,
so that one bad value costs that value, never its neighbours. Nothing here raises for bad input.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from alphakite.feed.schwab.fields import (
    ABSENT,
    DATA_SERVICES,
    EQUITY_FIELDS,
    EQUITY_OTHER,
    MAX_PRICE,
    MAX_TIME_MS,
    MAX_WHOLE,
    META,
    PRICES,
)
from alphakite.model import EquityUpdate

STAMP = re.compile(rb'"(?:timestamp":|heartbeat":")(\d{10,13})(?!\d)')
BAD = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding raises for bytes that are not JSON, not UTF-8, out of range or nested without end."""
READ = {str(number): name for number, name in EQUITY_FIELDS.items()}
KNOWN = frozenset(META) | {str(number) for number in EQUITY_OTHER}


class Decoded(Struct, gc=False):
    """What one frame held. `kind`: data, response, notify, other. `other_items`: of journaled-only services."""

    kind: str
    updates: list[EquityUpdate]
    rejected: list[str]
    other_items: int = 0


_PRICE = Annotated[float, Meta(gt=0, le=MAX_PRICE)] | UnsetType
_SIZE = Annotated[int, Meta(ge=0, le=MAX_WHOLE)] | UnsetType
_TIME = Annotated[int, Meta(gt=0, le=MAX_TIME_MS)] | UnsetType
_TYPES = {
    name: _PRICE if name in PRICES else _TIME if name.endswith("_ms") else _SIZE for name in EQUITY_FIELDS.values()
}
_Item = msgspec.defstruct(
    "_Item",
    [
        ("key", str),
        *[(name, kind, UNSET) for name, kind in _TYPES.items()],
        *[(f"f{number}", Any, UNSET) for number in EQUITY_OTHER],
        *[(name, Any, UNSET) for name in META[1:]],
    ],
    rename={name: str(number) for number, name in EQUITY_FIELDS.items()} | {f"f{n}": str(n) for n in EQUITY_OTHER},
    forbid_unknown_fields=True,
    gc=False,
)
"""The quick form of EquityUpdate: every known field by number; an unknown one, a wrong type or "absent" is refused."""


class _Element(Struct, gc=False):
    service: str
    timestamp: int
    command: str
    content: msgspec.Raw


class _Frame(Struct, gc=False):
    data: list[_Element] | UnsetType = UNSET
    response: msgspec.Raw | UnsetType = UNSET
    notify: msgspec.Raw | UnsetType = UNSET


_frame_decoder = msgspec.json.Decoder(_Frame)
_items_decoder = msgspec.json.Decoder(list[_Item])  # type: ignore[valid-type]
_any_decoder = msgspec.json.Decoder()


def stamp_ms(payload: bytes) -> int | None:
    """The greatest `timestamp` or `heartbeat` in a frame, epoch milliseconds; None if it has none."""
    stamps = STAMP.findall(payload)
    return max((stamp for stamp in map(int, stamps) if stamp <= MAX_TIME_MS), default=None)


def decode(payload: bytes) -> Decoded:
    """Take one frame apart. Never raises: what cannot be used is named in `rejected`."""
    try:
        frame = _frame_decoder.decode(payload)
    except BAD as error:
        return _refused(payload, str(error))
    if frame.data is UNSET:
        kind = "response" if frame.response is not UNSET else "notify" if frame.notify is not UNSET else "other"
        return Decoded(kind, [], [] if kind != "other" else ["neither data, response nor notify: kept in the journal"])
    decoded = Decoded("data", [], [])
    for element in frame.data:
        if element.service == "LEVELONE_EQUITIES":
            try:
                items = _items_decoder.decode(element.content)
            except BAD:
                _slowly(_parsed(element.content), decoded)
                continue
            decoded.updates += items
        elif element.service in DATA_SERVICES:
            decoded.other_items += 1
        else:
            decoded.rejected.append(f"unknown service {element.service!r:.80}: kept in the journal, not stored")
    return decoded


def _parsed(data: bytes | msgspec.Raw) -> Any:
    """The JSON in `data`, also with bare NaN, numbers out of range, bytes that are not UTF-8; UNSET if it is none."""
    try:
        return _any_decoder.decode(data)
    except BAD:
        pass
    try:  # of a number with more digits than any value, forty say enough
        return json.loads(bytes(data).decode("utf-8", "replace"), parse_int=lambda digits: int(digits[:40]))
    except BAD:
        return UNSET


def _slowly(items: object, decoded: Decoded) -> None:
    """Item by item, value by value: keep what is sound, name what is not."""
    if not isinstance(items, list):
        decoded.rejected.append("content is not a list: kept in the journal, not stored")
        return
    for item in items:
        key = item.get("key") if isinstance(item, dict) else None
        if not isinstance(key, str):
            decoded.rejected.append("an item without a key: kept in the journal, not stored")
            continue
        update = EquityUpdate(key)
        for field, value in item.items():
            name = READ.get(field)
            if name is None:
                if field not in KNOWN:
                    decoded.rejected.append(f"{key:.80}: unknown field {field!r:.80}: kept in the journal, not stored")
                continue
            number = _number(name, value)
            if number is UNSET:
                decoded.rejected.append(
                    f"{key:.80}: field {field} ({name}) is {value!r:.80}: kept in the journal, not stored"
                )
            else:
                setattr(update, name, number)
        decoded.updates.append(update)


def _number(name: str, value: object) -> float | int | UnsetType | None:
    """The value of a field, None if it says "absent", UNSET if it cannot be one."""
    if value is None or value in ("NaN", ""):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNSET
    if value in ABSENT[name] or value < 0 or value != value:  # NaN
        return None
    if name in PRICES:
        return float(value) if value <= MAX_PRICE else UNSET
    most = MAX_TIME_MS if name.endswith("_ms") else MAX_WHOLE
    return int(value) if value <= most and value == int(value) else UNSET


def _refused(payload: bytes, reason: str) -> Decoded:
    """A frame that the typed envelope refuses: not JSON, or an envelope of another shape."""
    whole = _parsed(payload)
    if whole is UNSET:
        return Decoded("other", [], [f"not JSON ({reason}): kept in the journal, not stored"])
    decoded = Decoded("data", [], [])
    elements = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(elements, list):
        return Decoded("other", [], [f"envelope of an unknown shape ({reason}): kept in the journal, not stored"])
    for element in elements:
        service = element.get("service") if isinstance(element, dict) else None
        if service == "LEVELONE_EQUITIES":
            _slowly(element.get("content"), decoded)
        elif isinstance(service, str) and service in DATA_SERVICES:
            decoded.other_items += 1
        else:
            decoded.rejected.append("an element of an unknown shape or service: kept in the journal, not stored")
    return decoded
