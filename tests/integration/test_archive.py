"""A day's archive: what it holds, what makes it worthless, and that a stranger can load it again."""

from __future__ import annotations

import asyncio
import csv
import errno
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from alphakite.cli.main import main
from alphakite.store import archive, embedded
from alphakite.store.cluster import Endpoint
from alphakite.store.database import connect
from alphakite.store.migrate import apply
from alphakite.store.partitions import DAY_US

DAY = 1_795_132_800_000_000
"""2026-11-20."""
SPAN = (DAY, DAY + DAY_US)
TABLES = ("option_prices", "option_images")
FILES = ["2026-11-20.json", "option_images-2026-11-20.csv.gz", "option_prices-2026-11-20.csv.gz"]
ROWS = 5000
COLUMNS = "ticker, timestamp, option_type, strike_price, expiration_date, option_symbol, flags, seq, bid, ask, last"
FILL = """
insert into store.{table} ({columns})
select 'QQQ', '2026-11-20 14:30Z'::timestamptz + i * interval '1.000001 second', 'CALL', 600.5, '2026-11-24',
       'QQQ   261124C0060' || lpad((i % 100)::text, 4, '0'), i % 3, i, 1.50, null, 0.00000001 * i
from generate_series(1, {rows}) i
"""
LATE = "update store.option_prices set bid = 9 where seq = 7"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Endpoint]:
    """Two option tables with rows of a day, and of the days before and after it."""

    async def fill(dsn: str) -> None:
        connection = await connect(dsn)
        await apply(connection)
        await connection.execute("select store.ensure_partitions('2026-11-20', '2026-11-21', '{option_prices}')")
        for table in TABLES:
            await connection.execute(FILL.format(table=table, columns=COLUMNS, rows=ROWS))
            for day in ("2026-11-19T23:59:59.999999Z", "2026-11-21T00:00:00Z"):
                values = f"'QQQ', '{day}', 'PUT', 1, '2026-11-24', 'QQQ   X', 0, 0, 1, 1, 1"
                await connection.execute(f"insert into store.{table} ({COLUMNS}) values ({values})")
        await connection.close()

    with embedded.lease(data) as endpoint:
        asyncio.run(fill(endpoint.local_dsn))
        yield endpoint


@pytest_asyncio.fixture
async def connection(server: Endpoint) -> Any:
    opened = await connect(server.local_dsn)
    yield opened
    await opened.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def test_holds_the_day_as_export_shows_it(
    connection: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Byte by byte, in key order; the manifest says what is in it."""
    found = await archive.write(connection, tmp_path / "a" / "b", *SPAN, TABLES)
    folder = tmp_path / "a" / "b"
    assert names(folder) == FILES
    assert found.rows == {"option_prices": ROWS, "option_images": ROWS}
    assert found.bytes == sum((folder / name).stat().st_size for name in FILES)
    assert found.manifest == folder / FILES[0]
    manifest = json.loads(found.manifest.read_text())
    assert (manifest["schema"], manifest["day"], list(manifest["tables"])) == (1, "2026-11-20", list(TABLES))
    for table in TABLES:
        said = manifest["tables"][table]
        packed = (folder / said["file"]).read_bytes()
        assert said["sha256"] == hashlib.sha256(packed).hexdigest()
        assert (said["rows"], said["low"], said["high"]) == (ROWS, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z")
        words = ["export", table, "--from", "2026-11-20", "--to", "2026-11-21", "--data", str(data)]
        assert await asyncio.to_thread(main, words) == 0
        assert gzip.decompress(packed).decode() == capsys.readouterr().out
    assert await archive.verified(connection, folder, *SPAN, TABLES)
    assert await archive.verified(connection, folder, *SPAN, TABLES[:1])


async def test_a_connection_with_other_settings_writes_the_same(
    connection: Any, server: Endpoint, tmp_path: Path
) -> None:
    """Zone and date style of a session are not those of the archive."""
    await archive.write(connection, tmp_path, *SPAN, TABLES)
    other = await asyncpg.connect(server.dsn, server_settings={"timezone": "Asia/Tokyo", "datestyle": "SQL, DMY"})
    assert await archive.verified(other, tmp_path, *SPAN, TABLES)
    await other.close()


async def test_verified_trusts_nothing(connection: Any, tmp_path: Path) -> None:
    """No manifest, another day, a lost or a changed file, another row in the database: no."""
    assert not await archive.verified(connection, tmp_path / "none", *SPAN, TABLES)
    await archive.write(connection, tmp_path / "a", *SPAN, TABLES)
    next_day = (SPAN[1], SPAN[1] + DAY_US)
    assert not await archive.verified(connection, tmp_path / "a", *next_day, TABLES)
    assert not await archive.verified(connection, tmp_path / "a", *SPAN, (*TABLES, "equity_data"))

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-2])

    def change(path: Path) -> None:
        found = bytearray(path.read_bytes())
        found[len(found) // 2] ^= 1
        path.write_bytes(found)

    def exchange(path: Path) -> None:
        path.write_bytes(path.with_name(FILES[1]).read_bytes() if path.name == FILES[2] else b"{}")

    damages: tuple[Callable[[Path], None], ...] = (cut, change, exchange, Path.unlink)
    for name in (FILES[2], FILES[0]):
        for damage in damages:
            if damage is change and name == FILES[0]:
                continue  # a space may change unnoticed
            folder = tmp_path / f"{name} {damage.__name__}"
            shutil.copytree(tmp_path / "a", folder)
            damage(folder / name)
            assert not await archive.verified(connection, folder, *SPAN, TABLES), folder
    assert await archive.verified(connection, tmp_path / "a", *SPAN, TABLES)
    await connection.execute(LATE)
    assert not await archive.verified(connection, tmp_path / "a", *SPAN, TABLES)
    await connection.execute("update store.option_prices set bid = 1.50 where seq = 7")
    assert await archive.verified(connection, tmp_path / "a", *SPAN, TABLES)


async def test_what_is_whole_is_never_overwritten(connection: Any, tmp_path: Path) -> None:
    """A day that has other rows now gets a second archive; one that is damaged is made again."""
    first = await archive.write(connection, tmp_path, *SPAN, TABLES)
    was = (tmp_path / FILES[2]).read_bytes()
    try:
        await connection.execute(LATE)
        second = await archive.write(connection, tmp_path, *SPAN, TABLES)
        assert second.manifest.name == "2026-11-20.2.json"
        assert await archive.verified(connection, tmp_path, *SPAN, TABLES)
    finally:
        await connection.execute("update store.option_prices set bid = 1.50 where seq = 7")
    assert (tmp_path / FILES[2]).read_bytes() == was
    assert await archive.verified(connection, tmp_path, *SPAN, TABLES)
    second.manifest.unlink()
    (tmp_path / FILES[1]).unlink()
    assert not await archive.verified(connection, tmp_path, *SPAN, TABLES)
    assert (await archive.write(connection, tmp_path, *SPAN, TABLES)).manifest == first.manifest
    assert (tmp_path / FILES[2]).read_bytes() == was


async def test_a_full_disk_leaves_nothing(connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No manifest, no piece; the connection goes on."""
    calls = 0
    real = gzip.GzipFile.write

    def full(self: gzip.GzipFile, data: Any) -> int:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(archive, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with pytest.raises(OSError, match="No space"):
        await archive.write(connection, tmp_path, *SPAN, TABLES)
    monkeypatch.undo()
    assert names(tmp_path) == []
    assert await connection.fetchval("select 1") == 1
    assert not await archive.verified(connection, tmp_path, *SPAN, TABLES)
    await archive.write(connection, tmp_path, *SPAN, TABLES)
    assert names(tmp_path) == FILES


KILLED = """
import asyncio, os, sys
from pathlib import Path
from alphakite.store import archive
from alphakite.store.database import connect
left = int(sys.argv[3])
def sync(number):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    os.fsync(number)
archive._sync = sync
async def go():
    await archive.write(await connect(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6:])
asyncio.run(go())
"""


async def test_killed_anywhere_it_is_made_again(connection: Any, server: Endpoint, tmp_path: Path) -> None:
    """At each sync: before it is done there is no archive, and the next try succeeds over what is left."""
    for moment in range(8):
        folder = tmp_path / str(moment)
        words = [server.local_dsn, str(folder), str(moment), *map(str, SPAN), *TABLES]
        ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, *words], timeout=60, check=False)
        done = FILES[0] in names(folder)
        assert ended.returncode == (9 if moment < 6 else 0)
        assert done == (moment >= 5), moment
        assert await archive.verified(connection, folder, *SPAN, TABLES) == done
        if not done:
            await archive.write(connection, folder, *SPAN, TABLES)
            assert names(folder) == FILES
            assert await archive.verified(connection, folder, *SPAN, TABLES)


@pytest.mark.parametrize("way", ["copy", "psql"])
async def test_a_stranger_loads_it_again(connection: Any, server: Endpoint, tmp_path: Path, way: str) -> None:
    """CSV with a header into a table of the view's columns: the same rows."""
    await archive.write(connection, tmp_path, *SPAN, TABLES)
    for table in TABLES:
        await connection.execute(f"drop table if exists again; create table again as select * from {table} limit 0")
        path = tmp_path / f"{table}-2026-11-20.csv.gz"
        if way == "psql":
            if (psql := shutil.which("psql")) is None:
                pytest.skip("no psql here: apt-get install postgresql-client")
            command = f"\\copy again from program 'gzip -dc {path}' csv header"
            await asyncio.to_thread(subprocess.run, [psql, "-qX", server.dsn, "-c", command], check=True, timeout=60)
        else:
            text = gzip.decompress(path.read_bytes())
            await connection.copy_to_table("again", source=io.BytesIO(text), format="csv", header=True)
        assert await connection.fetchval("select count(*) from again") == ROWS
        day = f"(select * from {table} where timestamp >= '2026-11-20Z' and timestamp < '2026-11-21Z')"
        for left, right in (("(table again)", day), (day, "(table again)")):
            assert await connection.fetch(f"{left} except all {right}") == []
        with gzip.open(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == ROWS
        assert (rows[0]["bid"], rows[0]["ask"], rows[0]["expiration_date"]) == ("1.50", "", "2026-11-24")
        assert [row["option_symbol"] for row in rows] == sorted(row["option_symbol"] for row in rows)
    await connection.execute("drop table again")
