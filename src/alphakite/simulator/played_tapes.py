"""The files of `--tape`, read: which symbols they are of, and which date they play.

In:   SimulatorOptions.      Out:  PlayedTapes, on the tapes' own dates.
The date is that of trades=, quotes=, options= or chain=, else that of --session where bars= hold it. Of a symbol
without trades= and quotes=, bars= of that date are played: trade bars as prints of their closes, quote bars as quotes.
An underlying of which there is nothing but options is a symbol that stays silent; with chain= its prices are played.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import date

from alphakite.errors import UsageError
from alphakite.model import Candle
from alphakite.sessions import exchange_date
from alphakite.simulator.option_tape import OptionReader, OptionTape
from alphakite.simulator.options import SimulatorOptions, TapeFile, option_root, symbol_of
from alphakite.simulator.synthetic import is_index
from alphakite.simulator.tape import Quotes, SymbolTape, header_of, prints_of, read_bars, read_quotes, read_trades

OF_OPTIONS = ("options", "chain")


@dataclass(slots=True)
class PlayedTapes:
    """`own`: the date of a symbol's tapes; `date`: what is played without --session. `options`: by underlying."""

    tapes: dict[str, SymbolTape] = field(default_factory=dict)
    options: dict[str, OptionTape] = field(default_factory=dict)
    own: dict[str, date] = field(default_factory=dict)
    date: date | None = None


def read_tapes(options: SimulatorOptions) -> PlayedTapes:
    """Raises: UsageError: a file that cannot be read or whose symbol is not clear, a symbol with nothing to play."""
    return _Reading(options).read()


class _Reading:
    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.played = PlayedTapes()
        self.files: set[tuple[str, str]] = set()
        self.readers: dict[str, OptionReader] = {}
        self.minute_quotes: dict[str, list[Quotes]] = {}

    def read(self) -> PlayedTapes:
        played = self.played
        for file in self.options.tapes:
            symbol = symbol_of(file, self.options.symbols)
            tape = played.tapes.setdefault(symbol, SymbolTape(symbol))
            if file.kind in OF_OPTIONS:
                self._read_options(file, symbol)
            elif file.kind == "bars":
                self._read_bars(file, tape)
            else:
                self._read_ticks(file, tape)
        for symbol, reader in self.readers.items():
            played.options[symbol] = reader.finish()
        self._choose_date()
        for tape in played.tapes.values():
            if not {(tape.symbol, "trades"), (tape.symbol, "quotes")} & self.files:
                self._play_bars(tape)
        for symbol in (*self.options.symbols, *played.tapes):
            if symbol not in played.own:
                raise UsageError(f"{symbol}: nothing to play", next_step=f"add --tape trades={symbol}:FILE")
        return played

    def _read_options(self, file: TapeFile, symbol: str) -> None:
        reader = self.readers.setdefault(symbol, OptionReader(symbol))
        if file.kind == "chain":
            reader.read_chain(file.path)
        else:
            reader.read_bars(file.path, option_root(file, symbol))
        if reader.tape.date is None:
            raise _empty(str(file.path))
        self._take_date(symbol, reader.tape.date)

    def _read_bars(self, file: TapeFile, tape: SymbolTape) -> None:
        if "bid_close" in header_of(file.path):
            self.minute_quotes.setdefault(tape.symbol, []).append(read_quotes(file.path, minutes=True))
        else:
            tape.history += read_bars(file.path, index=is_index(tape.symbol))

    def _read_ticks(self, file: TapeFile, tape: SymbolTape) -> None:
        symbol = tape.symbol
        if (symbol, file.kind) in self.files:
            raise UsageError(f"--tape {file.kind}=: twice for {symbol}", next_step="give one file, or name the symbol")
        self.files.add((symbol, file.kind))
        if file.kind == "trades":
            tape.prints = read_trades(file.path)
            times_ms = tape.prints.times_ms
        else:
            tape.quotes = read_quotes(file.path)
            times_ms = tape.quotes.times_ms
        self._take_date(symbol, _only_date(times_ms, str(file.path)))

    def _take_date(self, symbol: str, own: date) -> None:
        known = self.played.own.setdefault(symbol, own)
        if known != own:
            raise UsageError(f"{symbol}: tapes of {known} and of {own}", next_step="give one symbol tapes of one date")
        self.played.date = self.played.date or own

    def _choose_date(self) -> None:
        session = self.options.session
        if self.played.date is None and any(
            _date(candle) == session for tape in self.played.tapes.values() for candle in tape.history
        ):
            self.played.date = session

    def _play_bars(self, tape: SymbolTape) -> None:
        """What bars= and chain= hold of the played date, where no finer tape is given."""
        played, symbol = self.played, tape.symbol
        own = played.own.get(symbol, played.date)
        if own is None:
            return
        today = [candle for candle in tape.history if _date(candle) == own]
        quotes = [one for one in self.minute_quotes.get(symbol, []) if one.times_ms]
        if today:
            tape.history = [candle for candle in tape.history if _date(candle) != own]
            tape.bars = list({candle.minute_us: candle for candle in reversed(today)}.values())
            tape.bars.sort(key=lambda candle: candle.minute_us)
            tape.prints = prints_of(tape.bars)
        elif symbol in played.options:
            for time_ms, price in played.options[symbol].spots().items():
                tape.prints.add(time_ms, price, 0)
        if quotes:
            tape.quotes = quotes[0]
            _only_date(tape.quotes.times_ms, f"--tape bars=, quotes of {symbol}")
        if len(quotes) > 1:
            raise UsageError(f"--tape bars=: quote bars twice for {symbol}", next_step="give one file of quote bars")
        if today or quotes:
            played.own[symbol] = own


def _only_date(times_ms: array[int], name: str) -> date:
    if not times_ms:
        raise _empty(name)
    first, last = exchange_date(times_ms[0] * 1000), exchange_date(times_ms[-1] * 1000)
    if first != last:
        raise UsageError(f"{name}: holds {first} to {last}", next_step="a tape is one session: cut it by date")
    return first


def _empty(name: str) -> UsageError:
    return UsageError(f"{name}: an empty tape", next_step="give a file with at least one line of data")


def _date(candle: Candle) -> date:
    return exchange_date(candle.minute_us)
