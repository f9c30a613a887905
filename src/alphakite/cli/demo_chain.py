"""The demo's view of an option chain: what the recorder's tables know of it, as a table, a line, or JSON.

In:   a connection to the recorder's database.      Out:  Chain: the nearest expiry's contracts, newest values each.
At the money is the strike nearest the underlying's last price at which both sides are quoted; the straddle is the sum
of the two middles. IV is a fraction here and in JSON, percent on the screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import asyncpg
from rich import box
from rich.table import Table
from rich.text import Text

AROUND = (3, 12)
"""Fewest and most strikes shown on each side of the money."""
NEWEST = (
    "select distinct on (option_symbol) * from public.option_prices"
    " where ticker = $1 and timestamp > (select max(timestamp) from public.option_prices where ticker = $1)"
    " - interval '1 hour' order by option_symbol, timestamp desc"
)
"""What stands for get_chain in a database that has no such function."""
WAITING, OFF, SHOWN = "waiting for the chain", "options are off", "shown"
CALL_SIDE = ("delta", "implied_volatility", "iv_model", "volume", "bid", "ask")
FRAME_LINES = 6
"""Of the table: what is not a strike."""
PUT_SIDE = tuple(reversed(CALL_SIDE[:4]))
TITLES = {"implied_volatility": "IV", "iv_model": "model", "volume": "vol"}
Contract = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chain:
    """`state`: one of the three above. `calls`, `puts`: by strike. `watched`: contracts of all expiries."""

    state: str = WAITING
    ticker: str = ""
    expiry: date | None = None
    spot: Decimal | None = None
    watched: int = 0
    calls: Mapping[Decimal, Contract] | None = None
    puts: Mapping[Decimal, Contract] | None = None

    @property
    def strikes(self) -> list[Decimal]:
        """Upwards."""
        return sorted({*(self.calls or ()), *(self.puts or ())})

    @property
    def money(self) -> Decimal | None:
        """The strike at the money; None: no price of the underlying, or no strike quoted on both sides."""
        both = [strike for strike in self.strikes if self.straddle(strike) is not None]
        spot = self.spot
        return None if spot is None or not both else min(both, key=lambda strike: abs(strike - spot))

    def straddle(self, strike: Decimal) -> Decimal | None:
        """The middles of call and put together, in dollars; None if one has no quote."""
        middles = [_middle((side or {}).get(strike)) for side in (self.calls, self.puts)]
        return None if None in middles else sum((one for one in middles if one is not None), Decimal(0))

    def volatility(self, strike: Decimal, column: str) -> float | None:
        """The mean of both sides' IV; None if neither has one."""
        found = [float(one[column]) for one in self._sides(strike) if one.get(column) is not None]
        return sum(found) / len(found) if found else None

    def around(self, number: int) -> list[Decimal]:
        """So many strikes on each side of the money, and the one at it; else the middle of the chain."""
        strikes = self.strikes
        place = len(strikes) // 2 if self.money is None else strikes.index(self.money)
        return strikes[max(0, place - number) : place + number + 1]

    def _sides(self, strike: Decimal) -> list[Contract]:
        return [side[strike] for side in (self.calls, self.puts) if side is not None and strike in side]


async def read_chain(connection: asyncpg.Connection[Any], ticker: str, spot: Decimal | None) -> Chain:
    """What is known of a ticker's options."""
    try:
        rows = await connection.fetch("select * from public.get_chain($1)", ticker)
    except asyncpg.UndefinedFunctionError:
        rows = await connection.fetch(NEWEST, ticker)
    return chain_of(ticker, spot, [dict(row) for row in rows])


def chain_of(ticker: str, spot: Decimal | None, rows: Sequence[Contract]) -> Chain:
    """The nearest expiry of some contracts."""
    if not rows:
        return Chain(WAITING, ticker)
    by_expiry: dict[date, list[Contract]] = {}
    for row in rows:
        by_expiry.setdefault(datetime.strptime(row["option_symbol"][6:12], "%y%m%d").date(), []).append(row)
    expiry = min(by_expiry)
    sides: dict[str, dict[Decimal, Contract]] = {"C": {}, "P": {}}
    for row in by_expiry[expiry]:
        sides[row["option_symbol"][12]][Decimal(row["strike_price"])] = row
    return Chain(SHOWN, ticker, expiry, spot, len(rows), sides["C"], sides["P"])


def chain_table(chain: Chain, lines: int) -> Table | Text:
    """For the live view: calls, strikes, puts; IV in percent, volume of the day. Args: lines: how many there are."""
    if chain.state != SHOWN:
        return Text(chain.state, style="dim")
    title = f"calls · {chain.ticker} {chain.expiry}, {chain.watched} contracts watched · puts"
    table = Table(title=title, expand=False, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in (*CALL_SIDE, "strike", "bid", "ask", *PUT_SIDE):
        table.add_column(TITLES.get(name, name), justify="right", style="bold" if name == "strike" else None)
    money, (fewest, most) = chain.money, AROUND
    for strike in chain.around(min(most, max(fewest, (lines - FRAME_LINES) // 2))):
        call, put = ((side or {}).get(strike, {}) for side in (chain.calls, chain.puts))
        cells = [_cell(call, name) for name in CALL_SIDE] + [f"{strike.normalize():f}"]
        cells += [_cell(put, name) for name in ("bid", "ask", *PUT_SIDE)]
        table.add_row(*cells, style="cyan" if strike == money else None)
    return table


def chain_line(chain: Chain) -> str:
    """For the plain mode."""
    money = chain.money
    if chain.state != SHOWN:
        return f"options: {chain.state}"
    head = f"options: {chain.ticker} {chain.expiry}, {chain.watched} contracts watched"
    if money is None:
        return f"{head}, none quoted on both sides yet"
    iv, model = (_percent(chain.volatility(money, name)) for name in ("implied_volatility", "iv_model"))
    return f"{head}, at the money {money.normalize():f}: straddle {chain.straddle(money)}, IV {iv} %, model {model} %"


def chain_document(chain: Chain) -> dict[str, Any]:
    """For --json: decimals as strings, IV as fractions."""
    money = chain.money
    document: dict[str, Any] = {"state": chain.state, "ticker": chain.ticker or None, "contracts": chain.watched}
    document["expiry"] = None if chain.expiry is None else chain.expiry.isoformat()
    document["at_the_money"] = None
    if money is not None:
        model = chain.volatility(money, "iv_model")
        document["at_the_money"] = {
            "strike": str(money),
            "straddle": str(chain.straddle(money)),
            "implied_volatility": chain.volatility(money, "implied_volatility"),
            "iv_model": model,
        }
    return document


def _middle(contract: Contract | None) -> Decimal | None:
    if contract is None or contract.get("bid") is None or not contract.get("ask"):
        return None
    return (Decimal(contract["bid"]) + Decimal(contract["ask"])) / 2


def _cell(contract: Contract, name: str) -> str:
    # The running total of the day is what a trader reads as a contract's volume.
    value = contract.get("day_volume") if name == "volume" else contract.get(name)
    if value is None:
        return "–"
    if name in ("implied_volatility", "iv_model"):
        return _percent(float(value))
    return f"{value:.2f}" if name in ("delta", "bid", "ask") else str(value)


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"
