"""Asking: what REST must add to the stream. Every answer that shapes rows is a journal record.

In:   which tickers wait for candles, and which do not stream.      Out:  REST records.
Minute candles seed the indicators; an index that does not stream is asked for instead, and its rows say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta

from alphakite import log
from alphakite.clock import Clock
from alphakite.config import Settings
from alphakite.errors import SignInError, TransientError
from alphakite.feed.schwab.rest import Answer, SchwabRest
from alphakite.journal.record import Kind
from alphakite.journal.writer import JournalWriter
from alphakite.recorder.ending import wait_within
from alphakite.sessions import EXCHANGE, previous_session
from alphakite.symbols import is_index

HISTORY_RETRY_S = 15.0
INDEX_PATIENCE_S = 30.0
"""So long an index may take to stream before it is asked for."""


class Asking:
    """Args:
    stopping: set when the service stops.
    """

    def __init__(
        self, settings: Settings, clock: Clock, journal: JournalWriter, rest: SchwabRest, stopping: asyncio.Event
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._rest = rest
        self._stopping = stopping
        self._interval_s = settings.index_poll_interval
        self._log = log.get("asking")
        self._asked_for: set[str] = set()
        self.wants_history: Callable[[str], bool] = lambda _ticker: True
        self.awaiting_history: Callable[[], list[str]] = list
        self.silent_tickers: Callable[[], list[str]] = list
        """Tickers that the present connection has not brought; empty without one."""

    async def fetch_history(self, tickers: Iterable[str]) -> None:
        """Minute candles from the previous session's open to now, for those of use."""
        now_us = self._clock.now_ns() // 1000
        start_us = previous_session(trading_date(now_us)).regular_open_us
        for ticker in tickers:
            if not self.wants_history(ticker):
                continue
            try:
                self._keep(await self._rest.price_history(ticker, start_us // 1000, now_us // 1000))
            except (TransientError, SignInError) as error:
                self._log.warning("history_failed", ticker=ticker, error=str(error))

    async def refill_history(self) -> None:
        """Ask again for candles that a late start still waits for, until the service stops."""
        while not self._stopping.is_set():
            await self._pause(HISTORY_RETRY_S)
            if tickers := self.awaiting_history():
                await self.fetch_history(tickers)

    async def poll_indices(self) -> None:
        """Ask for indices that do not stream, until the service stops. INDEX_POLL_INTERVAL=0: never."""
        if not self._interval_s:
            return
        silent_since: dict[str, int] = {}
        while not self._stopping.is_set():
            await self._pause(self._interval_s)
            now_ns = self._clock.now_ns()
            silent = [ticker for ticker in self.silent_tickers() if is_index(ticker)]
            silent_since = {ticker: silent_since.get(ticker, now_ns) for ticker in silent}
            due = tuple(t for t, since_ns in silent_since.items() if now_ns - since_ns >= INDEX_PATIENCE_S * 1e9)
            if new := set(due) - self._asked_for:
                self._log.info("index_polled", tickers=",".join(sorted(new)), every_s=self._interval_s)
            self._asked_for = set(due)
            if due:
                with contextlib.suppress(TransientError, SignInError):
                    self._keep(await self._rest.quotes(due))

    def _keep(self, answer: Answer) -> None:
        keep_answer(self._journal, self._clock, answer)

    async def _pause(self, seconds: float) -> None:
        await wait_within(self._stopping, seconds)


def keep_answer(journal: JournalWriter, clock: Clock, answer: Answer) -> None:
    """Journal what Schwab answered, with what it was asked."""
    asked = {"path": answer.path, "params": answer.params, "status": answer.status}
    head = json.dumps(asked, separators=(",", ":")).encode()
    journal.append(Kind.REST, 0, clock.now_ns(), head + b"\n" + answer.body)
    journal.flush()


def trading_date(now_us: int) -> date:
    """The exchange's date; after 20:00 the next one, so that the day that ended counts as history."""
    local = datetime.fromtimestamp(now_us / 1e6, UTC).astimezone(EXCHANGE)
    return local.date() + timedelta(days=1) if local.hour >= 20 else local.date()
