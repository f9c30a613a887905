"""`alphakite status`: what the recorder of a data folder is doing, every count of it, problems last."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from alphakite.config import Settings, load
from alphakite.errors import AlphakiteError
from alphakite.metrics import Status, read_status
from alphakite.sessions import exchange_time
from alphakite.store.database import Database
from alphakite.store.faults import DATABASE_ERRORS

STALE_S = 5.0
WATCH_INTERVAL_S = 1.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("status", help="what the recorder is doing: counts, gaps, database")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument("--watch", action="store_true", help="show it again every second, until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """0; 1 if no recorder has ever written to this folder."""
    settings = load(args)
    if not args.watch:
        found = collect(settings)
        if args.json:
            print(json.dumps(found))
        else:
            Console().print(view(found))
        return 0 if found["state"] != "never_started" else 1
    watch(settings, as_json=args.json)
    return 0


def watch(settings: Settings, *, as_json: bool) -> None:
    """Again and again, in place on a terminal, a line each elsewhere."""
    console = Console()
    with contextlib.suppress(KeyboardInterrupt):
        if as_json or not console.is_terminal:
            while True:
                found = collect(settings)
                print(json.dumps(found) if as_json else one_line(found), flush=True)
                time.sleep(WATCH_INTERVAL_S)
        with Live(console=console, refresh_per_second=2) as live:
            while True:
                live.update(view(collect(settings)))
                time.sleep(WATCH_INTERVAL_S)


def collect(settings: Settings) -> dict[str, Any]:
    """Everything `status --json` shows: the recorder's own words, whether it lives, what the database says."""
    status = read_status(settings.data_dir) or Status(state="never_started")
    alive = _alive(settings.data_dir, status)
    found: dict[str, Any] = msgspec.to_builtins(status)
    if not alive and status.state not in ("never_started", "stopped"):
        found["state"] = "dead"
    found["alive"] = alive
    found["conservation"] = {
        "frames": {
            "received": status.frames,
            "decoded": status.decoded,
            "rejected": status.rejected_frames,
            "difference": status.frames - status.decoded - status.rejected_frames,
        },
        "updates": {
            "received": status.updates,
            "stored": status.stored,
            "conflated": status.conflated,
            "waiting": status.waiting,
            "images": status.images,
            "outside_hours": status.outside,
            "difference": status.updates
            - status.stored
            - status.conflated
            - status.waiting
            - status.images
            - status.outside,
        },
        "records": {
            "appended": status.appended,
            "fsynced": status.fsynced,
            "committed": status.committed,
            "lag": status.appended - status.committed,
        },
    }
    found["sign_in"] = {"token_file": settings.schwab_token_file.exists()}
    try:
        found["database"] = asyncio.run(_database(settings))
    except (AlphakiteError, *DATABASE_ERRORS) as error:
        found["database"] = {"reachable": False, "error": str(error)}
    return found


async def _database(settings: Settings) -> dict[str, Any]:
    database = Database(settings)
    try:
        connection = await database.connect(start=False)
        try:
            row = await connection.fetchrow(
                "select (select count(*) from public.stream_gaps) gaps,"
                " (select count(*) from public.stream_gaps where end_at is null) open_gaps,"
                " pg_database_size(current_database()) bytes"
            )
            return {
                "reachable": True,
                "embedded": not settings.database_url,
                "gaps": row["gaps"],
                "open_gaps": row["open_gaps"],
                "megabytes": round(row["bytes"] / 1e6, 1),
            }
        finally:
            await connection.close()
    finally:
        await database.close()


def _alive(data_dir: Path, status: Status) -> bool:
    """A recorder holds the journal's lock as long as it lives; its pid alone would prove nothing."""
    import fcntl

    try:
        with (data_dir / "journal" / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def one_line(status: dict[str, Any]) -> str:
    """A Status, as builtins, on one line."""
    return (
        f"{exchange_time(status['now_us'])}  {status['state']}  frames {status['frames']}"
        f"  rows {status['rows_committed']}  committed {status['committed']}/{status['appended']}"
        f"  rejected {status['rejected']}"
    )


def view(found: dict[str, Any]) -> Group:
    """The state for people; problems come last, where the eye ends."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=14)
    table.add_column()
    records, frames, updates = (found["conservation"][name] for name in ("records", "frames", "updates"))
    database = found["database"]
    for name, value in (
        ("recorder", f"{found['state']}" + (f" (pid {found['pid']})" if found["alive"] else "")),
        ("tickers", ", ".join(found["tickers"])),
        ("time", f"{exchange_time(found['now_us'])} exchange time, clock {found['clock']}"),
        ("connection", f"number {found['conn']}, {found['reconnects']} ended"),
        (
            "journal",
            f"{records['appended']:,} appended, {records['fsynced']:,} fsynced, {records['committed']:,} committed",
        ),
        ("frames", f"{frames['received']:,} = {frames['decoded']:,} decoded + {frames['rejected']:,} rejected"),
        (
            "updates",
            f"{updates['received']:,} = {updates['stored']:,} stored + {updates['conflated']:,} conflated"
            f" + {updates['waiting']:,} waiting + {updates['images']:,} images"
            f" + {updates['outside_hours']:,} outside hours",
        ),
        (
            "database",
            f"{database['megabytes']} MB, {database['gaps']} gaps ({database['open_gaps']} open)"
            if database.get("reachable")
            else f"not reachable: {database.get('error', '')}",
        ),
    ):
        table.add_row(name, value)
    return Group(table, *(Text(f"! {problem}", style="bold red") for problem in problems(found)))


def problems(found: dict[str, Any]) -> list[str]:
    """What a person should know or do."""
    said: list[str] = []
    if found["state"] == "never_started":
        said.append("no recorder has written to this folder yet: start one with `alphakite run` or `alphakite demo`")
    if found["state"] == "dead":
        said.append("the recorder is gone without having stopped: start it again, it goes on where it was")
    if found["state"] == "database_away":
        said.append(f"the database is away, the journal keeps everything: {found['reason']}")
    if found["open_gaps"]:
        said.append(f"nothing is being received for {', '.join(found['open_gaps'])}")
    if found["rejected"]:
        said.append(f"{found['rejected']} rejected; the newest: {found['last_rejection'] or 'see the journal'}")
    for part in ("frames", "updates"):
        if found["conservation"][part]["difference"]:
            said.append(f"{part} do not add up by {found['conservation'][part]['difference']}: please report this")
    return said
