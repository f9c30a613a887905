"""sd_notify against a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphakite.cli.main import build
from alphakite.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """systemd's end, and the value of NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@alphakite-test-{os.getpid()}-{time.time_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + name[1:] if name.startswith("@") else name)
        end.settimeout(10)
        yield end, name


def heard(end: socket.socket) -> str:
    return end.recv(4096).decode()


def test_what_systemd_is_told(systemd: tuple[socket.socket, str]) -> None:
    """Each message as sd_notify(3) spells it; a status only when it has changed."""
    end, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert notifier.active and notifier.watchdog_interval_s is None
    notifier.ready("recording QQQ")
    assert heard(end) == "READY=1\nSTATUS=recording QQQ"
    notifier.status("recording QQQ")
    notifier.status("sign-in needed:\nalphakite auth")
    assert heard(end) == "STATUS=sign-in needed: alphakite auth"
    before_us = time.monotonic_ns() // 1000
    notifier.reloading()
    first, _, second = heard(end).partition("\n")
    assert first == "RELOADING=1"
    assert before_us <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.ready()
    assert heard(end) == "READY=1"
    notifier.stopping()
    assert heard(end) == "STOPPING=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
async def test_outside_systemd_nothing_happens(environ: dict[str, str]) -> None:
    """No socket, no watchdog, no error."""
    notifier = Notifier({"WATCHDOG_USEC": "1000", **environ})
    assert not notifier.active
    notifier.ready("x")
    notifier.stopping()
    await asyncio.wait_for(notifier.feed_watchdog(lambda: ""), 10)


def test_a_socket_that_is_gone_or_full_is_no_error(tmp_path: Path) -> None:
    """The recorder does not wait for systemd, and does not end with it."""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "full"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "full")})
        for _ in range(2000):
            notifier.watchdog()


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({}, None),
    ],
)
def test_half_of_what_systemd_allows(environ: dict[str, str], interval_s: float | None) -> None:
    """And only if it is meant for this process."""
    assert Notifier({"NOTIFY_SOCKET": "/run/x", **environ}).watchdog_interval_s == interval_s


async def test_the_watchdog_is_fed_only_while_all_is_well(systemd: tuple[socket.socket, str]) -> None:
    """A fault stops the feeding and is said once; then it goes on."""
    end, name = systemd
    fault = ""
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000"})
    feeding = asyncio.create_task(notifier.feed_watchdog(lambda: fault))
    listen = asyncio.get_running_loop().run_in_executor
    for _ in range(3):
        assert await listen(None, heard, end) == "WATCHDOG=1"
    fault = "the journal was last made safe 30 s ago"
    while (said := await listen(None, heard, end)) == "WATCHDOG=1":
        pass
    assert said == f"STATUS=watchdog not fed: {fault}"
    end.settimeout(0.2)
    with pytest.raises(TimeoutError):
        await listen(None, heard, end)
    end.settimeout(10)
    fault = ""
    assert await listen(None, heard, end) == "WATCHDOG=1"
    feeding.cancel()


def example(checkout: Path, language: str) -> str:
    """The first block of this language in the guide."""
    guide = (checkout / "docs" / "guides" / "running.md").read_text(encoding="utf-8")
    return guide.partition(f"```{language}\n")[2].partition("\n```")[0] + "\n"


def test_systemd_accepts_the_guides_unit(checkout: Path, tmp_path: Path) -> None:
    """The example is what systemd would take, with a program that exists on this machine."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not on this machine")
    unit = tmp_path / "alphakite.service"
    program = tmp_path / "alphakite"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit.write_text(example(checkout, "ini").replace("/opt/alphakite/bin/alphakite", str(program)))
    done = subprocess.run([tool, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "alphakite" in line]
    assert said == []


def test_the_guides_examples_probe_liveness(checkout: Path) -> None:
    """What Docker and systemd run is what the command line has."""
    unit, image = example(checkout, "ini"), example(checkout, "dockerfile")
    assert "Type=notify\n" in unit and "WatchdogSec=" in unit and "run --env-file" in unit
    assert '["alphakite", "health", "--live"]' in image
    parser = build("health")
    assert parser.parse_args(["health", "--live"]).live
