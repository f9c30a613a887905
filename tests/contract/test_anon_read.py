"""ALLOW_ANON_READ: laid down when a recorder opens the database, where it may."""

from __future__ import annotations

import asyncpg
import pytest
from tests.contract.test_option_sink import JOURNAL

from alphakite.store.postgres import PostgresSink


def sink(dsn: str, allowed: bool) -> PostgresSink:
    async def provide() -> str:
        return dsn

    return PostgresSink(provide, clock_mode="system", anon_read=allowed)


async def anon_reads(dsn: str) -> bool:
    """Whether the role `anon` sees the view, by asking as it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("set role anon")
        await connection.fetch("select * from public.equity_data limit 1")
    except asyncpg.InsufficientPrivilegeError:
        return False
    else:
        return True
    finally:
        await connection.close()


async def test_the_setting_is_what_holds(database_url: str) -> None:
    """Off by default; on; off again."""
    assert not await anon_reads(database_url)
    for allowed in (True, True, False, True, False):
        one = sink(database_url, allowed)
        await one.open(JOURNAL)
        await one.close()
        assert await anon_reads(database_url) == allowed


async def test_who_may_not_say_so_records_all_the_same(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A role that only writes: the log names the statement for the owner."""
    connection = await asyncpg.connect(database_url)
    writer = f"writer_{database_url.rpartition('_')[2]}"
    await connection.execute(f"create role {writer} login bypassrls password 'x' in role service_role")
    try:
        host = database_url.rpartition("@")[2]
        one = sink(f"postgresql://{writer}:x@{host}", True)
        await one.open(JOURNAL)
        await one.close()
        assert not await anon_reads(database_url)
        said = next(record for record in caplog.records if record.message == "anon_read_not_set")
        assert "select store.allow_anon_read(true)" in said.fields["next_step"]  # type: ignore[attr-defined]
    finally:
        await connection.execute(f"drop role {writer}")
        await connection.close()
