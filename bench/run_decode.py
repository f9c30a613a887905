"""Measured program: our decode and merge. Argument: a file of frames, the first one the image.

Told `{}`, it goes through all frames once and answers with CPU seconds: `decode_s`, and `merge_s` for decode + merge.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

from alphakite.derive.book import Book
from alphakite.feed.schwab.decode import decode
from bench.child import listen, peak_rss_mb, say
from bench.frames import read_frames


def decoded_only(frames: list[bytes]) -> float:
    """CPU seconds of decoding alone."""
    began = time.process_time()
    for frame in frames:
        decode(frame)
    return time.process_time() - began


def decoded_and_merged(frames: list[bytes]) -> tuple[float, int]:
    """CPU seconds of decoding every frame and merging every quote into its book; the number of quotes."""
    books: dict[str, Book] = {}
    quotes = 0
    began = time.process_time()
    for frame in frames:
        for update in decode(frame).updates:
            book = books.get(update.key)
            if book is None:
                book = books[update.key] = Book()
            book.merge(update)
            quotes += 1
    return time.process_time() - began, quotes


def main() -> None:
    """Until stdin ends."""
    frames = read_frames(Path(sys.argv[1]))
    gc.freeze()
    while listen() is not None:
        decode_s = decoded_only(frames)
        merge_s, quotes = decoded_and_merged(frames)
        say(decode_s=decode_s, merge_s=merge_s, quotes=quotes, rss_mb=peak_rss_mb())


if __name__ == "__main__":
    main()
