"""`/pricehistory`: minute candles as played, and coarser ones made of them.

In:   the Market, the query.      Out:  an aiohttp response.
A candle is stamped with its start; a day, week or month with midnight in Chicago of its first day. 5 to 30 minutes are
made of whole minutes, days and coarser ones of the regular hours. Minutes without trades are absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta

from aiohttp import web

from alphakite.model import Candle
from alphakite.sessions import EXCHANGE, session_at
from alphakite.simulator.market import Market
from alphakite.simulator.rest_answers import bad_parameter, price_double, text_answer

PERIODS = {"day": (1, 2, 3, 4, 5, 10), "month": (1, 2, 3, 6), "year": (1, 2, 3, 5, 10, 15, 20), "ytd": (1,)}
DEFAULT_PERIOD = {"day": 10, "month": 1, "year": 1, "ytd": 1}
FREQUENCY_TYPES = {
    "day": ("minute",),
    "month": ("weekly", "daily"),
    "year": ("monthly", "weekly", "daily"),
    "ytd": ("weekly", "daily"),
}
"""The default first."""
FREQUENCIES = {"minute": (1, 5, 10, 15, 30), "daily": (1,), "weekly": (1,), "monthly": (1,)}
MINUTE_US = 60_000_000


def price_history(market: Market, query: Mapping[str, str], now_ms: int) -> web.Response:
    """Candles of one symbol."""
    symbol = query.get("symbol", "")
    if not symbol:
        return bad_parameter("symbol", "symbol is required")
    period_type = query.get("periodType", "day")
    if period_type not in PERIODS:
        return bad_parameter("periodType", f"periodType is not one of {','.join(PERIODS)}")
    frequency_type = query.get("frequencyType", FREQUENCY_TYPES[period_type][0])
    if frequency_type not in FREQUENCY_TYPES[period_type]:
        return bad_parameter("frequencyType", f"frequencyType is not valid for periodType {period_type}")
    numbers: dict[str, int] = {}
    for name in ("period", "frequency", "startDate", "endDate"):
        if name in query:
            if not query[name].lstrip("-").isdigit():
                return bad_parameter(name, f"{name} is not a number")
            numbers[name] = int(query[name])
    frequency, period = numbers.get("frequency", 1), numbers.get("period", DEFAULT_PERIOD[period_type])
    if frequency not in FREQUENCIES[frequency_type]:
        return bad_parameter("frequency", f"frequency is not valid for frequencyType {frequency_type}")
    if period not in PERIODS[period_type]:
        return bad_parameter("period", f"period is not valid for periodType {period_type}")
    known = market.candles(symbol) if symbol in market.symbols else []
    extended = query.get("needExtendedHoursData", "true").lower() != "false"
    if frequency_type != "minute" or not extended:
        known = [candle for candle in known if _is_regular(candle)]
    candles = _stamped(known, frequency_type, frequency)
    end_ms = numbers.get("endDate", now_ms)
    candles = [candle for candle in candles if candle.minute_us // 1000 <= end_ms]
    if "startDate" in numbers:
        start_ms = numbers["startDate"]
        candles = [candle for candle in candles if start_ms <= candle.minute_us // 1000]
    else:
        candles = _newest(candles, period_type, period, end_ms)
    text = f'{{"candles":[{",".join(map(_candle_text, candles))}],"symbol":{json.dumps(symbol)}'
    text += f',"empty":{"false" if candles else "true"}'
    close = market.previous_close.get(symbol)
    if query.get("needPreviousClose", "false").lower() == "true" and close is not None:
        day_us = market.history[symbol][-1].minute_us
        text += f',"previousClose":{price_double(close)},"previousCloseDate":{central_midnight_us(day_us) // 1000}'
    return text_answer(text + "}")


def central_midnight_us(time_us: int) -> int:
    """Schwab stamps a day with midnight in Chicago, an hour after New York's."""
    day = datetime.fromtimestamp(time_us // 1_000_000, EXCHANGE)
    return int(day.replace(hour=1, minute=0, second=0).timestamp()) * 1_000_000


def _stamped(candles: list[Candle], frequency_type: str, frequency: int) -> list[Candle]:
    match frequency_type:
        case "minute" if frequency == 1:
            return candles
        case "minute":
            return _merged(candles, lambda candle: candle.minute_us // (frequency * MINUTE_US) * frequency * MINUTE_US)
        case "daily":
            return _merged(candles, lambda candle: central_midnight_us(candle.minute_us))
        case "weekly":
            return _merged(candles, lambda candle: _midnight_us(_day(candle) - timedelta(_day(candle).weekday())))
    return _merged(candles, lambda candle: _midnight_us(_day(candle).replace(day=1)))


def _merged(candles: Iterable[Candle], stamp_of: Callable[[Candle], int]) -> list[Candle]:
    merged: dict[int, Candle] = {}
    for candle in candles:
        stamp = stamp_of(candle)
        held = merged.get(stamp)
        merged[stamp] = Candle(
            stamp,
            held.open if held else candle.open,
            max(held.high, candle.high) if held else candle.high,
            min(held.low, candle.low) if held else candle.low,
            candle.close,
            candle.volume + (held.volume if held else 0),
        )
    return list(merged.values())


def _newest(candles: list[Candle], period_type: str, period: int, end_ms: int) -> list[Candle]:
    """The newest `period`: days that have any candle, or months or years back from the end."""
    if period_type == "day":
        days = sorted({_day(candle) for candle in candles})[-period:]
        return [candle for candle in candles if days and _day(candle) >= days[0]]
    end = datetime.fromtimestamp(end_ms // 1000, EXCHANGE).date()
    if period_type == "month":
        months = end.year * 12 + end.month - 1 - period
        first = date(months // 12, months % 12 + 1, min(end.day, 28))
    elif period_type == "year":
        first = date(end.year - period, end.month, min(end.day, 28))
    else:
        first = date(end.year, 1, 1)
    return [candle for candle in candles if _day(candle) >= first]


def _is_regular(candle: Candle) -> bool:
    session = session_at(candle.minute_us)
    return session is not None and session.regular_open_us <= candle.minute_us < session.regular_close_us


def _day(candle: Candle) -> date:
    return datetime.fromtimestamp(candle.minute_us // 1_000_000, EXCHANGE).date()


def _midnight_us(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 1, tzinfo=EXCHANGE).timestamp()) * 1_000_000


def _candle_text(candle: Candle) -> str:
    prices = zip(("open", "high", "low", "close"), (candle.open, candle.high, candle.low, candle.close), strict=True)
    fields = ",".join(f'"{name}":{price_double(price)}' for name, price in prices)
    return f'{{{fields},"volume":{candle.volume},"datetime":{candle.minute_us // 1000}}}'
