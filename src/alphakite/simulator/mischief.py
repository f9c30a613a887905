"""Faults of the stream: when one is due, and what it makes of the frames.

In:   the orders, and the tape's time.      Out:  the fault due now; frames with wrong stamps; garbage and huge frames.
Garbage names a symbol being played and, where it must not mislead, its present values: a client that skips what it
cannot read, and one that understands it, both keep the right state. Sending is the connection's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import time

from alphakite.simulator.faults import GARBAGE, Fault, Faults
from alphakite.simulator.market import Market
from alphakite.simulator.services import EQUITIES

OCCASIONS = ("garbage", "huge", "silence", "stop", "evict", "close", "close-silent", "half-open", "drop")
"""What befalls a connection between two windows, in this order."""
STAMP = re.compile(r'("timestamp":|"heartbeat":")(\d+)')
DEFAULT_HUGE_MB = 2.0
MEGABYTE = 1 << 20
STRANGER = "ZZZZ"
"""A symbol that nobody has subscribed to."""


class Mischief:
    """The stream's side of the orders; `moment` tells session number, from 1, and exchange wall time."""

    def __init__(self, faults: Faults, moment: Callable[[], tuple[int, time]]) -> None:
        self._faults = faults
        self._moment = moment

    @property
    def armed(self) -> bool:
        """Whether there are orders at all: most simulations have none."""
        return bool(self._faults.orders)

    def take(self, name: str) -> Fault | None:
        """The order of this name that is due now, counted as taken."""
        if not self._faults.orders:
            return None
        day, wall = self._moment()
        return self._faults.take(name, wall, day=day)

    def occasion(self) -> Fault | None:
        """What befalls the connection now."""
        if not self._faults.orders:
            return None
        return next((fault for name in OCCASIONS if (fault := self.take(name)) is not None), None)

    def code_for(self, command: str) -> int | None:
        """The code that this command is answered with, whatever it asks."""
        if not self._faults.orders:
            return None
        day, wall = self._moment()
        for order in self._faults.orders:
            code, _, wanted = order.value.partition(":")
            wanted_here = wanted == command if wanted else (command == "LOGIN") == (code == "3")
            if order.name == "code" and wanted_here and self._faults.take("code", wall, order.value, day=day):
                return int(code)
        return None

    def skewed(self, text: str) -> str:
        """A frame as a server with a wrong clock would stamp it."""
        fault = self.take("skew")
        if fault is None:
            return text
        off_ms = int(fault.value)
        return STAMP.sub(lambda match: f"{match[1]}{int(match[2]) + off_ms}", text)


def garbage_frame(kind: str, market: Market, stamp_ms: int) -> bytes:
    """A frame of this kind of garbage; not always UTF-8, not always JSON."""
    symbol = next(iter(market.symbols.values()))
    last = symbol.fields.get(3, "0")
    text = json.dumps(last)
    items = {
        "json": rf'{{"key":"{symbol.symbol}","15":"S\P \500 TRUST"}}',
        "utf8": f'{{"key":"{symbol.symbol}","15":"CAFÉ"}}',
        "service": f'{{"key":"{symbol.symbol}","1":1,"3":1,"8":1}}',
        "field": f'{{"key":"{symbol.symbol}","52":1.5,"900":"new","novelty":{{"a":[1]}}}}',
        "type": f'{{"key":"{symbol.symbol}","3":{text},"14":"true","32":7,"35":{{}},"8":[]}}',
        "keys": f'{{"3":1,"key":"{STRANGER}"}},{{"3":1}},{{"key":7,"3":1}},7',
        "nan": f'{{"key":"{symbol.symbol}","3":"NaN","1":-999,"33":NaN}}',
        "nul": f'{{"key":"{symbol.symbol}","3":null,"8":null,"15":"A\\u0000B"}}',
    }
    service = "LEVELONE_MARTIANS" if kind == "service" else EQUITIES
    head = f'{{"data":[{{"service":"{service}", "timestamp":{stamp_ms},"command":"SUBS","content":['
    return (head + items[kind or GARBAGE[0]] + "]}]}").encode("latin-1" if kind == "utf8" else "utf-8")


def huge_frame(megabytes: str, stamp_ms: int) -> str:
    """A data frame of at least so many megabytes, of symbols that nobody has subscribed to."""
    wanted = int(float(megabytes or DEFAULT_HUGE_MB) * MEGABYTE)
    item = f'{{"key":"{STRANGER}","15":"{"X" * 4096}"}}'
    content = ",".join([item] * (wanted // len(item) + 1))
    return f'{{"data":[{{"service":"{EQUITIES}", "timestamp":{stamp_ms},"command":"SUBS","content":[{content}]}}]}}'
