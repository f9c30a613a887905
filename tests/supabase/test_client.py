"""The unmodified supabase-py and supabase-js read what the recorder wrote, and write as they do elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.contract import test_option_sink as option_rows
from tests.contract import test_sink as rows
from tests.supabase.programs import CLIENTS, needs
from tests.supabase.server import PUBLISHABLE_KEY, SECRET_KEY, Project, legacy_key

import supabase
from alphakite.store.rest import RestSink

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""It warns of its own parameters."""


async def used(project: Project, key: str, ask: Callable[[Any], Any]) -> Any:
    """What a synchronous client gets, as in most people's scripts."""

    def go() -> Any:
        client = supabase.create_client(project.url, key)
        try:
            return ask(client)
        finally:
            client.postgrest.session.close()

    return await asyncio.to_thread(go)


@pytest.mark.parametrize("key", [SECRET_KEY, legacy_key()])
async def test_it_reads_what_we_wrote(project: Project, key: str) -> None:
    """Filters, order, limit, counts and functions, on views and by RPC."""
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system")
    await sink.open(rows.JOURNAL)
    made = rows.batch(0, 5)
    made.options = option_rows.batch(0, 5).options
    assert await sink.write(made) == 0
    await sink.close()
    found = await used(
        project,
        key,
        lambda client: (
            client.table("equity_data")
            .select("ticker, timestamp, price, volume", count="exact")
            .eq("ticker", "QQQ")
            .gte("timestamp", "2023-11-14T22:13:22Z")
            .order("timestamp", desc=True)
            .limit(2)
            .execute()
        ),
    )
    assert found.count == 4 and len(found.data) == 2
    assert found.data[0]["timestamp"] == "2023-11-14T22:13:25+00:00"
    assert found.data[0]["price"] == pytest.approx(167.42)
    called = await used(project, key, lambda client: client.rpc("get_streaming_health", {"ticker": "QQQ"}).execute())
    assert called.data[0]["ticker"] == "QQQ"
    options = await used(
        project,
        key,
        lambda client: (
            client.table("option_prices")
            .select("*")
            .in_("option_type", ["CALL"])
            .not_.is_("iv_model", "null")
            .execute()
        ),
    )
    assert {row["option_symbol"] for row in options.data} == {option_rows.CALL}


async def test_it_writes(project: Project) -> None:
    """Upserts, inserts, updates and deletes of a table of the reader's own; a key without rights is refused."""
    from postgrest.exceptions import APIError

    owner = await asyncpg.connect(project.dsn)
    await owner.execute(
        "create table public.notes (ticker text, at timestamptz, said text, primary key (ticker, at));"
        "grant select, insert, update, delete on public.notes to service_role"
    )
    note = {"ticker": "QQQ", "at": "2026-11-24T14:30:00Z", "said": "first"}
    table: Callable[[Any], Any] = lambda client: client.table("notes")  # noqa: E731
    written = await used(project, SECRET_KEY, lambda client: table(client).insert([note]).execute())
    assert written.data[0]["said"] == "first"
    again = note | {"said": "second"}
    with pytest.raises(APIError) as error:
        await used(project, SECRET_KEY, lambda client: table(client).insert(again).execute())
    assert error.value.code == "23505"
    await used(
        project,
        SECRET_KEY,
        lambda client: table(client).upsert([again], on_conflict="ticker,at", ignore_duplicates=True).execute(),
    )
    assert await owner.fetchval("select said from public.notes") == "first"
    await used(project, SECRET_KEY, lambda client: table(client).upsert([again], on_conflict="ticker,at").execute())
    assert await owner.fetchval("select said from public.notes") == "second"
    await used(
        project, SECRET_KEY, lambda client: table(client).update({"said": "third"}).eq("ticker", "QQQ").execute()
    )
    assert await owner.fetchval("select said from public.notes") == "third"
    await used(project, SECRET_KEY, lambda client: table(client).delete().eq("ticker", "QQQ").execute())
    assert await owner.fetchval("select count(*) from public.notes") == 0
    with pytest.raises(APIError) as error:
        await used(project, PUBLISHABLE_KEY, lambda client: client.table("equity_data").select("*").execute())
    assert error.value.code == "42501"
    await owner.close()


async def test_the_recorder_s_functions_are_the_service_role_s(project: Project) -> None:
    """Others may not even call them."""
    from postgrest.exceptions import APIError

    said = {"journal": rows.JOURNAL, "clock_mode": "system", "needs": "0"}
    for key in (PUBLISHABLE_KEY, legacy_key("authenticated")):
        project.keys[key] = project.keys.get(key, "authenticated")
        with pytest.raises(APIError) as error:
            await used(project, key, lambda client: client.rpc("recorder_open", said).execute())
        assert error.value.code == "42501"
    found = await used(project, SECRET_KEY, lambda client: client.rpc("recorder_open", said).execute())
    assert set(found.data) == {"schema_version"}


@needs("@supabase/supabase-js")
async def test_supabase_js(project: Project) -> None:
    """The other client that most people have."""
    owner = await asyncpg.connect(project.dsn)
    await owner.execute(
        "create table public.notes (ticker text primary key, said text);"
        "grant select, insert, update, delete on public.notes to service_role"
    )
    await owner.close()
    sink = RestSink(project.url, SECRET_KEY, clock_mode="system")
    await sink.open(rows.JOURNAL)
    await sink.write(rows.batch(0, 5))
    await sink.close()
    script = Path(__file__).with_name("client.mjs")
    node = await asyncio.create_subprocess_exec(
        "node", str(script), str(CLIENTS), project.url, SECRET_KEY, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(node.communicate(), 60)
    found = json.loads(out)
    assert [row["volume"] for row in found["read"]["data"]] == [100, 100] and found["read"]["count"] == 5
    assert found["health"]["data"][0]["ticker"] == "QQQ"
    assert (found["insert"]["status"], found["insert"]["data"][0]["said"]) == (201, "first")
    assert (found["again"]["status"], found["again"]["code"]) == (409, "23505")
    assert found["ignore"]["status"] == 201 and found["ignore"]["code"] is None
    assert found["merge"]["data"]["said"] == "third"
    assert found["update"]["data"][0]["said"] == "fourth"
    assert len(found["delete"]["data"]) == 1
    assert (found["missing"]["status"], found["missing"]["code"]) == (404, "PGRST205")
