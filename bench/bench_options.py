"""What following option chains costs the shipped recorder: CPU time at real time, memory over a day, piece by piece.

Five equities and so many contracts with one update a second each (option_frames.py), found by the recorder itself over
REST. `share`: CPU seconds of the recorder for each second of real time, in percent of one core. The day runs from 04:00
to 20:00 and over to the next session's contracts as quickly as the recorder derives; unless it is whole, its seconds
are `step` apart: the same day and the same roll, with fewer updates.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from bench.child import Child, ChildError
from bench.option_frames import END_S, LOADS, OPEN_S, TICKERS, Load
from bench.report import Run, middle, table
from bench.shipped import Recorder

WARM_S = 8
PACED_AT_S = OPEN_S + 3600
SHARE_MOST, MEMORY_MOST_MB = 3.0, 70.0
"""What 200 contracts may cost: percent of one core, 10^6 bytes."""
COST_SECONDS = {"200": 60, "3000": 6}
ROUNDS, AHEAD = 60, 4
"""Seconds played to the recorder at once, and how many such may be on their way."""
MARKS = (0.1, 0.5, 1.0)


class Wanted(msgspec.Struct, frozen=True):
    """How long to measure. `day_step` 0: no day."""

    paced_s: int
    day_step: int
    repetitions: int


def measure(wanted: Wanted, scratch: Path) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {"loads": {}, "pieces": {}}
    for name, load in LOADS.items():
        if name in COST_SECONDS:
            found["pieces"][name] = _pieces(load, wanted.repetitions, scratch)
        found["loads"][name] = _paced(load, wanted.paced_s, scratch)
    if wanted.day_step:
        found["day"] = _day(LOADS["200"], wanted.day_step, scratch)
    return found


def shown(figures: dict[str, Any]) -> str:
    """Three tables."""
    pieces = table(
        "An option's update inside the recorder (no socket, no disk), CPU-µs",
        ("contracts", "decode", "derive", "of it model values", "COPY bytes", "rows/update", "µs a row valued"),
        [
            (
                f"{name} in one run of {of['seconds']} s", of["decode_us"], of["derive_us"], of["model_us"],
                of["pack_us"], of["rows_per_item"], of["valued_us"],
            )
            for name, of in figures["pieces"].items()
        ],
    )  # fmt: skip
    paced = table(
        f"Whole recorder at real time, one update a second each ({SHARE_MOST:g} % is what 200 may cost)",
        ("contracts + 5 equities", "% of a core", "of the limit", "CPU-µs/update", "rows/update", "PostgreSQL %",
         "peak RSS MB", "updates/s", "latest frame ms"),
        [
            (
                f"{name} for {of['seconds']:.0f} s", of["share"],
                of["share"] / SHARE_MOST if name.startswith("200") else None,
                of["cpu_us"], of["rows_per_item"], of["postgres_share"], of["peak_mb"], of["items_per_s"],
                1000 * of["late_s"],
            )
            for name, of in figures["loads"].items()
        ],
    )  # fmt: skip
    if (day := figures.get("day")) is None:
        return f"{pieces}\n{paced}"
    what = "every second" if day["step"] == 1 else f"one second in {day['step']}"
    memory = table(
        f"Memory over a day, 200 contracts + 5 equities, {what}: {day['items']:,} updates in {day['wall_s']:.0f} s",
        ("peak RSS MB after", "start", *(f"{mark:.0%}" for mark in MARKS), "of the limit", "CPU-µs/update"),
        [("the recorder", *day["peaks_mb"], day["peak_mb"] / MEMORY_MOST_MB, day["cpu_us"])],
    )
    return f"{pieces}\n{paced}\n{memory}"


def _pieces(load: Load, repetitions: int, scratch: Path) -> dict[str, Any]:
    seconds = COST_SECONDS[load.name]
    runs: list[Run] = []
    with Child("run_option_cost", load.name, str(seconds), scratch=scratch) as child:
        for repetition in range(repetitions + 1):
            child.tell()
            answer = child.hear()
            if answer["items"] != seconds * (load.contracts + len(TICKERS)) or answer["rejected"]:
                raise ChildError(
                    f"{answer['items']} updates of {load.name} were decoded, {answer['rejected']} rejected"
                )
            if repetition:  # the first one warms up
                model_s = answer["derive_s"] - answer["bare_s"]
                each = {name[:-2] + "_us": answer[name] / answer["items"] * 1e6 for name in answer if name[-2:] == "_s"}
                each |= {"model_us": model_s / answer["items"] * 1e6, "valued_us": model_s / answer["valued"] * 1e6}
                runs.append(each | {"rows_per_item": answer["rows"] / answer["items"]})
    return {name: middle(runs, name) for name in runs[0]} | {"seconds": seconds, "runs": runs}


def _recorder(load: Load, port: int, scratch: Path, name: str) -> Recorder:
    settings = {"STREAM_TICKER": ",".join(TICKERS)}
    if load.optionable < len(TICKERS):
        settings["OPTIONS"] = ",".join(["off", *(f"{ticker}:on" for ticker in TICKERS[: load.optionable])])
    if load.strikes > 50:
        settings["OPTION_STRIKES"] = "all"
    return Recorder(scratch / name, port, settings, load.contracts)


def _paced(load: Load, seconds: int, scratch: Path) -> dict[str, Any]:
    images = load.contracts + len(TICKERS)
    with (
        Child("option_server", load.name, str(PACED_AT_S), scratch=scratch) as server,
        _recorder(load, server.hear()["port"], scratch, f"paced-{load.name.replace(' ', '-')}") as recorder,
    ):
        recorder.wait_for("images of all", lambda now: now.images == images)
        first = _play(server, WARM_S)
        before = recorder.wait_for("the first updates", lambda now: now.updates >= first["items"] + images)
        cpu_s, began = recorder.cpu_s(), time.monotonic()
        last = _play(server, seconds)
        after_s, wall_s = recorder.cpu_s(), time.monotonic() - began
        after = recorder.wait_for("all updates", lambda now: now.updates >= last["items"] + images)
        if after.rejected or after.outside:
            raise ChildError(f"{after.rejected} updates were rejected, {after.outside} had not been asked for")
        items = last["items"] - first["items"]
        return {
            "seconds": wall_s,
            "share": 100 * (after_s[0] - cpu_s[0]) / wall_s,
            "cpu_us": 1e6 * (after_s[0] - cpu_s[0]) / items,
            "postgres_share": _share(cpu_s[1], after_s[1], wall_s),
            "items_per_s": items / wall_s,
            "rows_per_item": (after.option_rows - before.option_rows) / items,
            "peak_mb": recorder.peak_mb(),
            "late_s": last["late_s"],
        }


def _day(load: Load, step: int, scratch: Path) -> dict[str, Any]:
    """As quickly as it is derived."""
    with (
        Child("option_server", load.name, "0", scratch=scratch) as server,
        _recorder(load, server.hear()["port"], scratch, f"day-{load.name}") as recorder,
    ):
        images = load.contracts + len(TICKERS)
        start = recorder.wait_for("images of all", lambda now: now.images == images)
        peaks_mb, cpu_s, began = [recorder.peak_mb()], recorder.cpu_s(), time.monotonic()
        sent, done, answer = [start.frames], 0, {"items": 0}
        while done < END_S // step:
            count = min(ROUNDS, END_S // step - done)
            answer, done = _play(server, count, step, paced=False), done + count
            sent.append(start.frames + answer["frames"])
            _wait_for_frames(recorder, sent[max(0, len(sent) - AHEAD)])
            if done >= MARKS[min(len(peaks_mb), len(MARKS)) - 1] * (END_S // step):
                _wait_for_frames(recorder, sent[-1])
                peaks_mb.append(recorder.peak_mb())
        after = recorder.wait_for("the end", lambda now: now.committed >= now.derived)
        if after.rejected or after.images != images + load.contracts:
            raise ChildError(f"{after.rejected} updates were rejected; {after.images} images of both chains came")
        return {
            "step": step,
            "items": answer["items"],
            "wall_s": time.monotonic() - began,
            "cpu_us": 1e6 * (recorder.cpu_s()[0] - cpu_s[0]) / answer["items"],
            "peaks_mb": peaks_mb,
            "peak_mb": recorder.peak_mb(),
            "rows": after.option_rows,
            "expiries": sorted({expiry for one in after.options.values() for expiry in one.expiries}),
        }


def _wait_for_frames(recorder: Recorder, frames: int) -> None:
    recorder.wait_for("what was sent", lambda now: now.frames >= frames)


def _play(server: Child, seconds: int, step: int = 1, *, paced: bool = True) -> dict[str, Any]:
    server.tell(seconds=seconds, step=step, paced=paced)
    return server.hear(seconds + 90.0)


def _share(before_s: float | None, after_s: float | None, wall_s: float) -> float | None:
    return None if before_s is None or after_s is None else 100 * (after_s - before_s) / wall_s
