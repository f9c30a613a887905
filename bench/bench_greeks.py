"""CPU time of implied volatility and greeks together: one contract, and a chain of 200 with its forward.

In one process, by its CPU clock; the least of the repetitions is the figure, for whatever else ran only adds. Before
anything is timed each answer is compared with the volatility that made the price.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from alphakite.derive.greeks import ExpiryModel, Greeks, OptionQuote, solve, value_chain
from bench.child import ChildError
from bench.report import table

BUDGET_US = 5.0
CONTRACTS = 200
SPOT, RATE, DIVIDEND = 610.0, 0.043, 0.006
MINUTES = (390, 60, 5)
TURNS = 20
LEAST_REPETITIONS = 5
TOLERANCE = 1e-9


def measure(repetitions: int) -> dict[str, Any]:
    """CPU-µs per contract and per chain, by the minutes that are left. Raises ChildError for a wrong volatility."""
    repetitions = max(repetitions, LEAST_REPETITIONS)
    cases = [_case(minutes, repetitions) for minutes in MINUTES]
    return {"budget_us": BUDGET_US, "contracts": CONTRACTS, "cases": cases}


def shown(figures: dict[str, Any]) -> str:
    """The table."""
    rows = [
        (
            f"{case['minutes']} minutes left",
            case["solve_us"],
            case["solve_us"] / figures["budget_us"],
            case["greeks_us"],
            case["chain_us"],
            case["chain_us"] / figures["contracts"],
        )
        for case in figures["cases"]
    ]
    head = ("", "IV + greeks, µs", "of the budget", "greeks alone, µs", f"chain of {CONTRACTS}, µs", "a contract of it")
    return table(f"Our own greeks (budget {figures['budget_us']:.0f} µs a contract)", head, rows)


def _case(minutes: int, repetitions: int) -> dict[str, float]:
    model = ExpiryModel.on_spot(SPOT, minutes / 1440 / 365, RATE, DIVIDEND)
    width = 4 * 0.18 * model.root_years * SPOT / (CONTRACTS / 4)
    contracts, quotes = [], []
    for number in range(CONTRACTS // 2):
        strike = SPOT + (number - CONTRACTS / 4) * width
        for is_call in (True, False):
            price = model.price(is_call, strike, 0.18)
            quotes.append(OptionQuote(is_call, strike, price * 0.999, price * 1.001))
            if (strike >= model.forward) is is_call:
                contracts.append((is_call, strike, price))
                found = solve(model, is_call, strike, price)
                if not isinstance(found, Greeks) or abs(found.iv - 0.18) > TOLERANCE:
                    raise ChildError(f"a price of volatility 0.18 at strike {strike} was solved as {found}")

    def solved() -> None:
        for is_call, strike, price in contracts:
            solve(model, is_call, strike, price)

    def greeks() -> None:
        for is_call, strike, _ in contracts:
            model.greeks(is_call, strike, 0.18)

    return {
        "minutes": minutes,
        "solve_us": _least_us(solved, repetitions) / len(contracts),
        "greeks_us": _least_us(greeks, repetitions) / len(contracts),
        "chain_us": _least_us(lambda: value_chain(quotes, model.years, RATE, DIVIDEND), repetitions),
    }


def _least_us(work: Callable[[], object], repetitions: int) -> float:
    """The least CPU time of one call over repetitions of TURNS calls."""
    taken = []
    for _ in range(repetitions):
        began_ns = time.process_time_ns()
        for _ in range(TURNS):
            work()
        taken.append(time.process_time_ns() - began_ns)
    return min(taken) / TURNS / 1000
