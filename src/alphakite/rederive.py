"""Derive again from the journal and compare with the tables; changes nothing.

The derived rows go into temporary tables, and the database compares: only records up to the committed position count,
and only the span of time that the journal still holds.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from alphakite.config import Settings
from alphakite.derive.engine import Engine
from alphakite.derive.indicators import folders_of, search_in
from alphakite.derive.rows import Rows
from alphakite.errors import UnavailableError, UsageError
from alphakite.journal.checkpoint import load_base
from alphakite.journal.reader import JournalReader, first_seq, journal_id, segments
from alphakite.model import Batch
from alphakite.recorder.deriver import Deriver
from alphakite.store.compare import Comparison
from alphakite.store.database import Database

FLUSH_ROWS = 5000


class TableReport(msgspec.Struct):
    """One table: rows derived, how many keys differ or stand on one side only, and how many further rows were derived
    of days that were removed from the tables (removed_days).
    """

    name: str
    rows: int
    differences: int
    removed: int = 0


class Report(msgspec.Struct):
    """What a check found."""

    first_seq: int = 0
    last_seq: int = 0
    tables: list[TableReport] = []
    examples: list[str] = []

    @property
    def rows(self) -> int:
        """Rows derived, over all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def differences(self) -> int:
        """Keys that differ, over all tables."""
        return sum(table.differences for table in self.tables)

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        found: dict[str, object] = msgspec.to_builtins(self)
        return {"rows": self.rows, "differences": self.differences} | found


async def check(settings: Settings, start: str | None, end: str | None) -> Report:
    """Compare. Raises UnavailableError when there is no journal, UsageError for a time that is none."""
    try:
        span = [datetime.fromisoformat(text) if text else None for text in (start, end)]
    except ValueError as error:
        raise UsageError(f"not a time: {error}", next_step="use RFC 3339, as 2026-11-24T14:30:00Z") from error
    search_in(folders_of(settings))
    folder = settings.data_dir / "journal"
    identity = journal_id(folder)
    database = Database(settings)
    try:
        connection = await database.connect()
        try:
            row = await connection.fetchrow(
                "select journal_no, committed_seq from store.journals where journal_id = $1", identity
            )
            if row is None:
                raise UnavailableError(
                    "the database knows nothing of this journal", next_step="start `alphakite run` once, then check"
                )
            engine, span[0] = _begin(settings.data_dir, identity, row["journal_no"], span[0])
            return await _compare(
                connection, JournalReader(folder, engine.state.seq), engine, row["committed_seq"], span
            )
        finally:
            await connection.close()
    finally:
        await database.close()


def _begin(
    data_dir: Path, identity: uuid.UUID, journal_no: int, start: datetime | None
) -> tuple[Engine, datetime | None]:
    """What to derive with, and the first time that can be compared: of a journal whose oldest segments were removed,
    the state that was kept for the place where it begins now. Raises UnavailableError when there is none.
    """
    kept = segments(data_dir / "journal")
    if not kept or (first := first_seq(kept[0])) <= 1:
        return Engine(journal_no), start
    base = load_base(data_dir / "checkpoints", identity, first)
    engine = Engine.restore(base[1]) if base is not None else None
    if engine is None or engine.state.journal_no != journal_no:
        raise UnavailableError(
            f"the journal begins at record {first}, and no state is kept from which to derive it again",
            next_step="nothing is wrong with the tables; what is recorded from the next start on can be checked",
        )
    known = datetime.fromtimestamp(engine.state.last_us // 1_000_000 + 1, UTC)
    return engine, max(known, start) if start is not None else known


async def _compare(
    connection: Any,
    reader: JournalReader,
    engine: Engine,
    committed_seq: int,
    span: list[datetime | None],
) -> Report:
    comparison = Comparison(connection, engine.state.journal_no)
    await comparison.prepare()
    deriver = Deriver(engine)
    report = Report()
    while records := reader.read(upto_seq=committed_seq):
        report.first_seq = report.first_seq or records[0].seq
        for record in records:
            deriver.apply(record)
            report.last_seq = record.seq
            if len(engine.rows) >= FLUSH_ROWS:
                await comparison.add(_batch(engine.take(), report.last_seq))
    await comparison.add(_batch(engine.take(), report.last_seq))
    for found in await comparison.differences(*span):
        report.tables.append(TableReport(found.name, found.rows, found.differences, found.removed))
        report.examples += found.examples
    return report


def _batch(rows: Rows, seq: int) -> Batch:
    """Derived rows as a sink would get them."""
    return Batch(
        "", 0, seq, 0, rows.equity, rows.indicators, rows.gaps, rows.events, rows.values, rows.options, rows.images,
        rows.contracts, rows.following,
    )  # fmt: skip
