"""Measured program: what one update of an option costs inside the recorder, piece by piece, without socket or disk.

Arguments: the load's name, seconds of it.      Told `{}`, it goes through them once and answers with CPU seconds:
decoding the frames, deriving (every second ends, model values by GREEKS_INTERVAL), the same without model values, and
packing the rows for COPY.
"""

from __future__ import annotations

import gc
import sys
import time

from alphakite.derive.engine import Engine
from alphakite.derive.moment import DeriveSettings
from alphakite.derive.rows import Rows
from alphakite.feed.schwab.chains import parse_chain
from alphakite.feed.schwab.decode import Decoded, decode
from alphakite.store.binary import pack_equity, pack_indicators
from alphakite.store.binary_options import pack_options
from bench.child import listen, peak_rss_mb, say
from bench.option_chains import chain
from bench.option_frames import DAY_MS, EXPIRIES, LOADS, OPEN_S, TICKERS, Market

START_MS = DAY_MS + (OPEN_S + 3600) * 1000
CONNECTION = 1


def prepared(market: Market, settings: DeriveSettings, start_ms: int = START_MS) -> Engine:
    """An engine that has every image."""
    engine, now_us = Engine(1), start_ms * 1000
    engine.configure(now_us, settings)
    for under in market.equities[: market.load.optionable]:
        found = parse_chain(chain(market, under.key, EXPIRIES[0]))
        engine.define_options(now_us, under.key, found.contracts)
    wanted: dict[str, list[str]] = {}
    for one in market.watched:
        wanted.setdefault(one.under.key, []).append(one.key)
    engine.want_options(now_us, wanted)
    engine.connecting(now_us)
    engine.frame(1, now_us, CONNECTION, decode(market.equity_image(start_ms)).updates, 0)
    for seq, frame in enumerate(market.images(market.watched, start_ms), 2):
        decoded = decode(frame)
        engine.frame(seq, now_us, CONNECTION, [], len(decoded.rejected), decoded.options)
    engine.take()
    return engine


def derived(engine: Engine, stamped: list[tuple[int, Decoded]]) -> tuple[float, list[Rows]]:
    """CPU seconds of deriving, and the rows a second at a time."""
    found: list[Rows] = []
    second = stamped[0][0] // 1000
    began = time.process_time()
    for seq, (stamp_ms, frame) in enumerate(stamped, 1000):
        engine.frame(seq, stamp_ms * 1000, CONNECTION, frame.updates, len(frame.rejected), frame.options)
        if stamp_ms // 1000 != second:
            second = stamp_ms // 1000
            found.append(engine.take())
    return time.process_time() - began, found


def packed(rows: list[Rows]) -> float:
    """CPU seconds of the rows' COPY bytes."""
    digests = {row.model.definition.digest for one in rows for row in one.options if row.model is not None}
    ids = {digest: number for number, digest in enumerate(digests, 1)}
    began = time.process_time()
    for one in rows:
        pack_options(one.options, ids)
        pack_equity(one.equity)
        pack_indicators(one.indicators)
    return time.process_time() - began


def main(name: str, seconds: int) -> None:
    """Until stdin ends."""
    market = Market(LOADS[name])
    market.watch(key for key, one in market.contracts.items() if one.at == 0)
    with_model = prepared(market, DeriveSettings(TICKERS))
    without = prepared(market, DeriveSettings(TICKERS, greeks_interval_s=0))
    made = [
        (ms + offset, frame)
        for ms in range(START_MS + 1000, START_MS + 1000 * (seconds + 1), 1000)
        for offset, frame in market.second(ms)
    ]
    starts = with_model.snapshot(), without.snapshot()
    gc.freeze()
    while listen() is not None:
        engines = [Engine.restore(start) for start in starts]
        assert engines[0] is not None and engines[1] is not None
        began = time.process_time()
        stamped = [(stamp_ms, decode(frame)) for stamp_ms, frame in made]
        decode_s = time.process_time() - began
        derive_s, rows = derived(engines[0], stamped)
        bare_s, _ = derived(engines[1], stamped)
        say(
            decode_s=decode_s, derive_s=derive_s, bare_s=bare_s, pack_s=packed(rows),
            items=sum(len(one.updates) + len(one.options) for _, one in stamped),
            rows=sum(len(one.options) for one in rows),
            valued=sum(row.model is not None for one in rows for row in one.options),
            solved=sum(row.model is not None and not row.model.reason for one in rows for row in one.options),
            events=sum(len(one.events) for one in rows),
            rejected=engines[0].state.rejected,
            rss_mb=peak_rss_mb(),
        )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
