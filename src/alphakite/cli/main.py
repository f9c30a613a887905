"""The `alphakite` command: one file per command, imported only when it is called, so that --help answers at once.

A command's module has `add_parser(subparsers)` and `run(args) -> exit code`. Results go to stdout; an error goes to
stderr as one message and the next step, with the exit code of its kind (`errors.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys

from alphakite import __version__
from alphakite.errors import AlphakiteError, UnavailableError

COMMANDS: dict[str, str] = {
    "demo": "record from the local Schwab, with a live view; no account needed",
    "init": "ask for what is missing, write the settings file, sign in",
    "run": "record until told to stop",
    "auth": "sign in at Schwab, once a week; see how the sign-in stands; import one",
    "simulate": "the local Schwab: play a tape or a synthetic session over Schwab's protocol",
    "tickers": "what is recorded; add and remove without a restart",
    "status": "what the recorder is doing: counts, gaps, database",
    "health": "whether fresh data is arriving, for people and monitors",
    "sql": "run one query on the database",
    "export": "write a table as CSV or JSON",
    "gaps": "list what could not be received",
    "journal": "show, verify or export what was received",
    "rederive": "derive again from the journal and compare with the tables",
    "db": "start, stop, locate, measure or prune the database",
    "migrate": "bring the database's schema up to date",
    "support": "write one file for a bug report, without secrets",
    "config": "every setting, its value and where it comes from",
}
"""Command → one line of help. The command's module in this folder has the same name."""
TAKES_SETTING_FLAGS = ("run", "config")
"""Commands to which every setting is a flag too; the others need only --env-file and --data."""
EXIT_CODES = "exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 a setting is wrong, 4 a part we need is away"
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = build(next((word for word in argv if not word.startswith("-")), "")).parse_args(argv)
        code = int(importlib.import_module(f"alphakite.cli.{args.command}").run(args))
        sys.stdout.flush()
    except AlphakiteError as error:
        return _explain(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        what = f"{error.filename}: {error.strerror or error}"
        return _explain(UnavailableError(what, next_step="see that this path exists and may be read and written"))
    return code


def build(command: str) -> argparse.ArgumentParser:
    """The parser, with the flags of this one command; "" or an unknown one: of none."""
    parser = argparse.ArgumentParser(
        prog="alphakite",
        description="Records your own Schwab market data into your own PostgreSQL.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"alphakite {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        if name != command:
            subparsers.add_parser(name, help=about)
            continue
        importlib.import_module(f"alphakite.cli.{name}").add_parser(subparsers)
        subparsers.choices[name].epilog = EXIT_CODES
        if name in TAKES_SETTING_FLAGS:
            from alphakite.config import add_setting_flags

            add_setting_flags(subparsers.choices[name])
    return parser


def _explain(error: AlphakiteError) -> int:
    from alphakite.log import conceal

    print(f"alphakite: {conceal(str(error))}", file=sys.stderr)
    if error.next_step:
        print(f"next: {conceal(error.next_step)}", file=sys.stderr)
    return error.exit_code


def _forget_stdout() -> None:
    """The reader has left: write the rest nowhere, so that the interpreter's last flush stays quiet too."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
