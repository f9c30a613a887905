"""The judges themselves: they accept what is right, worked out by hand here, and reject every kind of corruption.

Session 2013-10-08 (New York is UTC−4). The tapes are a few seconds long, so that each figure can be checked on paper.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

JUDGES = Path(__file__).parents[1] / "judges"
EQUITY_HEADER = "ticker,timestamp,price,volume,flags"
INDICATOR_HEADER = "ticker,timestamp,sma9,vwap,flags"
GAP_HEADER = "ticker,start_at,end_at,reason,volume"


def utc_ms(wall: str) -> int:
    """Exchange wall time HH:MM:SS[.mmm] of the session → epoch milliseconds."""
    return round(datetime.fromisoformat(f"2013-10-08T{wall}-04:00").timestamp() * 1000)


def utc(wall: str) -> str:
    """Exchange wall time → the exports' spelling."""
    hours, rest = wall.split(":", 1)
    return f"2013-10-08T{int(hours) + 4:02d}:{rest}{'' if '.' in rest else '.000'}000Z"


def rows(header: str, *lines: str) -> list[str]:
    """CSV lines of SPY from 'WALL VALUE,VALUE,FLAGS', '-' for NULL."""
    out = [header]
    for line in lines:
        wall, values = line.split(" ")
        flags = values.split(",", 2)[2]
        first, second = values.split(",")[:2]
        cells = [
            "SPY",
            utc(wall),
            first.strip("-"),
            second.strip("-"),
            f'"{flags}"' if "," in flags else flags.strip("-"),
        ]
        out.append(",".join(cells))
    return out


def judge(script: str, *args: str) -> tuple[int, str]:
    command = [sys.executable, "-I", str(JUDGES / script), *args]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return run.returncode, run.stdout + run.stderr


def replaced(lines: list[str], old: str, new: str) -> list[str]:
    """The lines with `old` replaced where it occurs, which must be exactly once."""
    assert sum(old in line for line in lines) == 1, old
    return [line.replace(old, new) for line in lines]


def without(lines: list[str], part: str) -> list[str]:
    assert sum(part in line for line in lines) == 1, part
    return [line for line in lines if part not in line]


# ------------------------------------------------------------------------------------------------- spy_session.py


TRADES = [
    "epoch_ms,price,size,sale_condition_hex",
    f"{utc_ms('07:27:59.500')},10.00,50,0",
    f"{utc_ms('09:29:59.100')},9.90,100,0",
    f"{utc_ms('09:30:00.200')},10.10,200,0",
    f"{utc_ms('09:30:00.900')},10.20,100,0",
    f"{utc_ms('09:31:01.000')},10.40,100,0",
    f"{utc_ms('16:00:01.000')},10.50,10,80",
]
QUOTES = ["epoch_ms,bid_close", *(f"{utc_ms(wall)},10" for wall in ("09:30:05", "09:31:00", "20:00:00"))]
BARS = ["epoch_ms,close", *(f"{utc_ms('15:51:00') - 86_400_000 + 60_000 * n},10.00" for n in range(9))]
SPY_EQUITY = rows(
    EQUITY_HEADER,
    "07:27:59 10.00,50,-",
    "07:28:00 10.00,0,-",
    "09:29:59 9.90,100,-",
    "09:30:00 10.20,300,-",
    "09:30:05 10.20,0,-",
    "09:31:00 10.20,0,-",
    "09:31:01 10.40,100,-",
    "16:00:01 10.50,10,-",
)
SPY_INDICATORS = rows(
    INDICATOR_HEADER,
    "07:27:59 -,-,-",
    "07:28:00 -,-,-",
    "09:29:59 -,-,-",
    "09:30:00 10.022222,10.2,seeded:sma9",
    "09:30:05 10.022222,10.2,seeded:sma9",
    "09:31:00 10.022222,10.2,seeded:sma9",
    "09:31:01 10.066667,10.25,seeded:sma9",
    "16:00:01 -,-,-",
)


def judge_spy(folder: Path, equity: list[str], indicators: list[str], *more: str) -> tuple[int, str]:
    files = {"trades": TRADES, "quotes": QUOTES, "bars": BARS, "equity": equity, "indicators": indicators}
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    paths = {name: str(folder / f"{name}.csv") for name in files}
    positional = (paths["trades"], paths["equity"], paths["indicators"])
    return judge("spy_session.py", *positional, "--quotes", paths["quotes"], "--bars", paths["bars"], *more)


def test_the_session_judge_accepts_what_the_tape_says(tmp_path: Path) -> None:
    """Reset at 07:28, quote-only seconds, a minute without a trade yet, and the close are as worked out by hand."""
    code, out = judge_spy(tmp_path, SPY_EQUITY, SPY_INDICATORS)
    assert code == 0, out
    assert "8 on the tape, 8 recorded, 8 compared" in out
    assert "day volume 510" in out


def test_the_session_judge_knows_a_late_start(tmp_path: Path) -> None:
    """From 09:31 the minute before is a candle: typical price (10.2 + 10.1 + 10.2) / 3, volume 300."""
    equity = [EQUITY_HEADER, *SPY_EQUITY[6:]]
    indicators = rows(INDICATOR_HEADER, "09:31:00 10.022222,10.166667,-", "09:31:01 10.066667,10.225,-")
    code, out = judge_spy(tmp_path, equity, [*indicators, SPY_INDICATORS[-1]], "--start", "09:31")
    assert code == 0, out


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("equity", lambda lines: without(lines, utc("09:30:05"))),
        ("equity", lambda lines: [*lines, *rows("", "09:30:06 10.20,0,-")[1:]]),
        ("equity", lambda lines: [*lines, lines[-1]]),
        ("equity", lambda lines: replaced(lines, "10.20,300", "10.20,301")),
        ("equity", lambda lines: replaced(lines, "9.90,", "9.91,")),
        ("equity", lambda lines: replaced(lines, "10.40,100,", "10.40,,gap")),
        ("indicators", lambda lines: without(lines, utc("09:31:01"))),
        ("indicators", lambda lines: [*lines, *rows("", "09:30:06 10.022222,10.2,-")[1:]]),
        ("indicators", lambda lines: replaced(lines, ",10.25,", ",10.250001,")),
        ("indicators", lambda lines: replaced(lines, "10.066667", "10.066666")),
        ("indicators", lambda lines: replaced(lines, f"{utc('16:00:01')},,", f"{utc('16:00:01')},,10.25")),
    ],
)
def test_the_session_judge_rejects(tmp_path: Path, table: str, change: Any) -> None:
    """A row missing, extra or doubled, a volume, a price or a sixth decimal off, a value where NULL belongs."""
    tables = {"equity": SPY_EQUITY, "indicators": SPY_INDICATORS}
    tables[table] = change(tables[table])
    code, out = judge_spy(tmp_path, tables["equity"], tables["indicators"])
    assert (code, "DIFFERENT" in out, "Traceback" in out) == (1, True, False), out


def test_the_session_judge_is_short_and_independent() -> None:
    """At most 120 lines, and neither judge imports anything of ours."""
    assert len((JUDGES / "spy_session.py").read_text().splitlines()) <= 120
    for script in JUDGES.glob("*.py"):
        assert "alphakite." not in script.read_text() and "import alphakite" not in script.read_text()


# ---------------------------------------------------------------------------------------------------- kill_run.py


@dataclass
class Case:
    """Everything kill_run.py reads. `sent` and `journal` are built frame by frame, the tables are written by hand."""

    mode: str = "hold"
    sent: list[str] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    calm_equity: list[str] = field(default_factory=list)
    calm_indicators: list[str] = field(default_factory=list)
    equity: list[str] = field(default_factory=list)
    indicators: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    clock_ms: int = 0
    process: int = 0

    def record(self, kind: str, conn: int, payload: str) -> None:
        entry = {"seq": len(self.journal) + 1, "ts_recv_ns": self.clock_ms * 1_000_000, "kind": kind, "conn": conn}
        self.journal.append(json.dumps({**entry, "payload": payload}))

    def frame(self, conn: int, wall: str, message: str, *, kept: bool = True) -> None:
        self.sent.append(
            json.dumps({"n": len(self.sent), "conn": conn, "wall_ns": 0, "tape_ms": utc_ms(wall), "frame": message})
        )
        if kept:
            self.clock_ms = max(self.clock_ms, utc_ms(wall))
            self.record("frame", 1, message)  # the recorder counts its connections anew in each process

    def quote(self, conn: int, wall: str, *, kept: bool = True, **fields: float) -> None:
        """One LEVELONE_EQUITIES frame of SPY; f3=10.1 is field 3. A trade time stands one second before the stamp."""
        content = {"key": "SPY", **{name[1:]: value for name, value in fields.items()}}
        if "f3" in fields:
            content["35"] = utc_ms(wall) // 1000 * 1000 - (1 if wall.endswith(".000") else 0)
        part = {"service": "LEVELONE_EQUITIES", "timestamp": utc_ms(wall), "command": "SUBS", "content": [content]}
        self.frame(conn, wall, json.dumps({"data": [part]}), kept=kept)

    def start(self, conn: int, wall: str, candles: list[dict[str, float]], *, kept: bool = True) -> None:
        """A process starts, asks for history, signs in."""
        self.clock_ms = max(self.clock_ms, utc_ms(wall))
        self.record("process", 0, "{}")
        self.record("rest", 0, json.dumps({"symbol": "SPY", "candles": candles, "empty": False}))
        self.record("connection", 1, json.dumps({"event": "open"}))
        response = {"service": "ADMIN", "command": "LOGIN", "timestamp": utc_ms(wall), "content": {"code": 0}}
        self.frame(conn, wall, json.dumps({"response": [response]}), kept=kept)

    def verdict(self, folder: Path, *more: str) -> tuple[int, str]:
        names = {"send-log": self.sent, "journal": self.journal, "undisturbed-equity": self.calm_equity}
        names |= {"undisturbed-indicators": self.calm_indicators, "equity": self.equity}
        names |= {"indicators": self.indicators, "gaps": self.gaps}
        args = ["--mode", self.mode]
        for name, lines in names.items():
            (folder / name).write_text("\n".join(lines) + "\n")
            args += [f"--{name}", str(folder / name)]
        return judge("kill_run.py", *args, *more)


def candle(wall: str, high: float, low: float, close: float, volume: int, days_ago: int = 0) -> dict[str, float]:
    at = utc_ms(wall) - days_ago * 86_400_000
    return {"open": low, "high": high, "low": low, "close": close, "volume": volume, "datetime": at}


YESTERDAY = [candle(f"15:{minute}:00", 10.0, 10.0, 10.0, 100, days_ago=1) for minute in range(51, 60)]


def one_kill() -> Case:
    """Held tape: the frame of 09:30:02 is sent and lost, the next image stands at 09:30:03."""
    case = Case()
    case.start(1, "09:29:58.000", YESTERDAY)
    case.quote(1, "09:29:58.000", f3=10.00, f8=1000)
    case.quote(1, "09:29:58.999", f3=10.00, f8=1100)
    case.quote(1, "09:30:00.999", f3=10.1, f8=1300)
    case.quote(1, "09:30:01.999", f3=10.2, f8=1400)
    case.quote(1, "09:30:02.999", f3=10.3, f8=1500, kept=False)
    case.start(2, "09:30:03.000", YESTERDAY)
    case.quote(2, "09:30:03.000", f3=10.3, f8=1500)
    case.quote(2, "09:30:03.999", f1=10.2, f2=10.3)
    case.quote(2, "09:30:04.999", f3=10.4, f8=1600)
    case.quote(2, "09:31:00.999", f3=10.5, f8=1700)
    case.calm_equity = rows(
        EQUITY_HEADER,
        "09:29:58 10,100,-",
        "09:30:00 10.1,200,-",
        "09:30:01 10.2,100,-",
        "09:30:02 10.3,100,-",
        "09:30:03 10.3,0,-",
        "09:30:04 10.4,100,-",
        "09:31:00 10.5,100,-",
    )
    case.calm_indicators = rows(
        INDICATOR_HEADER,
        "09:29:58 -,-,-",
        "09:30:00 10.011111,10.1,seeded:sma9",
        "09:30:01 10.022222,10.133333,seeded:sma9",
        "09:30:02 10.033333,10.175,seeded:sma9",
        "09:30:03 10.033333,10.175,seeded:sma9",
        "09:30:04 10.044444,10.22,seeded:sma9",
        "09:31:00 10.1,10.266667,seeded:sma9",
    )
    case.equity = replaced(without(case.calm_equity, utc("09:30:02")), "10.2,100,", "10.2,,gap")
    case.indicators = rows(
        INDICATOR_HEADER,
        "09:29:58 -,-,-",
        "09:30:00 10.011111,10.1,seeded:sma9",
        "09:30:01 10.022222,10.133333,gap:sma9,gap:vwap,seeded:sma9",
        "09:30:03 10.033333,10.175,gap:sma9,gap:vwap,seeded:sma9",
        "09:30:04 10.044444,10.22,gap:sma9,gap:vwap,seeded:sma9",
        "09:31:00 10.1,10.266667,gap:sma9,gap:vwap,seeded:sma9",
    )
    case.gaps = [
        GAP_HEADER,
        f"SPY,{utc('04:00:00')},{utc('09:29:58')},late_start,1000",
        f"SPY,{utc('09:30:01.999')},{utc('09:30:03')},process_down,200",
    ]
    return case


def three_kills() -> Case:
    """Running tape: 91 s over the opening are lost, then two kills with no complete second between their gaps.

    VWAP begins with the candle of 09:30: (10.3 + 10.0 + 10.1) / 3 × 600 = 6080; the minute stays a hole for SMA9.
    """
    case = Case(mode="run")
    case.start(1, "09:29:58.000", YESTERDAY)
    case.quote(1, "09:29:58.000", f3=10.00, f8=1000)
    case.quote(1, "09:29:58.999", f3=10.00, f8=1100)
    case.start(2, "09:31:30.000", [*YESTERDAY, candle("09:30:00", 10.3, 10.0, 10.1, 600)])
    case.quote(2, "09:31:30.000", f3=10.2, f8=2000)
    case.quote(2, "09:31:30.999", f3=10.4, f8=2100)
    case.quote(2, "09:31:31.999", f3=10.4, f8=2200)
    case.start(3, "09:31:32.000", YESTERDAY)
    case.quote(3, "09:31:32.000", f3=10.4, f8=2200)
    case.quote(3, "09:31:32.999", f3=10.5, f8=2300)
    case.start(4, "09:31:33.000", YESTERDAY)
    case.quote(4, "09:31:33.000", f3=10.5, f8=2300)
    case.quote(4, "09:31:33.999", f3=10.5, f8=2400)
    case.calm_equity = rows(
        EQUITY_HEADER,
        "09:29:58 10,100,-",
        "09:30:10 10.1,600,-",
        "09:31:10 10.2,300,-",
        "09:31:30 10.4,100,-",
        "09:31:31 10.4,100,-",
        "09:31:32 10.5,100,-",
        "09:31:33 10.5,100,-",
    )
    case.calm_indicators = rows(
        INDICATOR_HEADER,
        "09:29:58 -,-,-",
        "09:30:10 10.011111,10.1,seeded:sma9",
        "09:31:10 10.033333,10.133333,seeded:sma9",
        "09:31:30 10.055556,10.16,seeded:sma9",
        "09:31:31 10.055556,10.181818,seeded:sma9",
        "09:31:32 10.066667,10.208333,seeded:sma9",
        "09:31:33 10.066667,10.230769,seeded:sma9",
    )
    case.equity = rows(
        EQUITY_HEADER,
        "09:29:58 10,-,gap",
        "09:31:30 10.4,100,-",
        "09:31:31 10.4,-,gap",
        "09:31:32 10.5,-,gap",
        "09:31:33 10.5,100,-",
    )
    case.indicators = rows(
        INDICATOR_HEADER,
        "09:29:58 -,-,-",
        "09:31:30 10.044444,10.171429,gap:sma9,gap:vwap,seeded:sma9,seeded:vwap",
        "09:31:31 10.044444,10.2,gap:sma9,gap:vwap,seeded:sma9,seeded:vwap",
        "09:31:32 10.055556,10.233333,gap:sma9,gap:vwap,seeded:sma9,seeded:vwap",
        "09:31:33 10.055556,10.26,gap:sma9,gap:vwap,seeded:sma9,seeded:vwap",
    )
    case.gaps = [
        GAP_HEADER,
        f"SPY,{utc('04:00:00')},{utc('09:29:58')},late_start,1000",
        f"SPY,{utc('09:29:58.999')},{utc('09:31:30')},process_down,1000",
        f"SPY,{utc('09:31:31.999')},{utc('09:31:32')},process_down,100",
        f"SPY,{utc('09:31:32.999')},{utc('09:31:33')},process_down,100",
    ]
    return case


def test_the_kill_judge_accepts_one_lost_frame(tmp_path: Path) -> None:
    """One second lost: its neighbours are flagged, VWAP is what it would have been, the volumes add up."""
    code, out = one_kill().verdict(tmp_path, "--kills", "1")
    assert code == 0, out
    assert "rows 500 + gaps 1200 = 1700; Schwab's total 1700" in out
    assert "(4) 2 tape seconds for 1 kills" in out


def test_the_kill_judge_accepts_whole_minutes_lost_and_neighbouring_gaps(tmp_path: Path) -> None:
    """A gap over the opening seeds VWAP, its minute is a hole for SMA9, neighbouring gaps share their volume."""
    case = three_kills()
    code, out = case.verdict(tmp_path)
    assert code == 0, out
    case.gaps = replaced(replaced(case.gaps, ",process_down,1000", ",process_down,1100"), "start,1000", "start,900")
    code, out = case.verdict(tmp_path)
    assert code == 0, out  # the same sum over gaps with no complete second between them


def test_the_kill_judge_counts_lost_seconds_against_kills(tmp_path: Path) -> None:
    """Two seconds inside a gap are one kill's due, and too many where nobody killed anything."""
    code, out = one_kill().verdict(tmp_path, "--kills", "0")
    assert (code, "FAILED 4 hold" in out) == (1, True), out


def test_the_kill_judge_accepts_trailing_frames_without_instruments(tmp_path: Path) -> None:
    """Heartbeats and answers that were sent and never journaled lose nothing."""
    case = one_kill()
    case.frame(2, "09:31:01.000", json.dumps({"notify": [{"heartbeat": str(utc_ms("09:31:01.000"))}]}), kept=False)
    code, out = case.verdict(tmp_path)
    assert code == 0, out


def lose_from_journal(case: Case, part: str) -> Case:
    case.journal = [line for line in case.journal if part not in line]
    return case


def with_table(name: str, case: Case, old: str, new: str) -> Case:
    setattr(case, name, replaced(getattr(case, name), old, new))
    return case


def with_table_less(name: str, case: Case, part: str) -> Case:
    setattr(case, name, without(getattr(case, name), part))
    return case


def with_table_more(name: str, case: Case, line: str) -> Case:
    getattr(case, name).extend(rows("", line)[1:])
    return case


CORRUPTIONS: dict[str, Any] = {
    "a missing row": lambda: with_table_less("equity", one_kill(), utc("09:30:03")),
    "a missing indicator row": lambda: with_table_less("indicators", one_kill(), utc("09:29:58")),
    "an extra row": lambda: with_table_more("equity", one_kill(), "09:30:05 10.4,0,-"),
    "a doubled row": lambda: with_table_more("equity", one_kill(), "09:30:04 10.4,100,-"),
    "a row of a second wholly lost": lambda: with_table_more("equity", one_kill(), "09:30:02 10.3,-,gap"),
    "a volume off by one": lambda: with_table("equity", one_kill(), "10.1,200,", "10.1,201,"),
    "a volume in a second partly lost": lambda: with_table("equity", one_kill(), "10.2,,gap", "10.2,100,gap"),
    "a second partly lost without its flag": lambda: with_table("equity", one_kill(), "10.2,,gap", "10.2,,"),
    "a price off": lambda: with_table("equity", one_kill(), "10.3,0,", "10.31,0,"),
    "a flagged vwap off in the sixth decimal": lambda: with_table("indicators", one_kill(), ",10.22,", ",10.220001,"),
    "an unflagged vwap off": lambda: with_table("indicators", one_kill(), ",10.1,seeded", ",10.100001,seeded"),
    "a flagged sma9 off": lambda: with_table("indicators", one_kill(), "10.044444", "10.044445"),
    "a flag left out": lambda: with_table("indicators", one_kill(), '10.266667,"gap:sma9,', '10.266667,"'),
    "a flag too many": lambda: with_table("equity", one_kill(), "10.1,200,", "10.1,200,gap"),
    "a gap removed": lambda: with_table_less("gaps", one_kill(), "process_down"),
    "a late start removed": lambda: with_table_less("gaps", one_kill(), "late_start"),
    "a gap that was not": lambda: with_table("gaps", one_kill(), utc("09:30:01.999"), utc("09:30:00.999")),
    "a gap's volume off": lambda: with_table("gaps", one_kill(), "down,200", "down,199"),
    "a gap's volume left out": lambda: with_table("gaps", one_kill(), "down,200", "down,"),
    "a lost frame inside a connection": lambda: lose_from_journal(one_kill(), '10.1, \\"8\\": 1300'),
    "a lost last frame": lambda: lose_from_journal(one_kill(), '10.5, \\"8\\": 1700'),
    "a frame that was never sent": lambda: with_table("journal", one_kill(), '\\"8\\": 1600', '\\"8\\": 1601'),
    "a stamp of its own": lambda: with_table(
        "journal", one_kill(), str(utc_ms("09:30:04.999")) + "0", "138123540500000"
    ),
    "an unseeded vwap": lambda: with_table("indicators", three_kills(), "10.171429", "10.196"),
    "a seed without its flag": lambda: with_table(
        "indicators",
        three_kills(),
        '10.171429,"gap:sma9,gap:vwap,seeded:sma9,seeded:vwap"',
        '10.171429,"gap:sma9,gap:vwap,seeded:sma9"',
    ),
    "a hole in the window unflagged": lambda: with_table(
        "indicators", three_kills(), '10.171429,"gap:sma9,', '10.171429,"'
    ),
    "a change counted in both neighbouring gaps": lambda: with_table(
        "gaps", three_kills(), f"{utc('09:31:33')},process_down,100", f"{utc('09:31:33')},process_down,200"
    ),
}


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_the_kill_judge_rejects(tmp_path: Path, what: str) -> None:
    """Every way in which a run could lie is found, and found as a difference, not as a crash of the judge."""
    code, out = CORRUPTIONS[what]().verdict(tmp_path)
    assert (code, "DIFFERENT" in out, "Traceback" in out) == (1, True, False), out
