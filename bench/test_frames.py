"""The frames that everything is measured on: the mix that is promised, and nothing that decoding would refuse.

Run by `python -m pytest bench`; the bench itself also stops when rows or quotes are not as many as the frames hold.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alphakite.feed.schwab.decode import decode
from bench.frames import MAX_KEYS, MEAN_KEYS, make_tape, read_frames, write_frames
from bench.report import middle, ratio, table

TAPE = make_tape(30_000)


def test_same_seed_same_bytes() -> None:
    """Two runs measure the same thing; another seed does not."""
    assert make_tape(2_000).frames == make_tape(2_000).frames
    assert make_tape(2_000, seed=2).frames != make_tape(2_000).frames


def test_mix_is_as_promised() -> None:
    """1 to 100 keys, 7.4 on average; each delta has 3 to 8 fields; one space before "timestamp" and no other."""
    keys = [len(json.loads(frame)["data"][0]["content"]) for frame in TAPE.frames]
    assert sum(keys) == TAPE.quotes
    assert min(keys) >= 1 and max(keys) <= MAX_KEYS
    assert TAPE.quotes / len(keys) == pytest.approx(MEAN_KEYS, rel=0.05)
    items = [item for frame in TAPE.frames for item in json.loads(frame)["data"][0]["content"]]
    assert {len(item) - 1 for item in items} == {3, 4, 5, 6, 7, 8}
    assert all(frame.count(b" ") == 1 and b', "timestamp":' in frame for frame in TAPE.frames)


def test_nothing_is_rejected() -> None:
    """Every item takes the quick way of decoding."""
    assert [decode(frame).rejected for frame in (TAPE.image, *TAPE.frames) if decode(frame).rejected] == []
    assert sum(len(decode(frame).updates) for frame in TAPE.frames) == TAPE.quotes
    assert len(decode(TAPE.image).updates) == len(TAPE.tickers)


def test_cumulative_volume_never_falls() -> None:
    """A fall would make quality events, which a usual day does not have."""
    volumes: dict[str, int] = {}
    for frame in (TAPE.image, *TAPE.frames):
        for update in decode(frame).updates:
            if isinstance(update.volume, int):
                assert update.volume >= volumes.get(update.key, 0)
                volumes[update.key] = update.volume


def test_file_of_frames_reads_back(tmp_path: Path) -> None:
    """The measured programs get exactly these bytes."""
    write_frames(tmp_path / "frames", TAPE.frames)
    assert read_frames(tmp_path / "frames") == TAPE.frames


def test_table_is_aligned_and_shows_what_is_unknown() -> None:
    """A missing figure is a dash, never a zero."""
    runs = [{"us": 1.0, "lag": None}, {"us": 3.0, "lag": None}, {"us": 2.0, "lag": None}]
    assert middle(runs, "us") == 2.0 and middle(runs, "lag") is None
    assert ratio(4.0, 2.0) == 2.0 and ratio(None, 2.0) is None and ratio(1.0, None) is None
    lines = table("t", ("program", "us", "lag"), [("ours", 2.0, None), ("another", 1234.5, 20.25)]).splitlines()
    assert [len(line) for line in lines[2:6]] == [len(lines[2])] * 4
    assert lines[4].split() == ["ours", "2.00", "–"] and lines[5].split() == ["another", "1,234", "20.2"]
