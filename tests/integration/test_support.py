"""`alphakite support`: marked secrets stand in every place that the bundle could read, and in none of the bundle."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path

import pytest

from alphakite.cli.main import main
from alphakite.cli.support import ABOUT, Redactor
from alphakite.journal.record import Kind
from alphakite.journal.writer import JournalWriter
from alphakite.metrics import SignInStatus, Status, write_status
from alphakite.store.database import Database

MARK = "MARKEDSECRET"
CORREL = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
CUSTOMER = "f3" * 32
ACCOUNT = "98765432"
REFUSAL = (
    f"Bearer I0.{MARK}9.rest@ refused; code=C0.{MARK}10.x@; postgresql://u:{MARK}11@host/x;"
    f" access_token={MARK}12 refresh_token: '{MARK}13' client_id={MARK}14 accountNumber={ACCOUNT}"
    f' "SchwabClientCorrelId":"{CORREL}" customer {CUSTOMER} account number {ACCOUNT}'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder and its surroundings with a marked secret in every place."""
    data = tmp_path / "data"
    writer = JournalWriter(data / "journal", segment_bytes=300)
    frame = {"response": [{"SchwabClientCorrelId": CORREL, "content": {"msg": f"{MARK}1"}}], "account": ACCOUNT}
    for number in range(10):
        writer.append(Kind.FRAME, 1, number + 1, json.dumps(frame).encode())
        writer.flush()
    writer.close()
    status = Status(
        pid=1,
        state="auth_required",
        reason=REFUSAL,
        journal_id=str(writer.journal_id),
        last_rejection=REFUSAL,
        notices=[REFUSAL],
        sign_in=SignInStatus(state="auth_required", reason=REFUSAL),
        selftest={"sizes": {"value": "shares", "evidence": REFUSAL, "state": "settled"}},
    )
    write_status(data, status)
    token = {"access_token": f"{MARK}2-access", "refresh_token": f"{MARK}3-refresh", "id_token": f"{MARK}4-id"}
    (tmp_path / "token.json").write_text(json.dumps({"creation_timestamp": 1, "token": token}))
    (data / "postgres").mkdir()
    (data / "postgres" / "password").write_text(f"{MARK}5-embedded\n")
    (tmp_path / "my.env").write_text(
        f"SCHWAB_APP_KEY={MARK}6-key\nSCHWAB_APP_SECRET='{MARK}7 \"secret'\nSCHWAB_TOKEN_FILE={tmp_path}/token.json\n"
        f"DATABASE_URL=postgresql://u:{MARK}8-password@127.0.0.1:1/none\nDATA_DIR={data}\n"
    )
    monkeypatch.setenv("SOME_API_KEY", f"{MARK}15-environment")
    lines = [f"2026-11-24T18:00:00.000Z info part event {word}\n" for word in REFUSAL.split("; ")]
    lines += [f'{{"event":"x","secret":"{MARK}16","password": "{MARK}17"}}\n', f'raw {MARK}2-access {MARK}7 "secret\n']
    lines += [f"named {MARK}15-environment and {MARK}5-embedded and {MARK}8-password\n", "the end code=12 state=open\n"]
    (tmp_path / "alphakite.log").write_text("".join(["too old\n"] * 3000 + lines))
    return tmp_path


def unpacked(path: Path) -> dict[str, str]:
    found = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.removeprefix("alphakite-support/")] = file.read().decode()
    return found


def test_no_secret_is_inside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not by value, not by shape, not by name; and the bundle still says what a reader needs."""
    out = folder / "bundle.tar.gz"
    words = ["--env-file", str(folder / "my.env"), "--log", str(folder / "alphakite.log"), "--out", str(out)]
    assert main(["support", *words]) == 0
    shown = capsys.readouterr()
    members = unpacked(out)
    for text in (*members.values(), shown.out, shown.err):
        for secret in (MARK, CORREL, CUSTOMER, ACCOUNT):
            assert secret not in text, text[max(0, text.find(secret) - 80) : text.find(secret) + 80]
    assert set(members) == set(ABOUT)
    assert all(f"  {name}" in shown.out for name in ABOUT)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    settings = {one["name"]: one["value"] for one in json.loads(members["config.json"])}
    assert settings["SCHWAB_APP_SECRET"] == settings["DATABASE_URL"] == "set"
    status = json.loads(members["status.json"])
    assert status["state"] == "dead" and len(status["journal_id"]) == 36
    assert json.loads(members["health.json"])["next_step"]
    assert json.loads(members["database.json"])["reachable"] is False
    journal = json.loads(members["journal.json"])
    assert (journal["first_seq"], journal["last_seq"], journal["faults"]) == (1, 10, [])
    assert journal["verified_by_kind"] == {"frame": 10}
    assert json.loads(members["selftest.json"])["sizes"]["value"] == "shares"
    assert json.loads(members["machine.json"])["disk_bytes"]["free"] > 0
    assert "SOME_API_KEY\n" in members["environment.txt"]
    assert members["log.txt"].endswith("the end code=12 state=open\n") and len(members["log.txt"].splitlines()) == 2000
    assert json.loads(members["versions.json"])["alphakite"]


def test_an_empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Never started, no log, no database: the bundle says so."""
    monkeypatch.chdir(tmp_path)
    assert main(["support", "--data", str(tmp_path / "none"), "--json", "--log", "nowhere.log"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1 and found["file"].startswith("alphakite-support-")
    members = unpacked(tmp_path / found["file"])
    assert {one["name"] for one in found["members"]} == set(members)
    assert "cannot be read" in members["log.txt"]
    assert json.loads(members["status.json"])["state"] == "never_started"
    assert not (tmp_path / "none").exists()


async def _gap(data: Path) -> None:
    settings = type("S", (), {"data_dir": data, "database_url": "", "supabase_url": ""})()
    database = Database(settings)
    try:
        connection = await database.connect()
        await connection.execute("insert into store.stream_gaps values ('QQQ', now(), null, 'silence', 7, 1)")
        await connection.close()
    finally:
        await database.close()


async def test_the_gaps_of_the_last_days(tmp_path: Path) -> None:
    """Asked of the database where there is one."""
    from alphakite.cli.support import ask_database_once
    from alphakite.config import load

    data = tmp_path / "data"
    await _gap(data)
    settings = load(environ={"DATA_DIR": str(data)})
    database = Database(settings)
    try:
        await (await database.connect()).close()
        found = await ask_database_once(settings)
    finally:
        await database.close()
    assert found["reachable"] and found["schema_version"].isdigit()
    assert [(gap["ticker"], gap["reason"]) for gap in found["gaps"]] == [("QQQ", "silence")]


@pytest.mark.parametrize(
    "text",
    [
        "record 12345678 committed 1795446904182 in /home/somebody/a-long-folder-name/alphakite/journal/0001.akj",
        "code 12: another program took this stream",
        "session=open state=streaming conn=3",
        "https://api.schwabapi.com and support@example.com",
    ],
)
def test_innocent_text_stays(text: str) -> None:
    """A bundle of stars helps nobody."""
    assert Redactor({"topsecret"}, set()).free_text(text) == text
