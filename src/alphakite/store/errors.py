"""Which database troubles are worth another try; said once.

transient   connection gone, server starting or stopping, out of space or memory, read-only, deadlock: the journal waits
rejected    a value the table cannot hold: this row can never be stored
fatal       wrong password, missing table or right: a person is needed
"""

from __future__ import annotations

import asyncpg

from alphakite.errors import AlphakiteError, FatalError, RejectedError, TransientError

TRANSIENT = ("08", "53", "57", "58", "40", "55", "25006", "XX")
REJECTED = ("22", "23")


def classify(error: BaseException) -> AlphakiteError:
    """Our error for one of the driver's."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        code = str(getattr(error, "sqlstate", "") or "")
        if code.startswith(TRANSIENT):
            hint = "free space on the database's disk" if code.startswith("53") else "it is tried again"
            return TransientError(f"the database cannot take rows now: {text} ({code})", next_step=hint)
        if code.startswith(REJECTED):
            return RejectedError(f"the database refuses a row: {text} ({code})")
        if code.startswith("28"):
            return FatalError(f"the database refuses the sign-in: {text}", next_step="correct DATABASE_URL")
        return FatalError(
            f"the database refuses: {text} ({code})", next_step="run `alphakite migrate`, then start again"
        )
    return TransientError(f"the database cannot be reached: {text}", next_step="it is tried again")
