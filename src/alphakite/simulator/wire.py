"""The texts of the streamer's frames, byte for byte.

No blanks but one before "timestamp" in data elements; a heartbeat's number is quoted, other numbers are not.
Times are epoch ms. Source: captures of 2025 named in the project's Schwab reference, frames F2 to F17.
"""

from __future__ import annotations

import json
import re

from alphakite.model import Candle
from alphakite.sessions import session_at
from alphakite.simulator.level_one import price_text

HOUR_MINUTES = 180
"""CHART_EQUITY counts minutes from 07:00, three hours after the extended open."""
CHART_FIELDS = 9


HEAD = re.compile(r'\{((?:"seq":\d+,)?"key":"(?:[^"\\]|\\.)*"(?:,"[A-Za-z]+":(?:"[^"]*"|true|false))*),(".*)\}', re.S)
"""An item: seq, key and meta keys, then the numbered fields."""


def data_frame(service: str, stamp_ms: int, items: list[str]) -> str:
    """One data element with these items."""
    return data_frames(stamp_ms, [(service, items)])


def data_frames(stamp_ms: int, elements: list[tuple[str, list[str]]]) -> str:
    """A data frame with one element for each service."""
    texts = [
        f'{{"service":"{service}", "timestamp":{stamp_ms},"command":"SUBS","content":[{",".join(items)}]}}'
        for service, items in elements
    ]
    return f'{{"data":[{",".join(texts)}]}}'


def key_last(item: str) -> str:
    """The same item with its numbered fields first, and `key` and the meta keys behind them."""
    match = HEAD.fullmatch(item)
    return item if match is None else f"{{{match[2]},{match[1]}}}"


def heartbeat(stamp_ms: int) -> str:
    """A heartbeat."""
    return f'{{"notify":[{{"heartbeat":"{stamp_ms}"}}]}}'


def notify(stamp_ms: int, code: int, message: str) -> str:
    """The server's word before it ends a stream."""
    return f'{{"notify":[{{"service":"ADMIN","timestamp":{stamp_ms},"content":{{"code":{code},"msg":"{message}"}}}}]}}'


def activity_item(key: str, sequence: int, account: str, wanted: frozenset[int]) -> str:
    """The first item of ACCT_ACTIVITY: its subscription."""
    values = {1: f'"{account}"', 2: '"SUBSCRIBED"', 3: '""'}
    fields = "".join(f',"{number}":{text}' for number, text in values.items() if number in wanted)
    return f'{{"seq":{sequence},"key":{json.dumps(key)}{fields}}}'


def response(
    service: str, command: str, request_id: str, correl_id: str, stamp_ms: int, code: int, message: str
) -> str:
    """The answer to one command."""
    return json.dumps(
        {
            "response": [
                {
                    "service": service,
                    "command": command,
                    "requestid": request_id,
                    "SchwabClientCorrelId": correl_id,
                    "timestamp": stamp_ms,
                    "content": {"code": code, "msg": message},
                }
            ]
        },
        separators=(",", ":"),
    )


def chart_item(symbol: str, candle: Candle, sequence: int, wanted: frozenset[int]) -> str:
    """A minute bar in the true order of fields: 1 minutes since 07:00, 2-5 OHLC, 6 volume, 7 start in ms, 8 day."""
    session = session_at(candle.minute_us)
    opened_us = session.extended_open_us if session is not None else candle.minute_us
    minute = (candle.minute_us - opened_us) // 60_000_000 - HOUR_MINUTES
    values = {
        1: str(minute),
        2: price_text(candle.open),
        3: price_text(candle.high),
        4: price_text(candle.low),
        5: price_text(candle.close),
        6: f"{candle.volume}.0",
        7: str(candle.minute_us // 1000),
        8: str(candle.minute_us // 86_400_000_000),
    }
    fields = "".join(f',"{number}":{text}' for number, text in values.items() if number in wanted)
    return f'{{"seq":{sequence},"key":"{symbol}"{fields}}}'


def is_charted(candle: Candle) -> bool:
    """CHART_EQUITY and pricehistory know 07:00 to 20:00, and minutes with volume."""
    session = session_at(candle.minute_us)
    if session is None or candle.volume == 0:
        return False
    return session.extended_open_us + HOUR_MINUTES * 60_000_000 <= candle.minute_us < session.extended_close_us
