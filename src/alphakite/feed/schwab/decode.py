"""Frames → changed fields; pure.

In:   the text of one WebSocket message.      Out:  Decoded: updates in the order of the frame, and what was rejected.
The quick way decodes straight into structs and refuses anything unknown; what it refuses is taken apart item by item,
so that one bad value costs that value, never its neighbours. Nothing here raises for bad input.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from alphakite.feed.schwab.fields import ABSENT, DATA_SERVICES, EQUITY_FIELDS, EQUITY_OTHER, META, PRICES
from alphakite.model import EquityUpdate

STAMP = re.compile(rb'"(?:timestamp":|heartbeat":")(\d{10,16})')


class Decoded(Struct, gc=False):
    """What one frame held. `kind`: data, response, notify, other. `other_items`: of journaled-only services."""

    kind: str
    updates: list[EquityUpdate]
    rejected: list[str]
    other_items: int = 0


_PRICE = Annotated[float, Meta(gt=0)] | UnsetType
_SIZE = Annotated[int, Meta(ge=0)] | UnsetType
_TIME = Annotated[int, Meta(gt=0)] | UnsetType
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
"""The quick form of EquityUpdate: every known field by number; an unknown one, a wrong type or an absent value is refused."""


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
    return max(map(int, stamps)) if stamps else None


def decode(payload: bytes) -> Decoded:
    """Take one frame apart. Never raises: what cannot be used is named in `rejected`."""
    try:
        frame = _frame_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _refused(payload, str(error))
    if frame.data is UNSET:
        kind = "response" if frame.response is not UNSET else "notify" if frame.notify is not UNSET else "other"
        return Decoded(kind, [], [] if kind != "other" else ["neither data, response nor notify: kept in the journal"])
    decoded = Decoded("data", [], [])
    for element in frame.data:
        if element.service == "LEVELONE_EQUITIES":
            try:
                items = _items_decoder.decode(element.content)
            except msgspec.DecodeError:
                _slowly(element.content, decoded)
                continue
            decoded.updates += items
        elif element.service in DATA_SERVICES:
            decoded.other_items += 1
        else:
            decoded.rejected.append(f"unknown service {element.service!r}: kept in the journal, not stored")
    return decoded


def _slowly(content: msgspec.Raw, decoded: Decoded) -> None:
    """Item by item, value by value: keep what is sound, name what is not."""
    items = _any_decoder.decode(content)
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
            if field in META:
                continue
            name = EQUITY_FIELDS.get(int(field)) if field.isdigit() else None
            if name is None:
                if not field.isdigit() or int(field) not in EQUITY_OTHER:
                    decoded.rejected.append(f"{key}: unknown field {field!r}: kept in the journal, not stored")
                continue
            number = _number(name, value)
            if number is UNSET:
                decoded.rejected.append(f"{key}: field {field} ({name}) is {value!r}: kept in the journal, not stored")
            else:
                setattr(update, name, number)
        decoded.updates.append(update)


def _number(name: str, value: object) -> float | int | UnsetType | None:
    """The value of a field, None if it says "absent", UNSET if it cannot be one."""
    if value is None or value in ("NaN", ""):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNSET
    if value in ABSENT[name] or value < 0:
        return None
    if name in PRICES:
        return float(value)
    return int(value) if float(value).is_integer() else UNSET


def _refused(payload: bytes, reason: str) -> Decoded:
    """A frame that the typed envelope refuses: not JSON, or an envelope of another shape."""
    try:
        whole = _any_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Decoded("other", [], [f"not JSON ({reason}): kept in the journal, not stored"])
    decoded = Decoded("data", [], [])
    elements = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(elements, list):
        return Decoded("other", [], [f"envelope of an unknown shape ({reason}): kept in the journal, not stored"])
    for element in elements:
        if isinstance(element, dict) and element.get("service") == "LEVELONE_EQUITIES":
            _slowly(msgspec.Raw(msgspec.json.encode(element.get("content"))), decoded)
        elif isinstance(element, dict) and element.get("service") in DATA_SERVICES:
            decoded.other_items += 1
        else:
            decoded.rejected.append("an element of an unknown shape or service: kept in the journal, not stored")
    return decoded
