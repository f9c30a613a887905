"""Two real chains from the csv to the tables: played, recorded, exported, and judged by a script that reads the csv."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from tests.harness import Recording, asked, derived_again, output

JUDGE = Path(__file__).parents[1] / "judges" / "option_chain.py"
GOOG = {kind: f"lean_GOOG_options_20151223_{kind}_1m.csv.gz" for kind in ("quote", "trade", "openinterest")}
CBOE = "cboe_SPXW_0DTE_20180105_am_1m_greeks.csv.gz"
SETTINGS = {"OPTIONS": "on", "OPTION_STRIKES": "all"}
PLAYED = ("--speed", "max", "--align", "second", "--on-disconnect", "hold", "--start", "09:20")


def lines(path: Path) -> int:
    with gzip.open(path, "rt") as file:
        return sum(1 for _ in csv.DictReader(file))


def recorded(folder: Path, *tape: str, **settings: str) -> Path:
    """Record a tape to its session's end; the data folder."""
    with Recording(folder, *tape, *PLAYED, env=SETTINGS | settings) as recording:
        recording.begin("--until-close").wait(300)
        assert recording.recorder is not None
        assert recording.recorder.returncode == 0, recording.tail()
        output("export", "option_prices", "--data", str(recording.data), "--out", str(folder / "rows.csv"))
        gaps = asked(
            recording.data, "select reason, count(*) from stream_gaps where length(ticker) = 21 group by reason"
        )
        assert {gap["reason"] for gap in gaps} <= {"late_start"}
        report = derived_again(recording.data)
        assert report["differences"] == 0, report
    return folder / "rows.csv"


def judged(*arguments: str) -> str:
    """What the judge says; it has found the two equal."""
    done = subprocess.run([sys.executable, JUDGE, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "EQUAL" in done.stdout
    return done.stdout


def test_goog_minute_bars_of_the_day_before_expiry(shared_data: Path, tmp_path: Path) -> None:
    """28,932 quote bars of 118 contracts: a row for each second in which a stored column changed, and no other."""
    files = {kind: shared_data / name for kind, name in GOOG.items()}
    assert lines(files["quote"]) == 28_932
    bars = shared_data / "lean_GOOG_20151223_trade_1m.csv.gz"
    tape = [part for path in files.values() for part in ("--tape", f"options={path}")]
    rows = recorded(tmp_path, *tape, "--tape", f"bars={bars}", OPTION_DTE="1")
    said = judged(
        *("--quotes", str(files["quote"]), "--trades", str(files["trade"])),
        *("--openinterest", str(files["openinterest"]), "--root", "GOOG", "--export", str(rows)),
    )
    assert "expected 25657 rows of 118 contracts, found 25657" in said


def test_cboe_snapshots_of_an_index_on_its_last_day(shared_data: Path, tmp_path: Path) -> None:
    """18,000 snapshots of 100 SPXW contracts, IV and greeks as the vendor gave them."""
    assert lines(shared_data / CBOE) == 18_000
    rows = recorded(tmp_path, "--tape", f"chain={shared_data / CBOE}")
    said = judged("--cboe", str(shared_data / CBOE), "--root", "SPXW", "--export", str(rows))
    assert "expected 17053 rows of 100 contracts, found 17053" in said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2015-12-23T14:31:59", "2015-12-23T14:31:58"),  # a second early: one is missing, one too many
        (",1.1,", ",1.2,"),
        ("GOOG  151224C00750000,2015-12-23T14:30:59.000000Z,1,1.1,5,7,,0,0,9,,,,,,\n", ""),
        (",5,7,,0,0,9,", ",5,7,,,0,9,"),
        (",5,7,,0,0,9,", ",5,7,,0,0,9,0.2"),
    ],
)
def test_the_chain_judge_rejects(tmp_path: Path, old: str, new: str) -> None:
    """A row early, missing, doubled, a price, a NULL for a number, a number for a NULL; what is right it accepts."""
    begins = "epoch_ms,expiry,right,strike,"
    at = 1_450_881_000_000  # 09:30
    (tmp_path / "quotes.csv").write_text(
        f"{begins}bid_close,bid_size,ask_close,ask_size\n"
        f"{at},2015-12-24,C,750,1.0,5,1.1,7\n"
        f"{at + 60_000},2015-12-24,C,750,,3,1.1,7\n"
        f"{at + 120_000},2015-12-24,C,750,,4,1.1,7\n"
    )
    (tmp_path / "trades.csv").write_text(
        f"{begins}open,high,low,close,volume\n{at + 60_000},2015-12-24,C,750,1,1,1,1.05,3\n"
    )
    (tmp_path / "interest.csv").write_text(f"{begins}open_interest\n{at - 10_000_000},2015-12-24,C,750,9\n")
    head = "option_symbol,timestamp,bid,ask,bid_size,ask_size,last,volume,day_volume,open_interest,implied_volatility"
    right = (
        f"{head},delta,gamma,theta,vega,rho\n"
        "GOOG  151224C00750000,2015-12-23T14:30:59.000000Z,1,1.1,5,7,,0,0,9,,,,,,\n"
        "GOOG  151224C00750000,2015-12-23T14:31:59.000000Z,0,1.1,0,7,1.05,3,3,9,,,,,,\n"
    )
    arguments = [sys.executable, str(JUDGE), "--root", "GOOG", "--export", str(tmp_path / "rows.csv")]
    for name in ("quotes", "trades"):
        arguments += [f"--{name}", str(tmp_path / f"{name}.csv")]
    arguments += ["--openinterest", str(tmp_path / "interest.csv")]
    assert old in right
    codes = []
    for text in (right, right.replace(old, new), right + right.splitlines(True)[-1], f"{head}\n"):
        (tmp_path / "rows.csv").write_text(text)
        codes.append(subprocess.run(arguments, capture_output=True, timeout=60, check=False).returncode)
    assert codes == [0, 1, 1, 1]


def test_the_chain_judge_is_short_and_independent() -> None:
    text = JUDGE.read_text()
    assert len(text.splitlines()) <= 80
    assert "alphakite" not in text
