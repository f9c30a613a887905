"""The recorder as it is shipped, `alphakite run`, watched from outside: its CPU time, its memory, its status.

Its settings are the defaults but for the address of the local Schwab, tickers, and CLOCK=feed, without which nothing
would be in session. Its PostgreSQL is the embedded one, a process apart. Contracts beyond the recorder's own cap are
followed only when the cap is raised; nothing else of it is touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from alphakite.feed.schwab.subscriptions import CAPS
from alphakite.metrics import Status, read_status
from bench.child import END_WITHIN_S, ROOT, ChildError, own_cpu_s, peak_rss_mb, tree_cpu_s

RAISED = (
    "import sys; from alphakite.feed.schwab.subscriptions import CAPS; CAPS['LEVELONE_OPTIONS'] = int(sys.argv.pop());"
    " from alphakite.cli.main import main; sys.exit(main())"
)
LOOK_S = 0.1
READY_WITHIN_S = 90.0


class Recorder:
    """One `alphakite run` with a new data folder. A context manager; it is stopped in order."""

    def __init__(self, data_dir: Path, port: int, settings: dict[str, str], cap: int = 0) -> None:
        program = ["-c", RAISED, "run", str(cap)] if cap > CAPS["LEVELONE_OPTIONS"] else ["-m", "alphakite", "run"]
        self._data_dir = data_dir
        data_dir.mkdir(mode=0o700)
        token = {"access_token": "bench", "refresh_token": "bench", "expires_at": int(time.time()) + 86_400}
        kept = {"creation_timestamp": int(time.time()), "token": token}
        (data_dir / "token.json").write_text(json.dumps(kept))
        env = {
            "DATA_DIR": str(data_dir),
            "SCHWAB_API_URL": f"http://127.0.0.1:{port}",
            "SCHWAB_APP_KEY": "bench",
            "SCHWAB_APP_SECRET": "bench",
            "CLOCK": "feed",
        }
        self._log = data_dir.with_suffix(".log")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *program], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env=os.environ | env | settings,
            )  # fmt: skip

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_for(self, what: str, is_so: Callable[[Status], bool], within_s: float = READY_WITHIN_S) -> Status:
        """The first status of which it is so. Raises: ChildError when it ends before, or that takes too long."""
        deadline = time.monotonic() + within_s
        while True:
            status = read_status(self._data_dir)
            if status is not None and is_so(status):
                return status
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace")[-2000:]
                seen = {} if status is None else {
                    name: getattr(status, name) for name in ("state", "images", "updates", "derived", "options")
                }  # fmt: skip
                raise ChildError(f"the recorder is not there yet: {what}; {seen}\n{tail}")
            time.sleep(LOOK_S)

    def cpu_s(self) -> tuple[float, float | None]:
        """CPU seconds of the recorder alone, and of its PostgreSQL."""
        try:
            postgres = int((self._data_dir / "run" / "postgres.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return own_cpu_s(self._process.pid), None
        return own_cpu_s(self._process.pid), tree_cpu_s(postgres)

    def peak_mb(self) -> float:
        """The most memory it has had resident."""
        return peak_rss_mb(self._process.pid)
