"""Judge: does the record of a real chain's options equal the csv that was played, contract by contract and second?

In: minute bars of options or CBOE snapshots; the CSV export of option_prices.  Out: differences; exit 0 equal, 1 not.
By definitions.md: a bar of minute M is known in second M + 59, a snapshot of T in T; a row stands where a stored column
changed; what is known at the subscription makes none. Never sent: NULL. Both ways. Imports the standard library only.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

MODEL = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")
COLUMNS = ("bid", "ask", "bid_size", "ask_size", "last", "volume", "day_volume", "open_interest", *MODEL)
Row = dict[str, Decimal | None]


def lines(path: str) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:  # noqa: PTH123
        yield from csv.DictReader(file)


def moments(args: argparse.Namespace) -> Iterator[tuple[int, dict[str, str], Row]]:
    """(second, the contract's line, what is new); `volume`: of the minute. Second 0: known before the session."""
    for line in lines(args.openinterest):
        yield 0, line, {"open_interest": Decimal(line["open_interest"])}
    for line in lines(args.quotes):
        prices = {side: Decimal(line[f"{side}_close"] or 0) for side in ("bid", "ask")}
        sizes = {f"{side}_size": Decimal(line[f"{side}_size"] or 0) if prices[side] else Decimal(0) for side in prices}
        yield int(line["epoch_ms"]) // 1000 + 59, line, {**prices, **sizes}
    for line in lines(args.trades):
        traded: Row = {"last": Decimal(line["close"]), "volume": Decimal(line["volume"])}
        yield int(line["epoch_ms"]) // 1000 + 59, line, traded
    for line in lines(args.cboe):
        found = Decimal(line["implied_volatility"]) != Decimal("0.02")
        row: Row = {name: Decimal(line[name]) for name in ("bid", "ask", "bid_size", "ask_size")}
        row |= {name: Decimal(line[name]) / (100 if name == "rho" else 1) if found else None for name in MODEL}
        traded = {"last": Decimal(line["close"]), "volume": Decimal(line["trade_volume"])}
        at = datetime.fromisoformat(line["time_ny_naive"]).replace(tzinfo=ZoneInfo("America/New_York"))
        yield int(at.timestamp()), line, (row | traded if traded["volume"] else row)


def expected(args: argparse.Namespace) -> dict[tuple[str, int], Row]:
    new, states, rows = dict[tuple[str, int], Row](), dict[str, Row](), dict[tuple[str, int], Row]()
    low, high = map(Decimal, args.strikes.split("-"))
    for second, line, row in moments(args):
        if low <= (strike := Decimal(line["strike"])) <= high:
            expiry = date.fromisoformat(line.get("expiry") or line["expiration"])
            symbol = f"{args.root:<6}{expiry:%y%m%d}{line['right']}{int(strike * 1000):08}"
            new.setdefault((symbol, second), {}).update(row)
    for (symbol, second), row in sorted(new.items(), key=lambda item: item[0]):
        before, volume = states.get(symbol, dict.fromkeys(COLUMNS)), row.pop("volume", None) or 0
        states[symbol] = before | row | {"day_volume": (before["day_volume"] or 0) + Decimal(volume)}
        if states[symbol] != before and second >= args.start:
            rows[symbol, second] = states[symbol] | {"volume": Decimal(volume)}
    return rows


parser = argparse.ArgumentParser(description=__doc__)
for name in ("root", "export", "quotes", "trades", "openinterest", "cboe"):
    parser.add_argument(f"--{name}", default="/dev/null", help="a csv, may be gzipped; --root: of the option symbols")
parser.add_argument("--start", type=int, default=1, help="the subscription, epoch seconds: what is older is the image")
parser.add_argument("--strikes", default="0-99999", help="LOW-HIGH: the contracts watched (default: all of the files)")
wanted, exported = expected(parser.parse_args()), list(lines(parser.parse_args().export))
keys = [(line["option_symbol"], int(datetime.fromisoformat(line["timestamp"]).timestamp())) for line in exported]
values = [{name: Decimal(line[name]) if line[name] else None for name in COLUMNS} for line in exported]
found = dict(zip(keys, values, strict=True))
wrong = {name: {key for key in wanted.keys() & found if wanted[key][name] != found[key][name]} for name in COLUMNS}
wrong |= {"missing": wanted.keys() - found.keys(), "surplus": found.keys() - wanted.keys()}
print(f"expected {len(wanted)} rows of {len({key[0] for key in wanted})} contracts, found {len(exported)}")
for name, different in wrong.items():
    for key in sorted(different)[:2]:
        print(f"{name}: {len(different)}, as {key}: expected {wanted.get(key)}, found {found.get(key)}")
if any(wrong.values()) or not 0 < len(wanted) == len(exported):
    sys.exit("DIFFERENT")
print("EQUAL")
