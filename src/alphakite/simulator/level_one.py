"""The LEVELONE_EQUITIES state of one symbol, as the wire spells it.

In:   a SymbolTape, and times up to which it has been played.      Out:  field texts: an image, or what has changed.
Every print moves last price, last size, trade time and cumulative volume (3, 9, 35, 8). Only prints of the regular
session, and closing prints and official close reports up to five minutes after it, move 10, 11, 17, 29-31 and 36. At
07:28 the volume is 0 anew, and field 8 is sent whether or not it differs. Equal values are not sent, but a quote line
always sends its times (34, 37, 38). Without a quotes tape each print makes a quote: its price less 0.01 by its price
plus 0.01, 100 shares on each side, at its time.
Until the session's own trades, last price and times are those of the earlier session's last candle, where there is one.
Derived fields (net and percent changes, mark, venues, 52-week and post-market fields) change with what they derive
from, never alone. An index has no sizes, volume, venues or ask; $SPX has a bid and a quote time.
A later day begins with `begin`: what it resets (10, 11, 17 to 0, a new close) goes out with that day's first update.
Volume goes on until the reset, as Schwab's does.
"""

from __future__ import annotations

from bisect import bisect_left

from alphakite.model import PRICE_SCALE
from alphakite.sessions import Session, session_at
from alphakite.simulator.listing import OFF_EXCHANGE, VENUES, listing_of, static_fields
from alphakite.simulator.tape import SymbolTape

CLOSING_MS = 300_000
"""For so long after the close a closing print moves the regular-market fields."""
CENT = PRICE_SCALE // 100
MADE_SIZE = 100
LOT = 100
QUOTE_TIMES = (34, 37, 38)
VOLUME, STATUS = 8, 32
ALWAYS = 1 << 62
INDEX_FIELDS = frozenset({3, 10, 11, 12, 13, 15, 17, 18, 19, 20, 29, 31, 32, 33, 35, 36, 42, 43, 44, 45})
BID_INDEX = "$SPX"
"""The index that was seen with a bid and a quote time (capture of 2026-10)."""
BID_BELOW = 141 * CENT
_price_texts: dict[int, str] = {}
_LETTERS = [f'"{letter}"' for letter, _ in VENUES]
_MICS = [f'"{mic}"' for _, mic in VENUES]
_TRADE_VENUES = [(f'"{letter}"', f'"{mic}"') for venue in VENUES for letter, mic in (venue, OFF_EXCHANGE)]
_percent_texts: dict[tuple[int, int], str] = {}


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


def percent_text(change: int, base: int) -> str:
    """A change in percent, six decimals as captured; 0 for a base of 0."""
    text = _percent_texts.get((change, base))
    if text is None:
        text = f"{100 * change / base:.6f}".rstrip("0").rstrip(".") if base else "0"
        text = "0" if text == "-0" else text
        if len(_percent_texts) < 100_000:
            _percent_texts[change, base] = text
    return text


class LevelOne:
    """One symbol's fields through the time played so far; `changed` holds the numbers changed by the last `play`.

    `lots`: bid and ask sizes in round lots of 100. `cross_moves`: the closing cross moves field 36.
    """

    def __init__(self, tape: SymbolTape, session: Session, *, lots: bool = False, cross_moves: bool = True) -> None:
        self.symbol = tape.symbol
        self.lots = lots
        self.fields: dict[int, str] = static_fields(tape.symbol)
        self.changed: list[int] = []
        self._index = listing_of(tape.symbol).main_type == "INDEX"
        self._meta = listing_of(tape.symbol).meta
        self._cross_moves = cross_moves
        self._told = self.fields
        """The fields as of the last `play`: the same dict but between `begin` and the day's first update."""
        self._volume = 0
        self._last = self._regular_last = self._bid = self._ask = 0
        self._reset_done = self._index
        self._set_day(tape, session)
        self._put_yesterday()
        self._put_derived()
        self._leave_out()

    def begin(self, tape: SymbolTape, session: Session) -> None:
        """Another day: its resets are sent with its first update."""
        self.fields = dict(self.fields)
        self._set_day(tape, session)
        fields = self.fields
        fields[10] = fields[11] = fields[17] = "0"
        if self._previous_close:
            fields[12] = fields[29] = price_text(self._previous_close)
            self._regular_last = self._previous_close
            fields[31] = fields[43] = "0"
            last, self._last = self._last, 0
            self._put_last(last)
        self._put_derived()
        self._leave_out()

    def next_ms(self) -> int:
        """When something happens next; a far future if nothing does."""
        tape = self.tape
        prints, quotes = tape.prints.times_ms, tape.quotes
        soonest = ALWAYS if self._reset_done else self._reset_ms
        if self._next_print < len(prints):
            soonest = min(soonest, prints[self._next_print])
        if quotes is not None and self._next_quote < len(quotes.times_ms):
            soonest = min(soonest, quotes.times_ms[self._next_quote])
        if self._next_status < len(tape.statuses):
            soonest = min(soonest, tape.statuses[self._next_status][0])
        return soonest

    def play(self, until_ms: int) -> bool:
        """Take what happens before `until_ms` into the state. True if there is something to send."""
        self.changed = []
        if self.next_ms() >= until_ms:
            return False
        before = dict(self.fields) if self._told is self.fields else self._told
        self._told = self.fields
        forced: tuple[int, ...] = ()
        if not self._reset_done and self._reset_ms < until_ms:
            self._play_prints(self._reset_ms)
            self._volume, self._reset_done = 0, True
            self.fields[VOLUME], self.fields[STATUS] = "0", '"Normal"'
            forced = (VOLUME,)
        self._play_prints(until_ms)
        if self._play_quotes(until_ms):
            forced += QUOTE_TIMES
        if self.tape.statuses:
            self._play_statuses(until_ms)
        self._put_derived()
        if self._index:
            self._leave_out()
            forced = ()
        get = before.get
        changed = [number for number, text in self.fields.items() if get(number) is not text and get(number) != text]
        changed += [number for number in forced if number not in changed]
        changed.sort()
        self.changed = changed
        return bool(self.changed)

    def image(self, wanted: frozenset[int]) -> str:
        """The first item after a subscription: meta keys and every wanted field that has a value."""
        values = "".join(f',"{number}":{self.fields[number]}' for number in sorted(self.fields) if number in wanted)
        return f'{{"key":"{self.symbol}",{self._meta}{values}}}'

    def delta(self, wanted: frozenset[int]) -> str:
        """The key and the wanted fields that the last `play` changed; empty if there are none."""
        fields = self._told
        values = "".join([f',"{number}":{fields[number]}' for number in self.changed if number in wanted])
        return f'{{"key":"{self.symbol}"{values}}}' if values else ""

    def _set_day(self, tape: SymbolTape, session: Session) -> None:
        self.tape = tape
        self._reset_ms = session.volume_reset_us // 1000
        self._open_ms = session.regular_open_us // 1000
        self._close_ms = session.regular_close_us // 1000
        self._next_print = self._next_quote = self._next_status = 0
        self._reset_done = self._index
        self._open = self._high = self._low = self._after = 0
        self._mark = 0
        self._post_market: int | None = None
        self._previous_close = previous_close(tape)
        self.fields[STATUS] = '"Normal"' if self._index else '"Unknown"'
        self._put_year()

    def _play_prints(self, until_ms: int) -> None:
        prints = self.tape.prints
        times = prints.times_ms
        first = self._next_print
        behind = bisect_left(times, until_ms, first)
        if behind == first:
            return
        self._next_print = behind
        self._volume += sum(prints.sizes[first:behind])
        self.fields[VOLUME] = str(self._volume)
        last = behind - 1
        price, size, time_ms = prints.prices[last], prints.sizes[last], times[last]
        fields = self.fields
        fields[9], fields[35] = str(size), str(time_ms)
        self._put_last(price)
        fields[16], fields[41] = _TRADE_VENUES[(size + time_ms // 1000) % len(_TRADE_VENUES)]
        regular = self._open_ms <= time_ms < self._close_ms
        fields[28] = "true" if regular else "false"
        if self.tape.quotes is None:
            self._put_quote(max(0, price - CENT), MADE_SIZE, price + CENT, MADE_SIZE, time_ms)
        if self._open_ms <= time_ms and times[first] < self._close_ms + CLOSING_MS:
            self._play_regular(first, behind)
        if time_ms >= self._close_ms:
            self._after = price

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
        high, low = max(self._high, *prices), min(self._low, *prices)
        if high != self._high or low != self._low:
            self._high, self._low = high, low
            self._put_year()
        fields, price, last = self.fields, prices[-1], moved[-1]
        fields[17], fields[10], fields[11] = price_text(self._open), price_text(high), price_text(low)
        fields[29], fields[30] = price_text(price), str(prints.sizes[last])
        timed = moved if self._cross_moves else [index for index in moved if times[index] < self._close_ms]
        if timed:
            fields[36] = str(times[timed[-1]])
        self._regular_last = price
        if self._previous_close:
            change = price - self._previous_close
            fields[31], fields[43] = price_text(change), percent_text(change, self._previous_close)

    def _play_quotes(self, until_ms: int) -> bool:
        quotes = self.tape.quotes
        if quotes is None:
            return False
        behind = bisect_left(quotes.times_ms, until_ms, self._next_quote)
        if behind == self._next_quote:
            return False
        self._next_quote = behind
        last = behind - 1
        self._put_quote(
            quotes.bids[last], quotes.bid_sizes[last], quotes.asks[last], quotes.ask_sizes[last], quotes.times_ms[last]
        )
        return True

    def _play_statuses(self, until_ms: int) -> None:
        statuses = self.tape.statuses
        while self._next_status < len(statuses) and statuses[self._next_status][0] < until_ms:
            self.fields[STATUS] = f'"{statuses[self._next_status][1]}"'
            self._next_status += 1

    def _put_quote(self, bid: int, bid_size: int, ask: int, ask_size: int, time_ms: int) -> None:
        fields = self.fields
        if bid != self._bid or ask != self._ask or 7 not in fields:
            place, other = bid // CENT % len(VENUES), (ask // CENT * 5 + 3) % len(VENUES)
            fields[7], fields[40] = _LETTERS[place], _MICS[place]
            fields[6], fields[39] = _LETTERS[other], _MICS[other]
            self._bid, self._ask = bid, ask
            fields[1], fields[2] = price_text(bid), price_text(ask)
        if self.lots:
            bid_size, ask_size = bid_size // LOT, ask_size // LOT
        fields[4], fields[5] = str(bid_size), str(ask_size)
        fields[27] = "true" if self._open_ms <= time_ms < self._close_ms else "false"
        fields[34] = fields[37] = fields[38] = str(time_ms)

    def _put_last(self, price: int) -> None:
        """The last price of any session, and how far it is from the close."""
        if not price or price == self._last:
            return
        self._last = price
        fields = self.fields
        fields[3] = price_text(price)
        if self._previous_close:
            change = price - self._previous_close
            fields[18], fields[42] = price_text(change), percent_text(change, self._previous_close)

    def _put_derived(self) -> None:
        """Mark: the last price where it lies within bid and ask, else the nearer side; its changes; post-market."""
        mark, bid, ask = self._last, self._bid, self._ask
        if not mark:
            return
        if bid and ask and not bid <= mark <= ask:
            mark = sorted((bid, mark, ask))[1]
        if mark != self._mark:
            self._put_mark(mark)
        if self.symbol == BID_INDEX:
            # Each print has made a quote around itself, also one that leaves the mark where it was.
            self.fields[1] = price_text(self._last - BID_BELOW)
        after = self._after - self._regular_last if self._after and self._regular_last else 0
        if after != self._post_market:
            self._post_market = after
            self.fields[50], self.fields[51] = price_text(after), percent_text(after, self._regular_last)

    def _put_mark(self, mark: int) -> None:
        self._mark = mark
        fields, close = self.fields, self._previous_close
        fields[33] = price_text(mark)
        if close:
            fields[44], fields[45] = price_text(mark - close), percent_text(mark - close, close)

    def _put_year(self) -> None:
        """52-week high and low: beyond the earlier close by a fixed part, and the session's own extremes."""
        close = self._previous_close
        high = max(self._high, close * 109 // 100 // CENT * CENT if close else 0)
        low = min(self._low or high, close * 71 // 100 // CENT * CENT if close else high)
        if high:
            self.fields[19], self.fields[20] = price_text(high), price_text(low)

    def _put_yesterday(self) -> None:
        fields, history = self.fields, self.tape.history
        fields[VOLUME] = fields[10] = fields[11] = fields[17] = "0"
        fields[27] = fields[28] = "false"
        if not history:
            return
        newest = history[-1]
        self._put_last(newest.close)
        fields[35] = str(newest.minute_us // 1000 + 59_999)
        if self._previous_close:
            self._regular_last = self._previous_close
            fields[12] = fields[29] = price_text(self._previous_close)
            fields[31] = fields[43] = "0"
            fields[36] = str(_close_ms(self.tape))

    def _leave_out(self) -> None:
        """An index has only these."""
        if not self._index:
            return
        fields = self.fields
        kept = {1, 34} if self.symbol == BID_INDEX else set[int]()
        for number in [number for number in fields if number not in INDEX_FIELDS and number not in kept]:
            del fields[number]


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
