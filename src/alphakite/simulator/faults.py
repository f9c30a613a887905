"""Faults on order: `--fault NAME[=VALUE][@[DAY:]HH:MM[:SS]][xCOUNT]`.

In:   the specs, and the tape time of each occasion.      Out:  the fault that is due there, taken once per occasion.
A fault is due from its exchange time on (from the start without one), COUNT times (once without one; `x0`: always).
DAY counts the sessions played, from 1 (1 without one): `drop@2:10:15` is the second session's 10:15.
The names and their values are in `NAMES`; whoever serves an occasion asks `take(name, ...)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

from alphakite.errors import UsageError
from alphakite.simulator.services import CODES

SPEC = re.compile(r"(?P<name>[a-z-]+)(?:=(?P<value>[^@]*?))?(?:@(?P<at>[\d:]+))?(?:x(?P<count>\d+))?")
MOMENT = re.compile(r"(?:(?P<day>[1-9]):|(?P<late>[1-9]\d):(?=\d\d:\d\d:\d\d$))?(?P<wall>\d\d:\d\d(?::\d\d)?)")
GARBAGE = ("json", "utf8", "service", "field", "type", "keys", "nan", "nul")

NAMES: dict[str, str] = {
    "drop": "the TCP connection is reset",
    "close": "a close frame: its code, 1000 without",
    "close-silent": "the connection ends without a close frame",
    "half-open": "the socket stays open and carries nothing more, not even pongs",
    "drip": "a frame arrives a few bytes at a time",
    "silence": "no frame, not even a heartbeat, for so many real seconds; then what was held back",
    "duplicate": "the next data frame is sent twice",
    "reorder": "the next two data frames change places",
    "garbage": f"a frame that is no sound data; VALUE: {', '.join(GARBAGE)}",
    "huge": "a frame of so many megabytes",
    "code": "the next command is answered with this response code; CODE:COMMAND for one command (a LOGIN by 3 only)",
    "stop": "a code 30 notify, then the end; VALUE: empty, slow",
    "evict": "another program logs in: code 12, then the end",
    "skew": "the next frame's timestamps are off by so many milliseconds",
    "oauth": "the token endpoint; VALUE: dead, expired, grant, client, html, hang, or a status as 500, 503, 429",
    "rest": "a REST call; VALUE: STATUS or html, hang, nostreamer, toobig, unauthorized; STATUS:PATH for one path",
}
VALUES: dict[str, str] = {
    "drop": "",
    "close": r"|1\d{3}|[34]\d{3}",
    "close-silent": "",
    "half-open": "",
    "drip": "",
    "silence": r"\d+(\.\d+)?",
    "duplicate": "",
    "reorder": "",
    "garbage": "|".join(("", *GARBAGE)),
    "huge": r"|\d+(\.\d+)?",
    "code": f"({'|'.join(map(str, CODES))})(:[A-Z]+)?",
    "stop": "|empty|slow",
    "evict": "",
    "skew": r"-?\d+",
}
"""The form of each value; a name that is not here takes any."""


@dataclass(slots=True)
class Fault:
    """One order. `at` None: from the start. `left` None: always. `day`: of the sessions played, from 1."""

    name: str
    value: str
    at: time | None
    left: int | None
    day: int = 1


class Faults:
    """The orders of one simulation; `at` is compared with `wall`, the exchange wall time of the tape."""

    def __init__(self, specs: tuple[str, ...] = ()) -> None:
        self.orders = [parse_fault(spec) for spec in specs]

    def take(self, name: str, wall: time, accepts: str | None = None, *, day: int = 1) -> Fault | None:
        """The first order of this name that is due, and counted as taken.

        Args:
        accepts: only one with this value
        day: which of the sessions played it is, from 1
        """
        for order in self.orders:
            if order.name == name and _is_due(order, day, wall) and (accepts is None or order.value == accepts):
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
            next_step=f"use NAME[=VALUE][@[DAY:]HH:MM[:SS]][xCOUNT]; NAME is one of {', '.join(NAMES)}",
        )
    name, value = match["name"], match["value"] or ""
    if name in VALUES and not re.fullmatch(VALUES[name], value):
        raise UsageError(f"--fault {spec}: {value or 'no value'} is not a value of {name}", next_step=NAMES[name])
    day, at = _moment(spec, match["at"])
    count = int(match["count"]) if match["count"] else 1
    return Fault(name, value, at, count or None, day)


def _moment(spec: str, text: str | None) -> tuple[int, time | None]:
    if text is None:
        return 1, None
    match = MOMENT.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return int(match["day"] or match["late"] or 1), time.fromisoformat(match["wall"])
    except ValueError:
        raise UsageError(
            f"--fault {spec}: {text} is not a time", next_step="use exchange time, as @10:15:00, or @2:10:15:00"
        ) from None


def _is_due(order: Fault, day: int, wall: time) -> bool:
    return order.left != 0 and (order.day, order.at or time.min) <= (day, wall)
