"""Which processes belong to one embedded PostgreSQL: its postmaster, and the children that may outlive it.

A pid in a file proves nothing (it may be reused, or a zombie's), so the process list is read. The postmaster is known
by its `-D FOLDER`; a child by the cluster's name, which PostgreSQL writes into its title: `postgres: NAME: walwriter`.
Command lines are readable for everyone, also where /proc/PID/cwd is not (root in a container without SYS_PTRACE).
A zombie has no command line and is not found.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClusterProcesses:
    """The live processes of one cluster."""

    postmaster: int | None
    children: tuple[int, ...]


def find(folder: Path, cluster: str) -> ClusterProcesses:
    """The processes of the cluster in `folder` (absolute) whose `cluster_name` is `cluster`."""
    postmaster: int | None = None
    children: list[int] = []
    for pid, line in _command_lines():
        words = line.split("\0")
        if line.startswith(f"postgres: {cluster}: "):
            children.append(pid)
        elif _is_postmaster(words, folder) or (len(words) == 1 and f"/postgres -D {folder} " in line + " "):
            postmaster = pid
    return ClusterProcesses(postmaster, tuple(children))


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    return any(found == pid for found, _ in _command_lines(pid))


def _is_postmaster(words: list[str], folder: Path) -> bool:
    """Also before exec has replaced `setpriv … postgres -D FOLDER` by postgres itself."""
    return any(
        word.endswith("/postgres") and words[at + 1 : at + 3] == ["-D", str(folder)] for at, word in enumerate(words)
    )


def _command_lines(only: int | None = None) -> Iterator[tuple[int, str]]:
    """(pid, command line); the words are parted by NUL on Linux, by blanks elsewhere."""
    if sys.platform != "linux":
        listed = subprocess.run(["ps", "-axo", "pid=,args="], capture_output=True, text=True, check=False).stdout
        for row in listed.splitlines():
            pid, _, line = row.strip().partition(" ")
            if only is None or int(pid) == only:
                yield int(pid), line.strip()
        return
    folders = [Path(f"/proc/{only}")] if only is not None else Path("/proc").iterdir()
    for entry in folders:
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0 ")
            except OSError:
                continue
            if line:
                yield int(entry.name), line
