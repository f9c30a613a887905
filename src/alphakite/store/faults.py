"""Which database error is whose business: the one place that says so.

transient   the connection, the server or its disk is away for now: retry, the journal is the queue
config      the sign-in or the schema is wrong: a person changes a setting or migrates
rejected    this row can never be stored
fatal       anything else: a person is needed
"""

from __future__ import annotations

import asyncpg

from alphakite.errors import AlphakiteError, ConfigError, FatalError, RejectedError, TransientError

TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58", "54")
"""Connection, serialisation, resources (disk full), locks, operator intervention, system errors, limits."""
READ_ONLY = "25006"
LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, EOFError)
"""What asyncpg raises when the connection is gone (also in the middle of a COPY), and asyncio when it never came."""
DATABASE_ERRORS = (*LOST, asyncpg.PostgresError)


def classify(error: BaseException) -> AlphakiteError:
    """Our error for one of `DATABASE_ERRORS`."""
    if isinstance(error, AlphakiteError):
        return error
    said = f"{str(error) or type(error).__name__}".strip()
    if isinstance(error, asyncpg.ClientConfigurationError):
        return ConfigError(f"DATABASE_URL cannot be used: {said}", next_step="correct DATABASE_URL")
    if isinstance(error, LOST):
        return TransientError(f"the database is away: {said}", next_step="see that it runs and can be reached")
    code = getattr(error, "sqlstate", None) or ""
    if code == READ_ONLY:
        return TransientError(
            f"the database is read-only: {said}", next_step="make room in it (alphakite sql 'select cleanup_old_…')"
        )
    if code[:2] in TRANSIENT_CLASSES or code in ("25P03", "25P04"):
        return TransientError(f"the database cannot serve now: {said} ({code})", next_step="see the database's own log")
    if code[:2] == "28" or code == "3D000":
        return ConfigError(f"the database refuses the sign-in: {said} ({code})", next_step="correct DATABASE_URL")
    if code[:2] in ("42", "3F"):
        return ConfigError(f"the database's schema does not fit: {said} ({code})", next_step="alphakite migrate")
    if code[:2] in ("22", "23"):
        return RejectedError(f"the database cannot store this: {said} ({code})")
    return FatalError(f"the database failed: {said} ({code})", next_step="see the database's own log")


def is_lost(error: BaseException) -> bool:
    """Whether the connection cannot be used again, so that an answer may be unread."""
    code = getattr(error, "sqlstate", None) or ""
    return isinstance(error, LOST) or code[:2] in ("08", "57")
