"""The token file: schwab-py's JSON form (`creation_timestamp`, `token`), 0600, replaced whole, the copy before as .bak.

In:   what sign-in and refresh answered, files that other programs wrote.      Out:  the token, and how old it is.
Two clocks: the access token ends at `expires_at`; the sign-in ends seven days after `creation_timestamp`, which no
refresh touches. Times are seconds since 1970; all of them age by `now_s`, and while that is 0 (a feed clock that was
told nothing yet) nothing is old. One refresher at a time, across processes: `async with tokens.lock()`.
Holds secrets: nothing that stands in the file is logged or named in an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import math
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from alphakite import log
from alphakite.errors import SignInError, TransientError

REFRESH_BEFORE_S = 300
SIGN_IN_LIFE_S = 7 * 86_400
EXPIRING_S = 86_400
ACCESS_LIFE_S = 1800
LOCK_WITHIN_S = 40.0
LOCK_POLL_S = 0.05
UNSETTLED_NS = 100_000_000
"""A file changed this lately may change again within one tick of its time stamp: it is read anew."""
NEXT_STEP = "sign in with `alphakite auth`; a running recorder goes on by itself"


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """How the sign-in stands. Times are seconds since 1970 by the clock of the file; 0: not known."""

    state: str
    """ok, expiring (under 24 h left), auth_required (refused, or over), missing (no usable file)."""
    reason: str = ""
    login_at_s: float = 0.0
    access_expires_s: float = 0.0
    refresh_expires_s: float = 0.0

    @property
    def needs_login(self) -> bool:
        """Whether only a person can go on."""
        return self.state in ("auth_required", "missing")


class TokenFile:
    """Reads the file when it changes; writes what a login or a refresh returned."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        self.path = path
        self.now_s = now_s
        self._log = log.get("sign_in")
        self._identity: tuple[int, int, int] | None = None
        self._settled = False
        self._document: dict[str, Any] = {}
        self._problem = "there is none"

    # ── what stands in it ───────────────────────────────────────────────────────────────────────────────────

    def document(self) -> dict[str, Any]:
        """The whole file. Raises SignInError when there is no usable one."""
        identity = _identity(self.path)
        if identity is None or identity != self._identity or not self._settled:
            self._load(identity)
        if self._problem:
            raise SignInError(
                f"no usable Schwab token in {self.path}: {self._problem}",
                next_step=f"{NEXT_STEP}; SCHWAB_TOKEN_FILE names another file",
            )
        return self._document

    def token(self) -> dict[str, Any]:
        """The `token` object. Raises SignInError when there is no usable file."""
        return dict(self.document()["token"])

    def version(self) -> str:
        """A mark that changes when the tokens do, and tells nothing of them; "" without a usable file."""
        with contextlib.suppress(SignInError):
            token = self.token()
            text = f"{token['access_token']}\n{token['refresh_token']}\n{self.login_at}"
            return hashlib.sha256(text.encode()).hexdigest()
        return ""

    def login_mark(self) -> str:
        """A mark of the login, the same for all its refreshes, that tells nothing; "" without a usable file."""
        with contextlib.suppress(SignInError):
            login = self.login_at or self.token()["refresh_token"]
            return hashlib.sha256(str(login).encode()).hexdigest()
        return ""

    @property
    def login_at(self) -> float:
        """When a person signed in: the start of the seven days; 0 if the file does not say."""
        document = self.document()
        return _seconds(document.get("creation_timestamp", document.get("timestamp")))

    @property
    def access_expires(self) -> float:
        """When the access token ends; 0 if the file does not say."""
        return _seconds(self.token().get("expires_at"))

    @property
    def refresh_expires(self) -> float:
        """When the sign-in ends; 0 if not known."""
        return self.login_at + SIGN_IN_LIFE_S if self.login_at else 0.0

    def access_left_s(self) -> float:
        """How long the access token still serves; for ever while no time is known."""
        now = self.now_s()
        return self.access_expires - now if now > 0 else math.inf

    def stale(self) -> bool:
        """Whether the access token ends within five minutes."""
        return self.access_left_s() < REFRESH_BEFORE_S

    def sign_in(self, refused: str = "") -> SignIn:
        """How the sign-in stands. Args: refused: why Schwab takes this token no more, "" if it does."""
        try:
            login, access, end, now = self.login_at, self.access_expires, self.refresh_expires, self.now_s()
        except SignInError as error:
            return SignIn(state="missing", reason=str(error))
        left_s = end - now if end and now > 0 else math.inf
        state, reason = "ok", ""
        if refused:
            state, reason = "auth_required", refused
        elif left_s <= 0:
            state = "expiring" if access > now else "auth_required"
            reason = "the seven days of this sign-in are over"
        elif left_s < EXPIRING_S:
            state, reason = "expiring", "less than 24 hours are left of this sign-in"
        return SignIn(state=state, reason=reason, login_at_s=login, access_expires_s=access, refresh_expires_s=end)

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────

    def store(self, answer: dict[str, Any]) -> None:
        """Keep what the token endpoint answered to a refresh; the login time stays.

        If the disk refuses, the token is used from memory, and that is said. Raises ValueError, TypeError for an
        answer that cannot be kept.
        """
        lasts_s = int(answer.get("expires_in") or ACCESS_LIFE_S)
        fresh = {name: value for name, value in answer.items() if value is not None and value != ""}
        token = self.token() | fresh | {"expires_at": int(self.now_s()) + lasts_s}
        document = self.document() | {"token": token}
        try:
            self._write(document)
        except OSError as error:
            self._log.error("token_file_not_written", file=str(self.path), error=error.strerror or type(error).__name__)
            self._take(document, _identity(self.path))
            self._settled = True

    def replace(self, document: dict[str, Any]) -> None:
        """A new sign-in takes the place of the old one. Raises OSError; ValueError for what is no token document."""
        if problem := _problem_in(document):
            raise ValueError(problem)
        self._write(document)

    def writable(self) -> bool:
        """Whether `replace` can be expected to work; makes the folder."""
        folder = Path(os.path.realpath(self.path)).parent
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.access(folder, os.W_OK | os.X_OK)

    @contextlib.asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """One at a time, across processes; the file is read again inside. Raises TransientError after 40 s."""
        descriptor = self._open_lock()
        try:
            deadline = time.monotonic() + LOCK_WITHIN_S
            while descriptor is not None and not _locked(descriptor):
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"another process holds {self.path.name}.lock", next_step="it is tried again by itself"
                    )
                await asyncio.sleep(LOCK_POLL_S)
            self._settled = self._settled and descriptor is None
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _open_lock(self) -> int | None:
        """None in a folder that nobody may write to: there nobody can store a refresh either."""
        target = Path(os.path.realpath(self.path))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(target.with_name(target.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return None

    def _load(self, identity: tuple[int, int, int] | None) -> None:
        """The file, or the copy before it if the file is there and broken."""
        changed = identity != self._identity
        document, problem = _read(self.path)
        if problem and identity is not None:
            backup, backup_problem = _read(_backup(self.path))
            if not backup_problem:
                if changed:
                    self._log.warning("token_file_broken", file=str(self.path), problem=problem, used="its .bak")
                document, problem = backup, ""
        self._document, self._problem = document, problem
        self._identity = identity
        self._settled = identity is not None and time.time_ns() - identity[0] > UNSETTLED_NS

    def _take(self, document: dict[str, Any], identity: tuple[int, int, int] | None) -> None:
        self._document, self._problem, self._identity = document, "", identity

    def _write(self, document: dict[str, Any]) -> None:
        target = Path(os.path.realpath(self.path))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".tmp")
        try:
            _write_private(temporary, json.dumps(document).encode())
            before, problem = _read(target)
            if not problem:
                draft = target.with_name(target.name + ".bak.tmp")
                _write_private(draft, json.dumps(before).encode())
                draft.replace(_backup(target))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._take(document, _identity(self.path))


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """The document and what is wrong with it; never a word of its content."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}, "there is none"
    except OSError as error:
        return {}, error.strerror or type(error).__name__
    if not text.strip():
        return {}, "it is empty"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}, "it is not JSON, or cut short"
    return (
        (document, problem)
        if isinstance(document, dict) and not (problem := _problem_in(document))
        else (
            {},
            _problem_in(document),
        )
    )


def _problem_in(document: object) -> str:
    """Why this is no token document, "" if it is one."""
    if not isinstance(document, dict):
        return "it is no JSON object"
    token = document.get("token")
    if not isinstance(token, dict):
        flat = isinstance(document.get("refresh_token"), str)
        return "it is in an old form that has no login time" if flat else "it holds no `token` object"
    for name in ("access_token", "refresh_token"):
        if not isinstance(token.get(name), str) or not token[name]:
            return f"it holds no {name}"
    return ""


def _write_private(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(path, "wb", opener=lambda name, _flags: os.open(name, flags, 0o600)) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _backup(path: Path) -> Path:
    target = Path(os.path.realpath(path))
    return target.with_name(target.name + ".bak")


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _seconds(value: object) -> float:
    """A time stamp of the file; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return 0.0
    return float(value)
