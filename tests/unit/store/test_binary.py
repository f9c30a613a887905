"""Hand-packed COPY bytes: each numeric means the decimal it was made of."""

from __future__ import annotations

import struct
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from alphakite.model import EquityRow, IndicatorDefinition, IndicatorRow, IndicatorValueRow
from alphakite.store.binary import (
    HEADER,
    TRAILER,
    pack_equity,
    pack_indicator,
    pack_indicators,
    pack_price,
    pack_values,
)


def unpack(packed: bytes) -> tuple[Decimal, int]:
    """The value and the number of decimals shown, as PostgreSQL reads them."""
    length, count, weight, sign, decimals = struct.unpack_from(">iHhHH", packed)
    assert length == len(packed) - 4 == 8 + 2 * count
    digits = struct.unpack_from(f">{count}H", packed, 12)
    assert all(digit < 10_000 for digit in digits)
    if count:
        assert digits[0] and digits[-1], "PostgreSQL strips zeros at both ends"
    value = sum(Decimal(digit).scaleb(4 * (weight - at)) for at, digit in enumerate(digits))
    return Decimal(-value if sign else value), decimals


@given(st.integers(-(10**19), 10**19))
def test_price(price: int) -> None:
    """Exact, with just the decimals that it has."""
    value, decimals = unpack(pack_price(price))
    exact = Decimal(price).scaleb(-8)
    assert value == exact
    assert decimals == max(0, -int(exact.normalize().as_tuple().exponent))


@given(st.integers(-(10**16), 10**16))
def test_indicator(indicator: int) -> None:
    """Exact, always with six decimals."""
    assert unpack(pack_indicator(indicator)) == (Decimal(indicator).scaleb(-6), 6)


def test_rows() -> None:
    """Header, one tuple of eight values a row, trailer; NULL where a value is absent."""
    tick = EquityRow("A", 946_684_800_000_001, None, None, 3, 4, 5, 6)
    packed = pack_equity([tick])
    assert packed.startswith(HEADER) and packed.endswith(TRAILER)
    body = packed[len(HEADER) : -len(TRAILER)]
    assert body == struct.pack(">hi1siqiiihiiiqii", 8, 1, b"A", 8, 1, -1, -1, 2, 3, 4, 4, 8, 5, 4, 6)
    second = pack_indicators([IndicatorRow("A", 946_684_800_000_000, None, None, 0)])
    expected = struct.pack(">hi1siqiiihiiiqii", 8, 1, b"A", 8, 0, -1, -1, 2, 0, 4, 0, 8, 0, 4, 0)
    assert second[len(HEADER) : -len(TRAILER)] == expected
    definition = IndicatorDefinition("x", "value", "{}", "", "", "", "", "digest")
    third = pack_values([IndicatorValueRow("A", 946_684_800_000_000, definition, None, 3)], {"digest": 101})
    expected = struct.pack(">hi1siqiihiiiqiiih", 8, 1, b"A", 8, 0, -1, 2, 3, 4, 0, 8, 0, 4, 0, 2, 101)
    assert third[len(HEADER) : -len(TRAILER)] == expected
    assert pack_equity([]) == HEADER + TRAILER
