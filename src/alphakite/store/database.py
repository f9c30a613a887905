"""The database that the settings name: the embedded one, of which this process becomes a user, or DATABASE_URL's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg

from alphakite.errors import ConfigError, UnavailableError
from alphakite.store import embedded, migrate
from alphakite.store.faults import DATABASE_ERRORS, classify

CONNECT_WITHIN_S = 10.0
TRANSACTION_POOLER_PORT = 6543
"""Supabase's; a transaction pooler knows no prepared statements."""
MARKER = "pgbouncer"
"""What Supabase's dashboard and Prisma write into the query of a transaction pooler's address."""


class DatabaseSettings(Protocol):
    """What this module reads of config.Settings."""

    @property
    def data_dir(self) -> Path: ...
    @property
    def database_url(self) -> str: ...
    @property
    def supabase_url(self) -> str: ...


class Database:
    """Gives connections. `close` it: the last user of the embedded server stops it."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._data_dir = settings.data_dir
        self._url = settings.database_url
        self._rest_only = not self._url and bool(settings.supabase_url)
        self._lease = None if self._url or self._rest_only else embedded.Lease(settings.data_dir)
        self._migrated = False
        self._guard = asyncio.Lock()

    @property
    def is_embedded(self) -> bool:
        """Whether it is the data folder's own server."""
        return self._lease is not None

    async def dsn(self) -> str:
        """Where to connect. The embedded server is started or adopted, its schema brought up to date.

        Raises: UnavailableError, ConfigError.
        """
        if self._rest_only:
            raise ConfigError(
                "the settings name a Supabase project by its REST interface, and this needs SQL",
                next_step="set DATABASE_URL too: in the Supabase dashboard, Connect, Session pooler",
            )
        if self._lease is None:
            return self._url
        async with self._guard:
            endpoint = await asyncio.to_thread(self._lease.join)
            if not self._migrated:
                connection = await connect(endpoint.local_dsn)
                try:
                    await migrate.apply(connection)
                except DATABASE_ERRORS as error:
                    raise classify(error) from error
                finally:
                    await _end(connection)
                self._migrated = True
            return endpoint.local_dsn

    async def connect(self, *, start: bool = True, check: bool = True) -> Any:
        """A connection (asyncpg.Connection), for the caller to close.

        Args:
            start: start an embedded server that does not run, and use it as long as this object lives. False: only
                look; the server may be stopped meanwhile.
            check: see that the schema is the one this code needs.
        Raises: UnavailableError if it is away, ConfigError if the schema is not current.
        """
        if start or self._lease is None:
            connection = await connect(await self.dsn())
        else:
            found = await asyncio.to_thread(embedded.find_running, self._data_dir)
            if found is None:
                raise UnavailableError("the embedded database does not run", next_step="alphakite db start")
            connection = await connect(found.local_dsn)
        if check:
            try:
                await migrate.require_current(connection)
            except ConfigError:
                await _end(connection)
                raise
            except DATABASE_ERRORS as error:
                await _end(connection)
                raise classify(error) from error
        return connection

    async def close(self) -> None:
        """Give the embedded server back. May be called twice."""
        if self._lease is not None:
            await asyncio.to_thread(self._lease.leave)


async def connect(dsn: str) -> Any:
    """Connect (asyncpg.Connection); through a pooler so that it does not matter which connection a statement takes.

    Raises: our errors, see faults.py.
    """
    pooled, place = transaction_pooled(dsn), without_marker(dsn)
    try:
        connection = await _open(place, pooled)
        if not pooled and await _stands_between(connection):
            await _end(connection)
            connection = await _open(place, True)
        return connection
    except DATABASE_ERRORS as error:
        raise classify(error) from error
    except ValueError as error:
        raise ConfigError(f"DATABASE_URL cannot be used: {error}", next_step="correct DATABASE_URL") from error


async def _open(dsn: str, pooled: bool) -> Any:
    return await asyncpg.connect(
        dsn,
        timeout=CONNECT_WITHIN_S,
        statement_cache_size=0 if pooled else 100,
        server_settings={} if pooled else {"application_name": "alphakite", "timezone": "UTC"},
    )


async def _stands_between(connection: Any) -> bool:
    """Whether a pooler answers in the server's place: the process it names is not the one that works for us.

    Asked without a prepared statement. One in session mode is found, too, and loses no more than prepared statements.
    """
    told = int(connection.get_server_pid())
    sql = f"select from (select pg_catalog.pg_backend_pid() as pid) p where p.pid = {told}"
    try:
        return bool(await connection.execute(sql, timeout=CONNECT_WITHIN_S) == "SELECT 0")
    except BaseException:
        connection.terminate()
        raise


def transaction_pooled(dsn: str) -> bool:
    """Whether the DSN says that it leads to a transaction pooler: by Supabase's port, or by `pgbouncer=true`."""
    parts = urlsplit(dsn)
    said = parse_qs(parts.query)
    return str(TRANSACTION_POOLER_PORT) in (str(parts.port), *said.get("port", [])) or "true" in said.get(MARKER, [])


def without_marker(dsn: str) -> str:
    """The DSN without `pgbouncer=…`, which a server would refuse as a setting that it does not know."""
    parts = urlsplit(dsn)
    kept = [one for one in parts.query.split("&") if one.partition("=")[0] != MARKER]
    return dsn if len(kept) == parts.query.count("&") + 1 else urlunsplit(parts._replace(query="&".join(kept)))


async def _end(connection: Any) -> None:
    """Close, without waiting for a server that does not answer."""
    try:
        await connection.close(timeout=2.0)
    except DATABASE_ERRORS:
        connection.terminate()
