"""Asks the schema's functions about the database's room, by SQL or by Supabase's REST, whichever the settings name."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from alphakite.store import rest
from alphakite.store.database import Database, DatabaseSettings
from alphakite.store.faults import DATABASE_ERRORS, classify
from alphakite.store.partitions import DAY_US
from alphakite.store.size import Pruned, Size, read, read_pruned
from alphakite.store.tables import instant


class RoomSettings(DatabaseSettings, Protocol):
    """What this module reads of config.Settings."""

    @property
    def supabase_service_role_key(self) -> str: ...


class Room:
    """The database's. Args: connection: asyncpg.Connection; None: by REST."""

    def __init__(self, settings: RoomSettings, connection: Any) -> None:
        self._settings = settings
        self._connection = connection

    async def size(self) -> Size:
        """What it takes. Raises: our errors."""
        return read(await self._ask("recorder_size", {}))

    async def prune(
        self, table: str, before_us: int, since_us: int | None, *, reason: str, dry_run: bool
    ) -> tuple[Pruned, ...]:
        """Remove, or with `dry_run` only look at, what of a table lies from `since_us` (None: from ever) to before
        `before_us`, both midnights of UTC. Raises: our errors; TransientError if somebody reads the table for long.
        """
        since: datetime | None = None if since_us is None else instant(since_us)
        said = {
            "table_name": table,
            "before": instant(before_us),
            "since": since,
            "reason": reason,
            "dry_run": dry_run,
        }
        return read_pruned(await self._ask("recorder_prune", said))

    async def _ask(self, function: str, arguments: Mapping[str, object]) -> Any:
        if self._connection is None:
            key = self._settings.supabase_service_role_key
            return await rest.ask(self._settings.supabase_url, key, function, dict(arguments))
        named = ", ".join(f"{name} => ${at}" for at, name in enumerate(arguments, 1))
        try:
            return await self._connection.fetchval(f"select public.{function}({named})", *arguments.values())
        except DATABASE_ERRORS as error:
            raise classify(error) from error


@contextlib.asynccontextmanager
async def opened(settings: RoomSettings) -> AsyncIterator[Room]:
    """The room of the database that the settings name. Raises: our errors."""
    if by_rest(settings):
        yield Room(settings, None)
        return
    database = Database(settings)
    try:
        connection = await database.connect()
        try:
            yield Room(settings, connection)
        finally:
            with contextlib.suppress(*DATABASE_ERRORS):
                await connection.close()
    finally:
        await database.close()


def by_rest(settings: DatabaseSettings) -> bool:
    """Whether the database is a Supabase project that is only named by its REST interface."""
    return bool(settings.supabase_url) and not settings.database_url


def windows(size: Size, table: str, before_us: int) -> list[tuple[int | None, int]]:
    """(since, before) of each day of a table that was over by then, oldest first, and of what lies beside days.

    A day at a time, so that nobody waits for longer than one day takes.
    """
    edge_us = before_us // DAY_US * DAY_US
    edges = sorted({part.high_us for part in size.days(table) if part.high_us is not None and part.high_us < edge_us})
    return list(zip([None, *edges], [*edges, edge_us], strict=True))
