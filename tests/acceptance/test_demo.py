"""The installed commands as a newcomer meets them: demo, Ctrl-C, a second start, and every way to look."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.harness import alphakite, output

ROWS_WITHIN_S = 10.0
END_WITHIN_S = 10.0
DEADLINE_S = 60.0


ON = {"OPTIONS": "on"}


def chain_of(demo: subprocess.Popen[str]) -> dict[str, Any]:
    """The chain of the demo's next JSON line in which one is shown, with something at the money."""
    assert demo.stdout is not None
    for line in demo.stdout:
        chain = json.loads(line)["chain"]
        assert chain["state"] in ("waiting for the chain", "shown")
        if chain["at_the_money"] is not None and chain["at_the_money"]["iv_model"] is not None:
            return dict(chain)
    raise AssertionError("the demo ended without a chain")


def newest(demo: subprocess.Popen[str]) -> dict[str, object]:
    """The demo's next JSON line with a row in it."""
    assert demo.stdout is not None
    for line in demo.stdout:
        document = json.loads(line)
        assert document["schema"] == 1
        if document["newest"] is not None:
            return dict(document["newest"])
    raise AssertionError("the demo ended without a row")


def ended(demo: subprocess.Popen[str]) -> float:
    """Press Ctrl-C once; how long it took to end."""
    asked = time.monotonic()
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=DEADLINE_S)
    return time.monotonic() - asked


def left_running(data: Path) -> list[str]:
    """Command lines of processes that name the data folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(data) in line and int(entry.name) != os.getpid():
            found.append(line)
    return found


def rows(data: Path, query: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(output("sql", query, "--data", str(data), "--csv"))))


def check_chain(chain: dict[str, Any]) -> None:
    """The 0DTE chain around the money, with the vendor's IV and ours."""
    assert (chain["ticker"], chain["contracts"] >= 100) == ("QQQ", True)
    money = chain["at_the_money"]
    assert Decimal(money["strike"]) > 0 and Decimal(money["straddle"]) > 0
    assert 0.05 < money["implied_volatility"] < 1.5
    assert 0.5 < money["iv_model"] / money["implied_volatility"] < 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after two demos, the first one ended by Ctrl-C."""
    folder = tmp_path_factory.mktemp("demo") / "data folder"
    output("sql", "select 1", "--data", str(folder))  # a busy machine's initdb is not what is measured
    began = time.monotonic()
    demo = alphakite("demo", "--data", str(folder), "--json", env=ON, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    row = newest(demo)
    waited = time.monotonic() - began
    assert row["sma9"] is not None
    assert row["vwap"] is not None
    while newest(demo)["timestamp"] == row["timestamp"]:
        pass
    check_chain(chain_of(demo))
    took = ended(demo)
    assert demo.returncode == 0
    assert took < END_WITHIN_S
    assert waited < ROWS_WITHIN_S
    assert left_running(folder) == []
    again = alphakite("demo", "--data", str(folder), "--json", env=ON, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = str(row["timestamp"])
    while str(newest(again)["timestamp"]) <= first[:17] + "59":
        pass
    assert ended(again) < END_WITHIN_S
    assert left_running(folder) == []
    return folder


def test_the_three_tables_fill_from_the_first_row(data: Path) -> None:
    """It begins at 10:15 with history, so that SMA9 and VWAP are there at once, and metrics flow."""
    found = rows(data, "select * from indicators order by timestamp")
    assert found[0]["timestamp"].endswith(":15:00.000000Z")
    assert all(row["sma9"] and row["vwap"] for row in found)
    assert "seeded:vwap" in found[0]["flags"]
    assert len(rows(data, "select * from equity_data")) == len(found)
    metrics = rows(data, "select * from streaming_metrics order by id")
    counts = [int(row["records_processed"]) for row in metrics]
    assert counts == sorted(counts)
    assert metrics[-1]["service_status"] == "stopped"


def test_the_second_start_goes_on(data: Path) -> None:
    """One session, two connections, the time between is a gap, and nothing differs from the journal."""
    gaps = rows(data, "select * from stream_gaps where ticker = 'QQQ' order by start_at")
    assert [gap["reason"] for gap in gaps] == ["late_start", "process_down", "process_down"]
    report = json.loads(output("rederive", "--check", "--json", "--data", str(data)))
    assert report["differences"] == 0
    assert report["rows"] > 4


def test_status_adds_up(data: Path) -> None:
    """Every term of the conservation sum, and no difference."""
    found = json.loads(output("status", "--json", "--data", str(data)))
    assert found["state"] == "stopped"
    assert found["conservation"]["frames"]["difference"] == 0
    assert found["conservation"]["updates"]["difference"] == 0
    assert found["conservation"]["records"]["lag"] == 0


def test_the_reading_commands(data: Path) -> None:
    """journal, export, gaps, health, config, db: the shapes that people script against."""
    where = ("--data", str(data))
    verified = json.loads(output("journal", "verify", "--json", *where))
    assert verified["last_seq"] == verified["records"]
    assert (verified["torn_bytes"], verified["checksum_faults"]) == (0, 0)
    lines = [json.loads(line) for line in output("journal", "export", *where).splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    exported = json.loads(output("export", "equity_data", "--ticker", "qqq", "--json", *where))
    assert exported["rows"][0]["timestamp"].endswith(".000000Z")
    assert isinstance(exported["rows"][0]["price"], str)
    assert json.loads(output("gaps", "list", "--json", *where))["rows"][0]["reason"] == "late_start"
    assert {item["name"] for item in json.loads(output("config", "--json", *where))["settings"]} >= {"CLOCK"}
    health = alphakite("health", "--json", *where, stdout=subprocess.PIPE)
    document = json.loads(health.communicate(timeout=DEADLINE_S)[0])
    assert document["tickers"][0]["ticker"] == "QQQ"
    assert health.returncode == (0 if document["healthy"] else 1)
    assert "would apply" not in output("migrate", "--dry-run", *where)


def test_secrets_do_not_show(data: Path) -> None:
    """Neither in the log, the journal, the status file nor the tables."""
    token = json.loads((data / "demo.env.token.json").read_text())["token"]
    secret = next(
        line.split("=", 1)[1]
        for line in (data / "demo.env").read_text().splitlines()
        if line.startswith("SCHWAB_APP_SECRET")
    )
    for path in (data / "demo.log", data / "run" / "status.json", *(data / "journal").glob("*.akj")):
        content = path.read_bytes()
        for value in (token["access_token"], token["refresh_token"], secret):
            assert value.encode() not in content, path


def test_plain_mode_names_the_straddle(tmp_path: Path) -> None:
    """A line of the chain among those of prices; without options it says so."""
    for env, said in ((ON, ", at the money "), ({"OPTIONS": "off"}, "options: options are off")):
        demo = alphakite("demo", "--data", str(tmp_path), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert demo.stdout is not None
        assert any(said in line for line in demo.stdout), said
        assert ended(demo) < END_WITHIN_S
