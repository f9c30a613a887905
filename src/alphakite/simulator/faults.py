"""Faults on order: `--fault NAME[=VALUE][@HH:MM[:SS]][xCOUNT]`.

In:   the specs, and the tape time of each occasion.      Out:  the fault that is due there, taken once per occasion.
A fault is due from its exchange time on (from the start without one), COUNT times (once without one; `x0`: always).
The names and their values are in `NAMES`; whoever serves an occasion asks `take(name, ...)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

from alphakite.errors import UsageError

SPEC = re.compile(r"(?P<name>[a-z-]+)(?:=(?P<value>[^@]*?))?(?:@(?P<at>\d\d:\d\d(?::\d\d)?))?(?:x(?P<count>\d+))?")

NAMES: dict[str, str] = {
    "drop": "the TCP connection is reset",
    "close": "a close frame: its code, 1000 without",
    "close-silent": "the connection ends without a close frame",
    "half-open": "the socket stays open and carries nothing more, not even pongs",
    "drip": "frames arrive a few bytes at a time",
    "silence": "no frame, not even a heartbeat, for so many seconds",
    "duplicate": "the next data frame is sent twice",
    "reorder": "the next two data frames change places",
    "garbage": "a frame that is no JSON; VALUE: json, utf8, service, field, type, keys, nan, nul",
    "huge": "a frame of so many megabytes",
    "code": "the next command is answered with this response code",
    "stop": "a code 30 notify, then the end; VALUE: empty, slow",
    "evict": "another program logs in: code 12, then the end",
    "skew": "timestamps are off by so many milliseconds",
    "oauth": "the token endpoint; VALUE: dead, expired, grant, client, html, hang, or a status as 500, 503, 429",
    "rest": "a REST call; VALUE: STATUS or html, hang, nostreamer, toobig, unauthorized; STATUS:PATH for one path",
}


@dataclass(slots=True)
class Fault:
    """One order. `left` None: always."""

    name: str
    value: str
    at: time | None
    left: int | None


class Faults:
    """The orders of one simulation; `at` is compared with `wall`, the exchange wall time of the tape."""

    def __init__(self, specs: tuple[str, ...] = ()) -> None:
        self.orders = [parse_fault(spec) for spec in specs]

    def take(self, name: str, wall: time, accepts: str | None = None) -> Fault | None:
        """The first order of this name that is due, and counted as taken. `accepts`: only one with this value."""
        for order in self.orders:
            due = order.name == name and (order.at is None or order.at <= wall) and order.left != 0
            if due and (accepts is None or order.value == accepts):
                if order.left is not None:
                    order.left -= 1
                return order
        return None


def parse_fault(spec: str) -> Fault:
    """Raises UsageError for a spec that is none."""
    match = SPEC.fullmatch(spec)
    if match is None or match["name"] not in NAMES:
        raise UsageError(
            f"--fault {spec}: not a fault",
            next_step=f"use NAME[=VALUE][@HH:MM[:SS]][xCOUNT]; NAME is one of {', '.join(NAMES)}",
        )
    at = time.fromisoformat(match["at"]) if match["at"] else None
    count = int(match["count"]) if match["count"] else 1
    return Fault(match["name"], match["value"] or "", at, count or None)
