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

SOON = {"Retry_After": "0.05"}
SURVIVED = [
    said(401, None, "Invalid API key"),
    said(401, "PGRST301", "JWT expired"),
    said(402, None, "exceed_db_size_quota", **SOON),
    said(403, "42501", "permission denied for function recorder_write"),
    page(403),
    said(404, "PGRST202", "Could not find the function public.recorder_write in the schema cache"),
    said(405, "25006", "cannot execute UPDATE in a read-only transaction"),
    said(409, "23505", "duplicate key value violates unique constraint"),
    page(413),
    said(429, None, "Too many requests", **SOON),
    said(500, "57014", "canceling statement due to statement timeout"),
    page(500),
    page(502, after=True),
    said(503, "PGRST001", "Database client error. Retrying the connection."),
    said(503, "PGRST002", "Could not query the database for the schema cache. Retrying.", **SOON),
    said(504, "PGRST003", "Timed out acquiring connection from connection pool."),
    page(504, after=True),
    page(520),
    page(524, after=True),
    said(540, None, "Project paused", **SOON),
    said(544, None, "Project API gateway timeout"),
    page(200),
    page(200, after=True),
    page(302),
    Fault("200 empty", 200, b" "),
    Fault("200 of another", 200, b'{"ok": true}', after=True),
    DROPPED_BEFORE,
    DROPPED_AFTER,
    raised("25006"),
    raised("40P01"),
    raised("53100"),
    raised("57014"),
    raised("57P01"),
]
"""What a recorder lives through. What stops it (500/21000, 400) is in tests/supabase/test_rest_sink.py."""
