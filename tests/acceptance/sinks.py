"""One session into each sink: four recordings of the same tape beside each other, exported and compared byte by byte.

    embedded   the default: no setting names a database
    plain      DATABASE_URL of a PostgreSQL, of an older version where one is here
    pooled     DATABASE_URL of PgBouncer in transaction mode before it
    rest       SUPABASE_URL and a key; the project's gateway and database fail in every way they know

Every sink has its own batch size, so that commits fall at other moments. Where PgBouncer is absent it is left out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests import pooler
from tests.beside import beside
from tests.contract.conftest import ROLES, named, run_sql
from tests.harness import Recording, output
from tests.migration.servers import programs, running
from tests.supabase.misfortunes import SURVIVED, Fault
from tests.supabase.server import SECRET_KEY, Project

from alphakite.store.cluster import Endpoint

EXPORTED = ("equity_data", "indicators", "option_prices", "stream_gaps")
PLAYED = ("--speed", "max", "--align", "second", "--on-disconnect", "hold")
BATCH_SIZES = {"embedded": "500", "plain": "333", "pooled": "150", "rest": "200"}
LASTS_S = 220.0
WELL = Fault("none")
"""A request that is served as it should be."""


def plan() -> list[Fault]:
    """Each kind, those of which the commit is uncertain twice more; a served request between, now and then none."""
    chosen = SURVIVED + [one for one in SURVIVED if one.after or one.drop or one.sql] * 2
    faults = [dataclasses.replace(WELL, path="recorder_open"), WELL]
    for at, fault in enumerate(chosen):
        faults += [fault] if at % 5 == 4 else [fault, WELL]
    return faults


@dataclass
class Recorded:
    """What a session left behind. `exports`: sink → table → bytes."""

    exports: dict[str, dict[str, bytes]] = field(default_factory=dict)
    injected: Counter[str] = field(default_factory=Counter)
    """Faults of the REST project by kind, of those that it should have suffered."""
    planned: int = 0
    commits: dict[str, int] = field(default_factory=dict)
    log: str = ""
    """The REST recorder's."""


def differences(exports: dict[str, dict[str, bytes]]) -> list[str]:
    """Every table in which two neighbours of the sinks are not the same bytes, with the first line that differs."""
    found = []
    for (one, first), (other, second) in pairwise(exports.items()):
        for table in sorted(first.keys() | second.keys()):
            left, right = first.get(table), second.get(table)
            if left is None or right is None:
                found.append(f"{table}: missing in {one if left is None else other}")
            elif left != right:
                lines, others = left.splitlines(), right.splitlines()
                at = next((no for no, pair in enumerate(zip(lines, others)) if pair[0] != pair[1]), None)  # noqa: B905
                at = min(len(lines), len(others)) if at is None else at
                found.append(
                    f"{table}: {one} has {len(lines)} lines, {other} {len(others)}; line {at + 1}:"
                    f" {lines[at : at + 1]}, {others[at : at + 1]}"
                )
    return found


@contextmanager
def plain_server(folder: Path) -> Iterator[Endpoint]:
    """A PostgreSQL as other people run it, older than ours where one is here, with the roles of a Supabase project."""
    version = next((one for one in (16, 17, 15) if programs(one)), 18)
    with running(version, folder) as endpoint:
        run_sql(endpoint.dsn, "alter system set fsync = off", "select pg_reload_conf()")
        run_sql(endpoint.dsn, ROLES.read_text(encoding="utf-8"))
        yield endpoint


def recorded(folder: Path, server: Endpoint, name: str, *tape: str, settings: dict[str, str]) -> Recorded:
    """Record a tape to its session's end into every sink at once. Args: name: of the session."""
    found = Recorded()
    with ExitStack() as held:
        urls: dict[str, str] = {}
        for sink in ("plain", "pooled", "rest"):
            run_sql(server.dsn, f"create database {name}_{sink}")
            urls[sink] = named(server, f"{name}_{sink}")
        project = Project(urls["rest"], faults=plan())
        found.planned = sum(fault.name != WELL.name for fault in project.faults)
        if pooler.PROGRAM is None:
            del urls["pooled"]
        else:
            urls["pooled"] = held.enter_context(pooler.pooled(urls["pooled"]))
        for url in urls.values():
            output("migrate", env={"DATABASE_URL": url})
        held.enter_context(beside(project.running()))
        env = {sink: {"DATABASE_URL": url} for sink, url in urls.items()} | {"embedded": {}}
        env["rest"] = {"SUPABASE_URL": project.url, "SUPABASE_SERVICE_ROLE_KEY": SECRET_KEY}
        recordings = {}
        for sink, told in env.items():
            (folder / sink).mkdir()
            told |= settings | {"BATCH_SIZE": BATCH_SIZES[sink], "BATCH_INTERVAL": "0.5", "METRICS_INTERVAL": "1"}
            recording = Recording(folder / sink, *tape, *PLAYED, env=told, serve=sink == "embedded")
            recordings[sink] = held.enter_context(recording)
        for recording in recordings.values():
            recording.begin("--until-close")
        for sink, recording in recordings.items():
            assert recording.recorder is not None
            assert recording.recorder.wait(LASTS_S) == 0, f"{sink}: {recording.tail()}"
            found.commits[sink] = recording.status()["commits"]
        with ThreadPoolExecutor(2) as threads:
            jobs = {
                (sink, table): threads.submit(exported, recordings[sink], table, urls.get(sink))
                for sink in recordings
                for table in EXPORTED
            }
        for (sink, table), job in jobs.items():
            found.exports.setdefault(sink, {})[table] = job.result()
        found.injected = Counter(one for one in project.injected if one != WELL.name)
        assert project.faults == [], f"{len(project.faults)} faults did not happen"
        assert project.most_in_flight <= 2  # rows, and metrics beside them
        found.log = recordings["rest"].log_file.read_text()
    return found


def exported(recording: Recording, table: str, url: str | None) -> bytes:
    """What `alphakite export` writes. Args: url: of the database; None: the embedded one."""
    out = recording.folder / f"{table}.csv"
    env = {"DATABASE_URL": url} if url else {}
    output("export", table, "--data", str(recording.data), "--out", str(out), env=env)
    return out.read_bytes()
