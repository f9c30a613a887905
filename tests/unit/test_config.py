"""Settings: where each value comes from, what is legal, all problems at once, and no secret shown."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.config import Settings, add_setting_flags, load
from alphakite.errors import ConfigError
from alphakite.recorder.capture import derive_settings
from alphakite.recorder.options import option_settings
from alphakite.setting_specs import SPECS


def flags(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**given)


def problem(environ: dict[str, str], args: argparse.Namespace | None = None) -> str:
    """The message of the ConfigError that these settings cause."""
    with pytest.raises(ConfigError) as caught:
        load(args, environ=environ)
    assert caught.value.next_step
    return str(caught.value)


def test_defaults() -> None:
    """What one gets without saying anything."""
    settings = load(environ={})
    assert settings.tickers == ("QQQ",)
    assert (settings.stream_hours, settings.stream_resolution, settings.clock) == ("extended", "1s", "system")
    assert (settings.batch_size, settings.batch_interval, settings.skip_market_hours) == (500, 1.0, False)
    assert settings.schwab_api_url == "https://api.schwabapi.com"
    assert settings.database_url == ""
    assert settings.data_dir == Path("~/.local/share/alphakite").expanduser()
    assert settings.schwab_token_file == settings.data_dir / "token.json"
    assert {origin for _, _, origin in settings.items()} == {"default"}


def test_the_nearest_source_wins(tmp_path: Path) -> None:
    """This command's own value > flag > environment > file > default, each with its origin."""
    file = tmp_path / "settings.env"
    file.write_text("# mine\nBATCH_SIZE=1\nBATCH_INTERVAL=2\nCOALESCE_MS=3\nexport METRICS_INTERVAL='4'\n")
    parser = argparse.ArgumentParser()
    add_setting_flags(parser)
    args = parser.parse_args(["--batch-size", "30", "--clock", "system", "--batch-interval", "3"])
    args.env_file = str(file)
    settings = load(args, environ={"BATCH_SIZE": "20", "COALESCE_MS": "10"}, overrides={"CLOCK": "feed"})
    assert (settings.batch_size, settings.batch_interval) == (30, 3.0)
    assert (settings.coalesce_ms, settings.metrics_interval, settings.clock) == (10, 4.0, "feed")
    origins = {name: origin for name, _, origin in settings.items()}
    assert origins["BATCH_SIZE"] == "flag --batch-size"
    assert origins["COALESCE_MS"] == "environment"
    assert origins["METRICS_INTERVAL"] == f"{file}:5"
    assert origins["CLOCK"] == "this command"
    assert origins["STREAM_TICKER"] == "default"


def test_a_settings_file_works_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its relative paths count from its own folder; those of flags from the current one."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "kept" / "my.env").write_text("DATA_DIR=records\nSCHWAB_TOKEN_FILE=token.json\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    args = flags(env_file="../kept/my.env")
    settings = load(args, environ={})
    assert settings.data_dir.resolve() == tmp_path / "kept" / "records"
    assert settings.schwab_token_file.resolve() == tmp_path / "kept" / "token.json"
    args.data = "here"
    assert load(args, environ={}).data_dir == tmp_path / "elsewhere" / "here"


def test_dotenv_of_this_folder_is_for_commands_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./.env is read for a command; a library or a test that passes no flags never meets it."""
    (tmp_path / ".env").write_text("STREAM_TICKER=SPY\n")
    monkeypatch.chdir(tmp_path)
    assert load(flags(), environ={}).tickers == ("SPY",)
    assert load(environ={}).tickers == ("QQQ",)


def test_an_empty_value_is_not_set() -> None:
    """`NAME=` leaves the default, as .env.example has it."""
    assert load(environ={"BATCH_SIZE": "", "STREAM_TICKER": "  "}).batch_size == 500


def test_a_command_can_go_back_to_the_default() -> None:
    """The demo records into its own database, whatever the user's settings name."""
    settings = load(environ={"DATABASE_URL": "postgresql://host/real"}, overrides={"DATABASE_URL": ""})
    assert settings.database_url == ""
    assert settings.origins["DATABASE_URL"] == "default"


def test_tickers_are_upper_case_and_once() -> None:
    """A comma list with blanks, in the order given."""
    assert load(environ={"STREAM_TICKER": "spy, qqq,SPY,,$SPX,BRK.B,/ES"}).tickers == (
        "SPY",
        "QQQ",
        "$SPX",
        "BRK.B",
        "/ES",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAM_TICKER", ","),
        ("STREAM_TICKER", "SP Y"),
        ("STREAM_TICKER", "É"),
        ("STREAM_HOURS", "all"),
        ("STREAM_RESOLUTION", "2s"),
        ("SKIP_MARKET_HOURS", "maybe"),
        ("BATCH_SIZE", "0"),
        ("BATCH_SIZE", "100001"),
        ("BATCH_SIZE", "1.5"),
        ("BATCH_INTERVAL", "nan"),
        ("BATCH_INTERVAL", "inf"),
        ("BATCH_INTERVAL", "-1"),
        ("JOURNAL_FSYNC_INTERVAL", "61"),
        ("JOURNAL_SEGMENT_MB", "0"),
        ("COALESCE_MS", "1001"),
        ("CLOCK", "sun"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "postgresql://host:99999/db"),
        ("SCHWAB_API_URL", "ftp://host"),
        ("SCHWAB_API_URL", "http://api.schwabapi.com"),  # would carry the secret in the clear
        ("SCHWAB_API_URL", "https://me:secret@host"),  # would be shown
        ("LOG_LEVEL", "loud"),
        ("DISK_MIN_FREE_MB", "-1"),
        ("OPTIONS", "maybe"),
        ("OPTIONS", "on,off"),
        ("OPTIONS", "on,IWM:"),
        ("OPTION_DTE", "-1"),
        ("OPTION_DTE", "0,GO OG:1"),
        ("OPTION_DTE", "GOOG:1,GOOG:2"),
        ("OPTION_STRIKES", "0"),
        ("OPTION_STRIKES", "501"),
        ("OPTION_STRIKES", "0%"),
        ("OPTION_STRIKES", "delta0.5-0.1"),
        ("OPTION_STRIKES", "delta0.1"),
        ("OPTION_INCLUDE", "weekly"),
        ("OPTION_RESOLUTION", "2s"),
        ("GREEKS_INTERVAL", "-1"),
        ("GREEKS_CONVENTION", "mine"),
        ("GREEKS_RATE", "4"),
        ("GREEKS_DIVIDEND", "SPY:nan"),
    ],
)
def test_an_impossible_value_is_a_clear_error(name: str, value: str) -> None:
    """The message names the setting, where it came from and what would be legal."""
    message = problem({name: value})
    assert name in message and "(environment)" in message and SPECS[name].legal in message


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost:1/", "http://[::1]:5", "https://x.example/"]
)
def test_the_local_schwab_may_be_plain_http(url: str) -> None:
    """On this machine nobody listens in; a slash at the end does not matter."""
    assert load(environ={"SCHWAB_API_URL": url}).schwab_api_url == url.rstrip("/")


def test_all_problems_at_once(tmp_path: Path) -> None:
    """One run names everything that must be corrected, unknown keys with the nearest known one, and no secret."""
    file = tmp_path / "bad.env"
    file.write_text("BATCH_SIZ=4\nSTREAM_TICKER\n\n\nDATABASE_URL=mysql://me:hunter2@host\nBATCH_SIZE=0\nUNHEARD=1\n")
    message = problem({"CLOCK": "sun", "SCHWAB_APP_KEY": "key-of-mine"}, flags(env_file=str(file)))
    assert message.startswith("7 settings are wrong")
    for part in (
        f"{file}:1: unknown setting BATCH_SIZ; did you mean BATCH_SIZE?",
        f"{file}:2: not a line",
        f"DATABASE_URL is (a secret) ({file}:5)",
        f"BATCH_SIZE is '0' ({file}:6)",
        f"{file}:7: unknown setting UNHEARD",
        "CLOCK is 'sun' (environment)",
        "SCHWAB_APP_SECRET is not set",
    ):
        assert part in message
    assert "hunter2" not in message and "key-of-mine" not in message


@pytest.mark.parametrize("content", [None, b"BATCH_SIZE=\xff\n"])
def test_an_unreadable_file_is_a_clear_error(tmp_path: Path, content: bytes | None) -> None:
    """Named but absent, or not text."""
    file = tmp_path / "some.env"
    if content is not None:
        file.write_bytes(content)
    assert "some.env cannot be read" in problem({}, flags(env_file=str(file)))


def test_keys_of_later_versions_are_accepted(tmp_path: Path) -> None:
    """They are listed as unused, not rejected."""
    file = tmp_path / "later.env"
    file.write_text("DASHBOARD_HOST=127.0.0.1\nDASHBOARD_PORT=1\n")
    settings = load(flags(env_file=str(file)), environ={})
    assert [name for name, _ in settings.unused] == ["DASHBOARD_HOST", "DASHBOARD_PORT"]


SUPABASE = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_x"}


@pytest.mark.parametrize(
    ("told", "limit_mb"),
    [
        ({}, 0),
        ({"DATABASE_URL": "postgresql://me@db.example.org/x"}, 0),
        ({"DATABASE_URL": "postgresql://postgres.abc:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres"}, 500),
        ({"DATABASE_URL": "postgresql://postgres:p@db.abc.supabase.co:5432/postgres"}, 500),
        (SUPABASE, 500),
        (SUPABASE | {"DATABASE_URL": "postgresql://me@db.example.org/x"}, 0),
        (SUPABASE | {"DATABASE_MAX_MB": "8000"}, 8000),
        (SUPABASE | {"DATABASE_MAX_MB": "0"}, 0),
    ],
)
def test_the_free_plan_is_the_limit_of_a_supabase_project(told: dict[str, str], limit_mb: int) -> None:
    """Unless one says otherwise."""
    assert load(environ=told).database_max_mb == limit_mb


def test_an_archive_needs_sql(tmp_path: Path) -> None:
    """A service key alone cannot read a day in one moment."""
    archive = {"DATABASE_ARCHIVE": str(tmp_path)}
    assert load(environ=archive).database_archive == tmp_path
    with pytest.raises(ConfigError, match="DATABASE_ARCHIVE needs SQL"):
        load(environ=SUPABASE | archive)


def test_options_by_ticker() -> None:
    """One value for all, others for single tickers; what is not said stays as it is by default."""
    settings = load(
        environ={
            "OPTIONS": "IWM:off",
            "OPTION_DTE": "1, goog : 7",
            "OPTION_STRIKES": "$SPX:40, IWM:2.5%,SPY:delta0.05-0.95 ,30,QQQ:all",
            "OPTION_INCLUDE": "AM, mini",
            "GREEKS_DIVIDEND": "SPY:0.012",
        }
    )
    assert (settings.options.of("QQQ"), settings.options.of("IWM")) == (True, False)
    assert [settings.option_dte.of(ticker) for ticker in ("QQQ", "GOOG")] == [1, 7]
    strikes = settings.option_strikes
    assert [strikes.of(ticker).kind for ticker in ("TSLA", "$SPX", "IWM", "SPY", "QQQ")] == [
        "strikes", "strikes", "width", "delta", "all"
    ]  # fmt: skip
    assert (strikes.of("TSLA").strikes, strikes.of("$SPX").strikes, strikes.of("IWM").width_percent) == (30, 40, 2.5)
    assert (strikes.of("SPY").delta_low, strikes.of("SPY").delta_high) == (0.05, 0.95)
    assert settings.option_include == ("am", "mini")
    assert (settings.greeks_dividend.of("SPY"), settings.greeks_dividend.of("QQQ")) == (0.012, 0.0)
    assert settings.shown("OPTIONS") == "IWM:off"  # as it was written, so that it can be read again
    default = load(environ={})
    assert (default.options.of("QQQ"), default.option_dte.of("QQQ"), default.option_strikes.of("QQQ").strikes) == (
        True, 0, 25
    )  # fmt: skip
    assert (default.greeks_interval, default.greeks_rate, default.greeks_convention) == (5.0, 0.04, "model")


def test_settings_shape_what_is_followed_and_derived() -> None:
    """In the order of the tickers, and only what differs from the default is named."""
    settings = load(
        environ={
            "STREAM_TICKER": "SPY,QQQ",
            "OPTION_STRIKES": "SPY:2%",
            "OPTION_INCLUDE": "adjusted",
            "OPTIONS": "on,QQQ:off",
            "OPTION_RESOLUTION": "tick",
            "GREEKS_INTERVAL": "0",
            "GREEKS_DIVIDEND": "SPY:0.012",
        }
    )
    found = option_settings(settings)
    assert list(found) == ["SPY", "QQQ"] and (found["SPY"].on, found["QQQ"].on) == (True, False)
    assert (found["SPY"].window, found["SPY"].width_percent, found["QQQ"].window) == ("width", 2.0, "strikes")
    assert (found["SPY"].include_adjusted, found["SPY"].include_am) == (True, False)
    shaped = derive_settings(settings, settings.tickers)
    assert (shaped.option_resolution, shaped.greeks_interval_s, shaped.greeks_convention) == ("tick", 0.0, "model")
    assert (shaped.greeks_rate, shaped.greeks_dividends) == (0.04, {"SPY": 0.012})


def test_no_interpolation(tmp_path: Path) -> None:
    """A dollar sign in a password or an index symbol is itself."""
    file = tmp_path / "dollar.env"
    file.write_text("STREAM_TICKER=$SPX\nDATABASE_URL='postgresql://me:${HOME}@host/db'\n")
    settings = load(flags(env_file=str(file)), environ={})
    assert settings.tickers == ("$SPX",)
    assert settings.database_url == "postgresql://me:${HOME}@host/db"


def test_secrets_never_print() -> None:
    """Not in repr, str or items; `secrets` hands them to the log's filter, a quoted password decoded too."""
    settings = load(
        environ={
            "DATABASE_URL": "postgresql://me:hunter%40two@host/db",
            "SCHWAB_APP_KEY": "my-app-key",
            "SCHWAB_APP_SECRET": "my-app-secret",
        }
    )
    shown = f"{settings} {settings!r} {settings.items()}"
    for secret in ("hunter", "my-app-key", "my-app-secret"):
        assert secret not in shown
    assert ("DATABASE_URL", "set", "environment") in settings.items()
    assert {"hunter%40two", "hunter@two", "my-app-key", "my-app-secret"} <= set(settings.secrets())


def test_no_flag_for_a_secret() -> None:
    """A process list shows flags to everybody on the machine."""
    parser = argparse.ArgumentParser()
    add_setting_flags(parser)
    offered = parser.format_help()
    for name, spec in SPECS.items():
        assert (f"--{name.lower().replace('_', '-')}" in offered) == (not spec.secret and name != "DATA_DIR"), name


def test_settings_are_frozen() -> None:
    """Read once, passed down, changed nowhere."""
    with pytest.raises(AttributeError):
        load(environ={}).batch_size = 3  # type: ignore[misc]


def test_the_example_file_is_complete_and_says_the_defaults(checkout: Path) -> None:
    """.env.example parses, names every setting once, and its values are the defaults."""
    example = checkout / ".env.example"
    names = [line.partition("=")[0] for line in example.read_text().splitlines() if line and line[0] != "#"]
    assert sorted(names) == sorted(SPECS)
    settings = load(flags(env_file=str(example)), environ={})
    default = load(environ={})
    assert [item[:2] for item in settings.items()] == [item[:2] for item in default.items()]


@given(st.dictionaries(st.sampled_from(sorted(SPECS)), st.text(max_size=20), max_size=4))
def test_any_text_is_a_value_or_a_config_error(environ: dict[str, str]) -> None:
    """No text in any setting causes another kind of error."""
    try:
        assert isinstance(load(environ=environ), Settings)
    except ConfigError as error:
        assert str(error)


def test_a_supabase_project() -> None:
    """Address and key go together; what people copy along is cut off; the key never prints; a public one is refused."""
    key = "sb_secret_of_mine"
    settings = load(environ={"SUPABASE_URL": "https://ref.supabase.co/rest/v1/", "SUPABASE_SERVICE_ROLE_KEY": key})
    assert settings.supabase_url == "https://ref.supabase.co"
    assert key in settings.secrets() and key not in repr(settings)
    assert "SUPABASE_SERVICE_ROLE_KEY is not set" in problem({"SUPABASE_URL": "https://ref.supabase.co"})
    assert "SUPABASE_URL is not set" in problem({"SUPABASE_SERVICE_ROLE_KEY": key})
    both = {"SUPABASE_URL": "https://ref.supabase.co", "DATABASE_URL": "postgresql://host/name"}
    assert load(environ=both).supabase_service_role_key == ""
    for wrong in ("sb_publishable_mine", "two words"):
        assert "is (a secret)" in problem(both | {"SUPABASE_SERVICE_ROLE_KEY": wrong})
    assert "SUPABASE_URL is" in problem(both | {"SUPABASE_URL": "http://ref.supabase.co"})
