"""All watched option contracts: from records to rows.

In:   which contracts are wanted, their definitions, their changed fields, the end of a second.      Out:  Rows.
At a second's end each contract that changed leaves a draft; the drafts of one chain are then judged together, for what
a quote is worth, and whether it can be true, depends on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date

import msgspec

from alphakite.derive.contract import Contract
from alphakite.derive.moment import SECOND_US, DeriveSettings, Moment, option_moment
from alphakite.derive.rows import At, Counts, Rows
from alphakite.derive.valuing import value_chain_at
from alphakite.model import OPTION_FLAG_NAMES, ChainContract, ContractRow, ModelValues, OptionUpdate
from alphakite.sessions import exchange_date

Chain = tuple[str, str, date]
"""Ticker, root and expiry of contracts that stand on one forward."""

FLAGS = tuple((int(bit), name) for bit, name in OPTION_FLAG_NAMES.items())


class Spot(msgspec.Struct, frozen=True):
    """The underlying's last price × PRICE_SCALE, and whether it is too old to stand for now."""

    price: int | None = None
    stale: bool = True


class OptionState(msgspec.Struct):
    """All that derivation remembers of options."""

    settings: DeriveSettings = DeriveSettings()
    now: Moment = msgspec.field(default_factory=Moment)
    contracts: dict[str, Contract] = {}
    retired: dict[str, Contract] = {}
    """No longer wanted; kept for the case that they are wanted again within the session."""
    pending: list[str] = []
    definitions: dict[str, ContractRow] = {}
    """The newest of each contract that has not expired."""
    counts: Counts = msgspec.field(default_factory=Counts)
    rows: int = 0
    quality: dict[str, int] = {}
    """How many rows had each flag."""


class Options:
    """Derives the options of one journal. The engine tells it what happens, and what time it is.

    Args:
        spot: the underlying of a ticker, at the end of the second that is finished.
    """

    def __init__(self, state: OptionState, journal_no: int, spot: Callable[[str, int], Spot]) -> None:
        self.state = state
        self._journal_no = journal_no
        self._spot = spot
        self._chains: dict[Chain, list[Contract]] = {}
        self._arrange()

    # ── records ─────────────────────────────────────────────────────────────────────────────────────────────

    def configure(self, settings: DeriveSettings) -> None:
        """The settings from here on."""
        state = self.state
        state.settings = settings.for_options()
        second_us = state.now.second_us
        state.now = option_moment(second_us, state.settings) if second_us >= 0 else Moment()

    def want(
        self, ts_us: int, wanted: Mapping[str, Iterable[str]], conn: int, last_us: int, why: str, rows: Rows
    ) -> None:
        """These contracts are wanted from here on, by ticker. `conn`, `last_us`, `why`: as in the engine's state."""
        state = self.state
        tickers = {symbol: ticker for ticker, symbols in wanted.items() for symbol in symbols}
        for symbol in [symbol for symbol in state.contracts if symbol not in tickers]:
            state.retired[symbol] = gone = state.contracts.pop(symbol)
            gone.place = -1
            gone.retire(ts_us, last_us, state.now, state.settings, rows)
        for symbol, ticker in tickers.items():
            contract = state.contracts.get(symbol) or self._wanted(symbol, ticker, rows)
            if contract is not None:
                state.contracts[symbol] = contract
                contract.expect(ts_us, state.now, rows, "" if conn else why)
        self._arrange()

    def _wanted(self, symbol: str, ticker: str, rows: Rows) -> Contract | None:
        """What stands for a contract from now on: what it was if it was let go in this session, else a new one."""
        state = self.state
        gone = state.retired.pop(symbol, None)
        if gone is not None:
            if gone.wanted_again(state.now, state.settings, rows):
                return gone
            self._finish([gone], rows, 0)
        known = state.definitions.get(symbol)
        return Contract.named(symbol, ticker, known.settlement if known is not None else "")

    def define(self, ts_us: int, ticker: str, contracts: Iterable[ChainContract], rows: Rows) -> None:
        """A vendor's chain: definitions that are new or have changed."""
        known = self.state.definitions
        today = exchange_date(ts_us)
        for symbol in [symbol for symbol, row in known.items() if row.expiry < today]:
            del known[symbol]
        for one in contracts:
            row = ContractRow(
                one.symbol, ts_us, ticker, one.root, one.right, one.strike, one.expiry, one.settlement, one.exercise,
                one.kind, one.multiplier, one.mini, one.adjusted, one.last_trading_day_ms,
            )  # fmt: skip
            before = known.get(one.symbol)
            if before is None or msgspec.structs.replace(before, valid_from_us=ts_us) != row:
                known[one.symbol] = row
                rows.contracts.append(row)
                if (contract := self.state.contracts.get(one.symbol)) is not None:
                    contract.settlement = one.settlement

    def expect(self, ts_us: int, reason: str, rows: Rows) -> None:
        """A connection begins, or there is none for this reason."""
        for contract in self.state.contracts.values():
            contract.expect(ts_us, self.state.now, rows, reason)

    def explain(self, reason: str, rows: Rows) -> None:
        """Why every open gap lasts."""
        for contract in self.state.contracts.values():
            contract.explain(reason, self.state.settings, rows)

    def lose(self, last_us: int, reason: str, rows: Rows) -> None:
        """The connection is gone."""
        for contract in self.state.contracts.values():
            contract.lose(last_us, reason, self.state.settings, rows, self.state.now)

    def frame(self, seq: int, ts_us: int, conn: int, updates: list[OptionUpdate], rows: Rows) -> None:
        """The changed fields of one frame; time has come to its second."""
        state = self.state
        now, counts = state.now, state.counts
        per_tick = self._journal_no if state.settings.resolution == "tick" else None
        counts.updates += len(updates)
        for item, update in enumerate(updates):
            contract = state.contracts.get(update.key)
            if contract is None:
                counts.outside += 1  # nobody asked for it, or not any more
                continue
            if contract.second_us != now.second_us:
                contract.second_us = now.second_us
                state.pending.append(update.key)
            at = At(ts_us, seq, item)
            if contract.conn != conn:
                contract.image(update, conn, at, now, state.settings, self._journal_no, rows)
                counts.images += 1
                continue
            contract.update(update, at, now, rows, per_tick)
            if contract.draft is not None:
                contract.waiting -= 1
                counts.stored += 1
                self._judge([contract], ts_us, seq, rows)

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, second_us: int, seq: int, rows: Rows) -> None:
        """The present second is over, and this one begins. `seq`: the newest record."""
        state = self.state
        if state.pending:
            known = (state.contracts.get(symbol) or state.retired.get(symbol) for symbol in state.pending)
            self._finish([contract for contract in known if contract is not None], rows, seq)
            state.pending.clear()
        if not state.contracts and not state.retired:
            state.now.second_us = -1
            return
        before = state.now
        state.now = option_moment(second_us, state.settings)
        if state.now.session_us != before.session_us:
            if not state.settings.skip_market_hours:
                state.retired.clear()  # what is wanted again now begins anew
            if state.now.session_us:  # a day's chain is whole in its own rows
                for item, contract in enumerate(state.contracts.values()):
                    if contract.conn:
                        rows.images.append(contract.seen(state.now.session_us, self._journal_no, seq, item))

    def begin(self, second_us: int) -> None:
        """Time for the first contracts."""
        if self.state.now.second_us != second_us:
            self.state.now = option_moment(second_us, self.state.settings)

    def _finish(self, contracts: list[Contract], rows: Rows, seq: int) -> None:
        state = self.state
        for contract in contracts:
            contract.finish(state.now, rows, state.counts, seq)
        self._judge(contracts, state.now.second_us + SECOND_US, seq, rows)

    def _judge(self, contracts: list[Contract], at_us: int, seq: int, rows: Rows) -> None:
        """The rows of those that left a draft, chain by chain. `at_us`: the moment they speak of."""
        by_chain: dict[Chain, list[Contract]] = {}
        for contract in contracts:
            if contract.draft is not None:
                by_chain.setdefault(_chain(contract), []).append(contract)
        for key, drawn in by_chain.items():
            chain = self._chains.get(key, [])
            spot = self._spot(key[0], at_us)
            known = [one for one in drawn if one.place >= 0]
            valued = value_chain_at(
                chain, [one.place for one in known], 0, self.state.settings, spot.price, spot.stale,
                at_us=at_us, seq=seq,
            )  # fmt: skip
            rows.events += valued.events
            for contract, judged, model in zip(known, valued.flags, valued.values, strict=True):
                self._store(contract, judged, model, rows)
            for contract in drawn:
                if contract.draft is not None:  # let go in this very second
                    self._store(contract, 0, None, rows)

    def _store(self, contract: Contract, judged: int, model: ModelValues | None, rows: Rows) -> None:
        draft, contract.draft = contract.draft, None
        assert draft is not None
        row = contract.row(draft, judged, model)
        rows.options.append(row)
        self.state.rows += 1
        if row.flags:
            quality = self.state.quality
            for bit, name in FLAGS:
                if row.flags & bit:
                    quality[name] = quality.get(name, 0) + 1

    # ── results ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def waiting(self) -> int:
        """Updates of the second that is not over."""
        state = self.state
        return sum((state.contracts.get(one) or state.retired[one]).waiting for one in state.pending)

    def open_gaps(self) -> list[str]:
        """Contracts without an image on the present connection, while rows of them should be coming."""
        if not self.state.now.recorded:
            return []
        return [key for key, one in self.state.contracts.items() if one.gap is not None and one.gap.end_us is None]

    def _arrange(self) -> None:
        """The watched contracts by chain, in the order of strikes."""
        self._chains = {}
        for contract in self.state.contracts.values():
            self._chains.setdefault(_chain(contract), []).append(contract)
        for chain in self._chains.values():
            chain.sort(key=lambda one: (one.strike, one.right))
            for place, contract in enumerate(chain):
                contract.place = place


def _chain(contract: Contract) -> Chain:
    return contract.ticker, contract.root, contract.expiry
