"""Following option chains: what is to be watched, asked for, kept and told; `following.py` decides, this carries out.

In:   the settings of each ticker, the prices that derivation knows, Schwab's answers.      Out:  journal records of
every answer and of every change; the contracts wanted, told to capture.
A change is kept in the data folder, then journaled, then told: after any crash the same contracts are watched on.
Plans are made when a price has left the quiet interval of the last one, when something was learnt, and by the clock.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date

import msgspec

from alphakite import log
from alphakite.clock import Clock
from alphakite.config import Settings
from alphakite.errors import SignInError, TransientError
from alphakite.feed.schwab.chains import (
    EXPIRATIONS_PATH,
    Expirations,
    expirations_parameters,
    parse_expirations,
)
from alphakite.feed.schwab.rest import BadAnswer, SchwabRest
from alphakite.feed.schwab.subscriptions import Refusal
from alphakite.journal.record import Kind
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import OptionStatus, Status
from alphakite.model import PRICE_SCALE
from alphakite.recorder.asking import keep_answer
from alphakite.recorder.backoff import Backoff
from alphakite.recorder.discovery import fetch_chain
from alphakite.recorder.ending import wait_within
from alphakite.recorder.following import (
    Change,
    FollowState,
    Known,
    Need,
    OptionSettings,
    Plan,
    TickerState,
    follow,
)
from alphakite.recorder.stickiness import is_noted, load_state, save_state
from alphakite.symbols import parse_option

SERVICE = "LEVELONE_OPTIONS"
LOOK_S = 0.5
"""So often it is looked for news that nobody tells: a cap, the time, a need whose turn has come."""
REST_S = 0.05
"""Plans are not made more often."""
AGAIN_FIRST_S, AGAIN_MOST_S = 2.0, 60.0
"""What Schwab did not answer is asked again so soon; without a sign-in, which asks nobody, always after the first."""
NOT_THERE = (400, 404)
"""What Schwab says of a symbol that it does not know, or that has no options."""
SHOWN = 5

NOTHING: tuple[dict[str, tuple[str, ...]], tuple[str, ...]] = ({}, ())

Key = tuple[str, date | None]


class Chains:
    """One recorder's following of option chains. Attributes are wired by the service.

    Args:
        stopping: set when the service stops.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        journal: JournalWriter,
        rest: SchwabRest,
        status: Status,
        stopping: asyncio.Event,
    ) -> None:
        self._options = option_settings(settings)
        self._clock = clock
        self._journal = journal
        self._rest = rest
        self._status = status
        self._stopping = stopping
        self._file = settings.data_dir / "following.json"
        self._log = log.get("options")
        self._state = FollowState()
        self._known: dict[str, Known] = {}
        self._plan: Plan | None = None
        self._planned_cap = 0
        self._news, self._changed = asyncio.Event(), True
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._backoffs: dict[Key, Backoff] = {}
        self._not_before: dict[Key, float] = {}
        self._refused: frozenset[tuple[str, int]] = frozenset()
        self._told: tuple[dict[str, tuple[str, ...]], tuple[str, ...]] | None = None
        self.begun = asyncio.Event()
        """Set by capture once the journal has the record of this process."""
        self.settled = asyncio.Event()
        """Set once every ticker has its contracts, or cannot have them for now: nobody need wait any more."""
        self.on_step: Callable[[str], None] = lambda _step: None
        """The crash tests' hook."""
        self.price_of: Callable[[str], int | None] = lambda _ticker: None
        """The last price × PRICE_SCALE that derivation knows."""
        self.cap: Callable[[], int] = lambda: 0
        """Most contracts in all, as far as Schwab has told."""
        self.tell: Callable[[Mapping[str, tuple[str, ...]], tuple[str, ...]], None] = lambda _contracts, _order: None
        """Told the contracts by ticker, and all of them, the most important first."""

    # ── what others tell ────────────────────────────────────────────────────────────────────────────────────

    def want(self, settings: Settings) -> None:
        """Follow the tickers of these settings from now on, as they say."""
        self._options = option_settings(settings)
        self._known = {ticker: known for ticker, known in self._known.items() if ticker in self._options}
        self._wake()

    def progressed(self) -> None:
        """Prices may have moved: cheap, called often."""
        plan = self._plan
        if plan is not None and not self._news.is_set() and plan.due(self._prices(), self._now_us()):
            self._news.set()

    def refused(self, refusals: Iterable[Refusal]) -> None:
        """Schwab refused contracts: said once for each kind of refusal, and planned for."""
        found = [one for one in refusals if one.service == SERVICE and one.code is not None]
        kinds = frozenset((symbol, one.code) for one in found for symbol in one.keys if one.code is not None)
        if kinds <= self._refused:
            self._refused = kinds
            return
        fresh, self._refused = kinds - self._refused, kinds
        changes: list[Change] = []
        for refusal in found:
            lost = [symbol for symbol in refusal.keys if (symbol, refusal.code) in fresh]
            for ticker, state in self._state.tickers.items():
                watched = frozenset(state.watched)
                if of_ticker := [symbol for symbol in lost if symbol in watched]:
                    shown = ",".join(of_ticker[:SHOWN]) + (",..." if len(of_ticker) > SHOWN else "")
                    detail = f"{refusal.code} {refusal.reason}: {len(of_ticker)} contracts: {shown}"
                    changes.append(Change(ticker, self._now_us(), "refused", state.expiries, detail=detail))
        if changes:
            self._note(changes)
        self._wake()

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Follow until the service stops."""
        await self.begun.wait()
        await self._take_up()
        ending = asyncio.create_task(self._end())
        try:
            while not self._stopping.is_set():
                self._reap()
                due = self._is_due()
                if due:
                    await self._step()
                self._ask()
                await asyncio.sleep(REST_S if due else 0)
                await wait_within(self._news, LOOK_S)
        finally:
            tasks = ending, *self._asking.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self) -> None:
        """Once the service stops nothing is journaled any more: no answer is waited for."""
        await self._stopping.wait()
        for task in self._asking.values():
            task.cancel()
        self._news.set()

    async def _take_up(self) -> None:
        """What was watched before this process."""
        folder, written_seq = self._journal.folder, self._journal.written_seq
        try:
            kept = await asyncio.to_thread(load_state, self._file, str(self._journal.journal_id))
        except (OSError, ValueError) as error:
            self._log.warning("following_lost", file=str(self._file), error=str(error))
            return
        if kept is not None:
            self._state = kept.state
            if not await asyncio.to_thread(is_noted, folder, kept, written_seq):
                self._note(kept.changes)

    def _is_due(self) -> bool:
        news = self._news.is_set() or self._changed
        self._news.clear()
        if not self._now_us():
            return False
        return (
            news
            or self._plan is None
            or self.cap() != self._planned_cap
            or self._plan.due(self._prices(), self._now_us())
        )

    async def _step(self) -> None:
        """Make a plan; keep, journal and tell what it changes."""
        self._changed = False
        self._planned_cap = self.cap()
        plan = follow(self._options, self._known, self._prices(), self._now_us(), self._state, self._planned_cap)
        self._plan = plan
        state, changes = self._adopted(plan)
        if state != self._state:
            try:
                kept = str(self._journal.journal_id), state, changes, self._journal.appended_seq
                await asyncio.to_thread(save_state, self._file, *kept)
            except OSError as error:
                self._log.error("following_not_kept", file=str(self._file), error=str(error))
            self.on_step("following_kept")
            if self._stopping.is_set():
                return
        if state != self._state or changes:
            self._state = state
            self._note(changes)
        self._status.options = {ticker: _shown(one) for ticker, one in plan.state.tickers.items()}
        desired = frozenset(plan.symbols)
        contracts = {
            ticker: tuple(symbol for symbol in one.watched if symbol in desired)
            for ticker, one in plan.state.tickers.items()
        }
        told = {ticker: symbols for ticker, symbols in contracts.items() if symbols}, plan.symbols
        if told != self._told and (told != NOTHING or self._told is not None or changes):
            self._told = told
            self.tell(*told)
        self._settle()

    def _adopted(self, plan: Plan) -> tuple[FollowState, tuple[Change, ...]]:
        """The state to keep and the changes to tell: while a start is young, waiting is no news."""
        if self.settled.is_set():
            return plan.state, plan.changes
        held_back = {one.ticker for one in plan.changes if one.reason == "waiting" and not one.removed}
        tickers = {
            ticker: self._state.tickers[ticker] if ticker in held_back else state
            for ticker, state in plan.state.tickers.items()
            if ticker not in held_back or ticker in self._state.tickers
        }
        return FollowState(tickers), tuple(one for one in plan.changes if one.ticker not in held_back)

    def _settle(self) -> None:
        if self._plan is None or self.settled.is_set():
            return
        waiting = [ticker for ticker, state in self._plan.state.tickers.items() if state.waiting and not state.watched]
        hopeless = {ticker for ticker, _expiry in self._backoffs}
        if all(ticker in hopeless or not self._hopes(ticker) for ticker in waiting):
            self.settled.set()
            self._wake()

    def _hopes(self, ticker: str) -> bool:
        """Whether something is asked for that may give a ticker its contracts."""
        assert self._plan is not None
        return any(need.ticker == ticker for need in self._plan.needs) or any(key[0] == ticker for key in self._asking)

    def _note(self, changes: Sequence[Change]) -> None:
        """The state and what changed, as a record."""
        event = {
            "event": "following",
            "state": msgspec.to_builtins(self._state),
            "changes": [msgspec.to_builtins(one) for one in changes],
        }
        self._journal.append(Kind.CONFIG, 0, self._clock.now_ns(), json.dumps(event, separators=(",", ":")).encode())
        self._journal.flush()
        for one in changes:
            self._log.info(
                f"options_{one.reason}", ticker=one.ticker, expiries=",".join(map(str, one.expiries)),
                added=len(one.added), removed=len(one.removed), detail=one.detail,
            )  # fmt: skip

    def _prices(self) -> dict[str, int]:
        found = {ticker: self.price_of(ticker) for ticker in self._options}
        return {ticker: price for ticker, price in found.items() if price}

    def _now_us(self) -> int:
        return self._clock.now_ns() // 1000

    def _wake(self) -> None:
        self._changed = True
        self._news.set()

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self) -> None:
        """Ask for what is needed, each thing once at a time."""
        if self._plan is None:
            return
        now = time.monotonic()
        for need in self._plan.needs:
            key = need.ticker, need.expiry
            if key not in self._asking and now >= self._not_before.get(key, 0.0):
                self._asking[key] = asyncio.create_task(self._answer(need, key))

    async def _answer(self, need: Need, key: Key) -> None:
        """Ask, and take the answer over; later again if there is none."""
        try:
            if need.expiry is None:
                await self._fetch_expirations(need.ticker)
            else:
                await self._fetch_chain(need.ticker, need.expiry, need.strikes)
        except (TransientError, SignInError) as error:
            backoff = self._backoffs.setdefault(key, Backoff(AGAIN_FIRST_S, AGAIN_MOST_S))
            if backoff.failures == 0:
                self._log.warning(
                    "chain_failed", ticker=need.ticker, expiry=str(need.expiry or ""), error=str(error),
                    next_step=error.next_step,
                )  # fmt: skip
            again_s = backoff.next_s()
            self._not_before[key] = time.monotonic() + (AGAIN_FIRST_S if isinstance(error, SignInError) else again_s)
        else:
            if key in self._backoffs:
                failures = self._backoffs.pop(key).failures
                self._log.info(
                    "chain_answered", ticker=need.ticker, expiry=str(need.expiry or ""), failures=failures
                )  # fmt: skip
        finally:
            self._wake()

    def _reap(self) -> None:
        """What was asked for and is over; an error that nobody expected ends the service."""
        for key, task in list(self._asking.items()):
            if task.done():
                del self._asking[key]
                if not task.cancelled():
                    task.result()

    async def _fetch_expirations(self, ticker: str) -> None:
        try:
            answer = await self._rest.get(EXPIRATIONS_PATH, expirations_parameters(ticker))
        except BadAnswer as error:
            if error.status not in NOT_THERE:
                raise
            self._log.warning("no_options", ticker=ticker, error=str(error))
            found = Expirations([], [])
        else:
            keep_answer(self._journal, self._clock, answer)
            found = parse_expirations(answer.body)
            if found.fault:
                raise TransientError(f"no list of expiries: {found.fault}", next_step="it is asked again")
        self._note_rejected(ticker, found.rejected)
        if ticker in self._options:
            known = self._known.get(ticker, Known())
            self._known[ticker] = known.with_expirations(found.expirations, self._now_us())

    async def _fetch_chain(self, ticker: str, expiry: date, each_side: int | None) -> None:
        found = await fetch_chain(
            self._rest, ticker, expiry, each_side, self.price_of(ticker),
            lambda answer: keep_answer(self._journal, self._clock, answer),
        )  # fmt: skip
        self._note_rejected(ticker, found.rejected)
        if ticker in self._options:
            self._known[ticker] = self._known.get(ticker, Known()).with_chain(found.known(self._now_us()))

    def _note_rejected(self, ticker: str, rejected: list[str]) -> None:
        if rejected:
            self._log.warning("chain_rejected", ticker=ticker, count=len(rejected), first=rejected[0])


def option_settings(settings: Settings) -> dict[str, OptionSettings]:
    """What to follow of each present ticker, the most important first."""
    found: dict[str, OptionSettings] = {}
    for ticker in settings.tickers:
        window = settings.option_strikes.of(ticker)
        found[ticker] = OptionSettings(
            on=settings.options.of(ticker),
            dte=settings.option_dte.of(ticker),
            window=window.kind,
            strikes=window.strikes,
            width_percent=window.width_percent,
            delta_low=window.delta_low,
            delta_high=window.delta_high,
            include_adjusted="adjusted" in settings.option_include,
            include_mini="mini" in settings.option_include,
            include_am="am" in settings.option_include,
        )
    return found


def _shown(state: TickerState) -> OptionStatus:
    cut = frozenset(state.cut)
    held = [option for symbol in state.watched if symbol not in cut and (option := parse_option(symbol))]
    return OptionStatus(
        session=str(state.session),
        expiries=[str(expiry) for expiry in state.expiries],
        watched=len(held),
        low=min((option.strike for option in held), default=0) / PRICE_SCALE if held else None,
        high=max((option.strike for option in held), default=0) / PRICE_SCALE if held else None,
        cut=len(cut),
        waiting=state.waiting,
        staged=str(state.staged or ""),
    )
