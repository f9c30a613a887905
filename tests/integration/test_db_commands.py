"""db size, forecast, prune and lint as a person or a script calls them: by SQL, and by Supabase's REST alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.supabase.server import SECRET_KEY, Project

from alphakite.cli.main import main
from alphakite.store import embedded, migrate
from alphakite.store.cluster import Endpoint
from alphakite.store.database import connect

Run = Callable[..., Awaitable[tuple[int, str, str]]]
ROLES = Path(__file__).parent.parent / "supabase" / "project.sql"
NOW = "2026-11-24T21:30:00Z"
"""A Tuesday; what stream_now() answers in these tests."""
FILL = (
    "truncate store.equity_data, store.option_prices, store.streaming_metrics, store.removed_days restart identity",
    "select store.drop_days('equity_data', '2027-01-01'), store.drop_days('option_prices', '2027-01-01'),"
    " store.drop_days('streaming_metrics', '2027-01-01')",
    "delete from store.removed_days",
    "select store.ensure_partitions(day, day, '{equity_data,option_prices}')"
    " from unnest('{2026-08-25,2026-08-26,2026-11-18,2026-11-19,2026-11-20,2026-11-23,2026-11-24}'::date[]) day",
    "insert into store.equity_data (ticker, timestamp, price)"
    " select 'QQQ', at + i * interval '1 second', 1 from unnest(array['2026-08-25 14:00Z', '2026-08-26 14:00Z',"
    " '2026-11-18 14:00Z', '2026-11-19 14:00Z', '2026-11-20 14:00Z', '2026-11-23 14:00Z', '2026-11-24 14:00Z',"
    " '2026-08-20 14:00Z']::timestamptz[]) at, generate_series(1, 1000) i",
    f"update store.service_clock set mode = 'feed', last_ts = '{NOW}'",
)
"""1000 rows a day; those of 2026-08-20 lie in the default partition."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Endpoint]]:
    """A data folder's own database that looks like Supabase's, too."""
    data = tmp_path_factory.mktemp("db") / "data"

    async def prepare(dsn: str) -> None:
        connection = await connect(dsn)
        await connection.execute("alter system set fsync = off")
        await connection.execute(ROLES.read_text(encoding="utf-8"))
        await migrate.apply(connection)
        await connection.close()

    with embedded.lease(data) as endpoint:
        asyncio.run(prepare(endpoint.dsn))
        yield data, endpoint


@pytest_asyncio.fixture
async def reader(server: tuple[Path, Endpoint]) -> AsyncIterator[Any]:
    """A connection to the database, filled."""
    connection = await connect(server[1].dsn)
    for statement in FILL:
        await connection.execute(statement)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(params=["embedded", "url", "rest"])
async def run(
    request: pytest.FixtureRequest,
    server: tuple[Path, Endpoint],
    reader: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Run]:
    """Calls the command in a thread: exit code, stdout, stderr."""
    data, endpoint = server

    async def call(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*words, "--data", str(data)])
        said = capsys.readouterr()
        return code, said.out, said.err

    async with contextlib.AsyncExitStack() as stack:
        if request.param == "url":
            monkeypatch.setenv("DATABASE_URL", endpoint.dsn)
        elif request.param == "rest":
            project = await stack.enter_async_context(Project(endpoint.dsn).running())
            monkeypatch.setenv("SUPABASE_URL", project.url)
            monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", SECRET_KEY)
        yield call


async def test_size(run: Run, reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By table: bytes, days, the oldest and the newest; of the limit, if there is one."""
    monkeypatch.setenv("DATABASE_MAX_MB", "100")
    found = json.loads((await run("db", "size", "--json"))[1])
    assert (found["schema"], found["limit_bytes"]) == (1, 100_000_000)
    assert found["share"] == round(found["bytes"] / 100_000_000, 4)
    assert found["bytes"] == pytest.approx(
        await reader.fetchval("select pg_database_size(current_database())"), rel=0.2
    )
    tables = {one["table"]: one for one in found["tables"]}
    assert len(tables) == 6
    equity = tables["equity_data"]
    assert (equity["days"], equity["oldest"], equity["newest"]) == (7, "2026-08-25", "2026-11-24")
    assert 0 < equity["beside_bytes"] < equity["bytes"]
    assert tables["indicators"]["days"] == 0
    assert tables["indicators"]["oldest"] is None
    assert found["other_bytes"] + sum(one["bytes"] for one in tables.values()) == found["bytes"]
    code, out, _ = await run("db", "size")
    assert code == 0
    assert "equity_data" in out and "2026-08-25" in out and "% of 100 MB" in out
    monkeypatch.setenv("DATABASE_MAX_MB", "0")
    assert "no limit is set" in (await run("db", "size"))[1]
    assert json.loads((await run("db", "size", "--json"))[1])["share"] is None


async def test_forecast(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's bytes, the days that go, and the day it is full; or that it levels off."""
    monkeypatch.setenv("DATABASE_MAX_MB", "1000")
    code, out, _ = await run("db", "forecast", "--json")
    found = json.loads(out)
    assert (code, found["schema"], found["known"]) == (0, 1, "from 5 sessions")
    assert found["stops_at_bytes"] == 950_000_000
    tables = {one["table"]: one for one in found["tables"]}
    assert found["bytes_per_session"] == sum(one["bytes_per_session"] or 0 for one in tables.values())
    equity = tables["equity_data"]
    assert (equity["kept_days"], equity["oldest"], equity["oldest_goes_on"]) == (90, "2026-08-25", "2026-11-24")
    assert found["full_on"] is None
    assert found["bytes"] < found["steady_bytes"] < 950_000_000
    text = (await run("db", "forecast"))[1]
    assert "a session adds" in text and "never full" in text
    for name in ("EQUITY", "INDICATORS", "OPTIONS", "METRICS"):
        monkeypatch.setenv(f"RETENTION_{name}_DAYS", "0")
    monkeypatch.setenv("DATABASE_MAX_MB", "30")
    found = json.loads((await run("db", "forecast", "--json"))[1])
    assert found["full_on"] > "2026-11-24" and found["steady_bytes"] is None
    assert f"full on {found['full_on']}" in (await run("db", "forecast"))[1]
    monkeypatch.setenv("DATABASE_MAX_MB", "1")
    assert "it is full" in (await run("db", "forecast"))[1]
    monkeypatch.setenv("DATABASE_MAX_MB", "0")
    assert "grows for ever" in (await run("db", "forecast"))[1]


async def test_prune_by_retention(run: Run, reader: Any) -> None:
    """What is older than 90 days, default partition and days alike; shown first, then removed and written down."""
    expected = [("2026-08-20", "2026-08-26", 1000, False), ("2026-08-25", "2026-08-26", 1000, True)]
    for words in (("--dry-run",), ()):
        code, out, _ = await run("db", "prune", "--json", "--table", "equity_data", *words)
        found = json.loads(out)
        assert (code, found["schema"], found["dry_run"], found["rows"]) == (0, 1, bool(words), 2000)
        shown = [(one["from"], one["before"], one["rows"], one["bytes"] > 0) for one in found["removed"]]
        assert sorted(shown) == expected
        assert await reader.fetchval("select count(*) from public.equity_data") == (8000 if words else 6000)
        assert await reader.fetchval("select count(*) from public.removed_days") == (0 if words else 2)
    rows = await reader.fetch("select * from public.removed_days order by id")
    assert {row["reason"] for row in rows} == {"retention"}
    assert {row["removed_at"].isoformat() for row in rows} == {"2026-11-24T21:30:00+00:00"}
    assert sum(row["bytes"] for row in rows) == found["bytes"]
    code, out, _ = await run("db", "prune", "--table", "equity_data")
    assert (code, out) == (0, "nothing to remove\n")
    code, out, _ = await run("db", "prune", "--dry-run")
    assert code == 0
    assert "option_prices  2026-08-25" in out and "0 rows would be removed" in out


async def test_prune_keeps_what_is_kept_for_ever(run: Run, reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """RETENTION_…_DAYS=0."""
    monkeypatch.setenv("RETENTION_EQUITY_DAYS", "0")
    assert (await run("db", "prune", "--table", "equity_data"))[1] == "nothing to remove\n"
    assert await reader.fetchval("select count(*) from public.equity_data") == 8000


async def test_prune_before_a_date(run: Run, reader: Any) -> None:
    """Whatever retention says, of the named tables; a day that is not over stays."""
    code, _, err = await run("db", "prune", "--before", "2026-11-20")
    assert code == 2 and "--table" in err
    code, _, err = await run("db", "prune", "--before", "2026-11-25", "--table", "equity_data")
    assert code == 2 and "2026-11-24" in err
    assert (await run("db", "prune", "--before", "soon", "--table", "equity_data"))[0] == 2
    code, out, _ = await run(
        "db", "prune", "--before", "2026-11-20", "--table", "equity_data", "--table", "option_prices"
    )
    assert code == 0
    assert "5,000 rows removed" in out and "used again" in out
    assert await reader.fetchval("select min(timestamp)::date::text from public.equity_data") == "2026-11-20"
    rows = await reader.fetch("select table_name, count(*) n from public.removed_days group by 1 order by 1")
    assert [tuple(row) for row in rows] == [("equity_data", 5), ("option_prices", 4)]
    assert await reader.fetchval("select bool_and(reason = 'asked') from public.removed_days")


async def test_prune_says_what_it_did_before_it_could_not(run: Run, reader: Any, server: tuple[Path, Endpoint]) -> None:
    """Somebody reads a table for long: what was removed of the others is said, and written down."""
    other = await connect(server[1].dsn)
    async with other.transaction():
        await other.fetch("select * from store.option_prices limit 1")
        code, out, err = await run(
            "db", "prune", "--before", "2026-11-20", "--table", "equity_data", "--table", "option_prices"
        )  # fmt: skip
    await other.close()
    assert code == 4 and "lock" in err
    assert "5,000 rows removed" in out
    assert await reader.fetchval("select count(*) from public.removed_days") == 5


async def test_lint(run: Run, reader: Any, request: pytest.FixtureRequest) -> None:
    """No findings; a finding is exit code 1; without SQL it says what it needs."""
    code, out, err = await run("db", "lint")
    if "rest" in request.node.name:
        assert code == 3 and "DATABASE_URL" in err
        return
    assert (code, out) == (0, "no findings\n")
    await reader.execute("create table public.bare (a int)")
    try:
        code, out, _ = await run("db", "lint")
        assert code == 1 and "no_primary_key" in out and "bare" in out
        found = json.loads((await run("db", "lint", "--json"))[1])
        assert found["schema"] == 1
        assert {"level": "INFO", "name": "no_primary_key", "object": "public.bare"} in found["findings"]
    finally:
        await reader.execute("drop table public.bare")


@pytest.mark.parametrize("run", ["rest"], indirect=True)
async def test_the_database_of_a_project_is_not_ours(run: Run) -> None:
    """By its REST interface alone: neither started nor stopped, no DSN, and status asks it."""
    for action in ("start", "stop"):
        code, _, err = await run("db", action)
        assert code == 2 and "Supabase" in err
    code, _, err = await run("db", "url")
    assert code == 3 and "Session pooler" in err
    code, out, _ = await run("db", "status", "--json")
    assert (code, json.loads(out)) == (0, {"schema": 1, "embedded": False, "running": True})
    assert "SUPABASE_URL answers" in (await run("db", "status"))[1]


def test_a_project_that_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Said, without a key in it; exit codes of the contract."""
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", SECRET_KEY)
    for action, code in (("status", 1), ("size", 4), ("forecast", 4), ("prune", 4), ("lint", 3)):
        assert main(["db", action, "--data", str(tmp_path)]) == code, action
        said = capsys.readouterr()
        assert SECRET_KEY not in said.out + said.err
    assert not (tmp_path / "postgres").exists()


def test_each_action_has_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """--help."""
    for action in ("start", "stop", "url", "status", "size", "forecast", "prune", "lint"):
        with pytest.raises(SystemExit) as ended:
            main(["db", action, "--help"])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert "--json" in out and "--env-file" in out and "--data" in out
        assert any(line.endswith(".") for line in out.splitlines())
