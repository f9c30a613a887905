"""The self-test in the recorder: what nobody knows for certain about Schwab is seen, kept, and said.

In:   the records that this process writes, as derivation reads them.      Out:  `run/selftest.json`, the status, and
a journal record for each fact settled. One fact needs a question: is a subscribed key that is added again sent whole?
It is asked once, of Schwab only: on a tape the answer would be an update that the tape does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from alphakite import log
from alphakite.clock import Clock
from alphakite.journal.record import Kind, Record
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import Status
from alphakite.recorder.selftest import SelfTest

FILE = "run/selftest.json"
LOOK_S = 2.0
ASK_AFTER_S = 60.0
"""A connection has its images by then."""


class Observing:
    """Args:
    ask: sends one ADD of a subscribed ticker; False if there is no connection to ask.
    """

    def __init__(
        self, data_dir: Path, journal: JournalWriter, clock: Clock, status: Status, ask: Callable[[], Awaitable[bool]]
    ) -> None:
        self._path = data_dir / FILE
        self._journal = journal
        self._clock = clock
        self._status = status
        self._ask = ask
        self._from_seq = journal.written_seq + 1
        self._log = log.get("selftest")
        saved = b""
        with contextlib.suppress(OSError):
            saved = self._path.read_bytes()
        self._test = SelfTest(saved, str(journal.journal_id))
        status.selftest = self._test.facts()

    def see(self, record: Record) -> None:
        """Look at one record; one of an earlier process has been looked at."""
        if not self._test.settled and record.seq >= self._from_seq:
            self._test.feed(record.kind, record.conn, record.ts_ns, record.seq, record.payload)

    async def run(self) -> None:
        """Until cancelled: ask what must be asked, keep what was seen."""
        asked = self._clock.mode == "feed"
        waited_s = 0.0
        while True:
            await asyncio.sleep(LOOK_S)
            waited_s = waited_s + LOOK_S if self._status.capture == "streaming" else 0.0
            if not asked and waited_s >= ASK_AFTER_S and self._test.facts()["re_add"]["state"] == "open":
                asked = await self._ask()
            if self._test.changed:
                self._keep()

    def _keep(self) -> None:
        before, facts = self._status.selftest, self._test.facts()
        self._status.selftest = facts
        with contextlib.suppress(OSError):  # it is seen again
            draft = self._path.with_suffix(".tmp")
            draft.write_bytes(self._test.save())
            draft.replace(self._path)
        for name, fact in facts.items():
            if fact != before.get(name) and fact["state"] == "settled":
                event = json.dumps({"event": "self_test", "fact": name, **fact}, separators=(",", ":"))
                self._journal.append(Kind.CONFIG, 0, self._clock.now_ns(), event.encode())
                self._log.info("observed", fact=name, value=fact["value"], evidence=fact["evidence"])
        self._journal.flush()
