"""The governor of the database's size: it never runs into its cliff.

In:   what the database takes, its limit (DATABASE_MAX_MB), what may be removed.      Out:  fewer old days, or a gate.

    below 80 %      all is well
    from 80 %       it warns
    from 90 %       it removes whole option days, the oldest first, one after the other until less is taken: those that
                    are archived and verified in DATABASE_ARCHIVE (it archives them itself), with DATABASE_THIN=yes
                    others too. Else it keeps warning. Nothing but option days goes this way
    from 95 %       no more rows are written; the journal goes on and is the queue. Below 94 % they are written again

Retention is the other way a day ends: so many days after its end it is dropped, full or not; with DATABASE_ARCHIVE it
is archived before, and kept while that cannot be done. Removed are only days that are over and wholly committed, and
only partitions of one day: what an older version left in one piece, and what lies in the default partition, goes by
`alphakite db prune` alone. Each removal is a row of removed_days, in its transaction.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from alphakite import log
from alphakite.clock import Clock
from alphakite.config import Settings
from alphakite.errors import AlphakiteError, TransientError, UnavailableError
from alphakite.metrics import Status
from alphakite.recorder.ending import wait_within
from alphakite.store import archive
from alphakite.store.faults import DATABASE_ERRORS
from alphakite.store.forecast import Forecast, forecast
from alphakite.store.partitions import DAY_US
from alphakite.store.size import Removed, Size
from alphakite.store.tables import instant

WARN_SHARE, THIN_SHARE, STOP_SHARE, RESUME_SHARE = 0.80, 0.90, 0.95, 0.94
LOOK_S, CROWDED_LOOK_S = 60.0, 10.0
ROW_BYTES = 600
"""More than a row of any table takes with its indexes (docs/database.md, What it takes): rows written since the last
look are counted as so much."""
OPTIONS, METRICS = ("option_prices", "option_images"), ("streaming_metrics",)
GROUPS = (("equity_data",), ("indicators", "indicator_values"), OPTIONS, METRICS)
"""Tables of which a day goes in one transaction."""
PACKED = 0.25
"""Of an archive no more than this is expected of what the day takes in the database: it is compressed."""


class DatabaseFullError(TransientError):
    """The database is full by DATABASE_MAX_MB: rows wait in the journal."""

    state = "full"


class Measured(Protocol):
    """The sink's side of it."""

    async def size(self) -> Size: ...
    async def remove(
        self, tables: tuple[str, ...], low_us: int, high_us: int, reason: str, archive: str | None = None
    ) -> Removed: ...


class Governor:
    """One recorder's.

    Args:
        connect: a connection for archiving (asyncpg.Connection), to be closed; None: the database has no SQL for us.
        committed_us: service time up to which all is committed.
        began_us: when the journal begins, by the service clock; 0: now.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        sink: Measured,
        status: Status,
        connect: Callable[[], Awaitable[Any]] | None,
        committed_us: Callable[[], int],
        began_us: int = 0,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._sink = sink
        self._status = status
        self._connect = connect
        self._committed_us = committed_us
        self._began_us = began_us
        self._log = log.get("governor")
        self._limit = settings.database_max_mb * 1_000_000
        self._retention = retention_days(settings)
        self._size: Size | None = None
        self._grown = 0
        self._full = False
        self._measuring = asyncio.Lock()
        self._crowded = asyncio.Event()
        status.room.limit_bytes = self._limit

    async def admit(self) -> None:
        """Before rows are written. Raises DatabaseFullError; UnavailableError if the database cannot be measured."""
        if not self._limit:
            return
        if self._size is None or self._size.bytes + self._grown >= STOP_SHARE * self._limit:
            await self._measure()
        if self._full:
            raise DatabaseFullError(self._words())

    def wrote(self, rows: int) -> None:
        """So many rows were written."""
        self._grown += rows * ROW_BYTES

    async def run(self) -> None:
        """Until cancelled: measure, let days go, foresee."""
        while True:
            try:
                size = await self._measure()
                size = await self._drop_expired(size)
                await self._thin(size)
            except UnavailableError as error:  # it is away: the drain says so
                self._log.debug("not_measured", error=str(error))
            except AlphakiteError as error:
                self._log.warning("governor_failed", error=str(error), next_step=error.next_step)
            near = self._status.room.state not in ("ok", "unknown")
            self._crowded.clear()
            await wait_within(self._crowded, CROWDED_LOOK_S if near else LOOK_S)

    async def _measure(self) -> Size:
        async with self._measuring:
            size = await self._sink.size()
            self._size, self._grown = size, 0
            self._judge(size)
            return size

    def _judge(self, size: Size) -> None:
        room, limit = self._status.room, self._limit
        room.bytes, room.measured_us = size.bytes, self._clock.now_ns() // 1000
        share = size.bytes / limit if limit else 0.0
        was, self._full = self._full, share >= (RESUME_SHARE if self._full else STOP_SHARE)
        before, room.state = room.state, state_of(share, full=self._full)
        if room.state in ("crowded", "full") and room.state != before:
            self._crowded.set()  # no need to wait for the next look
        if self._full and not was:
            self._log.error("database_full", bytes=size.bytes, limit=limit, next_step=NEXT_STEP)
        elif was and not self._full:
            self._log.info("database_has_room", bytes=size.bytes, limit=limit)
        elif room.state != before and room.state in ("warning", "crowded"):
            self._log.warning("database_fills", bytes=size.bytes, limit=limit, state=room.state)
        self._began_us = self._began_us or room.measured_us
        seen = forecast(
            size,
            max_bytes=int(limit * STOP_SHARE),
            retention_days=self._retention,
            hours=self._settings.stream_hours,
            since_us=self._began_us,
        )
        room.session_bytes = seen.bytes_per_session
        room.full_on = seen.full_on.isoformat() if seen.full_on is not None else ""
        room.forecast = forecast_words(seen, limited=limit > 0)

    def _over(self, size: Size) -> int:
        """Up to when days are over and all of their rows are in the tables."""
        return min(size.now_us, self._committed_us())

    async def _drop_expired(self, size: Size) -> Size:
        """Days that retention lets go; archived before, if there is a folder for that."""
        self._status.room.kept_because = ""
        over_us, removed = self._over(size), False
        for tables in GROUPS:
            if not (keep := self._retention[tables[0]]):
                continue
            for day_us in days_over(size, tables, over_us - keep * DAY_US):
                place = await self._archived(size, tables, day_us) if tables != METRICS else ""
                if self._settings.database_archive is not None and place is None:
                    break
                await self._remove(tables, day_us, "retention", place or None)
                removed = True
        return await self._measure() if removed else size

    async def _thin(self, size: Size) -> None:
        """Option days go, the oldest first, until the database is no longer crowded."""
        room = self._status.room
        while self._limit and size.bytes >= THIN_SHARE * self._limit:
            day_us = next(iter(days_over(size, OPTIONS, self._over(size))), None)
            if day_us is None:
                room.kept_because = "there is no option day that is over; other tables are only removed by retention"
                break
            place = await self._archived(size, OPTIONS, day_us)
            if place is None and not self._settings.database_thin:
                room.kept_because = room.kept_because or (
                    "DATABASE_THIN=yes is not set, and neither is DATABASE_ARCHIVE to archive days before they go"
                )
                break
            room.kept_because = ""
            await self._remove(OPTIONS, day_us, "thinned", place)
            size = await self._measure()
        if room.kept_because:
            self._log.warning("nothing_is_removed", why=room.kept_because, bytes=size.bytes, limit=self._limit)

    async def _archived(self, size: Size, tables: tuple[str, ...], day_us: int) -> str | None:
        """Where a day's verified archive lies; it is made if there is none. None: there is none, and why is noted."""
        folder, room = self._settings.database_archive, self._status.room
        if folder is None or self._connect is None:
            return None
        takes = sum(part.bytes for part in size.parts if part.table in tables and part.low_us == day_us)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = await self._connect()
            try:
                span = day_us, day_us + DAY_US
                if not await archive.verified(connection, folder, *span, tables):
                    free = shutil.disk_usage(folder).free - self._settings.disk_min_free_mb * 1_000_000
                    if free < takes * PACKED:
                        room.kept_because = f"the disk of {folder} has no room for an archive of {utc_day(day_us)}"
                        return None
                    began = time.monotonic()
                    await archive.write(connection, folder, *span, tables)
                    if not await archive.verified(connection, folder, *span, tables):
                        room.kept_because = f"the archive of {utc_day(day_us)} in {folder} is not what was stored"
                        return None
                    took_s = round(time.monotonic() - began, 1)
                    self._log.info("day_archived", day=utc_day(day_us), folder=str(folder), took_s=took_s)
            finally:
                await connection.close()
        except (OSError, *DATABASE_ERRORS) as error:
            room.kept_because = f"{utc_day(day_us)} could not be archived in {folder}: {error}"
            return None
        return f"{folder.name}/{utc_day(day_us)}.json"

    async def _remove(self, tables: tuple[str, ...], day_us: int, reason: str, place: str | None) -> None:
        gone = await self._sink.remove(tables, day_us, day_us + DAY_US, reason, place)
        room, rows = self._status.room, sum(gone.rows.values())
        room.removed_days += 1
        room.last_removed = f"{utc_day(day_us)} of {', '.join(tables)} ({reason}): {rows:,} rows"
        self._log.info(
            "day_removed", day=utc_day(day_us), tables=",".join(tables), reason=reason, rows=rows, bytes=gone.bytes
        )

    def _words(self) -> str:
        room, days = self._status.room, self._status.journal_days_left
        lasts = "" if days is None else f" for {days:,.1f} days until its disk or budget is full"
        return (
            f"the database is full: {room.bytes / 1e6:,.0f} MB of DATABASE_MAX_MB={self._settings.database_max_mb}."
            f" Rows wait in the journal, which has room{lasts}; {NEXT_STEP}"
        )


NEXT_STEP = (
    "make room (alphakite db size, alphakite db prune), set DATABASE_THIN=yes or DATABASE_ARCHIVE, or raise"
    " DATABASE_MAX_MB"
)


def state_of(share: float, *, full: bool) -> str:
    """The state's word. Args: share: of the limit."""
    if full:
        return "full"
    return "crowded" if share >= THIN_SHARE else "warning" if share >= WARN_SHARE else "ok"


def days_over(size: Size, tables: tuple[str, ...], at_us: int) -> list[int]:
    """Beginnings of the tables' days that were over by then, the oldest first; µs since 1970 UTC."""
    return sorted(
        {
            part.low_us or 0
            for part in size.parts
            if part.table in tables and part.is_day and (part.high_us or 0) <= at_us
        }
    )


def utc_day(low_us: int) -> str:
    """`2026-11-24`: the day (UTC) that begins then."""
    return f"{instant(low_us):%Y-%m-%d}"


def forecast_words(seen: Forecast, *, limited: bool) -> str:
    """In words: how much a session adds, and when writing will stop."""
    if seen.bytes_per_session is None:
        return "what a session adds is not known yet" if limited else ""
    adds = f"{seen.bytes_per_session / 1e6:,.1f} MB a session"
    if seen.full_on is not None:
        return f"full on {seen.full_on.isoformat()} at {adds}"
    if limited and seen.steady_bytes is not None:
        return f"{adds}, levels off at {seen.steady_bytes / 1e6:,.0f} MB: never full"
    return adds


def retention_days(settings: Settings) -> dict[str, int]:
    """Table → days that are kept, 0: for ever."""
    indicators, options = settings.retention_indicators_days, settings.retention_options_days
    return {
        "equity_data": settings.retention_equity_days,
        "indicators": indicators,
        "indicator_values": indicators,
        "option_prices": options,
        "option_images": options,
        "streaming_metrics": settings.retention_metrics_days,
    }
