"""What a sink promises, of it what leans most on the server, on each older PostgreSQL: directly and over REST."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.contract.conftest import ROLES, TEMPLATE, database_url, named, run_sql, sink_of
from tests.contract.test_option_sink import (
    test_derived_again,
    test_where_journals_overlap,
)
from tests.contract.test_sink import (
    reader,
    sink,
    test_custom_values_beside_the_built_in_ones,
    test_gaps_and_events,
    test_statistics_and_cleaning,
    test_values_read_as_they_were,
)
from tests.migration.servers import NEWEST, VERSIONS, Servers, named_after

from alphakite.store import migrate
from alphakite.store.cluster import Endpoint

__all__ = [
    "database_url",
    "reader",
    "sink",
    "sink_of",
    "test_custom_values_beside_the_built_in_ones",
    "test_derived_again",
    "test_gaps_and_events",
    "test_statistics_and_cleaning",
    "test_values_read_as_they_were",
    "test_where_journals_overlap",
]


@pytest.fixture(scope="module", params=[one for one in VERSIONS if one != NEWEST], ids=named_after)
def server(request: pytest.FixtureRequest, servers: Servers) -> Endpoint:
    """In place of the contract tests' server: with Supabase's roles, so none of those of other tests here."""
    endpoint = servers(request.param, "of a project")
    run_sql(endpoint.dsn, ROLES.read_text(encoding="utf-8"), f"create database {TEMPLATE}")

    async def migrated() -> None:
        connection = await asyncpg.connect(named(endpoint, TEMPLATE))
        await migrate.apply(connection)
        await connection.close()

    asyncio.run(migrated())
    return endpoint
