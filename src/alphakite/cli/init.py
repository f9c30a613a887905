"""`alphakite init`: ask for what is missing, check it at once, write the settings file, go on to signing in.

What the file holds already stays, comments and order too. An answer comes from a flag or from the environment (for
secrets only from there: process lists show flags), else it is asked for: on a terminal as a question, without echo
for secrets; elsewhere each answer is one line of stdin. An empty line takes the default.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alphakite import envfile, log
from alphakite.config import Settings, load
from alphakite.errors import ConfigError, UnavailableError, UsageError
from alphakite.setting_specs import SPECS

HEADER = "# Settings of alphakite, made by `alphakite init`; .env.example explains every one.\n"
KEY_LENGTHS, SECRET_LENGTHS = (32, 48), (16, 64)
"""Characters of Schwab's app keys and secrets, as client libraries have seen them."""
FLAGS = ("SCHWAB_CALLBACK_URL", "STREAM_TICKER", "SCHWAB_API_URL")


@dataclass(frozen=True)
class Question:
    """One setting to ask for. `odd`: what is odd about a legal value, "" if nothing; `required`: "" is no answer."""

    name: str
    ask: str
    odd: Callable[[str], str] = lambda _value: ""
    required: bool = True


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser(
        "init",
        help="ask for what is missing, write the settings file, sign in",
        description="Asks for the settings that are missing and writes them to the settings file. App key, app secret"
        " and DATABASE_URL have no flag: they come from the environment, or are asked for.",
    )
    parser.add_argument("--env-file", metavar="FILE", help="write settings to FILE (default: .env in this folder)")
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    for name in FLAGS:
        parser.add_argument(f"--{name.lower().replace('_', '-')}", dest=f"set_{name}", metavar="V", help=_legal(name))
    parser.add_argument("--embedded", action="store_true", help="use the embedded database")
    parser.add_argument("--all", action="store_true", help="ask again for what is set already")
    parser.add_argument("--no-browser", action="store_true", help="sign in without opening a browser here")
    parser.add_argument("--no-auth", action="store_true", help="do not go on to signing in")


def run(args: argparse.Namespace) -> int:
    """The exit code of signing in; 0 with --no-auth."""
    file = Path(args.env_file or ".env")
    held = held_values(file)
    answers = collect(args, held)
    changed = {name: value for name, value in answers.items() if held.get(name) != value}
    if changed:
        write(file, changed)
    settings = load(argparse.Namespace(env_file=str(file)))
    log.redact(*settings.secrets())
    print(f"{file}: wrote {', '.join(changed)}" if changed else f"{file}: nothing was missing; --all asks again")
    flags = ["--env-file", str(file)] if file.absolute() != Path(".env").absolute() else []
    shown = "".join(f" {word}" for word in flags)
    lasting = signed_in(settings) and not {"SCHWAB_APP_KEY", "SCHWAB_APP_SECRET"} & set(changed)
    if args.no_auth and not lasting:
        print(f"next: alphakite auth{shown}    then: alphakite run{shown}")
        return 0
    if not args.no_auth and not lasting:
        print("now the sign-in:", flush=True)
        if code := sign_in(flags + ["--no-browser"] * args.no_browser):
            return code
    print(f"next: alphakite run{shown}    and, to see what it does: alphakite status{shown}")
    return 0


def held_values(file: Path) -> dict[str, str]:
    """The settings that the file holds, by python-dotenv's grammar. Raises UnavailableError if it cannot be read."""
    from dotenv import dotenv_values

    if not file.exists():
        return {}
    try:
        found = dotenv_values(file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise UnavailableError(f"{file} cannot be read: {why}", next_step="mend it, or name another file") from error
    return {name: value.strip() for name, value in found.items() if name in SPECS and value is not None}


def collect(args: argparse.Namespace, held: dict[str, str]) -> dict[str, str]:
    """The answers: name → value. Raises ConfigError for an illegal one, UsageError when stdin ends too early."""
    answers = {}
    for question in QUESTIONS:
        name = question.name
        given, origin = _given(args, name)
        if given is not None:
            try:
                answers[name] = check(question, given)
            except ValueError as error:
                raise ConfigError(f"{name} ({origin}): {error}", next_step="correct it there") from error
        elif args.all or not _sound(question, held.get(name)):
            default = held.get(name) or SPECS[name].default
            if name == "DATA_DIR":  # in the file it counts from the file's folder
                default = str(Path(args.env_file or ".env").absolute().parent / Path(default).expanduser())
            answers[name] = ask(question, default, name in held)
    for name in FLAGS:
        if name not in answers and (value := getattr(args, f"set_{name}")):
            answers[name] = check(Question(name, ""), value)
    return answers


def check(question: Question, text: str) -> str:
    """The value as it will be written. Raises ValueError saying what would be legal; says aloud what is odd."""
    value, spec = text.strip(), SPECS[question.name]
    if not value and question.required:
        raise ValueError(f"an answer is needed: {spec.legal}")
    if not value.isprintable():
        raise ValueError("it holds characters that cannot be typed")
    try:
        parsed = spec.parse(value)
        if question.name == "DATA_DIR":
            value = str(Path(value).expanduser().absolute())
    except (ValueError, RuntimeError):
        raise ValueError(f"must be {spec.legal}") from None
    if isinstance(parsed, tuple):
        value = ",".join(parsed)
    if odd := question.odd(value):
        say(f"  note: {odd}")
    return value


def ask(question: Question, default: str, held: bool) -> str:
    """Ask on a terminal until the answer is legal; elsewhere take the next line of stdin."""
    secret = SPECS[question.name].secret
    shown = (
        ("set" if held and default else "embedded" if question.name == "DATABASE_URL" else "") if secret else default
    )
    prompt = f"{question.ask}{f' [{shown}]' if shown else ''}: "
    terminal = sys.stdin.isatty()
    while True:
        if terminal and secret:
            line = getpass.getpass(prompt, stream=sys.stderr)
        else:
            print(prompt, end="" if terminal else "\n", file=sys.stderr, flush=True)
            line = read_line()
            if not line:
                line = _ended(question, default)
        try:
            return check(question, line.strip() or default)
        except ValueError as error:
            if not terminal:
                raise ConfigError(f"{question.name}: {error}", next_step="correct the answer") from error
            say(f"  {error}")


def read_line() -> str:
    """The next line of stdin, "" at its end. Not a byte more: what follows is read by whoever signs in."""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # a test's
        return sys.stdin.readline()
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return line.decode("utf-8", "replace")


def write(file: Path, values: dict[str, str]) -> None:
    """Into the file, whole, readable by its owner alone: it holds secrets."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(HEADER, encoding="utf-8")
    if file.stat().st_mode & 0o077:
        file.chmod(0o600)
        say(f"  note: {file} could be read by others; now by its owner alone")
    envfile.write(file, values)


def sign_in(flags: list[str]) -> int:
    """`alphakite auth` with the same settings file; its exit code."""
    from alphakite.cli import auth
    from alphakite.cli.main import build

    return auth.run(build("auth").parse_args(["auth", *flags]))


def signed_in(settings: Settings) -> bool:
    """Whether a sign-in is there that lasts; the recorder's word counts, and Schwab is not asked."""
    from alphakite.cli import auth

    return not auth.collect(settings)["login_needed"]


def say(text: str) -> None:
    """To the person, not to whoever reads the result."""
    print(text, file=sys.stderr, flush=True)


def _given(args: argparse.Namespace, name: str) -> tuple[str | None, str]:
    """An answer that needs no question, and where it came from."""
    flag = args.data if name == "DATA_DIR" else getattr(args, f"set_{name}", None)
    if flag:
        return flag, "a flag"
    if name == "DATABASE_URL" and args.embedded:
        return "", "a flag"
    value = os.environ.get(name, "").strip()
    return (value, "environment") if value else (None, "")


def _sound(question: Question, held: str | None) -> bool:
    """Whether the file's value needs no question."""
    if held is None or (question.required and not held):
        return False
    try:
        SPECS[question.name].parse(held)
    except ValueError:
        return False
    return True


def _ended(question: Question, default: str) -> str:
    if default or not question.required:
        return ""
    raise UsageError(
        f"{question.name} is missing and stdin has ended",
        next_step=f"give it in the environment ({question.name}=...), as a line of stdin, or answer on a terminal",
    )


def _legal(name: str) -> str:
    return SPECS[name].legal.replace("%", "%%")


def _lengths(what: str, lengths: tuple[int, int]) -> Callable[[str], str]:
    def odd(value: str) -> str:
        usual = " or ".join(map(str, lengths))
        return "" if len(value) in lengths else f"{len(value)} characters; Schwab's app {what}s have {usual}"

    return odd


def _callback(value: str) -> str:
    if value.endswith("/"):
        return "it ends in a slash: right only if it stands so in the portal, letter for letter"
    return "Schwab's portal wants 127.0.0.1 rather than localhost" if "//localhost" in value else ""


QUESTIONS = (
    Question("SCHWAB_APP_KEY", "App key (developer.schwab.com, your app)", _lengths("key", KEY_LENGTHS)),
    Question("SCHWAB_APP_SECRET", "App secret", _lengths("secret", SECRET_LENGTHS)),
    Question("SCHWAB_CALLBACK_URL", "Callback address, letter for letter as in the portal", _callback),
    Question("STREAM_TICKER", "Tickers to record, with commas between"),
    Question("DATA_DIR", "Data folder"),
    Question("DATABASE_URL", "Database address, empty for the embedded one", required=False),
)
"""In the order in which they are asked."""
