"""The embedded PostgreSQL: started, adopted, left, killed; by an ordinary user and by root."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from alphakite.errors import AlphakiteError, ConfigError, UnavailableError
from alphakite.store import embedded, privileges, processes
from alphakite.store.binaries import configuration, program
from alphakite.store.cluster import Cluster, Endpoint
from alphakite.store.database import Database
from alphakite.store.privileges import Way

USER = """
import sys, time
from pathlib import Path
from alphakite.store import embedded
endpoint = embedded.Lease(Path(sys.argv[1])).join()
print(endpoint.pid, flush=True)
time.sleep(600)
"""
"""A process that uses the server until it is killed."""


def wait_for(condition: Callable[[], object], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def fetch(endpoint: Endpoint, sql: str) -> object:
    async def go() -> object:
        connection = await asyncpg.connect(endpoint.local_dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(go())


def start_user(data: Path) -> tuple[subprocess.Popen[str], int]:
    """Another process that uses the server, and the postmaster it found."""
    user = subprocess.Popen([sys.executable, "-c", USER, str(data)], stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    return user, int(user.stdout.readline())


def kill(user: subprocess.Popen[str]) -> None:
    user.kill()
    user.wait()
    assert user.stdout is not None
    user.stdout.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a cluster, which its tests find and leave stopped."""
    data = tmp_path_factory.mktemp("embedded") / "data"
    with embedded.lease(data):
        pass
    return data


@pytest.fixture
def data(made: Path) -> Iterator[Path]:
    assert not embedded.condition(made).running
    yield made
    embedded.stop(made)
    assert processes.find(Cluster(made).folder, Cluster(made).settings.cluster).postmaster is None


def test_first_start(tmp_path: Path) -> None:
    """From nothing: loopback and scram only, secrets 0600, folders 0700, parents as they were."""
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o755)
    with embedded.lease(parent / "data") as endpoint:
        assert fetch(endpoint, "show fsync") == "on"
        assert fetch(endpoint, "show synchronous_commit") == "on"
        assert fetch(endpoint, "show listen_addresses") == "127.0.0.1"
        assert fetch(endpoint, "select count(*) from pg_hba_file_rules where auth_method <> 'scram-sha-256'") == 0
        assert fetch(endpoint, "select current_database()") == "postgres"
        root = parent / "data" / "postgres"
        for path, mode in ((root, 0o700), (root / "socket", 0o700), (root / "password", 0o600), (parent, 0o755)):
            assert stat.S_IMODE(path.stat().st_mode) == mode, path
        assert int((parent / "data" / "run" / "postgres.pid").read_text()) == endpoint.pid
        wrong = endpoint.dsn.replace((root / "password").read_text(), "wrong")
        with pytest.raises(asyncpg.InvalidPasswordError):
            asyncio.run(asyncpg.connect(wrong))
    assert not embedded.condition(parent / "data").running
    assert not (parent / "data" / "run" / "postgres.pid").exists()


def test_the_last_to_leave_stops_it(data: Path) -> None:
    """One user's end leaves it to the others; the last one's end stops it; nothing but the data stays."""
    first, second = embedded.Lease(data), embedded.Lease(data)
    pid = first.join().pid
    assert second.join().pid == pid
    assert first.join().pid == pid
    first.leave()
    assert embedded.condition(data).pid == pid
    second.leave()
    second.leave()
    assert not processes.alive(pid)
    assert embedded.find_running(data) is None


def test_it_stays_when_asked_to(data: Path) -> None:
    """`db start` outlives its users, `db stop` ends it, but not under somebody who uses it."""
    pid = embedded.keep_running(data).pid
    with embedded.lease(data) as endpoint:
        assert endpoint.pid == pid
    assert embedded.condition(data).kept
    user = embedded.Lease(data)
    user.join()
    assert embedded.stop(data) is False
    assert embedded.condition(data).pid == pid
    user.leave()
    assert not embedded.condition(data).running


def test_kill_of_its_user_then_adoption(data: Path) -> None:
    """kill -9 of the process that started it: the next one adopts the same server, and stops it when leaving."""
    user, pid = start_user(data)
    kill(user)
    with embedded.lease(data) as endpoint:
        assert endpoint.pid == pid
    assert not processes.alive(pid)


def test_kill_of_the_postmaster_then_recovery(data: Path) -> None:
    """kill -9 of PostgreSQL, with a session in the middle of its work: the next start has what was committed."""
    with embedded.lease(data) as endpoint:
        fetch(endpoint, "create table if not exists public.kept (a int)")
        fetch(endpoint, "insert into public.kept values (1)")
        before = fetch(endpoint, "select count(*) from public.kept")
        busy = subprocess.Popen(
            [program("psql"), endpoint.dsn, "-qc", "select count(*) from generate_series(1, 1000000000)"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: fetch(endpoint, "select count(*) from pg_stat_activity where query like '%series%'") == 2)
        os.kill(endpoint.pid, signal.SIGKILL)
        again = embedded.ensure_running(data)
        busy.wait()
        assert again.pid != endpoint.pid
        assert fetch(again, "select count(*) from public.kept") == before
        assert (again.dsn, again.port) == (endpoint.dsn, endpoint.port)
        assert int((data / "run" / "postgres.pid").read_text()) == again.pid


def test_kill_of_both(data: Path) -> None:
    """User and postmaster killed at once."""
    user, pid = start_user(data)
    os.kill(pid, signal.SIGKILL)
    kill(user)
    with embedded.lease(data) as endpoint:
        assert endpoint.pid != pid
        assert fetch(endpoint, "select 1") == 1


def test_a_pid_file_that_names_a_stranger(data: Path) -> None:
    """After a reboot the old pid may be anybody's: a live pid in postmaster.pid proves nothing."""
    with embedded.lease(data) as endpoint:
        old = (Cluster(data).folder / "postmaster.pid").read_text().splitlines()
        pid = endpoint.pid
    (Cluster(data).folder / "postmaster.pid").write_text("\n".join([str(os.getppid()), *old[1:]]) + "\n")
    with embedded.lease(data) as endpoint:
        assert endpoint.pid not in (pid, os.getppid())


def test_two_starts_at_once(data: Path) -> None:
    """Four users that come at the same moment, two of them processes of their own, find one server."""
    with ThreadPoolExecutor(4) as pool:
        users = [pool.submit(start_user, data) for _ in range(2)]
        leases = [embedded.Lease(data) for _ in range(2)]
        pids = {one.pid for one in pool.map(embedded.Lease.join, leases)} | {one.result()[1] for one in users}
    assert len(pids) == 1
    for one in users:
        kill(one.result()[0])
    for lease in leases:
        lease.leave()
    assert not embedded.condition(data).running


def test_a_port_that_is_taken(data: Path) -> None:
    """Somebody else listens on our port: a new one is chosen, kept, and theirs is not disturbed."""
    port = embedded.condition(data).port
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port or 0))
        stranger.listen()
        with embedded.lease(data) as endpoint:
            assert endpoint.port != port
            assert f":{endpoint.port}/" in endpoint.dsn
    with embedded.lease(data) as again:
        assert again.port == endpoint.port


def test_another_folders_server_is_not_ours(data: Path, tmp_path: Path) -> None:
    """A copy of a data folder, password and port included, does not adopt the original's server."""
    subprocess.run(["cp", "-a", str(data / "postgres"), str(tmp_path / "postgres")], check=True)
    with embedded.lease(data) as endpoint:
        assert embedded.find_running(tmp_path) is None
        with embedded.lease(tmp_path) as copied:
            assert (copied.pid, copied.port) != (endpoint.pid, endpoint.port)


def test_half_made_clusters_are_swept(tmp_path: Path) -> None:
    """A kill during initdb leaves nothing that the next start trips over; a strange folder is refused, not touched."""
    half = tmp_path / "postgres" / "data.new-0badcafe"
    half.mkdir(parents=True)
    (half / "junk").write_text("x")
    with embedded.lease(tmp_path) as endpoint:
        assert fetch(endpoint, "select 1") == 1
    assert not half.exists()
    strange = tmp_path / "other" / "postgres" / "data"
    strange.mkdir(parents=True)
    with pytest.raises(ConfigError, match="not a PostgreSQL data folder"):
        embedded.ensure_running(tmp_path / "other")


def test_a_path_too_long_for_a_socket() -> None:
    """Beyond 107 bytes there is no Unix socket, and TCP serves."""
    assert "unix_socket_directories = ''" in configuration(5432, Path("/" + "x" * 100), "alphakite-1")
    assert "unix_socket_directories = '/x''y'" in configuration(5432, Path("/x'y"), "alphakite-1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root meets PostgreSQL's refusal to be root")
@pytest.mark.parametrize("way", [Way.USERNS, Way.CAPABILITY])
def test_root_in_a_folder_of_its_own(data: Path, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, below a folder that only root can enter: both ways run it, parents keep their rights, data moves along."""
    closed = data.parent
    closed.chmod(0o700)
    works = privileges._refusal(way, data / "postgres", program("postgres"))
    if works:
        pytest.skip(f"{way} does not work on this machine: {works}")
    monkeypatch.setattr(privileges, "choose", lambda *_: way)
    with embedded.lease(data) as endpoint:
        uid = Path(f"/proc/{endpoint.pid}").stat().st_uid
        owner = (data / "postgres" / "data").stat().st_uid
        assert (owner == 0) == (way is Way.USERNS)
        assert way is Way.USERNS or uid != 0
        fetch(endpoint, "create temporary table t (a int)")
    assert embedded.condition(data).way == way
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_an_id_without_an_account(tmp_path: Path) -> None:
    """A container's `--user 1234`: no line in /etc/passwd, which initdb asks for."""
    code = f"""from pathlib import Path
from alphakite.store import embedded
with embedded.lease(Path({str(tmp_path / "data")!r})) as endpoint: print(endpoint.pid)"""
    strange = ["unshare", "-U", "--map-user=1234", "--map-group=1234"]
    if subprocess.run([*strange, "true"], check=False).returncode:
        pytest.skip("user namespaces are forbidden here")
    done = subprocess.run([*strange, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().isdigit() or "has no account here" in done.stderr, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to find a way")
def test_no_way_for_root(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing works, the error says what to do."""
    monkeypatch.setattr(privileges, "_refusal", lambda *_: "no")
    with pytest.raises(UnavailableError, match="root") as caught:
        embedded.ensure_running(data)
    assert "ordinary user" in caught.value.next_step


async def test_database_of_a_folder(data: Path) -> None:
    """Database: looking does not start it; using starts and migrates it; closing stops it."""
    settings = SimpleNamespace(data_dir=data, database_url="", supabase_url="")
    looking, using = Database(settings), Database(settings)
    with pytest.raises(UnavailableError):
        await looking.connect(start=False)
    connection = await using.connect()
    seen = await looking.connect(start=False)
    assert await seen.fetchval("select count(*) from public.stream_gaps") == 0
    await seen.close()
    await connection.close()
    await looking.close()
    assert await using.dsn() == await using.dsn()
    await using.close()
    await using.close()
    assert embedded.find_running(data) is None


@pytest.mark.parametrize("url", ["postgresql://x", "postgresql://u:p@host:5432/db?sslmode=never"])
async def test_an_impossible_url(url: str) -> None:
    """A DATABASE_URL that cannot be one, or a host that is not there, is one of our errors."""
    database = Database(SimpleNamespace(data_dir=Path("unused"), database_url=url.replace("//x", "//127.0.0.1:1/x")))
    with pytest.raises(AlphakiteError):
        await database.connect()
    await database.close()
