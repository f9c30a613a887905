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
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from alphakite.errors import ConfigError
from alphakite.setting_specs import SPECS, PerTicker, StrikeWindow

RESERVED = ("DASHBOARD_*",)
"""Names that a later version will use."""
UNUSED = "not used by this version"
SUPABASE_HOSTS = (".supabase.co", ".supabase.com")
FREE_TIER_MB = 500
"""What Supabase's free plan gives a project."""


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
    allow_anon_read: bool
    """Whether the database's role `anon` may read: whoever knows a Supabase project's address."""
    database_max_mb: int
    """What the database may take, 0: no limit. Writing stops at 95 % of it, the journal goes on."""
    database_thin: bool
    """Whether the oldest option days may be removed from a database that is nearly full."""
    database_archive: Path | None
    """Folder for the option days that are removed because the database is nearly full."""
    retention_equity_days: int
    """Days that are kept, 0: for ever. So many days after its end a day is dropped."""
    retention_indicators_days: int
    retention_options_days: int
    retention_metrics_days: int
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
    rest_only = bool(values.get("supabase_url")) and not values.get("database_url")
    if rest_only and values.get("database_archive"):
        problems.append("DATABASE_ARCHIVE needs SQL, which SUPABASE_URL alone does not offer: set DATABASE_URL too")
    if problems:
        raise ConfigError(
            problems[0] if len(problems) == 1 else f"{len(problems)} settings are wrong:\n  " + "\n  ".join(problems),
            next_step="correct the value where it comes from; .env.example explains each setting",
        )
    if origins["SCHWAB_TOKEN_FILE"] == "default":
        values["schwab_token_file"] = values["data_dir"] / "token.json"
    if values["database_max_mb"] is None:
        supabase = rest_only or (urlsplit(values["database_url"]).hostname or "").endswith(SUPABASE_HOSTS)
        values["database_max_mb"] = FREE_TIER_MB if supabase else 0
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
