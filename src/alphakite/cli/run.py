"""`alphakite run`: record until told to stop."""

from __future__ import annotations

import argparse

from alphakite import log
from alphakite.config import load


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser(
        "run",
        help="record until told to stop (SIGTERM or Ctrl-C)",
        description="Record the tickers of the settings into the database, until SIGTERM or Ctrl-C.",
    )
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE (default: .env in this folder)")
    parser.add_argument("--data", metavar="DIR", help="the data folder: journal, embedded database")
    parser.add_argument(
        "--until-close", action="store_true", help="exit 0 once the session is over and all is committed"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0 after an orderly stop."""
    settings = load(args)
    settings.trust()
    log.setup(settings.log_level, settings.log_format)
    log.redact(*settings.secrets())
    from alphakite import service

    return service.run(settings, until_close=args.until_close, reload=lambda: load(args))
