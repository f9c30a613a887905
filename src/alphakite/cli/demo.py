"""`alphakite demo`: the local Schwab and a recorder on it, both at once, with a live view; no account needed.

The data folder remembers what was played: a second start goes on, in the same session, where the first one ended.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from alphakite.cli import status as status_command
from alphakite.cli.demo_chain import OFF, Chain, chain_document, chain_line, chain_table, read_chain
from alphakite.cli.simulate import add_simulate_arguments
from alphakite.config import Settings, load
from alphakite.errors import AlphakiteError, UnavailableError
from alphakite.metrics import read_status
from alphakite.sessions import EXCHANGE, exchange_time, next_session, previous_session, session_on
from alphakite.setting_specs import SPECS
from alphakite.store.database import Database
from alphakite.store.faults import DATABASE_ERRORS

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 9.0
DEFAULT_START = "10:15"
OPTIONS_OFF = ("off", "false", "no", "0")
PLAN_FILE = "demo.json"
PASSED_ON = ("INDICATORS", "OPTIONS", "OPTION_DTE", "OPTION_STRIKES")
"""Settings of the user's that are safe to try: the others stand for an account and a database of their own."""
OWN_DATABASE = {"DATABASE_URL": "", "SUPABASE_URL": "", "SUPABASE_SERVICE_ROLE_KEY": ""}
"""What is played never goes where real rows are."""
ROWS_SHOWN, REST_LINES = 5, 13
"""Of the newest rows; lines of the live view that the chain has not."""
CHAIN_LINE_EVERY = 10
"""In plain mode so many lines of prices come before one of the chain."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest rows, prices and indicators side by side, and the first ticker's chain."""

    rows: list[dict[str, Any]]
    chain: Chain


class Plan(msgspec.Struct):
    """What this data folder's demo plays; kept, so that a second start continues it."""

    session: str
    seed: int


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags: all of simulate's, and a few."""
    parser = subparsers.add_parser(
        "demo",
        help="record from the local Schwab, with a live view; no account needed",
        description="Start the local Schwab and a recorder on it. Begins at 10:15 exchange time, with history.",
    )
    add_simulate_arguments(parser)
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="end after this many seconds")
    parser.add_argument("--until-close", action="store_true", help="end once the session is over and all is committed")
    parser.add_argument("--json", action="store_true", help="one JSON object a second instead of the view")


def run(args: argparse.Namespace) -> int:
    """0 when it ended as asked; the recorder's exit code otherwise."""
    args.env_file, env_file_asked = None, args.env_file
    settings = load(args, environ={}, overrides={"CLOCK": "feed"} | OWN_DATABASE)
    stop_asked = False

    def ask_stop(_number: int, _frame: object) -> None:
        nonlocal stop_asked
        stop_asked = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_stop)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    env_file = env_file_asked or settings.data_dir / "demo.env"
    children: list[subprocess.Popen[str]] = []
    try:
        simulator = _spawn(
            ["simulate", *_simulate_arguments(args, settings), "--env-file", str(env_file)], stdout=subprocess.PIPE
        )
        children.append(simulator)
        ready = _wait_ready(simulator, lambda: stop_asked)
        if ready is None:
            return 0
        log_file = (settings.data_dir / "demo.log").open("a")
        arguments = ["run", "--env-file", str(env_file), "--data", str(settings.data_dir)]
        recorder = _spawn(arguments + (["--until-close"] if args.until_close else []), stderr=log_file)
        children.append(recorder)
        _introduce(settings, ready, as_json=args.json)
        _watch(settings, recorder, args, lambda: stop_asked)
        if recorder.poll() is not None and recorder.returncode != 0:
            tail = (settings.data_dir / "demo.log").read_text().splitlines()[-5:]
            raise UnavailableError(
                "the recorder ended: " + " | ".join(tail), next_step=f"see {settings.data_dir / 'demo.log'}"
            )
    finally:
        _stop(children)
    _say_goodbye(settings, as_json=args.json)
    return 0


def _simulate_arguments(args: argparse.Namespace, settings: Settings) -> list[str]:
    """The simulator's flags: as given, else what this folder played, from where it stopped."""
    plan_path = settings.data_dir / PLAN_FILE
    plan = msgspec.json.decode(plan_path.read_bytes(), type=Plan) if plan_path.exists() else None
    session, start, seed = args.session, args.start, args.seed
    if plan is not None:
        session, seed = session or plan.session, plan.seed if seed is None else seed
        last = read_status(settings.data_dir)
        if start is None and last is not None and last.now_us:
            at = datetime.fromtimestamp(last.now_us / 1e6, UTC).astimezone(EXCHANGE)
            minute = at.replace(second=0, microsecond=0) + timedelta(minutes=1)
            if at.date().isoformat() == session and minute.hour < 20:
                start = f"{minute:%H:%M}"
            elif at.date().isoformat() >= session:
                session = next_session(at.date()).date.isoformat()
    tapes = list(args.tape or [])
    if session is None and not tapes:
        session = _latest_session().isoformat()
    seed = 1 if seed is None else seed
    if session is not None:
        plan_path.write_bytes(msgspec.json.encode(Plan(session, seed)))
    given = ["--start", start or DEFAULT_START, "--seed", str(seed)]
    if session is not None:
        given += ["--session", session]
    for tape in tapes:
        given += ["--tape", tape]
    for symbol in args.symbol or []:
        given += ["--symbol", symbol]
    for name in ("end", "speed", "on_disconnect", "align", "listen", "send_log"):
        if (value := getattr(args, name, None)) is not None:
            given += [f"--{name.replace('_', '-')}", str(value)]
    return given


def _latest_session() -> date:
    """Today's session, or the one before it when there is none today."""
    today = datetime.now(EXCHANGE).date()
    return today if session_on(today) is not None else previous_session(today).date


def _spawn(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    """Another alphakite, in a session of its own so that Ctrl-C reaches only us, and dying with us."""
    return subprocess.Popen(
        [sys.executable, "-m", "alphakite", *arguments],
        env={name: value for name, value in os.environ.items() if name not in SPECS or name in PASSED_ON},
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=_die_with_parent,
        **options,
    )


def _die_with_parent() -> None:
    """Linux: SIGTERM when the parent dies; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait_ready(simulator: subprocess.Popen[str], stopped: Callable[[], bool]) -> dict[str, Any] | None:
    """The simulator's READY line."""
    output: IO[str] | None = simulator.stdout
    assert output is not None
    for line in output:
        if line.startswith("READY "):
            return dict(json.loads(line[6:]))
        if stopped():
            return None
    if stopped():
        return None
    raise UnavailableError(
        f"the local Schwab did not start (exit {simulator.wait()})", next_step="see its message above"
    )


def _introduce(settings: Settings, ready: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return
    print(f"local Schwab at {ready['api_url']}, session {ready.get('session', '')}", flush=True)
    print("look for yourself, from another terminal:", flush=True)
    print(f"  {look_command(settings)}", flush=True)


def look_command(settings: Settings) -> str:
    """The line with which a person looks into the tables."""
    program = Path(sys.executable).with_name("alphakite")
    shown = str(program) if program.exists() else "alphakite"
    for base in (Path.cwd(),):
        if program.is_relative_to(base):
            shown = str(program.relative_to(base))
    return (
        f"{shown} sql --data {settings.data_dir} "
        '"select * from equity_data join indicators using (ticker, timestamp) order by timestamp desc limit 5"'
    )


def _watch(
    settings: Settings, recorder: subprocess.Popen[str], args: argparse.Namespace, stopped: Callable[[], bool]
) -> None:
    """Show what arrives, until something ends it."""
    console = Console()
    ends = time.monotonic() + args.seconds if args.seconds else None

    def going() -> bool:
        return recorder.poll() is None and not stopped() and (ends is None or time.monotonic() < ends)

    if args.json or not console.is_terminal:
        number = 0
        while going():
            number = _print_line(settings, number, as_json=args.json)
            _nap(1.0, going)
        return
    with Live(console=console, refresh_per_second=4) as live:
        while going():
            live.update(_view(settings, console.height))
            _nap(0.5, going)


def _nap(seconds: float, going: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and going():
        time.sleep(0.05)


def _newest(settings: Settings) -> Seen:
    """What the tables hold; nothing while the database is not up."""
    off = os.environ.get("OPTIONS", "").strip().lower() in OPTIONS_OFF
    try:
        return asyncio.run(_query(settings, options=not off))
    except (AlphakiteError, *DATABASE_ERRORS):
        return Seen([], Chain(OFF) if off else Chain())


async def _query(settings: Settings, *, options: bool) -> Seen:
    database = Database(settings)
    try:
        connection = await database.connect(start=False)
        try:
            rows = await connection.fetch(
                "select e.ticker, e.timestamp, e.price, e.volume, i.sma9, i.vwap,"
                " concat_ws(',', e.flags, i.flags) as flags"
                " from public.equity_data e join public.indicators i using (ticker, timestamp)"
                " order by e.timestamp desc, e.ticker limit 8"
            )
            if not options:
                return Seen([dict(row) for row in rows], Chain(OFF))
            newest = rows[0] if rows else None
            chain = await read_chain(connection, newest["ticker"], newest["price"]) if newest else Chain()
            return Seen([dict(row) for row in rows], chain)
        finally:
            await connection.close()
    finally:
        await database.close()


def _print_line(settings: Settings, number: int, *, as_json: bool) -> int:
    """The next line. Args: number: how many lines with prices came before. Returns: how many did now."""
    status = read_status(settings.data_dir)
    seen = _newest(settings)
    rows = seen.rows
    if as_json:
        newest = {name: str(value) if value is not None else None for name, value in rows[0].items()} if rows else None
        document = {"schema": 1, "status": msgspec.to_builtins(status), "newest": newest}
        print(json.dumps(document | {"chain": chain_document(seen.chain)}), flush=True)
        return number
    if rows and status is not None:
        row = rows[0]
        at = exchange_time(int(row["timestamp"].timestamp() * 1e6))
        print(
            f"{at}  {row['ticker']} {row['price']}  volume {row['volume']}  sma9 {row['sma9']}  vwap {row['vwap']}"
            f"  | {status.rows_committed} rows committed, {status.state}",
            flush=True,
        )
        if number % CHAIN_LINE_EVERY == 0:
            print(f"{at}  {chain_line(seen.chain)}", flush=True)
        return number + 1
    print(f"starting: {status.state if status else 'setting up the database'}", flush=True)
    return number


def _view(settings: Settings, height: int) -> Group:
    status = read_status(settings.data_dir)
    table = Table(title="equity_data + indicators", expand=False)
    for name in ("New York", "ticker", "price", "volume", "sma9", "vwap", "flags"):
        table.add_column(name, justify="left" if name in ("ticker", "flags") else "right")
    seen = _newest(settings)
    for row in seen.rows[:ROWS_SHOWN]:
        at = exchange_time(int(row["timestamp"].timestamp() * 1e6)).split(" ")[1]
        table.add_row(
            at, row["ticker"], *(_shown(row[name]) for name in ("price", "volume", "sma9", "vwap")), row["flags"] or ""
        )
    line = "setting up the database" if status is None else status_command.one_line(msgspec.to_builtins(status))
    return Group(
        table,
        chain_table(seen.chain, height - REST_LINES),
        Text(line, style="dim"),
        Text(look_command(settings), style="cyan"),
    )


def _shown(value: object) -> str:
    return "–" if value is None else str(value)


def _stop(children: list[subprocess.Popen[str]]) -> None:
    """The recorder first, so that its last frames are journaled; then the local Schwab."""
    for child in reversed(children):
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _say_goodbye(settings: Settings, *, as_json: bool) -> None:
    status = read_status(settings.data_dir)
    if as_json or status is None:
        return
    print(
        f"stopped: {status.appended} records journaled, {status.committed} committed,"
        f" {status.rows_committed} rows this time"
    )
    print("start again to go on; what was recorded stays. Look at it with:")
    print(f"  {look_command(settings)}")
