"""`alphakite gaps list`: what could not be received, when, and why."""

from __future__ import annotations

import argparse
import asyncio
import sys

from alphakite.cli.output import document, write_csv, write_table
from alphakite.cli.sql import query
from alphakite.config import load


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("gaps", help="list what could not be received")
    parser.add_argument("action", choices=("list",))
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="CSV")
    form.add_argument("--json", action="store_true", help="JSON")


def run(args: argparse.Namespace) -> int:
    """0, gaps or none."""
    columns, rows = asyncio.run(
        query(load(args), "select ticker, start_at, end_at, reason, volume from public.stream_gaps order by 1, 2")
    )
    if args.json:
        print(document(columns, rows))
    elif args.csv:
        write_csv(sys.stdout, columns, rows)
    elif rows:
        write_table(columns, rows)
    else:
        print("no gaps: everything that was sent since the start was received")
    return 0
