"""`alphakite gaps list`: what could not be received."""

from __future__ import annotations

import argparse
import asyncio

from alphakite.cli.export import select, write_table
from alphakite.config import load


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("gaps", help="list what could not be received")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list")
    listing = actions.add_parser("list", help="every gap, by ticker and start")
    listing.add_argument("--ticker", metavar="T", help="this ticker only")
    listing.add_argument("--data", metavar="DIR", help="the data folder")
    listing.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    style = listing.add_mutually_exclusive_group()
    style.add_argument("--csv", dest="style", action="store_const", const="csv", help="comma-separated values")
    style.add_argument("--json", dest="style", action="store_const", const="json", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """0, whether there are gaps or not."""
    sql, values = select("stream_gaps", args.ticker, None, None)
    return asyncio.run(write_table(load(args), sql, values, args.style or "text", "-"))
