"""Gaps: spans in which we know that we do not know, cut to the hours that are recorded.

In:   the raw span, from the last journaled record of a lost connection to the key's next image.
Out:  one piece for each session it touches. A gap outside recorded hours is none; without session logic it is whole.
"""

from __future__ import annotations

from datetime import UTC, datetime

from alphakite.derive.moment import DeriveSettings, recorded_hours
from alphakite.sessions import EXCHANGE, Session, next_session, session_at, session_on

LATE_START, PROCESS_DOWN, SOCKET_DOWN, SILENCE, JOURNAL_FAULT = (
    "late_start",
    "process_down",
    "socket_down",
    "silence",
    "journal_fault",
)
DAY_US = 86_400_000_000
MOST_SESSIONS = 400
"""A journal that lay still for longer than this many sessions is cut to the newest of them."""


def pieces(start_us: int, end_us: int, settings: DeriveSettings) -> list[tuple[int, int]]:
    """The parts of [start, end) that lie in recorded hours, oldest first."""
    if end_us <= start_us:
        return []
    if settings.skip_market_hours:
        return [(start_us, end_us)]
    found: list[tuple[int, int]] = []
    session: Session | None = _session_from(start_us)
    while session is not None and session.extended_open_us < end_us:
        low, high = recorded_hours(session, settings)
        low, high = max(low, start_us), min(high, end_us)
        if low < high:
            found.append((low, high))
        session = next_session(session.date)
    return found[-MOST_SESSIONS:]


def _session_from(ts_us: int) -> Session:
    """The session that contains this time, or the next one."""
    session = session_at(ts_us)
    if session is not None:
        return session
    date = datetime.fromtimestamp(ts_us / 1e6, UTC).astimezone(EXCHANGE).date()
    today = session_on(date)
    if today is not None and ts_us < today.extended_open_us:
        return today
    return next_session(date)
