"""The PostgreSQL sink: rows and the journal's position in one transaction.

One `write` is BEGIN and the position's move, COPY of each table, COMMIT: four round trips. The position moves only from
where the batch begins, so that a batch is stored once whoever asks how often, and a second recorder of the same journal
is found out. A COPY cannot skip a key that exists (two journals overlap): the transaction is then done again through a
temporary table, the first row wins, the others are counted. After a lost connection the committed position is read
before anything else: it says whether the batch whose answer was lost is in.
A batch that holds a new day first has its partitions made (partitions.py), outside that transaction.
Metrics and statistics take a second connection, so that a refresh never makes rows wait.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import msgspec

from alphakite import log
from alphakite.errors import AlphakiteError, FatalError, RejectedError
from alphakite.model import Batch, Metrics
from alphakite.store import migrate
from alphakite.store.database import connect
from alphakite.store.faults import DATABASE_ERRORS, classify
from alphakite.store.partitions import DAY_US, ENSURE_SQL, Days, days_of
from alphakite.store.size import REMOVE_SQL, SIZE_SQL, Removed, Size, read, read_removed
from alphakite.store.tables import (
    definitions,
    event_columns,
    gap_columns,
    instant,
    model_definitions,
    model_values,
    packed,
)

STATEMENT_WITHIN_S = 60.0
CLOSE_WITHIN_S = 2.0
GAPS_SQL = """
insert into store.stream_gaps as g (ticker, start_at, end_at, reason, volume, journal_no)
select u.ticker, u.start_at, u.end_at, u.reason, u.volume, $6
from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::bigint[])
    as u (ticker, start_at, end_at, reason, volume)
on conflict (ticker, start_at) do update
set end_at = excluded.end_at, reason = excluded.reason, volume = excluded.volume
where g.journal_no = excluded.journal_no
"""
EVENTS_SQL = """
insert into store.quality_events (journal_no, seq, item, ticker, kind, "timestamp", detail)
select $7, u.seq, u.item, u.ticker, u.kind, u.at, u.detail
from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
    as u (seq, item, ticker, kind, at, detail)
on conflict do nothing
"""
DEFINITION_SQL = "select store.definition_id($1, $2, $3::jsonb, $4, $5, $6, $7, $8)"
MODEL_DEFINITION_SQL = "select store.model_definition_id($1, $2, $3, $4, $5)"
DEFAULTED = {"indicators": ("sma9_def", "vwap_def")}
"""Columns that a row does not carry: the table's default fills them."""
METRICS_SQL = """
insert into store.streaming_metrics ("timestamp", records_processed, error_count, service_status, details)
values (coalesce($1, public.stream_now()), $2, $3, $4, $5::jsonb)
"""


class PostgresSink:
    """Stores batches of one journal.

    Args:
        dsn_provider: where to connect; asked again for every connection, so that it may start a server.
        clock_mode: the setting CLOCK, `system` or `feed`.
        anon_read: ALLOW_ANON_READ, laid down when the sink is opened; None: leave it as it is.
        on_step: called with before_commit, and with after_commit when COMMIT's answer is there and nothing has noticed.
    """

    def __init__(
        self,
        dsn_provider: Callable[[], Awaitable[str]],
        *,
        clock_mode: str,
        anon_read: bool | None = None,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self.journal_no = 0
        """The journal's number in the tables, known once opened."""
        self.committed_seq = 0
        self._dsn = dsn_provider
        self._clock_mode = clock_mode
        self._anon_read = anon_read
        self._step = on_step
        self._log = log.get("sink")
        self._journal_id = ""
        self._ids: dict[str, int] = {}
        """Definitions of custom indicators by digest; of this connection's database."""
        self._model_ids: dict[str, int] = {}
        """Those of model values."""
        self._rows: Any = None
        self._side: Any = None
        self._rows_days, self._side_days = Days(), Days()
        self._rows_lock, self._side_lock = asyncio.Lock(), asyncio.Lock()

    async def open(self, journal_id: str) -> int:
        """Connect, check the schema, register the journal; its committed seq, 0 if new.

        Raises: TransientError, ConfigError, FatalError.
        """
        async with self._rows_lock:
            self._journal_id = journal_id
            await self._drop_rows()
            connection = await self._connected()
            if self._anon_read is not None:
                await self._keep_anon_read(connection, self._anon_read)
            return self.committed_seq

    async def write(self, batch: Batch) -> int:
        """Store a batch, once; the number of duplicates dropped.

        Raises: TransientError (write it again), RejectedError, ConfigError, FatalError.
        """
        if batch.journal_id != self._journal_id:
            raise FatalError(f"a batch of journal {batch.journal_id}, the sink is open for {self._journal_id}")
        async with self._rows_lock:
            connection = await self._connected()
            if self.committed_seq == batch.last_seq:
                return 0  # it is in, only the answer was lost
            try:
                await self._make_days(connection, self._rows_days, days_of(batch))
                await self._define(connection, batch)
                return await self._store(connection, batch)
            except BaseException as error:
                await self._drop_rows()  # and so read the position again
                if isinstance(error, DATABASE_ERRORS):
                    raise classify(error) from error
                raise

    async def write_metrics(self, metrics: Metrics) -> None:
        """One row of streaming_metrics. Raises: TransientError, …"""
        at = None if metrics.timestamp_us is None else instant(metrics.timestamp_us)
        details = msgspec.json.encode(metrics.details).decode()
        us = time.time_ns() // 1000 if metrics.timestamp_us is None else metrics.timestamp_us
        await self._aside(
            METRICS_SQL,
            at,
            metrics.records_processed,
            metrics.error_count,
            metrics.service_status,
            details,
            days={"streaming_metrics": {us // DAY_US}},
        )

    async def refresh_stats(self) -> None:
        """Bring equity_data_stats up to date. Raises: TransientError, …"""
        await self._aside("select public.refresh_equity_data_stats()")

    async def size(self) -> Size:
        """What the database takes. Raises: TransientError, …"""
        return read(await self._aside(SIZE_SQL))

    async def remove(
        self, tables: tuple[str, ...], low_us: int, high_us: int, reason: str, archive: str | None = None
    ) -> Removed:
        """Drop one day (UTC) that is over of the tables, all or none; see `size.Removed`.

        Args: reason: retention, thinned or asked. archive: where its rows are still.
        Raises: TransientError (somebody reads for long), RejectedError (no day, or not over), …
        """
        values = (list(tables), instant(low_us), instant(high_us), reason, archive)
        found = read_removed(await self._aside(REMOVE_SQL, *values))
        self._rows_days.forget()  # rows of it that come late have it made again
        return found

    async def close(self) -> None:
        """Close both connections. May be called twice."""
        async with self._rows_lock:
            await self._drop_rows()
        async with self._side_lock:
            await self._drop_side()

    async def _connected(self) -> Any:
        """The connection for rows; a new one first reads how far the journal is committed."""
        if self._rows is not None and not self._rows.is_closed():
            return self._rows
        connection = await connect(await self._dsn())
        try:
            await migrate.require_current(connection)
            await self._register(connection)
            self._ids, self._model_ids = {}, {}
            self._rows_days.forget()
        except BaseException as error:
            connection.terminate()
            if isinstance(error, DATABASE_ERRORS):
                raise classify(error) from error
            raise
        self._rows = connection
        return connection

    async def _keep_anon_read(self, connection: Any, allowed: bool) -> None:
        """What ALLOW_ANON_READ says; only the schema's owner can, and recording does not depend on it."""
        try:
            await migrate.keep_anon_read(connection, allowed)
        except asyncpg.InsufficientPrivilegeError as error:
            sql = f"select store.allow_anon_read({str(allowed).lower()})"
            self._log.warning("anon_read_not_set", error=str(error), next_step=f"run as the schema's owner: {sql}")
        except DATABASE_ERRORS as error:
            raise classify(error) from error

    async def _register(self, connection: Any) -> None:
        identity = uuid.UUID(self._journal_id)
        await connection.execute(
            "insert into store.journals (journal_id) values ($1) on conflict (journal_id) do nothing", identity
        )
        row = await connection.fetchrow(
            "select journal_no, committed_seq from store.journals where journal_id = $1", identity
        )
        self.journal_no, self.committed_seq = row["journal_no"], row["committed_seq"]
        await connection.execute(
            "update store.service_clock set mode = $1,"
            " last_ts = case when $1 = 'feed' then coalesce(last_ts,"
            " (select committed_ts from store.journals where journal_no = $2)) end"
            " where mode <> $1",
            self._clock_mode,
            self.journal_no,
        )

    async def _define(self, connection: Any, batch: Batch) -> None:
        """Definitions not seen before get their ids, before the transaction: an id without values does no harm."""
        for one in definitions(batch.values):
            if one.digest not in self._ids:
                self._ids[one.digest] = await connection.fetchval(DEFINITION_SQL, *msgspec.structs.astuple(one))
        for model in model_definitions(batch.options):
            if model.digest not in self._model_ids:
                self._model_ids[model.digest] = await connection.fetchval(MODEL_DEFINITION_SQL, *model_values(model))

    async def _make_days(self, connection: Any, days: Days, wanted: dict[str, set[int]]) -> None:
        """Partitions for new days. Without one a row finds its home all the same: in the default partition."""
        for call in days.calls(wanted):
            missing = await connection.fetchval(
                ENSURE_SQL, call.first, call.last, [call.table], timeout=STATEMENT_WITHIN_S
            )
            days.made(call, missing)
            if missing:
                self._log.info("partition_put_off", table=call.table, first=str(call.first), last=str(call.last))

    async def _store(self, connection: Any, batch: Batch) -> int:
        try:
            return await self._transact(connection, batch, self._copy_rows)
        except asyncpg.UniqueViolationError:
            await connection.execute("rollback")
        return await self._transact(connection, batch, self._copy_rows_staged)

    async def _transact(self, connection: Any, batch: Batch, store: Callable[[Any, Batch], Awaitable[int]]) -> int:
        """Position, rows, COMMIT; the number of duplicates."""
        moved = await connection.execute(self._begin_sql(batch), timeout=STATEMENT_WITHIN_S)
        if moved != "UPDATE 1":
            return await self._judge_position(connection, batch)
        duplicates = await store(connection, batch)
        if batch.gaps:
            await connection.execute(GAPS_SQL, *gap_columns(batch.gaps), self.journal_no)
        if batch.events:
            await connection.execute(EVENTS_SQL, *event_columns(batch.events), self.journal_no)
        if duplicates:
            await connection.execute(
                "update store.journals set duplicates = duplicates + $1 where journal_no = $2",
                duplicates,
                self.journal_no,
            )
        self._step("before_commit")
        commit = asyncio.ensure_future(connection.execute("commit", timeout=STATEMENT_WITHIN_S))
        await asyncio.sleep(0)  # now it is on its way
        self._step("commit_sent")
        answer = await commit
        self._step("after_commit")
        if answer != "COMMIT":
            raise RejectedError(f"the database rolled back a batch: {answer}")
        self.committed_seq = batch.last_seq
        if duplicates:
            self._log.warning("duplicates_dropped", rows=duplicates, last_seq=batch.last_seq)
        return duplicates

    def _begin_sql(self, batch: Batch) -> str:
        """BEGIN, clock and position in one round trip; whole numbers only, so nothing needs quoting."""
        at = f"'epoch'::timestamptz + {int(batch.last_ts_us)} * interval '1 microsecond'"
        sql = "begin isolation level read committed read write; "
        if self._clock_mode == "feed":
            sql += f"update store.service_clock set mode = 'feed', last_ts = {at}; "
        return (
            sql + f"update store.journals set committed_seq = {int(batch.last_seq)}, committed_ts = {at},"
            f" updated_at = now() where journal_no = {self.journal_no} and committed_seq = {int(batch.after_seq)}"
        )

    async def _judge_position(self, connection: Any, batch: Batch) -> int:
        """The position was not where the batch begins: the batch is in already, or somebody else writes."""
        found = await connection.fetchval(
            "select committed_seq from store.journals where journal_no = $1", self.journal_no
        )
        await connection.execute("rollback")
        if found == batch.last_seq:
            self.committed_seq = found
            return 0
        raise FatalError(
            f"another recorder writes to this database: journal {self._journal_id} stands at {found},"
            f" this batch begins after {batch.after_seq}",
            next_step="stop the other recorder (a copy of the data folder is one), then start again",
        )

    async def _copy_rows(self, connection: Any, batch: Batch) -> int:
        for table, columns, rows in self._packed(batch):
            await _copy(connection, table, columns, rows, schema="store")
        return 0

    async def _copy_rows_staged(self, connection: Any, batch: Batch) -> int:
        """Through temporary tables: keys that exist are left as they are, and counted."""
        given = stored = 0
        for table, columns, rows in self._packed(batch):
            stage, listed = f"stage_{table}", ", ".join(f'"{name}"' for name in columns)
            await connection.execute(f"create temporary table {stage} (like store.{table}) on commit drop")
            for name in DEFAULTED.get(table, ()):
                await connection.execute(f"alter table {stage} drop column {name}")
            given += int((await _copy(connection, stage, columns, rows)).split()[-1])
            answer = await connection.execute(
                f"insert into store.{table} ({listed}) select {listed} from {stage} on conflict do nothing"
            )
            stored += int(answer.split()[-1])
        return given - stored

    def _packed(self, batch: Batch) -> list[tuple[str, tuple[str, ...], bytes]]:
        return packed(batch, self.journal_no, self._ids, self._model_ids)

    async def _aside(self, sql: str, *values: object, days: dict[str, set[int]] | None = None) -> Any:
        """One statement on the second connection; its one value. Args: days: that it writes rows of, by table."""
        async with self._side_lock:
            try:
                if self._side is None or self._side.is_closed():
                    self._side = await connect(await self._dsn())
                    self._side_days.forget()
                await self._make_days(self._side, self._side_days, days or {})
                return await self._side.fetchval(sql, *values, timeout=STATEMENT_WITHIN_S)
            except BaseException as error:
                await self._drop_side()
                if isinstance(error, (AlphakiteError, *DATABASE_ERRORS)):
                    raise classify(error) from error
                raise

    async def _drop_rows(self) -> None:
        connection, self._rows = self._rows, None
        await _end(connection)

    async def _drop_side(self) -> None:
        connection, self._side = self._side, None
        await _end(connection)


async def _copy(connection: Any, table: str, columns: tuple[str, ...], rows: bytes, schema: str | None = None) -> str:
    async def once() -> AsyncIterator[bytes]:
        yield rows

    return str(
        await connection.copy_to_table(
            table, source=once(), columns=columns, schema_name=schema, format="binary", timeout=STATEMENT_WITHIN_S
        )
    )


async def _end(connection: Any) -> None:
    """Close; a transaction that is open there ends with its connection."""
    if connection is None or connection.is_closed():
        return
    if connection.is_in_transaction():
        connection.terminate()
        return
    try:
        await connection.close(timeout=CLOSE_WITHIN_S)
    except DATABASE_ERRORS:
        connection.terminate()
