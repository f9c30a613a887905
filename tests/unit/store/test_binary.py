"""Hand-packed COPY bytes: each numeric means the decimal it was made of."""

from __future__ import annotations

import struct
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from alphakite.model import (
    ContractRow,
    EquityRow,
    FollowingRow,
    IndicatorDefinition,
    IndicatorRow,
    IndicatorValueRow,
    ModelDefinition,
    ModelValues,
    OptionRow,
)
from alphakite.store.binary import (
    HEADER,
    TRAILER,
    pack_equity,
    pack_indicator,
    pack_indicators,
    pack_price,
    pack_values,
)
from alphakite.store.binary_options import (
    CONTRACT_COLUMNS,
    FOLLOWING_COLUMNS,
    IMAGE_COLUMNS,
    OPTION_COLUMNS,
    pack_contracts,
    pack_following,
    pack_greek,
    pack_images,
    pack_iv,
    pack_model,
    pack_options,
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


def decimals_of(exact: Decimal) -> int:
    return max(0, -int(exact.normalize().as_tuple().exponent))


SMALL = st.integers(-(10**9), 10**9) | st.integers(-(10**20), 10**20)


@given(SMALL | SMALL.map(lambda value: value * 10_000))
def test_greek(greek: int) -> None:
    """A vendor's: exact, with just the decimals that it has; a model's: exact, always with eight."""
    exact = Decimal(greek).scaleb(-8)
    assert unpack(pack_greek(greek)) == (exact, decimals_of(exact))
    assert unpack(pack_model(greek)) == (exact, 8)


@given(SMALL | SMALL.map(lambda value: value * 100))
def test_implied_volatility(iv: int) -> None:
    """A percentage of eight decimals has ten as a fraction."""
    exact = Decimal(iv).scaleb(-10)
    assert unpack(pack_iv(iv)) == (exact, decimals_of(exact))


def values_of(packed: bytes) -> list[bytes | None]:
    """The values of the one row."""
    assert packed.startswith(HEADER) and packed.endswith(TRAILER)
    body = packed[len(HEADER) : -len(TRAILER)]
    (count,), at = struct.unpack_from(">h", body), 2
    found: list[bytes | None] = []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", body, at)
        at += 4
        found.append(None if length < 0 else body[at : at + length])
        at += max(0, length)
    assert at == len(body)
    return found


SYMBOL = "SPXW  261124P06012500"


def option(*, known: bool = True, model: ModelValues | None = None) -> OptionRow:
    value = 7 if known else None
    return OptionRow(
        "$SPX", 946_684_800_000_001, SYMBOL, "P", 601_250_000_000, date(2000, 1, 3), value, value, value, value, value,
        value, value, value, value, value, value, value, value, value, 2049, model, 1, 2, 3,
    )  # fmt: skip


def test_option_rows() -> None:
    """As many values as columns, each in its place; NULL where one is absent."""
    definition = ModelDefinition("model", "act365_sec", 0.04, 0.0, "digest")
    model = ModelValues(definition, "", 1, 2, 3, 4, 5, 6, 7, 8)
    row = dict(zip(OPTION_COLUMNS, values_of(pack_options([option(model=model)], {"digest": 5})), strict=True))
    assert (row["ticker"], row["option_type"], row["option_symbol"]) == (b"$SPX", b"PUT", SYMBOL.encode())
    assert (row["timestamp"], row["expiration_date"]) == (struct.pack(">q", 1), struct.pack(">i", 2))
    assert (row["bid_size"], row["volume"]) == (struct.pack(">i", 7), struct.pack(">q", 7))
    assert (row["flags"], row["model_def"]) == (struct.pack(">h", 2049), struct.pack(">h", 5))
    assert (row["journal_no"], row["seq"], row["item"]) == (b"\0\0\0\1", struct.pack(">q", 2), b"\0\0\0\3")
    for at, name in enumerate(("iv", "delta", "gamma", "theta", "vega", "rho"), 1):
        packed = row[f"{name}_model"]
        assert packed is not None
        assert unpack(struct.pack(">i", len(packed)) + packed) == (Decimal(at).scaleb(-8), 8)
    assert row["model_reason"] is None and row["forward"] is not None and row["iv_half_width"] is not None
    without = dict(zip(IMAGE_COLUMNS, values_of(pack_images([option(known=False)])), strict=True))
    kept = {"ticker", "option_type", "strike_price", "expiration_date", "option_symbol", "timestamp"}
    assert {name for name, value in without.items() if value is not None} == kept | {
        "flags",
        "journal_no",
        "seq",
        "item",
    }
    reason = ModelValues(definition, "no_bid")
    row = dict(zip(OPTION_COLUMNS, values_of(pack_options([option(model=reason)], {"digest": 5})), strict=True))
    assert (row["model_reason"], row["iv_model"], row["forward"]) == (b"no_bid", None, None)
    row = dict(zip(OPTION_COLUMNS, values_of(pack_options([option()], {})), strict=True))
    assert row["model_def"] is None


def test_contracts_and_following() -> None:
    """Texts, truths and arrays as PostgreSQL reads them."""
    contract = ContractRow(
        SYMBOL, 946_684_800_000_000, "$SPX", "SPXW", "P", 1, date(2000, 1, 1), "P", "E", "", None, False, True,
        946_684_800_001,
    )  # fmt: skip
    row = dict(zip(CONTRACT_COLUMNS, values_of(pack_contracts([contract], 9)), strict=True))
    assert (row["root"], row["exercise_type"], row["expiration_type"]) == (b"SPXW", b"E", b"")
    assert (row["mini"], row["adjusted"], row["multiplier"]) == (b"\0", b"\1", None)
    assert (row["last_trading_day"], row["journal_no"]) == (struct.pack(">q", 1000), struct.pack(">i", 9))
    change = FollowingRow("QQQ", 946_684_800_000_000, "rolled", (date(2000, 1, 2),), ("a", "bc"), (), "x\0", 4, 5)
    row = dict(zip(FOLLOWING_COLUMNS, values_of(pack_following([change], 9)), strict=True))
    assert row["expiries"] == struct.pack(">iiIiiii", 1, 0, 1082, 1, 1, 4, 1)
    assert row["added"] == struct.pack(">iiIiii1si2s", 1, 0, 25, 2, 1, 1, b"a", 2, b"bc")
    assert row["removed"] == struct.pack(">iiI", 0, 0, 25)
    assert row["detail"] == "x�".encode()


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
