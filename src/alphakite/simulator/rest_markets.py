"""`/markets` and `/markets/{id}`: the hours of a date. `/movers` and `/instruments`, in short, of what is played.

In:   the query, tape time, the Market.      Out:  aiohttp responses.
An open day is keyed by products, a closed one by the market's name, without hours. Half-days end earlier. Only equity
and option hours are known from captures; bond has TD's product, future and forex say open or closed and no hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta

from aiohttp import web

from alphakite.errors import ConfigError
from alphakite.sessions import EXCHANGE, Session, session_on
from alphakite.simulator.listing import listing_of
from alphakite.simulator.market import Market
from alphakite.simulator.rest_answers import answer, bad_parameter, market_error
from alphakite.simulator.rest_quotes import QUOTE, field_values

MARKETS = ("equity", "option", "bond", "future", "forex")
INDEX_LATER = timedelta(minutes=15)
MOVERS = (
    "$DJI",
    "$COMPX",
    "$SPX",
    "NYSE",
    "NASDAQ",
    "OTCBB",
    "INDEX_ALL",
    "EQUITY_ALL",
    "OPTION_ALL",
    "OPTION_PUT",
    "OPTION_CALL",
)
SORTS = ("VOLUME", "TRADES", "PERCENT_CHANGE_UP", "PERCENT_CHANGE_DOWN")
MOVER_FREQUENCIES = ("0", "1", "5", "10", "30", "60")
PROJECTIONS = ("symbol-search", "symbol-regex", "desc-search", "desc-regex", "search", "fundamental")


def markets(query: Mapping[str, str], now_ms: int) -> web.Response:
    """Several markets."""
    wanted = [name for name in query.get("markets", "").split(",") if name]
    if not wanted or set(wanted) - set(MARKETS):
        return bad_parameter("markets", f"markets is not one of {','.join(MARKETS)}")
    return _hours(wanted, query, now_ms)


def one_market(name: str, query: Mapping[str, str], now_ms: int) -> web.Response:
    """One market by path; an unknown one is a 404."""
    return _hours([name], query, now_ms) if name in MARKETS else market_error(404)


def movers(market: Market, name: str, query: Mapping[str, str]) -> web.Response:
    """The equities played; sort and frequency are checked and ignored. `netPercentChange` is a fraction."""
    if name not in MOVERS:
        return market_error(404)
    if query.get("sort", SORTS[0]) not in SORTS:
        return bad_parameter("sort", f"sort is not one of {','.join(SORTS)}")
    if query.get("frequency", "0") not in MOVER_FREQUENCIES:
        return bad_parameter("frequency", f"frequency is not one of {','.join(MOVER_FREQUENCIES)}")
    screeners: list[dict[str, object]] = []
    for symbol, level_one in market.symbols.items():
        known = field_values(level_one.fields, (*QUOTE, ("description", 15, "text")))
        if symbol.startswith("$") or "lastPrice" not in known:
            continue
        screeners.append(
            {
                "description": known["description"],
                "volume": known["totalVolume"],
                "lastPrice": known["lastPrice"],
                "netChange": known.get("netChange", known["lastPrice"]),
                "marketShare": round(100 / len(market.symbols), 2),
                "totalVolume": known["totalVolume"],
                "trades": 0,
                "netPercentChange": round(float(str(known.get("netPercentChange", 100.0))) / 100, 4),
                "symbol": symbol,
            }
        )
    return answer({"screeners": screeners})


def instruments(market: Market, query: Mapping[str, str]) -> web.Response:
    """The equities played, by exact symbol or by a part of it."""
    asked, projection = query.get("symbol", ""), query.get("projection", "")
    if not asked:
        return bad_parameter("symbol", "symbol is required")
    if projection not in PROJECTIONS:
        return bad_parameter("projection", f"projection is not one of {','.join(PROJECTIONS)}")
    wanted, exact = asked.split(","), projection in ("symbol-search", "fundamental")
    found = [
        _instrument(symbol)
        for symbol in market.symbols
        if any(one == symbol if exact else one.strip(".*").upper() in symbol for one in wanted)
    ]
    if projection == "fundamental":
        found = [one | {"fundamental": {"symbol": one["symbol"], "peRatio": 31.37822}} for one in found]
    return answer({"instruments": found})


def instrument(market: Market, cusip: str) -> web.Response:
    """By CUSIP; also as a list of one."""
    symbols = [symbol for symbol in market.symbols if listing_of(symbol).cusip == cusip]
    return answer({"instruments": [_instrument(symbols[0])]}) if symbols else market_error(404)


def _instrument(symbol: str) -> dict[str, object]:
    listing = listing_of(symbol)
    values = {
        "cusip": listing.cusip,
        "symbol": symbol,
        "description": listing.description,
        "exchange": listing.exchange_name,
        "assetType": listing.sub_type if listing.sub_type == "ETF" else listing.main_type,
    }
    return {key: value for key, value in values.items() if value}


def _hours(wanted: list[str], query: Mapping[str, str], now_ms: int) -> web.Response:
    today = datetime.fromtimestamp(now_ms // 1000, EXCHANGE).date()
    try:
        day = date.fromisoformat(query["date"]) if "date" in query else today
        session = session_on(day)
    except (ValueError, ConfigError):
        return bad_parameter("date", "date is not of the form yyyy-MM-dd, or beyond the calendar")
    if not today <= day <= today + timedelta(366):
        return bad_parameter("date", "date must be from today to one year from now")
    return answer({name: _market(name, day, session) for name in wanted})


def _market(name: str, day: date, session: Session | None) -> dict[str, object]:
    if session is not None and name in ("equity", "option", "bond"):
        return dict(_open(name, day, session))
    is_open = name in ("future", "forex") and day.weekday() < 5
    closed = {"date": day.isoformat(), "marketType": name.upper(), "product": name, "isOpen": is_open}
    return {name: closed}


def _open(name: str, day: date, session: Session) -> list[tuple[str, dict[str, object]]]:
    regular_open, close = _moment(session.regular_open_us), _moment(session.regular_close_us)
    if name == "equity":
        hours = {
            "preMarket": [_span(_at(day, time(7)), regular_open)],
            "regularMarket": [_span(regular_open, close)],
            "postMarket": [_span(close, _at(day, time(20)))],
        }
        return [_product("EQ", "equity", "EQUITY", day, hours)]
    if name == "bond":
        return [
            _product("BON", "bonds", "BOND", day, {"regularMarket": [_span(_at(day, time(8)), _at(day, time(17)))]})
        ]
    return [
        _product("EQO", "equity option", "OPTION", day, {"regularMarket": [_span(regular_open, close)]}),
        _product("IND", "index option", "OPTION", day, {"regularMarket": [_span(regular_open, close + INDEX_LATER)]}),
    ]


def _product(
    product: str, name: str, market_type: str, day: date, hours: dict[str, list[dict[str, str]]]
) -> tuple[str, dict[str, object]]:
    return product, {
        "date": day.isoformat(),
        "marketType": market_type,
        "product": product,
        "productName": name,
        "isOpen": True,
        "sessionHours": hours,
    }


def _span(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": start.isoformat(), "end": end.isoformat()}


def _moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us // 1_000_000, EXCHANGE)


def _at(day: date, wall: time) -> datetime:
    return datetime.combine(day, wall, EXCHANGE)
