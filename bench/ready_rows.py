"""What the recorder will store of a tape, derived beforehand: the rows, and their COPY bytes for the bare limit."""

from __future__ import annotations

from pathlib import Path

import msgspec

from alphakite.derive.engine import Engine
from alphakite.derive.moment import DeriveSettings
from alphakite.feed.schwab.decode import decode
from alphakite.feed.schwab.rest import parse_candles
from alphakite.store.binary import pack_equity, pack_indicators
from bench.frames import IMAGE_MS, OPEN_MS, STEP_MS, Tape
from bench.run_limit import CHUNK
from bench.schwab_server import candles

CONNECTION = 1


class Expected(msgspec.Struct):
    """The rows of the first frames of a tape: their number, frames and quotes among them."""

    frames: int
    quotes: int
    rows: int


def derive_ready(tape: Tape, frames: int, resolution: str, batch_rows: int, chunks: Path) -> Expected:
    """Derive so many frames; the COPY bytes go into a file, cut where the recorder cuts its batches by size."""
    engine = Engine(1)
    engine.configure(IMAGE_MS * 1000, DeriveSettings(tuple(tape.tickers), "regular", resolution))
    engine.frame(1, IMAGE_MS * 1000, CONNECTION, decode(tape.image).updates, 0)
    for ticker in tape.tickers:
        if (history := parse_candles(candles(ticker))) is not None:
            engine.history(IMAGE_MS * 1000, ticker, history[1])
    engine.take()
    quotes = rows = 0
    with chunks.open("wb") as file:
        for number in range(frames):
            updates = decode(tape.frames[number]).updates
            engine.frame(number + 2, (OPEN_MS + STEP_MS * number) * 1000, CONNECTION, updates, 0)
            quotes += len(updates)
            if len(engine.rows) >= batch_rows or number == frames - 1:
                made = engine.take()
                equity = pack_equity(made.equity) if made.equity else b""
                indicators = pack_indicators(made.indicators) if made.indicators else b""
                file.write(CHUNK.pack(number + 1, len(equity), len(indicators)) + equity + indicators)
                rows += len(made.equity) + len(made.indicators)
    return Expected(frames, quotes, rows)
