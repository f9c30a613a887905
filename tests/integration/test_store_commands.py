"""sql, export, gaps, db and migrate as a person or a script calls them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from alphakite.cli.main import main
from alphakite.store import embedded, migrate
from alphakite.store.database import Database

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands") / "data"


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the command in this process: exit code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--data", str(folder)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_migrate_says_before_it_does(run: Run) -> None:
    """--dry-run and --sql change nothing; then all is applied once."""
    code, out, err = run("migrate", "--dry-run")
    assert (code, len(out.splitlines())) == (0, len(migrate.migrations()))
    assert "pending" in err
    assert "create table" in run("migrate", "--sql")[1]
    assert run("migrate")[0] == 0
    assert run("migrate", "--dry-run")[1] == ""


def test_sql(run: Run) -> None:
    """Text for people, CSV and JSON for programs; a wrong query is wrong use; writing is allowed."""
    assert run("sql", "insert into store.stream_gaps values ('QQQ', 'epoch', null, 'silence', 7, 1)")[0] == 0
    code, out, _ = run("sql", "select ticker, start_at, end_at, volume from stream_gaps", "--csv")
    assert (code, list(csv.reader(io.StringIO(out)))) == (
        0,
        [["ticker", "start_at", "end_at", "volume"], ["QQQ", "1970-01-01T00:00:00.000000Z", "", "7"]],
    )
    document = json.loads(run("sql", "select 167.420::numeric price, 9007199254740993 n", "--json")[1])
    assert document["rows"] == [{"price": "167.420", "n": 9007199254740993}]
    assert "(1 row)" in run("sql", "select 1 as one")[1]
    code, out, err = run("sql", "selec 1")
    assert (code, out) == (2, "")
    assert "syntax error" in err and "next:" in err


def test_export_and_gaps(run: Run, tmp_path: Path) -> None:
    """Key order, bounds, a file; an unknown table names those that there are."""
    rows = "('B', '2026-11-20T15:00:00Z', 1.5), ('A', '2026-11-20T15:00:01Z', 2), ('A', '2026-11-20T15:00:00Z', null)"
    assert run("sql", f"insert into store.equity_data (ticker, timestamp, price) values {rows}")[0] == 0
    lines = run("export", "equity_data")[1].splitlines()
    assert lines[0] == "ticker,timestamp,price,volume,flags,journal_no,seq,item"
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["A", "2026-11-20T15:00:00.000000Z", ""],
        ["A", "2026-11-20T15:00:01.000000Z", "2"],
        ["B", "2026-11-20T15:00:00.000000Z", "1.5"],
    ]
    bounded = run("export", "equity_data", "--ticker", "a", "--from", "2026-11-20T15:00:01Z", "--to", "2026-11-21")[1]
    assert len(bounded.splitlines()) == 2
    out = tmp_path / "rows.json"
    assert run("export", "equity_data", "--json", "--out", str(out))[1] == ""
    assert [row["price"] for row in json.loads(out.read_text())["rows"]] == [None, "2", "1.5"]
    code, _, err = run("export", "prices")
    assert code == 2 and "equity_data" in err
    assert run("export", "equity_data", "--from", "yesterday")[0] == 2
    assert json.loads(run("gaps", "list", "--json")[1])["rows"][0]["reason"] == "silence"
    for table in ("indicators", "streaming_metrics", "equity_data_stats", "quality_events", "option_following"):
        code, out_text, _ = run("export", table)
        assert (code, len(out_text.splitlines())) == (0, 1)


def test_export_of_options(run: Run) -> None:
    """By contract and time; a ticker is the underlying; what has no time takes no bounds."""
    for ticker, symbol in (("QQQ", "QQQ   261124P00600000"), ("QQQ", "QQQ   261124C00600000"), ("SPY", "SPY   X")):
        for table in ("option_prices", "option_images"):
            row = f"'{ticker}', '2026-11-24T15:00:00Z', 'CALL', 600, '2026-11-24', '{symbol}'"
            columns = "ticker, timestamp, option_type, strike_price, expiration_date, option_symbol"
            assert run("sql", f"insert into store.{table} ({columns}) values ({row})")[0] == 0
    for table in ("option_prices", "option_images"):
        out = run("export", table, "--ticker", "qqq", "--from", "2026-11-24", "--json")[1]
        symbols = [row["option_symbol"] for row in json.loads(out)["rows"]]
        assert symbols == ["QQQ   261124C00600000", "QQQ   261124P00600000"]
    values = "1, 2, 3, 'QQQ', '2026-11-24', 'started', '{2026-11-24}', '{\"QQQ   261124C00600000\"}', '{}', ''"
    assert run("sql", f"insert into store.option_following values ({values})")[0] == 0
    row = json.loads(run("export", "option_following", "--json")[1])["rows"][0]
    assert (row["expiries"], row["added"], row["removed"]) == (["2026-11-24"], ["QQQ   261124C00600000"], [])
    assert run("export", "option_contracts", "--from", "2026-11-24")[1].startswith("option_symbol,valid_from,ticker")
    assert run("export", "model_definitions")[1] == "id,convention,clock,rate,dividend,definition_hash\n"
    assert run("export", "model_definitions", "--from", "2026-11-24")[0] == 2
    assert run("export", "model_definitions", "--ticker", "QQQ")[0] == 2


def test_db(run: Run, folder: Path) -> None:
    """start, url, status, stop; a DSN that a client accepts; nothing is left running."""
    assert run("db", "status")[0] == 1
    code, out, _ = run("db", "start", "--json")
    started = json.loads(out)
    assert (code, started["running"]) == (0, True)
    assert run("db", "url")[1].strip() == started["url"]
    status = json.loads(run("db", "status", "--json")[1])
    assert (status["running"], status["kept"], status["pid"]) == (True, True, started["pid"])
    user = embedded.Lease(folder)
    user.join()
    assert run("db", "stop")[0] == 1
    user.leave()
    assert run("db", "stop")[0] == 0
    assert embedded.find_running(folder) is None


async def test_another_database_by_its_url(folder: Path, tmp_path: Path) -> None:
    """By DATABASE_URL: nothing is migrated unasked; a schema that is not there is a setting to mend."""
    with embedded.lease(folder) as endpoint:
        own = Database(SimpleNamespace(data_dir=folder, database_url="", supabase_url=""))
        admin = await own.connect()
        await admin.execute("create database other")
        await admin.close()
        other = Database(SimpleNamespace(data_dir=tmp_path, database_url=f"{endpoint.dsn.rpartition('/')[0]}/other"))
        with pytest.raises(Exception, match="this alphakite needs"):
            await other.connect()
        connection = await other.connect(check=False)
        await migrate.apply(connection)
        await connection.close()
        await (await other.connect()).close()
        await other.close()
        await own.close()
    assert not (tmp_path / "postgres").exists()


def test_db_of_another_database(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not ours is neither started nor stopped."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/x")
    assert main(["db", "stop"]) == 2
    assert main(["db", "status"]) == 1
    assert main(["sql", "select 1"]) == 4
    assert "database is away" in capsys.readouterr().err
