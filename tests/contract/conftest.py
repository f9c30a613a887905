"""A real PostgreSQL for the contract tests, an empty migrated database for each, and every kind of sink on it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest
import pytest_asyncio
from tests.supabase.server import SECRET_KEY, Project

from alphakite.recorder.drain import Sink
from alphakite.store import embedded, migrate
from alphakite.store.cluster import Endpoint
from alphakite.store.postgres import PostgresSink
from alphakite.store.rest import RestSink

TEMPLATE = "migrated"
ROLES = Path(__file__).parent.parent / "supabase" / "project.sql"


class Maker(Protocol):
    """Makes sinks of one kind, all on the test's database."""

    def __call__(self, dsn: str, on_step: Callable[[str], None] = ..., mode: str = ...) -> Sink: ...


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
        run_sql(endpoint.dsn, ROLES.read_text(encoding="utf-8"))
        asyncio.run(make_template(named(endpoint, TEMPLATE)))
        yield endpoint


@pytest.fixture
def database_url(server: Endpoint) -> Iterator[str]:
    """A migrated database of one test's own."""
    name = f"test_{secrets.token_hex(4)}"
    run_sql(server.dsn, f"create database {name} template {TEMPLATE}")
    yield named(server, name)
    run_sql(server.dsn, f"drop database {name} with (force)")


def postgres_sink(dsn: str, on_step: Callable[[str], None] = lambda step: None, mode: str = "system") -> PostgresSink:
    """A sink with a connection of its own."""

    async def provide() -> str:
        return dsn

    return PostgresSink(provide, clock_mode=mode, on_step=on_step)


@pytest_asyncio.fixture(params=["postgres", "rest"])
async def sink_of(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Maker]:
    """Every kind of sink passes the same tests."""
    if request.param == "postgres":
        yield postgres_sink
        return
    async with Project(database_url).running() as project:

        def rest_sink(dsn: str, on_step: Callable[[str], None] = lambda step: None, mode: str = "system") -> Sink:
            assert dsn == database_url
            return RestSink(project.url, SECRET_KEY, clock_mode=mode, on_step=on_step)

        yield rest_sink
