"""A database filled to its limit: recording never stops, rows wait, and once there is room every one of them is there.

Something else in the same database (a table of ballast) leaves a recorder little room. It writes until 95 % of
DATABASE_MAX_MB, goes on journaling, says so everywhere, and writes the rest when the ballast is gone.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import asyncpg
from tests.harness import Recording, asked, derived_again, output, table, truth

PLAY = ("--session", "2026-11-20", "--start", "18:30")
LIMIT_MB = 60
STOP_BYTES = LIMIT_MB * 950_000
ROOM_BYTES = 400_000
"""Left for rows below the stop."""
CHUNK = 96


async def fill(url: str) -> int:
    """Put ballast beside the recorder's tables; the database's bytes."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("create table ballast (content text)")
        await connection.execute("alter table ballast alter content set storage plain")
        while True:
            size: int = await connection.fetchval("select pg_database_size(current_database())")
            if size >= STOP_BYTES - ROOM_BYTES:
                return size
            await connection.execute(
                "insert into ballast select repeat('x', 4000) from generate_series(1, $1::int)",
                CHUNK if STOP_BYTES - size > 4_000_000 else 16,
            )
    finally:
        await connection.close()


async def drop_ballast(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("drop table ballast")
    finally:
        await connection.close()


def test_a_session_into_a_full_database(tmp_path: Path) -> None:
    """An hour and a half of quotes: what fits is written, the rest waits, then all of it is there, exactly once."""
    expected = truth(*PLAY)
    data = tmp_path / "data"
    with Recording(
        tmp_path, *PLAY, "--speed", "200", "--on-disconnect", "hold", "--align", "second",
        env={"DATABASE_MAX_MB": str(LIMIT_MB), "METRICS_INTERVAL": "1"},
    ) as recording:  # fmt: skip
        url = output("db", "url", "--data", str(data)).strip()
        assert asyncio.run(fill(url)) < STOP_BYTES
        recorder = recording.begin("--until-close")
        full = recording.until(lambda one: one["state"] == "database_full", what="a full database")
        assert full["room"]["state"] == "full"
        assert "the database is full" in full["database_error"]
        assert "DATABASE_MAX_MB=60" in full["database_error"]
        stored = int(asked(data, "select count(*) as n from store.equity_data")[0]["n"])
        assert 0 < stored < len(expected)

        recording.until(lambda one: one["appended"] > full["appended"] + 2_000, what="recording goes on")
        shown = json.loads(output("status", "--json", *recording.where))
        assert shown["state"] == "database_full"
        assert shown["committed"] == full["committed"]
        assert shown["catch_up"]["records"] > 2_000
        assert shown["health"]["ready"], shown["health"]
        words = output("status", *recording.where)
        assert "takes no rows" in words
        assert "alphakite db prune" in words.replace("\n", " ")
        health = json.loads(output("health", "--live", "--json", *recording.where))
        assert health["live"]
        assert asked(data, "select count(*) as n from store.equity_data") == [{"n": str(stored)}]

        asyncio.run(drop_ballast(url))
        recording.until(lambda one: not one["database_state"], what="room")
        assert recorder.wait(120) == 0, recording.tail()
        events = recording.events()
        assert events.index("database_full") < events.index("database_has_room") < events.index("database_back")
        assert len(table(data, "equity_data")) == len(expected)
        assert derived_again(data)["differences"] == 0
        said = asked(
            data,
            "select service_status, details->>'database_state' as state from streaming_metrics"
            " where service_status = 'database_full'",
        )
        assert said and said[0]["state"] == "full"
