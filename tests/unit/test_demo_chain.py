"""What the demo shows of a chain: the money, the straddle, and what stands where nothing is known."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from rich.console import Console

from alphakite.cli.demo_chain import Chain, chain_document, chain_line, chain_of, chain_table


def contract(right: str, strike: int, bid: str | None, ask: str | None, **more: Any) -> dict[str, Any]:
    prices = {"bid": Decimal(bid) if bid else None, "ask": Decimal(ask) if ask else None}
    symbol = f"QQQ   {more.pop('expiry', '261124')}{right}{strike * 1000:08d}"
    return {"option_symbol": symbol, "strike_price": Decimal(strike), "day_volume": 7, **prices, **more}


ROWS = [
    contract(
        "C", 600, "1.00", "1.10", implied_volatility=Decimal("0.2"), iv_model=Decimal("0.19"), delta=Decimal("0.5")
    ),
    contract("P", 600, "0.90", "1.00", implied_volatility=Decimal("0.22"), iv_model=None, delta=Decimal("-0.5")),
    contract("C", 601, "0.50", "0.60"),
    contract("P", 601, None, None),
    contract("C", 600, "9", "9.1", expiry="261125"),
]


def shown(chain: Chain) -> str:
    console = Console(width=100, record=True)
    with console.capture() as capture:
        console.print(chain_table(chain, 10))
    return capture.get()


def test_the_nearest_expiry_around_the_money() -> None:
    """601 is nearer to the price, but has no put quoted; IV is the mean of the sides that have one."""
    chain = chain_of("QQQ", Decimal("600.90"), ROWS)
    assert (chain.expiry, chain.money, chain.strikes) == (
        date(2026, 11, 24),
        Decimal(600),
        [Decimal(600), Decimal(601)],
    )
    assert chain_line(chain) == (
        "options: QQQ 2026-11-24, 5 contracts watched, at the money 600: straddle 2.00, IV 21.0 %, model 19.0 %"
    )
    document = chain_document(chain)
    assert (document["state"], document["contracts"], document["expiry"]) == ("shown", 5, "2026-11-24")
    assert document["at_the_money"]["straddle"] == "2.00"
    text = shown(chain)
    assert "  0.50  20.0   19.0    7  1.00  1.10     600  0.90  1.00    7      –  22.0  -0.50" in text
    assert "601     –     –    7" in text


def test_nothing_to_show_yet() -> None:
    """No rows, no price, options off: each says so."""
    assert chain_line(chain_of("QQQ", None, [])) == "options: waiting for the chain"
    assert "waiting for the chain" in shown(Chain())
    assert "options are off" in shown(Chain("options are off"))
    unpriced = chain_of("QQQ", None, ROWS)
    assert (unpriced.money, chain_document(unpriced)["at_the_money"]) == (None, None)
    assert "none quoted on both sides yet" in chain_line(unpriced)
    assert "601" in shown(unpriced)
