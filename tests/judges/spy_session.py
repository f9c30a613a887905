"""Judge: does the record of an undisturbed session of one equity equal its tape, second by second?

In:   the tape (trades, perhaps quotes), minute bars of the session before, the CSV exports of both tables.
Out:  rows compared and differences per column; exit 0 equal, 1 different.      Imports the standard library only.
All is computed from the tape by definitions.md in integers (1e-8 dollars, seconds of the exchange's day), both ways.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

NY = ZoneInfo("America/New_York")
FIRST, RESET, OPEN, LAST = 4 * 3600, 7 * 3600 + 28 * 60, 9 * 3600 + 30 * 60, 20 * 3600
CLOSING = 1 << 7 | 1 << 24  # sale conditions: closing print, official close report
COLUMNS = ("price", "volume", "day_volume", "sma9", "vwap")
Row = tuple[Decimal | None, ...]


def lines(path: str) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:  # noqa: PTH123
        yield from csv.DictReader(file)


def close_of(day: date) -> int:
    """End of the regular session: 13:00 on the day after Thanksgiving, July 3 and December 24 (Monday to Thursday)."""
    friday = day.month == 11 and day.weekday() == 4 and 23 <= day.day <= 29
    return (13 if friday or ((day.month, day.day) in ((7, 3), (12, 24)) and day.weekday() < 4) else 16) * 3600


def rounded(numerator: int, denominator: int) -> Decimal | None:
    """numerator / denominator in units of 1e-8 dollars → dollars with six decimals, half to even; None for x / 0."""
    whole, rest = divmod(numerator, denominator * 100) if denominator else (0, 0)
    return Decimal(whole + (2 * rest + whole % 2 > denominator * 100)).scaleb(-6) if denominator else None


def expected(args: argparse.Namespace) -> dict[int, Row]:
    tape = sorted(lines(args.trades), key=lambda line: int(line["epoch_ms"]))
    day = datetime.fromtimestamp(int(tape[0]["epoch_ms"]) // 1000, NY).date()
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=NY).timestamp())
    close, start = close_of(day), int(args.start[:2]) * 3600 + int(args.start[3:]) * 60
    updates: dict[int, list[tuple[int, int, int]]] = {RESET: []}
    for line in lines(args.quotes) if args.quotes else ():
        updates.setdefault(int(line["epoch_ms"]) // 1000 - midnight, [])
    for line in tape:
        trade = int(Decimal(line["price"]) * 10**8), int(line["size"]), int(line.get("sale_condition_hex") or "0", 16)
        updates.setdefault(int(line["epoch_ms"]) // 1000 - midnight, []).append(trade)
    closes: dict[int, int] = {}  # minute, counted from this day's midnight → close of its bar
    for line in lines(args.bars) if args.bars else ():
        at = datetime.fromtimestamp(int(line["epoch_ms"]) // 1000, NY)
        if at.date() < day and OPEN <= at.hour * 3600 + at.minute * 60 < close_of(at.date()):
            closes[int(line["epoch_ms"]) // 60_000 - midnight // 60] = int(Decimal(line["close"]) * 10**8)
    rows: dict[int, Row] = {}
    history: dict[int, list[int]] = {}  # minute before a late start → its prints' high, low, close, volume
    last, day_volume, value, counted, frozen = None, 0, 0, 0, None  # value: three times Σ price × volume
    for second in sorted(s for s in updates if FIRST <= s < LAST):
        prints, regular = updates[second], OPEN <= second < close
        volume = sum(size for _, size, _ in prints)
        day_volume = volume if second == RESET else day_volume + volume
        if second >= start and history:
            value = sum((high + low + price) * size for high, low, price, size in history.values())
            counted, history = sum(candle[3] for candle in history.values()), {}
        if prints:
            last = prints[-1][0]
            if regular:
                closes[second // 60] = last
            for price, size, _ in prints if second < start and regular else ():
                high, low, _, total = history.get(second // 60, [price, price, price, 0])
                history[second // 60] = [max(high, price), min(low, price), price, total + size]
            cross = close <= second < close + 300 and any(condition & CLOSING for _, _, condition in prints)
            if (regular and second >= start) or cross:
                value, counted = value + 3 * volume * last, counted + volume
        if second >= start:
            window = [closes[minute] for minute in sorted(closes)[-9:]] if regular else []
            price_now, day_now = Decimal(last or 0).scaleb(-8), Decimal(day_volume)
            sma9, vwap = rounded(sum(window), 9 * (len(window) == 9)), rounded(value, 3 * counted * regular)
            known = None if last is None else price_now, Decimal(volume), day_now if second >= RESET else None
            rows[midnight + second], frozen = (*known, sma9, vwap), vwap or frozen
    print(f"tape: {len(tape)} prints, {len(rows)} seconds with updates; last {price_now}, day volume {day_volume}")
    print(f"VWAP in the last regular row {frozen}, with the closing prints after it {rounded(value, 3 * counted)}")
    return rows


def recorded(args: argparse.Namespace, want: dict[int, Row]) -> tuple[dict[int, Row], list[str]]:
    rows, found, faults = dict[int, Row](), dict[int, Row](), list[str]()
    for path, names, into in ((args.equity, COLUMNS[:2], rows), (args.indicators, COLUMNS[3:], found)):
        for line in lines(path):
            at = datetime.fromisoformat(line["timestamp"]).timestamp()
            if at in into or at % 1 or (args.start == "04:00" and "gap" in (line.get("flags") or "")):
                faults.append(f"{path}: {line}: twice, between two seconds, or flagged with a gap")
            into[int(at)] = tuple(Decimal(line[name]) if line[name] else None for name in names)
    running: Decimal | None = None  # the tape's sum before the first row, then plus every recorded volume
    for at in sorted(rows):
        if at in want and (day := want[at][2]) is not None:
            running = (day - (want[at][1] or 0) if running is None else running) + (rows[at][1] or 0)
        rows[at] = (*rows[at], running, *found.pop(at, (Decimal(-1), Decimal(-1))))  # -1: no such row
    return rows, faults + [f"indicators without an equity row: {at}" for at in found]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="compare a recorded session with its tape")
    for name in ("trades", "equity", "indicators", "--quotes", "--bars", "--start"):
        parser.add_argument(name, default="04:00" if name == "--start" else None)
    want = expected(args := parser.parse_args())
    have, faults = recorded(args, want)
    faults += [f"missing row {at}: {want[at]}" for at in sorted(want.keys() - have.keys())]
    faults += [f"extra row {at}: {have[at]}" for at in sorted(have.keys() - want.keys())]
    both = sorted(want.keys() & have.keys())
    print(f"rows: {len(want)} on the tape, {len(have)} recorded, {len(both)} compared; {len(faults)} row faults")
    for column, name in enumerate(COLUMNS):
        wrong = [at for at in both if want[at][column] != have[at][column]]
        print(f"{name}: {len(both) - len(wrong)} equal, {len(wrong)} different")
        faults += [f"{name} {at}: {want[at][column]} on the tape, {have[at][column]} recorded" for at in wrong]
    print("\n".join([*faults[:10], f"DIFFERENT in {len(faults)}" if faults else "EQUAL"]))
    sys.exit(1 if faults else 0)
