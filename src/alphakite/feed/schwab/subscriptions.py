"""Which symbols one connection should hold, which it holds, and the commands between; and Schwab's answers; pure.

In:   desired keys per service, in order of priority, and the answers to commands.      Out:  the next commands.
A key that was refused is named with its reason, and is not asked for again before it is desired anew. Times are
seconds of any clock that only goes forward.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from alphakite.feed.schwab.fields import REQUEST

KEYS_PER_REQUEST = 500
KEY_BYTES = 64
"""500 keys of 64 bytes and the envelope stay below 60,000 bytes; above 65,535 the server drops the socket."""
CAPS = {"LEVELONE_OPTIONS": 2500, "LEVELONE_EQUITIES": 3000, "CHART_EQUITY": 300}
"""Keys a service is asked for at most; Schwab's own caps, as far as known, are 3000, 3000 and 300."""
SERVICE_AWAY_S = 60.0
"""A service that answered 11 is not asked again before."""
SUCCESS = (0, 26, 27, 28, 29)
DENIED, UNKNOWN_FAILURE, AWAY, EVICTED, CAP, NOT_FOUND, BAD_FORMAT, STOPPED = 3, 9, 11, 12, 19, 20, 21, 30
FAILED = (22, 23, 24, 25)
LASTING = (CAP, BAD_FORMAT)

_CAP_TEXT = re.compile(r"\(\s*([A-Z_]+)=(\d{1,9}),\s*DISCARDED=(\d{1,9})\s*\)")
_KEY = re.compile(r'[^\x00-\x1f\x7f-\U0010ffff,"\\]{1,64}\Z')


class Verdict(enum.Enum):
    """What an answer means for the connection."""

    GO_ON = "taken, refused or to be sent again: see the next plan"
    BEGIN_ANEW = "this connection is of no use any more"
    EVICTED = "another program took this stream"
    STOPPED = "Schwab stops the stream"


class Command(Struct, frozen=True):
    """One request: SUBS, ADD or UNSUBS of keys of one service."""

    service: str
    command: str
    keys: tuple[str, ...]

    def parameters(self) -> dict[str, str]:
        """As Schwab wants them; the same field list per service in every command."""
        keys = {"keys": ",".join(self.keys)}
        return keys if self.command == "UNSUBS" else keys | {"fields": REQUEST[self.service]}


class Refusal(Struct, frozen=True):
    """Keys that are not subscribed, and why. `code`: Schwab's, None if we did not ask. `retry_s`: not before that."""

    service: str
    keys: tuple[str, ...]
    code: int | None
    reason: str
    retry_s: float | None = None


class Answer(Struct, frozen=True):
    """One element of `response` or `notify` that carries a code."""

    envelope: str
    service: str
    command: str
    request_id: str
    code: int
    message: str


class _Service:
    """One service's state. `unsure`: Schwab may or may not hold them."""

    def __init__(self) -> None:
        self.desired: dict[str, None] = {}
        self.actual: dict[str, None] = {}
        self.unsure: set[str] = set()
        self.refused: dict[str, tuple[int | None, str]] = {}
        self.failures = 0
        self.away_until_s = 0.0
        self.away_message = ""


class Subscriptions:
    """Desired against actual, for one connection.

    Args:
        caps: most keys per service; what Schwab tells of its caps is written into it, so that the next connection
            can be given the same.
    """

    def __init__(self, caps: dict[str, int] | None = None) -> None:
        self.caps = dict(CAPS) if caps is None else caps
        self._services: dict[str, _Service] = {}

    def want(self, desired: Mapping[str, Iterable[str]]) -> None:
        """Set what is desired, the most important keys first; a service that is not named keeps what it has.

        What was refused before is asked for once more, except what a cap left no room for and what our own mistake
        made (21): that would fail again.
        """
        if unknown := desired.keys() - REQUEST.keys():
            raise ValueError(f"no such service: {', '.join(sorted(unknown))}")
        for service, keys in desired.items():
            state = self._services.setdefault(service, _Service())
            state.desired = dict.fromkeys(keys)
            state.refused = {key: why for key, why in state.refused.items() if why[0] in LASTING}
            state.failures = 0

    def plan(self, now_s: float) -> list[Command]:
        """The commands that lead from actual to desired; empty when nothing is left that can be done now."""
        commands: list[Command] = []
        for service, state in self._services.items():
            if now_s < state.away_until_s:
                continue
            wanted = self._wanted(service, state)
            added = [key for key in wanted if key not in state.actual and key not in state.refused]
            removed = [key for key in state.actual if key not in wanted]
            first = "ADD" if state.actual or state.unsure else "SUBS"
            adding = [
                Command(service, "ADD" if number else first, keys) for number, keys in enumerate(_portions(added))
            ]
            removing = [Command(service, "UNSUBS", keys) for keys in _portions(removed)]
            room = len(state.actual) + len(added) <= self.caps.get(service, len(state.actual) + len(added))
            commands += [*adding, *removing] if room else [*removing, *adding]
        return commands

    def took(self, command: Command, code: int, message: str, now_s: float) -> Verdict:
        """Take over Schwab's answer to a command."""
        state = self._services.setdefault(command.service, _Service())
        if code in (NOT_FOUND, DENIED, UNKNOWN_FAILURE):
            return Verdict.BEGIN_ANEW
        if code in (EVICTED, STOPPED):
            return Verdict.EVICTED if code == EVICTED else Verdict.STOPPED
        if code in SUCCESS:
            self._succeeded(state, command)
        elif code == AWAY:
            state.away_until_s, state.away_message = now_s + SERVICE_AWAY_S, message
        elif code == CAP and command.command != "UNSUBS":
            self._capped(state, command, message)
        elif code in FAILED and state.failures == 0:
            state.failures = 1  # the next plan has it again
        else:
            self._refuse(state, command, code, message)
        return Verdict.GO_ON

    def heard_late(self, message: str) -> None:
        """A cap that Schwab told about after its command was answered: remembered for the next plan."""
        if match := _CAP_TEXT.search(message):
            self._learn(match[1], int(match[2]))

    def held(self, service: str) -> tuple[str, ...]:
        """The keys that Schwab holds, as far as it said so."""
        return tuple(self._services[service].actual) if service in self._services else ()

    def refusals(self, now_s: float) -> list[Refusal]:
        """Every desired key that is not subscribed and will not be by the next plan, by service and reason."""
        found: list[Refusal] = []
        for service, state in self._services.items():
            reasons: dict[tuple[int | None, str], list[str]] = {}
            wanted = self._wanted(service, state)
            for key in state.desired:
                if key in state.actual and key in wanted:
                    continue
                if key in state.refused:
                    reasons.setdefault(state.refused[key], []).append(key)
                elif not _KEY.match(key):
                    reasons.setdefault((None, "it is no symbol"), []).append(key)
                elif key not in wanted:
                    reasons.setdefault((None, f"the cap is {self.caps[service]} keys"), []).append(key)
            found += [Refusal(service, tuple(keys), code, reason) for (code, reason), keys in reasons.items()]
            if now_s < state.away_until_s and (
                keys := tuple(key for key in wanted if key not in state.actual and key not in state.refused)
            ):
                found.append(Refusal(service, keys, AWAY, state.away_message, state.away_until_s - now_s))
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """Per service: keys desired, held, refused (desired and not held), unsure. For status."""
        return {
            service: {
                "desired": len(state.desired),
                "held": len(state.actual),
                "refused": sum(key not in state.actual for key in state.desired),
                "unsure": len(state.unsure),
            }
            for service, state in self._services.items()
        }

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────

    def _wanted(self, service: str, state: _Service) -> dict[str, None]:
        """The desired keys that can be asked for: symbols, and no more than the cap, by priority."""
        sound = [key for key in state.desired if _KEY.match(key)]
        return dict.fromkeys(sound[: self.caps.get(service, len(sound))])

    def _succeeded(self, state: _Service, command: Command) -> None:
        if command.command == "UNSUBS":
            for key in command.keys:
                state.actual.pop(key, None)
                state.unsure.discard(key)
            state.refused = {key: why for key, why in state.refused.items() if why[0] != CAP}  # there is room again
            state.failures = 0
            return
        if command.command == "SUBS":
            state.actual.clear()
            state.unsure.clear()
        state.actual.update(dict.fromkeys(command.keys))
        state.unsure.difference_update(command.keys)
        state.failures = 0

    def _capped(self, state: _Service, command: Command, message: str) -> None:
        """Schwab keeps the first keys up to its cap and does not say which it dropped: the last ones are unsure.

        All are, if it may have held some of them before: those cannot have been dropped.
        """
        match = _CAP_TEXT.search(message)
        countable = match is not None and state.unsure.isdisjoint(command.keys)
        dropped = min(int(match[3]), len(command.keys)) if match and countable else len(command.keys)
        kept, lost = command.keys[: len(command.keys) - dropped], command.keys[len(command.keys) - dropped :]
        self._succeeded(state, Command(command.service, command.command, kept))
        state.unsure.update(lost)
        if match:
            self._learn(match[1], int(match[2]))
        for key in lost:
            state.refused[key] = (CAP, message)

    def _learn(self, service: str, cap: int) -> None:
        if service in REQUEST:
            self.caps[service] = min(cap, self.caps.get(service, cap))

    def _refuse(self, state: _Service, command: Command, code: int, message: str) -> None:
        for key in command.keys:
            state.refused[key] = (code, message)
            if command.command == "UNSUBS":
                state.actual.pop(key, None)
            state.unsure.add(key)
        state.failures = 0


class _Content(Struct):
    code: int | str
    msg: object = ""


class _Said(Struct):
    content: _Content
    service: object = ""
    command: object = ""
    requestid: object = ""


class _Envelope(Struct):
    response: list[msgspec.Raw] = []
    notify: list[msgspec.Raw] = []


_envelope_decoder = msgspec.json.Decoder(_Envelope)
_said_decoder = msgspec.json.Decoder(_Said)


def answers(payload: bytes) -> list[Answer]:
    """Every response and notice of a message that has a code, in order. Never raises: nonsense is passed over."""
    try:
        envelope = _envelope_decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return []
    found: list[Answer] = []
    for name, raws in (("response", envelope.response), ("notify", envelope.notify)):
        for raw in raws:
            try:
                said = _said_decoder.decode(raw)
                code = int(said.content.code)
            except (msgspec.DecodeError, ValueError, RecursionError):
                continue
            texts = (_text(said.service), _text(said.command), _text(said.requestid))
            found.append(Answer(name, *texts, code, _text(said.content.msg)[:500]))
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def _portions(keys: list[str]) -> list[tuple[str, ...]]:
    return [tuple(keys[start : start + KEYS_PER_REQUEST]) for start in range(0, len(keys), KEYS_PER_REQUEST)]
