"""Desired against actual: plans, caps, every code; a made-up Schwab that refuses at random; answers and garbage."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alphakite.feed.schwab.fields import REQUEST
from alphakite.feed.schwab.subscriptions import (
    CAPS,
    KEYS_PER_REQUEST,
    SERVICE_AWAY_S,
    SUCCESS,
    Answer,
    Command,
    Refusal,
    Subscriptions,
    Verdict,
    answers,
)

EQUITIES, OPTIONS, CHART = "LEVELONE_EQUITIES", "LEVELONE_OPTIONS", "CHART_EQUITY"
NAMES = tuple(f"S{number}" for number in range(6))
FULL = "You've reached the maximum number of symbols allowed.  ({}={}, DISCARDED={})"


def settle(held: Subscriptions, *codes: int, text: str = "", now_s: float = 0.0) -> list[Command]:
    """Answer every command of every plan with the next code, then with 0; the commands that were sent."""
    sent: list[Command] = []
    while plan := held.plan(now_s):
        held.took(plan[0], codes[len(sent)] if len(sent) < len(codes) else 0, text, now_s)
        sent.append(plan[0])
        assert len(sent) < 100, "no end"
    return sent


def following(**desired: tuple[str, ...]) -> Subscriptions:
    held = Subscriptions()
    held.want(desired)
    settle(held)
    return held


def test_the_first_request_replaces_and_the_rest_adds() -> None:
    names = tuple(f"S{number}" for number in range(KEYS_PER_REQUEST * 2 + 1))
    held = Subscriptions()
    held.want({OPTIONS: names, EQUITIES: ("QQQ",)})
    plan = held.plan(0)
    assert [(command.service, command.command, len(command.keys)) for command in plan] == [
        (OPTIONS, "SUBS", KEYS_PER_REQUEST),
        (OPTIONS, "ADD", KEYS_PER_REQUEST),
        (OPTIONS, "ADD", 1),
        (EQUITIES, "SUBS", 1),
    ]
    assert held.plan(0) == plan, "a plan changes nothing"
    assert settle(held) == plan
    assert (held.held(OPTIONS), held.held(EQUITIES), held.plan(0)) == (names, ("QQQ",), [])


def test_what_changed_is_added_and_removed() -> None:
    held = following(**{EQUITIES: ("A", "B", "C")})
    held.want({EQUITIES: ("D", "C")})
    assert settle(held) == [Command(EQUITIES, "ADD", ("D",)), Command(EQUITIES, "UNSUBS", ("A", "B"))]
    assert set(held.held(EQUITIES)) == {"C", "D"}
    held.want({EQUITIES: ()})
    assert settle(held) == [Command(EQUITIES, "UNSUBS", ("C", "D"))]
    held.want({EQUITIES: ("A",)})
    assert settle(held) == [Command(EQUITIES, "SUBS", ("A",))]


def test_a_service_that_is_not_named_keeps_what_it_has() -> None:
    held = following(**{EQUITIES: ("A",), CHART: ("A",)})
    held.want({EQUITIES: ("A", "B")})
    settle(held)
    assert (held.held(EQUITIES), held.held(CHART)) == (("A", "B"), ("A",))


def test_parameters_carry_the_same_fields_in_every_command() -> None:
    for service, fields in REQUEST.items():
        for name in ("SUBS", "ADD"):
            assert Command(service, name, ("A", "B")).parameters() == {"keys": "A,B", "fields": fields}
        assert Command(service, "UNSUBS", ("A  B",)).parameters() == {"keys": "A  B"}
        assert [int(number) for number in fields.split(",")] == sorted(map(int, fields.split(",")))
        assert fields.startswith("0,")


@given(st.lists(st.text(max_size=70) | st.sampled_from(["QQQ   261123C00605000", "$SPX", "BRK/B"]), max_size=30))
def test_no_request_can_be_too_large(keys: list[str]) -> None:
    """Whatever is desired: what is no symbol is refused; what is sent is split at commas into what was meant."""
    held = Subscriptions()
    held.want({OPTIONS: tuple(keys)})
    for command in settle(held):
        assert command.parameters()["keys"].split(",") == list(command.keys)
        assert len(json.dumps(command.parameters()["keys"])) <= 65 * len(command.keys) + 2
    left = {key for refusal in held.refusals(0) for key in refusal.keys}
    assert left == set(keys) - set(held.held(OPTIONS))
    assert KEYS_PER_REQUEST * 65 + 5_000 < 60_000


@pytest.mark.parametrize("service", sorted(CAPS))
def test_the_caps_cut_the_tail(service: str) -> None:
    """The order given is the priority; a key that becomes more important pushes the last one out, which goes first."""
    names = tuple(f"S{number}" for number in range(CAPS[service] + 2))
    held = Subscriptions()
    held.want({service: names})
    settle(held)
    assert held.held(service) == names[:-2]
    assert held.refusals(0) == [Refusal(service, names[-2:], None, f"the cap is {CAPS[service]} keys")]
    assert held.counts()[service] == {"desired": len(names), "held": CAPS[service], "refused": 2, "unsure": 0}
    held.want({service: (names[-1], *names[:-1])})
    assert settle(held) == [Command(service, "UNSUBS", (names[-3],)), Command(service, "ADD", (names[-1],))]


@pytest.mark.parametrize("code", SUCCESS)
def test_every_success_is_one(code: int) -> None:
    held = Subscriptions()
    held.want({EQUITIES: NAMES})
    settle(held, code)
    assert held.held(EQUITIES) == NAMES


def test_a_cap_that_schwab_tells() -> None:
    """The last keys are unsure, are refused with Schwab's text, and are not asked for again while there is no room."""
    caps = dict(CAPS)
    held = Subscriptions(caps)
    held.want({OPTIONS: NAMES})
    text = FULL.format(OPTIONS, 4, 2)
    assert len(settle(held, 19, text=text)) == 1
    assert (held.held(OPTIONS), caps[OPTIONS]) == (NAMES[:4], 4)
    assert held.refusals(0) == [Refusal(OPTIONS, NAMES[4:], 19, text)]
    assert held.counts()[OPTIONS] == {"desired": 6, "held": 4, "refused": 2, "unsure": 2}
    for _again in range(3):
        held.want({OPTIONS: NAMES})
        assert held.plan(0) == []
    held.want({OPTIONS: NAMES[1:]})
    assert settle(held) == [Command(OPTIONS, "UNSUBS", NAMES[:1]), Command(OPTIONS, "ADD", NAMES[4:5])]
    assert held.refusals(0) == [Refusal(OPTIONS, NAMES[5:], None, "the cap is 4 keys")]
    again = Subscriptions(caps)
    again.want({OPTIONS: NAMES})
    assert settle(again) == [Command(OPTIONS, "SUBS", NAMES[:4])], "the next connection knows it"


def test_a_cap_without_numbers_is_not_asked_twice() -> None:
    held = following(**{OPTIONS: NAMES[:2]})
    held.want({OPTIONS: NAMES})
    assert settle(held, 19, text="maximum reached") == [Command(OPTIONS, "ADD", NAMES[2:])]
    assert held.held(OPTIONS) == NAMES[:2]
    assert held.refusals(0) == [Refusal(OPTIONS, NAMES[2:], 19, "maximum reached")]


def test_the_captured_cap(shared_data: Path) -> None:
    """2,181 keys were asked for, 1,363 were dropped: 818 of them are held."""
    with gzip.open(shared_data / "schwab_stream_refusal_code19_20261004.json.gz") as file:
        said = json.load(file)
    names = tuple(f"O{number}" for number in range(said["n_symbols"]))
    caps = {OPTIONS: 9000}
    held = Subscriptions(caps)
    command = Command(OPTIONS, said["command"], names)
    held.want({OPTIONS: names})
    assert held.took(command, said["code"], said["msg"], 0) is Verdict.GO_ON
    assert held.held(OPTIONS) == names[:818]
    assert caps == {OPTIONS: 3000}
    assert held.plan(0) == []


def test_a_service_that_is_away_waits_a_minute() -> None:
    held = Subscriptions()
    held.want({OPTIONS: NAMES, EQUITIES: ("QQQ",)})
    sent = settle(held, 11, text="not available", now_s=100.0)
    assert [command.service for command in sent] == [OPTIONS, EQUITIES]
    assert held.refusals(130.0) == [Refusal(OPTIONS, NAMES, 11, "not available", 30.0)]
    assert held.plan(99.9 + SERVICE_AWAY_S) == []
    assert settle(held, now_s=100.0 + SERVICE_AWAY_S) == [Command(OPTIONS, "SUBS", NAMES)]
    assert held.refusals(200.0) == []


def test_our_own_mistake_is_not_sent_again() -> None:
    held = Subscriptions()
    for _again in range(3):
        held.want({EQUITIES: NAMES})
        settle(held, 21, text="Bad command formatting")
    assert held.refusals(0) == [Refusal(EQUITIES, NAMES, 21, "Bad command formatting")]
    held.want({EQUITIES: (*NAMES, "QQQ")})
    assert settle(held) == [Command(EQUITIES, "ADD", ("QQQ",))]


@pytest.mark.parametrize("code", [22, 23, 24, 25])
def test_a_failure_is_sent_once_more(code: int) -> None:
    """Two commands in flight can fail: once more, alone, then it is reported until it is desired anew."""
    held = Subscriptions()
    held.want({EQUITIES: NAMES})
    assert len(settle(held, code)) == 2
    assert held.refusals(0) == []
    other = Subscriptions()
    other.want({EQUITIES: NAMES})
    assert len(settle(other, code, code, text="failed")) == 2
    assert other.refusals(0) == [Refusal(EQUITIES, NAMES, code, "failed")]
    other.want({EQUITIES: NAMES})
    assert settle(other) == [Command(EQUITIES, "ADD", NAMES)]
    assert other.counts()[EQUITIES]["unsure"] == 0


def test_a_removal_that_fails_is_given_up() -> None:
    held = following(**{EQUITIES: ("A", "B")})
    held.want({EQUITIES: ("B",)})
    assert settle(held, 23, 23) == [Command(EQUITIES, "UNSUBS", ("A",))] * 2
    assert (held.held(EQUITIES), held.refusals(0)) == (("B",), [])


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (3, Verdict.BEGIN_ANEW),
        (9, Verdict.BEGIN_ANEW),
        (20, Verdict.BEGIN_ANEW),
        (12, Verdict.EVICTED),
        (30, Verdict.STOPPED),
        *[(code, Verdict.GO_ON) for code in (0, 11, 19, 21, 22, 29, -1, 77)],
    ],
)
def test_what_each_code_means_for_the_connection(code: int, verdict: Verdict) -> None:
    held = Subscriptions()
    held.want({EQUITIES: NAMES})
    assert held.took(held.plan(0)[0], code, "", 0) is verdict


@example(2, [["K0", "K2"], [], ["K1", "K0"]], [22, 22, 0])
@settings(max_examples=500)
@given(
    st.integers(1, 12),
    st.lists(st.lists(st.sampled_from([f"K{number}" for number in range(15)]), max_size=15), min_size=1, max_size=5),
    st.lists(st.sampled_from([0, 0, 0, 11, 21, 22, 23, 24, 29, 77])),
)
def test_a_schwab_that_refuses_at_random(cap: int, wishes: list[list[str]], codes: list[int]) -> None:
    """It ends; what we believe to be held is held; every desired key is held or named with its reason."""
    told: set[str] = set()
    held = Subscriptions({EQUITIES: 10})
    now_s, left = 0.0, list(codes)
    for wish in wishes:
        held.want({EQUITIES: tuple(wish)})
        for _turn in range(60):
            plan = held.plan(now_s)
            if not plan:
                break
            command, code, text = plan[0], left.pop() if left else 0, ""
            if code in SUCCESS:
                if command.command == "SUBS":
                    told.clear()
                if command.command == "UNSUBS":
                    told -= set(command.keys)
                else:
                    new = [key for key in command.keys if key not in told]
                    room = max(0, cap - len(told))
                    told |= set(new[:room])
                    if len(new) > room:
                        code, text = 19, FULL.format(EQUITIES, cap, len(new) - room)
            held.took(command, code, text, now_s)
        assert held.plan(now_s) == []
        assert set(held.held(EQUITIES)) <= told
        named = {key for refusal in held.refusals(now_s) for key in refusal.keys}
        assert set(wish) - set(held.held(EQUITIES)) <= named
        assert named <= set(wish)
        now_s += SERVICE_AWAY_S


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

SAID = {"service": OPTIONS, "command": "ADD", "requestid": "7", "content": {"code": 19, "msg": "full"}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"response": [SAID]}, [Answer("response", OPTIONS, "ADD", "7", 19, "full")]),
        ({"response": [SAID | {"requestid": 7}]}, [Answer("response", OPTIONS, "ADD", "7", 19, "full")]),
        (
            {"response": [SAID, {}, 7, None, SAID | {"content": {"code": "0"}}]},
            [Answer("response", OPTIONS, "ADD", "7", 19, "full"), Answer("response", OPTIONS, "ADD", "7", 0, "")],
        ),
        (
            {
                "notify": [
                    {"heartbeat": "1"},
                    {"service": "ADMIN", "timestamp": 1, "content": {"code": 30, "msg": "Stop"}},
                ]
            },
            [Answer("notify", "ADMIN", "", "", 30, "Stop")],
        ),
        ({"notify": [{"content": {"code": 12, "msg": ["x"]}}]}, [Answer("notify", "", "", "", 12, "")]),
        ({"response": [SAID | {"content": {"code": value}} for value in ([], None, "x", 1.5, "9" * 5000)]}, []),
        ({"response": 7}, []),
        ({"notify": {"content": {"code": 30}}}, []),
        ([], []),
        ({"data": []}, []),
    ],
)
def test_answers_of_a_message(message: Any, expected: list[Answer]) -> None:
    assert answers(json.dumps(message).encode()) == expected


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_no_answer(payload: bytes) -> None:
    assert answers(payload) == []


@given(st.binary(max_size=8), st.floats(0, 1, exclude_max=True))
def test_a_damaged_answer_never_raises(piece: bytes, place: float) -> None:
    whole = json.dumps({"response": [SAID]}).encode()
    at = int(place * len(whole))
    answers(whole[:at] + piece + whole[at + len(piece) :])
