"""The embedded PostgreSQL of a data folder: of no command; who needs it starts or adopts it, the last one stops it.

    DATA/postgres/data            the cluster; made under another name and renamed, so that it is whole or absent
    DATA/postgres/password        superuser `postgres`, 0600, generated
    DATA/postgres/settings.json   port, cluster name, how root runs it
    DATA/postgres/keep            present after `db start`: stay until `db stop`
    DATA/postgres/postgres.log    the server's own words
    DATA/run/postgres.lock        held while starting, stopping, joining, leaving
    DATA/run/postgres.users       held shared by every user; who can take it alone is the last
    DATA/run/postgres.pid         the postmaster, for outsiders; never trusted here

A live server is proved by a connection in which it, too, proves that it knows the password (SCRAM), and by its data
folder. Locks vanish with their process, so kill -9 of a user leaves a server that the next start adopts; after kill -9
of the postmaster the next start waits for its children to end, removes the stale lock file and lets PostgreSQL recover.
All functions block: call them in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alphakite.errors import TransientError
from alphakite.store.cluster import Cluster, Endpoint

LOCK_WITHIN_S = 150.0
"""A first start, or a long recovery, in another process may take so long."""


@dataclass(frozen=True)
class Condition:
    """What `db status` says. `dsn`: where it listens when it runs; "" before its first start."""

    running: bool
    kept: bool
    pid: int | None
    port: int | None
    way: str
    dsn: str


class Lease:
    """One process's use of the embedded server. `join` and `leave` may be called again."""

    def __init__(self, data_dir: Path) -> None:
        self._cluster = Cluster(data_dir)
        self._users: int | None = None
        self._guard = threading.Lock()

    def join(self) -> Endpoint:
        """Be a user, and have a running server. Raises: UnavailableError, ConfigError."""
        with self._guard:
            self._cluster.make_folders()
            with _locked(self._cluster):
                joined = self._users is not None
                if self._users is None:
                    self._users = _open_lock(self._cluster, "postgres.users")
                    fcntl.flock(self._users, fcntl.LOCK_SH)  # nobody holds it alone outside postgres.lock
                try:
                    return self._cluster.ensure()
                except BaseException:
                    if not joined:
                        self._drop()
                    raise

    def leave(self) -> None:
        """No longer be a user; the last one stops the server, unless `db start` asked for it."""
        with self._guard:
            if self._users is None:
                return
            try:
                with _locked(self._cluster):
                    if _alone(self._users) and not self._cluster.keep.exists():
                        self._cluster.stop()
            finally:
                self._drop()

    def _drop(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None


@contextlib.contextmanager
def lease(data_dir: Path) -> Iterator[Endpoint]:
    """Use the server for the length of a `with` block."""
    user = Lease(data_dir)
    try:
        yield user.join()
    finally:
        user.leave()


def ensure_running(data_dir: Path) -> Endpoint:
    """Start or adopt the server, without becoming a user of it. Raises: UnavailableError, ConfigError."""
    cluster = Cluster(data_dir)
    cluster.make_folders()
    with _locked(cluster):
        return cluster.ensure()


def find_running(data_dir: Path) -> Endpoint | None:
    """The server if it answers; nothing is started."""
    return Cluster(data_dir).proved()


def keep_running(data_dir: Path) -> Endpoint:
    """Start or adopt the server; it then stays until `stop`."""
    cluster = Cluster(data_dir)
    cluster.make_folders()
    with _locked(cluster):
        endpoint = cluster.ensure()
        cluster.keep.touch(mode=0o600)
        return endpoint


def stop(data_dir: Path) -> bool:
    """Take back `keep_running`; stop the server if nobody uses it. False: somebody does, who stops it when leaving."""
    cluster = Cluster(data_dir)
    if not cluster.root.exists():
        return True
    cluster.make_folders()
    with _locked(cluster):
        cluster.keep.unlink(missing_ok=True)
        users = _open_lock(cluster, "postgres.users")
        try:
            if not _alone(users):
                return False
            cluster.stop()
            return True
        finally:
            os.close(users)


def condition(data_dir: Path) -> Condition:
    """Whether it runs, where, and how to reach it."""
    cluster = Cluster(data_dir)
    endpoint = cluster.proved()
    return Condition(
        running=endpoint is not None,
        kept=cluster.keep.exists(),
        pid=endpoint.pid if endpoint else None,
        port=cluster.settings.port or None,
        way=cluster.settings.way,
        dsn=cluster.endpoint().dsn if cluster.folder.exists() else "",
    )


def _open_lock(cluster: Cluster, name: str) -> int:
    return os.open(cluster.run / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _locked(cluster: Cluster) -> Iterator[None]:
    """Alone among all processes, for starting and stopping."""
    lock = _open_lock(cluster, "postgres.lock")
    try:
        deadline = time.monotonic() + LOCK_WITHIN_S
        while not _alone(lock):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"another command has been starting or stopping PostgreSQL for {LOCK_WITHIN_S:.0f} s",
                    next_step=f"see which process holds {cluster.run / 'postgres.lock'}",
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(lock)
