"""The service clock never goes back, reports a step once, and under `feed` knows only what the feed told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.clock import STEP_TOLERANCE_NS, UNKNOWN_NS, FeedClock, SystemClock, make_clock

WALL_NS = 1_795_446_904_182_000_000
SECOND_NS = 1_000_000_000


class Times:
    """Both clocks of the machine, in the test's hand; `step` moves the wall clock alone."""

    def __init__(self) -> None:
        self.wall_ns, self.monotonic_ns = WALL_NS, 50 * SECOND_NS

    def advance(self, ns: int) -> None:
        self.wall_ns += ns
        self.monotonic_ns += ns

    def step(self, ns: int) -> None:
        self.wall_ns += ns

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("alphakite.clock.time.time_ns", lambda: self.wall_ns)
        monkeypatch.setattr("alphakite.clock.time.monotonic_ns", lambda: self.monotonic_ns)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    made = Times()
    made.patch(monkeypatch)
    return made


def test_it_is_wall_time_at_first_and_runs_with_the_monotonic_clock(times: Times) -> None:
    clock = SystemClock()
    assert clock.now_ns() == WALL_NS
    times.advance(SECOND_NS)
    assert clock.now_ns() == WALL_NS + SECOND_NS
    assert clock.step_ns() == 0


def test_a_forward_step_is_followed_and_reported_once(times: Times) -> None:
    clock = SystemClock()
    clock.now_ns()
    times.step(3600 * SECOND_NS)
    assert clock.now_ns() == WALL_NS, "until it is noticed, the monotonic clock alone counts"
    assert clock.step_ns() == 3600 * SECOND_NS
    assert clock.step_ns() == 0
    assert clock.now_ns() == WALL_NS + 3600 * SECOND_NS


def test_a_backward_step_is_reported_once_and_not_followed(times: Times) -> None:
    clock = SystemClock()
    clock.now_ns()
    times.step(-3600 * SECOND_NS)
    assert clock.step_ns() == -3600 * SECOND_NS
    assert clock.step_ns() == 0
    times.advance(SECOND_NS)
    assert clock.now_ns() == WALL_NS + SECOND_NS


def test_a_step_there_and_back_is_two_steps(times: Times) -> None:
    clock = SystemClock()
    times.step(-10 * SECOND_NS)
    assert clock.step_ns() == -10 * SECOND_NS
    times.step(10 * SECOND_NS)
    assert clock.step_ns() == 10 * SECOND_NS
    assert clock.now_ns() == WALL_NS


def test_a_correction_below_the_tolerance_is_no_step(times: Times) -> None:
    clock = SystemClock()
    times.step(STEP_TOLERANCE_NS - 1)
    assert clock.step_ns() == 0
    times.step(1)
    assert clock.step_ns() == STEP_TOLERANCE_NS


def test_it_never_answers_less_than_the_journal_has(times: Times) -> None:
    """After a restart on a machine whose wall clock is behind, time stands until it is caught up."""
    clock = SystemClock()
    clock.raise_floor(WALL_NS + 5 * SECOND_NS)
    assert clock.now_ns() == WALL_NS + 5 * SECOND_NS
    times.advance(3 * SECOND_NS)
    assert clock.now_ns() == WALL_NS + 5 * SECOND_NS
    clock.raise_floor(WALL_NS)
    times.advance(3 * SECOND_NS)
    assert clock.now_ns() == WALL_NS + 6 * SECOND_NS


def test_the_feed_does_not_move_the_system_clock(times: Times) -> None:
    clock = SystemClock()
    clock.observe_ms(WALL_NS // 1_000_000 + 9_000_000)
    assert clock.now_ns() == WALL_NS


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["advance", "step", "floor", "look"]), st.integers(-(10**12), 10**12)), max_size=30
)


@given(ACTIONS)
def test_whatever_the_machine_does_time_never_goes_back(actions: list[tuple[str, int]]) -> None:
    """And what was reported sums up to how far the wall clock is off its beginning, but for the tolerance."""
    times = Times()
    with pytest.MonkeyPatch.context() as patch:
        times.patch(patch)
        clock = SystemClock()
        seen, stepped, reported = clock.now_ns(), 0, 0
        for name, ns in actions:
            if name == "advance":
                times.advance(abs(ns))
            elif name == "step":
                times.step(ns)
                stepped += ns
            elif name == "floor":
                clock.raise_floor(seen + ns)
            else:
                reported += clock.step_ns()
            now = clock.now_ns()
            assert now >= seen
            seen = now
        reported += clock.step_ns()
        assert abs(stepped - reported) < STEP_TOLERANCE_NS
        assert clock.step_ns() == 0


def test_the_feed_clock_knows_nothing_before_it_is_told() -> None:
    clock = FeedClock()
    assert clock.now_ns() == UNKNOWN_NS
    clock.observe_ms(1_795_446_904_182)
    assert clock.now_ns() == WALL_NS


def test_the_feed_clock_is_the_greatest_time_told() -> None:
    """A late frame, a heartbeat behind the data, a smaller floor: none moves it back."""
    clock = FeedClock()
    for stamp_ms, expected_ms in ((5000, 5000), (4000, 5000), (5000, 5000), (6000, 6000), (-1, 6000)):
        clock.observe_ms(stamp_ms)
        assert clock.now_ns() == expected_ms * 1_000_000
    clock.raise_floor(1)
    assert clock.now_ns() == 6000 * 1_000_000


def test_after_a_restart_the_feed_clock_is_not_below_the_journal() -> None:
    clock = FeedClock()
    clock.raise_floor(WALL_NS)
    clock.observe_ms(WALL_NS // 1_000_000 - 1)
    assert clock.now_ns() == WALL_NS
    clock.observe_ms(WALL_NS // 1_000_000 + 1)
    assert clock.now_ns() == WALL_NS + 1_000_000


def test_the_feed_clock_stands_when_the_machine_runs(times: Times) -> None:
    clock = FeedClock()
    clock.observe_ms(1000)
    times.advance(SECOND_NS)
    times.step(SECOND_NS * 100)
    assert (clock.now_ns(), clock.step_ns()) == (SECOND_NS, 0)


def test_the_setting_chooses_the_clock() -> None:
    assert isinstance(make_clock("feed"), FeedClock)
    assert isinstance(make_clock("system"), SystemClock)
    assert (make_clock("feed").mode, make_clock("system").mode) == ("feed", "system")
