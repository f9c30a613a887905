"""`alphakite simulate`: the local Schwab as a command, or with --truth the exact answer for its tape."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from datetime import date, time
from pathlib import Path

import uvloop

from alphakite.errors import UsageError
from alphakite.simulator.oauth import DEFAULT_CALLBACK
from alphakite.simulator.option_truth import option_seconds
from alphakite.simulator.options import SimulatorOptions, parse_tape
from alphakite.simulator.programme import make_programme
from alphakite.simulator.report import OPTION_SECONDS, TABLES, write_option_seconds, write_truth
from alphakite.simulator.server import start
from alphakite.simulator.truth import compute_truth

EXIT_CODES = "exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 a setting is wrong, 4 a part we need is away"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `simulate` to the command line."""
    parser = subparsers.add_parser(
        "simulate",
        help="a local Schwab that plays a tape or a synthetic session",
        description="A local Schwab: OAuth, REST and streamer that play a tape or a seeded synthetic session.",
        epilog=EXIT_CODES,
    )
    add_simulate_arguments(parser)
    parser.add_argument(
        "--truth", choices=(*TABLES, OPTION_SECONDS), help="print the exact answer for this tape, and end"
    )
    parser.add_argument(
        "--contract",
        action="append",
        default=[],
        metavar="SYMBOL",
        help="of --truth option-seconds: an option's symbol or its beginning, may be repeated"
        " (default: all of the tapes; of a synthetic session those that expire on it)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="--truth as CSV (the default)")
    form.add_argument("--json", action="store_const", const="json", dest="form", help="--truth as JSON")
    parser.set_defaults(form="csv", run=run)


def add_simulate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that `demo` has too."""
    play = parser.add_argument_group("what to play")
    play.add_argument(
        "--tape",
        action="append",
        default=[],
        metavar="KIND=FILE",
        help="trades=, quotes=, bars= (minutes), options= (minutes of contracts) or chain= (snapshots with greeks),"
        " .csv or .csv.gz; KIND=SYMBOL:FILE names whose",
    )
    play.add_argument("--symbol", action="append", default=[], help="may be repeated (default: the tape's, else QQQ)")
    play.add_argument("--session", metavar="DATE", help="play as this date, exchange wall time kept")
    play.add_argument("--start", metavar="HH:MM", help="exchange time to begin at (default: 04:00)")
    play.add_argument("--end", metavar="HH:MM", help="exchange time to end at (default: 20:00)")
    how = parser.add_argument_group("how to play")
    how.add_argument("--speed", default="1", help="1, N times faster, or max: lock-step with the client (default: 1)")
    how.add_argument("--on-disconnect", choices=("run", "hold"), default="run", help="does the tape go on alone?")
    how.add_argument("--align", choices=("second", "random"), default="second", help="phase of the conflation windows")
    how.add_argument("--seed", type=int, default=1, help="of the synthetic session, the phase and the losses")
    how.add_argument("--days", type=int, default=1, help="so many sessions one after the other (default: 1)")
    how.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="NAME[=VALUE][@HH:MM[:SS]][xCOUNT]: a fault to play",
    )
    how.add_argument(
        "--switch", action="append", default=[], metavar="NAME=VALUE", help="what is not certain about Schwab, chosen"
    )
    how.add_argument("--cap", action="append", default=[], metavar="SERVICE=N", help="most keys of a service")
    how.add_argument("--token-clock", choices=("tape", "wall"), default="tape", help="what ages tokens (default: tape)")
    how.add_argument("--access-life", type=int, default=1800, metavar="SECONDS", help="of an access token")
    how.add_argument("--refresh-life", type=int, default=604_800, metavar="SECONDS", help="of a refresh token")
    how.add_argument("--code-life", type=int, default=30, metavar="SECONDS", help="of a sign-in code, by wall time")
    how.add_argument(
        "--callback",
        action="append",
        default=[],
        metavar="URL",
        help=f"a registered redirect address, may be repeated (default: {DEFAULT_CALLBACK})",
    )
    serve = parser.add_argument_group("how to be reached")
    serve.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="default: 127.0.0.1:0, a free port")
    serve.add_argument(
        "--tls", action="store_true", help="https and wss, and a proxy for clients with fixed host names"
    )
    serve.add_argument("--env-file", type=Path, help="write the settings that a recorder needs (mode 0600)")
    serve.add_argument("--send-log", type=Path, help="write every frame sent, as JSON lines")
    serve.add_argument("--exit-at-end", action="store_true", help="exit 0 when the session is over")


def options_from(args: argparse.Namespace) -> SimulatorOptions:
    """The options of a parsed command line.

    Raises: UsageError: an option that cannot be read.
    """
    host, _, port = args.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise UsageError(f"--listen {args.listen}: not an address", next_step="use HOST:PORT, as in 127.0.0.1:0")
    return SimulatorOptions(
        tapes=tuple(parse_tape(text) for text in args.tape),
        symbols=tuple(args.symbol),
        session=_date(args.session),
        start=_wall_time("--start", args.start),
        end=_wall_time("--end", args.end),
        speed=_speed(args.speed),
        on_disconnect=args.on_disconnect,
        align=args.align,
        seed=args.seed,
        faults=tuple(args.fault),
        host=host.strip("[]"),
        port=int(port),
        env_file=args.env_file,
        send_log=args.send_log,
        exit_at_end=args.exit_at_end,
        access_life_s=args.access_life,
        refresh_life_s=args.refresh_life,
        code_life_s=args.code_life,
        token_clock=args.token_clock,
        callbacks=tuple(args.callback) or (DEFAULT_CALLBACK,),
        tls=args.tls,
        days=args.days,
        caps=tuple(_cap(text) for text in args.cap),
        switches=tuple(args.switch),
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal or the session's end, or print the truth."""
    options = options_from(args)
    if args.truth is not None:
        if args.truth == OPTION_SECONDS:
            write_option_seconds(option_seconds(make_programme(options), args.contract), args.form, sys.stdout)
            return 0
        write_truth(compute_truth(make_programme(options)), args.truth, args.form, sys.stdout)
        return 0
    uvloop.run(_serve(options))
    return 0


async def _serve(options: SimulatorOptions) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    simulator = await start(options)
    try:
        print(f"READY {json.dumps(simulator.ready())}", flush=True)
        stopped = asyncio.create_task(stopping.wait())
        ended = asyncio.create_task(simulator.wait_ended())
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
            if not options.exit_at_end:
                await stopped
        for task in (stopped, ended):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    finally:
        await simulator.stop()


def _cap(text: str) -> tuple[str, int]:
    service, _, number = text.partition("=")
    if not service or not number.isdigit():
        raise UsageError(f"--cap {text}: not a cap", next_step="use SERVICE=N, as in LEVELONE_OPTIONS=3000")
    return service, int(number)


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"--session {text}: not a date", next_step="use YYYY-MM-DD, as in 2026-11-20") from None


def _wall_time(option: str, text: str | None) -> time | None:
    try:
        wall = time.fromisoformat(text) if text else None
    except ValueError:
        wall = time(second=1)
    if wall is not None and (wall.second or wall.microsecond or wall.tzinfo):
        raise UsageError(f"{option} {text}: not a time", next_step="use HH:MM in exchange time, as in 10:15")
    return wall


def _speed(text: str) -> float | None:
    try:
        return None if text == "max" else float(text)
    except ValueError:
        raise UsageError(f"--speed {text}: not a speed", next_step="use a number above 0, or max") from None
