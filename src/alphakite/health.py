"""Liveness and readiness of a recorder, from what it says of itself.

Live: the loop turns and the journal is written. Docker, systemd and a roll-back look at this; a closed market, a
missing sign-in and an absent database are states, not failures. Ready: live, and data is fresh within the session;
people and alerts look at this. No I/O here: whoever asks brings the status and whether the journal's lock is held.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from alphakite.errors import ConfigError
from alphakite.sessions import session_at

STALE_S = 15.0
"""The status is published twice a second; one this old means that the loop stands."""
FSYNC_LATE_S = 20.0
"""At least this much patience with an fsync; a slower disk needs a longer JOURNAL_FSYNC_INTERVAL."""
FRESH_S = 60.0
"""Within the session something arrives at least this often, a heartbeat if nothing else."""
SIGN_IN_STEP = "sign in: alphakite auth; the recorder goes on by itself within 10 s"


class SignIn(Protocol):
    """What is read of metrics.SignInStatus."""

    state: str
    reason: str


class Reported(Protocol):
    """What is read of metrics.Status."""

    pid: int
    state: str
    reason: str
    now_us: int
    updated_wall_us: int
    last_fsync_wall_us: int
    last_frame_us: int
    conn: int

    @property
    def sign_in(self) -> SignIn: ...


class Health(msgspec.Struct, frozen=True):
    """The verdict. `reasons` say why it is not live or not ready; `next_step` what a person can do, "" if nothing."""

    live: bool
    ready: bool
    state: str
    """never_started, starting, dead, stuck, auth_required, market_closed, or the recorder's own word."""
    reasons: list[str]
    next_step: str = ""


RECEIVING = ("streaming", "database_away", "database_full", "auth_required")
"""States in which frames may arrive."""


class Pulse:
    """Inside the recorder, by monotonic time: when the journal was last known to be safe. Feeds the watchdog."""

    def __init__(self, fsync_interval_s: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._limit_s = fsync_limit_s(fsync_interval_s)
        self._at = monotonic()

    def fsynced(self) -> None:
        """All that was written is safe; say so after each round, also when there was nothing to write."""
        self._at = self._monotonic()

    def fault(self) -> str:
        """What is wrong, "" if nothing: for Notifier.feed_watchdog."""
        age = self._monotonic() - self._at
        return f"the journal was last made safe {age:.0f} s ago" if age > self._limit_s else ""


def fsync_limit_s(fsync_interval_s: float) -> float:
    """How old the last fsync may be."""
    return max(FSYNC_LATE_S, 5 * fsync_interval_s)


def judge(
    status: Reported | None,
    *,
    lock_held: bool,
    now_wall_us: int,
    fsync_interval_s: float = 1.0,
    any_hour: bool = False,
) -> Health:
    """Liveness and readiness.

    Args:
        status: the newest status file, None if there is none.
        lock_held: whether a process holds the journal's lock.
        fsync_interval_s: JOURNAL_FSYNC_INTERVAL.
        any_hour: SKIP_MARKET_HOURS: there is no closed market.
    """
    if status is None:
        step = "start one: alphakite run"
        return Health(False, False, "never_started", ["no recorder has written to this folder"], step)
    if not lock_held:
        if status.state == "stopped":
            return Health(False, False, "stopped", ["the recorder was stopped"], "start it: alphakite run")
        step = "start it again: alphakite run; it goes on where it was"
        return Health(False, False, "dead", ["the recorder is gone without having stopped"], step)
    if status.state == "stopped":
        return Health(False, False, "starting", ["a recorder is starting"])
    if faults := _stuck(status, now_wall_us, fsync_interval_s):
        step = f"look at the log and at the disk; if it stays so, kill process {status.pid} and start it again"
        return Health(False, False, "stuck", faults, step)
    return _ready(status, any_hour)


def _stuck(status: Reported, now_wall_us: int, fsync_interval_s: float) -> list[str]:
    found = []
    age_s = abs(now_wall_us - status.updated_wall_us) / 1e6
    if age_s > STALE_S:
        found.append(f"the recorder's loop does not turn: its last word is {age_s:.0f} s old")
    fsync_age_s = abs(now_wall_us - status.last_fsync_wall_us) / 1e6 if status.last_fsync_wall_us else 0.0
    if fsync_age_s > fsync_limit_s(fsync_interval_s):
        found.append(f"the journal is not written: last made safe {fsync_age_s:.0f} s ago")
    return found


def _ready(status: Reported, any_hour: bool) -> Health:
    """Of a recorder that lives."""
    needs_login = status.state == "auth_required" or status.sign_in.state in ("auth_required", "missing")
    age_s = (status.now_us - status.last_frame_us) / 1e6 if status.last_frame_us else None
    fresh = age_s is not None and age_s <= FRESH_S and status.state in RECEIVING
    if needs_login:
        why = status.sign_in.reason or status.reason or "Schwab wants a new sign-in"
        return Health(True, fresh, "auth_required", [f"auth_required: {why}"], SIGN_IN_STEP)
    if status.state in ("starting", "stopping"):
        return Health(True, False, status.state, [f"the recorder is {status.state}"])
    if not any_hour and _closed(status.now_us):
        return Health(True, True, "market_closed", ["the market is closed"])
    if fresh:
        return Health(True, True, status.state, [f"{status.state}: {status.reason}"] if status.reason else [])
    heard = "nothing was received yet" if age_s is None else f"nothing was received for {age_s:.0f} s"
    return Health(True, False, status.state, [f"{heard} ({status.state})"])


def _closed(now_us: int) -> bool:
    """Whether no session is on; outside the calendar nobody knows, and it counts as open."""
    try:
        return now_us > 0 and session_at(now_us) is None
    except ConfigError:
        return False
