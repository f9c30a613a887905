"""The REST sink against whatever Supabase may answer: no row lost, none twice, and a person is told what it is."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import socket
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from tests.contract import test_option_sink as option_rows
from tests.contract import test_sink as rows
from tests.contract.conftest import postgres_sink
from tests.supabase.misfortunes import DROPPED_AFTER, DROPPED_BEFORE, SURVIVED, Fault, page, raised, said
from tests.supabase.server import PUBLISHABLE_KEY, SECRET_KEY, Project, legacy_key

from alphakite.cli import health, status
from alphakite.cli.export import TABLES, select, write_table
from alphakite.config import load
from alphakite.errors import AlphakiteError, ConfigError, FatalError, TransientError, UnavailableError
from alphakite.model import Batch, EquityRow, GapRow, IndicatorRow, Metrics, QualityEvent
from alphakite.store import migrate, rest, rest_faults, rest_payload
from alphakite.store.rest import RestSink
from alphakite.store.rest_faults import Away

JOURNAL = rows.JOURNAL
KINDS = [
    *SURVIVED,
    said(402, None, "exceed_db_size_quota"),
    said(403, "42501", "permission denied for table journals"),
    said(500, "21000", "ON CONFLICT DO UPDATE command cannot affect row a second time"),
    said(540, None, "Project paused"),
    raised("22003"),
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """States of hours and days last a moment here."""
    for name in ("QUOTA_WAIT_S", "PAUSED_WAIT_S", "THROTTLED_WAIT_S"):
        monkeypatch.setattr(rest_faults, name, 0.02)
    monkeypatch.setattr(rest, "LEAST_PART_BYTES", 200)


def batches(count: int) -> list[Batch]:
    """Of every table something, now and then; texts that JSON and PostgreSQL must agree on."""
    made = []
    for at in range(count):
        one = rows.with_values(3 * at, 3 * at + 3)
        options = option_rows.batch(3 * at, 3 * at + 3)
        one.options, one.images, one.contracts, one.following = (
            options.options, options.images, options.contracts, options.following,
        )  # fmt: skip
        one.last_ts_us = options.last_ts_us
        one.gaps = [GapRow("QQQ", rows.START_US + at // 2, None if at % 2 else rows.START_US + at, "silence", at)]
        one.events = [QualityEvent("$SPX", rows.START_US, "status", 'a\\u0000 "b"\0 – 漢\n\\', 3 * at + 1, 0)]
        made.append(one)
    made[0].equity.append(EquityRow("BRK/B", rows.START_US, 999_999_999_999_999_999, 2**62, 65, 1, 2**61, 7))
    made[0].indicators.append(IndicatorRow("$SPX", rows.START_US + 1, 10**17, -5_000_000, 0))
    return made


async def stored(sink: RestSink, batch: Batch) -> RestSink:
    """Written as the drain does it: again while it is away; what stops the service, a new one takes up."""
    while True:
        try:
            if not sink.journal_no:
                await sink.open(batch.journal_id)
            await sink.write(batch)
            return sink
        except UnavailableError:
            await asyncio.sleep(0.005)
        except AlphakiteError:
            await sink.close()
            sink = RestSink(str(sink._client.base_url), SECRET_KEY, clock_mode="system")


async def exports(dsn: str, folder: Path) -> dict[str, bytes]:
    """What `alphakite export` writes of each table."""
    settings = load(environ={"DATABASE_URL": dsn, "DATA_DIR": str(folder)})
    found = {}
    for table in TABLES:
        sql, values = select(table, None, None, None)
        await write_table(settings, sql, values, "csv", str(folder / "out.csv"))
        found[table] = (folder / "out.csv").read_bytes()
    return found


async def test_fifty_faults(project: Project, other_url: str, tmp_path: Path) -> None:
    """Each kind of fault once and many twice, one on nearly each batch: exports are byte for byte PostgresSink's."""
    project.faults = KINDS + [fault for fault in KINDS if fault.after or fault.drop or fault.sql] * 2
    assert len(project.faults) >= 50 and len({fault.name for fault in project.faults}) >= 10
    given = batches(60)
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system")
    for batch in given:
        sink = await stored(sink, batch)
    assert project.faults == [], "all of them happened"
    assert project.most_in_flight == 1
    await sink.close()
    plain = postgres_sink(other_url)
    await plain.open(JOURNAL)
    for batch in given:
        assert await plain.write(batch) == 0
    await plain.close()
    ours, theirs = await exports(project.dsn, tmp_path), await exports(other_url, tmp_path)
    for table in TABLES:
        assert ours[table] == theirs[table], table
    assert ours["equity_data"].count(b"\n") == 60 * 3 + 2
    reader = await asyncpg.connect(project.dsn)
    row = await reader.fetchrow("select * from store.journals")
    assert (row["committed_seq"], row["duplicates"]) == (180, 0)
    assert await reader.fetchval("select count(*) from store.batch_parts") == 0
    await reader.close()


@pytest.mark.parametrize("fault", [DROPPED_BEFORE, DROPPED_AFTER, page(502, after=True), raised("40001")])
@pytest.mark.parametrize("path", ["recorder_part", "recorder_write", "recorder_define", "recorder_open"])
async def test_a_large_batch_in_parts(project: Project, fault: Fault, path: str) -> None:
    """Whatever breaks on the way: nothing is seen before the last call, each row is there once, no duplicates."""
    sink = RestSink(project.url, SECRET_KEY, clock_mode="feed", part_bytes=4_000)
    reader = await asyncpg.connect(project.dsn)
    project.faults = [dataclasses.replace(fault, path=path)]
    batch = batches(20)[0]
    batch.last_seq = 60
    for other in batches(20)[1:]:
        batch.equity += other.equity
        batch.values += other.values
        batch.options += other.options
    sink = await stored(sink, batch)
    assert project.faults == []
    assert sum("recorder_part" in path for _, path, _ in project.requests) >= 3
    assert all(size < 6_000 for _, _, size in project.requests)
    assert await reader.fetchval("select count(*) from store.equity_data") == 61
    assert tuple(await reader.fetchrow("select committed_seq, duplicates from store.journals")) == (60, 0)
    assert await reader.fetchval("select count(*) from store.batch_parts") == 0
    await sink.close()
    await reader.close()


async def test_the_gateway_takes_less(project: Project) -> None:
    """413: parts are halved until they pass, and stay so."""
    project.max_bytes = 5_000
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system")
    await sink.open(JOURNAL)
    batch = rows.batch(0, 2_000)
    assert await sink.write(batch) == 0
    reader = await asyncpg.connect(project.dsn)
    assert await reader.fetchval("select count(*) from store.equity_data") == 2_000
    refused = sum(size > 5_000 for _, _, size in project.requests)
    assert await sink.write(rows.batch(2_000, 4_000)) == 0
    assert sum(size > 5_000 for _, _, size in project.requests) == refused
    await reader.close()
    await sink.close()


async def test_half_a_batch_is_not_seen(project: Project) -> None:
    """Pieces alone store nothing, and the next start throws them away; another cut of the rows is stored as it is."""
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system", part_bytes=1_000)
    await sink.open(JOURNAL)
    project.faults = [DROPPED_BEFORE]
    with pytest.raises(TransientError):
        await sink.write(rows.batch(0, 300))
    reader = await asyncpg.connect(project.dsn)
    assert await reader.fetchval("select count(*) from store.batch_parts") > 1
    assert await reader.fetchval("select count(*) from store.equity_data") == 0
    again = RestSink(project.url, legacy_key(), clock_mode="system")
    assert await again.open(JOURNAL) == 0
    assert await again.write(rows.batch(0, 10)) == 0
    assert await reader.fetchval("select count(*) from store.batch_parts") == 0
    assert await reader.fetchval("select count(*) from store.equity_data") == 10
    for one in (sink, again):
        await one.close()
    await reader.close()


async def test_keys(project: Project) -> None:
    """Both kinds of the service role's serve; others are refused before they can read or write anything."""
    for key in (SECRET_KEY, legacy_key()):
        sink = RestSink(project.url, key, clock_mode="system")
        await sink.open(str(uuid.uuid4()))
        await sink.write_metrics(Metrics(None, 1, 0, "streaming"))
        await sink.refresh_stats()
        await sink.close()
    for key in (PUBLISHABLE_KEY, legacy_key("anon"), "sb_secret_wrong", "nonsense"):
        sink = RestSink(project.url, key, clock_mode="system")
        with pytest.raises(ConfigError) as error:
            await sink.open(JOURNAL)
        assert "SUPABASE_SERVICE_ROLE_KEY" in error.value.next_step
        assert key not in f"{error.value} {error.value.next_step}"
        await sink.close()


@pytest.mark.parametrize(
    "change",
    [
        "drop function public.recorder_open",
        "create or replace function store.schema_version() returns text language sql as $$ select '20261125000000' $$",
    ],
)
async def test_a_missing_or_old_schema(project: Project, change: str) -> None:
    """A service key cannot migrate: which command prints what is to be pasted where."""
    reader = await asyncpg.connect(project.dsn)
    await reader.execute(change)
    await reader.close()
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system")
    with pytest.raises(ConfigError) as error:
        await sink.open(JOURNAL)
    assert "alphakite migrate --sql" in error.value.next_step and "SQL editor" in error.value.next_step
    await sink.close()


async def test_patience(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over quota: it says so at each try, and asks no more until the time is over."""
    monkeypatch.setattr(rest_faults, "QUOTA_WAIT_S", 900.0)
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system")
    await sink.open(JOURNAL)
    assert await sink.write(rows.batch(0, 1)) == 0
    project.faults = [said(402, None, "exceed_db_size_quota")]
    asked = len(project.requests) + 1
    for _ in range(3):
        with pytest.raises(Away, match=r"over its quota.*\[over_quota\]$"):
            await sink.write(rows.batch(1, 2))
    assert len(project.requests) == asked
    await sink.close()


@pytest.mark.parametrize(
    ("status", "body", "kind", "state"),
    [
        (401, b'{"message":"Invalid API key"}', Away, "key_refused"),
        (402, b'{"message":"exceed_egress_quota"}', Away, "over_quota"),
        (403, b'{"code":"42501","message":"permission denied"}', Away, "no_rights"),
        (404, b'{"code":"PGRST202","message":"no function"}', Away, "schema"),
        (404, b'{"code":"42P01","message":"relation does not exist"}', ConfigError, ""),
        (405, b'{"code":"25006","message":"read-only"}', Away, "read_only"),
        (406, b'{"code":"PGRST106","message":"Invalid schema"}', Away, "schema"),
        (409, b'{"code":"23505","message":"duplicate key"}', Away, "database_down"),
        (413, b"<html>", Away, "too_large"),
        (429, b"", Away, "throttled"),
        (500, b'{"code":"21000","message":"twice"}', FatalError, ""),
        (500, b'{"code":"57014","message":"timeout"}', Away, "timeout"),
        (500, b"<html>", Away, "gateway"),
        (503, b'{"code":"PGRST002","message":"schema cache"}', Away, "database_down"),
        (504, b'{"code":"PGRST003","message":"pool"}', Away, "database_down"),
        (522, b"<html>", Away, "gateway"),
        (540, b'{"message":"Project paused"}', Away, "paused"),
        (544, b"{}", Away, "timeout"),
        (400, b'{"code":"PGRST102","message":"Empty or invalid json"}', FatalError, ""),
        (200, b"<html>", Away, "gateway"),
    ],
)
def test_each_status(status: int, body: bytes, kind: type[AlphakiteError], state: str) -> None:
    """Whose business it is, and in which word the status page says it."""
    error = rest_faults.by_answer(status, body, {}, served=True)
    assert type(error) is kind or (kind is Away and isinstance(error, Away))
    assert getattr(error, "state", "") == state
    if state:
        assert str(error).endswith(f"[{state}]")


def test_pieces_are_the_whole() -> None:
    """Wherever it is cut, no character is torn."""
    packed = 'a–漢"🙂\\'.encode() * 50
    for limit in range(1, 40):
        assert "".join(rest_payload.pieces(packed, limit)).encode() == packed


def test_what_a_double_cannot_hold_is_a_string() -> None:
    """A reader of doubles between us and the database changes no digit."""
    made: dict[str, Any] = msgspec.json.decode(
        rest_payload.encode(
            batches(1)[0],
            {"ema21 value": 1, "macd line": 2, "macd signal": 3},
            {"digest of model": 1, "digest of schwab": 2},
        )
    )
    assert made["equity"]["price"][-1] == "999999999999999999"
    assert made["equity"]["seq"][-1] == str(2**61)
    assert made["equity"]["price"][0] == (16_742_000_000 + (rows.START_US + 1_000_000) % 7)


async def test_status_and_health_ask_by_rest(project: Project, tmp_path: Path) -> None:
    """They answer without DATABASE_URL; what needs SQL says so, and what to set."""
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system")
    await sink.open(JOURNAL)
    await sink.write(rows.batch(0, 2))
    await sink.close()
    environ = {"SUPABASE_URL": project.url + "/rest/v1/", "SUPABASE_SERVICE_ROLE_KEY": SECRET_KEY}
    settings = load(environ=environ | {"DATA_DIR": str(tmp_path)})
    found = await asyncio.to_thread(status.collect, settings)
    assert (found["database"]["reachable"], found["database"]["open_gaps"]) == (True, 0)
    (row,) = await asyncio.to_thread(health.ask_database, settings, ("QQQ",))
    assert row["last_data_at"] == "2023-11-14T22:13:22Z"
    with pytest.raises(ConfigError) as error:
        await write_table(settings, "select 1", [], "csv", str(tmp_path / "out.csv"))
    assert "DATABASE_URL" in error.value.next_step
    assert not list(tmp_path.iterdir()), "no embedded database was made"


@pytest.mark.parametrize("first", ["", "update store.journals set updated_at = now() where true; "])
async def test_an_answer_that_comes_too_late(project: Project, first: str) -> None:
    """We gave up, the transaction did not: whether it or our second try is first, the batch is stored once."""
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system")
    await sink.open(JOURNAL)
    await sink.write(rows.batch(0, 1))
    project.faults = [Fault("late", sql=f"{first}select pg_sleep(1.5)")]
    sink._client.timeout = httpx.Timeout(0.5)
    with pytest.raises(Away, match=r"\[timeout\]$"):
        await sink.write(rows.batch(1, 3))
    sink._client.timeout = httpx.Timeout(30)
    await stored(sink, rows.batch(1, 3))
    await stored(sink, rows.batch(3, 4))
    reader = await asyncpg.connect(project.dsn)
    async with asyncio.timeout(10):
        while project.in_flight:  # noqa: ASYNC110 - a server in this loop, polled with a deadline
            await asyncio.sleep(0.01)
    assert await reader.fetchval("select count(*) from store.equity_data") == 4
    assert tuple(await reader.fetchrow("select committed_seq, duplicates from store.journals")) == (4, 0)
    await reader.close()
    await sink.close()


async def test_nobody_there() -> None:
    """A network that is down when the recorder starts is Away, so that it records."""
    with contextlib.closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    sink = RestSink(url, SECRET_KEY, clock_mode="system")
    with pytest.raises(Away, match=r"\[unreachable\]$"):
        await sink.open(JOURNAL)
    await sink.close()


def test_each_change_says_which_rows() -> None:
    """Supabase's API loads safeupdate, which refuses an UPDATE or a DELETE without a WHERE, in functions too."""
    sql = next(one.sql for one in migrate.migrations() if one.version == "20261126000000")
    changes = re.findall(r"\n\s*(?:update|delete from) store\.[^;]*;", sql)
    assert len(changes) >= 5
    assert all("where" in one for one in changes)
