"""The database is away for a day: recording goes on, and afterwards the tables catch up while live data goes on.

A gate stands between the recorder and its database, a PostgreSQL by DATABASE_URL or a Supabase project by REST. The
tape runs at so many times real time whether anybody keeps up or not. What is asserted at each stage is in `outage`.
"""

from __future__ import annotations

import csv
import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.acceptance.sinks import plain_server
from tests.beside import beside
from tests.contract.conftest import named, run_sql
from tests.gate import Gate, gate
from tests.harness import Recording, Status, output
from tests.supabase.server import SECRET_KEY, Project

from alphakite.store.cluster import Endpoint

TABLES = ("equity_data", "indicators", "stream_gaps")
WHERE_FROM = {"journal_no", "seq", "item"}
"""Columns that say where in a journal a row is from; heartbeats between the rows are not the same in two recordings."""
SETTINGS = {"BATCH_INTERVAL": "0.2", "METRICS_INTERVAL": "1", "CHECKPOINT_INTERVAL": "2"}
GROWTH_KB = 15_000
WAY_S = 0.002
"""To the database and back, each: it is on another machine."""
SOON_S = 3.0
"""Who has caught up within that never needed to know how long it takes."""
LATE_S, LATE_WITHIN_S, LOOP_LATE_US = 1.0, 5.0, 1_000_000
"""How far capture may be behind the tape, in wall time: when the tables have caught up and so long after."""
SECOND_US, HOUR_S = 1_000_000, 3600


@dataclass(frozen=True)
class Day:
    """What is played and when the database is away. Times are seconds from the tape's first.

    Args: same_from: rows from then on are compared: a paced tape does not wait for the recorder's first second.
    """

    play: tuple[str, ...]
    speed: int
    away_s: int
    back_s: int
    same_from: str
    last_us: int
    """Shortly before the tape's end, in µs since 1970."""
    within_s: float = 120.0


SYMBOLS = ("SPY", "QQQ", "IWM", "DIA", "AAPL", "MSFT")
SHORT = Day(
    ("--session", "2026-11-20", "--start", "18:40", "--end", "19:45",
     *(part for one in SYMBOLS for part in ("--symbol", one))),
    speed=100, away_s=HOUR_S // 40, back_s=HOUR_S * 21 // 40, same_from="2026-11-20T18:41:00-05:00",
    last_us=1_795_221_895 * SECOND_US,
)  # fmt: skip
"""Half an hour of an evening with six tickers."""
LONG = Day(
    ("--session", "2026-11-19", "--days", "2", "--start", "09:20", "--end", "16:10", "--symbol", "SPY"),
    speed=400, away_s=HOUR_S // 2, back_s=HOUR_S * 24 + HOUR_S // 2, same_from="2026-11-19T09:25:00-05:00",
    last_us=1_795_208_995 * SECOND_US, within_s=600.0,
)  # fmt: skip
"""From 09:50 to 09:50 of the next day."""
CALM = ("--speed", "max", "--align", "second", "--on-disconnect", "hold")


@dataclass
class Seen:
    """What the recorder's status said since a moment."""

    speed: int
    looks: list[Status] = field(default_factory=list)

    def note(self, status: Status) -> None:
        if not self.looks or status["updated_wall_us"] != self.looks[-1]["updated_wall_us"]:
            self.looks.append(status)

    def late_s(self, status: Status) -> float:
        """Wall time by which capture lost ground to the tape since the first look."""
        wall_us, tape_us = (status[name] - self.looks[0][name] for name in ("updated_wall_us", "now_us"))
        return float(wall_us - tape_us / self.speed) / SECOND_US


def memory_kb(pid: int) -> int:
    """The most that a process ever had resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with plain_server(tmp_path_factory.mktemp("plain")) as endpoint:
        yield endpoint


def rows_of(day: Day, url: str) -> dict[str, list[dict[str, str]]]:
    """What `alphakite export` says, without where in the journal it is from, and without the tape's last seconds: there
    the recorder is stopped or the tape ends, whichever comes first.
    """
    found, end = {}, f"{datetime.fromtimestamp(day.last_us / SECOND_US, UTC):%Y-%m-%dT%H:%M:%S}"
    for table in TABLES:
        text = output("export", table, "--from", day.same_from, env={"DATABASE_URL": url})
        rows = [row for row in csv.DictReader(StringIO(text)) if (row.get("timestamp") or row["start_at"]) < end]
        found[table] = [{name: value for name, value in row.items() if name not in WHERE_FROM} for row in rows]
    return found


Calm = Callable[[Day], dict[str, list[dict[str, str]]]]


@pytest.fixture(scope="module")
def calm(server: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """The rows of an undisturbed recording, made once for each day."""

    @functools.cache
    def recorded(day: Day) -> dict[str, list[dict[str, str]]]:
        url = database(server, f"calm_{day.speed}")
        env = SETTINGS | {"DATABASE_URL": url}
        with Recording(tmp_path_factory.mktemp("calm"), *day.play, *CALM, env=env, serve=False) as recording:
            recording.begin()
            ended(day, recording)
        return rows_of(day, url)

    return recorded


def database(server: Endpoint, name: str) -> str:
    """The DSN of a new, migrated one."""
    run_sql(server.dsn, f"create database {name}")
    output("migrate", env={"DATABASE_URL": named(server, name)})
    return named(server, name)


def ended(day: Day, recording: Recording) -> None:
    """The tape is over, all of it is committed, and the recorder ends in order."""
    recording.until(
        lambda one: one["now_us"] >= day.last_us and one["committed"] == one["appended"], day.within_s, "the end"
    )
    recording.end()


def outage(day: Day, recording: Recording, between: Gate) -> None:
    """Record, lose the database, get it back, catch up. The figures are printed."""
    recorder = recording.begin()
    began = recording.until(lambda one: one["rows_committed"] > 0 and one["now_us"], day.within_s, "the first rows")
    start_us = began["now_us"]
    recording.until(lambda one: one["now_us"] - start_us > day.away_s * SECOND_US, day.within_s, "time to shut")
    before_kb = memory_kb(recorder.pid)

    between.shut()
    away = recording.until(lambda one: one["state"] == "database_away", what="an outage")
    recording.until(lambda one: one["catch_up"] is not None, what="rows that wait")
    told = " ".join(output("status", *recording.where, env=recording.env).split())
    assert "behind by" in told and "the journal keeps everything" in told
    health = json.loads(output("health", "--live", "--json", *recording.where, env=recording.env))
    assert health["live"]
    recording.until(lambda one: one["now_us"] - start_us > day.back_s * SECOND_US, day.within_s, "a day without it")
    waiting = recording.status()
    outage_s = (waiting["now_us"] - away["now_us"]) / SECOND_US
    assert waiting["state"] == "database_away"
    assert waiting["appended"] > away["appended"] + 1_000
    assert waiting["committed"] == away["committed"]
    assert waiting["catch_up"]["records"] == waiting["appended"] - waiting["committed"]
    assert waiting["catch_up"]["behind_s"] == pytest.approx(outage_s, rel=0.05)
    assert waiting["capture"] == "streaming"
    assert between.refused > 3
    away_kb = memory_kb(recorder.pid)

    seen, opened = Seen(day.speed, [waiting]), time.monotonic()
    recording.look = lambda: seen.note(recording.status())  # type: ignore[method-assign]
    between.opened()
    recording.until(lambda one: not one["database_error"], what="the database is back")
    back = time.monotonic()
    done = recording.until(lambda one: one["catch_up"] is None, day.within_s, "caught up")
    took_s = time.monotonic() - back
    caught_kb = memory_kb(recorder.pid)
    during = [one for one in seen.looks if not one["database_error"] and one["catch_up"] is not None]
    caught = (done["committed"] - waiting["committed"]) / took_s
    print(
        f"{outage_s / HOUR_S:.1f} h away, {waiting['catch_up']['records']} records waited; caught up in {took_s:.1f} s,"
        f" {outage_s / took_s:.0f} times real time, {caught:.0f} records/s; back after {back - opened:.1f} s;"
        f" capture was late by {max(map(seen.late_s, seen.looks)):.2f} s, then {seen.late_s(done):.2f};"
        f" shown {[one['catch_up'] for one in during]};"
        f" most memory {before_kb} kB before, {away_kb} away, {caught_kb} caught up"
    )
    assert done["now_us"] < day.last_us, "the tape is over, nothing was live any more"
    assert outage_s / took_s > 2 * day.speed, "it gains on the tape, which is many times real time itself"
    assert max(one["loop_lag_us"] for one in seen.looks) < LOOP_LATE_US
    recording.until(lambda one: seen.late_s(one) < LATE_S, LATE_WITHIN_S, "capture keeps up meanwhile")
    shown = [one["catch_up"] for one in during]
    behind = [one["behind_s"] for one in shown]
    assert behind and behind == sorted(behind, reverse=True), behind
    assert took_s < SOON_S or (any(one["times_real"] for one in shown) and any(one["left_s"] for one in shown))
    assert max(away_kb, caught_kb) < before_kb + GROWTH_KB
    assert done["reconnects"] == 0, [one for one in recording.lines() if one["part"] != "drain"]


@pytest.mark.parametrize("sink", ["plain", "rest"])
@pytest.mark.parametrize("day", [pytest.param(SHORT, id="hours"), pytest.param(LONG, id="day", marks=pytest.mark.slow)])
def test_a_day_without_the_database(sink: str, day: Day, server: Endpoint, calm: Calm, tmp_path: Path) -> None:
    """Its rows are those of a recording that nothing disturbed."""
    url = database(server, f"away_{sink}_{day.speed}")
    with ExitStack() as held:
        project = held.enter_context(beside(Project(url).running()))
        place = urlsplit(url if sink == "plain" else project.url)
        assert place.hostname is not None and place.port is not None
        between = held.enter_context(gate(place.hostname, place.port, WAY_S))
        if sink == "plain":
            env = {"DATABASE_URL": url.replace(f":{place.port}/", f":{between.port}/")}
        else:
            env = {"SUPABASE_URL": f"http://127.0.0.1:{between.port}", "SUPABASE_SERVICE_ROLE_KEY": SECRET_KEY}
        how = ("--speed", str(day.speed), "--align", "second", "--on-disconnect", "hold")
        with Recording(tmp_path, *day.play, *how, env=SETTINGS | env, serve=False) as recording:
            outage(day, recording, between)
            ended(day, recording)
    told = output("rederive", "--check", "--json", "--data", str(recording.data), env={"DATABASE_URL": url})
    assert json.loads(told)["differences"] == 0, told
    ours, theirs = rows_of(day, url), calm(day)
    for table in TABLES:
        print(f"{table}: {len(ours[table])} rows")
        assert ours[table] == theirs[table], table
    assert len(ours["equity_data"]) > 1_000
