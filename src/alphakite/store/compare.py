"""Comparing derived rows with the stored ones, in the database. Days that were removed are not judged, but counted."""

from __future__ import annotations

import io
from datetime import datetime
from typing import NamedTuple

import asyncpg

from alphakite.model import Batch
from alphakite.store.binary_options import IMAGE_COLUMNS, MODEL_COLUMNS
from alphakite.store.tables import definitions, gap_columns, model_definitions, packed

EXAMPLES = 5
REMOVED = (
    "exists (select from store.removed_days r where r.table_name = '{table}'"
    " and {time} >= coalesce(r.low, '-infinity') and {time} < r.high)"
)
DERIVED = "(select {0} from again_option_prices union select {0} from again_option_images)"
OPTIONS = f"(option_symbol in {DERIVED.format('option_symbol')} or ticker in {DERIVED.format('ticker')})"
"""Every contract of the tickers, and every derived contract under whatever ticker: a stored row that was not derived
at all is found."""


class Compared(NamedTuple):
    """A table: its time, its key, what is compared, and which stored rows a derived one must stand beside.

    `own`: rows carry the journal's number, so that all of them are judged from the first on. `spanned`: of which
    tables the derived rows say what span of time is judged otherwise; none named: its own.
    """

    time: str
    key: tuple[str, ...]
    values: tuple[str, ...]
    scope: str = "ticker in (select ticker from again_{name})"
    own: bool = False
    spanned: tuple[str, ...] = ()


SECOND = ("ticker", "timestamp", "journal_no", "seq", "item")
CONTRACT_SECOND = ("option_symbol", *SECOND[1:])
QUOTED = tuple(column for column in IMAGE_COLUMNS if column not in CONTRACT_SECOND)
DEFINED = (
    "ticker", "root", "option_type", "strike_price", "expiration_date", "settlement_type", "exercise_type",
    "expiration_type", "multiplier", "mini", "adjusted", "last_trading_day",
)  # fmt: skip
TABLES = {
    "equity_data": Compared("timestamp", SECOND, ("price", "volume", "flags")),
    "indicators": Compared("timestamp", SECOND, ("sma9", "vwap", "flags")),
    "indicator_values": Compared(
        "timestamp",
        (*SECOND, "definition_id"),
        ("value", "flags"),
        # what an older definition made stays as it is
        "ticker in (select ticker from again_{name}) and definition_id in (select definition_id from again_{name})",
    ),
    "stream_gaps": Compared("start_at", ("ticker", "start_at"), ("end_at", "reason", "volume")),
    "option_prices": Compared(
        "timestamp",
        CONTRACT_SECOND,
        (*QUOTED, *MODEL_COLUMNS),
        f"{OPTIONS} and journal_no in (0, {{journal_no}})",
        spanned=("option_prices", "option_images"),
    ),
    "option_images": Compared("timestamp", CONTRACT_SECOND, QUOTED, "journal_no = {journal_no}", own=True),
    "option_contracts": Compared(
        "valid_from", ("option_symbol", "valid_from"), DEFINED, "journal_no = {journal_no}", own=True
    ),
    "option_following": Compared(
        "timestamp",
        ("journal_no", "seq", "item"),
        ("ticker", "timestamp", "reason", "expiries", "added", "removed", "detail"),
        "journal_no = {journal_no}",
        own=True,
    ),
}


class Found(NamedTuple):
    """A table: rows derived of days that are there, keys that differ, rows derived of days that were removed, and a few
    differences in words.
    """

    name: str
    rows: int
    differences: int
    removed: int
    examples: list[str]


class Comparison:
    """Collects derived rows in temporary tables. Stored rows outside the derived span of time are not judged."""

    def __init__(self, connection: asyncpg.Connection, journal_no: int) -> None:
        self._connection = connection
        self._journal_no = journal_no
        self._ids: dict[str, int] = {}
        self._model_ids: dict[str, int] = {}

    async def prepare(self) -> None:
        """Make the temporary tables."""
        for name in TABLES:
            await self._connection.execute(
                f"create temporary table again_{name} (like store.{name} including defaults)"
            )
        await self._connection.execute("alter table again_stream_gaps add primary key (ticker, start_at)")

    async def add(self, batch: Batch) -> None:
        """Take over derived rows. A definition that the database does not know gets a negative id of its own."""
        for one in definitions(batch.values):
            await self._identify(one.digest, self._ids, "indicator_definitions")
        for model in model_definitions(batch.options):
            await self._identify(model.digest, self._model_ids, "model_definitions")
        for name, columns, data in packed(batch, self._journal_no, self._ids, self._model_ids):
            await self._connection.copy_to_table(
                f"again_{name}", source=io.BytesIO(data), columns=columns, format="binary"
            )
        if batch.gaps:
            await self._connection.execute(
                "insert into again_stream_gaps (ticker, start_at, end_at, reason, volume, journal_no)"
                " select * from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::bigint[],"
                " $6::int[])"
                " on conflict (ticker, start_at) do update"
                " set end_at = excluded.end_at, reason = excluded.reason, volume = excluded.volume",
                *gap_columns(batch.gaps),
                [self._journal_no] * len({(gap.ticker, gap.start_us) for gap in batch.gaps}),
            )

    async def differences(self, start: datetime | None, end: datetime | None) -> list[Found]:
        """What each table has."""
        removed = {}
        for name, table in TABLES.items():
            answer = await self._connection.execute(f"delete from again_{name} where {_removed(name, table)}")
            removed[name] = int(answer.split()[-1])
            await self._connection.execute(f"analyze again_{name}")
        found = []
        for name, table in TABLES.items():
            rows = await self._connection.fetchval(f"select count(*) from again_{name}")
            low, high = await self._span(name, table, start, end)
            differing = await self._differing(name, table, low, high) if high is not None else []
            distinct = {tuple(row[column] for column in table.key) for row in differing}
            examples = [f"{name}: {tuple(row)}" for row in differing[:EXAMPLES]]
            found.append(Found(name, int(rows), len(distinct), removed[name], examples))
        return found

    async def _differing(
        self, name: str, table: Compared, low: datetime | None, high: datetime
    ) -> list[asyncpg.Record]:
        """Rows on one side only, or not the same on both. Args: low: None: from the first on."""
        columns = ", ".join(dict.fromkeys((*table.key, *table.values)))
        within = f"{table.time} >= coalesce($1, '-infinity'::timestamptz) and {table.time} <= $2"
        scope = table.scope.format(name=name, journal_no=self._journal_no)
        found: list[asyncpg.Record] = await self._connection.fetch(
            f"with stored as (select {columns} from store.{name} where {within} and {scope}"
            f" and not {_removed(name, table)}),"
            f" derived as (select {columns} from again_{name} where {within})"
            f" (select 'derived only or other' as side, d.* from (table derived except all table stored) d)"
            f" union all (select 'stored only or other', s.* from (table stored except all table derived) s)"
            f" order by 2, 3",
            low,
            high,
        )
        return found

    async def _identify(self, digest: str, ids: dict[str, int], table: str) -> None:
        if digest not in ids:
            known = await self._connection.fetchval(f"select id from store.{table} where definition_hash = $1", digest)
            ids[digest] = known or -1 - len(ids)

    async def _span(
        self, name: str, table: Compared, start: datetime | None, end: datetime | None
    ) -> tuple[datetime | None, datetime | None]:
        """What is judged. All of the journal's own, up to the newest row derived: a recorder may be writing on."""
        spanned = tuple(TABLES) if table.own else table.spanned or (name,)
        times = " union all ".join(f"select {TABLES[one].time} as at from again_{one}" for one in spanned)
        row = await self._connection.fetchrow(
            f"select greatest(min(at), $1::timestamptz) low, least(max(at), $2::timestamptz) high from ({times}) t",
            start,
            end,
        )
        return (start if table.own else row["low"]), row["high"]


def _removed(name: str, table: Compared) -> str:
    """The condition that a row is of a day that was removed."""
    return REMOVED.format(table=name, time=table.time)
