"""The guide to custom indicators, carried out; and the same journal in any batches gives the same values."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import talib
from tests.acceptance import test_batches
from tests.harness import alphakite, asked, output, until

from alphakite.derive.indicators import search_in
from alphakite.derive.indicators.found import load
from alphakite.feed.schwab.rest import parse_candles
from alphakite.journal.reader import JournalReader
from alphakite.journal.record import Kind

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "custom-indicators.md"
START, LAST = (datetime(2026, 11, 20, *at, tzinfo=UTC) for at in ((15, 15), (15, 44, 59)))
LAST_US = int(LAST.timestamp() + 1) * 1_000_000
FAULTY = """
from my_module import EMA21


class Divides(EMA21):
    def value(self):
        return 1 / 0
"""


def blocks(kind: str) -> list[str]:
    """The page's fenced blocks of one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(start: str) -> list[str]:
    """The page's command lines that begin so."""
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith(start)]


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    """The page's INDICATORS and one that fails; a folder of the interpreter's own choice is not searched."""
    (line,) = [line for line in commands("export ") if "INDICATORS=" in line]
    return {"INDICATORS": f"{line.partition('=')[2]},faulty:Divides", "PYTHONSAFEPATH": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Iterator[Path]:
    """The page's file, its half hour and its recorder; the database stays up."""
    folder = tmp_path_factory.mktemp("guide")
    (source,) = blocks("python")
    (folder / "my_module.py").write_text(source)
    (folder / "faulty.py").write_text(FAULTY)
    data = folder / "lab"
    output("db", "start", "--data", str(data))
    simulate, run = (shlex.split(line)[1:] for line in commands("alphakite simulate") + commands("alphakite run"))
    simulator = alphakite(*simulate, cwd=folder, stdout=subprocess.PIPE)
    try:
        assert simulator.stdout is not None
        assert simulator.stdout.readline().startswith("READY")
        with (folder / "run.err").open("w") as errors:
            recorder = alphakite(*run, env=env, cwd=folder, stderr=errors)
        try:
            until_the_end(folder, recorder)
            recorder.send_signal(signal.SIGINT)
            assert recorder.wait(30) == 0, (folder / "run.err").read_text()
        finally:
            recorder.kill()
            recorder.wait()
        yield folder
    finally:
        simulator.kill()
        simulator.wait()
        if simulator.stdout is not None:
            simulator.stdout.close()
        output("db", "stop", "--data", str(data))


def until_the_end(folder: Path, recorder: subprocess.Popen[str]) -> None:
    """Until the last second is in the table."""

    def committed() -> bool:
        assert recorder.poll() is None, (folder / "run.err").read_text()
        try:
            status = json.loads((folder / "lab" / "run" / "status.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(status["now_us"] >= LAST_US and status["committed"] == status["appended"])

    until(committed, what="the end of the tape")
    (row,) = rows(folder, "select max(timestamp) as last from equity_data")
    assert datetime.fromisoformat(row["last"]) == LAST


def rows(folder: Path, query: str) -> list[dict[str, str]]:
    return asked(folder / "lab", query)


def closes(folder: Path) -> np.ndarray:
    """Of the regular minutes: Schwab's candles before the start, then the last prices that the tables have."""
    found: dict[datetime, float] = {}
    for record in JournalReader(folder / "lab" / "journal").read():
        if record.kind == Kind.REST:
            for candle in (parse_candles(record.payload.partition(b"\n")[2]) or ("", []))[1]:
                at = datetime.fromtimestamp(candle.minute_us / 1e6, UTC)
                if at < START and (at.hour, at.minute) >= (14, 30) and at.hour < 21:
                    found[at] = candle.close / 1e8
    for row in rows(folder, "select timestamp, price from equity_data order by timestamp"):
        at = datetime.fromisoformat(row["timestamp"])
        if at >= START:
            found[at - timedelta(seconds=at.second)] = float(row["price"])
    return np.array([found[at] for at in sorted(found)])


def test_the_page_is_about_25_lines_of_code() -> None:
    """One file, one small class."""
    (source,) = blocks("python")
    assert len(source.splitlines()) <= 27


def test_values_equal_talib(folder: Path) -> None:
    """In each minute's last row what TA-Lib says of the closes until then, and MACD beside it."""
    prices = closes(folder)
    wanted = {"my_module:EMA21": talib.EMA(prices, 21)[-30:]}
    for output_name, theirs in zip(("line", "signal", "histogram"), talib.MACD(prices, 12, 26, 9), strict=True):
        wanted[f"macd.{output_name}"] = theirs[-30:]
    shown = rows(
        folder,
        "select distinct on (date_trunc('minute', timestamp)) timestamp, custom from all_indicators"
        " order by date_trunc('minute', timestamp), timestamp desc",
    )
    assert len(shown) == 30
    for at, row in enumerate(shown):
        custom = json.loads(row["custom"])
        assert set(custom) == {*wanted, "faulty:Divides"}
        for name, theirs in wanted.items():
            assert abs(float(custom[name]) - theirs[at]) <= 0.500001e-6, f"{name} in {row['timestamp']}"
        assert custom["faulty:Divides"] is None


def test_the_pages_queries(folder: Path) -> None:
    """Each `alphakite sql` and `rederive` of the page does what it says."""
    asked = [shlex.split(line)[1:] for line in commands("alphakite sql") + commands("alphakite rederive")]
    assert len(asked) == 3
    for arguments in asked:
        process = alphakite(*arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
        if arguments[0] == "sql":
            assert "15:44:59.000000Z" in out
            assert "(3 rows)" in out
    values = rows(folder, "select value from indicator_values where name = 'my_module:EMA21' and value is not null")
    assert len(values) == len(rows(folder, "select 1 from equity_data where timestamp >= '2026-11-20 14:30Z'"))


def test_it_was_derived_again(folder: Path) -> None:
    """`rederive --check` compares the custom values, too."""
    process = alphakite("rederive", "--check", "--data", "lab", "--json", cwd=folder, stdout=subprocess.PIPE)
    report = json.loads(process.communicate(timeout=60)[0])
    tables = {table["name"]: table for table in report["tables"]}
    assert tables["indicator_values"]["rows"] >= 5 * 1700
    assert report["differences"] == 0


def test_a_changed_class_leaves_old_values_alone(folder: Path, tmp_path: Path) -> None:
    """Derived again with another file of that name: its values are not made anew, and not judged; the others are."""
    (tmp_path / "my_module.py").write_text((folder / "my_module.py").read_text().replace("length = 21", "length = 20"))
    (tmp_path / "faulty.py").write_text(FAULTY)
    data = str(folder / "lab")
    process = alphakite("rederive", "--check", "--data", data, "--json", cwd=tmp_path, stdout=subprocess.PIPE)
    report = json.loads(process.communicate(timeout=60)[0])
    tables = {table["name"]: table for table in report["tables"]}
    assert report["differences"] == 0
    assert tables["indicator_values"]["rows"] == 3 * tables["indicators"]["rows"], "macd's"


def test_the_faulty_one_cost_only_its_values(folder: Path) -> None:
    """One event; every quote is there, and its rows are flagged."""
    events = rows(folder, "select ticker, kind, detail from quality_events")
    assert events == [
        {"ticker": "QQQ", "kind": "indicator_fault", "detail": "faulty:Divides: ZeroDivisionError: division by zero"}
    ]
    flags = rows(folder, "select distinct value, flags from indicator_values where name = 'faulty:Divides'")
    assert flags == [{"value": "", "flags": "seeded:custom,fault:custom"}]


def test_a_name_that_is_not_there_stops_the_start(folder: Path) -> None:
    """Exit code 3, the name, and what to do."""
    process = alphakite(
        "run", "--env-file", "sim.env", "--data", "other", env={"INDICATORS": "sma9,my_module:EMA22"},
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 3, err
    assert "my_module:EMA22" in err
    assert "MODULE:CLASS" in err


@pytest.fixture
def importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process finds the modules as well."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    search_in([str(folder)])
    yield
    for name in ("my_module", "faulty"):
        sys.modules.pop(name, None)
    load.cache_clear()


async def test_batches_and_checkpoints_change_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importable: None
) -> None:
    """Batches of 1 and of 10,000, with and without checkpoints: the same bytes as the live run made."""
    tables = ("indicator_values", "all_indicators", "quality_events")
    monkeypatch.setattr(test_batches, "TABLES", tables)
    live_run = {table: output("export", table, "--data", str(folder / "lab")) for table in tables}
    for size, checkpoints in ((1, False), (1, True), (10_000, False), (10_000, True)):
        name = f"c{size}_{'with' if checkpoints else 'without'}"
        (tmp_path / name).mkdir()
        made = await test_batches.derive(
            folder / "lab", tmp_path / name, name, batch_size=size, checkpoints=checkpoints
        )
        assert made == live_run, name
