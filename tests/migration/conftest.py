"""A real PostgreSQL for the migration tests, and an empty database for each of them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from alphakite.store import embedded
from alphakite.store.cluster import Endpoint

ROLES = ("anon", "authenticated", "service_role")


@pytest.fixture(scope="session")
def migration_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The embedded PostgreSQL."""
    with embedded.lease(tmp_path_factory.mktemp("server")) as endpoint:
        yield endpoint


@pytest_asyncio.fixture
async def empty_dsn(migration_server: Endpoint) -> AsyncIterator[str]:
    """An empty database's DSN."""
    name = f"test_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(migration_server.dsn)
    await admin.execute("alter system set fsync = off")
    await admin.execute("select pg_reload_conf()")
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
