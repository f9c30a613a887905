"""The governor over every kind of sink, on databases that are really so large: what goes, in which order, when not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.contract.conftest import Maker
from tests.contract.test_option_sink import JOURNAL, option

from alphakite.clock import make_clock
from alphakite.config import Settings, load
from alphakite.metrics import Status
from alphakite.model import Batch, EquityRow
from alphakite.recorder.drain import Sink
from alphakite.recorder.governor import DatabaseFullError, Governor
from alphakite.store.database import connect

NOON = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(hours=12)
LONG_AGO = datetime(2020, 1, 2, 15, tzinfo=UTC)
LONG_AGO_US = int(LONG_AGO.timestamp()) * 1_000_000
ROWS_A_DAY = 12_000
DAYS_BACK = (5, 4, 3, 2, 1, 0)
TABLES = ("equity_data", "option_prices", "option_images")


async def fill(dsn: str, sink: Sink, days_back: tuple[int, ...] = DAYS_BACK) -> None:
    """A row of each table through the sink, and then thousands like it on each of the days."""
    await sink.open(JOURNAL)
    equity = EquityRow("QQQ", LONG_AGO_US, 1_000_000, 5, 0, 7, 0)
    one = option(0, timestamp_us=LONG_AGO_US)
    batch = Batch(JOURNAL, 0, 9, LONG_AGO_US, [equity], [], [], [], options=[one], images=[one])
    await sink.write(batch)
    connection = await asyncpg.connect(dsn)
    try:
        for table in TABLES:
            columns = [
                row["attname"]
                for row in await connection.fetch(
                    "select attname from pg_attribute where attrelid = $1::text::regclass and attnum > 0"
                    " and not attisdropped and attgenerated = ''",
                    f"store.{table}",
                )
            ]
            others = ", ".join(f'"{name}"' for name in columns if name != "timestamp")
            moved = ", ".join(f't."{name}"' for name in columns if name != "timestamp")
            for back in days_back:
                day = (NOON - timedelta(days=back)).date()
                await connection.execute("select store.ensure_partitions($1, $1, $2)", day, [table])
                rows = ROWS_A_DAY if table != "equity_data" else 1_000
                await connection.execute(
                    f"insert into store.{table} ({others}, timestamp)"
                    f" select {moved}, $1::timestamptz + g * interval '1 second'"
                    f" from store.{table} t, generate_series(1, {rows}) g where t.timestamp = $2",
                    NOON - timedelta(days=back),
                    LONG_AGO,
                )
            for part in await connection.fetch(
                "select partition from store.partitions($1) where high < $2", table, LONG_AGO + timedelta(days=9)
            ):
                await connection.execute(f"drop table store_private.{part['partition']}")
    finally:
        await connection.close()


async def asked(dsn: str, query: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def days(dsn: str, table: str) -> list[int]:
    """How many days back there are rows of."""
    found = await asked(dsn, f"select distinct timestamp::date from store.{table} order by 1")
    return [(NOON.date() - day).days for (day,) in found]


def settings(folder: Path, **told: str) -> Settings:
    return load(environ={"DATA_DIR": str(folder), "RETENTION_OPTIONS_DAYS": "0", **told})


class Governed:
    """A governor that looks for as long as one waits for something."""

    def __init__(self, sink: Sink, told: Settings, dsn: str = "", committed_us: int | None = None) -> None:
        self.status = Status()

        async def open_connection() -> Any:
            return await connect(dsn)

        clock = make_clock("system")
        self.governor = Governor(
            told, clock, sink, self.status, open_connection if dsn else None,
            lambda: clock.now_ns() // 1000 if committed_us is None else committed_us,
        )  # fmt: skip

    async def until(self, holds: Callable[[Status], object], within_s: float = 30.0) -> Status:
        looking = asyncio.create_task(self.governor.run())
        try:
            async with asyncio.timeout(within_s):
                while not holds(self.status):
                    assert not looking.done(), looking.exception()
                    await asyncio.sleep(0.02)
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
        return self.status


async def megabytes(sink: Sink) -> float:
    return (await sink.size()).bytes / 1e6


async def limit_at(sink: Sink, share: float) -> str:
    """A DATABASE_MAX_MB of which the database takes at least this share, and little more."""
    return str(int(await megabytes(sink) / share))


async def test_below_four_fifths_nothing_is_said(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    sink = sink_of(database_url)
    await fill(database_url, sink, (1,))
    told = settings(tmp_path, DATABASE_MAX_MB=await limit_at(sink, 0.5), DATABASE_THIN="yes")
    status = await Governed(sink, told).until(lambda one: one.room.state == "ok")
    assert status.room.bytes > 1_000_000
    assert status.room.removed_days == 0
    await sink.close()


async def test_it_warns_before_it_acts(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    sink = sink_of(database_url)
    await fill(database_url, sink)
    told = settings(tmp_path, DATABASE_MAX_MB=await limit_at(sink, 0.83), DATABASE_THIN="yes")
    governed = Governed(sink, told)
    await governed.until(lambda one: one.room.state == "warning")
    await governed.governor.admit()
    assert await days(database_url, "option_prices") == [5, 4, 3, 2, 1, 0]
    await sink.close()


async def test_the_oldest_option_days_go_and_nothing_else(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    """One after the other, both tables of a day in one transaction, until less than 90 % is taken."""
    sink = sink_of(database_url)
    await fill(database_url, sink)
    before = await megabytes(sink)
    told = settings(tmp_path, DATABASE_MAX_MB=str(int(before / 1.15)), DATABASE_THIN="yes")
    limit = told.database_max_mb * 1e6
    governed = Governed(sink, told)
    status = await governed.until(lambda one: one.room.removed_days and one.room.state in ("ok", "warning"))
    left = await days(database_url, "option_prices")
    assert left == [back for back in DAYS_BACK if back < 6 - status.room.removed_days]
    assert 0 < len(left) < 6
    assert await days(database_url, "option_images") == left
    assert await days(database_url, "equity_data") == list(DAYS_BACK)
    assert status.room.bytes < 0.9 * limit
    gone = await asked(
        database_url,
        "select reason, low::date, table_name, rows, xmin::text from store.removed_days order by low, 3 desc",
    )
    assert [(reason, (NOON.date() - day).days, table, rows) for reason, day, table, rows, _ in gone] == [
        ("thinned", back, table, ROWS_A_DAY)
        for back in range(5, 5 - status.room.removed_days, -1)
        for table in ("option_prices", "option_images")
    ]
    assert len({xmin for *_, xmin in gone}) == status.room.removed_days
    await governed.governor.admit()
    await sink.close()


async def test_without_leave_it_only_warns(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    sink = sink_of(database_url)
    await fill(database_url, sink)
    told = settings(tmp_path, DATABASE_MAX_MB=await limit_at(sink, 0.91))
    governed = Governed(sink, told)
    status = await governed.until(lambda one: one.room.kept_because)
    assert status.room.state == "crowded"
    assert "DATABASE_THIN=yes" in status.room.kept_because
    await governed.governor.admit()  # between 90 and 95 % rows are written
    assert await days(database_url, "option_prices") == [5, 4, 3, 2, 1, 0]
    await sink.close()


async def test_the_day_that_is_being_recorded_stays(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    """However full it is: today's rows stay, and those of days that are over but not yet committed to their end."""
    sink = sink_of(database_url)
    await fill(database_url, sink, (2, 1, 0))
    told = settings(tmp_path, DATABASE_MAX_MB=await limit_at(sink, 2.0), DATABASE_THIN="yes")
    half_of_yesterday = int((NOON - timedelta(days=1)).timestamp() * 1e6)
    behind = Governed(sink, told, committed_us=half_of_yesterday)
    await behind.until(lambda one: one.room.kept_because)
    assert await days(database_url, "option_prices") == [1, 0]
    now = Governed(sink, told)
    status = await now.until(lambda one: one.room.kept_because)
    assert await days(database_url, "option_prices") == [0]
    assert "no option day that is over" in status.room.kept_because
    assert status.room.state == "full"
    await sink.close()


async def test_the_gate(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    """From 95 % no row may be written, and below 94 % it may again; in between it stays as it was."""
    sink = sink_of(database_url)
    await fill(database_url, sink, (1, 0))
    megabyte = await megabytes(sink)
    governed = Governed(sink, settings(tmp_path, DATABASE_MAX_MB=str(int(megabyte / 0.95))))
    governed.status.journal_days_left = 12.3
    with pytest.raises(DatabaseFullError, match=r"MB of DATABASE_MAX_MB=.*for 12\.3 days.*alphakite db prune"):
        await governed.governor.admit()
    await asked(database_url, f"truncate store_private.option_images_{NOON - timedelta(days=1):%Y%m%d}")
    await governed.governor.admit()
    assert governed.status.room.state in ("ok", "warning", "crowded")
    await sink.close()


async def test_rows_are_counted_between_two_looks(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    """A flood of rows does not run past the limit until the next look."""
    sink = sink_of(database_url)
    await fill(database_url, sink, (0,))
    governed = Governed(sink, settings(tmp_path, DATABASE_MAX_MB=await limit_at(sink, 0.6)))
    await governed.governor.admit()
    measured = governed.status.room.measured_us
    governed.governor.wrote(1_000)
    await governed.governor.admit()
    assert governed.status.room.measured_us == measured
    governed.governor.wrote(1_000_000)
    await governed.governor.admit()
    assert governed.status.room.measured_us > measured
    await sink.close()


async def test_retention_drops_days_by_table(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    """So many days after its end a day goes, whether the database is full or not; 0 keeps it for ever."""
    sink = sink_of(database_url)
    await fill(database_url, sink)
    told = settings(tmp_path, RETENTION_OPTIONS_DAYS="2", RETENTION_EQUITY_DAYS="0")
    status = await Governed(sink, told).until(lambda one: one.room.removed_days == 3)
    assert await days(database_url, "option_prices") == [2, 1, 0]
    assert await days(database_url, "option_images") == [2, 1, 0]
    assert await days(database_url, "equity_data") == list(DAYS_BACK)
    assert "(retention): 24,000 rows" in status.room.last_removed
    assert await asked(database_url, "select distinct reason from store.removed_days") == [("retention",)]
    await sink.close()


async def test_what_is_archived_and_verified_may_go(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    """DATABASE_ARCHIVE alone: a day is archived, compared with what is stored, removed; the ledger says where."""
    sink, folder = sink_of(database_url), tmp_path / "archive"
    await fill(database_url, sink, (2, 1, 0))
    told = settings(tmp_path, DATABASE_MAX_MB=await limit_at(sink, 1.0), DATABASE_ARCHIVE=str(folder))
    status = await Governed(sink, told, database_url).until(lambda one: one.room.state in ("ok", "warning"), 60)
    assert status.room.removed_days in (1, 2)
    gone = await asked(database_url, "select distinct low::date, archive from store.removed_days order by 1")
    assert [archive for _day, archive in gone] == [f"archive/{day}.json" for day, _archive in gone]
    assert len(gone) == status.room.removed_days
    for day, _archive in gone:
        assert (folder / f"{day}.json").exists()
        assert (folder / f"option_prices-{day}.csv.gz").stat().st_size > 1_000
    await sink.close()


async def test_retention_archives_before_it_drops(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    """With DATABASE_ARCHIVE nothing is gone for good: without room for an archive the day stays."""
    sink, folder = sink_of(database_url), tmp_path / "archive"
    await fill(database_url, sink, (3, 2, 1))
    told = {"RETENTION_OPTIONS_DAYS": "1", "RETENTION_EQUITY_DAYS": "2", "DATABASE_ARCHIVE": str(folder)}
    nowhere = settings(tmp_path, **told, DISK_MIN_FREE_MB="10000000")
    status = await Governed(sink, nowhere, database_url).until(lambda one: one.room.kept_because)
    assert "has no room for an archive" in status.room.kept_because
    assert await days(database_url, "option_prices") == [3, 2, 1]
    status = await Governed(sink, settings(tmp_path, **told), database_url).until(
        lambda one: one.room.removed_days == 3 and not one.room.kept_because
    )
    assert await days(database_url, "option_prices") == [1]
    assert await days(database_url, "equity_data") == [2, 1]
    gone = await asked(
        database_url, "select distinct reason, archive from store.removed_days where rows > 0 order by 2"
    )
    oldest, next_one = ((NOON - timedelta(days=back)).date() for back in (3, 2))
    assert gone == [("retention", f"archive/{day}.json") for day in (oldest, next_one)]
    assert {path.name for path in folder.glob(f"*{oldest}*.csv.gz")} >= {
        f"equity_data-{oldest}.csv.gz",
        f"option_prices-{oldest}.2.csv.gz",
    }
    await sink.close()


async def test_an_archive_that_cannot_be_made_keeps_the_day(sink_of: Maker, database_url: str, tmp_path: Path) -> None:
    sink, folder = sink_of(database_url), tmp_path / "archive"
    folder.write_text("a file stands where the folder should be")
    await fill(database_url, sink, (1, 0))
    told = settings(tmp_path, DATABASE_MAX_MB=await limit_at(sink, 0.93), DATABASE_ARCHIVE=str(folder))
    status = await Governed(sink, told, database_url).until(lambda one: one.room.kept_because)
    assert "could not be archived" in status.room.kept_because
    assert await days(database_url, "option_prices") == [1, 0]
    await sink.close()
