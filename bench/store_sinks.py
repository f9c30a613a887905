"""Each sink as shipped, and supabase-py's upsert, with the same rows in the same batches, interleaved, by CPU time.

    PostgresSink              on the embedded server, by its socket
    … through PgBouncer       in transaction mode, where it is installed
    RestSink                  on tests/supabase/server.py, a process of its own in the place of PostgREST
    supabase-py upsert        table(…).upsert(rows): its defaults, by which every row comes back; and returning=minimal

Sinks commit a journal's position with the rows, and their tables have a partition a day. supabase-py is handed finished
dicts, stores no position, and writes into plain tables `public.bench_*` of the same columns, key and indexes: one call
for each table. Its batches are no transaction together. After every run the tables must hold the same values, else the
run fails. CPU of processes that live on is read in ns, from /proc/PID/schedstat.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg

from alphakite.model import Batch
from alphakite.store import migrate
from alphakite.store.cluster import Endpoint
from alphakite.store.postgres import PostgresSink
from alphakite.store.rest import RestSink
from bench.borrowed import ROLES, SECRET_KEY, pooler
from bench.child import Child, ChildError, family
from bench.report import table
from bench.store_rows import JOURNAL, Objects, make_batches, make_option_batches, objects

TABLES = ("equity_data", "indicators", "option_prices")
DIRECT, POOLED, REST = "PostgresSink", "PostgresSink, PgBouncer", "RestSink"
ECHOED, MINIMAL = "supabase-py upsert", "supabase-py, minimal"
DIGEST_SQL = """
select count(*), md5(coalesce(string_agg(row({columns})::text, ';' order by {key}), '')) from {table}
"""
COLUMNS_SQL = """
select attname, format_type(atttypid, null) = 'numeric' from pg_attribute
where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attname
"""
Run = Callable[[], Coroutine[Any, Any, None]]


def supabase_py() -> ModuleType | None:
    """The client library, if it is installed. (The folder `supabase` of this checkout is not it.)"""
    try:
        found = importlib.import_module("supabase")
    except ImportError:
        return None
    return found if hasattr(found, "create_client") else None


async def compare(endpoint: Endpoint, rows: int, batch: int, rounds: int, scratch: Path) -> dict[str, Any]:
    """Both kinds of rows: medians of CPU-µs a row and rows a second. Raises: ChildError where something differs."""
    connection = await asyncpg.connect(endpoint.local_dsn)
    await prepare(connection)
    for name in TABLES:
        await connection.execute(f"create table public.bench_{name} (like store.{name} including all)")
        await connection.execute(f"grant select, insert, update on public.bench_{name} to service_role")
    kinds = {
        "equity and indicators": make_batches(rows // 2, batch // 2),
        "options with model values": make_option_batches(rows, batch),
    }
    found: dict[str, Any] = {}
    with ExitStack() as held:
        server = held.enter_context(Child("run_rest_server", scratch=scratch))
        server.tell(dsn=endpoint.dsn)
        pooled = held.enter_context(pooler.running(endpoint.dsn)) if pooler.PROGRAM else None
        contest = Contest(connection, endpoint, server.hear()["url"], server.pid, pooled)
        for kind, batches in kinds.items():
            found[kind] = await contest.held(batches, rounds)
    await connection.close()
    return found


async def prepare(connection: Any) -> None:
    """The roles of a Supabase project, then the schema, which grants to the roles that there are."""
    await connection.execute(ROLES.read_text(encoding="utf-8"))
    await migrate.apply(connection)


class Contest:
    """The contestants on one server. `pooled`: PgBouncer."""

    def __init__(
        self, connection: Any, endpoint: Endpoint, url: str, rest_pid: int, pooled: pooler.Pooler | None
    ) -> None:
        self._connection, self._endpoint, self._url = connection, endpoint, url
        self._rest_pid, self._pooled = rest_pid, pooled

    async def held(self, batches: list[Batch], rounds: int) -> dict[str, Any]:
        """One kind of rows: by contestant its medians."""
        names = [DIRECT, *([POOLED] if self._pooled else []), REST]
        names += [ECHOED, MINIMAL] if supabase_py() else []
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        rows = sum(len(one) for one in batches)
        given: list[Objects] = []
        stood = ""
        for turn in range(rounds + 1):
            for name in names:
                await self._emptied()
                if name in (ECHOED, MINIMAL) and not given:
                    model = await self._connection.fetchval("select min(id) from store.model_definitions")
                    given = [objects(one, model) for one in batches]
                if name in (ECHOED, MINIMAL):
                    figures = await self._upserted(given, minimal=name == MINIMAL)
                else:
                    figures = await self._sunk(name, batches)
                stands = await self._digest("public.bench_" if name in (ECHOED, MINIMAL) else "store.", rows)
                if stands != (stood or stands):
                    raise ChildError(f"{name} stored other values than {names[0]}")
                stood = stands
                if turn:  # the first one warms up, and makes the day
                    taken[name].append({key: value * 1e6 / rows for key, value in figures.items()})
        ways = {
            name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in taken.items()
        }
        base = ways.get(ECHOED, ways[DIRECT])
        for way in ways.values():
            way["rows_per_s"] = 1e6 / way["wall_us"]
            way["client_ratio"] = way["client_us"] / base["client_us"]
            way["server_ratio"] = way["server_us"] / base["server_us"]
            way["rate_ratio"] = base["wall_us"] / way["wall_us"]
        return {"rows": rows, "batches": len(batches), "ways": ways, "digest": stood, "runs": taken}

    async def _emptied(self) -> None:
        listed = ", ".join([f"store.{one}, public.bench_{one}" for one in TABLES])
        await self._connection.execute(f"truncate {listed}, store.journals")
        await self._connection.execute("checkpoint")

    async def _sunk(self, name: str, batches: list[Batch]) -> dict[str, float]:
        async def provide() -> str:
            return self._pooled.dsn if name == POOLED and self._pooled else self._endpoint.local_dsn

        sink = (
            RestSink(self._url, SECRET_KEY, clock_mode="feed")
            if name == REST
            else PostgresSink(provide, clock_mode="feed")
        )
        await sink.open(JOURNAL)

        async def go() -> None:
            for batch in batches:
                if await sink.write(batch):
                    raise ChildError(f"{name} found duplicates")

        between = self._rest_pid if name == REST else self._pooled.pid if name == POOLED and self._pooled else None
        figures = await self._metered(go, between)
        await sink.close()
        return figures

    async def _upserted(self, given: list[Objects], *, minimal: bool) -> dict[str, float]:
        module = supabase_py()
        assert module is not None
        client = module.create_client(self._url, SECRET_KEY)
        client.table(f"bench_{TABLES[0]}").select("ticker").limit(1).execute()
        how = {"returning": importlib.import_module("postgrest.types").ReturnMethod.minimal} if minimal else {}

        async def go() -> None:
            for one in given:
                for name, rows in one.items():
                    client.table(f"bench_{name}").upsert(rows, **how).execute()

        figures = await self._metered(go, self._rest_pid)
        client.postgrest.session.close()
        return figures

    async def _metered(self, go: Run, between: int | None) -> dict[str, float]:
        """Seconds: of this process, of what stands between (absent: 0), of all of PostgreSQL's processes, and wall."""
        before = cpu_s(self._endpoint.pid), 0.0 if between is None else cpu_s(between)
        client, began = time.process_time(), time.perf_counter()
        await go()
        wall, client = time.perf_counter() - began, time.process_time() - client
        return {
            "wall_us": wall,
            "client_us": client,
            "between_us": 0.0 if between is None else cpu_s(between) - before[1],
            "server_us": cpu_s(self._endpoint.pid) - before[0],
        }

    async def _digest(self, prefix: str, rows: int) -> str:
        """Of the values in all tables, whatever a numeric's scale. Raises: ChildError for another number of rows."""
        found, number = [], 0
        for name in TABLES:
            columns = await self._connection.fetch(COLUMNS_SQL, f"store.{name}")
            shown = ", ".join(f'trim_scale("{one}")' if numeric else f'"{one}"' for one, numeric in columns)
            key = "option_symbol, timestamp" if name == TABLES[2] else "ticker, timestamp"
            count, digest = await self._connection.fetchrow(
                DIGEST_SQL.format(columns=shown, key=key, table=prefix + name)
            )
            number += count
            found.append(digest)
        if number != rows:
            raise ChildError(f"{prefix}* hold {number} rows of {rows}")
        return " ".join(found)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its descendants that live."""
    total = 0
    for one in family(pid):
        try:
            total += int(Path(f"/proc/{one}/schedstat").read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def shown(found: dict[str, Any]) -> str:
    """A table for each kind of rows."""
    head = ("", "client", "of upsert's", "PostgreSQL", "of upsert's", "between", "rows/s", "times upsert's")
    texts = []
    for kind, of in found.items():
        rows = [
            (
                name, way["client_us"], way["client_ratio"], way["server_us"], way["server_ratio"],
                way["between_us"] or None, way["rows_per_s"], way["rate_ratio"],
            )
            for name, way in of["ways"].items()
        ]  # fmt: skip
        title = f"Sinks, {kind}: {of['rows']:,} rows in {of['batches']} batches, CPU-µs a row; all stored the same"
        texts.append(table(title, head, rows))
    missing = [] if ECHOED in next(iter(found.values()))["ways"] else ["supabase-py is not installed"]
    missing += [] if POOLED in next(iter(found.values()))["ways"] else ["PgBouncer is not installed"]
    texts.append("; ".join([*missing, "between: PgBouncer, or our own server in the place of PostgREST"]) + "\n")
    return "\n".join(texts)
