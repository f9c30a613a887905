"""Frames → changed fields and minute bars; pure.

In:   the text of one WebSocket message.      Out:  Decoded: what it held, in the order of the frame, and what was
rejected. The quick way decodes straight into structs and refuses anything unknown or absent; an item that it refuses
is taken apart value by value, so that one bad value costs that value, never its neighbours. Nothing here raises.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from alphakite.feed.schwab.fields import CHART, EQUITY, MAX_TEXT, MAX_TIME_MS, META, MOST, OPTION, SIGNED, Field, Kind
from alphakite.model import PRICE_SCALE, ChartBar, EquityUpdate, OptionUpdate

STAMP = re.compile(rb'"(?:timestamp":|heartbeat":")(\d{10,13})(?!\d)')
BAD = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding raises for bytes that are not JSON, not UTF-8, out of range or nested without end."""
TEXT = r"\A(?!NaN\Z)[^\x00\ud800-\udfff]+\Z"
"""What a database can hold as text, and is not "absent"."""
MINUTE_MS = 60_000
KEPT = "kept in the journal, not stored"


class Decoded(Struct, gc=False):
    """What one frame held. `kind`: data, response, notify, other."""

    kind: str
    updates: list[EquityUpdate]
    rejected: list[str]
    options: list[OptionUpdate] = []
    bars: list[ChartBar] = []


class _Bar(Struct, gc=False):
    """One item of CHART_EQUITY as sent: dollars, shares, milliseconds. UNSET: not sent, None: absent."""

    key: str
    open: float | UnsetType | None = UNSET
    high: float | UnsetType | None = UNSET
    low: float | UnsetType | None = UNSET
    close: float | UnsetType | None = UNSET
    volume: int | UnsetType | None = UNSET
    minute_ms: int | UnsetType | None = UNSET


class _Element(Struct, gc=False):
    service: str
    timestamp: int
    command: str
    content: Raw


class _Frame(Struct, gc=False):
    data: list[_Element] | UnsetType = UNSET
    response: Raw | UnsetType = UNSET
    notify: Raw | UnsetType = UNSET


_frame_decoder = msgspec.json.Decoder(_Frame)
_any_decoder = msgspec.json.Decoder()
_raw_items_decoder = msgspec.json.Decoder(list[Raw])
_TEXT = re.compile(TEXT)


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
        return Decoded(kind, [], [] if kind != "other" else [f"neither data, response nor notify: {KEPT}"])
    decoded = Decoded("data", [], [])
    for element in frame.data:
        if element.service == "LEVELONE_EQUITIES":
            try:
                items = _equities.quick.decode(element.content)
            except BAD:
                items = _equities.items(element.content, decoded.rejected)
            decoded.updates = decoded.updates + items if decoded.updates else items
        elif (table := _tables.get(element.service)) is not None:
            try:
                items = table.quick.decode(element.content)
            except BAD:
                items = table.items(element.content, decoded.rejected)
            _take(table, items, decoded)
        else:
            decoded.rejected.append(f"unknown service {element.service!r:.80}: {KEPT}")
    return decoded


def clean(field: Field, value: object) -> float | int | str | bool | UnsetType | None:
    """The value of a field in the type of its kind; None if it says "absent", UNSET if it cannot be one."""
    if value is None or value in ("NaN", ""):
        return None
    kind = field.kind
    if kind is Kind.TEXT:
        return value if isinstance(value, str) and len(value) <= MAX_TEXT and _TEXT.match(value) else UNSET
    if kind is Kind.FLAG:
        if isinstance(value, bool):
            return value
        if not isinstance(value, int | float) or value not in (0, 1, *field.absent):
            return UNSET
        return None if value in field.absent else value == 1
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNSET
    if value in field.absent or value != value or (value < 0 and kind not in SIGNED):  # NaN
        return None
    if abs(value) > MOST[kind]:
        return UNSET
    if kind in (Kind.SIZE, Kind.COUNT, Kind.TIME):
        return int(value) if value == int(value) else UNSET
    return float(value)


class _Table:
    """How the items of one service are decoded: the quick struct has every known field, `record` those we read."""

    def __init__(self, fields: tuple[Field, ...], record: type[Struct]) -> None:
        names = set(record.__struct_fields__)
        self.record: Any = record
        self.read = {str(field.number): field for field in fields if field.name in names}
        self.known = {"key", *META, *(str(field.number) for field in fields)}
        places: list[tuple[str, Any, Any]] = []
        for field in fields:  # in the order of the wire: msgspec looks for each name behind the one before
            read = field.name in names
            places.append((field.name, _quick(field), UNSET) if read else (f"_{field.number}", Any, UNSET))
        item = msgspec.defstruct(
            record.__name__,
            [("key", str), *places, *((name, Any, UNSET) for name in META)],
            rename={place[0]: str(field.number) for place, field in zip(places, fields, strict=True)},
            forbid_unknown_fields=True,
            gc=False,
        )
        self.quick: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[item])  # type: ignore[valid-type]
        self.quick_one: msgspec.json.Decoder[Any] = msgspec.json.Decoder(item)

    def items(self, content: bytes | Raw, rejected: list[str]) -> list[Any]:
        """Item by item, each the quick way if it can be; else value by value."""
        try:
            raws = _raw_items_decoder.decode(content)
        except BAD:
            return self.slow_items(_parsed(content), rejected)
        found: list[Any] = []
        for raw in raws:
            try:
                found.append(self.quick_one.decode(raw))
            except BAD:
                found += self.slow_items([_parsed(raw)], rejected)
        return found

    def slow_items(self, items: object, rejected: list[str]) -> list[Any]:
        """Value by value: keep what is sound, name what is not."""
        if not isinstance(items, list):
            rejected.append(f"content is not a list: {KEPT}")
            return []
        found: list[Any] = []
        for item in items:
            key = item.get("key") if isinstance(item, dict) else None
            if not isinstance(key, str):
                rejected.append(f"an item without a key: {KEPT}")
                continue
            update = self.record(key)
            for number, value in item.items():
                field = self.read.get(number)
                if field is None:
                    if number not in self.known:
                        rejected.append(f"{key:.80}: unknown field {number!r:.80}: {KEPT}")
                    continue
                if (sound := clean(field, value)) is UNSET:
                    rejected.append(f"{key:.80}: field {number} ({field.name}) is {value!r:.80}: {KEPT}")
                else:
                    setattr(update, field.name, sound)
            found.append(update)
        return found


def _quick(field: Field) -> Any:
    """The type that admits a field's values and no absent one; what it refuses goes the slow way."""
    kind = field.kind
    if kind is Kind.TEXT:
        return Annotated[str, Meta(max_length=MAX_TEXT, pattern=TEXT)] | UnsetType
    most = MOST[kind]
    if kind in (Kind.SIZE, Kind.COUNT, Kind.TIME):
        least = Meta(gt=0, le=most) if 0 in field.absent else Meta(ge=0, le=most)
        return Annotated[int, least] | UnsetType
    if 0 in field.absent:
        return Annotated[float, Meta(gt=0, le=most)] | UnsetType
    return Annotated[float, Meta(gt=-999, le=most) if kind in SIGNED else Meta(ge=0, le=most)] | UnsetType


_equities = _Table(EQUITY, EquityUpdate)
_options = _Table(OPTION, OptionUpdate)
_charts = _Table(CHART, _Bar)
_tables = {"LEVELONE_EQUITIES": _equities, "LEVELONE_OPTIONS": _options, "CHART_EQUITY": _charts}


def _take(table: _Table, items: list[Any], decoded: Decoded) -> None:
    if table is _equities:
        decoded.updates += items
    elif table is _options:
        decoded.options += items
    else:
        decoded.bars += [bar for item in items if (bar := _bar(item, decoded.rejected)) is not None]


def _bar(bar: _Bar, rejected: list[str]) -> ChartBar | None:
    """A whole bar: low <= open, close <= high, at a whole minute; else it is rejected: its fields may be swapped."""
    missing = [name for name in _Bar.__struct_fields__[1:] if not isinstance(getattr(bar, name), int | float)]
    if missing:
        rejected.append(f"{bar.key:.80}: a bar without {', '.join(missing)}: {KEPT}")
        return None
    values: Any = bar  # all six are numbers now
    if not values.low <= min(values.open, values.close) <= max(values.open, values.close) <= values.high:
        shown = f"{values.open}, {values.high}, {values.low}, {values.close}"
        rejected.append(f"{bar.key:.80}: open, high, low, close of a bar are {shown}: {KEPT}")
        return None
    if values.minute_ms % MINUTE_MS:
        rejected.append(f"{bar.key:.80}: a bar at {values.minute_ms} ms, which is no whole minute: {KEPT}")
        return None
    first, high, low, close = (round(p * PRICE_SCALE) for p in (values.open, values.high, values.low, values.close))
    return ChartBar(bar.key, values.minute_ms * 1000, first, high, low, close, values.volume)


def _parsed(data: bytes | Raw) -> Any:
    """The JSON in `data`, also with bare NaN, numbers out of range, bytes that are not UTF-8; UNSET if it is none."""
    try:
        return _any_decoder.decode(data)
    except BAD:
        pass
    try:  # of a number with more digits than any value, forty say enough
        return json.loads(bytes(data).decode("utf-8", "replace"), parse_int=lambda digits: int(digits[:40]))
    except BAD:
        return UNSET


def _refused(payload: bytes, reason: str) -> Decoded:
    """A frame that the typed envelope refuses: not JSON, or an envelope of another shape."""
    whole = _parsed(payload)
    if whole is UNSET:
        return Decoded("other", [], [f"not JSON ({reason}): {KEPT}"])
    decoded = Decoded("data", [], [])
    elements = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(elements, list):
        return Decoded("other", [], [f"envelope of an unknown shape ({reason}): {KEPT}"])
    for element in elements:
        service = element.get("service") if isinstance(element, dict) else None
        table = _tables.get(service) if isinstance(service, str) else None
        if table is None:
            decoded.rejected.append(f"an element of an unknown shape or service: {KEPT}")
        else:
            _take(table, table.slow_items(element.get("content"), decoded.rejected), decoded)
    return decoded
