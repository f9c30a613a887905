"""A real PostgreSQL for the migration tests, of any version that is here, and an empty database for each of them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from tests.migration.servers import NEWEST, Servers, running, unsafe

from alphakite.store.cluster import Endpoint

ROLES = ("anon", "authenticated", "service_role")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Each is started once. Skips the test whose version is not here."""
    started: dict[tuple[int, str], Endpoint] = {}
    with contextlib.ExitStack() as stack:

        def server(version: int, purpose: str = "") -> Endpoint:
            if (version, purpose) not in started:
                folder = tmp_path_factory.mktemp(f"postgresql{version}")
                endpoint = stack.enter_context(running(version, folder))
                asyncio.run(unsafe(endpoint))
                started[version, purpose] = endpoint
            return started[version, purpose]

        yield server


@pytest.fixture
def migration_server(request: pytest.FixtureRequest, servers: Servers) -> Endpoint:
    """The newest, which is the embedded one; or the version that the test asks for by `servers.on`."""
    return servers(getattr(request, "param", NEWEST))


@pytest_asyncio.fixture
async def empty_dsn(migration_server: Endpoint) -> AsyncIterator[str]:
    """An empty database's DSN."""
    name = f"test_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(migration_server.dsn)
    await admin.execute(f"create database {name}")
    yield f"{migration_server.dsn.rpartition('/')[0]}/{name}"
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest_asyncio.fixture
async def connection(empty_dsn: str) -> AsyncIterator[Any]:
    """A connection to an empty database."""
    opened = await asyncpg.connect(empty_dsn)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def project(connection: Any) -> AsyncIterator[Any]:
    """A connection to an empty database that looks like a new Supabase project's: its roles, and nothing granted."""
    for role in ROLES:
        await connection.execute(f"drop role if exists {role}")
        await connection.execute(f"create role {role} {'bypassrls' if role == 'service_role' else ''}")
    await connection.execute(
        "create schema auth; create table auth.users (id uuid primary key, email text);"
        " create function auth.uid() returns uuid language sql stable set search_path = '' as 'select null::uuid';"
        " create function auth.jwt() returns jsonb language sql stable set search_path = '' as 'select null::jsonb';"
        " grant usage on schema auth, public to anon, authenticated, service_role"
    )
    yield connection
    await connection.execute("reset role")
    for role in ROLES:
        await connection.execute(f"drop owned by {role}")
        await connection.execute(f"drop role {role}")
