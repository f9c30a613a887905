"""What a simulation is asked to be: the options of `alphakite simulate` as one frozen value, checked as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path

from alphakite.errors import UsageError
from alphakite.simulator.chain import CLOSING_ROOTS, OPENING_ROOTS, roots_of
from alphakite.simulator.faults import Faults
from alphakite.simulator.oauth import DEFAULT_CALLBACK
from alphakite.simulator.switches import parse_switches

TAPE_KINDS = ("trades", "quotes", "bars", "options", "chain")
LATER_KINDS = ("journal",)
PREFIXED = re.compile(r"([$A-Z][A-Z0-9./]{0,9}):(.+)")
NAMED = re.compile(r"[a-z]+_([A-Z][A-Z0-9.]*)_")
SYMBOL = re.compile(r"[$A-Z][A-Z0-9./]{0,9}")
DEFAULT_SYMBOL = "QQQ"
INDEX_OF = OPENING_ROOTS | CLOSING_ROOTS
"""SPX, SPXW → $SPX, and others."""


@dataclass(frozen=True, slots=True)
class TapeFile:
    """One `--tape KIND=FILE` or `--tape KIND=SYMBOL:FILE`; `symbol` None: named by --symbol or by the file."""

    kind: str
    path: Path
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """Args:
    tapes: what to play; empty means a seeded synthetic session
    symbols: empty means the tapes' own, or QQQ
    session: the date to play as; None means the tape's own
    start, end: exchange wall time, whole minutes; None means the session's extended open and close
    speed: None is lock-step (`--speed max`), a number is that many times real time
    heartbeat_s: tape seconds between heartbeats, 0 for none but the first
    pong_wait_s: at a numeric speed, how long the last heartbeat's pong is awaited
    access_life_s, refresh_life_s, code_life_s: how long a token or a code is good; a code by wall time
    token_clock: what ages tokens and stamps the token file: `tape` or `wall` (for clients that know no other)
    callbacks: the redirect addresses that the app has registered, compared byte for byte
    tls: serve https and wss, and a CONNECT proxy that leads api.schwabapi.com here
    days: so many sessions one after the other; the nights and weekends between them pass on the tape
    caps: (service, most keys) where it differs from the reference's
    """

    tapes: tuple[TapeFile, ...] = ()
    symbols: tuple[str, ...] = ()
    session: date | None = None
    start: time | None = None
    end: time | None = None
    speed: float | None = 1.0
    on_disconnect: str = "run"
    align: str = "second"
    seed: int = 1
    faults: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    env_file: Path | None = None
    send_log: Path | None = None
    exit_at_end: bool = False
    heartbeat_s: int = 10
    pong_wait_s: float = 10.0
    access_life_s: int = 1800
    refresh_life_s: int = 604_800
    code_life_s: int = 30
    token_clock: str = "tape"
    callbacks: tuple[str, ...] = (DEFAULT_CALLBACK,)
    tls: bool = False
    days: int = 1
    caps: tuple[tuple[str, int], ...] = ()
    switches: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Faults(self.faults)
        if not self.callbacks or not all(callback.startswith("https://") for callback in self.callbacks):
            raise UsageError("--callback: not an https address", next_step=f"use one as {DEFAULT_CALLBACK}")
        parse_switches(self.switches)
        if not 1 <= self.days <= 30:
            raise UsageError(f"--days {self.days}: not a number of sessions", next_step="use 1 to 30")
        if self.speed is not None and not 0 < self.speed <= 1_000_000:
            raise UsageError(f"--speed {self.speed}: not a speed", next_step="use a number above 0, or max")
        for symbol in self.symbols:
            if not SYMBOL.fullmatch(symbol):
                raise UsageError(f"--symbol {symbol!r}: not a symbol", next_step="use upper case, as in --symbol SPY")
        if len(set(self.symbols)) != len(self.symbols):
            raise UsageError("--symbol: named twice", next_step="name each symbol once")


def parse_tape(text: str) -> TapeFile:
    """`trades=FILE`, `trades=SPY:FILE`, likewise quotes, bars, options and chain.

    Raises: UsageError: another kind, or no file.
    """
    kind, _, rest = text.partition("=")
    if kind in LATER_KINDS:
        raise UsageError(f"--tape {kind}=: not yet played", next_step="it comes with a later release")
    if kind not in TAPE_KINDS or not rest:
        raise UsageError(
            f"--tape {text!r}: not a tape", next_step=f"use {', '.join(f'{kind}=FILE' for kind in TAPE_KINDS)}"
        )
    match = None if Path(rest).exists() else PREFIXED.fullmatch(rest)
    return TapeFile(kind, Path(match[2]), match[1]) if match else TapeFile(kind, Path(rest))


def symbol_of(tape: TapeFile, symbols: tuple[str, ...]) -> str:
    """Whose tape a file is: the prefix, the only --symbol, or the file's name (`lean_SPY_...`), else QQQ.

    SPX and SPXW in a name, or before a file of options, are $SPX's.
    """
    named = NAMED.match(tape.path.name)
    if tape.symbol is not None:
        symbol = INDEX_OF.get(tape.symbol, tape.symbol) if tape.kind in ("options", "chain") else tape.symbol
    elif len(symbols) == 1:
        symbol = symbols[0]
    elif named is not None:
        symbol = INDEX_OF.get(named[1], named[1])
    elif symbols:
        raise UsageError(
            f"--tape {tape.kind}={tape.path}: whose tape is it?",
            next_step=f"write --tape {tape.kind}=SYMBOL:{tape.path}",
        )
    else:
        symbol = DEFAULT_SYMBOL
    if symbols and symbol not in symbols:
        raise UsageError(
            f"--tape {tape.kind}={tape.path} is {symbol}'s, which no --symbol names", next_step=f"add --symbol {symbol}"
        )
    return symbol


def option_root(tape: TapeFile, underlying: str) -> str:
    """The root of the contracts in a file of `options=`: what prefix or name say, else the underlying's own."""
    named = NAMED.match(tape.path.name)
    for root in (tape.symbol, named[1] if named else None):
        if root is not None and (INDEX_OF.get(root) == underlying or root in roots_of(underlying)):
            return root
    return roots_of(underlying)[0]
