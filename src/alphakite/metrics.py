"""What the recorder counts, and the status it publishes in the data folder.

`Counters` lives in the process; frames, updates and rejections are derived from the journal, so that they only grow
from one start to the next. `write_status` replaces `run/status.json` whole, about once a second; readers need no lock.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import msgspec

STATUS_FILE = "run/status.json"


class SignInStatus(msgspec.Struct, kw_only=True):
    """The Schwab sign-in as the recorder last saw it. Times are µs since 1970 UTC by the service clock; 0 = unknown."""

    state: str = "unknown"
    """ok, expiring, auth_required, missing; unknown before the first look."""
    reason: str = ""
    login_at_us: int = 0
    access_expires_us: int = 0
    refresh_expires_us: int = 0


class OptionStatus(msgspec.Struct, kw_only=True):
    """What is followed of one ticker's option chain."""

    session: str = ""
    """The date of the session it is for."""
    expiries: list[str] = []
    watched: int = 0
    """Contracts subscribed or to be."""
    low: float | None = None
    high: float | None = None
    """The lowest and the highest strike watched, in dollars; None without any."""
    cut: int = 0
    """Contracts that the cap leaves no room for."""
    waiting: str = ""
    """What is lacking before contracts can be chosen; empty: nothing."""
    staged: str = ""
    """The date of the session whose chain is ready."""


class RoomStatus(msgspec.Struct, kw_only=True):
    """How full the database is, as the recorder last measured it. Times are µs since 1970 UTC, 0 = never."""

    state: str = "unknown"
    """ok, warning (80 % of the limit), crowded (90 %: the oldest option days go, if they may), full (95 %: no rows are
    written, the journal goes on); unknown before the first look."""
    bytes: int = 0
    limit_bytes: int = 0
    """DATABASE_MAX_MB; 0: none."""
    measured_us: int = 0
    session_bytes: int | None = None
    """What a session adds; None: not known yet."""
    full_on: str = ""
    """The date on which writing will stop at this rate; empty: never, or not known."""
    forecast: str = ""
    """The same in words."""
    kept_because: str = ""
    """Why days that should go are kept; empty: none should, or they go."""
    removed_days: int = 0
    """Days that this process has removed from the tables."""
    last_removed: str = ""
    """The newest of them, in words."""


class CatchUpStatus(msgspec.Struct, kw_only=True):
    """How far behind the tables are."""

    records: int = 0
    """Journaled, not committed."""
    behind_s: float = 0.0
    """Service time between what is committed and now."""
    records_per_s: float | None = None
    """Committed, lately; None: not known yet."""
    times_real: float | None = None
    """Service seconds committed in a second of wall time, lately."""
    left_s: float | None = None
    """Wall seconds until the tables are up to date, at this rate; None: they are not getting nearer."""


class Status(msgspec.Struct, kw_only=True):
    """The state of a recorder, as `alphakite status --json` shows it. Times are µs since 1970 UTC, 0 = never."""

    schema: int = 1
    pid: int = 0
    state: str = "starting"
    """starting, connecting, streaming, auth_required, database_away, database_full, stopping, stopped."""
    reason: str = ""
    capture: str = "connecting"
    """The socket's side of it: connecting, streaming, auth_required."""
    database_error: str = ""
    """Why the database does not take rows, and what to do; empty: it does."""
    database_state: str = ""
    """In a word: away, full, over_quota, paused, read_only, key_refused, …; empty: it takes rows."""
    database_since_us: int = 0
    """Wall time since when it does not."""
    room: RoomStatus = msgspec.field(default_factory=RoomStatus)
    catch_up: CatchUpStatus | None = None
    """None: the tables are up to date, or nearly."""
    clock: str = "system"
    now_us: int = 0
    started_wall_us: int = 0
    updated_wall_us: int = 0
    journal_id: str = ""
    appended: int = 0
    written: int = 0
    fsynced: int = 0
    derived: int = 0
    committed: int = 0
    torn_bytes: int = 0
    conn: int = 0
    tickers: list[str] = []
    last_frame_us: int = 0
    frames: int = 0
    decoded: int = 0
    rejected_frames: int = 0
    rejected: int = 0
    updates: int = 0
    stored: int = 0
    conflated: int = 0
    waiting: int = 0
    images: int = 0
    outside: int = 0
    rows_committed: int = 0
    duplicates: int = 0
    reconnects: int = 0
    commits: int = 0
    open_gaps: list[str] = []
    last_rejection: str = ""
    session_over: bool = False
    sign_in: SignInStatus = msgspec.field(default_factory=SignInStatus)
    settings_file: str = ""
    """Where the recorder read its settings; empty: from no file."""
    loop_lag_us: int = 0
    """How much later than asked the event loop last came round."""
    last_fsync_wall_us: int = 0
    """When all that was written was last known to be safe; also moved when there was nothing new to write."""
    journal_bytes: int = 0
    journal_budget_bytes: int = 0
    """0: no budget."""
    journal_days_left: float | None = None
    """Until the budget, or without one the disk, is full; None: not known yet."""
    journal_first_seq: int = 0
    refused: dict[str, int] = {}
    """Service of Schwab's → subscriptions that it refused."""
    options: dict[str, OptionStatus] = {}
    """By ticker whose options are followed."""
    option_contracts: int = 0
    """Contracts that derivation knows to be wanted."""
    option_rows: int = 0
    option_updates: int = 0
    option_quality: dict[str, int] = {}
    """Quality flag → rows that carry it."""
    notices: list[str] = []
    """What a person should know, in words: `another program took this stream`."""
    selftest: dict[str, Any] = {}
    """Fact → value, evidence, state: recorder/selftest.py."""


def overall(status: Status) -> str:
    """One word for the whole. The end is the end; else the database comes before the stream."""
    if status.state in ("stopping", "stopped"):
        return status.state
    if status.database_error:
        return "database_full" if status.database_state == "full" else "database_away"
    return status.capture


def service_status(status: Status) -> str:
    """The word for streaming_metrics: a sign-in that needs a person is said while the stream still lasts, too."""
    word = overall(status)
    return "auth_required" if word == "streaming" and status.sign_in.state in ("auth_required", "missing") else word


def write_status(data_dir: Path, status: Status) -> None:
    """Replace the status file whole."""
    path = data_dir / STATUS_FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.encode(status))
    temporary.replace(path)


def read_status(data_dir: Path) -> Status | None:
    """The last status that a recorder of this folder wrote, None if there is none."""
    try:
        return msgspec.json.decode((data_dir / STATUS_FILE).read_bytes(), type=Status)
    except (OSError, msgspec.DecodeError):
        return None


def lock_held(data_dir: Path) -> bool:
    """Whether a recorder has this folder: it holds the journal's lock as long as it lives; a pid proves nothing."""
    try:
        with (data_dir / "journal" / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
