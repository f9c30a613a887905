"""CPU time from a frame's bytes to merged quotes, beside schwab-py's StreamClient on the same frames.

Each program in a process of its own; repetitions take turns, so that a busy moment of the machine meets both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.child import Child, ChildError
from bench.frames import Tape, write_frames
from bench.report import Run, middle, ratio, table

HEAD = ("program", "CPU-µs/quote", "ratio", "peak RSS MB")


def measure(tape: Tape, repetitions: int, scratch: Path) -> dict[str, Any]:
    """The runs and medians of both programs, in CPU-µs per quote."""
    frames = [tape.image, *tape.frames]
    quotes = tape.quotes + len(tape.tickers)
    file = scratch / "decode.frames"
    write_frames(file, frames)
    ours: list[Run] = []
    theirs: list[Run] = []
    with (
        Child("run_decode", str(file), scratch=scratch) as our_child,
        Child("run_schwab_py", str(file), scratch=scratch) as their_child,
    ):
        for repetition in range(repetitions + 1):
            for child, runs in ((our_child, ours), (their_child, theirs)):
                child.tell()
                answer = child.hear()
                if answer["quotes"] != quotes:
                    raise ChildError(f"{answer['quotes']} quotes were decoded, the frames hold {quotes}")
                if repetition:  # the first one warms up
                    runs.append(_per_quote(answer, quotes))
    figures = {
        "decode_us": middle(ours, "decode_us"),
        "decode_merge_us": middle(ours, "merge_us"),
        "schwab_py_us": middle(theirs, "cpu_us"),
        "rss_mb": middle(ours, "rss_mb"),
        "schwab_py_rss_mb": middle(theirs, "rss_mb"),
    }
    figures["schwab_py_ratio"] = ratio(figures["schwab_py_us"], figures["decode_merge_us"])
    return figures | {"quotes": quotes, "runs": {"alphakite": ours, "schwab_py": theirs}}


def shown(figures: dict[str, Any]) -> str:
    """The table."""
    base = figures["decode_merge_us"]
    return table(
        "Frame → quote (no network)",
        HEAD,
        [
            ("alphakite: decode + merge", base, 1.0, figures["rss_mb"]),
            ("alphakite: decode alone", figures["decode_us"], ratio(figures["decode_us"], base), None),
            (
                "schwab-py StreamClient (labels, no merge)",
                figures["schwab_py_us"],
                figures["schwab_py_ratio"],
                figures["schwab_py_rss_mb"],
            ),
        ],
    )


def _per_quote(answer: dict[str, float], quotes: int) -> Run:
    per_quote = {name[:-1] + "us": value / quotes * 1e6 for name, value in answer.items() if name.endswith("_s")}
    return per_quote | {"rss_mb": answer["rss_mb"]}
