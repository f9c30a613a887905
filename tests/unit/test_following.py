"""What is watched: the expiry by the calendar, the window with its hysteresis, what stays, what a cap leaves."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.model import PRICE_SCALE, ChainContract, Expiration
from alphakite.recorder.following import (
    ASK_AGAIN_US,
    EMPTY_AGAIN_US,
    Change,
    FollowState,
    Known,
    KnownChain,
    OptionSettings,
    Plan,
    choose,
    follow,
    followed_session,
)
from alphakite.sessions import EXCHANGE, next_session, session_on
from alphakite.symbols import OptionSymbol, format_option, parse_option

MONDAY = date(2026, 11, 23)
MANY = 100_000
NARROW = OptionSettings(strikes=5)


def at(day: date, clock: str = "10:00") -> int:
    hour, minute = clock.split(":")
    return int(datetime(day.year, day.month, day.day, int(hour), int(minute), tzinfo=EXCHANGE).timestamp()) * 1_000_000


def usd(price: float) -> int:
    return round(price * PRICE_SCALE)


def contracts(
    expiry: date, strikes: Iterable[float], root: str = "SPY", settlement: str = "P", **said: object
) -> tuple[ChainContract, ...]:
    return tuple(
        msgspec.structs.replace(
            ChainContract(
                format_option(OptionSymbol(root, expiry, right, usd(strike))), root, root, right, usd(strike), expiry
            ),
            settlement=settlement,
            **said,
        )
        for strike in strikes
        for right in ("C", "P")
    )


def knows(
    *days: date,
    strikes: Iterable[float] = range(500, 701),
    root: str = "SPY",
    seen_us: int = at(MONDAY, "09:35"),
    complete: bool = True,
) -> Known:
    known = Known().with_expirations([Expiration(day, settlement="P", roots=(root,)) for day in days], seen_us)
    for day in days:
        known = known.with_chain(KnownChain(day, seen_us, contracts(day, strikes, root), usd(600), complete))
    return known


def step(
    price: float | None,
    state: FollowState = FollowState(),  # noqa: B008  (frozen)
    *,
    known: Known,
    now: int = at(MONDAY),
    options: OptionSettings = NARROW,
    cap: int = MANY,
    ticker: str = "SPY",
) -> Plan:
    return follow({ticker: options}, {ticker: known}, {ticker: usd(price)} if price else {}, now, state, cap)


def strikes_of(symbols: Iterable[str]) -> list[float]:
    return sorted({parse_option(symbol).strike / PRICE_SCALE for symbol in symbols})  # type: ignore[union-attr]


def reasons(plan: Plan) -> list[str]:
    return [change.reason for change in plan.changes]


# ── the window ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_window() -> None:
    """Five strikes each side and one spare, calls and puts, the nearest first; at a strike that one, too."""
    plan = step(600.4, known=knows(MONDAY))
    assert strikes_of(plan.symbols) == [*range(595, 607)]
    assert [symbol[12:].lstrip("0") for symbol in plan.symbols[:4]] == [
        "C00600000",
        "P00600000",
        "C00601000",
        "P00601000",
    ]
    assert [(c.reason, len(c.added), c.removed) for c in plan.changes] == [("started", 24, ())]
    assert strikes_of(step(600, known=knows(MONDAY)).symbols) == [*range(594, 607)]
    exact = msgspec.structs.replace(NARROW, hysteresis=0)
    assert strikes_of(step(600.4, known=knows(MONDAY), options=exact).symbols) == [*range(596, 606)]


def test_an_unchanged_world_changes_nothing() -> None:
    """The same state, no change, no need; also after the state was kept as JSON and as msgpack."""
    known = knows(MONDAY)
    first = step(600.4, known=known, cap=15)
    for codec in (msgspec.json, msgspec.msgpack):
        state = codec.decode(codec.encode(first.state), type=FollowState)
        again = step(600.4, state, known=known, cap=15)
        assert (again.symbols, again.state, again.changes, again.needs) == (first.symbols, first.state, (), ())


def test_the_money_that_leaves_the_hysteresis_recentres() -> None:
    """One strike crossed is the spare one; the second brings those missing, and takes none away."""
    known = knows(MONDAY)
    first = step(600.4, known=known)
    still = step(601.4, first.state, known=known)
    assert (still.symbols, still.changes, still.state) == (first.symbols, (), first.state)
    moved = step(602.4, still.state, known=known)
    assert reasons(moved) == ["recentred"] and strikes_of(moved.changes[0].added) == [607, 608]
    assert strikes_of(moved.symbols) == [*range(595, 609)] and moved.changes[0].removed == ()
    assert moved.symbols[0][13:] == "00602000" and set(strikes_of(moved.symbols[-4:])) == {595, 596}  # sticky ones last


prices = st.lists(st.floats(505, 695).map(lambda price: round(price, 2)), min_size=1, max_size=25)


@given(prices, st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.2, 0.5]), st.sets(st.integers(0, 400), min_size=5))
def test_the_promise_and_the_stickiness(path: list[float], number: int, part: float, places: set[int]) -> None:
    """At every price: so many existing strikes on each side are watched, and nothing watched before is missing."""
    strikes = [500 + place / 2 for place in sorted(places)]
    known = knows(MONDAY, strikes=strikes)
    options = OptionSettings(strikes=number, hysteresis=part)
    state, before = FollowState(), set[str]()
    for second, price in enumerate(path):
        plan = step(price, state, known=known, options=options, now=at(MONDAY) + second * 1_000_000)
        watched = strikes_of(plan.symbols)
        below, above = [k for k in strikes if k < price], [k for k in strikes if k > price]
        assert {*below[-number:], *above[:number]} <= set(watched)
        assert set(plan.symbols) >= before and len(plan.symbols) == 2 * len(watched) == len(set(plan.symbols))
        added = {symbol for change in plan.changes for symbol in change.added}
        assert set(plan.symbols) - before == added and all(not change.removed for change in plan.changes)
        state, before = plan.state, set(plan.symbols)


@given(st.floats(550, 650), st.lists(st.floats(-0.99, 0.99), max_size=20), st.integers(5, 30))
def test_no_churn_within_the_hysteresis(middle: float, swings: list[float], number: int) -> None:
    """A price that swings within the spare strikes changes nothing, in any order, under a cap, too."""
    known, options = knows(MONDAY), OptionSettings(strikes=number)
    for cap in (MANY, number):
        first = step(middle, known=known, options=options, cap=cap)
        for swing in swings:
            plan = step(middle + swing * options.spare, first.state, known=known, options=options, cap=cap)
            assert (plan.symbols, plan.state, plan.changes) == (first.symbols, first.state, ())


@given(
    prices,
    st.sampled_from(["strikes", "width", "all"]),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.sets(st.integers(0, 400), min_size=5),
)
def test_what_is_not_due_would_change_nothing(path: list[float], window: str, part: float, places: set[int]) -> None:
    """A step that is left out because it is not due would have given the same state, symbols and no change."""
    strikes = [500 + place / 2 for place in sorted(places)]
    known, options = knows(MONDAY, strikes=strikes), OptionSettings(window=window, strikes=4, hysteresis=part)
    plan = step(path[0], known=known, options=options)
    for second, price in enumerate([p + d for p in path for d in (0, 0.01, 1, -1)], 1):
        now = at(MONDAY) + second * 10_000
        again = step(price, plan.state, known=known, options=options, now=now)
        if not plan.due({"SPY": usd(price)}, now):
            assert (again.symbols, again.state, again.changes) == (plan.symbols, plan.state, ())
        plan = again
    assert plan.due({"SPY": usd(path[-1])}, now + 10_000_000) and plan.due({}, now + 10_000_000)


def test_a_trend_day_asks_seldom() -> None:
    """3 % up in steps of a cent: every change needs a move of more than the spare strikes."""
    known, options = knows(MONDAY), OptionSettings()
    state, changes = FollowState(), 0
    for cents in range(60_000, 61_800, 7):
        plan = step(cents / 100, state, known=known, options=options)
        state, changes = plan.state, changes + len(plan.changes)
    assert changes == 1 + 18 // (options.spare + 1)


def test_a_width_in_percent() -> None:
    """2 % each side and a fifth of it; followed with the same promise."""
    known, options = knows(MONDAY), OptionSettings(window="width", width_percent=2)
    state = FollowState()
    for price in (600, 602, 603.5, 610, 590, 600):
        plan = step(price, state, known=known, options=options)
        state = plan.state
        assert set(strikes_of(plan.symbols)) >= {k for k in range(500, 701) if abs(k - price) <= 0.02 * price}
    assert len(step(600, known=known, options=options).symbols) == 2 * 29
    assert step(602, step(600, known=known, options=options).state, known=known, options=options).changes == ()


def test_a_window_without_a_strike_is_said_once() -> None:
    """A width that reaches no strike: watched is nothing, and that is no news in the next second."""
    known, options = knows(MONDAY, strikes=[500, 510]), OptionSettings(window="width", width_percent=1)
    first = step(600, known=known, options=options)
    assert first.symbols == () and [(c.reason, c.detail) for c in first.changes] == [
        ("started", "no strike lies in the window")
    ]
    assert step(600, first.state, known=known, options=options).changes == ()
    assert reasons(step(509, first.state, known=known, options=options)) == ["recentred"]


def test_a_delta_band() -> None:
    """From the call of 0.9 to that of 0.1, moved with the price; without deltas the strikes; deltas grow old."""

    def with_delta(one: ChainContract) -> ChainContract:
        call = min(1.0, max(0.0, 0.5 - (one.strike / PRICE_SCALE - 600) / 50))
        return msgspec.structs.replace(one, delta=call if one.right == "C" else call - 1)

    plain = knows(MONDAY)
    chain = plain.chains[MONDAY]
    known = plain.with_chain(msgspec.structs.replace(chain, contracts=tuple(map(with_delta, chain.contracts))))
    options = OptionSettings(window="delta", delta_low=0.1, delta_high=0.9, strikes=3, hysteresis=0)
    assert strikes_of(step(600.2, known=known, options=options).symbols) == [*range(581, 621)]
    assert strikes_of(step(610.5, known=known, options=options).symbols) == [*range(591, 631)]
    assert strikes_of(step(600.2, known=plain, options=options).symbols) == [*range(598, 604)]
    assert [need.reason for need in step(600, known=known, options=options, now=at(MONDAY, "11:00")).needs] == [
        "deltas"
    ]


def test_all_of_them() -> None:
    """Every contract of the expiry, near ones first."""
    plan = step(600.4, known=knows(MONDAY), options=OptionSettings(window="all"))
    assert len(plan.symbols) == 402 and set(strikes_of(plan.symbols[:2])) == {600}


def test_a_strike_listed_during_the_day_joins() -> None:
    """A definition that comes later is watched if it lies in the window."""
    known = knows(MONDAY, strikes=range(500, 701, 5))
    first = step(600.4, known=known)
    more = known.with_chain(KnownChain(MONDAY, at(MONDAY), contracts(MONDAY, [602.5, 900]), usd(600), complete=True))
    plan = step(600.4, first.state, known=more)
    assert reasons(plan) == ["listed"] and strikes_of(plan.changes[0].added) == [602.5]
    assert set(first.symbols) < set(plan.symbols)


def test_adjusted_mini_and_opening_contracts_are_left_out() -> None:
    """By default; a setting lets each in."""
    known = knows(MONDAY, strikes=[600])
    for name, said in (("include_adjusted", {"adjusted": True}), ("include_mini", {"mini": True})):
        odd = contracts(MONDAY, [601], "SPY1", **said)
        more = known.with_chain(KnownChain(MONDAY, at(MONDAY), odd, usd(600), complete=True))
        assert strikes_of(step(600, known=more).symbols) == [600]
        let_in = msgspec.structs.replace(NARROW, **{name: True})
        assert strikes_of(step(600, known=more, options=let_in).symbols) == [600, 601]


def test_settled_at_the_opening_means_last_traded_the_day_before() -> None:
    """SPX of Friday belongs to Thursday's session beside Thursday's SPXW; on Friday it is dead."""
    thursday, friday = date(2026, 11, 19), date(2026, 11, 20)
    known = knows(thursday, friday, strikes=[6000], root="SPXW", seen_us=at(thursday, "09:35"))
    am = contracts(friday, [6000], "SPX", "A")
    known = known.with_chain(KnownChain(friday, at(thursday, "09:35"), am, usd(6000), complete=True))
    entries = (*known.expirations, Expiration(friday, settlement="A", roots=("SPX",)))
    known = msgspec.structs.replace(known, expirations=entries)
    with_am = msgspec.structs.replace(NARROW, include_am=True)

    def roots(day: date, options: OptionSettings) -> set[str]:
        plan = step(6000, known=known, options=options, now=at(day), ticker="$SPX")
        return {symbol[:12] for symbol in plan.symbols}

    assert roots(thursday, NARROW) == {"SPXW  261119"}
    assert roots(thursday, with_am) == {"SPXW  261119", "SPX   261120"}
    assert roots(friday, with_am) == roots(friday, NARROW) == {"SPXW  261120"}


# ── caps ────────────────────────────────────────────────────────────────────────────────────────────────────


@given(prices, st.integers(0, 60))
def test_a_cap_keeps_the_nearest(path: list[float], cap: int) -> None:
    """Never more than the cap; no watched contract is nearer to a centre, in strikes, than one that was cut."""
    tickers = {"SPY": NARROW, "QQQ": OptionSettings(strikes=8)}
    known = {"SPY": knows(MONDAY), "QQQ": knows(MONDAY, root="QQQ", strikes=range(400, 601, 2))}
    state, held = FollowState(), set[str]()
    for price in path:
        plan = follow(tickers, known, {"SPY": usd(price), "QQQ": usd(price - 100)}, at(MONDAY), state, cap)
        watched = sum(len(one.watched) for one in plan.state.tickers.values())
        assert len(plan.symbols) == min(cap, watched) == len(set(plan.symbols))
        for ticker, one in plan.state.tickers.items():
            distance = {symbol: abs(parse_option(symbol).strike - one.centre) for symbol in one.watched}  # type: ignore[union-attr]
            kept = [distance[symbol] for symbol in plan.symbols if symbol in distance]
            cut = [distance[symbol] for symbol in one.cut]
            reach = usd(6 if ticker == "SPY" else 20)
            assert not cut or not kept or min(cut) >= max(k for k in kept if k <= reach) or max(kept) > reach
            assert set(kept) <= set(sorted(distance.values())[: len(kept)]) or cut == []
        for change in plan.changes:
            assert not held & set(change.added) and held >= set(change.removed)
            held = held - set(change.removed) | set(change.added)
        assert held == set(plan.symbols)
        state = plan.state


def test_a_cap_is_shared_by_nearness() -> None:
    """Both tickers keep their near strikes; the far ones of both are cut, which is said once."""
    tickers = {"SPY": NARROW, "QQQ": NARROW}
    known = {"SPY": knows(MONDAY), "QQQ": knows(MONDAY, root="QQQ")}
    prices = {"SPY": usd(600.4), "QQQ": usd(550.4)}
    plan = follow(tickers, known, prices, at(MONDAY), FollowState(), 12)
    assert [len(strikes_of(s for s in plan.symbols if s[:3] == t)) for t in tickers] == [3, 3]
    assert [(c.ticker, c.reason, len(c.added)) for c in plan.changes if c.added] == [
        ("SPY", "started", 6),
        ("QQQ", "started", 6),
    ]
    assert {(c.ticker, c.detail) for c in plan.changes if c.reason == "capped"} == {
        ("SPY", "no room for 18 of 24"),
        ("QQQ", "no room for 18 of 24"),
    }
    assert follow(tickers, known, prices, at(MONDAY), plan.state, 12).changes == ()
    alone = follow({"SPY": NARROW}, known, prices, at(MONDAY), plan.state, 12)
    assert [(c.ticker, c.reason, len(c.added), len(c.removed)) for c in alone.changes] == [
        ("SPY", "capped", 6, 0),
        ("QQQ", "ended", 0, 6),
    ]
    assert "QQQ" not in alone.state.tickers


def test_options_off_ends_it() -> None:
    """OPTIONS=off for a ticker takes its contracts away."""
    first = step(600, known=knows(MONDAY))
    plan = step(600, first.state, known=knows(MONDAY), options=OptionSettings(on=False))
    assert (
        plan.symbols == ()
        and reasons(plan) == ["ended"]
        and plan.changes[0].removed == first.state.tickers["SPY"].watched
    )


# ── the calendar ────────────────────────────────────────────────────────────────────────────────────────────

ROLLS = [
    (date(2026, 11, 20), "16:15", date(2026, 11, 23), "weekend"),
    (date(2026, 11, 25), "16:15", date(2026, 11, 27), "Thanksgiving"),
    (date(2026, 11, 27), "13:15", date(2026, 11, 30), "half-day"),
    (date(2026, 11, 30), "16:15", date(2026, 12, 1), "month end"),
    (date(2026, 4, 2), "16:15", date(2026, 4, 6), "Good Friday"),
    (date(2026, 3, 6), "16:15", date(2026, 3, 9), "daylight saving"),
    (date(2026, 12, 31), "16:15", date(2027, 1, 4), "New Year"),
]


@pytest.mark.parametrize(("day", "clock", "following", "why"), ROLLS, ids=[row[3] for row in ROLLS])
def test_the_roll(day: date, clock: str, following: date, why: str) -> None:
    """Staged half an hour before, swapped at the end of trading and not a second earlier; all that expired is gone."""
    known = knows(day, following, seen_us=at(day, "09:35"))
    roll = at(day, clock)
    first = step(600.4, known=known, now=at(day, "10:00"))
    assert {s[6:12] for s in first.symbols} == {f"{day:%y%m%d}"} and first.next_us == roll - 1_800_000_000
    stage = step(610.4, first.state, known=known, now=first.next_us)
    assert reasons(stage)[-1] == "staged" and {s[6:12] for s in stage.staged["SPY"]} == {f"{following:%y%m%d}"}
    assert stage.changes[-1].added == stage.staged["SPY"] and set(first.symbols) < set(stage.symbols)
    assert stage.next_us == roll
    late = step(610.4, stage.state, known=known, now=roll - 1)
    assert late.symbols == stage.symbols and late.changes == ()
    rolled = step(610.4, late.state, known=known, now=roll)
    assert reasons(rolled) == ["rolled"] and rolled.symbols == stage.staged["SPY"]
    assert (rolled.changes[0].added, set(rolled.changes[0].removed)) == (rolled.symbols, set(stage.symbols))
    assert rolled.state.tickers["SPY"].session == following
    assert step(610.4, rolled.state, known=known, now=at(following, "09:31")).symbols == rolled.symbols


def test_an_index_rolls_at_the_close() -> None:
    """SPXW ends at 16:00 on its last day, at 13:00 on a half-day; a later expiry trades until 16:15."""
    for day, clock in ((MONDAY, "16:00"), (date(2026, 11, 27), "13:00")):
        known, ahead = knows(day, next_session(day).date, root="SPXW"), OptionSettings(dte=1)
        close = at(day, clock)
        assert followed_session("$SPX", NARROW, known, close - 1).date == day
        assert followed_session("$SPX", NARROW, known, close).date == next_session(day).date
        assert followed_session("SPY", NARROW, known, close).date == day
        assert followed_session("$SPX", ahead, known, close).date == day
        assert followed_session("$SPX", ahead, known, close + 900_000_000).date == next_session(day).date


def test_a_roll_is_not_taken_back() -> None:
    """An index rolled at 16:00 while its expiry was not known; then a later expiry is found: it stays rolled."""
    known = knows(MONDAY, MONDAY + timedelta(1), MONDAY + timedelta(2), root="SPXW")
    ahead, now = OptionSettings(dte=1), at(MONDAY, "16:05")
    blind = step(600, known=Known(), now=now, options=ahead, ticker="$SPX")
    plan = step(600, blind.state, known=known, now=now + 1, options=ahead, ticker="$SPX")
    assert plan.state.tickers["$SPX"].session == MONDAY + timedelta(1)


def test_the_next_chain_is_asked_for_before_the_roll() -> None:
    """Not known: a need from the staging time on; still unknown at the roll: waited for, and swapped when it comes."""
    tuesday = MONDAY + timedelta(1)
    known = knows(MONDAY)
    known = known.with_expirations([*known.expirations, Expiration(tuesday)], at(MONDAY, "09:35"))
    first = step(600.4, known=known)
    assert first.needs == ()
    stage = step(600.4, first.state, known=known, now=at(MONDAY, "15:45"))
    assert [(n.expiry, n.strikes, n.reason) for n in stage.needs] == [(tuesday, 6, "stage")] and stage.changes == ()
    after = step(600.4, stage.state, known=known, now=at(MONDAY, "16:15"))
    assert reasons(after) == ["waiting"] and after.symbols == () and [n.reason for n in after.needs] == ["unknown"]
    assert step(600.4, after.state, known=known, now=at(MONDAY, "16:16")).changes == ()
    found = known.with_chain(KnownChain(tuesday, at(MONDAY, "16:17"), contracts(tuesday, range(500, 701)), None, True))
    rolled = step(600.4, after.state, known=found, now=at(MONDAY, "16:17"))
    assert reasons(rolled) == ["rolled"] and strikes_of(rolled.symbols) == [*range(595, 607)]


def test_weeklies_roll_in_place() -> None:
    """Tuesday of a name that expires on Friday: the same expiry, the window anew, what is still in it stays."""
    friday = date(2026, 11, 27)
    known = knows(friday, root="GOOG")
    first = step(600.4, known=known)
    moved = step(604.4, first.state, known=known)
    assert moved.state.tickers["SPY"].expiries == (friday,)
    rolled = step(604.4, moved.state, known=known, now=at(MONDAY, "16:15"))
    assert reasons(rolled) == ["rolled"] and rolled.changes[0].added == ()
    assert strikes_of(rolled.changes[0].removed) == [595, 596, 597, 598]


def test_days_to_expiry() -> None:
    """Nearest if none today; at least so many calendar days ahead; the older GOOG example."""
    days = [date(2026, 11, 24), date(2026, 11, 27), date(2026, 12, 4)]
    known = knows(*days)
    assert [choose(known, OptionSettings(dte=dte), MONDAY)[0] for dte in (0, 1, 2, 5, 12)] == [
        days[0],
        days[0],
        days[1],
        days[2],
        None,
    ]
    goog = knows(date(2015, 12, 24), root="GOOG")
    assert choose(goog, OptionSettings(dte=1), date(2015, 12, 23)) == (date(2015, 12, 24), (date(2015, 12, 24),))
    assert choose(Known(), NARROW, MONDAY) == (None, ())
    leaps = date(2029, 1, 19)
    assert choose(knows(leaps), NARROW, MONDAY) == (leaps, (leaps,))  # beyond the trading calendar


def test_adjusted_expiries_and_openings_are_not_chosen() -> None:
    """An expiry of adjusted contracts only, or settled at the opening, is passed over."""
    entries = [
        Expiration(MONDAY, settlement="A"),
        Expiration(MONDAY + timedelta(1), settlement="P", standard=False),
        Expiration(MONDAY + timedelta(2), settlement="P"),
    ]
    known = Known().with_expirations(entries, 1)
    assert choose(known, NARROW, MONDAY)[0] == MONDAY + timedelta(2)
    assert choose(known, OptionSettings(include_adjusted=True), MONDAY)[0] == MONDAY + timedelta(1)


@given(st.dates(date(2024, 1, 2), date(2027, 12, 20)), st.integers(0, 24 * 3600 - 1))
def test_what_is_followed_has_not_expired(day: date, second: int) -> None:
    """At any second of any day, weekends and holidays too: the nearest session whose trading has not ended."""
    now = at(day, "00:00") + second * 1_000_000
    sessions = [one for n in range(8) if (one := session_on(day + timedelta(n))) is not None]
    known = knows(*(one.date for one in sessions), strikes=[600], seen_us=now)
    plan = step(600, known=known, now=now)
    expected = next(one.date for one in sessions if now < one.regular_close_us + 900_000_000)
    assert {parse_option(symbol).expiry for symbol in plan.symbols} == {expected}  # type: ignore[union-attr]
    assert plan.next_us > now


@given(
    st.lists(st.tuples(st.integers(60, 30_000), st.floats(520, 680)), min_size=1, max_size=40),
    st.sampled_from([row[0] for row in ROLLS]),
)
def test_a_walk_over_the_roll_tears_no_tape(walk: list[tuple[int, float]], day: date) -> None:
    """Whatever the price does: within a session nothing is dropped, and at a roll only what is not in the new window;
    the changes add up to what is desired."""
    days = [day]
    while len(days) < 12:
        days.append(next_session(days[-1]).date)
    now, state, held = at(day, "08:00"), FollowState(), set[str]()
    known = knows(*days, seen_us=now)
    for seconds, price in walk:
        now += seconds * 1_000_000
        if now > at(days[-1]):
            break
        before = state.tickers.get("SPY")
        plan = step(price, state, known=known, now=now)
        state = plan.state
        if before is not None and before.session == state.tickers["SPY"].session:
            assert held <= set(plan.symbols)
        for change in plan.changes:
            if change.reason != "staged":
                held = held - set(change.removed) | set(change.added)
        assert held == set(plan.symbols)


# ── what is to be asked ─────────────────────────────────────────────────────────────────────────────────────


def needs(plan: Plan) -> list[tuple[date | None, str]]:
    return [(need.expiry, need.reason) for need in plan.needs]


def test_first_the_expiries_then_the_chain() -> None:
    """Nothing known: the list; the list known: the chain; and it is said once that we wait."""
    nothing = step(600, known=Known())
    assert needs(nothing) == [(None, "unknown")] and nothing.symbols == ()
    assert nothing.changes == (Change("SPY", at(MONDAY), "waiting", detail="for an expiry"),)
    assert nothing.next_us <= at(MONDAY) + ASK_AGAIN_US
    listed = Known().with_expirations([Expiration(MONDAY)], at(MONDAY))
    second = step(600, nothing.state, known=listed)
    assert needs(second) == [(MONDAY, "unknown")] and second.changes[0].detail == "for its contracts"
    third = step(600, second.state, known=knows(MONDAY))
    assert reasons(third) == ["started"] and third.needs == ()


def test_without_a_price_the_chain_s_serves_and_then_the_last() -> None:
    """No price from the stream yet: the underlying's price in the chain; none there: waited for."""
    assert strikes_of(step(None, known=knows(MONDAY)).symbols) == [*range(594, 607)]
    blind = Known().with_expirations([Expiration(MONDAY)], at(MONDAY))
    blind = blind.with_chain(KnownChain(MONDAY, at(MONDAY), contracts(MONDAY, [600]), complete=True))
    plan = step(None, known=blind)
    assert plan.symbols == () and plan.changes[0].detail == "for a price"
    first = step(620.4, known=knows(MONDAY))
    assert step(None, first.state, known=knows(MONDAY)).symbols == first.symbols


def test_definitions_are_asked_for_again_in_the_morning() -> None:
    """Strikes and expiries are listed over night: once more from 09:00 on, and not again after the answer."""
    known = knows(MONDAY, seen_us=at(MONDAY, "08:00"))
    assert needs(step(600, known=known, now=at(MONDAY, "08:59"))) == []
    assert needs(step(600, known=known, now=at(MONDAY, "09:00"))) == [(None, "morning"), (MONDAY, "morning")]
    assert needs(step(600, known=knows(MONDAY, seen_us=at(MONDAY, "09:00")), now=at(MONDAY, "09:05"))) == []


def test_a_window_beyond_what_is_known_asks_for_more() -> None:
    """Too few strikes on a side, unless there are no more; not again within a minute of the answer."""
    known = knows(MONDAY, strikes=range(590, 611), complete=False)
    assert needs(step(600, known=known)) == []
    assert needs(step(606, known=known)) == [(MONDAY, "edge")]
    assert needs(step(606, known=known, now=at(MONDAY, "09:35") + ASK_AGAIN_US - 1)) == []
    assert needs(step(606, known=knows(MONDAY, strikes=range(590, 611)))) == []
    assert needs(step(600, known=known, options=OptionSettings(window="all"))) == [(MONDAY, "edge")]


def test_empty_answers_are_asked_again_with_patience() -> None:
    """No contracts: after a minute; no expiries at all (an index without options): after a quarter of an hour."""
    empty = Known().with_expirations([Expiration(MONDAY)], at(MONDAY)).with_chain(KnownChain(MONDAY, at(MONDAY)))
    assert needs(step(600, known=empty)) == []
    assert needs(step(600, known=empty, now=at(MONDAY) + ASK_AGAIN_US)) == [(MONDAY, "empty")]
    none = Known().with_expirations([], at(MONDAY))
    assert needs(step(600, known=none, now=at(MONDAY) + EMPTY_AGAIN_US - 1)) == []
    assert needs(step(600, known=none, now=at(MONDAY) + EMPTY_AGAIN_US)) == [(None, "empty")]


def test_a_restart_without_definitions_keeps_what_was_watched() -> None:
    """After kill −9: the state alone keeps today's tape whole; of yesterday's state nothing expired is asked for."""
    first = step(600.4, known=knows(MONDAY))
    again = step(600.4, first.state, known=Known())
    assert set(again.symbols) == set(first.symbols) and again.changes[0].detail == "for an expiry"
    back = step(600.4, again.state, known=knows(MONDAY))
    assert back.symbols == first.symbols and back.changes == ()
    tomorrow = step(600.4, first.state, known=Known(), now=at(MONDAY + timedelta(1)))
    assert tomorrow.symbols == () and reasons(tomorrow) == ["waiting"]


def test_definitions_are_added_to() -> None:
    """A narrower answer forgets no contract, an answer without expiries none; chains long gone are dropped."""
    known = knows(date(2026, 11, 2), MONDAY)
    assert date(2026, 11, 2) not in known.chains
    newer = contracts(MONDAY, [600], open_interest=7)
    merged = known.with_chain(KnownChain(MONDAY, at(MONDAY), newer)).chains[MONDAY]
    assert len(merged.contracts) == 402 and merged.price == usd(600)
    assert [one.open_interest for one in merged.contracts if one.strike == usd(600)] == [7, 7]
    assert known.with_expirations([], 5).expirations == known.expirations
