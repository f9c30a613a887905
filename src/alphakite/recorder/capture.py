"""Capture: socket → journal. It waits for nothing behind it.

In:   Schwab's streamer.      Out:  journal records, in the order of arrival, stamped by the service clock.
A connection that ends, for whatever reason, is a record; then it is tried again, for ever, with capped waits. A dead
sign-in is a state: the connection that is up stays up, without one the recorder waits for a new sign-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping

import msgspec

from alphakite import log
from alphakite.clock import Clock
from alphakite.config import Settings
from alphakite.derive.indicators import pinned
from alphakite.derive.moment import DeriveSettings
from alphakite.errors import SignInError, TransientError
from alphakite.feed.schwab.decode import stamp_ms
from alphakite.feed.schwab.rest import SchwabRest, Streamer
from alphakite.feed.schwab.stream import Evicted, Refused, SchwabStream, Stopped
from alphakite.feed.schwab.subscriptions import CAPS, Refusal
from alphakite.feed.schwab.tokens import SignIn
from alphakite.journal.record import Kind
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import Status
from alphakite.recorder.asking import Asking
from alphakite.recorder.backoff import Backoff
from alphakite.recorder.ending import end, wait_within

BACKOFF_FIRST_S = 0.25
BACKOFF_MOST_S = 60.0
HISTORY_WAIT_S = 3.0
AT_ONCE = ("LEVELONE_EQUITIES", "LEVELONE_OPTIONS")
"""Asked for in one message at a connection's start: options wait for no round trip, and equities not for them."""
SIGN_IN_RETRY_S = 300.0
"""Without a new sign-in the old one is tried again this often: Schwab may have been wrong."""
LOGIN_DENIED = 3
REFUSED = "Schwab's streamer refuses a fresh access token"


class Capture:
    """One recorder's socket side.

    Args:
        stopping: set by `stop`; what works beside capture watches it too.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        journal: JournalWriter,
        rest: SchwabRest,
        asking: Asking,
        status: Status,
        stopping: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._rest = rest
        self._asking = asking
        self._status = status
        self._stopping = stopping
        self._log = log.get("capture")
        self._stream: SchwabStream | None = None
        self._conn = journal.last_conn
        self.last_frame_ns = 0
        """When this process last received one, by the service clock; 0: never."""
        self._feed_clock = clock.mode == "feed"
        self._tickers = self._wanted = settings.tickers
        self._retell = asyncio.Event()
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MOST_S)
        self._evicted = Backoff(2 * Evicted.wait_first_s, Evicted.wait_most_s)  # half of it is jitter
        self._caps = dict(CAPS)
        """What Schwab tells of its caps is kept from one connection to the next."""
        self._denied = 0
        self._contracts: dict[str, tuple[str, ...]] = {}
        self._contracts_wanted: dict[str, tuple[str, ...]] = {}
        self._options_order: tuple[str, ...] = ()
        self.begun = asyncio.Event()
        """Set once the journal says who writes from here on."""
        self.settled: asyncio.Event | None = None
        """Set once the options to watch are known; a connection waits a little for it."""
        self.note_refusals: Callable[[list[Refusal]], None] = lambda _refusals: None
        """Told what Schwab refused, each time it was asked."""
        self.on_step: Callable[[str], None] = lambda _step: None
        """The crash tests' hook."""
        self.note_sign_in: Callable[[SignIn], None] = lambda _found: None
        """Told what became of the sign-in, before its own timer looks."""

    async def run(self) -> None:
        """Connect, subscribe, record, reconnect; until stopped. Only a FatalError ends it otherwise."""
        await self._begin()
        while not self._stopping.is_set():
            try:
                await self._connection()
                pause_s = self._backoff.next_s()
            except SignInError as error:
                await self._wait_for_sign_in(error)
                continue
            except Evicted as error:
                pause_s = self._evicted.next_s()
                self._status.notices = [str(error)]
                self._explain("evicted")
                self._log.warning("evicted", error=str(error), next_step=error.next_step, again_in_s=round(pause_s))
            except TransientError as error:
                if self._backoff.failures < 3 or self._backoff.failures % 10 == 0:
                    self._log.warning("connect_failed", error=str(error), failures=self._backoff.failures + 1)
                pause_s = self._backoff.next_s()
            if not self._stopping.is_set():
                self._status.capture = "connecting"
                await self._pause(pause_s)

    @property
    def connected(self) -> bool:
        """Whether a socket is open: its frames tell the time under CLOCK=feed, and a REST answer may overtake them."""
        return self._stream is not None

    def want(self, tickers: tuple[str, ...]) -> None:
        """Record these from now on; what the present connection brings of the others stays."""
        self._wanted = tickers
        if self._stream is None and self.begun.is_set():
            self._configure(tickers)
            self._journal.flush()
        self._retell.set()

    def want_options(self, contracts: Mapping[str, tuple[str, ...]], order: tuple[str, ...]) -> None:
        """Record these contracts from now on. Args: contracts: by ticker. order: all, the most important first."""
        self._contracts_wanted, self._options_order = dict(contracts), order
        if self._stream is None and self.begun.is_set():
            self._configure_options(self._contracts_wanted)
            self._journal.flush()
        self._retell.set()

    def option_cap(self) -> int:
        """Most contracts in all, as far as Schwab has told."""
        return self._caps["LEVELONE_OPTIONS"]

    async def stop(self) -> None:
        """No more frames: the socket is closed, its end is journaled."""
        self._stopping.set()
        if self._stream is not None:
            await self._stream.logout()

    # ── one connection ──────────────────────────────────────────────────────────────────────────────────────

    async def _begin(self) -> None:
        """Who writes from here on, and with which settings. Under CLOCK=feed the first answer tells the time first."""
        while self._clock.now_ns() == 0 and not self._stopping.is_set():
            try:
                await self._rest.streamer()
            except SignInError as error:
                if self._clock.now_ns() == 0:
                    await self._wait_for_sign_in(error)
            except TransientError as error:
                self._log.warning("connect_failed", error=str(error), failures=self._backoff.failures + 1)
                await self._pause(self._backoff.next_s())
        if self._clock.now_ns() == 0:
            return
        self._append(Kind.PROCESS, 0, {"event": "start", "torn_bytes": self._journal.torn_bytes})
        self._configure(self._wanted)
        self._journal.flush()
        self.begun.set()

    async def _connection(self) -> None:
        """One connection from login to its end."""
        streamer = await self._rest.streamer()
        history = asyncio.create_task(self._asking.fetch_history(self._tickers))
        settled = asyncio.create_task(self._options_settled())
        try:
            await asyncio.wait({history, settled}, timeout=HISTORY_WAIT_S)
            await self._stream_until_end(streamer)
        finally:
            await end(history, settled, expected=(TransientError,))

    async def _options_settled(self) -> None:
        if self.settled is not None:
            await self.settled.wait()

    async def _stream_until_end(self, streamer: Streamer) -> None:
        """Log in, subscribe, receive; the beginning and the end are records."""
        self._conn += 1
        self._status.conn = self._conn
        access_expires_us = int(self._rest.sign_in().access_expires_s * 1e6)
        self._configure(self._tickers)  # again: the record before may be trimmed one day
        if self._contracts or self._contracts_wanted:
            self._configure_options(self._contracts)
        self._append(Kind.CONNECTION, self._conn, {"event": "up", "access_expires_us": access_expires_us})
        reason = "socket_down"
        stream: SchwabStream | None = None
        retelling: asyncio.Task[None] | None = None
        try:
            stream = await SchwabStream.connect(
                streamer, self._on_text, self._journal.flush, self._settings.coalesce_ms / 1000, self._caps
            )
            self._stream = stream
            await self._log_in(stream)
            retelling = asyncio.create_task(self._keep_told(stream))
            self._retell.set()
            reason = await stream.run(self._settings.silence_timeout)
        except (Evicted, Stopped) as error:
            reason = error.reason
            raise
        finally:
            self._stream = None
            if retelling is not None:
                await end(retelling)
            if stream is not None:
                stream.close()
            if self._stopping.is_set():
                reason = "process_down"
            self._append(Kind.CONNECTION, self._conn, {"event": "down", "reason": reason})
            self._journal.flush()
        self._status.reconnects += 1
        self._log.warning("disconnected", conn=self._conn, reason=reason, notice=stream.last_notice)
        if reason == "evicted":
            raise stream.ending or Evicted("")
        self._evicted.reset()

    async def _log_in(self, stream: SchwabStream) -> None:
        """A token that Schwab refuses is refreshed once; refused again, a person is needed."""
        try:
            await stream.login(await self._rest.access_token())
        except Refused as error:
            if error.code != LOGIN_DENIED:
                raise
            self._denied += 1
            if self._denied > 1:
                self._rest.refuse(REFUSED)
                raise SignInError(REFUSED, next_step="sign in again: alphakite auth") from error
            await self._rest.access_token(force=True)
            raise
        self._denied = 0
        self._rest.accept()

    async def _keep_told(self, stream: SchwabStream) -> None:
        """Tell Schwab what is wanted: at the start, and whenever it changes. A command that fails ends the stream."""
        told, retry_s = False, None
        together: tuple[str, ...] = AT_ONCE
        while True:
            await wait_within(self._retell, retry_s)
            self._retell.clear()
            try:
                retry_s = await self._tell(stream, together)
            except TransientError as error:
                self._log.warning("subscription_failed", error=str(error))
                stream.close()
                return
            if not told:
                told, together = True, ()
                self._backoff.reset()
                self._status.notices = []
                self._status.capture = "streaming"
                self._log.info("connected", conn=self._conn, tickers=len(self._tickers))

    async def _tell(self, stream: SchwabStream, together: tuple[str, ...]) -> float | None:
        """What is new is expected before it is asked for; what is gone is let go once Schwab has stopped it.

        Returns in how many seconds to ask again for what Schwab could not serve now, None if for nothing.
        """
        wanted, before = self._wanted, self._tickers
        contracts, order = self._contracts_wanted, self._options_order
        if added := [ticker for ticker in wanted if ticker not in before]:
            self._configure((*before, *added))
        changing = contracts != self._contracts
        if (more := _joined(self._contracts, contracts)) != self._contracts:
            self._configure_options(more)
        self._journal.flush()
        if changing:
            self.on_step("options_configured")
        refusals = await stream.reconcile(
            {"LEVELONE_EQUITIES": wanted, "LEVELONE_OPTIONS": order, "CHART_EQUITY": wanted}, together
        )
        if changing:
            self.on_step("options_told")
        self._note_refusals(refusals)
        if wanted != self._tickers:
            self._configure(wanted)
        if contracts != self._contracts:
            self._configure_options(contracts)
        self._journal.flush()
        self.note_refusals(refusals)
        if added:
            await self._asking.fetch_history(added)
        return min((one.retry_s for one in refusals if one.retry_s is not None), default=None)

    def _note_refusals(self, refusals: list[Refusal]) -> None:
        before, self._status.refused = self._status.refused, {}
        for refusal in refusals:
            count = self._status.refused.get(refusal.service, 0) + len(refusal.keys)
            self._status.refused[refusal.service] = count
        if before != self._status.refused:
            for refusal in refusals:
                shown = ",".join(refusal.keys[:5]) + (",..." if len(refusal.keys) > 5 else "")
                self._log.warning(
                    "subscription_refused", service=refusal.service, keys=shown, count=len(refusal.keys),
                    code=refusal.code, reason=refusal.reason,
                )  # fmt: skip

    async def readd(self) -> bool:
        """Add a ticker that is subscribed already, for the self-test. False: there is no connection to ask."""
        stream, ticker = self._stream, self._tickers[0]
        if stream is None or not stream.ready:
            return False
        self._append(Kind.CONNECTION, self._conn, {"event": "readd", "key": ticker})
        self._journal.flush()
        with contextlib.suppress(TransientError):
            await stream.readd("LEVELONE_EQUITIES", ticker)
        return True

    # ── without a connection ────────────────────────────────────────────────────────────────────────────────

    async def _wait_for_sign_in(self, error: SignInError) -> None:
        """Up, and waiting for a person; the journal says why nothing comes."""
        if self._status.capture != "auth_required":
            self._log.error("auth_required", error=str(error), next_step=error.next_step)
            self._explain("auth_required")
        self.note_sign_in(self._rest.sign_in())
        self._status.capture, self._status.reason = "auth_required", str(error)
        waiting = asyncio.create_task(self._rest.wait_for_sign_in())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({waiting, stopping}, timeout=SIGN_IN_RETRY_S, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
                self._status.capture, self._status.reason = "connecting", ""
        finally:
            await end(waiting, stopping)
        self._denied = 0
        self._backoff.reset()

    def _explain(self, reason: str) -> None:
        """Why there is still no connection."""
        if self._clock.now_ns():
            self._append(Kind.CONNECTION, self._conn, {"event": "waiting", "reason": reason})
            self._journal.flush()

    # ── records ─────────────────────────────────────────────────────────────────────────────────────────────

    def _configure(self, tickers: tuple[str, ...]) -> None:
        """From here on these tickers are recorded."""
        self._tickers = tickers
        self._status.tickers = list(tickers)
        settings = msgspec.to_builtins(derive_settings(self._settings, tickers))
        self._append(Kind.CONFIG, 0, {"event": "derive", "settings": settings})

    def _configure_options(self, contracts: dict[str, tuple[str, ...]]) -> None:
        """From here on these option contracts are recorded, by ticker."""
        self._contracts = contracts
        self._append(Kind.CONFIG, 0, {"event": "options", "contracts": contracts})

    def _on_text(self, payload: bytes, last_in_read: bool) -> None:
        """The hot path: stamp, append; write when the socket's read is used up."""
        if self._feed_clock and (stamp := stamp_ms(payload)) is not None:
            self._clock.observe_ms(stamp)
        self.last_frame_ns = now_ns = self._clock.now_ns()
        self._journal.append(Kind.FRAME, self._conn, now_ns, payload)
        if last_in_read:
            self._journal.flush()

    def _append(self, kind: Kind, conn: int, event: dict[str, object]) -> None:
        self._journal.append(kind, conn, self._clock.now_ns(), json.dumps(event, separators=(",", ":")).encode())

    async def _pause(self, seconds: float) -> None:
        await wait_within(self._stopping, seconds)


def derive_settings(settings: Settings, tickers: tuple[str, ...]) -> DeriveSettings:
    """The settings that shape rows."""
    return DeriveSettings(
        tickers,
        settings.stream_hours,
        settings.stream_resolution,
        settings.skip_market_hours,
        pinned(settings.indicators),
        settings.option_resolution,
        settings.greeks_interval,
        settings.greeks_convention,
        settings.greeks_rate,
        {ticker: value for ticker in tickers if (value := settings.greeks_dividend.of(ticker))},
    )


def _joined(before: Mapping[str, tuple[str, ...]], wanted: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """What is recorded and what is wanted beside it."""
    return {
        ticker: tuple(dict.fromkeys((*before.get(ticker, ()), *wanted.get(ticker, ()))))
        for ticker in dict.fromkeys((*before, *wanted))
    }
