"""Schwab-shaped LEVELONE_EQUITIES frames: seeded, so that every measured program gets the same bytes.

Out:  an image of every ticker, then frames of 1 to 100 keys (7.4 on average, many small, few large), each a delta of
3 to 8 fields, one space before "timestamp", numbers without trailing zeros. A frame's stamp lies `STEP_MS`
after the one before, from the regular open of 2026-11-20 on, so that under CLOCK=feed seconds end and rows are made.
A file of frames is, for each, its length (u32, little-endian) and its text.
"""

from __future__ import annotations

import math
import random
import struct
from datetime import UTC, datetime
from pathlib import Path

import msgspec

OPEN_MS = int(datetime(2026, 11, 20, 14, 30, tzinfo=UTC).timestamp() * 1000)
"""09:30 in New York."""
IMAGE_MS = OPEN_MS - 1000
"""Images come before the open: no session is missed, no row is of a gap."""
STEP_MS = 100
TICKERS = 200
MAX_KEYS = 100
MEAN_KEYS = 7.4
SPREAD = 1.1
"""Standard deviation of the logarithm of the number of keys."""
CENTRE = math.log(MEAN_KEYS) - SPREAD**2 / 2 - 0.011
"""Of the logarithm; the last term undoes what rounding and the bounds add."""
IMAGE = (
    '{{"key":"{key}","delayed":false,"assetMainType":"EQUITY","assetSubType":"COE","cusip":"46090E103",'
    '"1":{bid},"2":{ask},"3":{last},"4":300,"5":500,"6":"P","7":"Q","8":{volume},"9":100,"10":{last},"11":{last},'
    '"12":{last},"13":"Q","14":true,"15":"COMPANY {key} COM","16":"D","17":{last},"18":1.1,"19":637.01,"20":102.39,'
    '"21":0,"22":2.9412,"23":0.48774,"24":0,"25":"NASDAQ","26":"2026-09-21 00:00:00.0","27":true,"28":true,'
    '"29":{last},"30":1,"31":1.1,"32":"Normal","33":{last},"34":{time},"35":{time},"36":{time},"37":{time},'
    '"38":{time},"39":"ARCX","40":"XNAS","41":"XADF","42":0.18241518,"43":0.18241518,"44":1.1,"45":0.18241518,'
    '"46":51200344,"47":0,"48":0,"49":1,"50":0,"51":0}}'
)


class Tape(msgspec.Struct):
    """What is played: the images, the frames after them, how many quotes those hold."""

    tickers: list[str]
    image: bytes
    frames: list[bytes]
    quotes: int


class Instrument:
    """One ticker's last values: prices in cents, cumulative volume in shares."""

    def __init__(self, key: str, rng: random.Random) -> None:
        self.key = key
        self.last = rng.randrange(1_000, 80_000)
        self.volume = rng.randrange(10_000, 5_000_000)

    def image(self, stamp_ms: int = IMAGE_MS) -> str:
        """All fields, as a subscription's first item has them."""
        return IMAGE.format(
            key=self.key,
            bid=price_text(self.last - 1),
            ask=price_text(self.last + 1),
            last=price_text(self.last),
            volume=self.volume,
            time=stamp_ms - 800,
        )

    def delta(self, stamp_ms: int, rng: random.Random) -> str:
        """A quote update, or a trade with what it moves: 3 to 8 fields, ascending."""
        self.last = max(100, self.last + rng.randrange(-3, 4))
        at = stamp_ms - rng.randrange(20, 900)
        if rng.random() < 0.5:
            self.volume += 100 * rng.randrange(1, 12)
            change = price_text(rng.randrange(1, 900))
            always = {3: price_text(self.last), 8: str(self.volume), 35: str(at)}
            maybe = {9: "100", 18: change, 29: price_text(self.last), 36: str(at), 42: f"0.{rng.randrange(1, 10**8)}"}
        else:
            always = {34: str(at)}
            sizes = (str(100 * rng.randrange(1, 30)), str(100 * rng.randrange(1, 30)))
            maybe = {1: price_text(self.last - 1), 2: price_text(self.last + 1), 4: sizes[0], 5: sizes[1]}
            maybe |= {37: str(at), 38: str(at), 39: '"ARCX"'}
        count = rng.randrange(3 - len(always), min(len(maybe), 8 - len(always)) + 1)
        fields = always | {number: maybe[number] for number in rng.sample(sorted(maybe), count)}
        return f'{{"key":"{self.key}",' + ",".join(f'"{n}":{fields[n]}' for n in sorted(fields)) + "}"


def make_tape(quotes: int, *, seed: int = 1, tickers: int = TICKERS) -> Tape:
    """A tape of at least this many quotes, images not counted."""
    rng = random.Random(seed)
    instruments = [Instrument(f"T{number:03d}", rng) for number in range(tickers)]
    image = framed("LEVELONE_EQUITIES", IMAGE_MS, [instrument.image() for instrument in instruments])
    frames: list[bytes] = []
    made = 0
    while made < quotes:
        stamp_ms = OPEN_MS + STEP_MS * len(frames)
        chosen = rng.sample(instruments, min(tickers, _keys(rng)))
        frames.append(framed("LEVELONE_EQUITIES", stamp_ms, [instrument.delta(stamp_ms, rng) for instrument in chosen]))
        made += len(chosen)
    return Tape([instrument.key for instrument in instruments], image, frames, made)


def price_text(cents: int) -> str:
    """Dollars as Schwab prints them: 235, 604.1, 604.12."""
    return f"{cents / 100:.2f}".rstrip("0").rstrip(".")


def write_frames(path: Path, frames: list[bytes]) -> None:
    """Put frames into a file."""
    path.write_bytes(b"".join(struct.pack("<I", len(frame)) + frame for frame in frames))


def read_frames(path: Path) -> list[bytes]:
    """The frames of a file."""
    data, frames, offset = path.read_bytes(), [], 0
    while offset < len(data):
        (length,) = struct.unpack_from("<I", data, offset)
        frames.append(data[offset + 4 : offset + 4 + length])
        offset += 4 + length
    return frames


def _keys(rng: random.Random) -> int:
    return min(MAX_KEYS, max(1, round(rng.lognormvariate(CENTRE, SPREAD))))


def framed(service: str, stamp_ms: int, items: list[str]) -> bytes:
    """A message of one service's changed fields."""
    content = ",".join(items)
    return (
        f'{{"data":[{{"service":"{service}", "timestamp":{stamp_ms},"command":"SUBS","content":[{content}]}}]}}'
    ).encode()
