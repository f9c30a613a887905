"""The rows that derivation makes and sinks store, and the batch that carries them.

Units, said once:
    *_us      microseconds since 1970-01-01 UTC (int)
    price     US dollars (index points for an index) × PRICE_SCALE, exact (int)
    sma9,vwap US dollars × INDICATOR_SCALE, rounded half to even (int)
    volume    shares (contracts for options)
    greeks    a vendor's and ours × PRICE_SCALE, implied volatility as a fraction × IV_SCALE
    None      absent: not known, never sent, not defined here; never zero
    flags     a bit set of Flag, of OptionFlag in rows of options; 0 = clean
"""

from __future__ import annotations

import enum
from datetime import date

import msgspec

PRICE_SCALE = 100_000_000
"""Prices are integers of 1e-8 dollars: exact for every price with up to eight decimals."""
INDICATOR_SCALE = 1_000_000
"""Indicator values are integers of 1e-6 dollars."""
IV_SCALE = 10_000_000_000
"""Implied volatilities are integers of 1e-10: exact for every percentage with up to eight decimals."""


class Flag(enum.IntFlag):
    """What a reader must know about a stored row. `FLAG_NAMES` gives the spelling in SQL and exports."""

    GAP = 1
    """equity_data: the row's second overlaps a gap, so that its volume is NULL."""
    SMA9_GAP = 2
    """indicators: a bar that a gap touched is in the window of sma9, or a hole lies inside it."""
    VWAP_GAP = 4
    """indicators: a gap touched this session before, so that vwap counts its span at one price."""
    SMA9_SEEDED = 8
    """indicators: the window of sma9 holds bars from Schwab's price history."""
    VWAP_SEEDED = 16
    """indicators: vwap begins with minute candles from Schwab's price history."""
    VOLUME_FELL = 32
    """equity_data: the cumulative volume fell outside the reset time and was based anew."""
    NO_VOLUME_BASE = 64
    """equity_data: no earlier cumulative volume is known to count from, so that volume is NULL."""
    POLLED = 128
    """equity_data: the price comes from asking Schwab's REST, not from the stream."""
    CUSTOM_GAP = 256
    """indicator_values: a gap touched this session before, so that a bar is missing or only a part."""
    CUSTOM_SEEDED = 512
    """indicator_values: bars of this session, or the last ones before it, come from Schwab's price history."""
    CUSTOM_FAULT = 1024
    """indicator_values: the indicator failed in this session; a bar that it failed on is missing in its values."""


FLAG_NAMES: dict[int, str] = {
    Flag.GAP: "gap",
    Flag.SMA9_GAP: "gap:sma9",
    Flag.VWAP_GAP: "gap:vwap",
    Flag.SMA9_SEEDED: "seeded:sma9",
    Flag.VWAP_SEEDED: "seeded:vwap",
    Flag.VOLUME_FELL: "volume_fell",
    Flag.NO_VOLUME_BASE: "no_volume_base",
    Flag.POLLED: "polled",
    Flag.CUSTOM_GAP: "gap:custom",
    Flag.CUSTOM_SEEDED: "seeded:custom",
    Flag.CUSTOM_FAULT: "fault:custom",
}


class OptionFlag(enum.IntFlag):
    """What a reader must know about a row of an option. `OPTION_FLAG_NAMES` gives the spelling in SQL and exports."""

    GAP = 1
    """The row's second overlaps a gap, so that its volume is NULL."""
    CROSSED = 2
    """The bid is above the ask."""
    BELOW_INTRINSIC = 4
    """The ask is below what exercise is worth, by more than the forward's half-width and what it may have moved."""
    ABOVE_MAXIMUM = 8
    """The bid is above what the contract can be worth: a call's underlying, a put's strike."""
    PARITY = 16
    """Call and put of the strike contradict the chain's forward by more than their spreads."""
    VOLUME_FELL = 32
    NO_VOLUME_BASE = 64
    """As in Flag."""
    FROZEN = 128
    """The quote's own time stands still for a minute of trading hours while other values move."""
    NO_QUOTE = 256
    """The feed says that there is no bid or no ask."""
    NO_IV = 512
    """The feed says that it has no implied volatility."""
    NO_GREEKS = 1024
    """The feed says that it has no value for a greek."""
    SPOT = 2048
    """No pair of quotes gives a forward: the model values stand on the underlying's price."""


OPTION_FLAG_NAMES: dict[int, str] = {
    OptionFlag.GAP: "gap",
    OptionFlag.CROSSED: "crossed",
    OptionFlag.BELOW_INTRINSIC: "below_intrinsic",
    OptionFlag.ABOVE_MAXIMUM: "above_maximum",
    OptionFlag.PARITY: "parity",
    OptionFlag.VOLUME_FELL: "volume_fell",
    OptionFlag.NO_VOLUME_BASE: "no_volume_base",
    OptionFlag.FROZEN: "frozen",
    OptionFlag.NO_QUOTE: "absent:quote",
    OptionFlag.NO_IV: "absent:iv",
    OptionFlag.NO_GREEKS: "absent:greeks",
    OptionFlag.SPOT: "model:spot",
}


class EquityUpdate(msgspec.Struct, gc=False):
    """The changed fields of one equity in one message, as a feed decodes them, in the feed's own units.

    UNSET: not in this message. None: the feed says it has no value. Prices in dollars, sizes and volume (cumulative)
    in shares, times in epoch milliseconds; `regular_trade_time_ms` is the last regular-session trade's.
    """

    key: str
    bid: float | msgspec.UnsetType | None = msgspec.UNSET
    ask: float | msgspec.UnsetType | None = msgspec.UNSET
    last: float | msgspec.UnsetType | None = msgspec.UNSET
    bid_size: int | msgspec.UnsetType | None = msgspec.UNSET
    ask_size: int | msgspec.UnsetType | None = msgspec.UNSET
    volume: int | msgspec.UnsetType | None = msgspec.UNSET
    last_size: int | msgspec.UnsetType | None = msgspec.UNSET
    quote_time_ms: int | msgspec.UnsetType | None = msgspec.UNSET
    trade_time_ms: int | msgspec.UnsetType | None = msgspec.UNSET
    regular_trade_time_ms: int | msgspec.UnsetType | None = msgspec.UNSET
    security_status: str | msgspec.UnsetType | None = msgspec.UNSET
    """Normal, Halted, Closed, Unknown, as the feed spells them."""


class OptionUpdate(msgspec.Struct, gc=False):
    """The changed fields of one option contract in one message, in the feed's own units; UNSET and None as above.

    Prices in dollars a share, sizes, volume (cumulative) and open interest in contracts, implied volatility in percent
    points, theta a day, vega a volatility point, times in epoch milliseconds. `contract_type`: C, P. `settlement_type`:
    P, A. `exercise_type`: A, E.
    """

    key: str
    bid: float | msgspec.UnsetType | None = msgspec.UNSET
    """0 is a value: nobody bids."""
    ask: float | msgspec.UnsetType | None = msgspec.UNSET
    last: float | msgspec.UnsetType | None = msgspec.UNSET
    volume: int | msgspec.UnsetType | None = msgspec.UNSET
    open_interest: int | msgspec.UnsetType | None = msgspec.UNSET
    implied_volatility_percent: float | msgspec.UnsetType | None = msgspec.UNSET
    expiration_year: int | msgspec.UnsetType | None = msgspec.UNSET
    multiplier: int | msgspec.UnsetType | None = msgspec.UNSET
    bid_size: int | msgspec.UnsetType | None = msgspec.UNSET
    ask_size: int | msgspec.UnsetType | None = msgspec.UNSET
    last_size: int | msgspec.UnsetType | None = msgspec.UNSET
    strike: float | msgspec.UnsetType | None = msgspec.UNSET
    contract_type: str | msgspec.UnsetType | None = msgspec.UNSET
    underlying: str | msgspec.UnsetType | None = msgspec.UNSET
    expiration_month: int | msgspec.UnsetType | None = msgspec.UNSET
    expiration_day: int | msgspec.UnsetType | None = msgspec.UNSET
    delta: float | msgspec.UnsetType | None = msgspec.UNSET
    gamma: float | msgspec.UnsetType | None = msgspec.UNSET
    theta: float | msgspec.UnsetType | None = msgspec.UNSET
    vega: float | msgspec.UnsetType | None = msgspec.UNSET
    rho: float | msgspec.UnsetType | None = msgspec.UNSET
    security_status: str | msgspec.UnsetType | None = msgspec.UNSET
    theoretical: float | msgspec.UnsetType | None = msgspec.UNSET
    underlying_price: float | msgspec.UnsetType | None = msgspec.UNSET
    expiration_type: str | msgspec.UnsetType | None = msgspec.UNSET
    mark: float | msgspec.UnsetType | None = msgspec.UNSET
    quote_time_ms: int | msgspec.UnsetType | None = msgspec.UNSET
    trade_time_ms: int | msgspec.UnsetType | None = msgspec.UNSET
    last_trading_day_ms: int | msgspec.UnsetType | None = msgspec.UNSET
    settlement_type: str | msgspec.UnsetType | None = msgspec.UNSET
    root: str | msgspec.UnsetType | None = msgspec.UNSET
    exercise_type: str | msgspec.UnsetType | None = msgspec.UNSET


class ChartBar(msgspec.Struct, frozen=True, gc=False):
    """One minute bar as the feed publishes it after the minute's end, perhaps more than once: the newest counts.

    Prices × PRICE_SCALE, volume in shares, `minute_us` the minute's start.
    """

    key: str
    minute_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Expiration(msgspec.Struct, frozen=True):
    """One expiry of an underlying's options, as a vendor lists it; SPX and SPXW of one date are two.

    `days`: calendar days, None if not said. `kind`: W weekly, S monthly, M month end, Q quarterly; `settlement`: P at
    the close, A at the opening; "" where not said. `standard`: none of its contracts is adjusted.
    """

    date: date
    days: int | None = None
    kind: str = ""
    settlement: str = ""
    roots: tuple[str, ...] = ()
    standard: bool = True


class ChainContract(msgspec.Struct, frozen=True, gc=False):
    """One option contract as a vendor's chain defines it. Strike × PRICE_SCALE, open interest in contracts.

    `right`: C, P. `settlement`: P, A; `exercise`: A, E; `kind` as in Expiration; "" where not said. `adjusted`: it
    delivers something else than its multiplier of shares. `delta`: the vendor's at that moment, for a delta band.
    """

    symbol: str
    underlying: str
    root: str
    right: str
    strike: int
    expiry: date
    settlement: str = ""
    exercise: str = ""
    kind: str = ""
    multiplier: int | None = None
    mini: bool = False
    adjusted: bool = False
    open_interest: int | None = None
    last_trading_day_ms: int | None = None
    delta: float | None = None


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One minute of a vendor's history: prices × PRICE_SCALE, volume in shares, `minute_us` the minute's start."""

    minute_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class EquityRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `equity_data`: an instrument's second, or one update under STREAM_RESOLUTION=tick.

    `journal_no`, `seq`, `item` are 0 for a second; in `tick` they complete the key.
    """

    ticker: str
    timestamp_us: int
    price: int | None
    volume: int | None
    flags: int
    journal_no: int = 0
    seq: int = 0
    item: int = 0


class IndicatorRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `indicators`, beside the `equity_data` row of the same key."""

    ticker: str
    timestamp_us: int
    sma9: int | None
    vwap: int | None
    flags: int
    journal_no: int = 0
    seq: int = 0
    item: int = 0


class IndicatorDefinition(msgspec.Struct, frozen=True):
    """What one output of a custom indicator means; `digest` is the md5 of all before it, and its identity.

    `name` as in INDICATORS, `output` "value" where there is only one, `parameters` a JSON object.
    """

    name: str
    output: str
    parameters: str
    input: str
    session: str
    seed_rule: str
    version: str
    digest: str


class IndicatorValueRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `indicator_values`: one output of a custom indicator, value × INDICATOR_SCALE."""

    ticker: str
    timestamp_us: int
    definition: IndicatorDefinition
    value: int | None
    flags: int
    journal_no: int = 0
    seq: int = 0
    item: int = 0


class ModelDefinition(msgspec.Struct, frozen=True):
    """How our own greeks were made; `digest` is the md5 of all before it, and its identity.

    `convention`: model, schwab, cboe; `clock`: its clock's id; `rate`, `dividend`: continuous, per year.
    """

    convention: str
    clock: str
    rate: float
    dividend: float
    digest: str


class ModelValues(msgspec.Struct, frozen=True, gc=False):
    """Our own values of a contract at the end of a second; all × PRICE_SCALE, volatilities as fractions.

    `reason`: why there are none, "" if there are. `half_width`: how far the quotes leave the volatility open.
    """

    definition: ModelDefinition
    reason: str = ""
    iv: int | None = None
    delta: int | None = None
    gamma: int | None = None
    theta: int | None = None
    vega: int | None = None
    rho: int | None = None
    half_width: int | None = None
    forward: int | None = None


class OptionRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `option_prices`: a contract's second in which a stored column changed; or one of `option_images`.

    `symbol`: Schwab's 21 characters; `ticker`: the underlying; `right`: C, P. Sizes, `volume` (of the second),
    `day_volume`, `open_interest` in contracts. `model` None: not computed for this row.
    """

    ticker: str
    timestamp_us: int
    symbol: str
    right: str
    strike: int
    expiry: date
    bid: int | None
    ask: int | None
    last: int | None
    bid_size: int | None
    ask_size: int | None
    volume: int | None
    day_volume: int | None
    open_interest: int | None
    iv: int | None
    delta: int | None
    gamma: int | None
    theta: int | None
    vega: int | None
    rho: int | None
    flags: int
    model: ModelValues | None = None
    journal_no: int = 0
    seq: int = 0
    item: int = 0


class ContractRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `option_contracts`: what a contract is from `valid_from_us` on, as the vendor's chain defined it.

    Keyed by (symbol, valid_from_us). Fields as in ChainContract, without what moves from hour to hour.
    """

    symbol: str
    valid_from_us: int
    ticker: str
    root: str
    right: str
    strike: int
    expiry: date
    settlement: str
    exercise: str
    kind: str
    multiplier: int | None
    mini: bool
    adjusted: bool
    last_trading_day_ms: int | None


class FollowingRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `option_following`: what changed in the contracts that are watched, and why.

    Keyed by (journal_no, seq, item). `reason`: started, rolled, recentred, listed, capped, staged, waiting, ended,
    refused (`removed` are then what Schwab does not serve).
    """

    ticker: str
    timestamp_us: int
    reason: str
    expiries: tuple[date, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    detail: str
    seq: int
    item: int


class GapRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `stream_gaps`, keyed by (ticker, start_us); a later one of the same key replaces it.

    `end_us` None: still open. `volume`: what traded unseen, None while or because it is unknown.
    `reason`: late_start, process_down, socket_down, silence, journal_fault, unsubscribed; and, while it lasts for
    that, auth_required, evicted, stopped: the newest counts.
    """

    ticker: str
    start_us: int
    end_us: int | None
    reason: str
    volume: int | None


class QualityEvent(msgspec.Struct, frozen=True, gc=False):
    """One row of `quality_events`: something in the feed that a reader should know.

    Keyed by (journal_no, seq, item, ticker, kind).
    """

    ticker: str
    timestamp_us: int
    kind: str
    detail: str
    seq: int
    item: int


class Batch(msgspec.Struct):
    """Rows that end at a journal position; a sink commits both in one transaction.

    Holds every row caused by the records with after_seq < seq <= last_seq of the journal.
    `last_ts_us` is the `ts_recv` of the last record: what `stream_now()` answers under CLOCK=feed.
    """

    journal_id: str
    after_seq: int
    last_seq: int
    last_ts_us: int
    equity: list[EquityRow] = msgspec.field(default_factory=list)
    indicators: list[IndicatorRow] = msgspec.field(default_factory=list)
    gaps: list[GapRow] = msgspec.field(default_factory=list)
    events: list[QualityEvent] = msgspec.field(default_factory=list)
    values: list[IndicatorValueRow] = msgspec.field(default_factory=list)
    options: list[OptionRow] = msgspec.field(default_factory=list)
    images: list[OptionRow] = msgspec.field(default_factory=list)
    contracts: list[ContractRow] = msgspec.field(default_factory=list)
    following: list[FollowingRow] = msgspec.field(default_factory=list)

    def __len__(self) -> int:
        equities = len(self.equity) + len(self.indicators) + len(self.values)
        options = len(self.options) + len(self.images) + len(self.contracts) + len(self.following)
        return equities + options + len(self.gaps) + len(self.events)


class Metrics(msgspec.Struct, frozen=True):
    """One row of `streaming_metrics`. `records_processed` and `error_count` only grow within a journal."""

    timestamp_us: int | None
    """None: the database stamps it with stream_now()."""
    records_processed: int
    error_count: int
    service_status: str
    details: dict[str, object] = msgspec.field(default_factory=dict)
