"""What days of a ticker and of its option chain take on disk, stored by the real sink in the real partitions.

    python -m bench sizes [--ideas]

Measured: five days of SPY (size_days.py), of the metrics row every minute, a chain of 100 contracts for one whole
day at each pace, and an hour of it under other settings; then PostgreSQL is asked what each partition takes, heap,
indexes and the rest apart. Extrapolated: calendar days of retention, and how much fits into a limit. MB are 10^6 bytes,
as DATABASE_MAX_MB counts. The server syncs nothing while this runs: time is not what is measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from alphakite.derive.moment import DeriveSettings
from alphakite.derive.rows import Rows
from alphakite.model import Batch, Metrics
from alphakite.store import embedded, migrate
from alphakite.store.postgres import PostgresSink
from bench import size_ideas
from bench.child import ROOT, ChildError
from bench.report import table
from bench.size_days import (
    CALM,
    EQUITY_DAY,
    LIVELY,
    MOST,
    SESSION,
    SESSION_S,
    TICKER,
    Pace,
    days_from,
    equity_day,
    moved,
    option_day,
)

JOURNAL = "00000000-0000-0000-0000-00000000b512"
FIRST = date(2026, 10, 5)
BATCH_ROWS = 500
EQUITY_DAYS, HOUR_S, EMPTY_DAYS = 5, 3600, 10
METRICS_S, DAY_S = 60, 86_400
ENSURE_TIMES = 30
"""Each waits for a second at most."""
SESSIONS = {90: 62, 30: 21}
"""Calendar days → the sessions in them: 252 a year, rounded."""
LIMITS_MB = {"Free": 500, "Pro": 8000}
STOPS_AT, PROJECT_MB = 0.95, 50
"""Of the limit, where writing stops; what a new project already occupies (40 to 60)."""
DETAILS: dict[str, object] = {
    **dict.fromkeys(("appended", "fsynced", "committed", "updates", "stored"), 1_234_567),
    **dict.fromkeys(("conflated", "images", "outside", "waiting", "conn"), 12),
    "database_bytes": 123_456_789, "database_limit_bytes": 500_000_000, "database_state": "", "database_full_on": None,
    "behind_seconds": 0,
}  # fmt: skip
"""As recorder/drain.py writes them."""
USUAL = DeriveSettings((TICKER,))
CHAINS: tuple[tuple[str, Pace, DeriveSettings, int], ...] = (
    ("calm", CALM, USUAL, SESSION_S),
    ("lively", LIVELY, USUAL, SESSION_S),
    ("at most", MOST, USUAL, SESSION_S),
    ("lively, GREEKS_INTERVAL=0", LIVELY, DeriveSettings((TICKER,), greeks_interval_s=0), HOUR_S),
    ("lively, GREEKS_INTERVAL=1", LIVELY, DeriveSettings((TICKER,), greeks_interval_s=1), HOUR_S),
    ("at most, OPTION_RESOLUTION=tick", MOST, DeriveSettings((TICKER,), option_resolution="tick"), HOUR_S),
    ("lively, the first hour", LIVELY, USUAL, HOUR_S),
    ("at most, the first hour", MOST, USUAL, HOUR_S),
)
PARTITION_SQL = """
select c.reltuples, pg_relation_size(c.oid) as heap, pg_indexes_size(c.oid) as indexes,
       pg_total_relation_size(c.oid) - pg_relation_size(c.oid) - pg_indexes_size(c.oid) as rest,
       (select count(*) from store_private."{name}") as rows,
       array(select replace(i.relname, '{name}_', '') || ' ' || pg_relation_size(i.oid) from pg_index x
             join pg_class i on i.oid = x.indexrelid where x.indrelid = c.oid order by i.relname) as each
from pg_class c where c.oid = 'store_private."{name}"'::regclass
"""


class Writer:
    """Rows into the sink, in batches as the recorder cuts them."""

    def __init__(self, sink: PostgresSink) -> None:
        self._sink, self._seq, self._rows = sink, 0, Rows()

    async def put(self, parts: Iterable[Rows], days: int) -> None:
        """All of a day, moved by so many days."""
        for part in parts:
            made = moved(part, days)
            for name in ("equity", "indicators", "options", "images"):
                getattr(self._rows, name).extend(getattr(made, name))
            if len(self._rows) >= BATCH_ROWS:
                await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        rows, self._rows, after = self._rows, Rows(), self._seq
        self._seq += 1
        fields = {name: getattr(rows, name) for name in ("equity", "indicators", "options", "images")}
        await self._sink.write(Batch(JOURNAL, after, self._seq, self._seq, **fields))


def measure(scratch: Path, *, ideas: bool) -> dict[str, Any]:
    """All figures; about a quarter of an hour."""
    folder = Path(os.environ.get("ALPHAKITE_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise ChildError(f"no shared data at {folder}: set ALPHAKITE_SHARED_DATA")
    with embedded.lease(scratch / "sizes") as endpoint:
        return asyncio.run(_measured(endpoint.local_dsn, folder, ideas=ideas))


async def _measured(dsn: str, folder: Path, *, ideas: bool) -> dict[str, Any]:
    async def provide() -> str:
        return dsn

    connection = await asyncpg.connect(dsn)
    await connection.execute("alter system set fsync = off")
    await connection.execute("select pg_reload_conf()")
    found: dict[str, Any] = {"server": await connection.fetchval("show server_version")}
    size = "select pg_database_size(current_database())"
    found["bare_bytes"] = await connection.fetchval(size)
    await migrate.apply(connection)
    found["empty_bytes"] = await connection.fetchval(size)
    first = FIRST - timedelta(60)
    await connection.execute("select store.ensure_partitions($1, $2)", first, first + timedelta(EMPTY_DAYS - 1))
    found["empty_day_bytes"] = (await connection.fetchval(size) - found["empty_bytes"]) / EMPTY_DAYS
    found["empty_day"] = {
        row["table_name"]: row["bytes"]
        for row in await connection.fetch("select * from store.partition_sizes() where low = $1::date", first)
    }
    sink = PostgresSink(provide, clock_mode="system")
    await sink.open(JOURNAL)
    writer = Writer(sink)
    made = equity_day(folder)
    for number in range(EQUITY_DAYS):
        await writer.put(made, days_from(FIRST + timedelta(number), EQUITY_DAY))
    for second in range(0, DAY_S, METRICS_S):
        us = days_from(FIRST, date(1970, 1, 1)) * DAY_S + second
        await sink.write_metrics(Metrics(us * 1_000_000, 1_234_567, 0, "running", DETAILS))
    parts = [await _partition(connection, name, FIRST) for name in ("equity_data", "indicators", "streaming_metrics")]
    for part in parts[:2]:
        part["same_days"] = [
            (await _partition(connection, part["table"], FIRST + timedelta(number)))["bytes"]
            for number in range(EQUITY_DAYS)
        ]
    chains = []
    for at, (name, pace, settings, seconds) in enumerate(CHAINS):
        day = FIRST + timedelta(EQUITY_DAYS + at)
        print(f"storing {name} …", file=sys.stderr)
        await _ensured(connection, day)
        await writer.put(option_day(pace, settings, seconds, seed=at), days_from(day, SESSION))
        part = await _partition(connection, "option_prices", day)
        modelled = await connection.fetchval(
            f'select count(*) from store_private."option_prices_{day:%Y%m%d}" where model_def is not null'
        )
        chains.append(part | {"name": name, "seconds": seconds, "modelled": modelled / part["rows"]})
    found |= {"parts": parts, "chains": chains, "database_bytes": await connection.fetchval(size)}
    found["whole"] = extrapolated(found)
    if ideas:
        lively = FIRST + timedelta(EQUITY_DAYS + 1)
        found["ideas"] = await size_ideas.measure(connection, lively, FIRST)
    await sink.close()
    await connection.close()
    return found


async def _ensured(connection: Any, day: date) -> None:
    """Its partitions, before its rows come: else they may find their home in the default one."""
    for _ in range(ENSURE_TIMES):
        if not await connection.fetchval("select store.ensure_partitions($1, $1)", day):
            return
    raise ChildError(f"the partitions of {day} could not be made")


async def _partition(connection: Any, parent: str, day: date) -> dict[str, Any]:
    row = await connection.fetchrow(PARTITION_SQL.format(name=f"{parent}_{day:%Y%m%d}"))
    total = row["heap"] + row["indexes"] + row["rest"]
    return {
        "table": parent, "rows": row["rows"], "heap": row["heap"], "indexes": row["indexes"], "rest": row["rest"],
        "bytes": total, "bytes_a_row": total / row["rows"], "each": row["each"],
    }  # fmt: skip


def extrapolated(found: dict[str, Any]) -> dict[str, Any]:
    """MB of the shipped retention and how much fits into the limits. A calendar day without a session has no rows."""
    equity_mb = (found["parts"][0]["bytes"] + found["parts"][1]["bytes"]) / 1e6
    metrics_mb = found["parts"][2]["bytes"] / 1e6
    own_mb = (found["empty_bytes"] - found["bare_bytes"]) / 1e6
    kept_mb = SESSIONS[90] * equity_mb + 30 * metrics_mb
    rooms = {name: STOPS_AT * limit - PROJECT_MB - own_mb for name, limit in LIMITS_MB.items()}
    chains: list[dict[str, Any]] = []
    for chain in found["chains"]:
        day_mb = chain["bytes"] / 1e6 * SESSION_S / chain["seconds"]
        for contracts in (100, 50, 25) if chain["seconds"] == SESSION_S else (100,):
            mb = day_mb * contracts / 100
            whole_mb = kept_mb + SESSIONS[30] * mb + own_mb + PROJECT_MB
            chains.append(
                {
                    "name": chain["name"], "contracts": contracts, "day_mb": mb, "kept_mb": SESSIONS[30] * mb,
                    "thirty_mb": 30 * mb, "whole_mb": whole_mb,
                    "fits": {name: room / (mb + equity_mb + metrics_mb) for name, room in rooms.items()},
                }
            )  # fmt: skip
    alone = {name: room / (equity_mb + metrics_mb) for name, room in rooms.items()}
    quiet = {name: room / equity_mb for name, room in rooms.items()}
    return {
        "equity_day_mb": equity_mb, "metrics_day_mb": metrics_mb, "own_mb": own_mb, "rooms_mb": rooms,
        "equity_kept_mb": SESSIONS[90] * equity_mb, "equity_ninety_mb": 90 * equity_mb,
        "metrics_kept_mb": 30 * metrics_mb, "kept_mb": kept_mb, "chains": chains, "equity_fits": alone,
        "equity_alone_fits": quiet,
    }  # fmt: skip


def shown(figures: dict[str, Any]) -> str:
    """The tables."""
    whole = figures["whole"]
    rows = [(part["table"], *_cells(part), "") for part in figures["parts"]]
    rows += [
        (f"option_prices, {one['name']}", *_cells(one), f"{100 * one['modelled']:.0f} %") for one in figures["chains"]
    ]
    texts = [
        table(
            f"A partition of a day (an hour under other settings), PostgreSQL {figures['server']}",
            ("", "rows", "heap MB", "indexes MB", "rest MB", "all MB", "bytes/row", "with model values"),
            rows,
        ),
        table(
            f"Kept as shipped, MB: equity and indicators {SESSIONS[90]} sessions {whole['equity_kept_mb']:.0f}"
            f" (90 would be {whole['equity_ninety_mb']:.0f}), metrics of 30 days {whole['metrics_kept_mb']:.0f},"
            f" empty schema {whole['own_mb']:.1f}, the project's own {PROJECT_MB}",
            (
                "chain",
                "a session",
                f"{SESSIONS[30]} sessions",
                "30 sessions",
                "all in all",
                "sessions in Free",
                "in Pro",
            ),
            [
                (
                    f"{one['contracts']} contracts, {one['name']}",
                    one["day_mb"],
                    one["kept_mb"],
                    one["thirty_mb"],
                    one["whole_mb"],
                    one["fits"]["Free"],
                    one["fits"]["Pro"],
                )
                for one in whole["chains"]
            ],
        ),
        f"Equity alone: {whole['equity_fits']['Free']:.0f} sessions in Free with as many days of metrics,"
        f" {whole['equity_alone_fits']['Free']:.0f} without; a migrated database {figures['empty_bytes'] / 1e6:.1f} MB"
        f" ({figures['bare_bytes'] / 1e6:.1f} before), a day without rows {figures['empty_day_bytes'] / 1e3:.0f} kB\n",
    ]
    texts += [f"{part.get('name', part['table'])}: {', '.join(part['each'])}" for part in _all(figures)]
    if "ideas" in figures:
        texts.append("\n" + size_ideas.shown(figures["ideas"]))
    return "\n".join(texts)


def _all(figures: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [*figures["parts"], *figures["chains"]]
    return found


def _cells(part: dict[str, Any]) -> tuple[object, ...]:
    sizes = (part[name] / 1e6 for name in ("heap", "indexes", "rest", "bytes"))
    return f"{part['rows']:,}", *sizes, part["bytes_a_row"]
