"""DATABASE_URL over TLS: a PostgreSQL that takes nothing else, its certificate made here."""

from __future__ import annotations

import asyncio
import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
from tests.contract.conftest import run_sql
from tests.harness import Recording, output, truth
from tests.migration.servers import VERSIONS, places

from alphakite.errors import AlphakiteError
from alphakite.simulator.tls import make_identity
from alphakite.store import cluster, privileges
from alphakite.store.database import connect
from alphakite.store.embedded import Lease

TAPE = ("--session", "2026-11-20", "--start", "10:15", "--end", "10:17")


@functools.cache
def programs() -> Path | None:
    """A PostgreSQL that was built with TLS; what pip and npm bring was not."""
    for folder in (folder for version in reversed(VERSIONS) for folder in places(version)):
        if (folder / "pg_config").is_file() and (folder / "initdb").is_file():
            command = [str(folder / "pg_config"), "--configure"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
            if "openssl" in said:
                return folder
    return None


pytestmark = pytest.mark.skipif(programs() is None, reason="no PostgreSQL with TLS here: apt-get install postgresql")


class Server(NamedTuple):
    """By TCP it takes connections with TLS alone. `authority`: what signed its certificate."""

    url: str
    authority: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, found = tmp_path_factory.mktemp("tls"), programs()
    assert found is not None
    user = Lease(folder / "server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "program", lambda name: found / name)
        endpoint = user.join()
    try:
        data = folder / "server" / "postgres" / "data"
        identity = make_identity(folder, "server", "127.0.0.1")
        for name in ("server.key", "server.crt"):
            shutil.copy(identity.key_file, data / name)
            (data / name).chmod(0o600)
            privileges.own(data / name, privileges.Way(cluster.Cluster(folder / "server").settings.way))
        rules = data / "pg_hba.conf"
        rules.write_text("local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        run_sql(endpoint.local_dsn, "alter system set ssl = on", "select pg_reload_conf()")
        yield Server(endpoint.dsn, identity.ca_file)
    finally:
        user.leave()


async def encrypted(dsn: str) -> bool:
    connection = await connect(dsn)
    try:
        return bool(await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))
    finally:
        await connection.close()


async def test_how_much_is_checked(server: Server, tmp_path: Path) -> None:
    """`require` encrypts, `verify-full` knows the server by what signed it, and a stranger's signature is refused."""
    url, stranger = server.url, make_identity(tmp_path, "stranger", "127.0.0.1").ca_file
    assert await encrypted(f"{url}?sslmode=require")
    assert await encrypted(f"{url}?sslmode=verify-full&sslrootcert={server.authority}")
    assert await encrypted(url), "without a word about it TLS is preferred"
    with pytest.raises(AlphakiteError, match="certificate verify failed"):
        await connect(f"{url}?sslmode=verify-full&sslrootcert={stranger}")
    with pytest.raises(AlphakiteError, match=r"pg_hba\.conf"):
        await connect(f"{url}?sslmode=disable")


def test_a_session_into_a_database_over_tls(server: Server, tmp_path: Path) -> None:
    """Migrated, recorded and exported by `sslmode=require`."""
    url = f"{server.url}?sslmode=require"
    env = {"DATABASE_URL": url}
    output("migrate", env=env)
    play = (*TAPE, "--speed", "max", "--on-disconnect", "hold", "--exit-at-end")
    with Recording(tmp_path, *play, env=env, serve=False) as recording:
        recording.begin()
        assert recording.simulator.wait(60) == 0
        recording.until(lambda one: one["rows_committed"] > 0, what="rows")
        assert asyncio.run(recorders(url)) == {True}
        recording.end()
    exported = output("export", "equity_data", "--data", str(tmp_path), env=env)
    assert exported.count("\n") - 1 == len(truth(*TAPE))


async def recorders(url: str) -> set[bool]:
    """Whether the connections of recorders are encrypted."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'alphakite'"
        )
        return {row["ssl"] for row in rows}
    finally:
        await connection.close()
