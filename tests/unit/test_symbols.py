"""Spellings of instruments: option symbols there and back, indices, class shares."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite import model, symbols
from alphakite.symbols import (
    MOST_STRIKE,
    PRICE_SCALE,
    STRIKE_UNIT,
    OptionSymbol,
    format_option,
    is_class_share,
    is_index,
    is_option,
    parse_option,
)

CHRISTMAS = date(2026, 12, 25)


def test_the_price_scale_is_the_models() -> None:
    assert symbols.PRICE_SCALE == model.PRICE_SCALE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("QQQ   251021C00390000", OptionSymbol("QQQ", date(2025, 10, 21), "C", 390 * PRICE_SCALE)),
        ("SPXW  251208C06880000", OptionSymbol("SPXW", date(2025, 12, 8), "C", 6880 * PRICE_SCALE)),
        ("F     200117P00000500", OptionSymbol("F", date(2020, 1, 17), "P", PRICE_SCALE // 2)),
        ("GOOGL 261218P00602500", OptionSymbol("GOOGL", date(2026, 12, 18), "P", 60250 * PRICE_SCALE // 100)),
        ("NDXP  280229C12345125", OptionSymbol("NDXP", date(2028, 2, 29), "C", 12345125 * PRICE_SCALE // 1000)),
        ("SPY1  261218P00400000", OptionSymbol("SPY1", date(2026, 12, 18), "P", 400 * PRICE_SCALE)),
        ("ABCDEF991231C99999999", OptionSymbol("ABCDEF", date(2099, 12, 31), "C", MOST_STRIKE)),
    ],
)
def test_there_and_back(text: str, expected: OptionSymbol) -> None:
    assert parse_option(text) == expected
    assert format_option(expected) == text
    assert is_option(text)


options = st.builds(
    OptionSymbol,
    st.from_regex(r"[A-Z0-9./$]{1,6}\Z", fullmatch=True),
    st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    st.sampled_from(["C", "P"]),
    st.integers(0, MOST_STRIKE // STRIKE_UNIT).map(lambda thousandths: thousandths * STRIKE_UNIT),
)


@given(options)
def test_every_option_comes_back(option: OptionSymbol) -> None:
    text = format_option(option)
    assert len(text) == 21
    assert parse_option(text) == option


@given(st.text() | st.from_regex(r"[A-Z0-9 ]{6}\d{6}[CPX]\d{8}"))
def test_what_is_parsed_is_spelled_like_that(text: str) -> None:
    """Any text: none is taken for an option that would be spelled otherwise."""
    option = parse_option(text)
    if option is not None:
        assert format_option(option) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "QQQ",
        "QQQ 251021C00390000",
        "QQQ   251021C0039000",
        "QQQ   251021C003900000",
        "QQQ   251021C00390000\n",
        " QQQ  251021C00390000",
        "Q Q   251021C00390000",
        "      251021C00390000",
        "qqq   251021C00390000",
        "QQQ   251321C00390000",
        "QQQ   250229C00390000",
        "QQQ   251021X00390000",
        "QQQ   251021c00390000",
        "QQQ   251021C0039000\u0663",
        "QQQ\t\t\t251021C00390000",
    ],
)
def test_what_is_no_option(text: str) -> None:
    assert parse_option(text) is None
    assert not is_option(text)


@pytest.mark.parametrize(
    "option",
    [
        OptionSymbol("", CHRISTMAS, "C", 0),
        OptionSymbol("TOOLONG", CHRISTMAS, "C", 0),
        OptionSymbol("Q Q", CHRISTMAS, "C", 0),
        OptionSymbol("QQQ", date(1999, 12, 31), "C", 0),
        OptionSymbol("QQQ", date(2100, 1, 1), "C", 0),
        OptionSymbol("QQQ", CHRISTMAS, "X", 0),  # type: ignore[arg-type]
        OptionSymbol("QQQ", CHRISTMAS, "C", -STRIKE_UNIT),
        OptionSymbol("QQQ", CHRISTMAS, "C", STRIKE_UNIT + 1),
        OptionSymbol("QQQ", CHRISTMAS, "C", MOST_STRIKE + STRIKE_UNIT),
    ],
)
def test_what_no_symbol_can_say(option: OptionSymbol) -> None:
    with pytest.raises(ValueError, match="not"):
        format_option(option)


def test_indices_and_class_shares() -> None:
    assert [is_index(symbol) for symbol in ("$SPX", "$VIX", "SPX", "", "$", "/ESZ26")] == [True, True, *[False] * 4]
    assert [is_class_share(symbol) for symbol in ("BRK/B", "BRK.B", "/ESZ26", "EUR/", "BRK")] == [True, *[False] * 4]
