"""Which database error is retried, which needs a person."""

from __future__ import annotations

import asyncpg
import pytest

from alphakite.errors import AlphakiteError, ConfigError, FatalError, RejectedError, TransientError
from alphakite.store.faults import classify


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError("refused"), TransientError),
        (TimeoutError(), TransientError),
        (asyncpg.InterfaceError("connection is closed"), TransientError),
        (asyncpg.ConnectionDoesNotExistError("lost"), TransientError),
        (asyncpg.AdminShutdownError("terminating"), TransientError),
        (asyncpg.CannotConnectNowError("starting up"), TransientError),
        (asyncpg.DiskFullError("no space"), TransientError),
        (asyncpg.TooManyConnectionsError("too many"), TransientError),
        (asyncpg.DeadlockDetectedError("deadlock"), TransientError),
        (asyncpg.ReadOnlySQLTransactionError("read-only"), TransientError),
        (asyncpg.QueryCanceledError("timeout"), TransientError),
        (asyncpg.InvalidPasswordError("no"), ConfigError),
        (asyncpg.InvalidCatalogNameError("no such database"), ConfigError),
        (asyncpg.UndefinedTableError("no table"), ConfigError),
        (asyncpg.InsufficientPrivilegeError("denied"), ConfigError),
        (asyncpg.NumericValueOutOfRangeError("too large"), RejectedError),
        (asyncpg.InternalServerError("bug"), FatalError),
    ],
)
def test_each_kind_has_one_owner(error: Exception, kind: type[AlphakiteError]) -> None:
    """Whoever catches it knows what to do, and so does who reads it."""
    known = classify(error)
    assert type(known) is kind
    assert str(error) in str(known)
    assert known.next_step or kind is RejectedError


def test_our_own_pass_through() -> None:
    """Nothing is wrapped twice."""
    mine = TransientError("mine")
    assert classify(mine) is mine
