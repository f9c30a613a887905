"""`alphakite tickers`: what is recorded; add and remove while the recorder runs.

The settings file stays the one place that says what is recorded: its STREAM_TICKER line is changed, then a running
recorder reads it again (SIGHUP). Nothing is reconnected, and no row of another ticker is lost.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from pathlib import Path

from alphakite import envfile
from alphakite.config import Settings, load
from alphakite.errors import ConfigError, UnavailableError, UsageError
from alphakite.metrics import lock_held, read_status
from alphakite.setting_specs import TICKER

TAKEN_WITHIN_S = 30.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser(
        "tickers",
        help="what is recorded; add and remove without a restart",
        description="Lists the tickers, or changes STREAM_TICKER in the settings file and tells a running recorder.",
    )
    parser.add_argument("action", choices=("list", "add", "remove"))
    parser.add_argument("ticker", nargs="*", metavar="T", help="tickers, as Schwab spells them: SPY, BRK/B, $SPX")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE, and change them there")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """0 once the change is written, and taken by a recorder that runs."""
    settings = _settings(args)
    if args.action == "list":
        if args.ticker:
            raise UsageError("tickers list takes no ticker")
        return _show(settings, settings.tickers, changed=False, as_json=args.json)
    asked = tuple(dict.fromkeys(part.upper() for text in args.ticker for part in text.split(",") if part))
    if not asked or not all(TICKER.fullmatch(ticker) for ticker in asked):
        raise UsageError(
            f"tickers {args.action}: {' '.join(args.ticker) or 'nothing'} is no list of tickers",
            next_step=f"alphakite tickers {args.action} SPY",
        )
    if args.action == "add":
        wanted = tuple(dict.fromkeys((*settings.tickers, *asked)))
    else:
        if unknown := [ticker for ticker in asked if ticker not in settings.tickers]:
            raise UsageError(f"{', '.join(unknown)}: not recorded", next_step="alphakite tickers list")
        wanted = tuple(ticker for ticker in settings.tickers if ticker not in asked)
        if not wanted:
            raise UsageError("the last ticker cannot be removed", next_step="add another first, or stop the recorder")
    if wanted != settings.tickers:
        _write(settings, wanted)
    return _show(settings, wanted, changed=wanted != settings.tickers, as_json=args.json)


def _settings(args: argparse.Namespace) -> Settings:
    """Those of the file named, of ./.env, or of the file that the recorder of this data folder reads."""
    if not args.env_file and not Path(".env").is_file():
        status = read_status(load(args).data_dir)
        if status is not None and status.settings_file and Path(status.settings_file).is_file():
            args.env_file = status.settings_file
    return load(args)


def _write(settings: Settings, wanted: tuple[str, ...]) -> None:
    origin = settings.origins["STREAM_TICKER"]
    if origin == "environment":
        raise ConfigError(
            "STREAM_TICKER comes from the environment, which this command cannot change",
            next_step="change it where it is set and restart the recorder, or move it into a settings file",
        )
    if settings.env_file is None:
        raise ConfigError(
            "there is no settings file to change",
            next_step="name the one that the recorder reads with --env-file, or make one with `alphakite init`",
        )
    envfile.write(settings.env_file, {"STREAM_TICKER": ",".join(wanted)})


def _show(settings: Settings, wanted: tuple[str, ...], *, changed: bool, as_json: bool) -> int:
    """Tell the recorder of a change, wait for it, and say what is so now."""
    running = lock_held(settings.data_dir)
    if changed and running:
        _tell(settings.data_dir, wanted)
    status = read_status(settings.data_dir)
    recorded = status.tickers if running and status is not None else []
    if as_json:
        print(json.dumps({"schema": 1, "tickers": list(wanted), "running": running, "recorded": recorded}))
    else:
        for ticker in wanted:
            print(ticker)
        if changed and not running:
            print(f"written to {settings.env_file}; no recorder runs on {settings.data_dir}")
    return 0


def _tell(data_dir: Path, wanted: tuple[str, ...]) -> None:
    try:
        os.kill(int((data_dir / "run" / "recorder.pid").read_text()), signal.SIGHUP)
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"the settings file is changed, but the recorder could not be told: {error}",
            next_step="send it SIGHUP, or restart it",
        ) from error
    deadline = time.monotonic() + TAKEN_WITHIN_S
    while time.monotonic() < deadline:
        status = read_status(data_dir)
        if status is not None and tuple(status.tickers) == wanted:
            return
        time.sleep(0.1)
    raise UnavailableError(
        "the settings file is changed, but the recorder has not taken it over yet",
        next_step="look at `alphakite status` and the recorder's log: it may read STREAM_TICKER from elsewhere",
    )
