"""The market as far as it has been played: all symbols' states, their minute bars, options, and what a window sends.

In:   a Programme, and times up to which it is played.      Out:  frames' items; completed candles; option quotes.
Options are those of the tapes, else the model's; after a session they stand still until 03:30 of the next one's day.
An underlying of a tape of options has a close before, so that a chain has its middle; without earlier bars a made one.
Knows no socket and no clock: `position_ms` only moves when `play` is called. When a session of several is over, the
next one is made at once and becomes `session`; the night between them passes with nothing to send.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from alphakite.model import Candle
from alphakite.sessions import Session
from alphakite.simulator import option_wire
from alphakite.simulator.conflation import Told
from alphakite.simulator.contracts import Contract, OptionQuote
from alphakite.simulator.days import charted
from alphakite.simulator.level_one import LevelOne, previous_close, price_text
from alphakite.simulator.option_book import OptionBook
from alphakite.simulator.option_state import Spots, TapeQuote, spots_of
from alphakite.simulator.option_tape_book import TapeBook, reference_of
from alphakite.simulator.programme import Programme
from alphakite.simulator.synthetic import is_index

MINUTE_MS = 60_000
BEFORE_OPEN_MS = 1_800_000
"""Options begin their day at 03:30, when their volume is reset; equities at 04:00."""


class Market:
    """`position_ms`: everything before it has been played, nothing at or after it."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self._days = programme.days()
        self._day = next(self._days)
        lots = programme.switches.get("sizes") == "lots"
        moves = programme.switches.get("cross-trade-time") != "still"
        self.symbols = {
            symbol: LevelOne(tape, self._day.session, lots=lots, cross_moves=moves)
            for symbol, tape in self._day.tapes.items()
        }
        for symbol, options in self._day.options.items():
            tape = self._day.tapes[symbol]
            if previous_close(tape) is None and (reference := reference_of(options, tape)):
                self.symbols[symbol].fields[12] = price_text(reference)
        self.history: dict[str, list[Candle]] = {}
        self.previous_close: dict[str, int | None] = {}
        self._today: dict[str, list[Candle]] = {}
        self._today_ends: dict[str, list[int]] = {}
        self._bars: dict[str, list[Candle]] = {}
        """Those of CHART_EQUITY, the day before included: its last bar goes out when the next day has begun."""
        self._ends: dict[str, list[int]] = {}
        self.position_ms = 0
        self._take_day()
        self._open_book([])
        self.moved: list[LevelOne] = []
        self.play(programme.start_ms)

    @property
    def session(self) -> Session:
        """The session being played; between two of them the later one."""
        return self._day.session

    def window_end_ms(self) -> int:
        """Where the window that begins at the position ends; never beyond the programme's end."""
        phase_ms, second = self.programme.phase_ms, self.position_ms // 1000 * 1000
        end_ms = second + phase_ms
        return min(end_ms if end_ms > self.position_ms else end_ms + 1000, self.programme.end_ms)

    def play(self, until_ms: int) -> None:
        """Play on; `moved` then holds the symbols with something to send."""
        self.moved = [symbol for symbol in self.symbols.values() if symbol.play(until_ms)]
        while until_ms >= self._day.end_ms and self._roll():
            if until_ms > self._day.start_ms:
                self.moved = [symbol for symbol in self.symbols.values() if symbol.play(until_ms)]
        self.position_ms = max(self.position_ms, until_ms)
        if self.position_ms > self._book_ms and self._book_day is not self._day:
            self._open_book(self._book.asked_for())

    # ── bars ────────────────────────────────────────────────────────────────────────────────────────────────

    def bars_between(self, symbol: str, after_ms: int, until_ms: int) -> list[Candle]:
        """Minute bars that ended in (after_ms, until_ms], of the played day and the one before it."""
        ends = self._ends[symbol]
        return self._bars[symbol][bisect_right(ends, after_ms) : bisect_right(ends, until_ms)]

    def last_bar(self, symbol: str) -> Candle | None:
        """The newest published bar, of an earlier session if this one has none yet; None: an index has no chart."""
        if is_index(symbol):
            return None
        completed = self._completed(symbol) or self.history[symbol]
        return completed[-1] if completed else None

    def candles(self, symbol: str) -> list[Candle]:
        """What price history holds now: earlier sessions and the played date's completed minutes."""
        return self.history[symbol] + self._completed(symbol)

    def next_ms(self) -> int:
        """When something happens next in any symbol, a bar's end included."""
        soonest = min(symbol.next_ms() for symbol in self.symbols.values())
        soonest = min(soonest, self._book.next_ms(self.position_ms))
        if self._book_day is not self._day and self._book.asked_for():
            soonest = min(soonest, self._book_ms)
        for ends in self._ends.values():
            place = bisect_left(ends, self.position_ms + 1)
            if place < len(ends):
                # Sent with the window that holds the bar's last second.
                soonest = min(soonest, ends[place] - 1)
        return soonest

    # ── options ─────────────────────────────────────────────────────────────────────────────────────────────

    def chain(self, underlying: str) -> list[Contract]:
        """Every contract around a symbol on the played date, by expiry, root, strike, right; [] if there are none."""
        return self._book.chain(underlying)

    def contract(self, symbol: str) -> Contract | None:
        """The contract of a 21-character symbol, None if it is not in a chain of the played date."""
        return self._book.contract(symbol)

    def option_quote(self, contract: Contract) -> OptionQuote:
        """What is quoted at the position. Do not change it: the same object is given until something moves."""
        return self._book.quote(contract, self.position_ms)

    def option_texts(self, contract: Contract) -> tuple[str, dict[int, str]]:
        """Meta keys, and every field 1 to 55 as the streamer spells it. The same dict until something moves."""
        return option_wire.META, self.option_told(contract).texts

    def option_told(self, contract: Contract) -> Told:
        """The texts, for how long they hold, and what they changed."""
        known = self.options_told.get(contract.symbol)
        if known is not None and self.position_ms <= known.until_ms:
            return known
        quote, _, until_ms = self._book.quoted(contract, self.position_ms)
        if known is None or isinstance(quote, TapeQuote):
            if known is not None and known.quote is quote:
                told = known._replace(until_ms=until_ms)
            else:
                texts = option_wire.option_fields(contract, quote, self._book_day.session.date)
                told = Told(quote, texts, until_ms)
        else:
            texts, changed = option_wire.moved_fields(contract, known.quote, quote, known.texts)
            told = Told(quote, texts, until_ms, known.texts, changed)
        self.options_told[contract.symbol] = told
        return told

    # ── days ────────────────────────────────────────────────────────────────────────────────────────────────

    def _roll(self) -> bool:
        """Go to the next session. False if there is none."""
        day = next(self._days, None)
        if day is None:
            return False
        self._day = day
        for symbol, tape in day.tapes.items():
            self.symbols[symbol].begin(tape, day.session)
        self._take_day()
        return True

    def _take_day(self) -> None:
        day = self._day
        self._book_ms = day.session.extended_open_us // 1000 - BEFORE_OPEN_MS
        self._spots: dict[str, Spots] = {}
        for symbol, tape in day.tapes.items():
            self.history[symbol] = charted(symbol, tape.history)
            self.previous_close[symbol] = previous_close(tape)
            yesterday = self._today.get(symbol, [])
            today = self._today[symbol] = charted(symbol, tape.minutes())
            self._today_ends[symbol] = [_end_ms(candle) for candle in today]
            self._bars[symbol] = [] if is_index(symbol) else yesterday + today
            self._ends[symbol] = [_end_ms(candle) for candle in self._bars[symbol]]
            self._spots[symbol] = spots_of(tape)

    def _open_book(self, kept: list[Contract]) -> None:
        """The options of the day; `kept`: contracts of the day before that stay known."""
        day = self._book_day = self._day
        model = OptionBook(self.programme.seed, day.session, self._spots, kept)
        self._book: OptionBook | TapeBook = TapeBook(day.options, self._spots, model) if day.options else model
        self.options_told: dict[str, Told] = {}
        """By symbol, what has been asked for."""

    def _completed(self, symbol: str) -> list[Candle]:
        return self._today[symbol][: bisect_right(self._today_ends[symbol], self.position_ms)]


def _end_ms(candle: Candle) -> int:
    return candle.minute_us // 1000 + MINUTE_MS
