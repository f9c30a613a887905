"""The settings file as text: change some lines, keep every other byte.

Read by `config.py` with python-dotenv's grammar; a value written here reads back equal. The file becomes visible whole,
with the mode it had, 0600 if it is new, for it may hold secrets.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./=$-]*")
"""What needs no quotes. config.py reads without interpolation, so `$` is itself."""


def quoted(value: str) -> str:
    """A value as python-dotenv reads it back. A line break cannot be written."""
    if "\n" in value or "\r" in value:
        raise ValueError("a setting is one line")
    if PLAIN.fullmatch(value):
        return value
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def changed(text: str, values: Mapping[str, str]) -> str:
    """The text with these names set: the last line of a name is replaced, a new one is put at the end."""
    lines = text.splitlines(keepends=True)
    for name, value in values.items():
        line = re.compile(rf"\s*(export\s+)?{re.escape(name)}\s*=")
        places = [place for place, found in enumerate(lines) if line.match(found)]
        written = f"{name}={quoted(value)}\n"
        if places:
            lines[places[-1]] = written
        else:
            if lines and not lines[-1].endswith("\n"):
                lines[-1] += "\n"
            lines.append(written)
    return "".join(lines)


def write(path: Path, values: Mapping[str, str]) -> None:
    """Set these names in the file, which need not exist. Raises OSError, UnicodeDecodeError."""
    target = path.resolve()  # a link stays a link
    text = target.read_text(encoding="utf-8") if target.exists() else ""
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
    draft = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(changed(text, values))
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(mode)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
