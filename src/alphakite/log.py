"""One structured line on stderr for each change of state, over the standard library's logging.

    text  2026-11-24T18:00:00.000Z info recorder connected conn=1
    json  {"ts":"2026-11-24T18:00:00.000Z","level":"info","part":"recorder","event":"connected","conn":1}

`log.get("recorder").info("connected", conn=1)`: the event in the past tense, what belongs to it as keywords. Nothing
per quote above debug. `auto` is text on a terminal and JSON elsewhere. Strings given to `redact` appear as *** in every
line, whatever field or traceback they stand in.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

ROOT = "alphakite"
SHORTEST_SECRET = 4
"""Characters; a shorter string would blot out innocent text."""

_secrets: set[str] = set()


class Log:
    """One part's voice."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._logger = logging.getLogger(f"{ROOT}.{part}")

    def debug(self, event: str, **fields: object) -> None:
        """For a developer."""
        self._say(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """A change of state."""
        self._say(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Unexpected; nothing is lost."""
        self._say(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something is lost, or a person is needed."""
        self._say(logging.ERROR, event, fields)

    def _say(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={"part": self._part, "fields": fields})


class LineFormatter(logging.Formatter):
    """Makes one line of a record, the secrets blotted out. Lines of other libraries get their logger's name as part."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
        level, part = record.levelname.lower(), str(getattr(record, "part", record.name))
        event = conceal(record.getMessage())
        if self._as_json:
            head = {"ts": at, "level": level, "part": part, "event": event}
            return json.dumps(head | {name: _json_value(value) for name, value in fields.items()}, ensure_ascii=False)
        spoken = "".join(f" {name}={_text_value(value)}" for name, value in fields.items())
        return f"{at} {level} {part} {event}{spoken}".replace("\n", "\\n")


def get(part: str) -> Log:
    """The voice of one part of the service."""
    return Log(part)


def setup(level: str = "info", style: str = "auto", *, stream: TextIO | None = None) -> None:
    """Send lines to stderr. May be called again; the last call counts.

    Args: level, style: the settings LOG_LEVEL and LOG_FORMAT. stream: instead of stderr.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(as_json=style == "json" or (style == "auto" and not stream.isatty())))
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one.formatter, LineFormatter)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # other libraries speak only when something is wrong
    logging.getLogger(ROOT).setLevel(level.upper())


def redact(*values: str) -> None:
    """Never show these strings in any line from now on."""
    _secrets.update(value for value in values if len(value) >= SHORTEST_SECRET)


def conceal(text: str) -> str:
    """The text with every registered secret replaced."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _json_value(value: object) -> object:
    return value if value is None or isinstance(value, (bool, int, float)) else conceal(str(value))


def _text_value(value: object) -> str:
    text = conceal(str(value))
    return json.dumps(text, ensure_ascii=False) if text == "" or any(c in text for c in ' "=\n') else text
