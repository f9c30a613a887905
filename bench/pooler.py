"""PgBouncer in transaction mode before the embedded server, on a Unix socket of a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from alphakite.store import privileges
from alphakite.store.database import TRANSACTION_POOLER_PORT
from bench.child import ChildError

READY_WITHIN_S, END_WITHIN_S = 10.0, 5.0
CONFIGURATION = """[databases]
postgres = host={host} port={port} dbname=postgres user={user} password='{password}'
[pgbouncer]
pool_mode = transaction
auth_type = any
listen_addr =
listen_port = {pooler_port}
unix_socket_dir = {folder}
logfile = {folder}/pgbouncer.log
default_pool_size = 4
"""


def program() -> str | None:
    """PgBouncer, if it is installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def running(dsn: str, folder: Path) -> Iterator[tuple[str, int]]:
    """(DSN through it, pid). Args: dsn: the server's, by TCP, with its password."""
    parts, found = urlsplit(dsn), program()
    if found is None or parts.hostname is None:
        raise ChildError("pgbouncer is not installed")
    folder.mkdir(mode=0o700)
    file = folder / "pgbouncer.ini"
    file.touch(mode=0o600)
    file.write_text(
        CONFIGURATION.format(
            host=parts.hostname, port=parts.port, user=parts.username, password=unquote(parts.password or ""),
            pooler_port=TRANSACTION_POOLER_PORT, folder=folder,
        )
    )  # fmt: skip
    way = privileges.choose(folder, Path(found), None)
    for one in (folder, file):
        privileges.own(one, way)
    process = subprocess.Popen(
        [*privileges.prefix(way), found, "-q", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        socket, deadline = folder / f".s.PGSQL.{TRANSACTION_POOLER_PORT}", time.monotonic() + READY_WITHIN_S
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                log = folder / "pgbouncer.log"
                raise ChildError(f"pgbouncer did not start: {log.read_text()[-500:] if log.exists() else ''}")
            time.sleep(0.02)
        host = quote(str(folder), safe="")
        yield f"postgresql://{parts.username}@/postgres?host={host}&port={TRANSACTION_POOLER_PORT}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
