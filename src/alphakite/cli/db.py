"""`alphakite db`: start, stop or locate the database; what it takes, what is old, what is wrong with it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from alphakite.cli import db_lint, db_prune, db_room
from alphakite.config import Settings, load
from alphakite.errors import AlphakiteError, ConfigError, UnavailableError, UsageError
from alphakite.store import embedded, migrate, rest
from alphakite.store.database import Database
from alphakite.store.rest_faults import SCHEMA_STEP
from alphakite.store.room import by_rest

ABOUT = {
    "start": "start the embedded database; it stays until `db stop`",
    "stop": "stop the embedded database, once nobody uses it",
    "url": "print a DSN that psql accepts",
    "status": "whether it runs, and where",
    "size": "what the database takes, by table and day",
    "forecast": "what a session adds, what retention removes, and the day on which it is full",
    "prune": "remove the days that retention no longer keeps, or those before a date",
    "lint": "check the schema as Supabase's advisors would",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("db", help="start, stop or locate the database; its size, and room in it")
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(ABOUT))
    for name, about in ABOUT.items():
        action = actions.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if name == "prune":
            db_prune.add_flags(action)
        action.add_argument("--data", metavar="DIR", help="the data folder")
        action.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
        action.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """stop: 1 while somebody uses it; status: 1 if it does not run; lint: 1 if there are findings."""
    settings = load(args)
    if args.action == "prune":
        return db_prune.run(settings, args)
    if args.action == "lint":
        return db_lint.run(settings, as_json=args.json)
    if args.action in ("size", "forecast"):
        return {"size": db_room.size, "forecast": db_room.ahead}[args.action](settings, as_json=args.json)
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
    if by_rest(settings):
        raise ConfigError(
            "the database is Supabase's, named by its REST interface (SUPABASE_URL), which has no DSN",
            next_step="set DATABASE_URL too: in the Supabase dashboard, Connect, Session pooler",
        )
    found = embedded.condition(settings.data_dir)
    if not found.dsn:
        raise UnavailableError(f"{settings.data_dir} has no database yet", next_step="alphakite db start")
    if not found.running:
        print("it does not run now; `alphakite db start` starts it", file=sys.stderr)
    return {"url": found.dsn, "running": found.running}, 0, found.dsn


def _status(settings: Settings) -> Answer:
    if settings.database_url or by_rest(settings):
        name = "DATABASE_URL" if settings.database_url else "SUPABASE_URL"
        try:
            asyncio.run(_migrate(settings) if settings.database_url else _check_by_rest(settings))
        except AlphakiteError as error:
            text = f"not ready: {error}" + (f"\nnext: {error.next_step}" if error.next_step else "")
            return {"embedded": False, "running": False, "error": str(error)}, 1, text
        return {"embedded": False, "running": True}, 0, f"the database of {name} answers, its schema is current"
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


async def _check_by_rest(settings: Settings) -> None:
    """Ask once: whether the key is accepted, and the schema the one that is needed. Raises: our errors."""
    found = await rest.ask(settings.supabase_url, settings.supabase_service_role_key, "recorder_condition", {})
    if (version := found["schema_version"]) != migrate.newest():
        raise ConfigError(
            f"the schema in Supabase is at {version}, this alphakite needs {migrate.newest()}", next_step=SCHEMA_STEP
        )


def _only_embedded(settings: Settings) -> None:
    if settings.database_url or by_rest(settings):
        name = "another database (DATABASE_URL)" if settings.database_url else "Supabase's database (SUPABASE_URL)"
        raise UsageError(
            f"the settings name {name}, which alphakite neither starts nor stops",
            next_step="leave DATABASE_URL and SUPABASE_URL empty for the embedded one",
        )
