"""Keeps the access token alive: one refresh at a time, a timer, and a refused sign-in as a state.

In:   the token file, the token endpoint.      Out:  an access token that serves, `SignIn` when something changes.
Trouble that passes raises TransientError; a refused sign-in SignInError, and then nothing is asked of the token
endpoint until the token file changes. While the access token at hand serves, trouble with its refresh is no trouble of
the caller's. Failures in a row are spaced out to a minute, a 429 by half a minute at least.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

import httpx

from alphakite import log
from alphakite.errors import SignInError, TransientError, UnavailableError
from alphakite.feed.schwab.answers import classify, detail
from alphakite.feed.schwab.pace import THROTTLED_S
from alphakite.feed.schwab.tokens import NEXT_STEP, REFRESH_BEFORE_S, SignIn, TokenFile
from alphakite.feed.schwab.transport import TOKEN_PATH, retry_after_s, send

REFRESH_WITHIN_S = 25.0
JITTER_S = 60
"""The timer refreshes so much later than `stale`, at random: not every program of one sign-in at the same moment."""
LOOK_S = 1.0
"""How often the timer looks: a new token file is seen within it."""
POLL_S = 0.25
"""How often a recorder that waits for a sign-in looks."""
REFRESH_EVERY_S = 1.0
RETRY_FIRST_S, RETRY_MOST_S = 0.5, 60.0
SAME_TOKEN_S = 60
"""An access token younger than this is not exchanged because of a 401: the app itself is refused."""
REMINDERS_H = (48, 24, 6, 1)


class Refresher:
    """One sign-in of one app. Requests go over the client given, and over no other."""

    def __init__(
        self, client: httpx.AsyncClient, auth: httpx.Auth, tokens: TokenFile, on_date_ms: Callable[[int], None]
    ) -> None:
        self._client = client
        self._auth = auth
        self._tokens = tokens
        self._on_date_ms = on_date_ms
        self._log = log.get("sign_in")
        self._refused: tuple[str, str] | None = None
        """The version of the token that Schwab refused, and its words."""
        self._doubted: tuple[str, str] | None = None
        """The login that the streamer refuses, and why, though the token endpoint may still serve it."""
        self._failures = 0
        self._asked_for = ""
        """The version that the failures in a row belong to."""
        self._not_before = 0.0
        """Monotonic: no refresh is tried before."""
        self._refreshed: tuple[str, float] | None = None
        """The access token that this process got last, and when by the tokens' clock."""

    def sign_in(self) -> SignIn:
        """How the sign-in stands now; asks nobody."""
        return self._tokens.sign_in(self._refusal() or self._doubt())

    def refuse(self, reason: str) -> None:
        """Schwab's streamer does not take this login: `auth_required` until another login, or `accept`."""
        self._doubted = (self._tokens.login_mark(), reason)

    def accept(self) -> None:
        """The streamer took it after all."""
        self._doubted = None

    async def access_token(self, *, force: bool = False) -> str:
        """An access token that serves, refreshed if it ends soon. Raises SignInError, TransientError.

        If the refresh fails, the one at hand is given out as long as it lasts. `force`: a new one, or the error.
        """
        current = str(self._tokens.token()["access_token"])
        if force:
            return await self.new_token(current)
        if not self._tokens.stale():
            return current
        try:
            return await self.new_token(current)
        except UnavailableError:
            if self._tokens.access_left_s() <= 0:
                raise
            return current

    async def keep_fresh(self, on_change: Callable[[SignIn], None]) -> None:
        """The timer: refreshes with 240 to 300 s left, sees a new token file, tells each change. Ends by cancelling.

        A recorder that only streams makes no requests, so that nothing else would refresh. It looks once in a
        second of real time, however fast a feed clock runs.
        """
        told: SignIn | None = None
        due_s = REFRESH_BEFORE_S - random.uniform(0, JITTER_S)
        next_try = 0.0
        reminded: tuple[float, int] = (0.0, 0)
        while True:
            try:
                if time.monotonic() >= next_try and self._is_due(due_s):
                    next_try = time.monotonic() + REFRESH_EVERY_S
                    with contextlib.suppress(UnavailableError):
                        await self.new_token(str(self._tokens.token()["access_token"]))
                        due_s = REFRESH_BEFORE_S - random.uniform(0, JITTER_S)
                found = self.sign_in()
                reminded = self._remind(found, reminded)
                if found != told:
                    self._say(found, told)
                    told = found
                    on_change(found)
            except Exception as error:  # the timer outlives everything; the text of an unknown error may hold a secret
                self._log.error("sign_in_timer_failed", error=type(error).__name__)
                await asyncio.sleep(REFRESH_EVERY_S)
            await asyncio.sleep(LOOK_S)

    async def wait_for_sign_in(self) -> None:
        """Until there is a usable token file that Schwab has not refused; looks four times in a second."""
        while self.sign_in().state == "missing" or self._refusal() or self._doubt():  # noqa: ASYNC110 - files are mute
            await asyncio.sleep(POLL_S)

    def _refusal(self) -> str:
        """Why the present token is dead; "" if it is not, or was replaced."""
        if self._refused is not None and self._refused[0] != self._tokens.version():
            self._refused = None
        return self._refused[1] if self._refused is not None else ""

    def _doubt(self) -> str:
        """Why the streamer refuses the present login; "" if it does not, or there is another."""
        if self._doubted is not None and self._doubted[0] != self._tokens.login_mark():
            self._doubted = None
        return self._doubted[1] if self._doubted is not None else ""

    def _is_due(self, due_s: float) -> bool:
        if self._refusal() or (self._held_back() > 0):
            return False
        with contextlib.suppress(SignInError):
            return self._tokens.access_left_s() < due_s
        return False

    def _held_back(self) -> float:
        """How long no refresh may be tried, after failures with this very token."""
        return max(0.0, self._not_before - time.monotonic()) if self._asked_for == self._tokens.version() else 0.0

    def _say(self, found: SignIn, before: SignIn | None) -> None:
        """One line for each change of state."""
        if before is not None and (before.state, before.reason) == (found.state, found.reason):
            return
        if found.needs_login:
            self._log.error("sign_in_required", state=found.state, reason=found.reason, next=NEXT_STEP)
        elif before is not None and before.needs_login:
            self._log.info("signed_in_again", state=found.state)

    def _remind(self, found: SignIn, before: tuple[float, int]) -> tuple[float, int]:
        """A line at 48, 24, 6 and 1 h before the end, once each for a sign-in."""
        now = self._tokens.now_s()
        if not found.refresh_expires_s or now <= 0 or found.needs_login:
            return before
        left_h = (found.refresh_expires_s - now) / 3600
        passed = sum(left_h < hours for hours in REMINDERS_H)
        if passed and before != (found.refresh_expires_s, passed):
            self._log.warning("sign_in_ends", hours_left=round(max(0.0, left_h), 1), next=NEXT_STEP)
        return (found.refresh_expires_s, passed)

    async def new_token(self, used: str) -> str:
        """A token other than `used`: another process's, if it was faster, else by a refresh of our own."""
        self._may_refresh()
        async with self._tokens.lock():
            token = self._tokens.token()
            if token["access_token"] != used and not self._tokens.stale():
                return str(token["access_token"])
            self._may_refresh()
            await self._refresh(str(token["refresh_token"]))
        return str(self._tokens.token()["access_token"])

    def is_new(self, token: str) -> bool:
        """Whether a 401 cannot be cured by another refresh."""
        now = self._tokens.now_s()
        return self._refreshed is not None and self._refreshed[0] == token and now - self._refreshed[1] < SAME_TOKEN_S

    def _may_refresh(self) -> None:
        if refusal := self._refusal():
            raise SignInError(refusal, next_step=NEXT_STEP)
        if (wait_s := self._held_back()) > 0:
            raise TransientError(
                f"the token endpoint failed lately; it is not asked for {wait_s:.0f} s", next_step="it is asked again"
            )

    async def _refresh(self, refresh_token: str) -> None:
        self._asked_for = self._tokens.version()
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        try:
            async with asyncio.timeout(REFRESH_WITHIN_S):
                response = await send(self._client, self._on_date_ms, "POST", TOKEN_PATH, data=form, auth=self._auth)
        except TransientError as error:
            raise self._hold_back(str(error)) from error
        except TimeoutError as error:
            raise self._hold_back("the token endpoint does not answer") from error
        kind, body = response.headers.get("content-type", ""), response.text
        verdict = classify(response.status_code, body, kind)
        words = detail(body, kind).replace(refresh_token, "…")
        if verdict == "ok":
            await self._keep(response)
            return
        if verdict == "dead":
            reason = f"the Schwab sign-in is dead: {response.status_code} {words}"
            self._refused = (self._asked_for, reason)
            raise SignInError(reason, next_step=NEXT_STEP)
        raise self._hold_back(
            f"the token endpoint answered {response.status_code}" + (f": {words}" if words else ""),
            max(THROTTLED_S, retry_after_s(response)) if verdict == "throttled" else 0.0,
        )

    async def _keep(self, response: httpx.Response) -> None:
        try:
            answer = response.json()
            if not isinstance(answer["access_token"], str) or not answer["access_token"]:
                raise KeyError("access_token")
            await asyncio.to_thread(self._tokens.store, answer)
        except (ValueError, KeyError, TypeError):  # whose text may quote tokens
            raise self._hold_back("the token endpoint answered no token") from None
        if self._failures:
            self._log.info("refresh_works_again", failures=self._failures)
        self._failures, self._not_before = 0, 0.0
        self._refreshed = (answer["access_token"], self._tokens.now_s())

    def _hold_back(self, why: str, least_s: float = 0.0) -> TransientError:
        """The error to raise, after noting the failure: the next try waits; the first and each tenth make a line."""
        span = min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** min(self._failures, 16)) * random.uniform(0.5, 1.0)
        self._not_before = time.monotonic() + max(least_s, span)
        if self._failures % 10 == 0:
            self._log.warning("refresh_failed", error=why, failures=self._failures + 1)
        self._failures += 1
        return TransientError(why, next_step="it is asked again")
