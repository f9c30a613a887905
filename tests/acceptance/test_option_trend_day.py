"""A day that trends by 3 %: the window follows the money in place, and no strike's tape has a hole.

A half-day, so that it is a whole regular session in half the time. The strikes listed are those of the chain that
Schwab's REST answered with, which the simulator knows by itself. It ends before the next session's chain is watched.
"""

from __future__ import annotations

import csv
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from datetime import time as wall_time
from decimal import Decimal
from itertools import groupby, pairwise, zip_longest
from operator import itemgetter
from typing import Any

import pytest
from tests.harness import Recording, asked, output

from alphakite.sessions import EXCHANGE
from alphakite.simulator.market import Market
from alphakite.simulator.options import SimulatorOptions
from alphakite.simulator.programme import Programme, make_programme

DAY, SEED, SIDE = date(2026, 11, 27), 5, 3
START, OPEN, CLOSE, END = wall_time(9, 20), wall_time(9, 30), wall_time(13), wall_time(13, 10)
LATE_S = 3
"""How many seconds of the wall clock a strike may be late that the money has come close to: the recorder looks twice a
second, and in lock-step hundreds of seconds of the tape go by in one."""
COLUMNS = (
    *("option_symbol", "timestamp", "bid", "ask", "bid_size", "ask_size", "last", "volume", "day_volume"),
    *("open_interest", "implied_volatility", "delta", "gamma", "theta", "vega", "rho"),
)
PLAYED = (
    *("--symbol", "ZZTRD", "--session", DAY.isoformat(), "--start", f"{START:%H:%M}", "--end", f"{END:%H:%M}"),
    *("--seed", str(SEED), "--speed", "max"),
)
Row = tuple[str, ...]


def at(wall: wall_time) -> int:
    return int(datetime.combine(DAY, wall, EXCHANGE).timestamp())


def second_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def text_of(second: float) -> str:
    """As the exports spell it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def by_contract(lines: Iterable[str]) -> Iterator[tuple[str, Iterator[Row]]]:
    """The rows of a CSV in order, by option_symbol: the texts of COLUMNS."""
    reader = csv.reader(lines)
    head = next(reader)
    return groupby(map(itemgetter(*[head.index(name) for name in COLUMNS]), reader), key=itemgetter(0))


def same(found: Row | None, wanted: Row | None) -> bool:
    """Equal as texts or, spelled otherwise, as numbers; NULL is no number."""
    if found == wanted or found is None or wanted is None:
        return found == wanted
    pairs = [(one, other) for one, other in zip(found, wanted, strict=True) if one != other]
    return found[:2] == wanted[:2] and all(one and other and Decimal(one) == Decimal(other) for one, other in pairs)


@pytest.fixture(scope="module")
def programme() -> Programme:
    return make_programme(
        SimulatorOptions(symbols=("ZZTRD",), session=DAY, start=START, end=END, seed=SEED, speed=None)
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a recorder that began ten minutes before the opening has stored."""
    folder = tmp_path_factory.mktemp("trend")
    env = {"OPTIONS": "on", "OPTION_STRIKES": str(SIDE), "GREEKS_INTERVAL": "0"}
    with Recording(folder, *PLAYED, env=env) as recording:
        began = time.monotonic()
        recording.begin()
        recording.until_played(at(END) * 1_000_000)
        pace = (at(END) - at(START)) / (time.monotonic() - began)
        recording.end()
        where = ("--data", str(recording.data))
        output("export", "option_prices", *where, "--out", str(folder / "rows.csv"))
        return {
            "rows": folder / "rows.csv",
            "pace": pace,
            "images": asked(recording.data, "select option_symbol, timestamp from option_images"),
            "gaps": asked(recording.data, "select ticker, start_at, end_at, reason from stream_gaps"),
            "following": asked(
                recording.data,
                "select timestamp, reason, array_to_string(added, ',') as added,"
                " array_to_string(removed, ',') as removed from option_following order by timestamp, seq, item",
            ),
        }


def images_of(record: dict[str, Any]) -> dict[str, float]:
    """When each contract's image came, one each: the connection made behind the tape's end has others."""
    found = [(row["option_symbol"], second_of(row["timestamp"])) for row in record["images"]]
    images = {symbol: second for symbol, second in found if second < at(END)}
    assert len(images) == sum(second < at(END) for _, second in found)
    return images


def test_every_row_from_its_image_on_is_the_truth(record: dict[str, Any]) -> None:
    """In both directions, until the options' trading ends; the images make none."""
    images = images_of(record)
    wanted = [part for symbol in images for part in ("--contract", symbol)]
    truth = output("simulate", *PLAYED, "--truth", "option-seconds", *wanted).splitlines()
    compared = 0
    with record["rows"].open() as file:
        contracts = zip_longest(by_contract(file), by_contract(truth), fillvalue=("", iter(())))
        for (symbol, rows), (expected, all_rows) in contracts:
            assert symbol == expected, "of one of them is no row"
            since, until = text_of(max(images[symbol], at(OPEN))), text_of(at(CLOSE) + 900)
            true = [row for row in all_rows if since <= row[1] < until]
            for found, row in zip_longest(rows, true):
                assert same(found, row), f"{found} is not {row}"
            compared += len(true)
    assert compared > 50_000


def test_no_strike_has_a_hole(record: dict[str, Any]) -> None:
    """A contract's only gap is that before its image; none of the ticker after its own, so it was one connection."""
    images = images_of(record)
    gaps = [gap for gap in record["gaps"] if second_of(gap["start_at"]) < at(END)]
    assert {gap["reason"] for gap in gaps} == {"late_start"}
    assert sorted(gap["ticker"] for gap in gaps) == sorted({*images, "ZZTRD"})
    assert all(second_of(gap["end_at"]) == images.get(gap["ticker"], at(START)) for gap in gaps)


def test_the_window_is_moved_by_adding(record: dict[str, Any]) -> None:
    """Several recentred changes, all of them additions; nothing is let go before the close."""
    moves = [row for row in record["following"] if row["reason"] == "recentred"]
    assert len(moves) >= 2
    assert all(row["added"] for row in moves)
    assert not [row for row in record["following"] if row["removed"] and second_of(row["timestamp"]) < at(CLOSE)]
    days_contracts = {symbol for row in record["following"] for symbol in row["added"].split(",") if row["added"]}
    assert images_of(record).keys() == {symbol for symbol in days_contracts if symbol[6:12] == f"{DAY:%y%m%d}"}


def test_what_was_promised_around_the_money_is_always_there(record: dict[str, Any], programme: Programme) -> None:
    """In each second of regular hours the strikes next to the money; those of the window soon after they are in it."""
    tape = next(programme.days()).tapes["ZZTRD"]
    chain = Market(programme).chain("ZZTRD")
    listed = sorted({Decimal(one.strike) / 10**8 for one in chain if one.expiry == DAY})
    since: dict[Decimal, float] = defaultdict(float)
    for symbol, second in images_of(record).items():
        strike = Decimal(symbol[13:]) / 1000
        since[strike] = max(since[strike], second)
    times, prices = tape.prints.times_ms, tape.prints.prices
    money = [Decimal(prices[bisect_left(times, second * 1000) - 1]) / 10**8 for second in range(at(OPEN), at(CLOSE))]
    assert money[-1] / money[0] > Decimal("1.025")
    moved = [place for place, (old, new) in enumerate(pairwise(money)) if old != new]
    for place in moved:
        low, high = bisect_left(listed, money[place]), bisect_right(listed, money[place])
        for strike in listed[max(0, low - SIDE) : high + SIDE]:
            next_to_it = strike in listed[low - 1 : high + 1]
            late_s = 0 if next_to_it else LATE_S * record["pace"]
            assert 0 < since[strike] <= at(OPEN) + place + late_s, (money[place], strike)
