"""Journal records → engine: the one place that knows which record means what to derivation.

In:   a Record and an Engine.      Out:  the engine's rows; `Tally` counts what was decoded and what was not.
Live, catch-up, `rederive` and the tests all go through `Deriver.apply`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from alphakite.derive.engine import Engine
from alphakite.derive.moment import DeriveSettings
from alphakite.feed.schwab.chains import CHAIN_PATH, parse_chain
from alphakite.feed.schwab.decode import decode
from alphakite.feed.schwab.quotes import PATH as QUOTES
from alphakite.feed.schwab.quotes import parse_quotes
from alphakite.feed.schwab.rest import parse_candles
from alphakite.journal.record import Kind, Record
from alphakite.model import FollowingRow
from alphakite.recorder.following import Change


class Tally(msgspec.Struct):
    """What the feed made of the records since this Deriver began; `last` names the newest rejection."""

    rejected_frames: int = 0
    last: str = ""


class Deriver:
    """Feeds records to an engine in order of seq. A hole in the sequence is damage, and becomes a gap."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tally = Tally()

    def apply(self, record: Record) -> None:
        """Derive one record; its rows are then in `engine.rows`."""
        engine = self.engine
        ts_us = record.ts_ns // 1000
        if engine.state.seq and record.seq != engine.state.seq + 1:
            engine.damaged(ts_us)
        if record.kind == Kind.FRAME:
            decoded = decode(record.payload)
            if decoded.rejected:
                self.tally.last = f"record {record.seq}: {decoded.rejected[-1]}"
                if not decoded.updates and not decoded.options:
                    self.tally.rejected_frames += 1
            engine.frame(record.seq, ts_us, record.conn, decoded.updates, len(decoded.rejected), decoded.options)
        elif record.kind == Kind.REST:
            self._rest(record, ts_us)
        else:
            self._event(record, ts_us)
        engine.done(record.seq)

    def _rest(self, record: Record, ts_us: int) -> None:
        head, _, body = record.payload.partition(b"\n")
        asked = _object(head)
        if asked.get("path") == "/marketdata/v1/pricehistory" and (found := parse_candles(body)) is not None:
            self.engine.history(ts_us, found[0], found[1])
        elif asked.get("path") == QUOTES:
            quotes = parse_quotes(body)
            if quotes.rejected:
                self.tally.last = f"record {record.seq}: {quotes.rejected[-1]}"
            self.engine.polled(record.seq, ts_us, quotes.updates, len(quotes.rejected))
        elif asked.get("path") == CHAIN_PATH and (chain := parse_chain(body)).contracts:
            ticker = asked["params"].get("symbol") if isinstance(asked.get("params"), dict) else None
            self.engine.define_options(ts_us, str(ticker or chain.symbol), chain.contracts)

    def _event(self, record: Record, ts_us: int) -> None:
        event = _object(record.payload)
        name = event.get("event")
        if record.kind == Kind.PROCESS and name == "start":
            self.engine.started(ts_us)
        elif record.kind == Kind.CONNECTION and name == "down":
            self.engine.lost(ts_us, str(event.get("reason", "socket_down")))
        elif record.kind == Kind.CONNECTION and name == "up":
            self.engine.connecting(ts_us)
        elif record.kind == Kind.CONNECTION and name == "waiting" and event.get("reason"):
            self.engine.explain(ts_us, str(event["reason"]))
        elif record.kind == Kind.CONFIG and name == "derive":
            self.engine.configure(ts_us, msgspec.convert(event["settings"], DeriveSettings))
        elif record.kind == Kind.CONFIG and name == "options":
            self.engine.want_options(ts_us, msgspec.convert(event["contracts"], dict[str, list[str]]))
        elif record.kind == Kind.CONFIG and name == "following":
            changes = msgspec.convert(event["changes"], list[Change])
            self.engine.note_following(_following_row(one, record.seq, at) for at, one in enumerate(changes))


def _following_row(change: Change, seq: int, item: int) -> FollowingRow:
    return FollowingRow(
        change.ticker,
        change.at_us,
        change.reason,
        change.expiries,
        change.added,
        change.removed,
        change.detail,
        seq,
        item,
    )


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
