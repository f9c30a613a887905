"""Tapes of real options: minute bars (`options=`) and CBOE snapshots (`chain=`) → the moments of each contract.

In:   csv or csv.gz; what a file of `options=` holds is told by its columns.      Out:  OptionTape of one underlying.

    quote bars       epoch_ms, expiry, right, strike, bid_close, bid_size, ask_close, ask_size
    trade bars       epoch_ms, expiry, right, strike, open, high, low, close, volume
    open interest    epoch_ms, expiry, right, strike, open_interest: constant through the session
    CBOE snapshots   time_ny_naive (New York), root, expiration, right, strike, bid, ask, sizes, trades of the minute,
                     active_underlying_price, implied_volatility and five greeks; rho is per 1.00

A bar stamped M is a moment of M + 59.999 s, a snapshot stamped T one of T. What a contract brings at the same time is
one moment. No bid or ask: price 0, size 0. IV 0.02 is CBOE's "none found". Prices × PRICE_SCALE, times epoch ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from alphakite.errors import UsageError
from alphakite.model import PRICE_SCALE
from alphakite.sessions import EXCHANGE
from alphakite.simulator.chain import MILLI, contract_of
from alphakite.simulator.contracts import Contract
from alphakite.simulator.tape import MINUTE_MS, PriceReader, count_of, header_of, minute_of, positive, read_columns

NONE_FOUND = PRICE_SCALE // 50
"""CBOE's implied volatility where there is none: 0.02."""
GREEKS = ("delta", "gamma", "theta", "vega", "rho")
CONTRACT = ("epoch_ms", "expiry", "right", "strike")
QUOTE_BARS = (*CONTRACT, "bid_close", "bid_size", "ask_close", "ask_size")
TRADE_BARS = (*CONTRACT, "open", "high", "low", "close", "volume")
OPEN_INTEREST = (*CONTRACT, "open_interest")
TRADES = ("open", "high", "low", "close", "trade_volume")
SNAPSHOTS = (
    *("time_ny_naive", "root", "expiration", "right", "strike", "bid", "bid_size", "ask", "ask_size"),
    *("active_underlying_price", "implied_volatility", *GREEKS, *TRADES),
)


@dataclass(frozen=True, slots=True)
class Quoted:
    """Closing bid and ask of a bar, or those of a snapshot; sizes in contracts."""

    bid: int
    bid_size: int
    ask: int
    ask_size: int


@dataclass(frozen=True, slots=True)
class Bar:
    """What traded in a minute; `volume` in contracts."""

    open: int
    high: int
    low: int
    close: int
    volume: int

    def then(self, later: Bar) -> Bar:
        """Two bars of the same minute, of two files, as one."""
        high, low = max(self.high, later.high), min(self.low, later.low)
        return Bar(self.open, high, low, later.close, self.volume + later.volume)


@dataclass(frozen=True, slots=True)
class Modelled:
    """The vendor's IV in percent and greeks as Schwab would send them; `answer` None: none found."""

    answer: tuple[float, float, float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Moment:
    """What is new of a contract at one time; None: nothing new of this kind. `spot`: the file's underlying price."""

    time_ms: int
    quoted: Quoted | None = None
    bar: Bar | None = None
    modelled: Modelled | None = None
    spot: int | None = None

    def then(self, later: Moment) -> Moment:
        """With a later line of the same time."""
        bar = self.bar.then(later.bar) if self.bar and later.bar else later.bar or self.bar
        quoted, modelled = later.quoted or self.quoted, later.modelled or self.modelled
        return Moment(self.time_ms, quoted, bar, modelled, self.spot if later.spot is None else later.spot)


@dataclass(slots=True)
class ContractTape:
    """One contract's moments in time order, no two of the same time. `open_interest` None: not known."""

    contract: Contract
    moments: list[Moment] = field(default_factory=list)
    open_interest: int | None = None


@dataclass(slots=True)
class OptionTape:
    """All contracts of an underlying, by symbol; `modelled`: IV and greeks are part of it. `date`: its own."""

    underlying: str
    contracts: dict[str, ContractTape] = field(default_factory=dict)
    modelled: bool = False
    date: date | None = None

    def spots(self) -> dict[int, int]:
        """The file's underlying price by time, in order of time; empty for bars."""
        found = {
            moment.time_ms: moment.spot
            for tape in self.contracts.values()
            for moment in tape.moments
            if moment.spot is not None
        }
        return dict(sorted(found.items()))


class OptionReader:
    """Reads the files of one underlying into one tape."""

    def __init__(self, underlying: str) -> None:
        self.tape = OptionTape(underlying)
        self._price_of = PriceReader()
        self._known: dict[tuple[str, str, str, str], ContractTape] = {}

    def read_bars(self, path: Path, root: str) -> None:
        """A file of `options=`; `root`: the option root of its contracts.

        Raises: UsageError: no kind of bars by its columns, a bad line, another date than the files before.
        """
        header = header_of(path)
        kinds: tuple[tuple[tuple[str, ...], Callable[..., None]], ...] = (
            (QUOTE_BARS, lambda *texts: self._quote_bar(root, *texts)),
            (TRADE_BARS, lambda *texts: self._trade_bar(root, *texts)),
            (OPEN_INTEREST, lambda *texts: self._open_interest(root, *texts)),
        )
        for columns, take in kinds:
            if set(columns) <= set(header):
                read_columns(path, columns, take)
                return
        raise UsageError(
            f"{path}: line 1: neither quote bars nor trade bars nor open interest of options",
            next_step=f"columns: {','.join(QUOTE_BARS)}; or open,high,low,close,volume or open_interest behind strike",
        )

    def read_chain(self, path: Path) -> None:
        """A file of `chain=`. Raises: UsageError: as above."""
        self.tape.modelled = True
        read_columns(path, SNAPSHOTS, self._snapshot)

    def finish(self) -> OptionTape:
        """The tape in order. Lines are sorted stably by time; of two quotes of the same time the later line counts."""
        for tape in self.tape.contracts.values():
            ordered = sorted(tape.moments, key=lambda moment: moment.time_ms)
            tape.moments = []
            for moment in ordered:
                if tape.moments and tape.moments[-1].time_ms == moment.time_ms:
                    moment = tape.moments.pop().then(moment)
                tape.moments.append(moment)
        return self.tape

    def _quote_bar(
        self, root: str, time: str, expiry: str, right: str, strike: str, bid: str, bid_size: str, ask: str, size: str
    ) -> None:
        time_ms = minute_of(time) + MINUTE_MS - 1
        tape = self._contract(root, expiry, right, strike, time_ms)
        quoted = Quoted(self._price_of(bid or "0"), _size(bid, bid_size), self._price_of(ask or "0"), _size(ask, size))
        tape.moments.append(Moment(time_ms, quoted))

    def _trade_bar(self, root: str, time: str, expiry: str, right: str, strike: str, *bar: str) -> None:
        time_ms = minute_of(time) + MINUTE_MS - 1
        tape = self._contract(root, expiry, right, strike, time_ms)
        tape.moments.append(Moment(time_ms, bar=self._bar(*bar)))

    def _open_interest(self, root: str, time: str, expiry: str, right: str, strike: str, number: str) -> None:
        self._contract(root, expiry, right, strike, minute_of(time)).open_interest = count_of(number)

    def _snapshot(
        self, time: str, root: str, expiry: str, right: str, strike: str, bid: str, bid_size: str, ask: str, size: str,
        spot: str, iv: str, delta: str, gamma: str, theta: str, vega: str, rho: str, *trades: str,
    ) -> None:  # fmt: skip
        time_ms = int(datetime.strptime(time, "%Y-%m-%d %H:%M:%S").replace(tzinfo=EXCHANGE).timestamp()) * 1000
        tape = self._contract(root, expiry, right, strike, time_ms)
        fraction = self._price_of(iv)
        greeks = (_double(delta), _double(gamma), _double(theta), _double(vega), _double(rho) / 100)
        found = None if fraction == NONE_FOUND else (fraction * 100 / PRICE_SCALE, *greeks)
        quoted = Quoted(self._price_of(bid or "0"), _size(bid, bid_size), self._price_of(ask or "0"), _size(ask, size))
        bar = self._bar(*trades) if count_of(trades[-1]) else None
        tape.moments.append(Moment(time_ms, quoted, bar, Modelled(found), positive(self._price_of(spot))))

    def _bar(self, opening: str, high: str, low: str, close: str, volume: str) -> Bar:
        first, highest, lowest, last = (positive(self._price_of(text)) for text in (opening, high, low, close))
        return Bar(first, highest, lowest, last, count_of(volume))

    def _contract(self, root: str, expiry: str, right: str, strike: str, time_ms: int) -> ContractTape:
        day = datetime.fromtimestamp(time_ms // 1000, EXCHANGE).date()
        if self.tape.date is None:
            self.tape.date = day
        elif self.tape.date != day:
            raise ValueError(f"a line of {day} in a tape of {self.tape.date}: a tape is one session")
        key = (root, expiry, right, strike)
        tape = self._known.get(key)
        if tape is None:
            price = positive(self._price_of(strike))
            if right not in ("C", "P") or price % MILLI or price // MILLI >= 10**8:
                raise ValueError(f"{right} {strike} is no option: C or P, a strike in thousandths")
            contract = contract_of(self.tape.underlying, root, date.fromisoformat(expiry), right, price)
            if contract.expiry < day:
                raise ValueError(f"expired on {expiry}")
            tape = self.tape.contracts.setdefault(contract.symbol, ContractTape(contract))
            self._known[key] = tape
        return tape


def redated(tape: OptionTape, shift_ms: int, expiry_of: Callable[[date], date]) -> OptionTape:
    """The tape on another date: its moments moved by a time, each expiry to another one."""
    moved = OptionTape(tape.underlying, modelled=tape.modelled)
    for old in tape.contracts.values():
        one = old.contract
        contract = contract_of(one.underlying, one.root, expiry_of(one.expiry), one.right, one.strike)
        moments = [replace(moment, time_ms=moment.time_ms + shift_ms) for moment in old.moments]
        moved.contracts[contract.symbol] = ContractTape(contract, moments, old.open_interest)
    return moved


def _size(price: str, size: str) -> int:
    return count_of(size or "0") if price else 0


def _double(text: str) -> float:
    number = float(text)
    if not abs(number) < 1e9:
        raise ValueError(f"{text!r} is not a greek")
    return number
