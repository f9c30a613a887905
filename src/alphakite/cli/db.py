"""`alphakite db`: start, stop or locate the database."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from alphakite.config import Settings, load
from alphakite.errors import AlphakiteError, UnavailableError, UsageError
from alphakite.store import embedded
from alphakite.store.database import Database


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("db", help="start, stop or locate the database")
    actions = parser.add_subparsers(dest="action", required=True, metavar="start|stop|url|status")
    for name, about in (
        ("start", "start the embedded database; it stays until `db stop`"),
        ("stop", "stop the embedded database, once nobody uses it"),
        ("url", "print a DSN that psql accepts"),
        ("status", "whether it runs, and where"),
    ):
        action = actions.add_parser(name, help=about)
        action.add_argument("--data", metavar="DIR", help="the data folder")
        action.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
        action.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """stop: 1 while somebody uses it; status: 1 if it does not run."""
    settings = load(args)
    found, code, text = {"start": _start, "stop": _stop, "url": _url, "status": _status}[args.action](settings)
    print(json.dumps({"schema": 1} | found) if args.json else text)
    return code


Answer = tuple[dict[str, object], int, str]
"""What --json shows, the exit code, what people read."""


def _start(settings: Settings) -> Answer:
    _only_embedded(settings)
    asyncio.run(_migrate(settings))
    endpoint = embedded.keep_running(settings.data_dir)
    return {"running": True, "pid": endpoint.pid, "port": endpoint.port, "url": endpoint.dsn}, 0, endpoint.dsn


def _stop(settings: Settings) -> Answer:
    _only_embedded(settings)
    stopped = embedded.stop(settings.data_dir)
    text = "stopped" if stopped else "in use: it stops when the last command that uses it ends"
    return {"running": not stopped}, 0 if stopped else 1, text


def _url(settings: Settings) -> Answer:
    if settings.database_url:
        return {"url": settings.database_url}, 0, settings.database_url
    found = embedded.condition(settings.data_dir)
    if not found.dsn:
        raise UnavailableError(f"{settings.data_dir} has no database yet", next_step="alphakite db start")
    if not found.running:
        print("it does not run now; `alphakite db start` starts it", file=sys.stderr)
    return {"url": found.dsn, "running": found.running}, 0, found.dsn


def _status(settings: Settings) -> Answer:
    if settings.database_url:
        try:
            asyncio.run(_migrate(settings))
        except AlphakiteError as error:
            return {"embedded": False, "running": False, "error": str(error)}, 1, f"not ready: {error}"
        return {"embedded": False, "running": True}, 0, "the database of DATABASE_URL answers, its schema is current"
    found = embedded.condition(settings.data_dir)
    shown: dict[str, object] = {
        "embedded": True,
        "running": found.running,
        "kept": found.kept,
        "pid": found.pid,
        "port": found.port,
        "way": found.way,
    }
    if not found.running:
        return shown, 1, "does not run"
    until = "until `db stop`" if found.kept else "until its last user ends"
    return shown, 0, f"runs {until}: pid {found.pid}, port {found.port}"


async def _migrate(settings: Settings) -> None:
    """Connect once: that brings an embedded schema up to date, and checks another database's."""
    database = Database(settings)
    try:
        await (await database.connect()).close()
    finally:
        await database.close()


def _only_embedded(settings: Settings) -> None:
    if settings.database_url:
        raise UsageError(
            "the settings name another database (DATABASE_URL), which alphakite neither starts nor stops",
            next_step="leave DATABASE_URL empty for the embedded one",
        )
