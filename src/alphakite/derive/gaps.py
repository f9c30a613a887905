"""Gaps: spans in which we know that we do not know, cut to the hours that are recorded.

In:   the raw span, from the last journaled record of a lost connection to the key's next image.
Out:  one piece for each session it touches. A gap outside recorded hours is none; without session logic it is whole.
"""

from __future__ import annotations

from datetime import UTC, datetime

from alphakite.derive.moment import DeriveSettings, recorded_hours
from alphakite.model import GapRow
from alphakite.sessions import EXCHANGE, Session, next_session, session_at, session_on

LATE_START, PROCESS_DOWN, SOCKET_DOWN, SILENCE, JOURNAL_FAULT, UNSUBSCRIBED = (
    "late_start",
    "process_down",
    "socket_down",
    "silence",
    "journal_fault",
    "unsubscribed",
)
"""Why a gap began. `explain` replaces it by why it lasts: auth_required, evicted, stopped."""
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


def open_row(ticker: str, start_us: int, reason: str, settings: DeriveSettings) -> list[GapRow]:
    """The row of a gap that is open; none if it began outside recorded hours: its pieces are known with its end."""
    return [GapRow(ticker, start_us, None, reason, None)] if pieces(start_us, start_us + 1, settings) else []


def closed_rows(ticker: str, start_us: int, end_us: int, reason: str, settings: DeriveSettings) -> list[GapRow]:
    """The rows of a gap that ends with its volume unknown; one of no length if it ends where it began."""
    found = pieces(start_us, end_us, settings)
    if not found and pieces(start_us, start_us + 1, settings):
        found = [(start_us, start_us)]
    return [GapRow(ticker, low_us, high_us, reason, None) for low_us, high_us in found]


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
