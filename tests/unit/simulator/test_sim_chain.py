"""Which contracts exist: symbols (§3.12), expiries by the calendar, strikes, settlement."""

from __future__ import annotations

import itertools
from datetime import date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.sessions import EXCHANGE, session_on
from alphakite.simulator.chain import (
    chain_of,
    expiries_of,
    month_end,
    option_symbol,
    parse_option_symbol,
    roots_of,
    settlement_ms,
    strikes_around,
    third_friday,
    trading_end_ms,
)
from alphakite.simulator.contracts import Contract

DOLLAR = 100_000_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=EXCHANGE).timestamp() * 1000)


def test_3_12_option_symbols() -> None:
    """The reference's examples, blanks included."""
    assert option_symbol("QQQ", date(2025, 10, 21), "C", 390 * DOLLAR) == "QQQ   251021C00390000"
    assert option_symbol("SPXW", date(2025, 12, 8), "C", 6880 * DOLLAR) == "SPXW  251208C06880000"


@given(
    st.sampled_from(["QQQ", "SPXW", "F", "BRKB", "GOOGL1"]),
    st.dates(date(2010, 1, 1), date(2028, 12, 31)),
    st.sampled_from("CP"),
    st.integers(1, 99_999_999),
)
def test_3_12_round_trip(root: str, expiry: date, right: str, thousandths: int) -> None:
    """parse(format(x)) == x, for strikes such as 0.5, 602.5 and 12345.125 too."""
    strike = thousandths * 100_000
    symbol = option_symbol(root, expiry, right, strike)
    assert len(symbol) == 21
    assert parse_option_symbol(symbol) == (root, expiry, right, strike)


@pytest.mark.parametrize(
    "symbol",
    ["QQQ", "QQQ251021C00390000", "QQQ   251321C00390000", "QQQ   251021X00390000", "      251021C00390000", "QQQ"],
)
def test_3_12_what_is_no_option_symbol(symbol: str) -> None:
    """Collapsed blanks, impossible dates, another right: no contract."""
    assert parse_option_symbol(symbol) is None


def test_3_12_roots() -> None:
    """A class share loses its stroke; $SPX has a root of the close and one of the opening."""
    assert roots_of("BRK/B") == ("BRKB",)
    assert roots_of("$SPX") == ("SPXW", "SPX")
    assert roots_of("QQQ") == ("QQQ",)


def test_expiries_of_a_daily_etf() -> None:
    """Today, the next sessions, Fridays, month end and third Fridays; Thanksgiving and the weekend are left out."""
    found = expiries_of("QQQ", date(2026, 11, 25))
    dates = [expiry for expiry, *_ in found]
    assert dates[:4] == [date(2026, 11, 25), date(2026, 11, 27), date(2026, 11, 30), date(2026, 12, 1)]
    assert all(session_on(expiry) for expiry in dates)
    kinds = {expiry: kind for expiry, _, kind, _ in found}
    assert (kinds[date(2026, 11, 30)], kinds[date(2026, 12, 18)], kinds[date(2026, 12, 31)]) == ("M", "S", "Q")
    assert kinds[date(2026, 11, 25)] == "W"


def test_expiry_on_a_holiday_moves_to_the_session_before() -> None:
    """Juneteenth 2026 is the third Friday of June; Christmas 2026 is a Friday."""
    assert third_friday(2026, 6) == date(2026, 6, 18)
    assert month_end(2026, 5) == date(2026, 5, 29)
    dates = [expiry for expiry, *_ in expiries_of("AAPL", date(2026, 12, 21))]
    assert dates[0] == date(2026, 12, 24)


def test_single_names_expire_weekly() -> None:
    """Fridays only: 0DTE on a Friday, none on a Tuesday."""
    assert expiries_of("AAPL", date(2026, 11, 24))[0][0] == date(2026, 11, 27)
    assert expiries_of("AAPL", date(2026, 12, 4))[0][0] == date(2026, 12, 4)


def test_2_4_spx_has_pm_dailies_and_am_monthlies() -> None:
    """SPXW settles at the close every day, SPX at the opening on third Fridays; both are European."""
    found = expiries_of("$SPX", date(2026, 12, 14))
    assert {(root, settlement) for _, root, _, settlement in found} == {("SPXW", "P"), ("SPX", "A")}
    assert [expiry for expiry, root, _, _ in found if root == "SPX"] == [date(2026, 12, 18), date(2027, 1, 15)]
    chain = chain_of("$SPX", date(2026, 12, 14), 6000 * DOLLAR)
    assert {contract.exercise for contract in chain} == {"E"}
    assert {contract.exercise for contract in chain_of("QQQ", date(2026, 12, 14), 600 * DOLLAR)} == {"A"}


@pytest.mark.parametrize(
    ("underlying", "price", "step"),
    [("F", 12, 0.5), ("AAPL", 230, 1), ("QQQ", 605, 1), ("TSLA", 357, 2.5), ("$SPX", 6641, 5), ("BKNG", 5000, 5)],
)
def test_strikes(underlying: str, price: int, step: float) -> None:
    """Some sixty on each side, none at or below 0."""
    strikes = strikes_around(underlying, price * DOLLAR)
    assert {b - a for a, b in itertools.pairwise(strikes)} == {int(step * DOLLAR)}
    assert strikes[0] > 0 and strikes[0] <= price * DOLLAR <= strikes[-1]
    assert len(strikes) <= 121 and strikes[-1] >= (price + 59 * step) * DOLLAR


@pytest.mark.parametrize(
    ("root", "underlying", "settlement", "day", "settles", "ends"),
    [
        ("SPXW", "$SPX", "P", "2026-12-14", "16:00", "16:00"),
        ("SPX", "$SPX", "A", "2026-12-18", "09:30", "16:00"),
        ("QQQ", "QQQ", "P", "2026-12-14", "16:00", "16:15"),
        ("AAPL", "AAPL", "P", "2026-12-18", "16:00", "16:00"),
        ("QQQ", "QQQ", "P", "2026-11-27", "13:00", "13:15"),
        ("SPXW", "$SPX", "P", "2026-11-27", "13:00", "13:00"),
    ],
)
def test_settlement_and_end_of_trading(
    root: str, underlying: str, settlement: str, day: str, settles: str, ends: str
) -> None:
    """Two different instants, both early on half-days."""
    expiry = date.fromisoformat(day)
    contract = Contract("", underlying, root, expiry, "C", DOLLAR, settlement=settlement)
    session = session_on(expiry)
    assert session is not None
    assert settlement_ms(contract) == ms(f"{day}T{settles}")
    assert trading_end_ms(contract, session) == ms(f"{day}T{ends}")


def test_the_calendar_has_an_end() -> None:
    """At the end of the known calendar expiries become fewer, not wrong."""
    found = expiries_of("SPY", date(2028, 12, 28))
    assert found and all(expiry.year == 2028 for expiry, *_ in found)
    assert time(16) == time.fromisoformat("16:00")
