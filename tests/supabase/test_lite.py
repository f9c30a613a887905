"""@supabase/lite, Supabase's own small PostgREST, on our database: what it and our server of the tests agree on.

It is no reference: OTHERWISE lists where it answers otherwise than PostgREST's source and documents say. What the
recorder writes by goes through it as it is: the sink's promises, directly on this server.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest_asyncio
from tests.contract.conftest import Maker
from tests.contract.test_option_sink import test_derived_again, test_where_journals_overlap
from tests.contract.test_sink import (
    batch,
    reader,
    sink,
    test_a_second_recorder_is_found_out,
    test_custom_values_beside_the_built_in_ones,
    test_gaps_and_events,
    test_overlapping_journals,
    test_rows_and_position_together,
    test_statistics_and_cleaning,
    test_values_read_as_they_were,
)
from tests.supabase.lite import lite
from tests.supabase.programs import needs
from tests.supabase.server import PUBLISHABLE_KEY, SECRET_KEY, Project, legacy_key

from alphakite.recorder.drain import Sink
from alphakite.store.rest import RestSink

__all__ = [
    "reader",
    "sink",
    "test_a_second_recorder_is_found_out",
    "test_custom_values_beside_the_built_in_ones",
    "test_derived_again",
    "test_gaps_and_events",
    "test_overlapping_journals",
    "test_rows_and_position_together",
    "test_statistics_and_cleaning",
    "test_values_read_as_they_were",
    "test_where_journals_overlap",
]
pytestmark = needs("@supabase/lite")
Ask = tuple[str, str, Any, dict[str, str]]
"""Method, path with its query, body (bytes: as it is), headers beside the key's."""
KEYS = {"apikey": SECRET_KEY, "authorization": f"Bearer {SECRET_KEY}"}
ANON = {"apikey": PUBLISHABLE_KEY, "authorization": ""}
OBJECT = {"accept": "application/vnd.pgrst.object+json"}
SHOW, COUNT = {"prefer": "return=representation"}, {"prefer": "count=exact"}
IGNORE, MERGE = {"prefer": "resolution=ignore-duplicates"}, {"prefer": "resolution=merge-duplicates"}
OPEN = {"journal": "6f0b4f04-0000-4000-8000-000000000000", "clock_mode": "system", "needs": "0"}
NOTES = (
    "create table public.notes"
    " (ticker text primary key, said text, n integer, f float8, p numeric(8, 2), at timestamptz);"
    " grant select, insert, update, delete on public.notes to service_role"
)
SAME: list[tuple[Ask, int, object]] = [
    (("GET", "equity_data?select=ticker,price,volume&order=timestamp.desc&limit=1", None, COUNT), 206,
     [{"ticker": "QQQ", "price": 1.5, "volume": 4}]),
    (("GET", "equity_data?select=volume&ticker=in.(QQQ,SPY)&timestamp=gte.2026-11-24T15:00:03Z", None, {}), 200,
     [{"volume": 3}, {"volume": 4}]),
    (("GET", "equity_data?select=volume&flags=not.is.null", None, {}), 200, []),
    (("GET", "equity_data?select=volume&flags=is.null&order=volume.asc&limit=1", None, OBJECT), 200, {"volume": 0}),
    (("GET", "equity_data?ticker=eq.NONE", None, OBJECT), 406, "PGRST116"),
    (("GET", "equity_data?select=nothing", None, {}), 400, "42703"),
    (("GET", "equity_data?nothing=eq.1", None, {}), 400, "42703"),
    (("GET", "equity_data?volume=eq.abc", None, {}), 400, "22P02"),
    (("GET", "nothing", None, {}), 404, "PGRST205"),
    (("GET", "equity_data", None, {"accept-profile": "store"}), 406, "PGRST106"),
    (("POST", "equity_data", [{"ticker": "QQQ"}], {}), 403, "42501"),
    (("POST", "rpc/get_chain", {"ticker": "QQQ", "at": "2026-11-24T15:00:00Z"}, {}), 200, []),
    (("POST", "rpc/recorder_days", {"first": "2026-11-24", "last": "2026-11-24"}, {}), 200, 0),
    (("POST", "rpc/recorder_days", {"first_day": "2026-11-24"}, {}), 404, "PGRST202"),
    (("POST", "rpc/recorder_open", OPEN | {"journal": "no uuid"}, {}), 400, "22P02"),
    (("POST", "rpc/cleanup_old_equity_data", {"days": -1}, {}), 400, "22023"),
    (("POST", "rpc/cleanup_old_equity_data", {"days": 3000}, {}), 200, 0),
    (("POST", "rpc/refresh_equity_data_stats", {}, {}), 204, ""),
    (("POST", "rpc/nothing", {}, {}), 404, "PGRST202"),
    (("POST", "notes", [{"ticker": "A", "said": "x", "n": 1, "f": 1.5, "p": 9, "at": "2026-11-24T15:00Z"}], {}),
     201, ""),
    (("POST", "notes", [{"ticker": "A", "said": "x"}], {}), 409, "23505"),
    (("POST", "notes?on_conflict=ticker", [{"ticker": "A", "said": "y"}], IGNORE), 201, ""),
    (("POST", "notes?on_conflict=ticker", [{"ticker": "A", "said": "y"}], MERGE), 200, ""),
    (("POST", "notes?on_conflict=ticker", [{"ticker": "A", "said": "y"}, {"ticker": "B", "said": "y"}], MERGE),
     201, ""),
    (("POST", "notes?on_conflict=said", [{"ticker": "C", "said": "y"}], MERGE), 400, "42P10"),
    (("POST", "notes", [{"ticker": "D"}, {"said": "z"}], {}), 400, "PGRST102"),
    (("POST", "notes", b"{", {}), 400, "PGRST102"),
    (("POST", "notes", [{"ticker": "E", "none": "z"}], {}), 400, "PGRST204"),
    (("POST", "notes", [{"said": "z"}], {}), 400, "23502"),
    (("POST", "notes", [{"ticker": "E", "n": 10**12}], {}), 400, "22003"),
    (("POST", "notes", [{"ticker": "E", "n": "x"}], {}), 400, "22P02"),
    (("POST", "notes", [{"ticker": "E", "at": "yesterday noon"}], {}), 400, "22007"),
    (("POST", "notes?columns=ticker,said", [{"ticker": "F", "n": 1}, {"ticker": "G", "said": "s"}], {}), 201, ""),
    (("GET", "notes?select=ticker,said,n,f&order=ticker.asc&limit=3&offset=1", None, {}), 200,
     [{"ticker": "B", "said": "y", "n": None, "f": None}, {"ticker": "F", "said": None, "n": None, "f": None},
      {"ticker": "G", "said": "s", "n": None, "f": None}]),
    (("PATCH", "notes?ticker=eq.A", {"said": "new"}, {}), 204, ""),
    (("PATCH", "notes?ticker=eq.Z", {"said": "new"}, SHOW), 200, []),
    (("DELETE", "notes?ticker=eq.B", None, {}), 204, ""),
    (("GET", "equity_data", None, ANON), 401, "42501"),
    (("POST", "rpc/recorder_open", OPEN, ANON), 401, "42501"),
    (("GET", "equity_data", None, {"apikey": "wrong", "authorization": ""}), 401, "Invalid API key"),
    (("GET", "equity_data", None, {"apikey": "", "authorization": ""}), 401, "No API key found in request"),
]  # fmt: skip
"""In this order; each with its status and its body, of an error the code alone."""
OTHERWISE: dict[str, tuple[Ask, tuple[int, object], tuple[int, object]]] = {
    "the form of a timestamp": (
        ("GET", "notes?select=at&ticker=eq.A", None, {}),
        (200, [{"at": "2026-11-24T15:00:00+00:00"}]),
        (200, [{"at": "2026-11-24 15:00:00+00"}]),
    ),
    "numeric as a string": (
        ("GET", "notes?select=p&ticker=eq.A", None, {}),
        (200, [{"p": 9.0}]),
        (200, [{"p": "9.00"}]),
    ),
    "a key twice in one merge": (
        ("POST", "notes?on_conflict=ticker", [{"ticker": "C", "said": "y"}, {"ticker": "C", "said": "z"}], MERGE),
        (500, "21000"),
        (400, "21000"),
    ),
    "a legacy key": (
        ("GET", "equity_data?limit=0", None, {"apikey": legacy_key(), "authorization": f"Bearer {legacy_key()}"}),
        (200, []),
        (401, "Invalid API key"),
    ),
    "more than 65,534 values": (
        ("POST", "notes?columns=ticker,said", [{"ticker": f"T{at}", "said": "x"} for at in range(33_000)], {}),
        (201, ""),
        (500, "SUP"),
    ),
}
"""What is asked, what our server says as PostgREST's source does, what @supabase/lite says."""


async def said(client: httpx.AsyncClient, ask: Ask) -> tuple[int, object]:
    """The status, and the body; of an error its code, or what the gateway says without one."""
    method, path, body, headers = ask
    sent = {name: value for name, value in (KEYS | headers).items() if value}
    if body is not None:
        sent["content-type"] = "application/json"
    content = body if isinstance(body, bytes) or body is None else json.dumps(body)
    answer = await client.request(method, f"/rest/v1/{path}", content=content, headers=sent)
    found = answer.json() if answer.content else ""
    if answer.is_error:
        found = found.get("code") or found["message"]
    return answer.status_code, found


async def asked(url: str, dsn: str) -> tuple[list[tuple[int, object]], dict[str, tuple[int, object]]]:
    """All answers, on a table `notes` that is new."""
    owner = await asyncpg.connect(dsn)
    await owner.execute(f"drop table if exists public.notes; {NOTES}")
    await owner.close()
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        same = [await said(client, ask) for ask, _, _ in SAME]
        return same, {name: await said(client, ask) for name, (ask, _, _) in OTHERWISE.items()}


@pytest_asyncio.fixture
async def lite_url(database_url: str) -> AsyncIterator[str]:
    """@supabase/lite on the test's database."""
    async with lite(database_url) as url:
        yield url


@pytest_asyncio.fixture
async def sink_of(database_url: str, lite_url: str) -> Maker:
    """The recorder's REST sink, through it."""

    def made(dsn: str, on_step: Callable[[str], None] = lambda step: None, mode: str = "system") -> Sink:
        assert dsn == database_url
        return RestSink(lite_url, SECRET_KEY, clock_mode=mode, on_step=on_step)

    return made


async def test_what_both_answer(database_url: str, lite_url: str, project: Project) -> None:
    """The same status and body from both, but for what is listed."""
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "insert into store.equity_data (ticker, timestamp, price, volume)"
        " select 'QQQ', '2026-11-24T15:00Z'::timestamptz + i * interval '1 s', 1.5, i from generate_series(0, 4) i"
    )
    await owner.close()
    ours, ours_otherwise = await asked(project.url, database_url)
    theirs, theirs_otherwise = await asked(lite_url, database_url)
    expected = [(ask[:2], status, body) for ask, status, body in SAME]
    assert [(ask[:2], *answer) for (ask, _, _), answer in zip(SAME, ours, strict=True)] == expected
    assert [(ask[:2], *answer) for (ask, _, _), answer in zip(SAME, theirs, strict=True)] == expected
    assert ours_otherwise == {name: answer for name, (_, answer, _) in OTHERWISE.items()}
    assert theirs_otherwise == {name: answer for name, (_, _, answer) in OTHERWISE.items()}


async def test_both_sinks_go_on_from_one_another(database_url: str, lite_url: str, project: Project) -> None:
    """One batch by each server in turn: the same journal, the same position."""
    through = [RestSink(url, SECRET_KEY, clock_mode="system") for url in (project.url, lite_url)]
    for at in range(4):
        one = through[at % 2]
        made = batch(at, at + 1)
        assert await one.open(made.journal_id) == at
        assert await one.write(made) == 0
    for one in through:
        await one.close()
    owner = await asyncpg.connect(database_url)
    assert await owner.fetchval("select count(*) from public.equity_data") == 4
    await owner.close()
