"""The PostgreSQL sink through PgBouncer in transaction mode: all that every sink promises, and how it is recognised."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import asyncpg
import pytest
from tests.contract.conftest import Maker, postgres_sink, run_sql
from tests.contract.test_option_sink import (
    test_derived_again,
    test_together_or_not_at_all,
    test_where_journals_overlap,
)
from tests.contract.test_sink import (
    reader,
    sink,
    test_a_second_recorder_is_found_out,
    test_custom_values_beside_the_built_in_ones,
    test_custom_values_where_journals_overlap,
    test_feed_clock,
    test_gaps_and_events,
    test_killed_backend_is_transient,
    test_metrics_do_not_wait_for_rows,
    test_overlapping_journals,
    test_rows_and_position_together,
    test_statistics_and_cleaning,
    test_the_same_batch_twice,
    test_two_sinks_meet_a_new_definition,
)
from tests.pooler import needed, pooled

from alphakite.recorder.drain import Sink
from alphakite.store import migrate
from alphakite.store.cluster import Endpoint
from alphakite.store.database import connect, transaction_pooled, without_marker

__all__ = [
    "reader",
    "sink",
    "test_a_second_recorder_is_found_out",
    "test_custom_values_beside_the_built_in_ones",
    "test_custom_values_where_journals_overlap",
    "test_derived_again",
    "test_feed_clock",
    "test_gaps_and_events",
    "test_killed_backend_is_transient",
    "test_metrics_do_not_wait_for_rows",
    "test_overlapping_journals",
    "test_rows_and_position_together",
    "test_statistics_and_cleaning",
    "test_the_same_batch_twice",
    "test_together_or_not_at_all",
    "test_two_sinks_meet_a_new_definition",
    "test_where_journals_overlap",
]
pytestmark = needed


@pytest.fixture(scope="module")
def through(server: Endpoint) -> Iterator[Callable[[str], str]]:
    """The DSN of a database → through the pooler."""
    with pooled(server.dsn) as dsn:
        yield lambda url: f"{dsn.rpartition('/')[0]}/{url.rpartition('/')[2]}"


@pytest.fixture
def sink_of(through: Callable[[str], str]) -> Maker:
    """In place of the contract tests' own: sinks that reach the test's database through the pooler."""

    def pooled_sink(dsn: str, on_step: Callable[[str], None] = lambda step: None, mode: str = "system") -> Sink:
        return postgres_sink(through(dsn), on_step, mode)

    return pooled_sink


async def test_it_is_recognised(server: Endpoint, through: Callable[[str], str], database_url: str) -> None:
    """By what it answers, whatever its port; a server itself keeps its prepared statements, by TCP and by socket."""
    for dsn, cached in ((through(database_url), False), (server.dsn, True), (server.local_dsn, True)):
        assert not transaction_pooled(dsn)
        connection = await connect(dsn)
        assert bool(connection._config.statement_cache_size) is cached
        await connection.close()


async def test_what_a_dashboard_adds_is_understood(through: Callable[[str], str], database_url: str) -> None:
    marked = f"{through(database_url)}?pgbouncer=true&sslmode=prefer"
    assert transaction_pooled(marked)
    connection = await connect(marked)
    assert await connection.fetchval("select $1::int", 1) == 1
    await connection.close()


def test_the_rest_of_a_dsn_stays() -> None:
    for dsn in ("postgresql://u:p%40@h:1/d", "postgresql://u:p@/d?host=/run/a%20b&port=6543", "postgresql:///d?x=1"):
        assert without_marker(dsn) == dsn
    assert without_marker("postgresql://u:p@h:1/d?pgbouncer=true") == "postgresql://u:p@h:1/d"
    assert without_marker("postgresql://u:p@h/d?a=%2F&pgbouncer=true&b=2") == "postgresql://u:p@h/d?a=%2F&b=2"


async def test_statements_of_many_at_once(through: Callable[[str], str], database_url: str) -> None:
    """More clients than connections to the server: each gets the answer to its own question."""
    connections = [await connect(through(database_url)) for _ in range(6)]

    async def ask(connection: asyncpg.Connection, client: int) -> None:
        for number in range(100):
            assert await connection.fetchval("select $1::int + $2::int", client, number) == client + number

    await asyncio.gather(*(ask(connection, client) for client, connection in enumerate(connections)))
    for connection in connections:
        await connection.close()


async def test_migrating_leaves_no_lock_behind(server: Endpoint, through: Callable[[str], str]) -> None:
    """Two at once: each migration is applied once, and nothing holds its lock afterwards."""
    await asyncio.to_thread(run_sql, server.dsn, "create database fresh")
    fresh = through(f"{server.dsn.rpartition('/')[0]}/fresh")
    connections = [await connect(fresh) for _ in range(2)]
    applied = await asyncio.gather(*(migrate.apply(connection) for connection in connections))
    assert sum(map(len, applied)) == len(migrate.migrations())
    locks = await connections[0].fetchval("select count(*) from pg_locks where locktype = 'advisory'")
    assert locks == 0
    for connection in connections:
        await connection.close()
    await asyncio.to_thread(run_sql, server.dsn, "drop database fresh with (force)")
