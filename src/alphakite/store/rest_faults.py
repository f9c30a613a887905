"""Which answer of Supabase's REST is whose business: what faults.py is for a connection of our own.

In:   status, headers and body of an answer that is no success, or what httpx raised.      Out:  one of our errors.

    Away        TransientError: nothing is lost, the journal is the queue. `state` names it, `wait_s`: leave it in peace
    TooLarge    the gateway refuses the size of the request: smaller parts
    ConfigError, RejectedError, FatalError      as everywhere

The body of PostgREST is {"code", "message", "details", "hint"}, the gateway's only a message, Cloudflare's a page.
What Supabase documents and PostgREST's error map: both said in the tests of this file, one line each.
A key, an address or a schema that served before and does not now is Away: recording goes on, and a person is told.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping

import httpx
import msgspec

from alphakite.errors import AlphakiteError, ConfigError, FatalError, RejectedError, TransientError
from alphakite.store.faults import READ_ONLY, TRANSIENT_CLASSES

QUOTA_WAIT_S, PAUSED_WAIT_S, LONGEST_WAIT_S = 900.0, 60.0, 3600.0
"""Over quota is a state of days, paused one of hours: asked less often. And how long a Retry-After is obeyed."""
THROTTLED_WAIT_S = 5.0
SHOWN_CHARS = 200
SCHEMA_STEP = "run `alphakite migrate --sql` and paste what it prints into the SQL editor of the Supabase project"
KEY_STEP = (
    "correct SUPABASE_SERVICE_ROLE_KEY: the service_role key or an sb_secret_… key of this very project"
    " (Project Settings, API Keys)"
)
URL_STEP = "correct SUPABASE_URL: https://PROJECT.supabase.co, as under Project Settings, Data API"


class Away(TransientError):
    """The REST interface cannot serve now. What to do is part of the message: the status page shows nothing else."""

    def __init__(self, state: str, message: str, step: str = "", wait_s: float = 0.0) -> None:
        super().__init__(f"{message}{'; ' * bool(step)}{step} [{state}]")
        self.state, self.message, self.step = state, message, step
        self.wait_s = wait_s


class TooLarge(Away):
    """The request is larger than the gateway takes."""


class Said(msgspec.Struct):
    """What an answer says. `code`: an SQLSTATE or PGRST…; "" if none. `page`: it is no JSON of the API's."""

    code: str = ""
    message: str = ""
    page: bool = False


def read(body: bytes) -> Said:
    """What the body says, whoever wrote it."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Said(message="a page instead of an answer" if body else "an empty answer", page=True)
    if not isinstance(found, dict):
        return Said(message="an answer of another shape", page=True)
    message = found.get("message") or found.get("msg") or found.get("error") or ""
    return Said(str(found.get("code") or "")[:SHOWN_CHARS], str(message)[:SHOWN_CHARS])


def by_answer(status: int, body: bytes, headers: Mapping[str, str], *, served: bool) -> AlphakiteError:
    """Our error for an answer that is no success. Args: served: whether this key and address served before."""
    said = read(body)
    what = f"{said.message} ({status}{f' {said.code}' if said.code else ''})".strip()
    if status == 401:
        return _wrong(served, "key_refused", f"Supabase refuses the key: {what}", KEY_STEP)
    if status == 402:
        return Away(
            "over_quota",
            f"the Supabase project is over its quota, which lasts for days: {what}",
            "see Organization, Usage: make the database smaller and wait for the next period, or change the plan",
            _wait_s(headers, QUOTA_WAIT_S),
        )
    if status == 413:
        return TooLarge("too_large", f"Supabase's gateway refuses the size of a request: {what}")
    if status == 429:
        return Away("throttled", f"Supabase asks for fewer requests: {what}", wait_s=_wait_s(headers, THROTTLED_WAIT_S))
    if status == 540:
        step = "resume it in the Supabase dashboard"
        return Away("paused", f"the Supabase project is paused: {what}", step, _wait_s(headers, PAUSED_WAIT_S))
    if status == 544:
        return Away("timeout", f"the database did not answer Supabase's gateway in time: {what}")
    if said.code and not said.page:
        return _by_code(status, said, what, headers, served)
    if status == 403:
        return Away("refused", f"what stands before the database refuses us: {what}", "see which proxy or filter it is")
    if status in (404, 405, 406, 410) or 300 <= status < 400:
        return _wrong(served, "not_supabase", f"there is no Supabase API at this address: {what}", URL_STEP)
    if status < 400 or status >= 500 or status in (408, 409, 425):
        return Away("gateway", f"Supabase's gateway: {what}", wait_s=_wait_s(headers, 0.0))
    return FatalError(f"Supabase refuses the request: {what}", next_step="this is our mistake; please report it")


def by_exception(error: httpx.HTTPError | httpx.InvalidURL, *, served: bool) -> AlphakiteError:
    """Our error for what httpx raised; its words may hold the address and are left out."""
    kind = type(error).__name__
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        return ConfigError(f"SUPABASE_URL cannot be used: {kind}", next_step=URL_STEP)
    if isinstance(error, httpx.TimeoutException):
        return Away("timeout", f"Supabase did not answer in time: {kind}", "see that the network is there")
    return Away(
        "unreachable", f"Supabase cannot be reached: {kind}", "see that the network is there and the project runs"
    )


def _by_code(status: int, said: Said, what: str, headers: Mapping[str, str], served: bool) -> AlphakiteError:
    code = said.code
    if code == READ_ONLY:
        return Away(
            "read_only",
            f"the Supabase database is read-only, it is probably full: {what}",
            "make room in it, then see Database, Settings, in the dashboard",
        )
    if code == "57014":
        return Away("timeout", f"the database stopped a statement that took too long: {what}")
    if code in ("PGRST202", "PGRST203", "PGRST204", "PGRST205"):
        return _wrong(served, "schema", f"the schema in Supabase is missing or old: {what}", SCHEMA_STEP)
    if code == "PGRST106":
        step = "expose the schema public: Project Settings, Data API"
        return _wrong(served, "schema", f"Supabase does not show the schema public: {what}", step)
    if code == "42501":
        step = f"{KEY_STEP}; if it is that, {SCHEMA_STEP}: it grants what is needed"
        return _wrong(served, "no_rights", f"the key may not do this: {what}", step)
    if code[:6] == "PGRST3":
        return _wrong(served, "key_refused", f"Supabase refuses the key: {what}", KEY_STEP)
    if code in ("PGRST000", "PGRST001", "PGRST002", "PGRST003"):
        return Away("database_down", f"Supabase's API has no database: {what}", wait_s=_wait_s(headers, 0.0))
    if code[:2] in TRANSIENT_CLASSES or code in ("25P03", "25P04", "23505"):
        return Away("database_down", f"the database cannot serve now: {what}", wait_s=_wait_s(headers, 0.0))
    if code == "21000":
        return FatalError(f"a batch contradicts itself: {what}", next_step="this is our mistake; please report it")
    if code[:2] in ("42", "3F"):
        return ConfigError(f"the database's schema does not fit: {what}", next_step=SCHEMA_STEP)
    if code[:2] == "28":
        return _wrong(served, "key_refused", f"the database refuses the sign-in: {what}", KEY_STEP)
    if code[:2] in ("22", "23"):
        return RejectedError(f"the database cannot store this: {what}")
    if status in (502, 503, 504) or status >= 520:
        return Away("gateway", f"Supabase cannot serve now: {what}", wait_s=_wait_s(headers, 0.0))
    return FatalError(f"the database failed: {what}", next_step="see the project's logs in the Supabase dashboard")


def _wrong(served: bool, state: str, message: str, step: str) -> AlphakiteError:
    """A person's business; but what served before may be mended while we record."""
    return Away(state, message, step) if served else ConfigError(message, next_step=step)


def _wait_s(headers: Mapping[str, str], default_s: float) -> float:
    """The wait that an answer asks for, in seconds or until a date."""
    asked = headers.get("retry-after", "")
    try:
        found = float(asked)
    except ValueError:
        try:
            found = email.utils.parsedate_to_datetime(asked).timestamp() - time.time()
        except ValueError:
            return default_s
    return min(LONGEST_WAIT_S, max(0.0, found)) if found == found else default_s
