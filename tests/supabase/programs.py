"""Other people's programs that tests run: npm packages below TEST_CLIENTS, else where `make clients` puts them.

Which and at what version: package.json beside this file. Where one is absent its tests are skipped, with the reason.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(os.environ.get("TEST_CLIENTS") or Path(__file__).parents[2] / ".venv" / "clients")
NODE_FROM = 20
"""What supabase-js still runs on, though it asks for 22."""


@functools.cache
def lacking(package: str) -> str:
    """Why it cannot run here; "" if it can."""
    node = shutil.which("node")
    if node is None:
        return f"{package} needs Node.js {NODE_FROM} or newer: install nodejs and npm, then `make clients`"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout.strip()
    major = said.lstrip("v").partition(".")[0]
    if not major.isdigit() or int(major) < NODE_FROM:
        return f"{package} needs Node.js {NODE_FROM} or newer, here is {said or 'none that runs'}"
    if not (CLIENTS / "node_modules" / package / "package.json").is_file():
        return f"{package} is not installed: `make clients`"
    return ""


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skips a test where one of these is absent."""
    reasons = [reason for one in packages if (reason := lacking(one))]
    return pytest.mark.skipif(bool(reasons), reason="; ".join(reasons) or "nothing is lacking")


SUPABASE = "@supabase/cli-linux-x64"
"""Supabase's own command: what the package `supabase` starts here."""


def supabase_command() -> str:
    """The program itself."""
    return str(CLIENTS.resolve() / "node_modules" / SUPABASE / "bin" / "supabase")
