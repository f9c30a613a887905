"""The whole path, socket → journal → derive → committed rows with keys, fsync on, beside the bare limit.

Each repetition starts a new recorder with an empty journal and empty tables, waits until it has every image, then plays
the same frames; the bare limit (run_limit.py) takes turns with it. One PostgreSQL, the embedded one, serves all. CPU is
that of the measured process alone from the first frame to the last commit; PostgreSQL's own is beside it.
`lag` is from a frame's send to the commit that covers its journal record. A row of a second exists when the second is
over, which on this tape is up to ten frames later.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from alphakite.config import load
from alphakite.store.embedded import lease
from alphakite.store.migrate import apply
from bench.child import Child, ChildError, tree_cpu_s
from bench.frames import Tape, write_frames
from bench.ready_rows import Expected, derive_ready
from bench.report import Run, middle, ratio, table

FIGURES = ("cpu_us", "postgres_us", "quotes_per_s", "rss_mb", "lag_p50_ms", "lag_p99_ms")
HEAD = (
    "program",
    "CPU-µs/quote",
    "ratio",
    "PostgreSQL µs",
    "quotes/s",
    "rows/quote",
    "lag p50 ms",
    "p99",
    "peak RSS MB",
)
LIMIT_TABLES = """
create schema if not exists bench;
create table if not exists bench.equity_data (like store.equity_data including defaults);
create table if not exists bench.indicators (like store.indicators including defaults);
"""
EMPTY = (
    "truncate store.equity_data, store.indicators, store.stream_gaps, store.quality_events, store.streaming_metrics,"
    " bench.equity_data, bench.indicators"
)


class Case(msgspec.Struct, frozen=True):
    """One way to play the tape. `quotes_per_s` 0: flat out."""

    name: str
    title: str
    resolution: str
    quotes_per_s: float
    quotes: int


class Stage(msgspec.Struct):
    """Where all runs take place."""

    tape: Tape
    scratch: Path
    server: Child
    port: int
    dsn: str
    postgres_pid: int


def cases(quotes: int, paced_s: float) -> list[Case]:
    """What is measured: flat out with a row per second or per quote, and at 1,000 quotes a second."""
    return [
        Case("flat_1s", "Whole path, flat out, STREAM_RESOLUTION=1s", "1s", 0, quotes),
        Case("flat_tick", "Whole path, flat out, STREAM_RESOLUTION=tick", "tick", 0, quotes // 2),
        Case("paced_1s", "Whole path, 1,000 quotes/s, STREAM_RESOLUTION=1s", "1s", 1000, int(1000 * paced_s)),
    ]


def measure(tape: Tape, played: list[Case], repetitions: int, scratch: Path) -> dict[str, Any]:
    """Runs and medians by case."""
    found: dict[str, Any] = {}
    with stage(tape, scratch) as place:
        expected = {case.name: _expect(place, case) for case in played}
        runs: dict[str, dict[str, list[Run]]] = {case.name: {"recorder": [], "limit": []} for case in played}
        for _ in range(repetitions):
            for case in played:
                runs[case.name]["limit"].append(_limit(place, case, expected[case.name]))
                runs[case.name]["recorder"].append(_recorder(place, case, expected[case.name]))
    for case in played:
        medians = {
            program: {name: middle(list_of, name) for name in FIGURES} for program, list_of in runs[case.name].items()
        }
        one = expected[case.name]
        found[case.name] = medians | {
            "title": case.title,
            "ratio": ratio(medians["recorder"]["cpu_us"], medians["limit"]["cpu_us"]),
            "quotes": one.quotes,
            "rows_per_quote": one.rows / one.quotes,
            "runs": runs[case.name],
        }
    return found


def shown(figures: dict[str, Any]) -> str:
    """A table for each case."""
    return "\n".join(
        table(
            case["title"],
            HEAD,
            [
                _row("alphakite", case["recorder"], case["ratio"], case["rows_per_quote"]),
                _row("bare limit: read + COPY ready bytes", case["limit"], 1.0, case["rows_per_quote"]),
            ],
        )
        for case in figures.values()
    )


@contextmanager
def stage(tape: Tape, scratch: Path) -> Iterator[Stage]:
    """A PostgreSQL with our schema, a local Schwab, a token file."""
    write_frames(scratch / "image.frames", [tape.image])
    write_frames(scratch / "tape.frames", tape.frames)
    token = {"access_token": "bench", "refresh_token": "bench", "expires_at": int(time.time()) + 86_400}
    (scratch / "token.json").write_text(json.dumps({"creation_timestamp": int(time.time()), "token": token}))
    with (
        lease(scratch / "database") as endpoint,
        Child("schwab_server", str(scratch / "image.frames"), str(scratch / "tape.frames"), scratch=scratch) as server,
    ):
        asyncio.run(_prepare(endpoint.local_dsn))
        yield Stage(tape, scratch, server, server.hear()["port"], endpoint.local_dsn, endpoint.pid)


async def _prepare(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await apply(connection)
        await connection.execute(LIMIT_TABLES)
    finally:
        await connection.close()


async def _empty(dsn: str) -> None:
    """Empty tables and a settled disk, so that no run pays for the one before."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(EMPTY)
        await connection.execute("checkpoint")
    finally:
        await connection.close()


def _expect(place: Stage, case: Case) -> Expected:
    quotes = frames = 0
    while quotes < case.quotes and frames < len(place.tape.frames):
        quotes += place.tape.frames[frames].count(b'"key"')
        frames += 1
    batch_rows = load(environ={}).batch_size
    return derive_ready(place.tape, frames, case.resolution, batch_rows, place.scratch / f"{case.name}.chunks")


def _recorder(place: Stage, case: Case, expected: Expected) -> Run:
    asyncio.run(_empty(place.dsn))
    data_dir = place.scratch / "recorder"
    env = {
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": place.dsn,
        "SCHWAB_API_URL": f"http://127.0.0.1:{place.port}",
        "SCHWAB_APP_KEY": "bench",
        "SCHWAB_APP_SECRET": "bench",
        "SCHWAB_TOKEN_FILE": str(place.scratch / "token.json"),
        "STREAM_TICKER": ",".join(place.tape.tickers),
        "STREAM_HOURS": "regular",
        "STREAM_RESOLUTION": case.resolution,
        "CLOCK": "feed",
    }
    try:
        with Child("run_recorder", str(len(place.tape.tickers)), scratch=place.scratch, env=env) as child:
            run, answer = _played(place, case, expected, child)
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)
    if answer["rows"] != expected.rows or answer["frames"] != expected.frames or answer["rejected"]:
        raise ChildError(
            f"{case.name}: {answer['rows']} rows of {answer['frames']} frames were committed, {answer['rejected']}"
            f" rejected; {expected.rows} rows of {expected.frames} frames were to come"
        )
    return run | (_lags(place.scratch / "sent", answer["commits"]) if case.quotes_per_s else {})


def _limit(place: Stage, case: Case, expected: Expected) -> Run:
    asyncio.run(_empty(place.dsn))
    url, chunks = f"ws://127.0.0.1:{place.port}/ws", str(place.scratch / f"{case.name}.chunks")
    with Child("run_limit", url, chunks, scratch=place.scratch, env={"DATABASE_URL": place.dsn}) as child:
        return _played(place, case, expected, child)[0]


def _played(
    place: Stage, case: Case, expected: Expected, child: Child
) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Play the tape to a child that is ready: its figures, and its whole answer."""
    child.hear()
    child.tell(rows=expected.rows, frames=expected.frames)
    child.hear()
    before_s = tree_cpu_s(place.postgres_pid)
    place.server.tell(quotes_per_s=case.quotes_per_s, frames=expected.frames, sent=str(place.scratch / "sent"))
    sent = place.server.hear()
    answer = child.hear()
    after_s = tree_cpu_s(place.postgres_pid)
    per_quote = 1e6 / expected.quotes
    return {
        "cpu_us": answer["cpu_s"] * per_quote,
        "postgres_us": (after_s - before_s) * per_quote if before_s is not None and after_s is not None else None,
        "quotes_per_s": None if case.quotes_per_s else expected.quotes / (answer["last_s"] - sent["first_s"]),
        "rss_mb": answer["rss_mb"],
    }, answer


def _lags(sent_file: Path, commits: list[tuple[int, float]]) -> dict[str, float | None]:
    """How long after its send each frame was covered by a commit, ms."""
    sent = array("d", sent_file.read_bytes())
    lags: list[float] = []
    for covered, at_s in commits:
        lags += [(at_s - sent_s) * 1000 for sent_s in sent[len(lags) : covered]]
    lags.sort()
    return {"lag_p50_ms": lags[len(lags) // 2], "lag_p99_ms": lags[len(lags) * 99 // 100]} if lags else {}


def _row(name: str, figures: dict[str, Any], times: float | None, rows_per_quote: float) -> tuple[Any, ...]:
    shown_figures = figures["lag_p50_ms"], figures["lag_p99_ms"], figures["rss_mb"]
    return (
        name,
        figures["cpu_us"],
        times,
        figures["postgres_us"],
        figures["quotes_per_s"],
        rows_per_quote,
        *shown_figures,
    )
