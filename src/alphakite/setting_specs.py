"""Every setting by itself: its name, its default, what is legal, and how its text is read.

In:   the text of one setting.      Out:  its value, or ValueError. What several settings mean together: config.py.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

TICKER = re.compile(r"[A-Z0-9./$-]{1,24}")
STRIKES_OF_DELTA = re.compile(r"delta(0?\.\d{1,4}|0)-(0?\.\d{1,4}|1)")
INDICATOR = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?")
INCLUDABLE = ("adjusted", "mini", "am")
T = TypeVar("T")


@dataclass(frozen=True)
class PerTicker(Generic[T]):
    """One value for all tickers, and those that have their own. `text`: as it was written."""

    text: str
    default: T
    own: Mapping[str, T]

    def of(self, ticker: str) -> T:
        """What holds for a ticker."""
        return self.own.get(ticker, self.default)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class StrikeWindow:
    """Which strikes to follow. `kind`: strikes (so many on each side), width (percent of the price on each side),
    delta (a band of its absolute value), all.
    """

    kind: str = "strikes"
    strikes: int = 25
    width_percent: float = 2.0
    delta_low: float = 0.05
    delta_high: float = 0.95


@dataclass(frozen=True)
class Spec:
    """One setting. `parse` raises ValueError for what is not `legal`; `attribute`: its name in Settings if special."""

    default: str
    legal: str
    parse: Callable[[str], Any]
    secret: bool = False
    attribute: str = ""


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError
        return text.lower()

    return parse


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError
        return value

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return parse


def _limit_mb(text: str) -> int | None:
    return None if text.lower() == "auto" else _whole(0, 100_000_000)(text)


def _days(default: str) -> Spec:
    return Spec(default, "a whole number of days, 0 for ever", _whole(0, 100_000))


def _switch(text: str) -> bool:
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError


def _tickers(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    if not found or not all(TICKER.fullmatch(ticker) for ticker in found):
        raise ValueError
    return found


def _database_url(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("postgresql", "postgres") or not (parts.hostname or parts.query)):
        raise ValueError
    _ = parts.port  # raises ValueError for an impossible one
    return text


def _api_url(text: str) -> str:
    """Plain http only to this machine or a private address: the requests carry the app's secret."""
    parts = urlsplit(text)
    host = parts.hostname or ""
    _ = parts.port
    if not host or parts.scheme not in ("https", "http") or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError
    if parts.scheme == "http" and host != "localhost" and not ipaddress.ip_address(host).is_private:
        raise ValueError
    return text.rstrip("/")


def _supabase_url(text: str) -> str:
    """The project's address; what people copy along with it is cut off."""
    return _api_url(text.rstrip("/").removesuffix("/rest/v1")) if text else ""


def _service_key(text: str) -> str:
    """Of the service role; the other new key is told by its name. It travels in a header."""
    if text.startswith("sb_publishable_") or not all("!" <= one <= "~" for one in text):
        raise ValueError
    return text


def _optional_file(text: str) -> Path | None:
    return Path(text) if text else None


def _callback_url(text: str) -> str:
    parts = urlsplit(text)
    _ = parts.port
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError
    return text


def _indicators(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not all(INDICATOR.fullmatch(name) for name in found):
        raise ValueError
    return found


def _per_ticker(parse: Callable[[str], T], default: str) -> Callable[[str], PerTicker[T]]:
    """`25,$SPX:40`: a value for all, and those of single tickers; without the former the default stays."""

    def parse_all(text: str) -> PerTicker[T]:
        common: list[str] = []
        own: dict[str, T] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            ticker, colon, value = part.rpartition(":")
            if not colon:
                common.append(part)
            elif not TICKER.fullmatch(ticker := ticker.strip().upper()) or ticker in own:
                raise ValueError
            else:
                own[ticker] = parse(value.strip())
        if len(common) > 1:
            raise ValueError
        return PerTicker(text, parse(common[0] if common else default), own)

    return parse_all


def _strikes(text: str) -> StrikeWindow:
    text = text.lower()
    if text == "all":
        return StrikeWindow("all")
    if text.endswith("%"):
        return StrikeWindow("width", width_percent=_number(0.1, 100)(text[:-1].strip()))
    if text.startswith("delta"):
        if (match := STRIKES_OF_DELTA.fullmatch(text)) is None or not (low := float(match[1])) < (
            high := float(match[2])
        ):
            raise ValueError
        return StrikeWindow("delta", delta_low=low, delta_high=high)
    return StrikeWindow("strikes", strikes=_whole(1, 500)(text))


def _include(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if not set(found) <= set(INCLUDABLE):
        raise ValueError
    return found


def _own(default: str, legal: str, parse: Callable[[str], Any]) -> Spec:
    return Spec(default, f"{legal}; per ticker after commas", _per_ticker(parse, default))


def _seconds(default: str, low: float, high: float) -> Spec:
    return Spec(default, f"{low:g} to {high:g} seconds", _number(low, high))


def _one_of(default: str, *choices: str) -> Spec:
    return Spec(default, f"one of {', '.join(choices)}", _choice(*choices))


SPECS: dict[str, Spec] = {
    "STREAM_TICKER": Spec(
        "QQQ", "tickers of letters, digits and . / $ -, with commas between", _tickers, attribute="tickers"
    ),
    "STREAM_HOURS": _one_of("extended", "extended", "regular"),
    "STREAM_RESOLUTION": _one_of("1s", "1s", "tick"),
    "SKIP_MARKET_HOURS": Spec("false", "true or false", _switch),
    "BATCH_SIZE": Spec("500", "a whole number from 1 to 100000", _whole(1, 100_000)),
    "BATCH_INTERVAL": _seconds("1.0", 0.01, 60),
    "DATABASE_URL": Spec("", "postgresql://USER:PASSWORD@HOST:PORT/NAME", _database_url, secret=True),
    "SUPABASE_URL": Spec(
        "", "https://PROJECT.supabase.co, or http:// on this machine or a private address", _supabase_url
    ),
    "SUPABASE_SERVICE_ROLE_KEY": Spec(
        "", "the project's service_role key or an sb_secret_ key", _service_key, secret=True
    ),
    "ALLOW_ANON_READ": Spec("false", "true or false", _switch),
    "DATABASE_MAX_MB": Spec(
        "auto", "a whole number of megabytes, 0 for no limit, or auto: 500 for a Supabase project, else 0", _limit_mb
    ),
    "DATABASE_THIN": Spec("no", "yes or no", _switch),
    "DATABASE_ARCHIVE": Spec("", "a folder", _optional_file),
    "RETENTION_EQUITY_DAYS": _days("90"),
    "RETENTION_INDICATORS_DAYS": _days("90"),
    "RETENTION_OPTIONS_DAYS": _days("30"),
    "RETENTION_METRICS_DAYS": _days("30"),
    "SCHWAB_API_URL": Spec(
        "https://api.schwabapi.com", "an https:// address, or http:// on this machine or a private address", _api_url
    ),
    "SCHWAB_APP_KEY": Spec("", "the app key of the Schwab developer portal", str, secret=True),
    "SCHWAB_APP_SECRET": Spec("", "the app secret of the Schwab developer portal", str, secret=True),
    "SCHWAB_CALLBACK_URL": Spec(
        "https://127.0.0.1:8182", "the callback address of the app, letter for letter as in the portal", _callback_url
    ),
    "SSL_CERT_FILE": Spec("", "a file of PEM certificates to trust instead of the system's", _optional_file),
    "SCHWAB_TOKEN_FILE": Spec("token.json", "a file; by default it lies in the data folder", Path),
    "INDEX_POLL_INTERVAL": Spec("5", "0 (never) to 3600 seconds", _number(0, 3600)),
    "INDICATORS": Spec(
        "sma9,vwap",
        "names as sma9, vwap, ema21, and MODULE:CLASS, with commas between",
        _indicators,
        attribute="indicators",
    ),
    "OPTIONS": _own("on", "on or off, as in on,IWM:off", _switch),
    "OPTION_DTE": _own("0", "a whole number of days from 0 to 1000, as in 0,GOOG:1", _whole(0, 1000)),
    "OPTION_STRIKES": _own(
        "25",
        "strikes on each side from 1 to 500, a width as 2%, deltas as delta0.05-0.95, or all, as in 25,$SPX:40,IWM:2%",
        _strikes,
    ),
    "OPTION_INCLUDE": Spec("", "adjusted, mini, am, with commas between", _include),
    "OPTION_RESOLUTION": _one_of("1s", "1s", "tick"),
    "GREEKS_INTERVAL": Spec("5", "0 (never) to 3600 seconds", _number(0, 3600)),
    "GREEKS_CONVENTION": _one_of("model", "model", "schwab", "cboe"),
    "GREEKS_RATE": Spec("0.04", "a fraction per year, continuous, from -0.2 to 0.5", _number(-0.2, 0.5)),
    "GREEKS_DIVIDEND": _own(
        "0", "a fraction per year, continuous, from -0.2 to 0.5, as in 0,SPY:0.012", _number(-0.2, 0.5)
    ),
    "CLOCK": _one_of("system", "system", "feed"),
    "DATA_DIR": Spec("~/.local/share/alphakite", "a folder", Path),
    "JOURNAL_FSYNC_INTERVAL": _seconds("1.0", 0.01, 60),
    "JOURNAL_SEGMENT_MB": Spec("64", "0.01 to 1024 megabytes", _number(0.01, 1024)),
    "JOURNAL_BUDGET_MB": Spec("4000", "a whole number of megabytes, 0 for no limit", _whole(0, 100_000_000)),
    "CHECKPOINT_INTERVAL": _seconds("30", 0.01, 3600),
    "COALESCE_MS": Spec("20", "a whole number of milliseconds from 0 to 1000", _whole(0, 1000)),
    "SILENCE_TIMEOUT": _seconds("45", 0.1, 600),
    "METRICS_INTERVAL": _seconds("60", 0.1, 3600),
    "LOG_LEVEL": _one_of("info", "debug", "info", "warning", "error"),
    "LOG_FORMAT": _one_of("auto", "auto", "json", "text"),
    "DISK_MIN_FREE_MB": Spec("200", "a whole number of megabytes from 0 to 10000000", _whole(0, 10_000_000)),
}
"""Every setting, in the order in which `alphakite config` shows them."""
