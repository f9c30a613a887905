"""Judge: after a run with kills, do journal, rows and gaps still tell the truth? Standard library only.

In:   the simulator's send log, the exported journal, the exports of an undisturbed run, and the exports of this run.
Out:  one line per check with figures, the first ten differences of each; exit 0 all hold, 1 one does not.

The answer is computed here, independently, from definitions.md: the frames of the send log that stand in the journal
are the updates, all others are losses, and every row, flag and gap follows from that. It is one script in one file, so
that it can be read from top to bottom and carried anywhere: loading, matching, replay of one ticker, then the checks.

Units: ns, us, ms since 1970-01-01 UTC by name; `second` and `minute` are starts in epoch seconds; prices are integers
of 1e-8 dollars; indicators are integers of 1e-6 dollars, rounded half to even. None is absent, never zero.

Readings that definitions.md leaves open, decided here:
  gaps of zero length do not exist; gaps with no complete second between them are judged by the sum of their volumes;
  a gap that spans the 07:28 reset has what traded since the reset as its volume;
  VWAP seeded from history after a late start carries `seeded:vwap` alone, after a gap over the opening `gap:vwap` too;
  candles of the running session fill bars only before the first image of all (a late start), never in later gaps;
  a tape second is lost if the undisturbed run has a row of it and it lies inside a gap, in part or wholly: a gap
  also spans seconds in which nothing was sent, and those lose nothing;
  flags of a value that is NULL, and flags that are not about gaps or seeds, are not judged.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
SESSION_START, RESET, OPEN, SESSION_END = 4 * 3600, 7 * 3600 + 28 * 60, 9 * 3600 + 30 * 60, 20 * 3600  # s of the day
PRICE = 10**8
EQUITY, INDICATORS = ("price", "volume"), ("sma9", "vwap")
HOLD_LIMIT_S = 2
SHOWN = 10
JUDGED_FLAGS = {"gap", "gap:sma9", "gap:vwap", "seeded:sma9", "seeded:vwap"}


# ---------------------------------------------------------------------------------------------- the exchange's day


@dataclass(frozen=True)
class Day:
    """The moments of one exchange day in epoch seconds."""

    start: int
    reset: int
    open: int
    close: int
    end: int


def close_of(day: date) -> int:
    """Seconds after midnight at which the regular session ends: 13:00 on half-days, else 16:00."""
    friday_after_thanksgiving = day.month == 11 and day.weekday() == 4 and 23 <= day.day <= 29
    eve = (day.month, day.day) in ((7, 3), (12, 24)) and day.weekday() < 4
    return (13 if friday_after_thanksgiving or eve else 16) * 3600


_days: dict[int, Day] = {}


def day_of(second: float) -> Day:
    hour = int(second // 3600)
    if hour not in _days:
        day = datetime.fromtimestamp(hour * 3600, NEW_YORK).date()
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp())
        _days[hour] = Day(*(midnight + s for s in (SESSION_START, RESET, OPEN, close_of(day), SESSION_END)))
    return _days[hour]


# -------------------------------------------------------------------------------------------------- what is loaded


@dataclass(frozen=True)
class Sent:
    """One frame of the send log."""

    n: int
    conn: int
    text: str


@dataclass
class Record:
    """One record of the exported journal; `sent` is the frame of the send log that it is, once matched."""

    seq: int
    ts_ns: int
    kind: str
    conn: int
    text: str
    process: int
    sent: Sent | None = None


@dataclass(frozen=True)
class Gap:
    """[start_us, end_us) in which updates may be missing; end None: still open; volume None: unknown."""

    start_us: int
    end_us: int | None
    volume: int | None = None

    def overlaps(self, start_s: float, end_s: float) -> bool:
        return self.start_us < end_s * 1_000_000 and (self.end_us is None or self.end_us > start_s * 1_000_000)

    def covers(self, second: int) -> bool:
        return self.start_us <= second * 1_000_000 and (self.end_us is None or self.end_us >= (second + 1) * 1_000_000)


@dataclass(frozen=True)
class Row:
    """Two values and the flags of one second: price and volume, or sma9 and vwap."""

    first: int | None
    second: int | None
    flags: frozenset[str] = frozenset()


Rows = dict[int, Row]


def instant_us(text: str) -> int:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


def exact(text: str, unit: int) -> int | None:
    """A plain decimal as an integer of 1/unit; a value finer than the unit is an error, not rounded away."""
    if not text:
        return None
    value = Decimal(text) * unit
    if value != int(value):
        raise ValueError(f"{text} is finer than 1/{unit}")
    return int(value)


def csv_lines(path: str) -> Iterator[dict[str, str]]:
    with Path(path).open(newline="") as file:
        yield from csv.DictReader(file)


def load_rows(path: str, columns: tuple[str, str], units: tuple[int, int], report: Report) -> dict[str, Rows]:
    rows: dict[str, Rows] = defaultdict(dict)
    for line in csv_lines(path):
        at_us = instant_us(line["timestamp"])
        second, rows_of = at_us // 1_000_000, rows[line["ticker"]]
        if at_us % 1_000_000 or second in rows_of:
            report.fault("shape", f"{path}: {line['ticker']} {line['timestamp']}: twice, or not a whole second")
        first, other = (exact(line[name], unit) for name, unit in zip(columns, units, strict=True))
        flags = {flag.strip() for flag in (line.get("flags") or "").split(",")} & JUDGED_FLAGS
        rows_of[second] = Row(first, other, frozenset(flags))
    return rows


def load_gaps(path: str) -> dict[str, list[Gap]]:
    gaps: dict[str, list[Gap]] = defaultdict(list)
    for line in csv_lines(path):
        end = instant_us(line["end_at"]) if line["end_at"] else None
        gap = Gap(instant_us(line["start_at"]), end, int(line["volume"]) if line["volume"] else None)
        if gap.end_us != gap.start_us:
            gaps[line["ticker"]].append(gap)
    return {ticker: sorted(found, key=lambda gap: gap.start_us) for ticker, found in gaps.items()}


def load_send_log(path: str) -> list[Sent]:
    sent = []
    with Path(path).open() as file:
        for line in file:
            entry = json.loads(line)
            text = entry.get("frame")
            if text:
                whole = text if isinstance(text, str) else json.dumps(text, separators=(",", ":"))
                sent.append(Sent(int(entry["n"]), int(entry["conn"]), whole))
    return sent


def load_journal(path: str, report: Report) -> list[Record]:
    records: list[Record] = []
    process = 0
    with Path(path).open() as file:
        for line in file:
            entry = json.loads(line)
            process += entry["kind"] == "process"
            record = Record(
                int(entry["seq"]),
                int(entry["ts_recv_ns"]),
                str(entry["kind"]),
                int(entry.get("conn") or 0),
                entry["payload"] if isinstance(entry["payload"], str) else json.dumps(entry["payload"]),
                process,
            )
            if records and record.seq <= records[-1].seq:
                report.fault("journal", f"seq {record.seq} follows {records[-1].seq}")
            if records and record.ts_ns < records[-1].ts_ns:
                report.fault("journal", f"seq {record.seq}: ts_recv goes back by {records[-1].ts_ns - record.ts_ns} ns")
            records.append(record)
    return records


# ------------------------------------------------------------------------------- journal against send log


def match(sent: list[Sent], records: list[Record], report: Report) -> None:
    """Set `sent` of every journaled frame. Each connection's journaled frames must be the beginning of what was sent.

    A run of frames of one connection number within one process is laid on the earliest later connection of the send
    log that begins with it; numbers themselves are not compared, because each side counts its own.
    """
    sent_by: dict[int, list[Sent]] = defaultdict(list)
    for one in sent:
        sent_by[one.conn].append(one)
    order = list(sent_by)
    runs: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for record in records:
        if record.kind == "frame":
            runs[record.process, record.conn].append(record)
    following = 0  # index in `order` of the first connection not yet used
    for run in runs.values():
        rest = run
        while rest:
            lengths = [(common_beginning(sent_by[conn], rest), -at) for at, conn in enumerate(order) if at >= following]
            length, at = max(lengths, default=(0, 0))
            if not length:
                report.fault("journal", f"seq {rest[0].seq}: a frame that was never sent: {rest[0].text[:120]}")
                rest = rest[1:]
                continue
            frames, following = sent_by[order[-at]], -at + 1
            rest = lay_on(frames, rest, report)


def common_beginning(frames: list[Sent], run: list[Record]) -> int:
    length = 0
    while length < min(len(frames), len(run)) and frames[length].text == run[length].text:
        length += 1
    return length


def lay_on(frames: list[Sent], run: list[Record], report: Report) -> list[Record]:
    """Match `run` with `frames` in order, report frames left out in the middle; returns what does not belong here."""
    at = 0
    for number, record in enumerate(run):
        found = next((i for i in range(at, len(frames)) if frames[i].text == record.text), None)
        if found is None:
            return run[number:]
        for left_out in frames[at:found]:
            report.fault("journal", f"frame n={left_out.n} is missing although seq {record.seq} came after it")
        record.sent = frames[found]
        at = found + 1
    return []


def stamp_ns(message: dict[str, Any]) -> int:
    """The greatest `timestamp` or `heartbeat` of a frame; 0 if it has none."""
    parts = [part for name in ("notify", "response", "data") for part in message.get(name) or ()]
    return max((int(part.get(key) or 0) for part in parts for key in ("timestamp", "heartbeat")), default=0) * 1_000_000


def parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text, parse_float=Decimal)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def equity_items(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in message.get("data") or ():
        if part.get("service") == "LEVELONE_EQUITIES":
            yield from part.get("content") or ()


# ------------------------------------------------------------------------------------- the independent answer


@dataclass(frozen=True)
class Item:
    """One key's fields in one journaled frame; `image`: the first of the key on its connection."""

    ts_us: int
    fields: dict[str, Any]
    image: bool


@dataclass(frozen=True)
class Candles:
    """Minute candles of a journaled REST answer: minute → (high, low, close, volume)."""

    ts_us: int
    by_minute: dict[int, tuple[int, int, int, int]]


@dataclass
class Ticker:
    """What the journal holds of one key, in its order, and the gaps that follow from it."""

    events: list[Item | Candles] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    first_image_us: int | None = None
    connection: int | None = None  # the send log's number of the connection the key is alive on


def find_candles(value: Any, symbol: str | None = None) -> Iterator[tuple[str | None, list[dict[str, Any]]]]:
    """Every `candles` list in a REST record with the symbol beside or around it, however the record wraps it."""
    if isinstance(value, str) and "candles" in value:
        value = parsed(value)
    if isinstance(value, dict):
        symbol = value.get("symbol") or symbol
        if isinstance(value.get("candles"), list):
            yield symbol, value["candles"]
        for inner in value.values():
            yield from find_candles(inner, symbol)
    elif isinstance(value, list):
        for inner in value:
            yield from find_candles(inner, symbol)


def replay(records: list[Record], tickers: Iterable[str], report: Report) -> dict[str, Ticker]:
    """Follow the journal: stamps, images, gaps, and per key the list of what happened to it."""
    answer = {ticker: Ticker() for ticker in tickers}
    clock_ns, wrong_stamps = 0, 0
    last_ns: dict[int, int] = {}  # send log's connection → ts_recv of its last journaled record
    aliases: dict[tuple[int, int], int] = {}  # (process, journal's conn) → send log's conn
    for record in records:
        if record.kind != "frame":
            clock_ns = max(clock_ns, record.ts_ns)
            known = aliases.get((record.process, record.conn))
            if record.kind == "connection" and known is not None:
                last_ns[known] = clock_ns
            if record.kind == "rest":
                for symbol, candles in find_candles(record.text):
                    for ticker in [symbol] if symbol else list(answer):
                        if ticker in answer:
                            answer[ticker].events.append(Candles(clock_ns // 1000, dict(map(candle, candles))))
            continue
        if record.sent is None:
            continue  # reported by match()
        message = parsed(record.sent.text)
        clock_ns = max(clock_ns, stamp_ns(message))
        wrong_stamps += clock_ns != record.ts_ns
        if wrong_stamps == 1 and clock_ns != record.ts_ns:
            report.fault("journal", f"seq {record.seq}: ts_recv {record.ts_ns}, by the stamps {clock_ns} (first such)")
        for fields in equity_items(message):
            if (found := answer.get(str(fields.get("key")))) is not None:
                take_item(found, fields, record.sent.conn, clock_ns // 1000, last_ns)
        last_ns[record.sent.conn] = clock_ns
        aliases[record.process, record.conn] = record.sent.conn
    report.say(f"journal: {len(records)} records, {wrong_stamps} frames with another ts_recv than their stamps give")
    return answer


def take_item(ticker: Ticker, fields: dict[str, Any], conn: int, ts_us: int, last_ns: dict[int, int]) -> None:
    image = conn != ticker.connection
    if image:
        if ticker.first_image_us is None:
            ticker.first_image_us = ts_us
            start_us = day_of(ts_us / 1_000_000).start * 1_000_000
        else:
            assert ticker.connection is not None
            start_us = last_ns[ticker.connection] // 1000
        if start_us < ts_us:
            ticker.gaps.append(Gap(start_us, ts_us))
    ticker.connection = conn
    ticker.events.append(Item(ts_us, fields, image))


def candle(fields: dict[str, Any]) -> tuple[int, tuple[int, int, int, int]]:
    high, low, close = (int(Decimal(fields[name]) * PRICE) for name in ("high", "low", "close"))
    return int(fields["datetime"]) // 1000, (high, low, close, int(fields["volume"]))


def rounded(numerator: int, denominator: int) -> int:
    """numerator / denominator in units of 1e-8 dollars → units of 1e-6 dollars, half to even."""
    whole, rest = divmod(numerator, denominator * 100)
    return whole + (2 * rest + whole % 2 > denominator * 100)


class Model:
    """One ticker's rows and gap volumes, computed from its events with all gaps known beforehand."""

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self.gaps = ticker.gaps
        self.equity: Rows = {}
        self.indicators: Rows = {}
        self.volume_of: dict[int, list[int]] = defaultdict(list)  # cluster → changes of cumulative volume inside it
        self.clusters = clusters(self.gaps)
        self.unknown_base: set[int] = set()  # clusters in which a change has no base
        self.last: int | None = None
        self.trade_ms = 0
        self.moved = False  # whether the newest item changed the last price or its time
        self.cumulative: int | None = None
        self.cumulative_us = 0
        self.bars: dict[int, int] = {}  # minute → close of the recorder's own bar
        self.history: dict[int, int] = {}  # minute → close of a vendor's candle
        self.candles: dict[int, tuple[int, int, int, int]] = {}  # minute → high, low, close, volume
        self.session: Day | None = None
        self.forget_vwap()
        self.run()

    def forget_vwap(self) -> None:
        self.value, self.counted, self.vwap_seeded = 0, 0, False  # value: three times Σ price × volume
        self.unseeded: tuple[Gap, int, int] | None = None  # a gap over the opening, what it counted so far
        self.seeded_gaps: set[Gap] = set()

    def run(self) -> None:
        updates: dict[int, list[int]] = defaultdict(list)  # second → changes of cumulative volume of its updates
        current: int | None = None
        for event in self.ticker.events:
            second = event.ts_us // 1_000_000
            if current is not None and second != current and current in updates:
                self.make_row(current, updates.pop(current))
            current = second
            if day_of(second) != self.session:
                self.session = day_of(second)
                self.forget_vwap()
            if isinstance(event, Candles):
                self.take_candles(event)
                continue
            change = self.merge(event)
            if event.image:
                self.take_image(event, change)
                continue
            changes = updates[second]
            inside = self.gaps_at(second)
            if change is not None:
                changes.append(change)
                for gap in inside[:1]:
                    self.count_in_gap(gap, change, event.ts_us)
            self.count_trade(event, change)
        if current is not None and current in updates:
            self.make_row(current, updates.pop(current))

    def gaps_at(self, second: int) -> list[Gap]:
        return [gap for gap in self.gaps if gap.overlaps(second, second + 1)]

    def count_in_gap(self, gap: Gap, change: int, ts_us: int) -> None:
        cluster = self.clusters[gap]
        members = [one for one in self.gaps if self.clusters[one] == cluster]
        day = day_of(ts_us / 1_000_000)
        spans_reset = members[0].start_us < day.reset * 1_000_000 < (members[-1].end_us or ts_us)
        if not (spans_reset and ts_us < day.reset * 1_000_000):
            self.volume_of[cluster].append(change)

    def merge(self, item: Item) -> int | None:
        """Bring the book up to date; returns the change of cumulative volume, None if it is not known."""
        before = self.last, self.trade_ms
        if item.image:
            self.last, self.trade_ms = None, 0
        if item.fields.get("3") is not None:
            self.last = int(Decimal(item.fields["3"]) * PRICE)
        if item.fields.get("35") is not None:
            self.trade_ms = int(item.fields["35"])
        self.moved = before != (self.last, self.trade_ms)
        if item.fields.get("8") is None:
            return 0 if self.cumulative is not None and not item.image else None
        cumulative, reset_us = int(item.fields["8"]), day_of(item.ts_us / 1_000_000).reset * 1_000_000
        base = self.cumulative
        if item.ts_us >= reset_us and self.cumulative_us < reset_us:
            base = 0
        self.cumulative, self.cumulative_us = cumulative, item.ts_us
        return None if base is None else max(cumulative - base, 0)

    def regular(self, ts_us: int) -> bool:
        """Whether a change received at `ts_us` belongs to VWAP and bars: by its time, and by the last trade's."""
        day = day_of(ts_us / 1_000_000)
        return day.open * 1_000_000 <= ts_us < day.close * 1_000_000 and self.trade_ms >= day.open * 1000

    def count_trade(self, item: Item, change: int | None) -> None:
        if self.last is None or not self.regular(item.ts_us):
            return
        if change or self.moved:
            self.bars[item.ts_us // 60_000_000 * 60] = self.last
        self.value, self.counted = self.value + 3 * self.last * (change or 0), self.counted + (change or 0)

    def take_image(self, item: Item, change: int | None) -> None:
        gap = next((gap for gap in self.gaps if gap.end_us == item.ts_us), None)
        if gap is None:
            return
        if change is None:
            self.unknown_base.add(self.clusters[gap])
        else:
            self.count_in_gap(gap, change, item.ts_us)
        day, minute = day_of(item.ts_us / 1_000_000), item.ts_us // 60_000_000 * 60
        in_session = day.open * 1000 <= self.trade_ms < day.close * 1000
        if self.last is not None and in_session and gap.overlaps(minute, minute + 60) and minute < day.close:
            self.bars[minute] = self.last
        spanned = (change or 0) if self.last is not None and self.regular(item.ts_us) else 0
        worth = 3 * (self.last or 0) * spanned
        self.value, self.counted = self.value + worth, self.counted + spanned
        if gap.start_us <= day.open * 1_000_000 < item.ts_us:
            self.unseeded = gap, worth, spanned
            self.seed_vwap()

    def take_candles(self, candles: Candles) -> None:
        self.candles.update(candles.by_minute)
        first = (self.ticker.first_image_us or 0) / 1_000_000
        for minute, (_, _, close, _) in candles.by_minute.items():
            day = day_of(minute)
            if day.open <= minute < day.close and minute + 60 <= first:
                self.history[minute] = close
        self.seed_vwap()

    def seed_vwap(self) -> None:
        """Put the candles inside a gap over the opening in the place of its spanned change, if there are any."""
        if self.unseeded is None:
            return
        (gap, worth, spanned), day = self.unseeded, day_of((self.unseeded[0].end_us or 0) / 1_000_000)
        last_second = min((gap.end_us or 0) / 1_000_000, day.close)
        within = [one for minute, one in self.candles.items() if day.open <= minute and minute + 60 <= last_second]
        if not within:
            return
        self.value += sum((high + low + close) * volume for high, low, close, volume in within) - worth
        self.counted += sum(volume for *_, volume in within) - spanned
        self.vwap_seeded, self.unseeded = True, None
        if gap.end_us == self.ticker.first_image_us:
            self.seeded_gaps.add(gap)

    def make_row(self, second: int, changes: list[int]) -> None:
        day = day_of(second)
        if not day.start <= second < day.end:
            return
        inside = bool(self.gaps_at(second))
        price = self.last if self.trade_ms >= day.start * 1000 else None
        volume = None if inside or not changes else sum(changes)
        self.equity[second] = Row(price, volume, frozenset({"gap"} if inside else ()))
        self.indicators[second] = self.indicator_row(second, day) if day.open <= second < day.close else Row(None, None)

    def indicator_row(self, second: int, day: Day) -> Row:
        flags: set[str] = set()
        minute = second // 60 * 60
        closes = {**self.history, **self.bars}
        window = sorted(closes)[-9:]
        sma9 = rounded(sum(closes[one] for one in window), 9) if len(window) == 9 else None
        if sma9 is not None:
            if any(one not in self.bars for one in window):
                flags.add("seeded:sma9")
            touched = {one for one in self.touched(window[0], second) if one not in self.history or one in self.bars}
            if any(one in touched for one in range(window[0], minute + 60, 60)):
                flags.add("gap:sma9")
        vwap = rounded(self.value, 3 * self.counted) if self.counted else None
        if vwap is not None:
            if self.vwap_seeded:
                flags.add("seeded:vwap")
            begun = [gap for gap in self.gaps if gap.start_us < (second + 1) * 1_000_000]
            if any(gap.overlaps(day.open, day.close) and gap not in self.seeded_gaps for gap in begun):
                flags.add("gap:vwap")
        return Row(sma9, vwap, frozenset(flags))

    def touched(self, oldest_minute: int, second: int) -> set[int]:
        """Regular-session minutes from `oldest_minute` to the row's that a gap begun by then has touched."""
        minutes = set()
        for gap in self.gaps:
            if gap.start_us >= (second + 1) * 1_000_000 or (gap.end_us or 0) <= oldest_minute * 1_000_000:
                continue
            begin = max(gap.start_us // 60_000_000 * 60, oldest_minute)
            for minute in range(begin, second // 60 * 60 + 60, 60):
                day = day_of(minute)
                if day.open <= minute < day.close and gap.overlaps(minute, minute + 60):
                    minutes.add(minute)
        return minutes


def clusters(gaps: list[Gap]) -> dict[Gap, int]:
    """Gap → number of its cluster: gaps with no complete second between them are one."""
    numbers: dict[Gap, int] = {}
    for number, gap in enumerate(gaps):
        before = gaps[number - 1] if number else None
        joined = before is not None and (
            before.end_us is None or -(-before.end_us // 1_000_000) + 1 > gap.start_us // 1_000_000
        )
        numbers[gap] = numbers[before] if before is not None and joined else number
    return numbers


# --------------------------------------------------------------------------------------------------- the checks


class Report:
    """Counts faults per check, keeps the first ten of each."""

    def __init__(self) -> None:
        self.faults: dict[str, list[str]] = defaultdict(list)

    def fault(self, check: str, text: str) -> None:
        self.faults[check].append(text)

    def say(self, text: str) -> None:
        print(text)

    def finish(self) -> int:
        for check, faults in self.faults.items():
            print(f"FAILED {check}: {len(faults)}", *faults[:SHOWN], sep="\n  ")
        print("DIFFERENT" if self.faults else "EQUAL")
        return 1 if self.faults else 0


@dataclass(frozen=True)
class Run:
    """One run's exports of one ticker."""

    equity: Rows
    indicators: Rows


def clock(second: int) -> str:
    return datetime.fromtimestamp(second, NEW_YORK).strftime("%H:%M:%S")


def compare(check: str, names: tuple[str, str], ticker: str, want: Rows, have: Rows, report: Report) -> None:
    """Both directions, values and flags; a value that ought to be NULL frees its own flags from judgement."""
    for second in sorted(want.keys() | have.keys()):
        wanted, found = want.get(second), have.get(second)
        if wanted is None or found is None:
            kind = "extra" if wanted is None else "missing"
            report.fault(check, f"{ticker} {clock(second)}: {kind} {wanted or found}")
            continue
        absent = {name for name, value in zip(names, (wanted.first, wanted.second), strict=True) if value is None}
        flags = {flag for flag in wanted.flags ^ found.flags if flag.rpartition(":")[2] not in absent}
        if (wanted.first, wanted.second) != (found.first, found.second) or flags:
            report.fault(check, f"{ticker} {clock(second)}: expected {wanted}, found {found}")


def check_outside_gaps(ticker: str, calm: Run, run: Run, gaps: list[Gap], report: Report) -> None:
    """(1) and (2): what no gap touches is as if nothing had happened; what a gap swallowed is absent."""

    def inside(second: int) -> bool:
        return any(gap.overlaps(second, second + 1) for gap in gaps)

    def outside(rows: Rows) -> Rows:
        return {second: row for second, row in rows.items() if not inside(second)}

    compare("1 equity_data outside gaps", EQUITY, ticker, outside(calm.equity), outside(run.equity), report)
    for second, row in run.equity.items():
        if any(gap.covers(second) for gap in gaps):
            report.fault("1 equity_data inside gaps", f"{ticker} {clock(second)}: a row in a second wholly lost")
        elif inside(second) and (row.second is not None or "gap" not in row.flags):
            report.fault("1 equity_data inside gaps", f"{ticker} {clock(second)}: in part lost, yet {row}")
    left, right = outside(calm.indicators), outside(run.indicators)
    for second in sorted(left.keys() ^ right.keys()):
        report.fault("2 indicators", f"{ticker} {clock(second)}: {'missing' if second in left else 'extra'} row")
    for second in sorted(left.keys() & right.keys()):
        before, now = left[second], right[second]
        for name, was, value in (("sma9", before.first, now.first), ("vwap", before.second, now.second)):
            clean = f"gap:{name}" not in now.flags and (f"seeded:{name}" in now.flags) == (
                f"seeded:{name}" in before.flags
            )
            if clean and was != value:
                report.fault("2 indicators", f"{ticker} {clock(second)}: {name} {value}, undisturbed {was}")
        if not any(flag.startswith(("gap", "seeded:vwap")) for flag in now.flags) and before.flags != now.flags:
            report.fault("2 indicators", f"{ticker} {clock(second)}: flags {now.flags}, undisturbed {before.flags}")
    report.say(f"{ticker} (1) {len(outside(run.equity))} equity rows, (2) {len(right)} indicator rows outside the gaps")


def check_gaps(ticker: str, model: Model, gaps: list[Gap], report: Report) -> None:
    """The ledger names exactly the gaps that follow from the journal, with their volumes."""
    day_end_us = max((day_of(gap.start_us / 1_000_000).end for gap in gaps), default=0) * 1_000_000
    recorded = {(gap.start_us, gap.end_us): gap for gap in gaps if gap.end_us is not None or gap.start_us < day_end_us}
    wanted = {(gap.start_us, gap.end_us) for gap in model.gaps}
    for start, end in sorted(recorded.keys() ^ wanted, key=str):
        kind = "missing" if (start, end) in wanted else "not from the journal"
        report.fault("gaps", f"{ticker} [{start} us, {end} us): {kind}")
    for cluster in sorted(set(model.clusters.values())):
        members = [gap for gap in model.gaps if model.clusters[gap] == cluster]
        found = [recorded[key].volume for gap in members if (key := (gap.start_us, gap.end_us)) in recorded]
        want = None if cluster in model.unknown_base else sum(model.volume_of[cluster])
        known = [volume for volume in found if volume is not None]
        if (sum(known) if known else None) != want:
            at = clock(members[0].start_us // 1_000_000)
            report.fault("gap volume", f"{ticker} {at}, {len(members)} gaps: expected {want}, found {found}")


def check_lost(ticker: str, sent: list[Sent], kept: set[int], gaps: list[Gap], report: Report) -> list[int]:
    """Every frame that was sent and is not in the journal lies in a gap; returns the lost updates' stamps in us."""
    clock_ns, lost_us = 0, []
    alive: int | None = None
    for one in sent:
        message = parsed(one.text)
        clock_ns = max(clock_ns, stamp_ns(message))
        if not any(fields.get("key") == ticker for fields in equity_items(message)):
            continue
        image, alive = one.conn != alive, one.conn
        if one.n in kept:
            continue
        at_us = clock_ns // 1000
        if not any(gap.start_us <= at_us and (gap.end_us is None or at_us <= gap.end_us) for gap in gaps):
            report.fault(
                "lost", f"{ticker} frame n={one.n} at {clock(at_us // 1_000_000)} is lost, and no gap covers it"
            )
        if not image:
            lost_us.append(at_us)
    report.say(f"{ticker} (0) {len(lost_us)} updates sent and not journaled, {len(gaps)} gaps in the ledger")
    return lost_us


def check_hold(ticker: str, args: argparse.Namespace, gaps: list[Gap], lost: list[int], calm: Run, run: Run,
               first_image_us: int, report: Report) -> None:  # fmt: skip
    """(4): at most two tape seconds lost per kill; after a loss of one update VWAP is what it would have been."""
    later = [gap for gap in gaps if gap.end_us is None or gap.end_us > first_image_us]
    of_kills = sorted((sum(gap.overlaps(at, at + 1) for at in calm.equity) for gap in later), reverse=True)
    kills = len(of_kills) if args.kills is None else args.kills
    apart = [seconds for seconds in of_kills[: args.power_cuts] if seconds > HOLD_LIMIT_S]
    counted = sum(of_kills[len(apart) :])
    if counted > HOLD_LIMIT_S * kills:
        report.fault("4 hold", f"{ticker}: {counted} tape seconds inside gaps for {kills} kills, {apart} apart")
    report.say(
        f"{ticker} (4) {counted} tape seconds for {kills} kills; longest {of_kills[:3]}; power cuts apart {apart}"
    )
    exact_until, counts = 2**63, 0
    for gap in gaps:
        within = [at for at in lost if gap.start_us <= at and (gap.end_us is None or at <= gap.end_us)]
        day = day_of(gap.start_us / 1_000_000)
        if len(within) > 1 and gap.start_us > first_image_us and gap.overlaps(day.open, day.close):
            exact_until = min(exact_until, gap.start_us // 1_000_000)
    for second in sorted(run.indicators.keys() & calm.indicators.keys()):
        now, was = run.indicators[second], calm.indicators[second]
        if second < exact_until and "gap:vwap" in now.flags and day_of(second).open <= second < day_of(second).close:
            counts += 1
            if now.second != was.second:
                report.fault("4 vwap", f"{ticker} {clock(second)}: {now.second}, undisturbed {was.second}")
    report.say(
        f"{ticker} (4) {counts} rows flagged gap:vwap after losses of one update compared with the undisturbed run"
    )


def check_identity(ticker: str, sent: list[Sent], run: Run, gaps: list[Gap], report: Report) -> None:
    """(5): what the rows and the gaps say traded since the reset is Schwab's own total."""
    clock_ns, total, day = 0, None, None
    for one in sent:
        message = parsed(one.text)
        clock_ns = max(clock_ns, stamp_ns(message))
        today = day_of(clock_ns / 1e9)
        for fields in equity_items(message):
            if fields.get("key") == ticker and fields.get("8") is not None and clock_ns < today.end * 10**9:
                total, day = int(fields["8"]), today
    if total is None or day is None or clock_ns < day.reset * 10**9:
        return
    rows = sum(row.second or 0 for second, row in run.equity.items() if second >= day.reset)
    spanned = sum(gap.volume or 0 for gap in gaps if (gap.end_us or 0) > day.reset * 1_000_000)
    if rows + spanned != total:
        report.fault("5 identity", f"{ticker}: rows {rows} + gaps {spanned} = {rows + spanned}, Schwab's total {total}")
    report.say(f"{ticker} (5) rows {rows} + gaps {spanned} = {rows + spanned}; Schwab's total {total}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("send-log", "journal", "undisturbed-equity", "undisturbed-indicators", "equity", "indicators", "gaps"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--mode", choices=("hold", "run"), default="hold", help="the simulator's --on-disconnect")
    parser.add_argument(
        "--power-cuts", type=int, default=0, help="kills that also cut the journal; judged apart in (4)"
    )
    parser.add_argument("--kills", type=int, help="kills of the recorder, power cuts included; default: one per gap")
    return parser.parse_args()


def main() -> int:
    args, report = arguments(), Report()
    sent, records = load_send_log(args.send_log), load_journal(args.journal, report)
    prices, values = (EQUITY, (PRICE, 1)), (INDICATORS, (10**6, 10**6))
    calm_equity = load_rows(args.undisturbed_equity, *prices, report)
    calm_indicators = load_rows(args.undisturbed_indicators, *values, report)
    equity, indicators = load_rows(args.equity, *prices, report), load_rows(args.indicators, *values, report)
    gaps = load_gaps(args.gaps)
    match(sent, records, report)
    kept = {record.sent.n for record in records if record.sent is not None}
    tickers = sorted(calm_equity.keys() | equity.keys() | calm_indicators.keys() | indicators.keys() | gaps.keys())
    report.say(
        f"send log: {len(sent)} frames, {len(sent) - len(kept)} not in the journal; tickers {', '.join(tickers)}"
    )
    for ticker, events in replay(records, tickers, report).items():
        calm = Run(calm_equity.get(ticker, {}), calm_indicators.get(ticker, {}))
        run = Run(equity.get(ticker, {}), indicators.get(ticker, {}))
        ledger, model = gaps.get(ticker, []), Model(events)
        lost = check_lost(ticker, sent, kept, ledger, report)
        check_outside_gaps(ticker, calm, run, ledger, report)
        check_gaps(ticker, model, ledger, report)
        compare("3 equity_data", EQUITY, ticker, model.equity, run.equity, report)
        compare("3 indicators", INDICATORS, ticker, model.indicators, run.indicators, report)
        report.say(f"{ticker} (3) {len(model.equity)} rows derived again, {len(model.gaps)} gaps")
        if args.mode == "hold":
            check_hold(ticker, args, ledger, lost, calm, run, events.first_image_us or 0, report)
        check_identity(ticker, sent, run, ledger, report)
    if not tickers:
        report.fault("shape", "no ticker in any export")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
