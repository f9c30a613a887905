"""PgBouncer in transaction mode before a PostgreSQL, on a free port of the loopback.

It refuses to be root, so it runs as PostgreSQL does here (store/privileges.py). Few connections to the server are
shared by all clients: a session's state is lost from one transaction to the next, as behind Supabase's port 6543.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.harness import free_port, until

from alphakite.store import privileges

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needed = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed: apt-get install pgbouncer")
"""Skips a test where it is absent."""
READY_WITHIN_S, ENDS_WITHIN_S = 10.0, 10.0
PASSWORD = "of-the-poolers-visitor"
CONFIGURATION = """[databases]
* = host={host} port={port} user={user} password='{password}'
[pgbouncer]
pool_mode = transaction
auth_type = plain
auth_file = {folder}/users
listen_addr = 127.0.0.1
listen_port = {listens}
unix_socket_dir =
logfile = {folder}/log
default_pool_size = 3
server_lifetime = 2
"""


@dataclass(frozen=True)
class Pooler:
    """One that runs. `dsn`: of the server's database, through it."""

    dsn: str
    pid: int


@contextmanager
def pooled(dsn: str) -> Iterator[str]:
    """The DSN of the same database through a pooler. Args: dsn: the server's, by TCP, with its password."""
    with running(dsn) as found:
        yield found.dsn


@contextmanager
def running(dsn: str) -> Iterator[Pooler]:
    """A pooler for the length of a block. Args: dsn: the server's, by TCP, with its password."""
    assert PROGRAM is not None
    parts, listens = urlsplit(dsn), free_port()
    with tempfile.TemporaryDirectory(prefix="pooler-") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"visitor" "{PASSWORD}"\n')
        (folder / "pgbouncer.ini").write_text(
            CONFIGURATION.format(
                host=parts.hostname, port=parts.port, user=parts.username, password=unquote(parts.password or ""),
                folder=folder, listens=listens,
            )
        )  # fmt: skip
        way = privileges.choose(folder, Path(PROGRAM), None)
        privileges.own(folder, way, recursive=True)
        process = subprocess.Popen(
            [*privileges.prefix(way), PROGRAM, "-q", str(folder / "pgbouncer.ini")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: process.poll() is not None or _listening(listens), READY_WITHIN_S, "pgbouncer")
            assert process.poll() is None, (folder / "log").read_text()[-1000:] if (folder / "log").exists() else ""
            yield Pooler(f"postgresql://visitor:{PASSWORD}@127.0.0.1:{listens}{parts.path}", process.pid)
        finally:
            process.terminate()
            try:
                process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listening(port: int) -> bool:
    with closing(socket.socket()) as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
