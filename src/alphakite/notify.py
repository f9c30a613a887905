"""What systemd is told: ready, a line of status, alive, reloading, stopping (sd_notify's protocol, without a library).

In:   NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of the environment.      Out:  datagrams to systemd's socket.
Outside systemd nothing happens. A message that cannot be sent is dropped: the recorder never waits for its warden.
The watchdog is fed from the event loop and only while `alive` finds no fault, so a loop that hangs and a journal that
is not written both end in a restart (`WatchdogSec=`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """One process's line to systemd.

    Args:
        environ: instead of os.environ.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        if not name.startswith(("/", "@")):
            self._address = ""
        self.watchdog_interval_s = _interval_s(environ) if self._address else None
        """Half of what systemd allows; None: no watchdog."""
        self._status = ""

    @property
    def active(self) -> bool:
        """Whether systemd listens."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """The service does its work: capture has begun. Also ends a reload."""
        self._send("READY=1", *self._status_line(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it has changed."""
        if text != self._status:
            self._send(*self._status_line(text))

    def reloading(self) -> None:
        """Settings are read again; `ready` must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """An orderly stop has begun."""
        self._send("STOPPING=1", *self._status_line(status))

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    async def feed_watchdog(self, alive: Callable[[], str]) -> None:
        """Feed the watchdog until cancelled; returns at once where there is none.

        Args: alive: what is wrong, in words; "" when the recorder does its work. Not fed while there is a fault.
        """
        if self.watchdog_interval_s is None:
            return
        while True:
            fault = alive()
            if fault:
                self.status(f"watchdog not fed: {fault}")
            else:
                self.watchdog()
            await asyncio.sleep(self.watchdog_interval_s)

    def _status_line(self, text: str) -> list[str]:
        self._status = text or self._status
        return [f"STATUS={text}".replace("\n", " ")] if text else []

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto("\n".join(lines).encode(), self._address)


def _interval_s(environ: Mapping[str, str]) -> float | None:
    """WATCHDOG_USEC / 2 in seconds, if it is meant for this process."""
    with contextlib.suppress(ValueError):
        limit_us = int(environ.get("WATCHDOG_USEC", "0"))
        if limit_us > 0 and int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid():
            return limit_us / 2e6
    return None
