"""`alphakite db start|stop|url|status`: the embedded database of a data folder, or where another one is."""

from __future__ import annotations

import argparse
import json

from alphakite.config import load
from alphakite.errors import UsageError
from alphakite.store import embedded


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("db", help="start, stop or locate the database")
    parser.add_argument(
        "action",
        choices=("start", "stop", "url", "status"),
        help="start: and let it stay; stop: once nobody uses it; url: a DSN that psql accepts; status",
    )
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """status: 1 when it does not run; stop: 1 when others still use it."""
    settings = load(args)
    data_dir = settings.data_dir
    if settings.database_url:
        if args.action == "url":
            print(settings.database_url)
            return 0
        raise UsageError(
            f"`db {args.action}` is for the embedded database; DATABASE_URL names another",
            next_step="manage that one with its own tools",
        )
    if args.action == "start":
        endpoint = embedded.keep_running(data_dir)
        print(json.dumps({"schema": 1, "pid": endpoint.pid, "port": endpoint.port}) if args.json else
              f"running on 127.0.0.1:{endpoint.port}; `alphakite db stop` ends it")  # fmt: skip
        return 0
    if args.action == "stop":
        stopped = embedded.stop(data_dir)
        print(json.dumps({"schema": 1, "stopped": stopped}) if args.json else
              "stopped" if stopped else "others use it: the last of them stops it")  # fmt: skip
        return 0 if stopped else 1
    found = embedded.condition(data_dir)
    if args.action == "url":
        print(found.dsn if found.running else embedded.keep_running(data_dir).dsn)
        return 0
    if args.json:
        shown = {"running": found.running, "kept": found.kept, "pid": found.pid, "port": found.port, "way": found.way}
        print(json.dumps({"schema": 1} | shown))
    else:
        print(f"running on 127.0.0.1:{found.port}, pid {found.pid}" if found.running else "not running")
    return 0 if found.running else 1
