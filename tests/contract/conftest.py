"""A real PostgreSQL for the contract tests, and an empty migrated database for each of them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import asyncpg
import pytest

from alphakite.store import embedded, migrate
from alphakite.store.cluster import Endpoint

TEMPLATE = "migrated"


def run_sql(dsn: str, *statements: str) -> None:
    """Each statement by itself, outside a transaction."""

    async def go() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(go())


def named(endpoint: Endpoint, name: str) -> str:
    """The DSN of another database of the same server."""
    return f"{endpoint.dsn.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The embedded PostgreSQL, with a migrated template database."""

    async def make_template(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await migrate.apply(connection)
        finally:
            await connection.close()

    with embedded.lease(tmp_path_factory.mktemp("server")) as endpoint:
        run_sql(endpoint.dsn, "alter system set fsync = off", "select pg_reload_conf()", f"create database {TEMPLATE}")
        asyncio.run(make_template(named(endpoint, TEMPLATE)))
        yield endpoint


@pytest.fixture
def database_url(server: Endpoint) -> Iterator[str]:
    """A migrated database of one test's own."""
    name = f"test_{secrets.token_hex(4)}"
    run_sql(server.dsn, f"create database {name} template {TEMPLATE}")
    yield named(server, name)
    run_sql(server.dsn, f"drop database {name} with (force)")
