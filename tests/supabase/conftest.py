"""Databases as in the contract tests, and a project on one of them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.contract.conftest import TEMPLATE, database_url, named, run_sql, server
from tests.supabase.server import Project

from alphakite.store.cluster import Endpoint

__all__ = ["database_url", "server"]


@pytest.fixture
def other_url(server: Endpoint) -> Iterator[str]:
    """A second migrated database."""
    name = f"test_{secrets.token_hex(4)}"
    run_sql(server.dsn, f"create database {name} template {TEMPLATE}")
    yield named(server, name)
    run_sql(server.dsn, f"drop database {name} with (force)")


@pytest_asyncio.fixture
async def project(database_url: str) -> AsyncIterator[Project]:
    """A Supabase project on the test's database."""
    async with Project(database_url).running() as running:
        yield running
