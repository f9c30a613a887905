"""Lists in documents are what the program says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_reference_pages_are_up_to_date(checkout: Path) -> None:
    """Commands and settings, as `make docs` would write them now."""
    done = subprocess.run(
        [sys.executable, checkout / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
