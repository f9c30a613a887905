"""A short script of records for an engine, as the recorder would journal them: wall times in New York, many tickers."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from typing import Self

from alphakite.derive.engine import Engine
from alphakite.derive.moment import DeriveSettings
from alphakite.derive.rows import Rows
from alphakite.model import (
    FLAG_NAMES,
    INDICATOR_SCALE,
    OPTION_FLAG_NAMES,
    PRICE_SCALE,
    Candle,
    ChainContract,
    EquityUpdate,
    OptionRow,
    OptionUpdate,
)
from alphakite.sessions import EXCHANGE

DAY = date(2026, 11, 20)
"""A Friday without anything special; Monday the 23rd is one, too."""
TIMES = {"trade": "trade_time_ms", "quote": "quote_time_ms", "regular": "regular_trade_time_ms"}


class Script:
    """Feeds an engine and keeps what it makes. Times: `10:00:00.5` on `day`, or `2026-11-23 10:00:00.5`, in `zone`."""

    def __init__(self, *tickers: str, day: date = DAY, zone: tzinfo = EXCHANGE, **derive: object) -> None:
        self.engine = Engine(7)
        self.rows = Rows()
        self.seq = 0
        self.conn = 0
        self.day = day
        self.zone = zone
        self.derive = derive
        self.tickers = tickers or ("QQQ",)

    def us(self, clock: str) -> int:
        """Microseconds of a wall time."""
        text = clock if " " in clock else f"{self.day} {clock}"
        return round(datetime.fromisoformat(text).replace(tzinfo=self.zone).timestamp() * 1000) * 1000

    def clock(self, us: int) -> str:
        """A time as scripts write it."""
        moment = datetime.fromtimestamp(us / 1e6, self.zone)
        text = f"{moment:%H:%M:%S}" + (f".{moment.microsecond // 1000:03}".rstrip("0") if moment.microsecond else "")
        return text if moment.date() == self.day else f"{moment.date()} {text}"

    # ── records ─────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, clock: str) -> Self:
        """A process begins to write."""
        self.engine.started(self.us(clock))
        return self._done().config(clock, *self.tickers)

    def config(self, clock: str, *tickers: str) -> Self:
        """The settings, with these tickers."""
        self.tickers = tickers
        self.engine.configure(self.us(clock), DeriveSettings(tickers, **self.derive))  # type: ignore[arg-type]
        return self._done()

    def connect(self, clock: str = "") -> Self:
        """A connection begins; with a time it is a record."""
        self.conn += 1
        if clock:
            self.engine.connecting(self.us(clock))
            self._done()
        return self

    def down(self, clock: str, reason: str = "socket_down") -> Self:
        """It is gone."""
        self.engine.lost(self.us(clock), reason)
        return self._done()

    def waiting(self, clock: str, reason: str) -> Self:
        """Why it stays so."""
        self.engine.explain(self.us(clock), reason)
        return self._done()

    def beat(self, clock: str) -> Self:
        """A heartbeat."""
        self.engine.frame(self.seq + 1, self.us(clock), self.conn, [], 0)
        return self._done()

    def send(self, clock: str, key: str = "QQQ", **fields: object) -> Self:
        """One message; `trade`, `quote`, `regular` are wall times, `last` alone trades at this time."""
        self.engine.frame(self.seq + 1, self.us(clock), self.conn, [self._update(clock, key, fields)], 0)
        return self._done()

    def watch(self, clock: str, *symbols: str, ticker: str = "QQQ") -> Self:
        """The contracts that are wanted from here on."""
        self.engine.want_options(self.us(clock), {ticker: symbols})
        return self._done()

    def option(self, clock: str, key: str, **fields: object) -> Self:
        """One message of a contract; `quote` and `trade` are wall times."""
        named = {
            TIMES.get(n, n): self.us(v) // 1000 if n in TIMES and isinstance(v, str) else v for n, v in fields.items()
        }
        update = OptionUpdate(key, **named)  # type: ignore[arg-type]
        self.engine.frame(self.seq + 1, self.us(clock), self.conn, [], 0, [update])
        return self._done()

    def chain(self, clock: str, *contracts: ChainContract, ticker: str = "QQQ") -> Self:
        """An answer that defines contracts."""
        self.engine.define_options(self.us(clock), ticker, contracts)
        return self._done()

    def poll(self, clock: str, key: str = "QQQ", **fields: object) -> Self:
        """An answer to a question for quotes."""
        self.engine.polled(self.seq + 1, self.us(clock), [self._update(clock, key, fields)])
        return self._done()

    def history(self, clock: str, candles: list[Candle], key: str = "QQQ") -> Self:
        """Price history has come."""
        self.engine.history(self.us(clock), key, candles)
        return self._done()

    def candle(self, clock: str, price: float, volume: int = 100) -> Candle:
        """A minute at one price."""
        scaled = round(price * PRICE_SCALE)
        return Candle(self.us(clock), scaled, scaled, scaled, scaled, volume)

    def _update(self, clock: str, key: str, fields: dict[str, object]) -> EquityUpdate:
        if "last" in fields:
            fields = {"trade": clock} | fields
        named = {
            TIMES.get(name, name): self.us(value) // 1000 if name in TIMES and isinstance(value, str) else value
            for name, value in fields.items()
            if value is not None
        }
        return EquityUpdate(key, **named)  # type: ignore[arg-type]

    def _done(self) -> Self:
        self.seq += 1
        self.engine.done(self.seq)
        made = self.engine.take()
        self.rows.equity += made.equity
        self.rows.indicators += made.indicators
        self.rows.gaps += made.gaps
        self.rows.events += made.events
        self.rows.options += made.options
        self.rows.images += made.images
        self.rows.contracts += made.contracts
        counts = self.engine.counts
        known = counts.stored + counts.conflated + counts.images + counts.outside + self.engine.waiting
        assert counts.updates == known, "an update is unaccounted for"
        return self

    # ── what was made ───────────────────────────────────────────────────────────────────────────────────────

    def quotes(self, key: str = "QQQ") -> list[tuple[str, float | None, int | None, str]]:
        """Time, price, volume and flags of each row of equity_data."""
        return [
            (self.clock(row.timestamp_us), _dollars(row.price, PRICE_SCALE), row.volume, flags(row.flags))
            for row in self.rows.equity
            if row.ticker == key
        ]

    def option_rows(self, key: str) -> list[OptionRow]:
        """The rows of a contract in option_prices."""
        return [row for row in self.rows.options if row.symbol == key]

    def option_quotes(self, key: str) -> list[tuple[str, float | None, float | None, int | None, int | None, str]]:
        """Time, bid, ask, volume, day's volume and flags of each row of a contract."""
        return [
            (
                self.clock(row.timestamp_us),
                _dollars(row.bid, PRICE_SCALE),
                _dollars(row.ask, PRICE_SCALE),
                row.volume,
                row.day_volume,
                option_flags(row.flags),
            )
            for row in self.option_rows(key)
        ]

    def values(self, key: str = "QQQ") -> list[tuple[str, float | None, float | None, str]]:
        """Time, SMA9, VWAP and flags of each row of indicators."""
        return [
            (
                self.clock(row.timestamp_us),
                _dollars(row.sma9, INDICATOR_SCALE),
                _dollars(row.vwap, INDICATOR_SCALE),
                flags(row.flags),
            )
            for row in self.rows.indicators
            if row.ticker == key
        ]

    def gaps(self, key: str = "QQQ") -> list[tuple[str, str | None, str, int | None]]:
        """Start, end, reason and volume of each gap, in its newest state."""
        newest = {gap.start_us: gap for gap in self.rows.gaps if gap.ticker == key}
        return [
            (self.clock(start), self.clock(gap.end_us) if gap.end_us is not None else None, gap.reason, gap.volume)
            for start, gap in sorted(newest.items())
        ]

    def events(self, key: str = "QQQ") -> list[tuple[str, str, str]]:
        """Time, kind and detail of each quality event."""
        return [(self.clock(e.timestamp_us), e.kind, e.detail) for e in self.rows.events if e.ticker == key]

    def total(self, key: str = "QQQ") -> int:
        """Volume of all rows and gaps."""
        return sum(row[2] or 0 for row in self.quotes(key)) + sum(gap[3] or 0 for gap in self.gaps(key))


def flags(bits: int) -> str:
    """The words of a row's flags."""
    return ",".join(name for flag, name in FLAG_NAMES.items() if bits & flag)


def option_flags(bits: int) -> str:
    """The words of the flags of an option's row."""
    return ",".join(name for flag, name in OPTION_FLAG_NAMES.items() if bits & flag)


def _dollars(value: int | None, scale: int) -> float | None:
    return None if value is None else value / scale
