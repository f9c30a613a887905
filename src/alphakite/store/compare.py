"""Comparing derived rows with the stored ones, in the database."""

from __future__ import annotations

import io
from datetime import datetime

import asyncpg

from alphakite.model import EquityRow, GapRow, IndicatorRow, IndicatorValueRow
from alphakite.store.binary import (
    EQUITY_COLUMNS,
    INDICATOR_COLUMNS,
    VALUE_COLUMNS,
    pack_equity,
    pack_indicators,
    pack_values,
)
from alphakite.store.postgres import definitions, gap_columns

EXAMPLES = 5
TABLES = {
    "equity_data": ("timestamp", ("ticker", "timestamp", "journal_no", "seq", "item"), ("price", "volume", "flags")),
    "indicators": ("timestamp", ("ticker", "timestamp", "journal_no", "seq", "item"), ("sma9", "vwap", "flags")),
    "indicator_values": (
        "timestamp",
        ("ticker", "timestamp", "journal_no", "seq", "item", "definition_id"),
        ("value", "flags"),
    ),
    "stream_gaps": ("start_at", ("ticker", "start_at"), ("end_at", "reason", "volume")),
}
"""Per table: its time, its key, what is compared."""


class Comparison:
    """Collects derived rows in temporary tables. Stored rows outside the derived span of time are not judged."""

    def __init__(self, connection: asyncpg.Connection, journal_no: int) -> None:
        self._connection = connection
        self._journal_no = journal_no
        self._ids: dict[str, int] = {}

    async def prepare(self) -> None:
        """Make the temporary tables."""
        for name in TABLES:
            await self._connection.execute(
                f"create temporary table again_{name} (like store.{name} including defaults)"
            )
        await self._connection.execute("alter table again_stream_gaps add primary key (ticker, start_at)")

    async def add(
        self,
        equity: list[EquityRow],
        indicators: list[IndicatorRow],
        gaps: list[GapRow],
        values: list[IndicatorValueRow],
    ) -> None:
        """Take over derived rows. A definition that the database does not know gets a negative id of its own."""
        for one in definitions(values):
            if one.digest not in self._ids:
                known = await self._connection.fetchval(
                    "select id from store.indicator_definitions where definition_hash = $1", one.digest
                )
                self._ids[one.digest] = known or -1 - len(self._ids)
        for name, columns, data in (
            ("again_equity_data", EQUITY_COLUMNS, pack_equity(equity)),
            ("again_indicators", INDICATOR_COLUMNS, pack_indicators(indicators)),
            ("again_indicator_values", VALUE_COLUMNS, pack_values(values, self._ids)),
        ):
            await self._connection.copy_to_table(name, source=io.BytesIO(data), columns=columns, format="binary")
        if gaps:
            await self._connection.execute(
                "insert into again_stream_gaps (ticker, start_at, end_at, reason, volume, journal_no)"
                " select * from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::bigint[],"
                " $6::int[])"
                " on conflict (ticker, start_at) do update"
                " set end_at = excluded.end_at, reason = excluded.reason, volume = excluded.volume",
                *gap_columns(gaps),
                [self._journal_no] * len({(gap.ticker, gap.start_us) for gap in gaps}),
            )

    async def differences(self, start: datetime | None, end: datetime | None) -> list[tuple[str, int, int, list[str]]]:
        """Per table: name, rows derived, differing keys, a few of them in words."""
        found = []
        for name, (at, key, columns) in TABLES.items():
            rows = await self._connection.fetchval(f"select count(*) from again_{name}")
            keys, values = ", ".join(key), ", ".join(columns)
            of = " and definition_id in (select definition_id from again_indicator_values)"
            known = of if name == "indicator_values" else ""  # what an older definition made stays as it is
            low, high = await self._span(name, at, start, end)
            differing = (
                await self._connection.fetch(
                    f"with stored as (select {keys}, {values} from store.{name} where {at} >= $1 and {at} <= $2"
                    f" and ticker in (select ticker from again_{name}){known}),"
                    f" derived as (select {keys}, {values} from again_{name} where {at} >= $1 and {at} <= $2)"
                    f" (select 'derived only or other' as side, d.* from (table derived except all table stored) d)"
                    f" union all (select 'stored only or other', s.* from (table stored except all table derived) s)"
                    f" order by 2, 3",
                    low,
                    high,
                )
                if low is not None
                else []
            )
            distinct = {tuple(row[column] for column in key) for row in differing}
            found.append((name, int(rows), len(distinct), [f"{name}: {tuple(row)}" for row in differing[:EXAMPLES]]))
        return found

    async def _span(
        self, name: str, at: str, start: datetime | None, end: datetime | None
    ) -> tuple[datetime | None, datetime | None]:
        row = await self._connection.fetchrow(
            f"select greatest(min({at}), $1::timestamptz) low, least(max({at}), $2::timestamptz) high"
            f" from again_{name}",
            start,
            end,
        )
        return row["low"], row["high"]
