"""Programs that are measured run as children of the bench, so that CPU time and memory are their own.

A child speaks lines of JSON: it answers on stdout what it is told on stdin. Its stderr goes to a file, shown if it
fails.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ANSWER_WITHIN_S = 90.0
END_WITHIN_S = 15.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ChildError(Exception):
    """A measured program failed."""


class Child:
    """`python -m bench.NAME ARGUMENTS`, talked to by lines of JSON. `close` ends it; it is a context manager."""

    def __init__(self, name: str, *arguments: str, scratch: Path, env: dict[str, str] | None = None) -> None:
        self._name = name
        self._log = scratch / f"{name}.stderr"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"bench.{name}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=os.environ | (env or {}),
                text=True,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def tell(self, **message: object) -> None:
        """Say one thing."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def hear(self, within_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
        """The next answer. Raises: ChildError when it ended or said nothing in time."""
        try:
            line = self._lines.get(timeout=within_s)
        except queue.Empty:
            line = ""
        if not line:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise ChildError(f"bench.{self._name} said nothing within {within_s:.0f} s or ended:\n{tail}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Close its stdin, by which it ends; kill it if it does not."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.close()
            process.wait(END_WITHIN_S)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self._lines.put(line)
        self._lines.put("")


def say(**message: object) -> None:
    """What a child answers."""
    print(json.dumps(message), flush=True)


def listen() -> dict[str, Any] | None:
    """What a child is told; None when it is to end."""
    line = sys.stdin.readline()
    return json.loads(line) if line else None


def peak_rss_mb(pid: int | str = "self") -> float:
    """The most memory a process has had resident, 10^6 bytes; ru_maxrss would count the parent's before exec."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def own_cpu_s(pid: int) -> float:
    """CPU seconds of one process, user and system, all its threads, none of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def tree_cpu_s(pid: int) -> float | None:
    """CPU seconds of a process and its descendants, ended ones included; None where /proc cannot tell."""
    times = {one: (parent, own) for one, parent, own in _processes()}
    if pid not in times:
        return None
    return sum(times[member][1] for member in family(pid, times))


def family(pid: int, known: dict[int, tuple[int, float]] | None = None) -> set[int]:
    """A process and its descendants that live."""
    times = {one: (parent, own) for one, parent, own in _processes()} if known is None else known
    found = {pid}
    while more := {child for child, (parent, _) in times.items() if parent in found} - found:
        found |= more
    return found


def _processes() -> Iterator[tuple[int, int, float]]:
    """(pid, parent, CPU seconds with those of ended children) of all."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            own = (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) / TICKS_PER_S
            yield int(entry.name), int(fields[1]), own
