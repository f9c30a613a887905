"""An option's LEVELONE_OPTIONS fields as the streamer spells them: numbers 1 to 55, doubles to eight decimals.

Sentinels: None in IV and greeks is -999 (or the string "NaN" once settled); a theoretical value of None is "NaN".
Of a tape only what it knows has a field.
"""

from __future__ import annotations

import json
from datetime import date, datetime, time
from functools import lru_cache

from alphakite.sessions import EXCHANGE
from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.level_one import price_text
from alphakite.simulator.option_state import TapeQuote

META = '"delayed":false,"assetMainType":"OPTION"'
MODEL = (10, 28, 29, 30, 31, 32)
"""Implied volatility, delta, gamma, theta, vega, rho."""
ORDER = tuple(range(1, 56))
NO_ANSWER, NOT_A_NUMBER = "-999", '"NaN"'
LAST_TRADING_HOUR = time(20)
MOST_PERCENT = "10000"
"""The percent change from a close of 0."""


def number_text(number: float, places: int = 8) -> str:
    """A double: no trailing zeros, no exponent, never -0."""
    text = (f"{number:.8f}" if places == 8 else f"{number:.{places}f}").rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def last_trading_ms(expiry: date) -> int:
    """20:00 New York of the expiry."""
    return int(datetime.combine(expiry, LAST_TRADING_HOUR, EXCHANGE).timestamp()) * 1000


def deliverable(contract: Contract) -> str:
    """`100 QQQ`, `100 $SPX(Cash)`."""
    cash = "(Cash)" if contract.underlying.startswith("$") else ""
    return f"{contract.multiplier} {contract.underlying}{cash}"


def description(contract: Contract) -> str:
    """`QQQ 11/23/2026 605.00 C`."""
    strike = contract.strike // 1_000_000
    return f"{contract.root} {contract.expiry:%m/%d/%Y} {strike // 100}.{strike % 100:02d} {contract.right}"


@lru_cache(maxsize=8192)
def static_texts(contract: Contract) -> dict[int, str]:
    """The fields that never change."""
    expiry = contract.expiry
    values: dict[int, str | int | bool] = {
        1: description(contract),
        12: expiry.year,
        13: contract.multiplier,
        14: 2,
        21: contract.right,
        22: contract.underlying,
        23: expiry.month,
        24: deliverable(contract),
        26: expiry.day,
        36: contract.expiration_type,
        40: "O",
        41: "OPR",
        42: last_trading_ms(expiry),
        43: contract.settlement,
        47: 0,
        48: contract.penny,
        49: contract.root,
        52: 0,
        53: 0,
        54: 0,
        55: contract.exercise,
    }
    texts = {number: json.dumps(value) for number, value in values.items()}
    texts[20] = price_text(contract.strike)
    return texts


def option_fields(contract: Contract, quote: OptionQuote, day: date) -> dict[int, str]:
    """Every field of a contract on a date that has a value, in the order of their numbers."""
    sign = 1 if contract.right == "C" else -1
    intrinsic = sign * (quote.underlying_price - contract.strike)
    mark, change = quote.mark, quote.last - quote.close
    mark_change = mark - quote.close
    missing = NOT_A_NUMBER if quote.nan else NO_ANSWER

    def model(value: float | None) -> str:
        return missing if value is None else number_text(value)

    moving = {
        2: price_text(quote.bid),
        3: price_text(quote.ask),
        4: price_text(quote.last),
        5: price_text(quote.high),
        6: price_text(quote.low),
        7: price_text(quote.close),
        8: str(quote.volume),
        9: str(quote.open_interest),
        10: model(quote.iv),
        11: price_text(intrinsic),
        15: price_text(quote.open),
        16: str(quote.bid_size),
        17: str(quote.ask_size),
        18: str(quote.last_size),
        19: price_text(change),
        25: price_text(quote.last - max(0, intrinsic)),
        27: str((contract.expiry - day).days),
        28: model(quote.delta),
        29: model(quote.gamma),
        30: model(quote.theta),
        31: model(quote.vega),
        32: model(quote.rho),
        33: f'"{quote.status}"',
        34: NOT_A_NUMBER if quote.theoretical is None else number_text(quote.theoretical),
        35: price_text(quote.underlying_price),
        37: price_text(mark),
        38: str(quote.quote_time_ms),
        39: str(quote.trade_time_ms),
        44: _percent(change, quote.close),
        45: price_text(mark_change),
        46: _percent(mark_change, quote.close),
        50: price_text(quote.high_52),
        51: price_text(quote.low_52),
    }
    texts = static_texts(contract) | moving
    texts = {number: texts[number] for number in ORDER}
    if isinstance(quote, TapeQuote):
        for number in quote.absent:
            texts.pop(number, None)
    return texts


def moved_fields(
    contract: Contract, before: OptionQuote, quote: OptionQuote, texts: dict[int, str]
) -> tuple[dict[int, str], tuple[int, ...]]:
    """What `option_fields` would give on the same date, from the texts of the quote before; and which ones differ.

    Of a tape's quotes every field is made anew elsewhere: this is for those that have all fields.
    """
    changed: dict[int, str] = {}
    of_spot = quote.underlying_price != before.underlying_price
    if quote.bid != before.bid:
        changed[2] = price_text(quote.bid)
    if quote.ask != before.ask:
        changed[3] = price_text(quote.ask)
    if quote.bid_size != before.bid_size:
        changed[16] = str(quote.bid_size)
    if quote.ask_size != before.ask_size:
        changed[17] = str(quote.ask_size)
    if quote.quote_time_ms != before.quote_time_ms:
        changed[38] = str(quote.quote_time_ms)
    intrinsic = quote.underlying_price - contract.strike
    if contract.right != "C":
        intrinsic = -intrinsic
    if of_spot:
        changed[11], changed[35] = price_text(intrinsic), price_text(quote.underlying_price)
    if of_spot or quote.last != before.last:
        changed[25] = price_text(quote.last - intrinsic if intrinsic > 0 else quote.last)
    if quote.mark != before.mark or quote.close != before.close:
        change = quote.mark - quote.close
        changed[37], changed[45], changed[46] = (
            price_text(quote.mark),
            price_text(change),
            _percent(change, quote.close),
        )
    if quote.trade_time_ms != before.trade_time_ms or quote.volume != before.volume or quote.last != before.last:
        _put_trade(quote, changed)
    if quote.iv != before.iv or quote.delta != before.delta or _model_of(quote) != _model_of(before):
        _put_model(quote, changed)
    if (
        quote.last_size != before.last_size
        or quote.high != before.high
        or quote.low != before.low
        or quote.open != before.open
        or quote.close != before.close
        or quote.status != before.status
        or quote.open_interest != before.open_interest
        or quote.high_52 != before.high_52
        or quote.low_52 != before.low_52
    ):
        high_52, low_52 = price_text(quote.high_52), price_text(quote.low_52)
        changed |= {7: price_text(quote.close), 9: str(quote.open_interest), 15: price_text(quote.open)}
        changed |= {5: price_text(quote.high), 6: price_text(quote.low), 50: high_52, 51: low_52}
        changed |= {18: str(quote.last_size), 33: f'"{quote.status}"'}
        _put_trade(quote, changed)
    numbers = [number for number, text in changed.items() if texts[number] != text]
    numbers.sort()
    return texts | changed, tuple(numbers)


def _put_trade(quote: OptionQuote, texts: dict[int, str]) -> None:
    change = quote.last - quote.close
    texts[4], texts[8], texts[39] = price_text(quote.last), str(quote.volume), str(quote.trade_time_ms)
    texts[19], texts[44] = price_text(change), _percent(change, quote.close)


def _put_model(quote: OptionQuote, texts: dict[int, str]) -> None:
    missing = NOT_A_NUMBER if quote.nan else NO_ANSWER
    values = (quote.iv, quote.delta, quote.gamma, quote.theta, quote.vega, quote.rho)
    for number, value in zip(MODEL, values, strict=True):
        texts[number] = missing if value is None else number_text(value)
    texts[34] = NOT_A_NUMBER if quote.theoretical is None else number_text(quote.theoretical)


def _model_of(quote: OptionQuote) -> tuple[object, ...]:
    return quote.nan, quote.iv, quote.theoretical, quote.delta, quote.gamma, quote.theta, quote.vega, quote.rho


def _percent(change: int, close: int) -> str:
    if close == 0:
        return "0" if change == 0 else MOST_PERCENT
    return number_text(100 * change / close)
