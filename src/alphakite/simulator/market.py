"""The market as far as it has been played: all symbols' states, their minute bars, and what a window sends.

In:   a Programme, and times up to which it is played.      Out:  frames' items; candles completed so far.
Knows no socket and no clock: `position_ms` only moves when `play` is called.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from alphakite.model import Candle
from alphakite.simulator.level_one import LevelOne, previous_close
from alphakite.simulator.programme import Programme
from alphakite.simulator.tape import candles_of
from alphakite.simulator.wire import is_charted

MINUTE_MS = 60_000


class Market:
    """`position_ms`: everything before it has been played, nothing at or after it."""

    def __init__(self, programme: Programme) -> None:
        self.programme = programme
        self.symbols = {symbol: LevelOne(tape, programme.session) for symbol, tape in programme.tapes.items()}
        self.history = {symbol: [c for c in tape.history if is_charted(c)] for symbol, tape in programme.tapes.items()}
        self.previous_close = {symbol: previous_close(tape) for symbol, tape in programme.tapes.items()}
        self._today = {
            symbol: [c for c in candles_of(tape.prints) if is_charted(c)] for symbol, tape in programme.tapes.items()
        }
        self._ends = {symbol: [c.minute_us // 1000 + MINUTE_MS for c in today] for symbol, today in self._today.items()}
        self.position_ms = 0
        self.moved: list[LevelOne] = []
        self.play(programme.start_ms)

    def window_end_ms(self) -> int:
        """Where the window that begins at the position ends; never beyond the programme's end."""
        phase_ms, second = self.programme.phase_ms, self.position_ms // 1000 * 1000
        end_ms = second + phase_ms
        return min(end_ms if end_ms > self.position_ms else end_ms + 1000, self.programme.end_ms)

    def play(self, until_ms: int) -> None:
        """Play on; `moved` then holds the symbols with something to send."""
        self.moved = [symbol for symbol in self.symbols.values() if symbol.play(until_ms)]
        self.position_ms = max(self.position_ms, until_ms)

    def bars_between(self, symbol: str, after_ms: int, until_ms: int) -> list[Candle]:
        """The played date's minute bars that ended in (after_ms, until_ms]."""
        ends = self._ends[symbol]
        return self._today[symbol][bisect_right(ends, after_ms) : bisect_right(ends, until_ms)]

    def last_bar(self, symbol: str) -> Candle | None:
        """The newest published bar, of an earlier session if this one has none yet."""
        completed = self.bars_between(symbol, 0, self.position_ms) or self.history[symbol]
        return completed[-1] if completed else None

    def candles(self, symbol: str) -> list[Candle]:
        """What price history holds now: earlier sessions and the played date's completed minutes."""
        return self.history[symbol] + self.bars_between(symbol, 0, self.position_ms)

    def next_ms(self) -> int:
        """When something happens next in any symbol, a bar's end included."""
        soonest = min(symbol.next_ms() for symbol in self.symbols.values())
        for ends in self._ends.values():
            place = bisect_left(ends, self.position_ms + 1)
            if place < len(ends):
                # Sent with the window that holds the bar's last second.
                soonest = min(soonest, ends[place] - 1)
        return soonest
