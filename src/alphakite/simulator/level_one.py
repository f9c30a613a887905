"""The LEVELONE_EQUITIES state of one symbol, as the wire spells it.

In:   a SymbolTape, and times up to which it has been played.      Out:  field texts: an image, or what has changed.
Every print moves last price, last size, trade time and cumulative volume (3, 9, 35, 8). Only prints of the regular
session, and closing prints and official close reports up to five minutes after it, move 10, 11, 17, 29-31 and 36. At
07:28 the volume is 0 anew, and field 8 is sent whether or not it differs. Equal values are not sent, but a quote line
always sends its times (34, 37, 38). Without a quotes tape each print makes a quote: its price less 0.01 by its price
plus 0.01, 100 shares on each side, at its time.
Until the session's own trades, last price and times are those of the earlier session's last candle, where there is one.
"""

from __future__ import annotations

import json
from bisect import bisect_left

from alphakite.model import PRICE_SCALE
from alphakite.sessions import Session, session_at
from alphakite.simulator.tape import SymbolTape

CLOSING_MS = 300_000
"""For so long after the close a closing print moves the regular-market fields."""
CENT = PRICE_SCALE // 100
MADE_SIZE = 100
META = '"delayed":false,"assetMainType":"EQUITY","assetSubType":"ETF","cusip":"46090E103"'
QUOTE_TIMES = (34, 37, 38)
VOLUME = 8
ALWAYS = 1 << 62
_price_texts: dict[int, str] = {}


def price_text(price: int) -> str:
    """A price × PRICE_SCALE as the streamer prints a double: no trailing zeros, 235 and not 235.0."""
    text = _price_texts.get(price)
    if text is None:
        sign, whole = ("-", -price) if price < 0 else ("", price)
        units, rest = divmod(whole, PRICE_SCALE)
        text = f"{sign}{units}.{rest:08d}".rstrip("0").rstrip(".")
        if len(_price_texts) < 100_000:
            _price_texts[price] = text
    return text


class LevelOne:
    """One symbol's fields through the time played so far; `changed` holds the numbers changed by the last `play`."""

    def __init__(self, tape: SymbolTape, session: Session) -> None:
        self.symbol = tape.symbol
        self.tape = tape
        self.fields: dict[int, str] = _static_fields(tape.symbol)
        self.changed: list[int] = []
        self._reset_ms = session.volume_reset_us // 1000
        self._open_ms = session.regular_open_us // 1000
        self._close_ms = session.regular_close_us // 1000
        self._next_print = 0
        self._next_quote = 0
        self._reset_done = False
        self._volume = 0
        self._open = self._high = self._low = 0
        self._previous_close = previous_close(tape)
        self._put_yesterday()

    def next_ms(self) -> int:
        """When something happens next; a far future if nothing does."""
        tape = self.tape
        prints, quotes = tape.prints.times_ms, tape.quotes
        soonest = ALWAYS if self._reset_done else self._reset_ms
        if self._next_print < len(prints):
            soonest = min(soonest, prints[self._next_print])
        if quotes is not None and self._next_quote < len(quotes.times_ms):
            soonest = min(soonest, quotes.times_ms[self._next_quote])
        return soonest

    def play(self, until_ms: int) -> bool:
        """Take what happens before `until_ms` into the state. True if there is something to send."""
        self.changed = []
        if self.next_ms() >= until_ms:
            return False
        before = dict(self.fields)
        forced: set[int] = set()
        if not self._reset_done and self._reset_ms < until_ms:
            self._play_prints(self._reset_ms)
            self._volume, self._reset_done = 0, True
            forced.add(VOLUME)
        self._play_prints(until_ms)
        if self._play_quotes(until_ms):
            forced.update(QUOTE_TIMES)
        self.fields[VOLUME] = str(self._volume)
        self._put_mark()
        self.changed = sorted(
            number for number, text in self.fields.items() if number in forced or before.get(number) != text
        )
        return bool(self.changed)

    def image(self, wanted: frozenset[int]) -> str:
        """The first item after a subscription: meta keys and every wanted field that has a value."""
        values = "".join(f',"{number}":{self.fields[number]}' for number in sorted(self.fields) if number in wanted)
        return f'{{"key":"{self.symbol}",{META}{values}}}'

    def delta(self, wanted: frozenset[int]) -> str:
        """The key and the wanted fields that the last `play` changed; empty if there are none."""
        values = "".join([f',"{number}":{self.fields[number]}' for number in self.changed if number in wanted])
        return f'{{"key":"{self.symbol}"{values}}}' if values else ""

    def _play_prints(self, until_ms: int) -> None:
        prints = self.tape.prints
        times = prints.times_ms
        first = self._next_print
        behind = bisect_left(times, until_ms, first)
        if behind == first:
            return
        self._next_print = behind
        self._volume += sum(prints.sizes[first:behind])
        last = behind - 1
        price, size, time_ms = prints.prices[last], prints.sizes[last], times[last]
        fields = self.fields
        fields[3], fields[9], fields[35] = price_text(price), str(size), str(time_ms)
        if self._previous_close:
            fields[18] = price_text(price - self._previous_close)
        if self.tape.quotes is None:
            fields[1], fields[2] = price_text(max(0, price - CENT)), price_text(price + CENT)
            fields[4] = fields[5] = str(MADE_SIZE)
            for number in QUOTE_TIMES:
                fields[number] = str(time_ms)
        if self._open_ms <= time_ms and times[first] < self._close_ms + CLOSING_MS:
            self._play_regular(first, behind)

    def _play_regular(self, first: int, behind: int) -> None:
        prints = self.tape.prints
        times, closing = prints.times_ms, prints.closing
        end_ms = self._close_ms + CLOSING_MS
        moved = [
            index
            for index in range(first, behind)
            if self._open_ms <= times[index] < self._close_ms
            or (closing[index] and self._close_ms <= times[index] < end_ms)
        ]
        if not moved:
            return
        prices = [prints.prices[index] for index in moved]
        if not self._open:
            self._open = self._high = self._low = prices[0]
        self._high, self._low = max(self._high, *prices), min(self._low, *prices)
        fields, price, last = self.fields, prices[-1], moved[-1]
        fields[17], fields[10], fields[11] = price_text(self._open), price_text(self._high), price_text(self._low)
        fields[29], fields[30], fields[36] = price_text(price), str(prints.sizes[last]), str(times[last])
        if self._previous_close:
            fields[31] = price_text(price - self._previous_close)

    def _play_quotes(self, until_ms: int) -> bool:
        quotes = self.tape.quotes
        if quotes is None:
            return False
        behind = bisect_left(quotes.times_ms, until_ms, self._next_quote)
        if behind == self._next_quote:
            return False
        self._next_quote = behind
        last = behind - 1
        fields = self.fields
        fields[1], fields[4] = price_text(quotes.bids[last]), str(quotes.bid_sizes[last])
        fields[2], fields[5] = price_text(quotes.asks[last]), str(quotes.ask_sizes[last])
        for number in QUOTE_TIMES:
            fields[number] = str(quotes.times_ms[last])
        return True

    def _put_mark(self) -> None:
        """The last price where it lies within bid and ask, else the nearer side."""
        fields = self.fields
        last = fields.get(3)
        if last is None:
            return
        bid, ask = fields.get(1, "0"), fields.get(2, "0")
        mark = last
        if bid != "0" and ask != "0":
            mark = sorted((bid, last, ask), key=float)[1]
        fields[33] = mark

    def _put_yesterday(self) -> None:
        fields, history = self.fields, self.tape.history
        fields[VOLUME] = fields[10] = fields[11] = fields[17] = "0"
        if not history:
            return
        newest = history[-1]
        fields[3] = fields[33] = price_text(newest.close)
        fields[35] = str(newest.minute_us // 1000 + 59_999)
        if self._previous_close:
            fields[12] = fields[29] = price_text(self._previous_close)
            fields[18] = price_text(newest.close - self._previous_close)
            fields[31] = "0"
            fields[36] = str(_close_ms(self.tape))


def previous_close(tape: SymbolTape) -> int | None:
    """The last regular-session close before the played date, × PRICE_SCALE."""
    for candle in reversed(tape.history):
        session = session_at(candle.minute_us)
        if session is not None and session.regular_open_us <= candle.minute_us < session.regular_close_us:
            return candle.close
    return None


def _close_ms(tape: SymbolTape) -> int:
    session = session_at(tape.history[-1].minute_us)
    return session.regular_close_us // 1000 if session is not None else tape.history[-1].minute_us // 1000


def _static_fields(symbol: str) -> dict[int, str]:
    texts: dict[int, str | int | bool] = {
        6: "P",
        7: "Q",
        13: "Q",
        14: True,
        15: f"{symbol} TRUST SRS 1 ETF",
        16: "D",
        22: 0,
        23: 0,
        24: 0,
        25: "NASDAQ",
        26: "2013-09-20 00:00:00.0",
        27: True,
        28: True,
        32: "Normal",
    }
    return {number: json.dumps(value) for number, value in texts.items()}
