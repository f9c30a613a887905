"""`alphakite config`: every setting, its value and where it comes from. Secrets show only whether they are set."""

from __future__ import annotations

import argparse
import json

from alphakite.config import UNUSED, load


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("config", help="every setting, its value and where it comes from")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE (default: .env in this folder)")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """0; a wrong setting is an error with exit code 3."""
    settings = load(args)
    items = settings.items()
    if args.json:
        document = {
            "schema": 1,
            "settings": [{"name": name, "value": value, "origin": origin} for name, value, origin in items],
            "unused": [{"name": name, "origin": origin} for name, origin in settings.unused],
        }
        print(json.dumps(document))
        return 0
    lines = [*items, *((name, f"({UNUSED})", origin) for name, origin in settings.unused)]
    width = max(len(value) for _, value, _ in lines)
    for name, value, origin in lines:
        print(f"{name:25} {value:{width}}  {origin}")
    return 0
