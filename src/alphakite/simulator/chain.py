"""Which option contracts exist around a symbol on a date: roots, expiries, strikes. Pure; by the trading calendar.

SPY, QQQ, IWM and $SPX expire daily: the session's own day, the next five sessions, five Fridays, two month ends, two
third Fridays. Other names: six Fridays and the third ones. An expiry that falls on a holiday moves to the session
before. $SPX: root SPXW settles at the close (P) and daily, root SPX at the opening (A) and on third Fridays; European.
Strikes: 60 steps on each side of the price; a step is 0.5 below 25 dollars, 1 below 250 (and for the daily ETFs), 2.5
below 1000, else 5.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta

from alphakite.model import PRICE_SCALE
from alphakite.sessions import EXCHANGE, LAST_YEAR, Session, next_session, previous_session, session_on
from alphakite.simulator.contracts import Contract

DAILY_ETFS = frozenset({"SPY", "QQQ", "IWM"})
DAILY_INDICES = {"$SPX": ("SPXW", "SPX")}
"""Index → its root of the close and its root of the opening."""
OPENING_ROOTS = {"SPX": "$SPX", "NDX": "$NDX", "RUT": "$RUT", "VIX": "$VIX"}
CLOSING_ROOTS = {"SPXW": "$SPX", "NDXP": "$NDX", "RUTW": "$RUT", "XSP": "$XSP"}
"""Roots of index options that settle at the opening and at the close → their index."""
SIDE = 60
DAYS_AHEAD, FRIDAYS, MONTHS = 5, 5, 2
FRIDAY = 4
MILLI = PRICE_SCALE // 1000
HALF = PRICE_SCALE // 2


def option_symbol(root: str, expiry: date, right: str, strike: int) -> str:
    """21 characters: root padded to 6, YYMMDD, C or P, strike × 1000 in 8 digits."""
    return f"{root:<6}{expiry:%y%m%d}{right}{strike // MILLI:08d}"


def parse_option_symbol(symbol: str) -> tuple[str, date, str, int] | None:
    """(root, expiry, right, strike × PRICE_SCALE); None if it is not an option's symbol."""
    if len(symbol) != 21 or symbol[12] not in "CP" or not (symbol[6:12] + symbol[13:]).isascii():
        return None
    if not symbol[6:12].isdigit() or not symbol[13:].isdigit() or not symbol[:6].strip():
        return None
    try:
        expiry = date(2000 + int(symbol[6:8]), int(symbol[8:10]), int(symbol[10:12]))
    except ValueError:
        return None
    return symbol[:6].rstrip(" "), expiry, symbol[12], int(symbol[13:]) * MILLI


def contract_of(underlying: str, root: str, expiry: date, right: str, strike: int) -> Contract:
    """A contract that is on a tape. `strike` × PRICE_SCALE; expiration type by the calendar, settlement by the root."""
    index = underlying.startswith("$")
    daily = index or underlying in DAILY_ETFS
    kind = "W"
    if root in OPENING_ROOTS or (root not in CLOSING_ROOTS and expiry == third_friday(expiry.year, expiry.month)):
        kind = "S"
    elif daily and expiry == month_end(expiry.year, expiry.month):
        kind = "Q" if expiry.month % 3 == 0 else "M"
    symbol, settlement = option_symbol(root, expiry, right, strike), "A" if root in OPENING_ROOTS else "P"
    exercise = "E" if index else "A"
    return Contract(symbol, underlying, root, expiry, right, strike, kind, settlement, exercise, penny=not index)


def roots_of(underlying: str) -> tuple[str, ...]:
    """The option roots of a symbol; class shares lose their stroke."""
    return DAILY_INDICES.get(underlying) or (underlying.lstrip("$").replace("/", "")[:6],)


def chain_of(underlying: str, day: date, price: int) -> list[Contract]:
    """Every contract of the date, by expiry, root, strike, right. `price` × PRICE_SCALE sets the strikes."""
    strikes = strikes_around(underlying, price)
    contracts: list[Contract] = []
    for expiry, root, kind, settlement in expiries_of(underlying, day):
        exercise = "E" if underlying.startswith("$") else "A"
        penny = not underlying.startswith("$")
        for strike in strikes:
            for right in "CP":
                symbol = option_symbol(root, expiry, right, strike)
                contracts.append(
                    Contract(symbol, underlying, root, expiry, right, strike, kind, settlement, exercise, penny=penny)
                )
    return contracts


def strikes_around(underlying: str, price: int) -> list[int]:
    """Strikes × PRICE_SCALE, upwards."""
    if price < 25 * PRICE_SCALE:
        step = HALF
    elif price < 250 * PRICE_SCALE or underlying in DAILY_ETFS:
        step = PRICE_SCALE
    else:
        step = 5 * HALF if price < 1000 * PRICE_SCALE else 5 * PRICE_SCALE
    middle = (price + step // 2) // step
    return [number * step for number in range(max(1, middle - SIDE), middle + SIDE + 1)]


def expiries_of(underlying: str, day: date) -> list[tuple[date, str, str, str]]:
    """(expiry, root, expiration type, settlement type), sorted; `day` is a session's date."""
    daily = underlying in DAILY_ETFS or underlying in DAILY_INDICES
    third = _months(day, third_friday)
    ends = _months(day, month_end) if daily else []
    dates = {*_fridays(day, FRIDAYS if daily else FRIDAYS + 1), *third, *ends}
    if daily:
        dates |= set(_sessions(day))
    roots = roots_of(underlying)
    found: list[tuple[date, str, str, str]] = []
    for expiry in dates:
        kind = "W"
        if expiry in third and len(roots) == 1:
            kind = "S"
        elif expiry in ends:
            kind = "Q" if expiry.month % 3 == 0 else "M"
        found.append((expiry, roots[0], kind, "P"))
        if expiry in third and len(roots) == 2:
            found.append((expiry, roots[1], "S", "A"))
    return sorted(found)


def third_friday(year: int, month: int) -> date:
    """The monthly expiry: the third Friday, or the session before it."""
    first = date(year, month, 1)
    return _session_by(first + timedelta((FRIDAY - first.weekday()) % 7 + 14))


def month_end(year: int, month: int) -> date:
    """The last session of a month."""
    return previous_session(date(year + month // 12, month % 12 + 1, 1)).date


def settlement_ms(contract: Contract) -> int:
    """When the contract is worth its settlement value: the opening (A) or the close of its expiry."""
    session = session_on(contract.expiry)
    if session is None:
        return int(datetime.combine(contract.expiry, time(16), EXCHANGE).timestamp()) * 1000
    return (session.regular_open_us if contract.settlement == "A" else session.regular_close_us) // 1000


def trading_end_ms(contract: Contract, session: Session) -> int:
    """When trading in a contract ends on a session: a quarter hour late for ETFs and for indices not expiring then."""
    close_ms = session.regular_close_us // 1000
    expiring = contract.expiry == session.date
    late = contract.underlying in DAILY_ETFS or (contract.underlying.startswith("$") and not expiring)
    return close_ms + 900_000 if late else close_ms


def _sessions(day: date) -> list[date]:
    found = [day]
    while len(found) <= DAYS_AHEAD and found[-1] < date(LAST_YEAR, 12, 20):
        found.append(next_session(found[-1]).date)
    return found


def _fridays(day: date, number: int) -> list[date]:
    friday = day + timedelta((FRIDAY - day.weekday()) % 7)
    moved = [_session_by(friday + timedelta(7 * week)) for week in range(number + 1)]
    return [expiry for expiry in moved if expiry >= day and expiry.year <= LAST_YEAR][:number]


def _months(day: date, rule: Callable[[int, int], date]) -> list[date]:
    """The rule's next two dates from `day` on."""
    found: list[date] = []
    year, month = day.year, day.month
    while len(found) < MONTHS and year <= LAST_YEAR and (year, month) < (LAST_YEAR, 12):
        expiry = rule(year, month)
        if expiry >= day:
            found.append(expiry)
        year, month = year + month // 12, month % 12 + 1
    return found


def _session_by(day: date) -> date:
    """The date itself if it is a session, else the session before."""
    if day.year > LAST_YEAR:
        return day
    return day if session_on(day) is not None else previous_session(day).date
