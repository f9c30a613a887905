"""The same sessions through every sink: what `alphakite export` writes of them is the same, byte for byte."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.sinks import EXPORTED, Recorded, differences, plain_server, recorded
from tests.pooler import needed
from tests.supabase.server import SECRET_KEY

from alphakite.store.cluster import Endpoint

JUDGES = Path(__file__).parents[1] / "judges"
TRADES, QUOTES = "lean_SPY_20131008_trade_tick.csv.gz", "lean_SPY_20131008_quote_1s.csv.gz"
BARS = "lean_SPY_20131007_trade_1m.csv.gz"
CBOE = "cboe_SPXW_0DTE_20180105_am_1m_greeks.csv.gz"
SPY_SECONDS, OPTION_ROWS = 30_344, 17_053
FAULTS, KINDS = 50, 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with plain_server(tmp_path_factory.mktemp("plain")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def spy(server: Endpoint, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """SPY, 2013-10-08: every trade and quote of a day."""
    tape = {"trades": TRADES, "quotes": QUOTES, "bars": BARS}
    arguments = [part for kind, name in tape.items() for part in ("--tape", f"{kind}={shared_data / name}")]
    return recorded(tmp_path_factory.mktemp("spy"), server, "spy", *arguments, settings={})


@pytest.fixture(scope="module")
def chain(server: Endpoint, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """100 SPXW contracts on their last day."""
    arguments = ("--tape", f"chain={shared_data / CBOE}", "--start", "09:20")
    settings = {"OPTIONS": "on", "OPTION_STRIKES": "all"}
    return recorded(tmp_path_factory.mktemp("chain"), server, "chain", *arguments, settings=settings)


def lines(exported: bytes) -> int:
    """Without the heading."""
    return exported.count(b"\n") - 1


def same(found: Recorded) -> None:
    """All sinks hold the same, however each committed it, and the REST project failed as planned."""
    assert differences(found.exports) == []
    assert len(set(found.commits.values())) > 1, f"commits fell at other moments: {found.commits}"
    assert found.injected.total() == found.planned >= FAULTS
    assert len(found.injected) >= KINDS
    assert "database_back" in found.log
    assert SECRET_KEY not in found.log
    rows = {table: lines(text) for table, text in found.exports["rest"].items()}
    print(f"{', '.join(found.exports)}: {rows}; commits {found.commits}; {found.planned} faults {found.injected}")


def test_the_session_of_spy(spy: Recorded, shared_data: Path, tmp_path: Path) -> None:
    """Its export is the one that an independent script computes from the tape."""
    same(spy)
    exports = spy.exports["rest"]
    assert lines(exports["equity_data"]) == lines(exports["indicators"]) == SPY_SECONDS
    for table in EXPORTED:
        (tmp_path / table).write_bytes(exports[table])
    command: list[str | Path] = [sys.executable, JUDGES / "spy_session.py", shared_data / TRADES]
    command += [tmp_path / "equity_data", tmp_path / "indicators"]
    command += ["--quotes", shared_data / QUOTES, "--bars", shared_data / BARS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_a_session_of_100_contracts(chain: Recorded) -> None:
    same(chain)
    rows = list(csv.DictReader(chain.exports["rest"]["option_prices"].decode().splitlines()))
    assert len(rows) == OPTION_ROWS
    assert len({row["option_symbol"] for row in rows}) == 100
    assert lines(chain.exports["rest"]["stream_gaps"]) == 101


@needed
def test_one_of_them_was_pooled(spy: Recorded, chain: Recorded) -> None:
    """Else it is skipped here, with what to install."""
    assert "pooled" in spy.exports
    assert "pooled" in chain.exports


@pytest.mark.parametrize("table", EXPORTED)
def test_one_row_is_enough_to_differ(table: str) -> None:
    """Lost, doubled, changed, in another place, or a table that is not there."""
    whole = b"ticker,price\nSPY,1.5\nSPY,1.6\nSPY,1.7\n"
    first, second = b"SPY,1.5\n", b"SPY,1.6\n"
    assert differences({"one": {table: whole}, "other": {table: whole}}) == []
    for other in (
        whole.replace(second, b""),
        whole.replace(second, second * 2),
        whole.replace(b"SPY,1.7\n", b""),
        whole + second,
        whole.replace(b"1.6", b"1.60"),
        whole.replace(first + second, second + first),
    ):
        (said,) = differences({"one": {table: whole}, "two": {table: whole}, "other": {table: other}})
        assert said.startswith(f"{table}: two has 4 lines, other ")
    assert differences({"one": {table: whole}, "other": {}}) == [f"{table}: missing in other"]
