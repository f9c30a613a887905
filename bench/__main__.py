"""`python -m bench` (`make bench`): measures on the same generated frames, in one run, and prints medians and ratios.

Read ratios and CPU time, not wall time: the figures of two machines do not compare, those of one run do.
Nothing but loopback, a temporary folder and the embedded PostgreSQL is used; about 7 minutes on 2 cores by default
(options are measured at real time and over a day), half an hour with `--day`. `python -m bench sizes` is apart: what
days of rows take on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import bench_decode, bench_greeks, bench_options, bench_path, bench_sizes, bench_store
from bench.child import ROOT, ChildError
from bench.frames import make_tape

PARTS = ("decode", "path", "store", "greeks", "options")
APART = ("sizes",)
"""Not among the rest: it says bytes, not time, and takes a quarter of an hour."""
SHORT_DAY_STEP = 30
STORE_ROWS = 5_000


def main() -> int:
    """Measure; 1 if a measured program failed or stored something else than it should."""
    args = _arguments()
    began = time.monotonic()
    played = [
        case for case in bench_path.cases(args.quotes, args.paced_seconds) if not args.case or case.name == args.case
    ]
    tape = make_tape(max([args.quotes, *(case.quotes for case in played)]), seed=args.seed)
    figures: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "seed": args.seed,
        "frames": len(tape.frames),
        "keys_per_frame": tape.quotes / len(tape.frames),
        "bytes_per_quote": sum(map(len, tape.frames)) / tape.quotes,
        "repetitions": args.repeat,
    }
    texts = [
        f"alphakite bench: Python {figures['python']}, {figures['cores']} cores, seed {args.seed},"
        f" {tape.quotes:,} quotes"
        f" in {len(tape.frames):,} frames ({figures['keys_per_frame']:.1f} keys each), medians of {args.repeat} runs\n"
    ]
    try:
        with tempfile.TemporaryDirectory(prefix="alphakite-bench-") as folder:
            if args.part in ("", "decode"):
                figures["decode"] = bench_decode.measure(tape, args.repeat, Path(folder))
                texts.append(bench_decode.shown(figures["decode"]))
            if args.part in ("", "path"):
                figures["path"] = bench_path.measure(tape, played, args.repeat, Path(folder))
                texts.append(bench_path.shown(figures["path"]))
            if args.part in ("", "store"):
                figures["store"] = _store_measured(args.repeat)
                texts.append(bench_store.shown(figures["store"]))
            if args.part in ("", "greeks"):
                figures["greeks"] = bench_greeks.measure(args.repeat)
                texts.append(bench_greeks.shown(figures["greeks"]))
            if args.part in ("", "options"):
                wanted = bench_options.Wanted(args.option_seconds, 1 if args.day else SHORT_DAY_STEP, args.repeat)
                figures["options"] = bench_options.measure(wanted, Path(folder))
                texts.append(bench_options.shown(figures["options"]))
            if args.part == "sizes":
                figures["sizes"] = bench_sizes.measure(Path(folder), ideas=args.ideas)
                texts = [bench_sizes.shown(figures["sizes"])]
    except ChildError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    figures["wall_s"] = time.monotonic() - began
    texts.append(f"{figures['wall_s']:.0f} s in all. CPU-µs are those of the named process alone.")
    print(json.dumps(figures, indent=2) if args.json else "\n".join(texts))
    return 0


def _store_measured(repetitions: int) -> dict[str, Any]:
    """bench_store.py is a program of its own: its figures."""
    program = [sys.executable, "-m", "bench.bench_store", "--json"]
    program += ["--rows", str(STORE_ROWS), "--rounds", str(repetitions)]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise ChildError(f"bench.bench_store ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What a quote costs.")
    parser.add_argument("part", nargs="?", default="", choices=("", *PARTS, *APART), help="only this part")
    parser.add_argument("--json", action="store_true", help="all runs and medians as JSON")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="repetitions of everything (default 3)")
    parser.add_argument("--quotes", type=int, default=60_000, metavar="N", help="quotes played flat out")
    parser.add_argument("--paced-seconds", type=float, default=6.0, metavar="S", help="length of the paced runs")
    parser.add_argument(
        "--case", default="", metavar="NAME", help="only this case of the path: flat_1s, flat_tick, paced_1s"
    )
    parser.add_argument(
        "--option-seconds", type=int, default=60, metavar="S", help="real time of each load of options (default 60)"
    )
    parser.add_argument(
        "--day", action="store_true", help=f"options: every second of the day, not one in {SHORT_DAY_STEP}"
    )
    parser.add_argument("--ideas", action="store_true", help="sizes: other forms of the same rows too")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the frames")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
