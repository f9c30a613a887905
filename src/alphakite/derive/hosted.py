"""Custom indicators of one instrument: the host that feeds them, asks them, and outlives their failures.

In:   the completed bars of bars.py in order, candles before the first of them, the beginning of a session.
Out:  IndicatorValueRows beside each row of regular hours. An indicator that fails costs its value, nothing else.

State is the indicator's own, as bytes: between two bars no object lives on, so that a checkpoint and a replay hold the
very same. A bar it fails on changes nothing; the values are flagged for the rest of the session, and one quality event
says why. What is not guarded against: a class that never returns, or takes all memory.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from alphakite.derive.bars import HOLE_AFTER, MINUTE_US, SEEDED, TOUCHED, Bar, Bars
from alphakite.derive.indicators.base import Indicator, MinuteBar
from alphakite.derive.indicators.found import Loaded, custom, encode, load, told
from alphakite.derive.moment import Moment
from alphakite.derive.rows import Rows
from alphakite.model import PRICE_SCALE, Candle, Flag, IndicatorRow, IndicatorValueRow, QualityEvent
from alphakite.sessions import session_at

GAP, SEEDED_FLAG, FAULT = int(Flag.CUSTOM_GAP), int(Flag.CUSTOM_SEEDED), int(Flag.CUSTOM_FAULT)
FAULT_KIND = "indicator_fault"


class Host(msgspec.Struct):
    """One custom indicator of one instrument.

    `name` as journaled, `digest` of the definition that its state belongs to, `last_us` the minute of its newest bar
    and `seeded` whether that is a candle, `session_us` the regular open that it was told last, `flags` of that session.
    `settled` are the values after the newest completed bar, `shown` those with the forming bar as it was in `seen`:
    both only spare work. `fault` is still to be told, `told_us` the session in which one was.
    """

    name: str
    digest: str
    last_us: int = -1
    state: bytes = b""
    session_us: int = 0
    flags: int = 0
    seeded: bool = False
    fault: str = ""
    told_us: int = 0
    settled: list[int | None] | None = None
    seen: tuple[int, int, int, int] | None = None
    shown: list[int | None] = []


def hosts(names: tuple[str, ...], before: list[Host], last_us: int) -> list[Host]:
    """The hosts of these names: those that were there, with the same definition, go on; others begin with the bars
    after minute `last_us`.
    """
    kept = {(host.name, host.digest): host for host in before}
    found = []
    for name in custom(names):
        digest = load(name).digest
        found.append(kept.get((name, digest)) or Host(name, digest, last_us))
    return found


def seed(found: list[Host], candles: list[Candle]) -> None:
    """Price history, oldest first, from before the first own bar."""
    bars = [Bar(one.minute_us, one.open, one.high, one.low, one.close, one.volume, SEEDED) for one in candles]
    complete(found, bars)


def complete(found: list[Host], bars: list[Bar]) -> None:
    """Completed bars, oldest first; those known already are left out."""
    newest_us = bars[-1].minute_us if bars else -1
    for host in found:
        if host.last_us < newest_us:
            loaded = load(host.name)
            for bar in bars:
                if bar.minute_us > host.last_us:
                    _take(host, loaded, bar)


def emit(found: list[Host], bars: Bars, now: Moment, gap: bool, row: IndicatorRow, cause_seq: int, rows: Rows) -> None:
    """The values beside a row of regular hours.

    Args: gap: one touched this session. cause_seq: the record that completes the row.
    """
    bars.roll(now.second_us - now.second_us % MINUTE_US)
    complete(found, bars.completed)
    forming, open_us = bars.forming, now.open_us
    gap = gap or (forming is not None and forming.marks & TOUCHED != 0)
    key = (row.journal_no, row.seq, row.item)
    for number, host in enumerate(found):
        loaded = load(host.name)
        if not loaded.problem:
            if host.session_us != open_us:
                _begin(host, loaded, open_us)
            if gap:
                host.flags |= GAP
            values = _values(host, loaded, forming)
            rows.values += [
                IndicatorValueRow(row.ticker, row.timestamp_us, definition, value, host.flags, *key)
                for definition, value in zip(loaded.definitions, values, strict=True)
            ]
        fault = loaded.problem or host.fault
        if fault and host.told_us != open_us:
            host.told_us = open_us
            detail = f"{loaded.name}: {fault}"
            rows.events.append(QualityEvent(row.ticker, row.timestamp_us, FAULT_KIND, detail, cause_seq, number))
        host.fault = ""


def _take(host: Host, loaded: Loaded, bar: Bar) -> None:
    """One completed bar."""
    host.last_us = bar.minute_us
    session = session_at(bar.minute_us)
    if loaded.problem or session is None:
        return
    open_us = session.regular_open_us
    if host.session_us != open_us:
        _begin(host, loaded, open_us)
    host.seeded = bar.marks & SEEDED != 0
    if host.seeded:
        host.flags |= SEEDED_FLAG
    if bar.marks & (TOUCHED | HOLE_AFTER):
        host.flags |= GAP
    _change(host, loaded, lambda indicator: indicator.bar(_minute(bar, open_us)))


def _begin(host: Host, loaded: Loaded, open_us: int) -> None:
    """A session begins for it."""
    host.session_us = open_us
    host.flags = SEEDED_FLAG if host.seeded else 0
    _change(host, loaded, lambda indicator: indicator.session())


def _change(host: Host, loaded: Loaded, change: Callable[[Indicator], None]) -> None:
    """A new state, proved to be readable again; or, if that fails, the one before."""
    host.settled = host.seen = None
    try:
        indicator = loaded.thaw(host.state)
        change(indicator)
        state = encode(indicator)
        loaded.thaw(state)
        host.state = state
    except (Exception, SystemExit) as error:  # somebody's code: whatever it raises costs its value only
        _fail(host, error)


def _values(host: Host, loaded: Loaded, forming: Bar | None) -> list[int | None]:
    """A number or None for each output."""
    try:
        if forming is None or not loaded.live:
            if host.settled is None:
                host.settled = loaded.numbers(loaded.thaw(host.state).value())
            return host.settled
        seen = (forming.high, forming.low, forming.close, forming.volume)
        if host.seen != seen:
            indicator = loaded.thaw(host.state)
            indicator.bar(_minute(forming, host.session_us))
            host.shown, host.seen = loaded.numbers(indicator.value()), seen
        return host.shown
    except (Exception, SystemExit) as error:
        host.settled = host.seen = None
        _fail(host, error)
        return [None] * len(loaded.definitions)


def _fail(host: Host, error: BaseException) -> None:
    host.flags |= FAULT
    host.fault = host.fault or told(error)


def _minute(bar: Bar, open_us: int) -> MinuteBar:
    return MinuteBar(
        (bar.minute_us - open_us) // MINUTE_US,
        bar.open / PRICE_SCALE,
        bar.high / PRICE_SCALE,
        bar.low / PRICE_SCALE,
        bar.close / PRICE_SCALE,
        bar.volume,
        bar.minute_us,
    )
