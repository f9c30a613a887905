"""What can go wrong between the recorder and a Supabase project, as an answer, a break or a sabotaged transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One misfortune of one request. `path`: part of the requests it fits; others pass and it waits."""

    name: str
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    """The answer comes instead of the true one, after the commit."""
    drop: str = ""
    """The connection breaks `before` the database hears of it, or `after` the commit."""
    sql: str = ""
    """Run within the transaction, before the statement."""
    path: str = "recorder_write"

    def fits(self, path: str) -> bool:
        return self.path in path


def said(status: int, code: str | None, message: str, **headers: str) -> Fault:
    """An answer as PostgREST or the gateway words it."""
    body = json.dumps({"code": code, "details": None, "hint": None, "message": message}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(f"{status} {code or 'gateway'}", status, body, named | {"Content-Type": "application/json"})


def page(status: int, *, after: bool = False) -> Fault:
    """Cloudflare's or a hotel's."""
    html = b"<!DOCTYPE html><html><head><title>Error</title></head><body>cloudflare</body></html>"
    return Fault(f"{status} page{' after' if after else ''}", status, html, {"Content-Type": "text/html"}, after=after)


def raised(code: str) -> Fault:
    """The database fails in the transaction, which is rolled back."""
    return Fault(f"raise {code}", sql=f"do $$ begin raise exception 'injected' using errcode = '{code}'; end $$")


DROPPED_BEFORE = Fault("dropped before", drop="before")
DROPPED_AFTER = Fault("dropped after the commit", drop="after")
