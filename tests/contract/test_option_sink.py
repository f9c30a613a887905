"""What a sink promises of options: exact values, once, in the same transaction, and comparable with a derivation."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest_asyncio
from tests.contract.conftest import Maker

from alphakite.model import (
    Batch,
    ContractRow,
    EquityRow,
    FollowingRow,
    ModelDefinition,
    ModelValues,
    OptionRow,
)
from alphakite.recorder.drain import Sink
from alphakite.store.compare import Comparison

D = Decimal
JOURNAL = str(uuid.UUID(int=7))
START_US = 1_795_530_600_000_000
"""2026-11-24 14:30 UTC."""
EXPIRY = date(2026, 11, 24)
CALL, PUT = "QQQ   261124C00600500", "QQQ   261124P00600500"
MODEL = ModelDefinition("model", "act365_sec", 0.04, 0.005, "digest of model")
SCHWAB = ModelDefinition("schwab", "schwab_weekday", 0.04, 0.0, "digest of schwab")


def moment(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def option(second: int, symbol: str = CALL, model: ModelValues | None = None, **changed: object) -> OptionRow:
    """A row of second `second`."""
    row = OptionRow(
        "QQQ", START_US + second * 1_000_000, symbol, symbol[12], 60_050_000_000, EXPIRY, 123_000_000, 125_000_000,
        124_500_000, 10, 20, 3, 500, 1000, 1_812_345_600, 51_234_000, 3_120_000, -41_000_000, 11_000_000, 2_000_000, 0,
        model,
    )  # fmt: skip
    return msgspec.structs.replace(row, **changed)


VALUES = ModelValues(MODEL, "", 18_123_457, -51_000_000, 1, -4_100_000_000, 0, 123, 45_678, 60_012_345_678)
ABSENT = ModelValues(SCHWAB, "no_bid", forward=60_000_000_000)
CONTRACT = ContractRow(
    CALL, START_US, "QQQ", "QQQ", "C", 60_050_000_000, EXPIRY, "P", "A", "W", 100, False, False, 1_795_554_900_000
)
CHANGE = FollowingRow("QQQ", START_US, "recentred", (EXPIRY, date(2026, 11, 25)), (CALL, PUT), (), "up 3", 5, 0)


def batch(after: int, last: int, *, journal: str = JOURNAL, journal_no: int = 1) -> Batch:
    """A second a record, call and put in it; images, definitions and changes with the first."""
    made = Batch(journal, after, last, START_US + last * 1_000_000)
    for seq in range(after + 1, last + 1):
        made.options += [option(seq, CALL, VALUES if seq % 2 else None), option(seq, PUT, ABSENT)]
    if after == 0:
        image = option(0, volume=None, flags=256, journal_no=journal_no, seq=1)
        made.images = [image, msgspec.structs.replace(image, symbol=PUT, right="P", item=1)]
        made.contracts = [CONTRACT, msgspec.structs.replace(CONTRACT, symbol=PUT, right="P", settlement="")]
        made.following = [CHANGE, msgspec.structs.replace(CHANGE, item=1, expiries=(), added=(), reason="ended")]
    return made


@pytest_asyncio.fixture
async def reader(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def sink(database_url: str, sink_of: Maker) -> AsyncIterator[Sink]:
    made = sink_of(database_url)
    await made.open(JOURNAL)
    yield made
    await made.close()


async def test_values_read_as_they_were(sink: Sink, reader: Any) -> None:
    """Exact decimals of vendor and model, dates, sizes, flags in words; what is absent is NULL."""
    assert await sink.write(batch(0, 1)) == 0
    rows = await reader.fetch(
        "select *, vega::text shown, vega_model::text eight from public.option_prices order by 20"
    )
    call, put = rows
    assert (call["ticker"], call["timestamp"], call["option_type"]) == ("QQQ", moment(START_US + 1_000_000), "CALL")
    assert (call["strike_price"], call["expiration_date"], call["option_symbol"]) == (D("600.5"), EXPIRY, CALL)
    assert (call["bid"], call["ask"], call["last"]) == (D("1.23"), D("1.25"), D("1.245"))
    assert [call[name] for name in ("bid_size", "ask_size", "volume", "day_volume", "open_interest")] == [
        10, 20, 3, 500, 1000,
    ]  # fmt: skip
    assert [call[name] for name in ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")] == [
        D("0.18123456"), D("0.51234"), D("0.0312"), D("-0.41"), D("0.11"), D("0.02"),
    ]  # fmt: skip
    assert [call[f"{name}_model"] for name in ("iv", "delta", "gamma", "theta", "vega", "rho")] == [
        D("0.18123457"), D("-0.51"), D("1E-8"), D(-41), D(0), D("0.00000123"),
    ]  # fmt: skip
    assert (call["iv_half_width"], call["forward"], call["model_reason"]) == (D("0.00045678"), D("600.12345678"), None)
    assert (call["shown"], call["eight"], call["flags"]) == ("0.11", "0.00000000", None)
    assert (put["iv_model"], put["forward"], put["model_reason"]) == (None, D(600), "no_bid")
    definitions = await reader.fetch("select * from public.model_definitions order by id")
    assert [tuple(row) for row in definitions] == [
        (call["model_def"], "model", "act365_sec", D("0.04"), D("0.005"), "digest of model"),
        (put["model_def"], "schwab", "schwab_weekday", D("0.04"), D(0), "digest of schwab"),
    ]
    images = await reader.fetch("select * from public.option_images order by option_symbol")
    assert [(row["option_symbol"], row["volume"], row["day_volume"], row["flags"], row["seq"]) for row in images] == [
        (CALL, None, 500, "absent:quote", 1),
        (PUT, None, 500, "absent:quote", 1),
    ]
    contract = await reader.fetchrow("select * from public.option_contracts where option_symbol = $1", CALL)
    assert tuple(contract) == (
        CALL, moment(START_US), "QQQ", "QQQ", "CALL", D("600.5"), EXPIRY, "P", "A", "W", 100, False, False,
        moment(1_795_554_900_000_000), sink.journal_no,
    )  # fmt: skip
    change, ended = await reader.fetch("select * from public.option_following order by item")
    assert (change["expiries"], change["added"], change["removed"]) == ([EXPIRY, date(2026, 11, 25)], [CALL, PUT], [])
    assert (change["reason"], change["detail"], change["journal_no"]) == ("recentred", "up 3", sink.journal_no)
    assert (ended["expiries"], ended["added"], ended["item"]) == ([], [], 1)


async def test_absent_values(sink: Sink, reader: Any) -> None:
    """Each optional value may be NULL by itself."""
    names = OptionRow.__struct_fields__[6:20]
    made = Batch(JOURNAL, 0, 1, START_US)
    made.options = [option(second, **{name: None}) for second, name in enumerate(names)]
    assert await sink.write(made) == 0
    columns = ["implied_volatility" if name == "iv" else name for name in names]
    rows = await reader.fetch(f"select {', '.join(columns)} from public.option_prices order by timestamp")
    assert [[name for name in columns if row[name] is None] for row in rows] == [[name] for name in columns]


async def test_updates_of_one_moment(sink: Sink, reader: Any) -> None:
    """Under OPTION_RESOLUTION=tick a moment has as many rows as updates."""
    made = Batch(JOURNAL, 0, 1, START_US)
    made.options = [option(1, journal_no=1, seq=9, item=item) for item in range(3)]
    assert await sink.write(made) == 0
    assert await reader.fetchval("select array_agg(item order by item) from public.option_prices") == [0, 1, 2]


async def test_where_journals_overlap(sink: Sink, reader: Any, database_url: str, sink_of: Maker) -> None:
    """The first row stays, the others are counted; each journal's images, and what it followed, are its own."""
    await sink.write(batch(0, 2))
    other_id = str(uuid.uuid4())
    other = sink_of(database_url)
    await other.open(other_id)
    second = batch(0, 3, journal=other_id, journal_no=other.journal_no)
    second.options = [msgspec.structs.replace(row, bid=1) for row in second.options]
    assert await other.write(second) == 4 + 2, "four rows, and two definitions of the same moment"
    assert await reader.fetchval("select count(*) from public.option_prices") == 6
    assert await reader.fetchval("select count(*) from public.option_prices where bid = 1.23") == 4
    assert await reader.fetchval("select count(*) from public.option_images") == 4
    assert await reader.fetchval("select count(*) from public.option_following") == 4
    assert await reader.fetchval("select count(*) from public.option_contracts") == 2
    assert await reader.fetchval("select duplicates from store.journals where journal_id = $1", other_id) == 6
    await other.close()


async def test_together_or_not_at_all(database_url: str, reader: Any, sink_of: Maker) -> None:
    """Before COMMIT nothing is in: a sink that dies there leaves no rows and no position; then all of it once."""

    class Died(Exception):
        pass

    def die(step: str) -> None:
        if step == "before_commit" and deaths:
            raise deaths.pop()

    deaths = [Died()]
    sink = sink_of(database_url, die)
    await sink.open(JOURNAL)
    with contextlib.suppress(Died):
        await sink.write(batch(0, 2))
    assert not deaths
    for table in ("option_prices", "option_images", "option_contracts", "option_following"):
        assert await reader.fetchval(f"select count(*) from public.{table}") == 0
    assert await sink.write(batch(0, 2)) == 0
    assert await sink.write(batch(0, 2)) == 0
    assert await reader.fetchval("select count(*) from public.option_prices") == 4
    await sink.close()


async def test_two_sinks_meet_a_new_definition(database_url: str, reader: Any, sink_of: Maker) -> None:
    """At the same time: one id; a later sink finds it again."""
    journals = [str(uuid.uuid4()) for _ in range(4)]
    sinks = [sink_of(database_url) for _ in journals]
    for one, journal in zip(sinks, journals, strict=True):
        await one.open(journal)
    made = []
    for second, journal in enumerate(journals):
        made.append(Batch(journal, 0, 1, START_US, options=[option(second, model=VALUES)]))
    await asyncio.gather(*(one.write(each) for one, each in zip(sinks, made, strict=True)))
    assert await reader.fetchval("select array_agg(distinct model_def) from public.option_prices") == [1]
    assert await reader.fetchval("select array_agg(id) from public.model_definitions") == [1]
    for one in sinks:
        await one.close()


async def compared(reader: Any, sink: Sink, derived: Batch) -> dict[str, tuple[int, int]]:
    """Rows derived and keys that differ, by table of options."""
    comparison = Comparison(reader, sink.journal_no)
    await comparison.prepare()
    await comparison.add(derived)
    found = {one.name: (one.rows, one.differences) for one in await comparison.differences(None, None)}
    for name in found:
        await reader.execute(f"drop table again_{name}")
    assert found.pop("equity_data")[1] == 0
    return {name: one for name, one in found.items() if name.startswith("option_")}


async def test_derived_again(sink: Sink, reader: Any) -> None:
    """Equal, or told: another value, a row that is not stored, one that was not derived."""
    await sink.write(batch(0, 6))
    same = {"option_prices": 12, "option_images": 2, "option_contracts": 2, "option_following": 2}
    assert await compared(reader, sink, batch(0, 6)) == {name: (rows, 0) for name, rows in same.items()}

    other = batch(0, 6)
    other.options[0] = msgspec.structs.replace(other.options[0], model=msgspec.structs.replace(VALUES, rho=124))
    other.options[2] = msgspec.structs.replace(other.options[2], rho=None)
    other.options[4] = msgspec.structs.replace(
        other.options[4], model=msgspec.structs.replace(VALUES, definition=SCHWAB)
    )
    other.images[0] = msgspec.structs.replace(other.images[0], bid=1)
    other.contracts[1] = msgspec.structs.replace(other.contracts[1], multiplier=10)
    other.following[0] = msgspec.structs.replace(other.following[0], added=(CALL,))
    assert {name: count for name, (_, count) in (await compared(reader, sink, other)).items()} == {
        "option_prices": 3, "option_images": 1, "option_contracts": 1, "option_following": 1,
    }  # fmt: skip

    more = batch(0, 6)
    more.options.append(option(3, "QQQ   261124C00601000", strike=60_100_000_000))
    more.images.append(option(0, PUT, journal_no=1, seq=2))
    found = await compared(reader, sink, more)
    assert (found["option_prices"], found["option_images"]) == ((13, 1), (3, 1))


async def test_stored_and_not_derived(sink: Sink, reader: Any) -> None:
    """A contract without a derived row is missed, under whatever ticker; also a whole table. Not another journal's."""
    await sink.write(batch(0, 6))
    less = batch(0, 6)
    less.options = [row for row in less.options if row.symbol == CALL]
    less.images, less.contracts, less.following = [], [], []
    less.equity = [EquityRow("QQQ", START_US + 7_000_000, None, None, 0)]
    await reader.execute(
        "insert into store.equity_data (ticker, timestamp) values ('QQQ', $1)", moment(START_US + 7_000_000)
    )
    await reader.execute(
        "insert into store.option_images (ticker, timestamp, option_type, strike_price, expiration_date, option_symbol,"
        " journal_no) values ('QQQ', $1, 'CALL', 600, $2, $3, 99)",
        moment(START_US),
        EXPIRY,
        CALL,
    )
    assert await compared(reader, sink, less) == {
        "option_prices": (6, 6), "option_images": (0, 2), "option_contracts": (0, 2), "option_following": (0, 2),
    }  # fmt: skip
    await reader.execute("update store.option_prices set ticker = 'OLD' where option_symbol = $1", CALL)
    assert (await compared(reader, sink, batch(0, 6)))["option_prices"] == (12, 6)


async def test_cleaning(sink: Sink, reader: Any) -> None:
    """Rows and images older than so many days; definitions stay."""
    old = batch(0, 2)
    back_us = 40 * 86_400_000_000
    old.options = [msgspec.structs.replace(row, timestamp_us=row.timestamp_us - back_us) for row in old.options]
    old.images = [msgspec.structs.replace(row, timestamp_us=row.timestamp_us - back_us) for row in old.images]
    await sink.write(old)
    await reader.execute("update store.service_clock set mode = 'feed', last_ts = $1", moment(START_US))
    assert await reader.fetchval("select public.cleanup_old_option_prices(50)") == 0
    assert await reader.fetchval("select public.cleanup_old_option_prices()") == 6
    assert await reader.fetchval("select public.cleanup_old_option_following()") == 0
    await reader.execute("update store.service_clock set mode = 'feed', last_ts = $1", moment(START_US + 1_000_000))
    assert await reader.fetchval("select public.cleanup_old_option_following(0)") == 2
    assert await reader.fetchval("select count(*) from public.option_contracts") == 2
