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
