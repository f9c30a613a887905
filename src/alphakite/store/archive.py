"""The archive of a day (UTC) of rows, made before they are removed to make room.

In:   a connection, a folder.      Out:  files in it, of each table `option_prices-2026-11-20.csv.gz`, which is what
`alphakite export` shows of that day, and last the manifest `2026-11-20.json`, without which there is no archive.
Everything is written to a temporary name, synced and renamed. What is whole is never overwritten: rows of a day that
come after it was removed make a second archive, `2026-11-20.2.json`. Memory is bounded: rows stream into a gzip file.
`verified` trusts nothing: it reads each file again and compares its content with what the database holds now.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import itertools
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from alphakite.store.copying import CHUNK_BYTES, WITHIN_S, copy_out
from alphakite.store.tables import instant

LEVEL = 4
"""Of gzip: half the time of 6 for a few per cent more."""
SCHEMA = 1
ORDER = {
    "equity_data": "ticker, timestamp, journal_no, seq, item",
    "indicators": "ticker, timestamp, journal_no, seq, item",
    "indicator_values": "ticker, timestamp, journal_no, seq, item, definition_id",
    "option_prices": "option_symbol, timestamp, journal_no, seq, item",
    "option_images": "option_symbol, timestamp, journal_no, seq, item",
    "streaming_metrics": "timestamp, id",
}
"""Each table's key."""
SHOWN = {
    "timestamp with time zone": """to_char({0} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
    "date": "to_char({0}, 'YYYY-MM-DD')",
    "boolean": "{0}::text",
}
"""How a type is written, whatever the connection's own settings are; any other as PostgreSQL does."""
COLUMNS_SQL = """
select attname::text, format_type(atttypid, null) from pg_catalog.pg_attribute
where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum
"""


class File(msgspec.Struct, frozen=True):
    """A table's file in the manifest. `sha256`: of the file. `content_sha256`: of the CSV in it. Times: RFC 3339."""

    file: str
    rows: int
    sha256: str
    content_sha256: str
    low: str
    high: str


class Manifest(msgspec.Struct, frozen=True):
    """A day's archive."""

    schema: int
    day: str
    tables: dict[str, File]


@dataclass(frozen=True)
class Archived:
    """What was written. `rows`: by table. `bytes`: on disk."""

    manifest: Path
    rows: dict[str, int]
    bytes: int


async def write(connection: Any, folder: Path, low_us: int, high_us: int, tables: Sequence[str]) -> Archived:
    """Archive a day as one moment saw it.

    Args:
        connection: asyncpg.Connection, not in a transaction.
        folder: made if it is not there.
        low_us, high_us: the day, in µs since 1970 UTC.
    Raises: OSError (the disk), asyncpg's errors. Then there is no manifest.
    """
    day = f"{instant(low_us):%Y-%m-%d}"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    suffix = await asyncio.to_thread(_free_suffix, folder, day)
    manifest_path = folder / f"{day}{suffix}.json"
    files: dict[str, File] = {}
    taken = 0
    async with _one_moment(connection):
        for table in tables:
            path = folder / f"{table}-{day}{suffix}.csv.gz"
            content = hashlib.sha256()
            with _whole(path) as raw, gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed:

                def take(chunk: bytes, content: Any = content, packed: gzip.GzipFile = packed) -> None:
                    content.update(chunk)
                    packed.write(chunk)

                rows = await _stream(connection, table, low_us, high_us, take)
                await asyncio.to_thread(packed.close)
            sha256 = await asyncio.to_thread(_sha256, path)
            files[table] = File(path.name, rows, sha256, content.hexdigest(), _text(low_us), _text(high_us))
            taken += path.stat().st_size
    document = msgspec.json.format(msgspec.json.encode(Manifest(SCHEMA, day, files)), indent=2) + b"\n"
    with _whole(manifest_path) as raw:
        raw.write(document)
    return Archived(manifest_path, {table: one.rows for table, one in files.items()}, taken + len(document))


async def verified(connection: Any, folder: Path, low_us: int, high_us: int, tables: Sequence[str]) -> bool:
    """Whether a whole archive in the folder holds exactly what the database holds of that day now.

    Raises: OSError, asyncpg's errors.
    """
    day = f"{instant(low_us):%Y-%m-%d}"
    found = await asyncio.to_thread(_intact, folder, day)
    span = _text(low_us), _text(high_us)
    found = [one for one in found if all((f := one.tables.get(t)) and (f.low, f.high) == span for t in tables)]
    async with _one_moment(connection):
        for table in tables:
            if not found:
                return False
            content = hashlib.sha256()
            rows = await _stream(connection, table, low_us, high_us, content.update)
            same = rows, content.hexdigest()
            found = [one for one in found if (one.tables[table].rows, one.tables[table].content_sha256) == same]
    return bool(found)


@contextlib.asynccontextmanager
async def _one_moment(connection: Any) -> AsyncIterator[None]:
    """A snapshot. A host's limit for statements is not one for archiving."""
    snapshot = connection.transaction(isolation="repeatable_read", readonly=True)
    await snapshot.start()
    try:
        await connection.execute(f"set local statement_timeout = '{WITHIN_S:.0f}s'")
        yield
    finally:
        if not connection.is_closed():  # a cancellation closes it, and must not be hidden by what that leads to
            await snapshot.rollback()


async def _stream(connection: Any, table: str, low_us: int, high_us: int, take: Callable[[bytes], Any]) -> int:
    """A day's rows in key order as CSV, handed on in pieces; how many there were."""
    columns = await connection.fetch(COLUMNS_SQL, f"public.{table}")
    shown = ", ".join(f'{SHOWN.get(kind, "{0}").format(f"v.{name}")} as "{name}"' for name, kind in columns)
    order = ", ".join(f"v.{name}" for name in ORDER[table].split(", "))
    return await copy_out(
        connection,
        f"select {shown} from public.{table} v where v.timestamp >= '{_text(low_us)}'::timestamptz"
        f" and v.timestamp < '{_text(high_us)}'::timestamptz order by {order}",
        take,
        chunk_bytes=CHUNK_BYTES,
    )


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that appears whole, and on the disk, or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            _sync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        _sync(folder)
    finally:
        os.close(folder)


def _sync(number: int) -> None:
    os.fsync(number)


def _intact(folder: Path, day: str) -> list[Manifest]:
    """The manifests of a day whose files are what they say, the newest first."""
    found: list[Manifest] = []
    for number in itertools.count(1):
        path = folder / f"{day}{_suffix(number)}.json"
        if not path.exists():
            return found[::-1]
        if (manifest := _read(path)) is not None and _is_whole(folder, manifest):
            found.append(manifest)
    raise AssertionError


def _free_suffix(folder: Path, day: str) -> str:
    """The first whose archive is not there, or not whole."""
    for number in itertools.count(1):
        manifest = _read(folder / f"{day}{_suffix(number)}.json")
        if manifest is None or not _is_whole(folder, manifest):
            return _suffix(number)
    raise AssertionError


def _suffix(number: int) -> str:
    return "" if number == 1 else f".{number}"


def _read(path: Path) -> Manifest | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if found.schema == SCHEMA else None


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether each file is there, is the one that was written, and unpacks to what was packed."""
    for one in manifest.tables.values():
        path = folder / Path(one.file).name
        try:
            if _sha256(path) != one.sha256:
                return False
            with gzip.open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != one.content_sha256:
                    return False
        except (FileNotFoundError, gzip.BadGzipFile, zlib.error, EOFError):
            return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(us: int) -> str:
    """RFC 3339."""
    return instant(us).astimezone(UTC).isoformat().replace("+00:00", "Z")
