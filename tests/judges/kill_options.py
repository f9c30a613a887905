"""Judge: after a run with kills, do journal, option rows, gaps and subscriptions still tell the truth?

In:   the exported journal, option_prices, option_images, stream_gaps (csv), the simulator's `--truth option-seconds`.
Out:  a line per check with figures, ten differences of each; exit 0 all hold, 1 one does not. Standard library only.

(1) rows and images are those that the journal means, (2) so are the gaps, (3) outside the gaps rows are the truth's,
(4) volumes add up, (5) what sends is what is wanted: one expiry, nothing let go in a session, the window at the price.
A change of cumulative volume belongs to the row of a second that no gap touches, else to the gaps around it; those
with no complete second between them are judged by their sum. A gap of no length changes nothing. A session is followed
until a quarter past its close; holidays, and contracts that come back, are not known here. Times in µs since 1970.
"""

import argparse
import csv
import json
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

NEW_YORK, S, EVER = ZoneInfo("America/New_York"), 1_000_000, 2**63
FIELDS = {"2": "bid", "3": "ask", "4": "last", "16": "bid_size", "17": "ask_size", "8": "day_volume",
          "9": "open_interest", "10": "implied_volatility", "28": "delta", "29": "gamma", "30": "theta",
          "31": "vega", "32": "rho"}  # fmt: skip
COLUMNS = tuple(FIELDS.values())
VOLUME = COLUMNS.index("day_volume")
faults, days = defaultdict(list), {}


def at(text):
    found = datetime.fromisoformat(text) if text else None
    return found and int(found.replace(microsecond=0).timestamp()) * S + found.microsecond


def clock(us):
    return datetime.fromtimestamp(us / S, NEW_YORK).strftime("%a %H:%M:%S.%f")[:-3]


def day_of(us):
    """Start and end of the recorded hours, the close, the reset of the exchange's day; and its date."""
    if (hour := us // (3600 * S)) not in days:
        day = datetime.fromtimestamp(us / S, NEW_YORK).date()
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp()) * S
        early = (day.month == 11 and day.weekday() == 4 and 23 <= day.day <= 29) or (day.month, day.day) == (12, 24)
        hours = (4, 20) if day.weekday() < 5 else (0, 0)
        days[hour] = *(midnight + int(h * 3600) * S for h in (*hours, 13 if early else 16, 3.5)), day
    return days[hour]


def recorded(us):
    return day_of(us)[0] <= us < day_of(us)[1]


def field(number, sent):
    """A field as it is stored; None if the feed says that there is none."""
    if sent in (None, "NaN", -999) or (number in ("4", "10") and sent == 0):
        return None
    return round(Decimal(str(sent)), 8) / (100 if number == "10" else 1)


class Contract:
    """One contract as the journal tells it. `gaps`: start → (end, whether an image ends it); `open`: its start."""

    def __init__(self):
        self.book, self.total, self.epoch, self.conn, self.open, self.covered = {}, 0, 0, None, None, False
        self.items, self.gaps, self.cut, self.images = [], {}, [], {}

    def expect(self, us):
        if self.open is None and not self.covered and day_of(us)[0] < us < day_of(us)[1]:
            self.open = day_of(us)[0]
            self.gaps[self.open] = None, False

    def let_go(self, us, last):
        if self.conn is not None:
            self.cut.append(last)
        elif self.open is not None:
            self.close(us, False)
        self.conn, self.open, self.covered = None, None, False

    def lose(self, last):
        if self.conn is not None:
            self.conn, self.open = None, last
            self.gaps |= {last: (None, False)} if recorded(last) else {}

    def close(self, end, by_image):
        """The gap ends: a piece for each day whose recorded hours it touches."""
        self.gaps.pop(self.open, None)
        for noon in range(self.open, end + 24 * 3600 * S, 24 * 3600 * S):
            low, high = max(day_of(noon)[0], self.open), min(day_of(noon)[1], end)
            self.gaps |= {low: (high, by_image and high == end)} if low < high else {}

    def take(self, seq, us, conn, fields):
        image, ended = self.conn != conn, False
        if image:
            self.expect(us)
            ended = not self.covered or self.open < us
            if self.open is not None:
                self.close(us, True)
            self.book, self.conn, self.open, self.covered = {}, conn, None, True
        self.book |= {name: field(number, fields[number]) for number, name in FIELDS.items() if number in fields}
        state = tuple(self.book.get(name) for name in COLUMNS)
        total, reset = int(state[VOLUME] or 0), day_of(us)[3]
        change = total - (0 if self.epoch < reset <= us else self.total)
        self.total, self.epoch = total, reset if us >= reset else self.epoch
        self.items.append((us, image, ended, state, change))
        if image:
            self.images[us, seq] = state

    def derive(self):
        """Rows by second: stored columns, volume, inside a gap. Volumes of gaps by group, Schwab's totals by day."""
        images = [us for us, image, *_ in self.items if image]
        self.spans = [(start, end or EVER) for start, (end, _) in self.gaps.items()]
        self.spans += [(last, min((us for us in images if us > last), default=EVER)) for last in self.cut]
        self.group, self.volume, self.totals, rows, group, before = {}, defaultdict(int), {}, {}, 0, -S
        for start, end in sorted(self.spans):
            group, before = (group if -(-before // S) + 1 > start // S else start), end
            self.group[start] = group
        mark, present, updated, traded, state = None, None, False, 0, None
        for us, image, ended, after, change in (*self.items, (EVER, False, False, None, 0)):
            if present is not None and us // S != present:
                if updated and state != mark and recorded(present * S):
                    inside = bool(self.inside(present))
                    rows[present] = state, None if inside else traded, inside
                mark, updated, traded = state if updated else mark, False, 0
            if after is None:
                break
            present, state, updated = us // S, after, updated or not image
            gaps = [start for start, end in self.spans if end == us] if ended else self.inside(present)
            if gaps:
                self.volume[self.group[max(gaps)]] += change
            else:
                traded += change
            mark = state if ended else mark
            if recorded(us) and all(cut // S != present for cut in self.cut):
                self.totals[day_of(us)[4]] = int(state[VOLUME] or 0)
        return rows

    def inside(self, second):
        """Starts of the gaps that touch a second."""
        return [start for start, end in self.spans if start < (second + 1) * S and end > second * S]


def expiry_of(symbol):
    return datetime.strptime(symbol[6:12], "%y%m%d").date()


class Journal:
    """Follows the records: what is wanted, what sends, what happens to each contract. `settled`: judged so far."""

    def __init__(self, args):
        self.args, self.contracts, self.wanted, self.images = args, defaultdict(Contract), set(), set()
        self.conn, self.last, self.up, self.told, self.seq, self.settled = None, 0, 0, 0, 0, 0
        self.prices, self.listed, self.expiries, self.sticky = [], set(), [], defaultdict(set)
        self.figures, self.day = defaultdict(int), None

    def session(self, us):
        """The session whose contracts are followed at a time, and their expiry as Schwab lists it."""
        _, end, close, _, day = day_of(us)
        day += timedelta(us >= close + 900 * S or not end)
        day += timedelta(max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)
        return day, min((one for one in self.expiries if one >= day), default=None)

    def read(self, entry):
        seq, us, kind, text = entry["seq"], entry["ts_recv_ns"] // 1000, entry["kind"], entry["payload"]
        if seq != self.seq + 1 or us < self.last:
            faults["journal"].append(f"seq {seq} at {clock(us)} follows {self.seq} at {clock(self.last)}")
        self.seq = seq
        if kind == "frame" or self.conn is None:
            self.begin(seq, us)
        if kind == "frame":
            return self.frame(seq, us, entry["conn"], json.loads(text, parse_float=Decimal))
        if kind == "rest":
            return self.rest(*map(json.loads, text.split("\n", 1)))
        event = json.loads(text)
        if kind == "process" or event["event"] == "down":
            self.lost()
        elif event["event"] == "options":
            self.want(us, {symbol for symbols in event["contracts"].values() for symbol in symbols})
        elif kind == "connection":
            self.up, self.images = (us, set()) if event["event"] == "up" else (self.up, self.images)
            for symbol in self.wanted:
                self.contracts[symbol].expect(us)
        return None

    def begin(self, seq, us):
        """Recorded hours begin: what is known of a contract that is watched over night is an image of that day."""
        if recorded(us) and self.day != (day := day_of(us)[4]):
            self.day = day
            for one in (one for one in map(self.contracts.get, self.wanted) if one and one.conn is not None):
                one.images[day_of(us)[0], seq - 1] = one.items[-1][3]

    def want(self, us, wanted):
        for symbol in self.wanted - wanted:
            self.contracts[symbol].let_go(us, self.last)
        for symbol in wanted:
            self.contracts[symbol].expect(us)
        session, expiry = self.session(us)
        for symbol in sorted(wanted):
            if expiry_of(symbol) not in (expiry, self.session(us - self.args.late * S)[1]):
                faults["5 expiry"].append(f"{clock(us)}: {symbol} is wanted, the session's expiry is {expiry}")
        for symbol in sorted(self.sticky[session] - wanted):
            faults["5 sticky"].append(f"{clock(us)}: {symbol} was wanted in this session and is not any more")
        self.sticky[session] |= {symbol for symbol in wanted if expiry_of(symbol) == expiry}
        self.wanted, self.told = wanted, us
        self.figures["lists"] += 1

    def rest(self, asked, found):
        if asked["params"].get("symbol") == self.args.ticker and asked["path"].endswith("/expirationchain"):
            self.expiries = [date.fromisoformat(one["expirationDate"]) for one in found["expirationList"]]
        if asked["params"].get("symbol") == self.args.ticker and asked["path"].endswith("/chains"):
            dates = [*found["callExpDateMap"].values(), *found["putExpDateMap"].values()]
            self.listed |= {one["symbol"] for strikes in dates for ones in strikes.values() for one in ones}

    def frame(self, seq, us, conn, message):
        self.conn, self.last = conn, us
        for service, fields in ((part["service"], one) for part in message.get("data", ()) for one in part["content"]):
            if service == "LEVELONE_EQUITIES" and fields["key"] == self.args.ticker and fields.get("3"):
                self.prices.append((us, fields["3"]))
            elif service == "LEVELONE_OPTIONS" and fields["key"] in self.wanted:
                self.images.add(fields["key"])
                self.contracts[fields["key"]].take(seq, us, conn, fields)
            elif service == "LEVELONE_OPTIONS":
                faults["5 unwanted"].append(f"{clock(us)}: {fields['key']} sends and is not wanted")

    def lost(self):
        """A connection ends: what ought to have been there, if it lasted long enough."""
        if self.conn is None:
            return
        self.conn, self.figures["connections"] = None, self.figures["connections"] + 1
        for symbol in self.wanted:
            self.contracts[symbol].lose(self.last)
        if self.last - max(self.told, self.up) >= self.args.settled * S:
            self.figures["settled"], self.settled = self.figures["settled"] + 1, self.last
            for symbol in sorted(self.wanted - self.images):
                faults["5 silent"].append(f"{clock(self.last)}: {symbol} is wanted and never sent")
        then, (_, expiry) = self.last - self.args.late * S, self.session(self.last)
        if then >= self.up and self.session(then) == self.session(self.last):
            self.figures["windows"] += 1
            for symbol in sorted(one for one in self.wanted if expiry_of(one) != expiry):
                faults["5 expiry"].append(f"{clock(self.last)}: {symbol} is still wanted, not only {expiry}")
            for symbol in sorted(self.window(then, expiry) - self.wanted):
                faults["5 window"].append(f"{clock(self.last)}: {symbol} is in the window and not wanted")

    def window(self, us, expiry):
        """The listed contracts around the price of a time: so many strikes on each side, or so many percent."""
        place = bisect_right(self.prices, (us, EVER)) - 1
        if place < 0:
            return set()
        price, size = Decimal(self.prices[place][1]), self.args.window
        strikes = {symbol: Decimal(symbol[13:]) / 1000 for symbol in self.listed if expiry_of(symbol) == expiry}
        if size.endswith("%"):
            return {one for one, strike in strikes.items() if abs(strike - price) <= price * Decimal(size[:-1]) / 100}
        order = sorted(set(strikes.values()))
        low, high = bisect_left(order, price) - int(size), bisect_right(order, price) + int(size)
        return {symbol for symbol, strike in strikes.items() if strike in order[max(0, low) : high]}


def compare(name, symbol, wanted, found):
    for key in sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)):
        faults[name].append(f"{symbol} {key}: expected {spelled(wanted.get(key))}, found {spelled(found.get(key))}")


def spelled(one):
    return f"({', '.join(map(spelled, one))})" if isinstance(one, tuple) else str(one)


def lines(path):
    """Of each line of a table: itself, its symbol, its time, the stored columns, its volume."""
    with open(path, newline="") as file:  # noqa: PTH123
        for line in csv.DictReader(file):
            state = tuple(Decimal(line[name]) if line.get(name) else None for name in COLUMNS)
            symbol, time = line.get("option_symbol") or line["ticker"], line.get("timestamp") or line["start_at"]
            yield line, symbol, at(time), state, int(line["volume"]) if line["volume"] else None


def load(args):
    """By symbol: rows by second, images by time and seq, gaps by start, the truth's rows by second."""
    rows, images, gaps, truth = (defaultdict(dict) for _ in range(4))
    for line, symbol, us, state, volume in lines(args.options):
        if us // S in rows[symbol] or us % S:
            faults["1 rows"].append(f"{symbol} {line['timestamp']}: twice, or within a second")
        rows[symbol][us // S] = state, volume, "gap" in line["flags"].split(",")
    for line, symbol, us, state, _volume in lines(args.images):
        images[symbol][us, int(line["seq"])] = state
    for line, symbol, us, _state, volume in lines(args.gaps):
        if len(symbol) == 21 and us != at(line["end_at"]):
            gaps[symbol][us] = at(line["end_at"]), volume
    for _line, symbol, us, state, volume in lines(args.truth):
        truth[symbol][us // S] = state, volume
    return rows, images, gaps, truth


def check(symbol, one, rows, images, gaps, truth):
    """(1) to (4) of one contract; how many rows ought to be the truth's."""
    compare("1 rows", symbol, one.derive(), rows)
    compare("1 images", symbol, one.images, images)
    ledger = {us: end or EVER for us, (end, _) in gaps.items()}
    compare("2 gaps", symbol, {us: end or EVER for us, (end, _) in one.gaps.items()}, ledger)
    for group in sorted({one.group[start] for start in one.gaps}):
        members = [start for start in one.gaps if one.group[start] == group]
        known = [gaps[start][1] for start in members if start in gaps and gaps[start][1] is not None]
        want, found = (
            one.volume[group] if any(one.gaps[us][1] for us in members) else None,
            sum(known) if known else None,
        )
        if want != found:
            faults["2 gap volume"].append(
                f"{symbol} {clock(group)}, {len(members)} gaps: expected {want}, found {found}"
            )
    first = one.items[0][0] // S if one.items else EVER
    true = {at: row for at, row in truth.items() if first <= at and recorded(at * S) and not one.inside(at)}
    compare("3 truth", symbol, true, {second: row[:2] for second, row in rows.items() if not one.inside(second)})
    for day, total in one.totals.items():
        traded = sum(row[1] or 0 for second, row in rows.items() if day_of(second * S)[4] == day)
        unseen = sum(volume or 0 for end, volume in gaps.values() if end and day_of(end)[4] == day)
        if traded + unseen != total:
            faults["4 volume"].append(f"{symbol} {day}: rows {traded} + gaps {unseen}, Schwab's total {total}")
    return len(true)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("journal", "options", "images", "gaps", "truth", "ticker"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--window", required=True, help="what is promised around the price: 25, or 2%%")
    parser.add_argument("--settled", type=int, default=60, help="seconds in which every contract wanted has an image")
    parser.add_argument("--late", type=int, default=300, help="seconds by which the window may lag, or the roll")
    journal = Journal(args := parser.parse_args())
    with open(args.journal) as file:  # noqa: PTH123
        for line in file:
            journal.read(json.loads(line))
    journal.lost()
    if journal.last - journal.settled > args.settled * S:
        faults["5 silent"].append(f"nothing could be judged after {clock(journal.settled)}: no connection lasted")
    loaded, contracts, figures = load(args), journal.contracts, journal.figures
    symbols = sorted(contracts.keys() | loaded[0].keys() | loaded[1].keys() | loaded[2].keys())
    true = sum(check(one, contracts[one], *(part[one] for part in loaded)) for one in symbols)
    count = [sum(map(len, part.values())) for part in loaded]
    totals = sum(len(one.totals) for one in contracts.values())
    print(f"journal: {journal.seq} records, {figures['connections']} connections, {len(symbols)} contracts")
    print(f"(1) {count[0]} rows, {count[1]} images (2) {count[2]} gaps (3) {true} rows outside the gaps, by the truth")
    print(f"(4) {totals} totals of a contract's day (5) {figures['lists']} lists of contracts, {figures['settled']}",
          f"connections settled, {figures['windows']} windows, at last {len(journal.wanted)} wanted")  # fmt: skip
    for name, found in faults.items():
        print(f"FAILED {name}: {len(found)}", *found[:10], sep="\n  ")
    print("DIFFERENT" if faults else "EQUAL")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
