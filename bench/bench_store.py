"""Ways to put rows and the journal's position into PostgreSQL, side by side, in one run on the same rows.

    python -m bench.bench_store [--rows N] [--batch N] [--sink-rows N] [--sink-batch N] [--rounds N] [--json]

Each way commits equity and indicator rows with keys, indexes, fsync on, one transaction a batch. Rounds are
interleaved; medians are shown. Client CPU is this process's, server CPU that of its PostgreSQL backend (Linux).
Then each sink as shipped beside supabase-py's upsert: store_sinks.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from alphakite.model import Batch
from alphakite.store import embedded
from alphakite.store.binary import EQUITY_COLUMNS, INDICATOR_COLUMNS, pack_equity, pack_indicators
from alphakite.store.postgres import PostgresSink
from bench import report, store_sinks
from bench.child import ChildError
from bench.store_rows import JOURNAL, make_batches, records

TABLES = (("equity_data", EQUITY_COLUMNS), ("indicators", INDICATOR_COLUMNS))
UNNEST = "$1::text[], $2::timestamptz[], $3::numeric[], $4::{fourth}[], $5::int2[], $6::int4[], $7::int8[], $8::int4[]"
Way = Callable[[Any, Batch], Awaitable[None]]


async def copy_packed(connection: Any, batch: Batch) -> None:
    for (table, columns), data in zip(
        TABLES, (pack_equity(batch.equity), pack_indicators(batch.indicators)), strict=True
    ):
        await _copy(connection, table, columns, data)


async def copy_staged(connection: Any, batch: Batch) -> None:
    for (table, columns), data in zip(
        TABLES, (pack_equity(batch.equity), pack_indicators(batch.indicators)), strict=True
    ):
        listed = ", ".join(f'"{name}"' for name in columns)
        await connection.execute(
            f"create temporary table stage_{table} on commit drop as select {listed} from store.{table} with no data"
        )
        await _copy(connection, f"stage_{table}", columns, data, schema=None)
        await connection.execute(
            f"insert into store.{table} ({listed}) select {listed} from stage_{table} on conflict do nothing"
        )


async def copy_records(connection: Any, batch: Batch) -> None:
    for (table, columns), rows in zip(TABLES, records(batch), strict=True):
        await connection.copy_records_to_table(table, records=rows, columns=columns, schema_name="store")


async def insert_unnest(connection: Any, batch: Batch) -> None:
    for (table, columns), rows in zip(TABLES, records(batch), strict=True):
        listed = ", ".join(f'"{name}"' for name in columns)
        unnest = UNNEST.format(fourth="int8" if table == "equity_data" else "numeric")
        await connection.execute(
            f"insert into store.{table} ({listed}) select * from unnest({unnest}) on conflict do nothing",
            *(list(column) for column in zip(*rows, strict=True)),
        )


async def insert_many(connection: Any, batch: Batch) -> None:
    for (table, columns), rows in zip(TABLES, records(batch), strict=True):
        listed = ", ".join(f'"{name}"' for name in columns)
        await connection.executemany(
            f"insert into store.{table} ({listed}) values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing", rows
        )


async def _copy(
    connection: Any, table: str, columns: tuple[str, ...], data: bytes, schema: str | None = "store"
) -> None:
    async def once() -> Any:
        yield data

    await connection.copy_to_table(table, source=once(), columns=columns, schema_name=schema, format="binary")


WAYS: dict[str, Way] = {
    "COPY, packed by hand": copy_packed,
    "COPY, asyncpg records": copy_records,
    "COPY to stage, INSERT": copy_staged,
    "INSERT SELECT unnest": insert_unnest,
    "executemany": insert_many,
}


async def timed(dsn: str, way: Way | None, batches: list[Batch]) -> tuple[float, float, float]:
    """(wall, client CPU, server CPU) seconds for all batches; way None: the sink itself."""

    async def provide() -> str:
        return dsn

    connection = await asyncpg.connect(dsn)
    await connection.execute("truncate store.equity_data, store.indicators, store.journals")
    await connection.execute("checkpoint")
    sink = PostgresSink(provide, clock_mode="feed")
    await sink.open(JOURNAL)
    backend = await (connection if way else sink._rows).fetchval("select pg_backend_pid()")
    server = _cpu_s(backend)
    client, started = time.process_time(), time.perf_counter()
    for batch in batches:
        if way is None:
            await sink.write(batch)
            continue
        async with connection.transaction():
            await connection.execute("update store.journals set committed_seq = $1", batch.last_seq)
            await way(connection, batch)
    took = time.perf_counter() - started, time.process_time() - client, _cpu_s(backend) - server
    await sink.close()
    await connection.close()
    return took


def _cpu_s(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def compare(dsn: str, batches: list[Batch], rounds: int) -> dict[str, dict[str, float]]:
    """Medians in µs per row, and the wall time's ratio to the sink's."""
    connection = await asyncpg.connect(dsn)
    await store_sinks.prepare(connection)
    await connection.close()
    rows = sum(len(batch) for batch in batches)
    ways: dict[str, Way | None] = {"the sink": None} | WAYS
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(await timed(dsn, way, batches))
    found: dict[str, dict[str, float]] = {}
    for name, runs in taken.items():
        wall, client, server = (statistics.median(run[at] for run in runs) * 1e6 / rows for at in range(3))
        found[name] = {"wall_us": wall, "client_us": client, "server_us": server}
    for values in found.values():
        values["ratio"] = values["wall_us"] / found["the sink"]["wall_us"]
    return found


def main() -> int:
    """Ways to COPY and INSERT, then each sink; 1 if one stored something else than the others."""
    parser = argparse.ArgumentParser(description="ways to put rows into PostgreSQL, and sinks, side by side")
    parser.add_argument("--rows", type=int, default=20_000, help="equity rows; as many indicator rows come with them")
    parser.add_argument("--batch", type=int, default=500, help="equity rows a transaction")
    parser.add_argument("--sink-rows", type=int, default=10_000, help="rows of each kind through each sink; 0: none")
    parser.add_argument("--sink-batch", type=int, default=500, help="of all kinds in a batch of a sink: BATCH_SIZE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = {"schema": 1, "rows": 2 * args.rows, "batch": args.batch, "ways": {}, "sinks": {}}
    with tempfile.TemporaryDirectory() as name, embedded.lease(Path(name)) as endpoint:
        if args.rows:
            batches = make_batches(args.rows, args.batch)
            found["ways"] = asyncio.run(compare(endpoint.local_dsn, batches, args.rounds))
        if args.sink_rows:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    found["sinks"] = runner.run(
                        store_sinks.compare(endpoint, args.sink_rows, args.sink_batch, args.rounds, Path(name))
                    )
            except ChildError as error:
                print(f"bench: {error}", file=sys.stderr)
                return 1
    print(json.dumps(found) if args.json else shown(found))
    return 0


def shown(figures: dict[str, Any]) -> str:
    """The tables of both."""
    ways = report.table(
        f"Ways to store rows: {figures['rows']:,} rows, {figures['batch']} + {figures['batch']} in a transaction",
        ("way", "client CPU-µs/row", "PostgreSQL µs", "wall µs", "wall ratio"),
        [(name, of["client_us"], of["server_us"], of["wall_us"], of["ratio"]) for name, of in figures["ways"].items()],
    )
    sinks = store_sinks.shown(figures["sinks"]) if figures["sinks"] else ""
    return f"{ways}\n{sinks}" if figures["ways"] else sinks


if __name__ == "__main__":
    sys.exit(main())
