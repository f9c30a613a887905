"""How much smaller a lively day of options, a day of metrics and one of an equity would be in another form.

Each form is made from the same partition in the same order, its indexes anew. An index that is made anew is smaller
than one that was filled row by row, so compare forms with "indexes made anew"; ratios are to what the sink left.
Nothing of the schema changes.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from bench.report import table

KEY = "option_symbol, timestamp, journal_no, seq, item"
MODEL = "iv_model, delta_model, gamma_model, theta_model, vega_model, rho_model, iv_half_width, forward"
GREEKS = "implied_volatility, delta, gamma, theta, vega, rho"
PRICES = "bid, ask, last"
COUNTS = "bid_size, ask_size, volume, day_volume, open_interest"
WIDE = "timestamp, volume, day_volume, open_interest, seq, bid_size, ask_size, expiration_date, journal_no, item"
WORDS = "ticker, option_type, option_symbol, strike_price"
TIGHT = f"{WIDE}, flags, model_def, {WORDS}, {PRICES}, {GREEKS}, {MODEL}, model_reason"
CONTRACT = "hashtext(option_symbol) as contract_id"


def _as(columns: str, type_: str) -> str:
    return ", ".join(f"{one}::{type_}" for one in columns.split(", "))


USUAL_INDEXES = (
    "create unique index on {t} (" + KEY + ")",
    "create index on {t} (ticker, timestamp)",
    "create index on {t} (option_symbol, timestamp) where model_def is not null",
    "create index on {t} (ticker, timestamp) include (expiration_date, option_type, volume) where volume > 0",
)
SHORT_KEY = "create unique index on {t} (option_symbol, timestamp)"
BY_NUMBER = (
    "create unique index on {t} (contract_id, timestamp)",
    "create index on {t} (timestamp)",
    "create index on {t} (contract_id, timestamp) where model_def is not null",
    "create index on {t} (timestamp) include (contract_id, volume) where volume > 0",
)
FORMS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("indexes made anew", "*", USUAL_INDEXES),
    ("columns ordered without padding", TIGHT, USUAL_INDEXES),
    ("key of symbol and second alone", "*", (SHORT_KEY, *USUAL_INDEXES[1:])),
    ("without the index by ticker and time", "*", (USUAL_INDEXES[0], *USUAL_INDEXES[2:])),
    ("primary key alone", "*", USUAL_INDEXES[:1]),
    (
        "contract as a number, as one narrow key",
        f"timestamp, {COUNTS}, {CONTRACT}, flags, model_def, {PRICES}, {GREEKS}, {MODEL}, model_reason",
        BY_NUMBER,
    ),
    (
        "the same, key alone",
        f"timestamp, {COUNTS}, {CONTRACT}, flags, model_def, {PRICES}, {GREEKS}, {MODEL}, model_reason",
        BY_NUMBER[:1],
    ),
    (
        "the same, greeks as float4, prices in 1/10,000 as integer",
        f"timestamp, day_volume::integer, volume::integer, open_interest::integer, bid_size, ask_size, {CONTRACT},"
        f" flags, model_def, (bid * 10000)::integer, (ask * 10000)::integer, (last * 10000)::integer,"
        f" {_as(GREEKS, 'real')}, {_as(MODEL, 'real')}, model_reason",
        BY_NUMBER[:1],
    ),
)
METRICS_FORMS = (
    ("copied", "*"),
    ("details as text", "id, timestamp, records_processed, error_count, service_status, details::text"),
    ("without details", "id, timestamp, records_processed, error_count, service_status"),
)
BY_ID = ("create unique index on {t} (timestamp, id)",)
EQUITY_KEY = "create unique index on {t} (ticker, timestamp, journal_no, seq, item)"
SHORT_EQUITY_KEY = "create unique index on {t} (ticker, timestamp)"
BOTH = (
    "select e.timestamp, e.volume, e.flags, i.flags as indicator_flags, e.ticker, e.price, i.sma9, i.vwap{rest}"
    " from {equity} e join {indicators} i using (ticker, timestamp) order by e.timestamp"
)
BY_TIME = "create index on {t} (timestamp)"
EQUITY_FORMS = (
    ("one table of both, key and index by time as now", ", e.journal_no, e.seq, e.item", (EQUITY_KEY, BY_TIME)),
    ("one table of both, key of ticker and second", "", (SHORT_EQUITY_KEY, BY_TIME)),
    ("the same, no index by time", "", (SHORT_EQUITY_KEY,)),
)


class Form(msgspec.Struct, frozen=True):
    """A table as a query makes it. `of`: the partitions that it would replace."""

    name: str
    query: str
    indexes: tuple[str, ...]
    of: tuple[str, ...]


def _forms(options: str, metrics: str, equity: str, indicators: str) -> list[Form]:
    found = [Form(f"options: {name}", _select(columns, options), made, (options,)) for name, columns, made in FORMS]
    found += [Form(f"metrics: {name}", _select(columns, metrics), BY_ID, (metrics,)) for name, columns in METRICS_FORMS]
    for name, rest, made in EQUITY_FORMS:
        query = BOTH.format(rest=rest, equity=equity, indicators=indicators)
        found.append(Form(f"equity and indicators: {name}", query, made, (equity, indicators)))
    return found


async def measure(connection: Any, option_day: date, other_day: date) -> list[dict[str, Any]]:
    """Bytes a row of each form, heap and indexes, beside what the sink left of the same rows."""
    names = [("option_prices", option_day), ("streaming_metrics", other_day), ("equity_data", other_day)]
    names.append(("indicators", other_day))
    options, metrics, equity, indicators = (f'store_private."{parent}_{day:%Y%m%d}"' for parent, day in names)
    found: list[dict[str, Any]] = []
    await connection.execute("create schema if not exists bench")
    filled: tuple[str, ...] = ()
    base = 1.0
    for form in _forms(options, metrics, equity, indicators):
        await connection.execute("drop table if exists bench.form")
        await connection.execute(f"create table bench.form as {form.query}")
        for index in form.indexes:
            await connection.execute(index.format(t="bench.form"))
        rows = await connection.fetchval("select count(*) from bench.form")
        if form.of != filled:
            filled = form.of
            heap, indexes = await _sizes(connection, filled, rows)
            base = heap + indexes
            name = form.name.partition(":")[0]
            found.append({"form": f"{name}: as the sink leaves them", "heap": heap, "indexes": indexes, "ratio": 1.0})
        heap, indexes = await _sizes(connection, ("bench.form",), rows)
        found.append({"form": form.name, "heap": heap, "indexes": indexes, "ratio": (heap + indexes) / base})
    await connection.execute("drop schema bench cascade")
    return found


async def _sizes(connection: Any, tables: tuple[str, ...], rows: int) -> tuple[float, float]:
    """Bytes a row, all tables together: with TOAST and maps, and of indexes."""
    row = await connection.fetchrow(
        "select sum(pg_table_size(t::regclass))::bigint as heap, sum(pg_indexes_size(t::regclass))::bigint as indexes"
        " from unnest($1::text[]) t",
        list(tables),
    )
    return row["heap"] / rows, row["indexes"] / rows


def shown(figures: list[dict[str, Any]]) -> str:
    """The table."""
    return table(
        "Other forms of the same rows, bytes a row",
        ("", "heap", "indexes", "all", "ratio"),
        [(one["form"], one["heap"], one["indexes"], one["heap"] + one["indexes"], one["ratio"]) for one in figures],
    )


def _select(columns: str, source: str) -> str:
    """Every expression gets a name of its own."""
    if columns == "*":
        return f"select * from {source}"
    listed = ", ".join(
        part if ("::" not in part and "(" not in part) or " as " in part else f"{part} as c{at}"
        for at, part in enumerate(columns.split(", "))
    )
    return f"select {listed} from {source}"
