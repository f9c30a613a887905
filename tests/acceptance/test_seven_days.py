"""A week of sign-ins: tokens that age by tape time, end in mid-session, and are renewed by each way there is.

Monday to the next Monday in lock-step, with the pessimistic Schwab that closes a socket when its access token expires.
A sign-in is good for 25 hours, so that one ends on every day, mid-session or at the weekend. One recorder runs through.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.harness import Recording, alphakite, derived_again, free_port, output, table, truth, until

SESSION, DAYS, LIFE_S = "2026-11-09", 6, 25 * 3600
TAPE = ("--symbol", "ZZILL", "--session", SESSION, "--days", str(DAYS), "--seed", "7")
WITHIN_S = 10.0
DEADLINE_S = 600.0
LISTENER, PASTE, SCHWAB_PY = "listener", "paste", "import of schwab-py"
SCHWABDEV_3, SCHWABDEV_2 = "import of Schwabdev 3", "import of Schwabdev 2"
WAYS = (LISTENER, PASTE, SCHWAB_PY, SCHWABDEV_3, LISTENER, PASTE, SCHWABDEV_2)
"""Tuesday to Monday; the fifth and the sixth at the weekend."""
EXCHANGE = ZoneInfo("America/New_York")
TEXT_TABLES = ("equity_data", "indicators", "stream_gaps", "quality_events", "streaming_metrics")


class Week(Recording):
    """The simulator, the recorder, and a person with a browser."""

    tape = (*TAPE, "--speed", "max", "--on-disconnect", "run", "--switch", "token-expiry=closes",
            "--access-life", "3600", "--refresh-life", str(LIFE_S))  # fmt: skip

    def __init__(self, folder: Path) -> None:
        self.callback = f"https://127.0.0.1:{free_port()}"
        self.secrets: set[str] = set()
        self.processes: set[str] = set()
        self.waits: list[tuple[str, bool, float]] = []
        super().__init__(folder, *self.tape, "--callback", self.callback, env={"METRICS_INTERVAL": "1"})
        self.api_url = str(self.ready["api_url"])
        settings = dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())
        self.key, self.secret = settings["SCHWAB_APP_KEY"], settings["SCHWAB_APP_SECRET"]
        self.secrets |= {self.secret, base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()}
        with self.env_file.open("a") as file:
            file.write(f"SCHWAB_CALLBACK_URL={self.callback}\n")
        self.token_file = Path(settings["SCHWAB_TOKEN_FILE"])
        self.begin()

    def look(self) -> None:
        """Note every token there is, and every command line."""
        try:
            token = json.loads(self.token_file.read_text())["token"]
            self.secrets |= {token["access_token"], token["refresh_token"]}
        except (OSError, ValueError, KeyError):
            pass
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.processes.add(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue

    # ── a person with a browser ─────────────────────────────────────────────────────────────────────────────

    def consent(self, url: str) -> str:
        """Sign in on Schwab's page: where the browser is sent then."""
        page = urllib.request.urlopen(url, timeout=20).read().decode()
        fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
        form = {name: value.replace("&amp;", "&") for name, value in fields.items()} | {"decision": "approve"}
        request = urllib.request.Request(self.api_url + "/v1/oauth/authorize", urllib.parse.urlencode(form).encode())
        opener = urllib.request.build_opener(NoRedirect)
        with pytest.raises(urllib.error.HTTPError) as answer:
            opener.open(request, timeout=20)
        location = str(answer.value.headers["Location"])
        answer.value.close()
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["code"][0]
        self.secrets |= {code, urllib.parse.quote(code, safe="")}
        return location

    def login_elsewhere(self) -> dict[str, object]:
        """A sign-in by another program: the token endpoint's answer."""
        query = urllib.parse.urlencode({"client_id": self.key, "redirect_uri": self.callback})
        location = self.consent(f"{self.api_url}/v1/oauth/authorize?{query}")
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.callback}
        request = urllib.request.Request(f"{self.api_url}/v1/oauth/token", urllib.parse.urlencode(form).encode())
        basic = base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            token = dict(json.loads(answer.read()))
        self.secrets |= {str(token["access_token"]), str(token["refresh_token"])}
        return token

    def sign_in(self, way: str) -> None:
        """One of WAYS."""
        if way in (LISTENER, PASTE):
            arguments = ["auth", "--no-browser", *self.where, *(["--no-listen"] if way == PASTE else [])]
            process = alphakite(
                *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None and process.stdin is not None
            location = self.consent(process.stdout.readline().strip())
            self.look()
            if way == PASTE:
                out, err = process.communicate(location + "\n", timeout=60)
            else:
                trusting = ssl.create_default_context()
                trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
                threading.Thread(target=_visit, args=(location, trusting), daemon=True).start()
                until(lambda: process.poll() is not None, 60, "the listener's end")
                out, err = process.communicate(timeout=5)
            assert process.returncode == 0, err
            assert self.found_in(out + err) == set()
            return
        token = self.login_elsewhere()
        now = int(self.status()["now_us"]) // 1_000_000
        file = self.folder / f"{way.replace(' ', '-')}.store"
        if way == SCHWAB_PY:
            file.write_text(json.dumps({"creation_timestamp": now, "token": token | {"expires_at": now + 1800}}))
        elif way == SCHWABDEV_3:
            issued = datetime.fromtimestamp(now, UTC).isoformat()
            with sqlite3.connect(file) as store:
                store.execute(
                    "create table schwabdev (access_token_issued text not null, refresh_token_issued text not null,"
                    " access_token text not null, refresh_token text not null, id_token text not null,"
                    " expires_in integer, token_type text, scope text)"
                )
                names = ("access_token", "refresh_token", "id_token", "expires_in", "token_type", "scope")
                store.execute(
                    "insert into schwabdev values (?, ?, ?, ?, ?, ?, ?, ?)",
                    (issued, issued, *(token[name] for name in names)),
                )
            store.close()
        else:
            issued = datetime.fromtimestamp(now, UTC).replace(tzinfo=None).isoformat()
            stamps = {"access_token_issued": issued, "refresh_token_issued": issued}
            file.write_text(json.dumps(stamps | {"token_dictionary": token}))
        output("auth", "import", str(file), *self.where)
        file.unlink()

    def found_in(self, text: str) -> set[str]:
        return {secret[:6] + "..." for secret in self.secrets if secret in text}

    def live_through(self) -> None:
        """Wait for each end of a sign-in, renew it by the next way, see rows again; then the week's end."""
        for way in WAYS:
            self.until(lambda status: status["state"] == "auth_required", DEADLINE_S, f"a dead sign-in, for {way}")
            shown = alphakite("status", *self.where, "--json", stdout=subprocess.PIPE).communicate(timeout=60)[0]
            assert json.loads(shown)["state"] == "auth_required"
            stands = alphakite("auth", "status", *self.where, "--json", stdout=subprocess.PIPE)
            assert json.loads(stands.communicate(timeout=60)[0])["login_needed"] and stands.returncode == 1
            still = self.until(lambda status: status["committed"] == status["appended"], DEADLINE_S, "all committed")
            rows = int(still["rows_committed"])
            weekend = datetime.fromtimestamp(int(still["now_us"]) / 1e6, EXCHANGE).weekday() >= 5
            conn = int(self.status()["conn"])
            self.sign_in(way)
            signed = time.monotonic()
            self.until(
                lambda status, rows=rows, conn=conn, weekend=weekend: (
                    int(status["conn"]) > conn if weekend else int(status["rows_committed"]) > rows
                ),
                60, f"rows after {way}",
            )  # fmt: skip
            self.waits.append((way, weekend, time.monotonic() - signed))
        self.until_played(int(datetime(2026, 11, 17, 1, 0, tzinfo=UTC).timestamp()) * 1_000_000)
        self.end()


class Afternoon(Week):
    """A quarter of an hour in, no token can be had any more; the socket does not mind."""

    tape = ("--session", "2026-11-20", "--start", "14:00", "--end", "16:00", "--speed", "60",
            "--access-life", "600", "--refresh-life", "900")  # fmt: skip


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _visit(location: str, trusting: ssl.SSLContext) -> None:
    urllib.request.urlopen(location, timeout=20, context=trusting).read()


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    with Week(tmp_path_factory.mktemp("week")) as lived:
        lived.live_through()
        yield lived


def test_rows_flow_again_within_ten_seconds_of_each_sign_in(week: Week) -> None:
    assert [way for way, _, _ in week.waits] == list(WAYS)
    assert {way for way, weekend, _ in week.waits if not weekend} == set(WAYS)
    for way, weekend, waited_s in week.waits:
        print(f"{way}: {'stream' if weekend else 'rows'} again after {waited_s:.2f} s")
        assert waited_s < WITHIN_S, way


def test_every_hole_is_a_gap_with_its_reason(week: Week) -> None:
    """Outside the gaps every row of the simulator's truth is there, and equal; the dead sign-ins are named."""
    gaps = table(week.data, "stream_gaps")
    assert all(gap["end_at"] for gap in gaps)
    reasons = [gap["reason"] for gap in gaps]
    assert set(reasons) == {"auth_required", "socket_down"}
    assert reasons.count("auth_required") == sum(not weekend for _, weekend, _ in week.waits)
    spans = [(instant(gap["start_at"]), instant(gap["end_at"])) for gap in gaps]
    found = {instant(row["timestamp"]): row for row in table(week.data, "equity_data")}
    expected = {instant(row["timestamp"]): row for row in truth(*TAPE)}
    outside = {at for at in expected if not any(start < at + 1_000_000 and at < end for start, end in spans)}
    assert len(outside) > 10_000
    assert outside <= found.keys()
    assert all(
        (found[at]["price"], found[at]["volume"]) == (expected[at]["price"], expected[at]["volume"]) for at in outside
    )
    assert found.keys() <= expected.keys() | {at for at in found if at not in outside}


def test_the_token_was_refreshed_all_the_time(week: Week) -> None:
    assert week.events().count("auth_required") >= len(WAYS)
    assert sum("I0." in secret for secret in week.secrets) > 20


def test_derived_again_it_is_the_same(week: Week) -> None:
    answer = derived_again(week.data)
    assert answer["differences"] == 0 and answer["rows"] > 20_000


def test_metrics_said_so(week: Week) -> None:
    states = {row["service_status"] for row in table(week.data, "streaming_metrics")}
    assert {"streaming", "auth_required"} <= states


def test_no_secret_anywhere(week: Week) -> None:
    """Not in the log, the journal, the status, PostgreSQL's own files, a table, or a process list."""
    assert len(week.secrets) > 50
    assert week.found_in("\n".join(week.processes)) == set()
    needles = [secret.encode() for secret in week.secrets]
    looked = 0
    for path in [week.folder / "recorder.log", *week.data.rglob("*")]:
        if path.is_file() and os.access(path, os.R_OK):
            content = path.read_bytes()
            looked += 1
            assert not any(needle in content for needle in needles), path
    assert looked > 20
    for name in TEXT_TABLES:
        assert week.found_in(output("export", name, "--data", str(week.data))) == set()


def test_a_connection_outlives_its_sign_in_and_says_so(tmp_path: Path) -> None:
    """Recorded on, and said everywhere; a new login is taken over without a reconnect."""
    lived = Afternoon(tmp_path)
    try:
        status = lived.until(lambda status: status["sign_in"]["state"] == "auth_required", 60, "a dead sign-in")
        rows = int(status["rows_committed"])
        lived.until(lambda status: int(status["rows_committed"]) > rows + 100, 60, "rows all the same")
        status = lived.status()
        assert (status["state"], status["conn"]) == ("streaming", 1)
        health = alphakite("health", "--live", *lived.where, "--json", stdout=subprocess.PIPE)
        found = json.loads(health.communicate(timeout=60)[0])
        assert health.returncode == 0 and (found["live"], found["ready"], found["state"]) == (
            True,
            True,
            "auth_required",
        )
        shown = " ".join(output("status", *lived.where).split())
        assert "auth_required" in shown and "alphakite auth" in shown
        lived.sign_in(PASTE)
        lived.until(lambda status: status["sign_in"]["state"] == "ok", WITHIN_S, "the new sign-in taken over")
        lived.end()
        assert [gap["reason"] for gap in table(lived.data, "stream_gaps")] == ["late_start", "process_down"]
        states = [row["service_status"] for row in table(lived.data, "streaming_metrics")]
        assert {"streaming", "auth_required"} <= set(states)
        events = lived.events()
        assert "sign_in_required" in events and "signed_in_again" in events and events.count("connected") == 1
    finally:
        lived.close()


def instant(text: str) -> int:
    """RFC 3339 → epoch µs."""
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(at.timestamp()) * 1_000_000 + at.microsecond
