"""`alphakite status`: what the recorder of a data folder is doing, every count of it, problems last."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from itertools import starmap
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from alphakite import health
from alphakite.cli import database_words
from alphakite.cli.database_words import span
from alphakite.config import Settings, load
from alphakite.errors import AlphakiteError
from alphakite.metrics import Status, lock_held, read_status
from alphakite.sessions import exchange_time
from alphakite.store.faults import DATABASE_ERRORS

WATCH_INTERVAL_S = 1.0
DISK_WARNING_DAYS = 7.0
OVER_BUDGET = 1.25
"""A segment or two beyond the budget are no sign of anything."""


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
    alive = is_alive(settings.data_dir)
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
    verdict = health.judge(
        status if status.pid else None,
        lock_held=alive,
        now_wall_us=time.time_ns() // 1000,
        fsync_interval_s=settings.journal_fsync_interval,
        any_hour=settings.skip_market_hours,
    )
    found["health"] = msgspec.to_builtins(verdict)
    found["sign_in"]["token_file"] = settings.schwab_token_file.exists()
    try:
        found["database"] = asyncio.run(database_words.ask(settings))
    except (AlphakiteError, *DATABASE_ERRORS) as error:
        found["database"] = {"reachable": False, "error": str(error)}
    return found


def is_alive(data_dir: Path) -> bool:
    """Whether a recorder has this folder."""
    return lock_held(data_dir)


def one_line(status: dict[str, Any]) -> str:
    """A Status, as builtins, on one line."""
    return (
        f"{exchange_time(status['now_us'])}  {status['state']}  frames {status['frames']}"
        f"  rows {status['rows_committed']}  committed {status['committed']}/{status['appended']}"
        f"  rejected {status['rejected']}"
    ) + "".join(f"  {words}" for words in [database_words.catch_up_words(status["catch_up"])] if words)


def view(found: dict[str, Any]) -> Group:
    """The state for people; problems come last, where the eye ends."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=14)
    table.add_column()
    for name, value in rows(found):
        table.add_row(name, value)
    return Group(table, *(Text(f"! {problem}", style="bold red") for problem in problems(found)))


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and words of each line."""
    records, frames, updates = (found["conservation"][name] for name in ("records", "frames", "updates"))
    lines = [
        ("recorder", f"{found['state']}" + (f" (pid {found['pid']})" if found["alive"] else "")),
        ("settings", found["settings_file"]),
        ("tickers", ", ".join(found["tickers"])),
        ("time", f"{exchange_time(found['now_us'])} exchange time, clock {found['clock']}"),
        ("sign-in", sign_in_words(found["sign_in"], token_now_us(found))),
        ("connection", f"number {found['conn']}, {found['reconnects']} ended"),
        (
            "journal",
            f"{records['appended']:,} appended, {records['fsynced']:,} fsynced, {records['committed']:,} committed",
        ),
        ("", journal_words(found)),
        ("frames", f"{frames['received']:,} = {frames['decoded']:,} decoded + {frames['rejected']:,} rejected"),
        (
            "updates",
            f"{updates['received']:,} = {updates['stored']:,} stored + {updates['conflated']:,} conflated"
            f" + {updates['waiting']:,} waiting + {updates['images']:,} images"
            f" + {updates['outside_hours']:,} outside hours",
        ),
        *option_lines(found),
        *database_words.lines(found),
        *fact_lines(found["selftest"]),
    ]
    return [(name, value) for name, value in lines if value]


def option_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What is followed of each ticker's chain, and what came of it."""
    if not found["options"]:
        return []
    lines = [
        ("options" if not place else "", words)
        for place, words in enumerate(starmap(chain_words, found["options"].items()))
    ]
    updates, contracts = f"{found['option_updates']:,} updates", f"{found['option_contracts']:,} contracts"
    rows = f"{found['option_rows']:,} rows of {updates} of {contracts}"
    flags = ", ".join(f"{count:,} {name}" for name, count in found["option_quality"].items() if count)
    return [*lines, ("", rows + (f"; flagged: {flags}" if flags else ""))]


def chain_words(ticker: str, chain: dict[str, Any]) -> str:
    """`QQQ 2026-11-20, 124 contracts, strikes 595 to 656, next chain ready`."""
    words = [f"{ticker} {', '.join(chain['expiries']) or 'no expiry'}"]
    if chain["watched"]:
        words.append(f"{chain['watched']} contracts, strikes {chain['low']:g} to {chain['high']:g}")
    if chain["cut"]:
        words.append(f"no room for {chain['cut']}")
    if chain["waiting"]:
        words.append(f"waiting for {chain['waiting']}")
    if chain["staged"]:
        words.append(f"the chain for {chain['staged']} is ready")
    return ", ".join(words)


def token_now_us(found: dict[str, Any]) -> int:
    """The time by which tokens age: the stream's under CLOCK=feed, else this machine's."""
    return int(found["now_us"]) if found["clock"] == "feed" else time.time_ns() // 1000


def sign_in_words(sign_in: dict[str, Any], now_us: int) -> str:
    """The state and both clocks: the login of seven days and the access token of half an hour."""
    words = [sign_in["state"]]
    if sign_in["login_at_us"]:
        words.append(f"signed in {exchange_time(sign_in['login_at_us'])} exchange time")
    for name, until_us in (("login", sign_in["refresh_expires_us"]), ("access token", sign_in["access_expires_us"])):
        if until_us > now_us:
            words.append(f"{name} good for {span((until_us - now_us) / 1e6)}")
        elif until_us:
            words.append(f"{name} ended {span((now_us - until_us) / 1e6)} ago")
    return ", ".join(words)


def journal_words(found: dict[str, Any]) -> str:
    """Size, budget, and when it is full."""
    if not found["journal_bytes"]:
        return ""
    words = [f"{found['journal_bytes'] / 1e6:,.1f} MB"]
    if found["journal_first_seq"] > 1:
        words.append(f"begins at record {found['journal_first_seq']:,}, earlier ones were removed")
    budget, days = found["journal_budget_bytes"], found["journal_days_left"]
    words.append(f"budget {budget / 1e6:,.0f} MB" if budget else "no budget")
    if days is not None and days < 0.05:
        words.append("full: the oldest are removed once they are committed" if budget else "the disk is full")
    else:
        where = "budget" if budget else "disk"
        words.append(f"{where} full in {days:,.1f} days" if days is not None else "days until full not known yet")
    return ", ".join(words)


def fact_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What was observed of Schwab; a fact of which nothing was seen yet is only counted."""
    if not facts:
        return []
    settled = sum(fact.get("state") == "settled" for fact in facts.values())
    seen = [
        (f"  {name}", f"{fact.get('value') or 'not known yet'} ({fact['evidence']})")
        for name, fact in facts.items()
        if fact.get("evidence")
    ]
    return [("self-test", f"{settled} of {len(facts)} facts about Schwab are known"), *seen]


def problems(found: dict[str, Any]) -> list[str]:
    """What a person should know or do."""
    said: list[str] = []
    if found["state"] == "never_started":
        said.append("no recorder has written to this folder yet: start one with `alphakite run` or `alphakite demo`")
    if found["state"] == "dead":
        said.append("the recorder is gone without having stopped: start it again, it goes on where it was")
    if found["health"]["state"] == "stuck":
        said.append(f"{'; '.join(found['health']['reasons'])}: {found['health']['next_step']}")
    said += database_words.problems(found)
    said += sign_in_problems(found)
    if found["open_gaps"] and found["alive"]:
        said.append(f"nothing is being received for {', '.join(found['open_gaps'])}")
    for service, count in found["refused"].items():
        said.append(
            f"Schwab refused {count} of {service}: look at the log for the codes, record fewer or other tickers"
        )
    said += found["notices"]
    days, budget = found["journal_days_left"], found["journal_budget_bytes"]
    if budget and found["journal_bytes"] > OVER_BUDGET * budget:
        lag = found["conservation"]["records"]["lag"]
        said.append(f"the journal is over its budget, {lag:,} records are not committed: see to the database")
    if not budget and days is not None and days < DISK_WARNING_DAYS:
        said.append(f"the disk is full in {days:.1f} days: set JOURNAL_BUDGET_MB or free space")
    if found["alive"]:
        for ticker, chain in found["options"].items():
            if chain["cut"]:
                said.append(
                    f"{ticker}: Schwab's cap leaves no room for {chain['cut']} option contracts: lower OPTION_STRIKES"
                )
    if found["rejected"]:
        said.append(
            f"{found['rejected']} rejected; the newest: {found['last_rejection'] or 'see the journal'}:"
            " it stays in the journal, please report it"
        )
    for part in ("frames", "updates"):
        if found["conservation"][part]["difference"]:
            said.append(f"{part} do not add up by {found['conservation'][part]['difference']}: please report this")
    return said


def sign_in_problems(found: dict[str, Any]) -> list[str]:
    """A sign-in that is missing, dead or ends soon, of a recorder that runs."""
    sign_in, why = found["sign_in"], found["sign_in"]["reason"]
    if not found["alive"]:
        return []
    if sign_in["state"] in ("auth_required", "missing") or found["state"] == "auth_required":
        dead = "there is no sign-in yet" if sign_in["state"] == "missing" else "Schwab wants a new sign-in"
        return [f"{dead}{f' ({why})' if why else ''}: {health.SIGN_IN_STEP}"]
    if sign_in["state"] == "expiring":
        left_s = (sign_in["refresh_expires_us"] - token_now_us(found)) / 1e6
        return [f"the sign-in ends in {span(max(0.0, left_s))}: renew it before, alphakite auth"]
    return []
