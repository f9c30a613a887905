"""What `/chains` is asked for: its parameters checked, and which contracts they leave.

In:   the query, contracts, the spot.      Out:  a refusal, or what passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from aiohttp import web

from alphakite.model import PRICE_SCALE
from alphakite.simulator.contracts import Contract
from alphakite.simulator.rest_answers import bad_parameter

STRATEGIES = ("SINGLE", "ANALYTICAL")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CHOICES = {
    "contractType": ("CALL", "PUT", "ALL"),
    "strategy": STRATEGIES,
    "range": ("ITM", "NTM", "OTM", "SAK", "SBK", "SNK", "ALL"),
    "expMonth": (*MONTHS, "ALL"),
    "optionType": ("S", "NS", "ALL"),
    "entitlement": ("PP", "NP", "PN"),
}
NUMBERS = ("strikeCount", "interval", "strike", "volatility", "underlyingPrice", "interestRate", "daysToExpiration")
NEAR_STRIKES = 5
"""So many on each side of the money are near it."""


def refusal(query: Mapping[str, str], today: date) -> web.Response | None:
    """A 400 that names the parameter; None if all is well."""
    if not query.get("symbol"):
        return bad_parameter("symbol", "symbol is required")
    for name, choices in CHOICES.items():
        if name in query and query[name] not in choices:
            return bad_parameter(name, f"{name} is not one of {','.join(choices)}")
    if query.get("includeUnderlyingQuote", "false").lower() not in ("true", "false"):
        return bad_parameter("includeUnderlyingQuote", "includeUnderlyingQuote is not true or false")
    for name in NUMBERS:
        if name in query and not _is_number(query[name], whole=name in ("strikeCount", "daysToExpiration")):
            return bad_parameter(name, f"{name} is not a number")
    days: dict[str, date] = {}
    for name in ("fromDate", "toDate"):
        if name in query:
            try:
                days[name] = datetime.strptime(query[name], "%Y-%m-%d").date()
            except ValueError:
                return bad_parameter(name, f"{name} is not of the form yyyy-MM-dd")
    if "fromDate" in days and days["fromDate"] < today:
        return bad_parameter("fromDate", "fromDate must be today or later")
    if days.get("toDate", date.max) < days.get("fromDate", today):
        return bad_parameter("toDate", "toDate must not be before fromDate")
    return None


def wanted(contract: Contract, query: Mapping[str, str]) -> bool:
    """Whether a contract is of the kind, the dates and the strike asked for."""
    right = query.get("contractType", "ALL")
    month = query.get("expMonth", "ALL")
    day = contract.expiry.isoformat()
    return (
        right in ("ALL", "CALL" if contract.right == "C" else "PUT")
        and query.get("fromDate", day) <= day <= query.get("toDate", day)
        and month in ("ALL", MONTHS[contract.expiry.month - 1])
        and query.get("optionType", "ALL") != "NS"
        and ("strike" not in query or round(float(query["strike"]) * PRICE_SCALE) == contract.strike)
    )


def strikes_asked(known: set[int], spot: int, query: Mapping[str, str], switches: Mapping[str, str]) -> set[int]:
    """The strikes of `strikeCount`: so many on each side of the money, or in all, by switch."""
    below, above = sorted(one for one in known if one < spot), sorted(one for one in known if one >= spot)
    if query.get("range") in ("NTM", "SNK"):
        below, above = below[-NEAR_STRIKES:], above[:NEAR_STRIKES]
    if "strikeCount" in query:
        count = int(query["strikeCount"])
        if switches["strike-count"] == "total":
            return set(sorted({*below, *above}, key=lambda strike: abs(strike - spot))[:count])
        below, above = below[len(below) - min(count, len(below)) :], above[:count]
    return {*below, *above}


def in_range(contract: Contract, spot: int, asked: str) -> bool:
    """Whether it is in, at or out of the money as asked; `NTM` and `SNK` are met by the strikes."""
    inner = spot - contract.strike if contract.right == "C" else contract.strike - spot
    match asked:
        case "ITM":
            return inner > 0
        case "OTM":
            return inner <= 0
        case "SAK":
            return contract.strike >= spot
        case "SBK":
            return contract.strike < spot
    return True


def _is_number(text: str, *, whole: bool) -> bool:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        return False
    return value >= 0
