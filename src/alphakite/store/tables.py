"""A batch as what the database takes: bytes by table for COPY, columns for statements, definitions for ids.

In:   a Batch, and the ids that its definitions have.      Out:  what postgres.py writes and compare.py compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from alphakite.model import (
    Batch,
    GapRow,
    IndicatorDefinition,
    IndicatorValueRow,
    ModelDefinition,
    OptionRow,
    QualityEvent,
)
from alphakite.store.binary import (
    EQUITY_COLUMNS,
    INDICATOR_COLUMNS,
    VALUE_COLUMNS,
    pack_equity,
    pack_indicators,
    pack_values,
)
from alphakite.store.binary_options import (
    CONTRACT_COLUMNS,
    FOLLOWING_COLUMNS,
    IMAGE_COLUMNS,
    OPTION_COLUMNS,
    pack_contracts,
    pack_following,
    pack_images,
    pack_options,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def packed(
    batch: Batch, journal_no: int, ids: Mapping[str, int], model_ids: Mapping[str, int]
) -> list[tuple[str, tuple[str, ...], bytes]]:
    """Table, columns and COPY bytes, of what the batch has rows of.

    Args: ids, model_ids: by digest of the definitions of custom indicators and of model values.
    """
    found: list[tuple[str, tuple[str, ...], bytes]] = []
    if batch.equity:
        found.append(("equity_data", EQUITY_COLUMNS, pack_equity(batch.equity)))
    if batch.indicators:
        found.append(("indicators", INDICATOR_COLUMNS, pack_indicators(batch.indicators)))
    if batch.values:
        found.append(("indicator_values", VALUE_COLUMNS, pack_values(batch.values, ids)))
    if batch.options:
        found.append(("option_prices", OPTION_COLUMNS, pack_options(batch.options, model_ids)))
    if batch.images:
        found.append(("option_images", IMAGE_COLUMNS, pack_images(batch.images)))
    if batch.contracts:
        found.append(("option_contracts", CONTRACT_COLUMNS, pack_contracts(batch.contracts, journal_no)))
    if batch.following:
        found.append(("option_following", FOLLOWING_COLUMNS, pack_following(batch.following, journal_no)))
    return found


def definitions(values: list[IndicatorValueRow]) -> list[IndicatorDefinition]:
    """Each definition once, in the order of their first rows."""
    return list({row.definition.digest: row.definition for row in values}.values())


def model_definitions(options: Iterable[OptionRow]) -> list[ModelDefinition]:
    """Each definition of model values once, in the order of their first rows."""
    found: dict[str, ModelDefinition] = {}
    for row in options:
        if row.model is not None and row.model.definition.digest not in found:
            found[row.model.definition.digest] = row.model.definition
    return list(found.values())


def model_values(one: ModelDefinition) -> tuple[object, ...]:
    """For MODEL_DEFINITION_SQL: numbers with the decimals that they are written with."""
    return one.convention, one.clock, Decimal(repr(one.rate)), Decimal(repr(one.dividend)), one.digest


def gap_columns(gaps: list[GapRow]) -> tuple[list[Any], ...]:
    """Column by column; of one key the last counts."""
    newest = {(gap.ticker, gap.start_us): gap for gap in gaps}.values()
    return (
        [gap.ticker for gap in newest],
        [instant(gap.start_us) for gap in newest],
        [None if gap.end_us is None else instant(gap.end_us) for gap in newest],
        [gap.reason for gap in newest],
        [gap.volume for gap in newest],
    )


def event_columns(events: list[QualityEvent]) -> tuple[list[Any], ...]:
    return (
        [event.seq for event in events],
        [event.item for event in events],
        [event.ticker for event in events],
        [event.kind for event in events],
        [instant(event.timestamp_us) for event in events],
        [event.detail.replace("\0", "�") for event in events],
    )


def instant(us: int) -> datetime:
    """µs since 1970 as a time, UTC."""
    return EPOCH + timedelta(microseconds=us)
