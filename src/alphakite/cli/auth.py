"""`alphakite auth`: sign in at Schwab through a browser; see how the sign-in stands; take over another program's.

The address to open is the only thing on stdout before the result. What comes back is taken from the browser, if it runs
on this machine, or pasted: whichever is first. Codes and tokens are never arguments, and never printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alphakite import log
from alphakite.clock import make_clock
from alphakite.config import Settings, load
from alphakite.errors import ConfigError, SignInError, TransientError, UnavailableError, UsageError
from alphakite.feed.schwab.callback import CallbackListener, is_local
from alphakite.feed.schwab.oauth import AGAIN, Login, parse_redirect
from alphakite.feed.schwab.token_import import KINDS, read_foreign
from alphakite.feed.schwab.tokens import NEXT_STEP, SIGN_IN_LIFE_S, SignIn, TokenFile
from alphakite.metrics import lock_held, read_status

TIMEOUT_S = 900
LINE_BYTES = 65_536


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags; without an action it signs in."""
    parser = subparsers.add_parser("auth", help="sign in at Schwab, once a week")
    _add_settings(parser, None)
    parser.add_argument("--no-browser", action="store_true", help="open no browser: print the address, read the answer")
    parser.add_argument(
        "--no-listen", action="store_true", help="do not wait for the browser at the callback address: paste only"
    )
    parser.add_argument(
        "--qr", action=argparse.BooleanOptionalAction, default=None, help="a QR code of the address (on terminals)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        metavar="S",
        help="give up after so many seconds (default: %(default)s)",
    )
    actions = parser.add_subparsers(dest="action", metavar="status|import")
    status = actions.add_parser("status", help="how the sign-in stands; exit code 1 if a login is needed")
    _add_settings(status, argparse.SUPPRESS)
    status.add_argument("--json", action="store_true", help="machine-readable output")
    taking = actions.add_parser("import", help="take over another program's sign-in; its file is only read")
    taking.add_argument("file", metavar="FILE", help=KINDS)
    _add_settings(taking, argparse.SUPPRESS)
    taking.add_argument("--force", action="store_true", help="also if it is older than the present one, or over")


def _add_settings(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument("--data", metavar="DIR", default=default, help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", default=default, help="read settings from FILE")


def run(args: argparse.Namespace) -> int:
    """0; 1 if `status` finds that a login is needed; 4 if the login fails."""
    settings = load(args)
    settings.trust()
    log.setup(settings.log_level, settings.log_format)
    log.redact(*settings.secrets())
    if args.action == "status":
        return show_status(settings, as_json=args.json)
    if args.action == "import":
        return asyncio.run(take_over(settings, Path(args.file), force=args.force))
    return asyncio.run(
        sign_in(settings, browser=not args.no_browser, listen=not args.no_listen, qr=args.qr, timeout_s=args.timeout)
    )


# ── signing in ──────────────────────────────────────────────────────────────────────────────────────────────────


async def sign_in(
    settings: Settings,
    *,
    browser: bool = True,
    listen: bool = True,
    qr: bool | None = None,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """One login, from the address to the token file. Raises ConfigError, SignInError, TransientError."""
    if not (settings.schwab_app_key and settings.schwab_app_secret):
        raise ConfigError(
            "SCHWAB_APP_KEY and SCHWAB_APP_SECRET are not set",
            next_step="`alphakite init` asks for them; they stand in Schwab's developer portal, at your app",
        )
    clock = make_clock(settings.clock)
    tokens = TokenFile(settings.schwab_token_file, lambda: clock.now_ns() / 1e9)
    if not tokens.writable():
        raise ConfigError(
            f"the folder of {tokens.path} cannot be written to", next_step="SCHWAB_TOKEN_FILE names another place"
        )
    login = Login(
        settings.schwab_api_url,
        settings.schwab_app_key,
        settings.schwab_app_secret,
        settings.schwab_callback_url,
        tokens.now_s,
        clock.observe_ms,
    )
    try:
        async with _listener(settings, login, listen) as listener:
            code = await _code(login, settings, listener, browser=browser, qr=qr, timeout_s=timeout_s)
            document = await login.exchange(code)
        _say("Schwab accepted the sign-in; seeing what the app may ask for ...")
        refusal = await _checked(login, tokens, document)
        async with tokens.lock():
            tokens.replace(document)
    finally:
        await login.close()
    print(f"signed in until {_moment(tokens.refresh_expires)}: {tokens.path}", flush=True)
    if refusal is not None:
        _say(f"the sign-in is kept, but {refusal}")
        _say(f"next: {refusal.next_step}")
        return refusal.exit_code if isinstance(refusal, SignInError) else 0
    _say("A recorder that runs picks it up by itself within seconds; if none runs: alphakite run")
    _say("Schwab ends every sign-in after seven days: `alphakite auth status` says how long is left.")
    return 0


async def _checked(login: Login, tokens: TokenFile, document: dict[str, Any]) -> UnavailableError | None:
    """Whether the new sign-in serves. Marks the document with whose it is, and says if that was another's before."""
    try:
        document["customer"] = await login.check_access(document)
    except (SignInError, TransientError) as error:
        return error
    with contextlib.suppress(SignInError):
        before = tokens.document().get("customer")
        if isinstance(before, str) and before != document["customer"]:
            _say("Note: this is another Schwab login than the last time.")
    return None


@contextlib.asynccontextmanager
async def _listener(settings: Settings, login: Login, listen: bool) -> AsyncIterator[CallbackListener | None]:
    """The listener at the callback address; None where that cannot be."""
    async with contextlib.AsyncExitStack() as stack:
        listener = None
        if listen and is_local(settings.schwab_callback_url):
            try:
                listener = await stack.enter_async_context(
                    CallbackListener(settings.schwab_callback_url, login.state, login.authorize_url())
                )
            except UnavailableError as error:
                _say(f"{error}; {error.next_step}")
        yield listener


async def _code(
    login: Login,
    settings: Settings,
    listener: CallbackListener | None,
    *,
    browser: bool,
    qr: bool | None,
    timeout_s: float,
) -> str:
    """The code, from the browser or from stdin, whichever is first."""
    opens = browser and listener is not None and _has_display()
    _show_address(login.authorize_url(), settings.schwab_callback_url, listener, opens=opens, qr=qr)
    if opens and listener is not None:
        threading.Thread(target=webbrowser.open, args=(listener.start_url,), daemon=True).start()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    _read_lines(lines)
    waits: set[asyncio.Task[str | None]] = {asyncio.create_task(lines.get(), name="stdin")}
    if listener is not None:
        waits.add(asyncio.create_task(_optional(listener), name="browser"))
    try:
        async with asyncio.timeout(timeout_s):
            while waits:
                done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=asyncio.Task.get_name):
                    text = task.result()
                    if task.get_name() == "browser":
                        return parse_redirect(text or "", login.state)
                    if text is not None:
                        try:
                            return parse_redirect(text, login.state)
                        except SignInError as error:
                            _say(f"{error}\nnext: {error.next_step}")
                        waits.add(asyncio.create_task(lines.get(), name="stdin"))
                    elif not browser or listener is None:
                        raise SignInError("the input ended without an address", next_step=AGAIN)
    except TimeoutError:
        raise SignInError(f"no sign-in within {timeout_s:.0f} s", next_step=AGAIN) from None
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    raise SignInError("the sign-in ended without a code", next_step=AGAIN)


async def _optional(listener: CallbackListener) -> str | None:
    return await listener.redirect()


def _show_address(
    url: str, callback_url: str, listener: CallbackListener | None, *, opens: bool, qr: bool | None
) -> None:
    _say("Open this address, sign in with your brokerage login, and tick your account:\n")
    print(url, flush=True)
    if qr or (qr is None and sys.stderr.isatty()):
        import segno

        segno.make(url, error="l", micro=False).terminal(out=sys.stderr, border=2, compact=True)
    _say("")
    if listener is not None:
        _say(f"If the browser is on this machine: {listener.start_url} leads there and back.")
        _say("It warns about the certificate, which was made for this sign-in alone: accept it.")
    if opens:
        _say("A browser opens.")
    _say(f"Elsewhere, the browser ends at {callback_url}/?code=..., an error page: that is as it should be.")
    _say("Paste that whole address here within 30 seconds, and press Enter:")


def _has_display() -> bool:
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _read_lines(lines: asyncio.Queue[str | None]) -> None:
    """stdin, line by line, None at its end; a thread of its own, because stdin may be a file, a pipe or a terminal.

    It reads the descriptor, not sys.stdin: a thread that holds that object's lock would break the interpreter's exit.
    """
    loop = asyncio.get_running_loop()

    def tell(line: str | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        kept = b""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = sys.stdin.fileno()
            while len(kept) < LINE_BYTES and (more := os.read(descriptor, 4096)):
                *whole, kept = (kept + more).split(b"\n")
                for line in whole:
                    if line.strip():
                        tell(line.decode(errors="replace"))
        if kept.strip():
            tell(kept.decode(errors="replace"))
        tell(None)

    threading.Thread(target=read, daemon=True, name="stdin").start()


# ── status and import ───────────────────────────────────────────────────────────────────────────────────────────


def show_status(settings: Settings, *, as_json: bool) -> int:
    """0; 1 if a login is needed."""
    found = collect(settings)
    if as_json:
        print(json.dumps(found))
        return 1 if found["login_needed"] else 0
    for name, value in (
        ("sign-in", found["state"] + (f": {found['reason']}" if found["reason"] else "")),
        ("signed in at", found["login_at"] or "not known"),
        ("sign-in ends", _line(found["refresh"])),
        ("access token", _line(found["access"])),
        ("file", found["token_file"]),
    ):
        print(f"{name:14}{value}")
    if found["next_step"]:
        print(f"next: {found['next_step']}")
    return 1 if found["login_needed"] else 0


def collect(settings: Settings) -> dict[str, Any]:
    """What `auth status --json` shows. Asks nobody: a recorder that runs has told whether Schwab refused the token."""
    tokens = TokenFile(settings.schwab_token_file, _now_s(settings))
    found = tokens.sign_in(_refusal(settings, tokens))
    now = tokens.now_s()
    over = bool(found.refresh_expires_s and 0 < found.refresh_expires_s <= now)
    needed = found.needs_login or over
    return {
        "schema": 1,
        "state": found.state,
        "login_needed": needed,
        "reason": found.reason,
        "next_step": NEXT_STEP if needed or found.state == "expiring" else "",
        "token_file": str(tokens.path),
        "clock": settings.clock,
        "now": _moment(now),
        "login_at": _moment(found.login_at_s),
        "access": _age(found.access_expires_s, now, found.state == "missing"),
        "refresh": _age(found.refresh_expires_s, now, found.state == "missing")
        | ({"state": "refused"} if found.state == "auth_required" and not over else {})
        | ({"state": "expiring"} if found.state == "expiring" and not over else {}),
    }


def _refusal(settings: Settings, tokens: TokenFile) -> str:
    """Why Schwab refuses the present token, if a recorder that runs has met that; "" otherwise."""
    status = read_status(settings.data_dir)
    if status is None or status.sign_in.state != "auth_required" or not lock_held(settings.data_dir):
        return ""
    with contextlib.suppress(SignInError):
        if abs(status.sign_in.login_at_us / 1e6 - tokens.login_at) < 1:
            return status.sign_in.reason or "Schwab refuses this sign-in"
    return ""


def _now_s(settings: Settings) -> Callable[[], float]:
    """The clock that ages tokens; under CLOCK=feed what the recorder last knew of it, 0 if nothing."""
    if settings.clock != "feed":
        clock = make_clock(settings.clock)
        return lambda: clock.now_ns() / 1e9
    status = read_status(settings.data_dir)
    now = status.now_us / 1e6 if status is not None else 0.0
    return lambda: now


def _age(end_s: float, now_s: float, missing: bool) -> dict[str, Any]:
    left = round(end_s - now_s) if end_s and now_s else None
    state = "missing" if missing else "unknown" if left is None else "ok" if left > 0 else "expired"
    return {"expires_at": _moment(end_s), "seconds_left": left, "state": state}


def _line(age: dict[str, Any]) -> str:
    """`2026-12-01T20:00:00Z, in 6 d 23 h`."""
    if age["expires_at"] is None:
        return str(age["state"])
    if (left := age["seconds_left"]) is None:
        return str(age["expires_at"])
    days, hours, minutes = abs(left) // 86_400, abs(left) // 3600 % 24, abs(left) // 60 % 60
    span = f"{days} d {hours} h" if days else f"{hours} h {minutes} min"
    return f"{age['expires_at']}, {f'in {span}' if left > 0 else f'{span} ago'}"


def _moment(seconds: float) -> str | None:
    """RFC 3339, UTC; None for a time that is not known."""
    if not seconds:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


async def take_over(settings: Settings, file: Path, *, force: bool) -> int:
    """`auth import`. Raises UsageError for what is no sign-in, or an older one than the present."""
    found = read_foreign(file)
    tokens = TokenFile(settings.schwab_token_file, _now_s(settings))
    force_step = "`--force` takes it all the same"
    async with tokens.lock():
        with contextlib.suppress(SignInError):
            if not force and found.login_at_s < tokens.login_at:
                raise UsageError(
                    f"the present sign-in ({_moment(tokens.login_at)}) is newer than that of {file} "
                    f"({_moment(found.login_at_s)})",
                    next_step=f"keep the present one; {force_step}",
                )
        if not force and 0 < found.login_at_s + SIGN_IN_LIFE_S <= tokens.now_s():
            raise UsageError(
                f"the seven days of that sign-in were over at {_moment(found.login_at_s + SIGN_IN_LIFE_S)}",
                next_step=f"sign in with `alphakite auth`; {force_step}",
            )
        tokens.replace(found.document)
    taken: SignIn = tokens.sign_in()
    print(f"{found.kind} sign-in of {_moment(found.login_at_s)} taken over: {tokens.path}")
    _say(f"It ends at {_moment(taken.refresh_expires_s)}. A new login in either program ends the other's.")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
