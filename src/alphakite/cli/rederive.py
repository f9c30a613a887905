"""`alphakite rederive --check`: derive again from the journal and compare with the tables."""

from __future__ import annotations

import argparse
import asyncio
import json

from alphakite.config import load
from alphakite.rederive import check


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser(
        "rederive",
        help="derive again from the journal and compare with the tables",
        description="Derive again from the journal and compare with what the tables hold. Changes nothing.",
    )
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    parser.add_argument("--check", action="store_true", required=True, help="compare; the only mode of this version")
    parser.add_argument("--from", dest="start", metavar="T", help="compare rows from this time (RFC 3339) on")
    parser.add_argument("--to", dest="end", metavar="T", help="compare rows before this time")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """1 when anything differs."""
    report = asyncio.run(check(load(args), args.start, args.end))
    if args.json:
        print(json.dumps({"schema": 1} | report.as_json()))
    else:
        for table in report.tables:
            gone = f"  {table.removed:>6} of removed days" if table.removed else ""
            print(f"{table.name:16} {table.rows:>9} rows derived  {table.differences:>6} differences{gone}")
        for example in report.examples:
            print(f"  {example}")
        print(f"{report.rows} rows, {report.differences} differences, records {report.first_seq} to {report.last_seq}")
    return 1 if report.differences else 0
