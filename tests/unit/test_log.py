"""One line for each change of state, in two forms, and never a secret in it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from alphakite import log


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root, ours = logging.getLogger(), logging.getLogger(log.ROOT)
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    log._secrets.clear()


def lines(level: str, style: str) -> tuple[log.Log, io.StringIO]:
    stream = io.StringIO()
    log.setup(level, style, stream=stream)
    return log.get("recorder"), stream


def test_text_line() -> None:
    """Time, level, part, event, fields; a value with blanks is quoted."""
    voice, stream = lines("info", "text")
    voice.info("connected", conn=1, why="a b", nothing="")
    line = stream.getvalue()
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info recorder connected conn=1 why="a b" nothing=""\n', line
    )


def test_json_line() -> None:
    """The same as one object; numbers stay numbers."""
    voice, stream = lines("info", "json")
    voice.warning("journal_tail_cut", bytes=17, ok=True, lag_s=0.5, where=None)
    found = json.loads(stream.getvalue())
    assert found.pop("ts").endswith("Z")
    assert found == {
        "level": "warning",
        "part": "recorder",
        "event": "journal_tail_cut",
        "bytes": 17,
        "ok": True,
        "lag_s": 0.5,
        "where": None,
    }


def test_auto_is_json_where_there_is_no_terminal() -> None:
    """A service manager gets what machines read."""
    voice, stream = lines("info", "auto")
    voice.info("started")
    assert json.loads(stream.getvalue())["event"] == "started"


def test_level_and_second_setup() -> None:
    """Below the level nothing is said; a second set-up replaces the first instead of doubling each line."""
    voice, first = lines("info", "text")
    voice, second = lines("error", "text")
    voice.debug("a")
    voice.info("b")
    voice.error("c")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_a_message_stays_one_line() -> None:
    """A line break in a value cannot forge a line."""
    voice, stream = lines("info", "text")
    voice.info("failed", error="first\n2026-01-01T00:00:00.000Z error recorder forged")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_secret_never_shows(style: str) -> None:
    """In a field, in the event, in a traceback of ours or in another library's line."""
    voice, stream = lines("debug", style)
    log.redact("s3cret-key", "")
    voice.info("failed", url="postgresql://me:s3cret-key@host/db", detail=ValueError("s3cret-key"))
    logging.getLogger("somebody.else").error("token %s", "s3cret-key")
    try:
        raise ValueError("s3cret-key")
    except ValueError:
        logging.getLogger("alphakite.part").exception("broke")
    assert "s3cret-key" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 4
    assert stream.getvalue().count("\n") == 3
