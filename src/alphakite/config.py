"""The settings: every name, its default, its legal range and where its value came from; validated together.

In:   flags > environment > the .env file (`--env-file`, else ./.env if there is one) > default; an empty value is none.
Out:  one frozen `Settings`, read once by `cli/` and passed down.
All problems are collected and raised as one ConfigError, each with its origin and what would be legal. An unknown key
in the file too; keys of later versions (`RESERVED`) are accepted and listed as unused. Secrets never print.
A relative path from the file counts from the file's folder, so that a settings file works from anywhere.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import unquote, urlsplit

from alphakite.errors import ConfigError

TICKER = re.compile(r"[A-Z0-9./$-]{1,24}")
STRIKES_OF_DELTA = re.compile(r"delta(0?\.\d{1,4}|0)-(0?\.\d{1,4}|1)")
INDICATOR = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?")
RESERVED = (
    "DASHBOARD_*",
    "ALLOW_ANON_READ",
    "DATABASE_MAX_MB",
    "DATABASE_THIN",
)
"""Names that a later version will use."""
UNUSED = "not used by this version"
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


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """What this process was told. Intervals and timeouts in seconds, `*_mb` in 10^6 bytes, `*_ms` in milliseconds."""

    tickers: tuple[str, ...]
    stream_hours: str
    """`extended` or `regular`: the hours that the tables record."""
    stream_resolution: str
    """`1s` or `tick`."""
    skip_market_hours: bool
    batch_size: int
    """Rows in one transaction."""
    batch_interval: float
    database_url: str
    """Empty: Supabase's REST if it is named, else the embedded PostgreSQL in the data folder."""
    supabase_url: str
    """A Supabase project's address, without a slash at its end; "" if none. DATABASE_URL goes before it."""
    supabase_service_role_key: str
    schwab_api_url: str
    """Without a slash at its end."""
    schwab_app_key: str
    schwab_app_secret: str
    schwab_callback_url: str
    ssl_cert_file: Path | None
    schwab_token_file: Path
    index_poll_interval: float
    """How often an index that does not stream is asked for; 0: never."""
    indicators: tuple[str, ...]
    """Names of built-in ones, and MODULE:CLASS."""
    options: PerTicker[bool]
    """Whether the option chain is followed."""
    option_dte: PerTicker[int]
    """The expiry: the first whose last trading day is at least so many calendar days ahead."""
    option_strikes: PerTicker[StrikeWindow]
    option_include: tuple[str, ...]
    """Contracts that are left out by default: of INCLUDABLE."""
    option_resolution: str
    """`1s` or `tick`."""
    greeks_interval: float
    """How often a contract's model values are computed; 0: never."""
    greeks_convention: str
    greeks_rate: float
    """Continuous, per year."""
    greeks_dividend: PerTicker[float]
    """Continuous yield, per year."""
    clock: str
    """`system` or `feed`."""
    data_dir: Path
    journal_fsync_interval: float
    journal_segment_mb: float
    journal_budget_mb: int
    """Committed segments beyond it are removed, oldest first; 0: never."""
    checkpoint_interval: float
    coalesce_ms: int
    silence_timeout: float
    metrics_interval: float
    log_level: str
    log_format: str
    disk_min_free_mb: int
    origins: Mapping[str, str] = field(default_factory=dict)
    """Name → where its value came from."""
    env_file: Path | None = None
    """The settings file that was read."""
    unused: tuple[tuple[str, str], ...] = ()
    """(name, origin) of accepted keys that this version does not use."""

    def items(self) -> list[tuple[str, str, str]]:
        """(name, shown value, origin) of every setting; a secret is shown as `set` or `unset`."""
        return [(name, self.shown(name), self.origins.get(name, "default")) for name in SPECS]

    def shown(self, name: str) -> str:
        """A setting's value as a person would write it."""
        value = getattr(self, _attribute(name))
        if SPECS[name].secret:
            return "set" if value else "unset"
        if isinstance(value, bool):
            return str(value).lower()
        if value is None:
            return ""
        return ",".join(value) if isinstance(value, tuple) else str(value)

    def secrets(self) -> tuple[str, ...]:
        """The strings that no log line may show, the password inside DATABASE_URL among them."""
        found = [getattr(self, _attribute(name)) for name, spec in SPECS.items() if spec.secret]
        if password := urlsplit(self.database_url).password:
            found += [password, unquote(password)]
        return tuple(value for value in found if value)

    def trust(self) -> None:
        """Whom this process trusts from here on: every TLS library reads it from the environment."""
        if self.ssl_cert_file is not None:
            os.environ["SSL_CERT_FILE"] = str(self.ssl_cert_file)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value, _ in self.items())})"


def load(
    args: argparse.Namespace | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this process.

    Args:
        args: a command's flags: `env_file`, `data`, and those of `add_setting_flags`. None: no flags and no ./.env, so
            that a library or a test never picks up a stranger's file by accident.
        environ: instead of os.environ.
        overrides: values that the command itself lays down, above everything; an empty one brings the default back.
    Raises: ConfigError naming every problem at once.
    """
    problems: list[str] = []
    unused: list[tuple[str, str]] = []
    given: dict[str, tuple[str, str]] = {}  # name → value, origin; a later source replaces an earlier one
    folder = Path.cwd()
    if (file := _env_file(args)) is not None:
        folder = file.absolute().parent
        given |= _read_env_file(file, problems, unused)
    from_file = set(given)
    environ = os.environ if environ is None else environ
    overrides = overrides or {}
    for source, origin in ((environ, "environment"), (_flags(args), ""), (overrides, "this command")):
        found = {
            name: (source[name], origin or f"flag {_flag(name)}") for name in SPECS if source.get(name, "").strip()
        }
        from_file -= set(found)
        given |= found
    given = {name: one for name, one in given.items() if overrides.get(name, "kept").strip()}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, spec in SPECS.items():
        text, origin = given.get(name, (spec.default, "default"))
        origins[name] = origin
        try:
            value = spec.parse(text.strip())
            if isinstance(value, Path):
                value = (folder if name in from_file else Path.cwd()) / value.expanduser()
        except (ValueError, RuntimeError):  # RuntimeError: `~nobody-here`
            shown = "(a secret)" if spec.secret else repr(text)
            problems.append(f"{name} is {shown} ({origin}): must be {spec.legal}")
            continue
        values[_attribute(name)] = value
    if bool(values.get("schwab_app_key")) != bool(values.get("schwab_app_secret")):
        lacking = "SCHWAB_APP_SECRET" if values.get("schwab_app_key") else "SCHWAB_APP_KEY"
        problems.append(f"{lacking} is not set: SCHWAB_APP_KEY and SCHWAB_APP_SECRET go together")
    half = bool(values.get("supabase_url")) != bool(values.get("supabase_service_role_key"))
    if half and not values.get("database_url"):
        lacking = "SUPABASE_SERVICE_ROLE_KEY" if values.get("supabase_url") else "SUPABASE_URL"
        problems.append(f"{lacking} is not set: SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY go together")
    if problems:
        raise ConfigError(
            problems[0] if len(problems) == 1 else f"{len(problems)} settings are wrong:\n  " + "\n  ".join(problems),
            next_step="correct the value where it comes from; .env.example explains each setting",
        )
    if origins["SCHWAB_TOKEN_FILE"] == "default":
        values["schwab_token_file"] = values["data_dir"] / "token.json"
    return Settings(
        **values, origins=origins, env_file=file.absolute() if file is not None else None, unused=tuple(unused)
    )


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting, `--batch-size` for BATCH_SIZE; none for a secret, which process lists would show."""
    group = parser.add_argument_group("settings (each is also a name in .env and in the environment)")
    for name, spec in SPECS.items():
        if not spec.secret and name != "DATA_DIR":
            shown = f"{spec.legal} (default {spec.default})".replace("%", "%%")
            group.add_argument(_flag(name), dest=f"set_{name}", metavar="V", default=argparse.SUPPRESS, help=shown)


def _attribute(name: str) -> str:
    return SPECS[name].attribute or name.lower()


def _flag(name: str) -> str:
    return "--data" if name == "DATA_DIR" else "--" + name.lower().replace("_", "-")


def _flags(args: argparse.Namespace | None) -> dict[str, str]:
    found = {name: str(getattr(args, f"set_{name}", "")) for name in SPECS}
    return found | {"DATA_DIR": str(getattr(args, "data", None) or "")}


def _env_file(args: argparse.Namespace | None) -> Path | None:
    if args is None:
        return None
    named = getattr(args, "env_file", None)
    if named:
        return Path(named)
    return Path(".env") if Path(".env").is_file() else None


def _read_env_file(file: Path, problems: list[str], unused: list[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The settings that the file holds, by python-dotenv's own grammar, without interpolation."""
    from dotenv.parser import parse_stream

    found: dict[str, tuple[str, str]] = {}
    try:
        with file.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"the settings file {file} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}")
        return found
    for binding in bindings:
        origin = f"{file}:{_line(binding.original.string, binding.original.line)}"
        name = binding.key
        if binding.error or (name is not None and binding.value is None):
            problems.append(f"{origin}: not a line of the form NAME=value")
        elif name in SPECS:
            if (binding.value or "").strip():
                found[name] = (binding.value or "", origin)
        elif name is not None and any(fnmatch.fnmatchcase(name, pattern) for pattern in RESERVED):
            unused.append((name, origin))
        elif name is not None:
            near = difflib.get_close_matches(name.upper(), SPECS, n=1, cutoff=0.5)
            problems.append(f"{origin}: unknown setting {name}" + (f"; did you mean {near[0]}?" if near else ""))
    return found


def _line(text: str, first: int) -> int:
    """The line on which a statement's own text begins: the parser counts the blank lines before it."""
    return first + text[: len(text) - len(text.lstrip())].count("\n")


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
    "METRICS_INTERVAL": _seconds("10", 0.1, 3600),
    "LOG_LEVEL": _one_of("info", "debug", "info", "warning", "error"),
    "LOG_FORMAT": _one_of("auto", "auto", "json", "text"),
    "DISK_MIN_FREE_MB": Spec("200", "a whole number of megabytes from 0 to 10000000", _whole(0, 10_000_000)),
}
"""Every setting, in the order in which `alphakite config` shows them."""
