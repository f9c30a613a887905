"""What a client asks for: text of a WebSocket message in, commands out; nothing is decided here.

A bare request or `{"requests":[...]}`. Keys are never stripped: an option symbol's blanks are part of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(slots=True)
class Command:
    """One request, with what is known of it; `sound` if service, command and requestid are there."""

    service: str
    command: str
    request_id: str
    customer_id: str
    correl_id: str
    parameters: dict[str, object]
    sound: bool

    @property
    def keys(self) -> list[str]:
        """The symbols named, each once, in their order."""
        return list(dict.fromkeys(_list(self.parameters.get("keys"))))

    @property
    def fields(self) -> frozenset[int]:
        """Field numbers; empty if any of them is not a number. Numbers beyond the table are ignored by who sends."""
        texts = [text.strip() for text in _list(self.parameters.get("fields"))]
        return frozenset(int(text) for text in texts) if all(map(_is_number, texts)) else frozenset()


def parse_commands(text: str) -> list[Command]:
    """The commands of a message; a message that is none is one command that is not sound."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    requests = whole.get("requests", [whole]) if isinstance(whole, dict) else [None]
    return [_command(request) for request in (requests if isinstance(requests, list) and requests else [None])]


def _command(request: object) -> Command:
    known = request if isinstance(request, dict) else {}
    parameters = known.get("parameters", {})
    texts = {name: known.get(name) for name in ("service", "command", "requestid")}
    sound = all(isinstance(value, str | int) and value != "" for value in texts.values()) and isinstance(
        parameters, dict
    )
    return Command(
        service=str(known.get("service", "")),
        command=str(known.get("command", "")),
        request_id=str(known.get("requestid", "")),
        customer_id=str(known.get("SchwabClientCustomerId", "")),
        correl_id=str(known.get("SchwabClientCorrelId", "")),
        parameters=parameters if isinstance(parameters, dict) else {},
        sound=sound,
    )


def _list(value: object) -> list[str]:
    return [key for key in value.split(",") if key] if isinstance(value, str) else []


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6
