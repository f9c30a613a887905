"""How PostgreSQL, which refuses to be root, runs for root: also from a folder that only root can enter.

    plain       an ordinary user: nothing to do
    userns      root: a user namespace in which root's files belong to "nobody"; no capability, no chown.
                Also for an id without an account, as a container's `--user 1234` is
    capability  root: as "nobody" with dac_override; the data folder is chowned. For containers, which forbid namespaces
    setuid      root: as "nobody"; needs parents that everyone may pass

Each is tried for real, a file made in the folder and PostgreSQL's binary run, in this order; the one in use is kept as
long as it works. Parents are never chmod-ed, no account is made. Why this order: docs/decisions/0002.
"""

from __future__ import annotations

import enum
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from alphakite.errors import UnavailableError

NOBODY = 65534
"""uid and gid of the account without rights, the same on every Linux."""
PROBE_WITHIN_S = 10.0
PROBE = 'test "$(id -u)" -ne 0 && : > "$1/probe" && "$2" --version'


class Way(enum.StrEnum):
    """One way to run PostgreSQL."""

    PLAIN = "plain"
    USERNS = "userns"
    CAPABILITY = "capability"
    SETUID = "setuid"


def prefix(way: Way) -> list[str]:
    """What to put before a command line; it replaces itself by the command, so that the pid stays."""
    if way is Way.USERNS:
        return [_tool("unshare"), "-U", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if way in (Way.CAPABILITY, Way.SETUID):
        command = [_tool("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        if way is Way.CAPABILITY:
            command += ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
        return command
    return []


def own(path: Path, way: Way, *, recursive: bool = False) -> None:
    """Give a file or folder to whom PostgreSQL runs as."""
    if os.geteuid() != 0:
        return
    owner = 0 if way in (Way.PLAIN, Way.USERNS) else NOBODY
    paths = [path]
    if recursive:
        paths += [Path(folder) / name for folder, folders, files in os.walk(path) for name in folders + files]
    for one in paths:
        os.chown(one, owner, owner, follow_symlinks=False)


def choose(folder: Path, postgres: Path, kept: Way | None) -> Way:
    """The way that works here, `kept` first.

    Args: folder: existing, where PostgreSQL's files will lie. postgres: the binary. kept: the way used before.
    Raises: UnavailableError if none works.
    """
    if os.geteuid() != 0:
        return _choose_for_user(folder, postgres)
    order = [Way.USERNS, Way.CAPABILITY, Way.SETUID]
    if kept in order:
        order.sort(key=lambda way: way is not kept)
    refusals = []
    for way in order:
        refusal = _refusal(way, folder, postgres)
        if not refusal:
            return way
        refusals.append(f"{way}: {refusal}")
    raise UnavailableError(
        f"PostgreSQL refuses to run as root, and no way around it works here ({'; '.join(refusals)})",
        next_step="run alphakite as an ordinary user, or with a data folder whose parents everyone may enter "
        "(--data /var/lib/alphakite), or name another database by DATABASE_URL",
    )


def _choose_for_user(folder: Path, postgres: Path) -> Way:
    """Plain; an id without an account, which initdb refuses, becomes "nobody"."""
    try:
        pwd.getpwuid(os.geteuid())
        return Way.PLAIN
    except KeyError:
        refusal = _refusal(Way.USERNS, folder, postgres)
    if refusal:
        raise UnavailableError(
            f"user id {os.geteuid()} has no account here, which PostgreSQL asks for (userns: {refusal})",
            next_step="give the id a line in /etc/passwd, or name another database by DATABASE_URL",
        )
    return Way.USERNS


def _everyone_may_run(program: Path) -> bool:
    """PostgreSQL asks access() for its own programs, which looks at the account and not at its capabilities."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (program, *program.parents))


def _refusal(way: Way, folder: Path, postgres: Path) -> str:
    """Why this way does not work; "" if it does."""
    if way in (Way.CAPABILITY, Way.SETUID) and not _everyone_may_run(postgres):
        return "PostgreSQL's programs lie in a folder that only root may enter"
    probe = folder / f"probe-{os.getpid()}"
    probe.mkdir(mode=0o700, exist_ok=True)
    try:
        own(probe, way)
        done = subprocess.run(
            [*prefix(way), "/bin/sh", "-c", PROBE, "sh", str(probe), str(postgres)],
            capture_output=True,
            text=True,
            timeout=PROBE_WITHIN_S,
            cwd="/",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]


def _tool(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} (package util-linux) is not installed")
    return found
