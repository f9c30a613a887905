"""`alphakite auth` against the local Schwab: every way of signing in, what goes wrong, and no secret anywhere."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import pytest

from alphakite.cli.auth import collect
from alphakite.clock import Clock, make_clock
from alphakite.config import load
from alphakite.errors import SignInError
from alphakite.feed.schwab.pace import Pace
from alphakite.feed.schwab.rest import SchwabRest
from alphakite.feed.schwab.tokens import SignIn, TokenFile
from alphakite.metrics import SignInStatus, Status, write_status

WITHIN_S = 60.0


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@dataclass
class Schwab:
    """A simulator in a process of its own, and what every command run against it said."""

    folder: Path
    env: dict[str, str]
    said: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    @property
    def token_file(self) -> Path:
        return Path(self.env["SCHWAB_TOKEN_FILE"])

    def token(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.token_file.read_text())["token"]
        return found

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """`alphakite auth ...`; its argv is looked at while it runs."""
        kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
        settings = ["--env-file", str(self.folder / "sim.env"), "--data", str(self.folder / "data")]
        return subprocess.Popen(
            [sys.executable, "-m", "alphakite", "auth", *arguments, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=kept | environment,
        )

    def address(self, process: subprocess.Popen[str]) -> str:
        """The address that the command shows."""
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        self.urls.append(url)
        return url

    def end(self, process: subprocess.Popen[str], typed: str | None = None) -> tuple[int, str, str]:
        """Exit code, stdout, stderr. Args: typed: what is pasted before stdin ends."""
        out, err = process.communicate(typed, timeout=WITHIN_S)
        self.said += [out, err]
        return process.returncode, out, err

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        return self.end(self.start(*arguments, **environment))

    def secrets(self) -> set[str]:
        """All that must be seen nowhere but in the token file and its copy."""
        found = {self.env["SCHWAB_APP_SECRET"]}
        for path in (self.token_file, self.token_file.with_name(self.token_file.name + ".bak")):
            if path.exists():
                token = json.loads(path.read_text())["token"]
                found |= {token["access_token"], token["refresh_token"]}
        return found


def consent(url: str, decision: str = "approve", **changes: str) -> str:
    """What a person and a browser do at Schwab: the address that the browser is sent to."""
    with httpx.Client() as browser:
        page = browser.get(url)
        assert page.status_code == 200, page.text
        hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)
        form = {name: unescape(value) for name, value in hidden} | {"decision": decision} | changes
        return str(browser.post(url.partition("?")[0], data=form).headers["location"])


def arrive(target: str) -> httpx.Response:
    """The browser, the certificate accepted, at the callback address."""
    with httpx.Client(verify=False) as browser:
        return browser.get(target)


@contextmanager
def playing(folder: Path, *options: str) -> Iterator[Schwab]:
    """The local Schwab on a day of 2013, its callback a free port of this machine."""
    folder.mkdir(exist_ok=True)
    callback = f"https://127.0.0.1:{free_port()}"
    settings = ["--session=2013-10-08", "--start=10:15", f"--env-file={folder / 'sim.env'}", f"--callback={callback}"]
    with subprocess.Popen(
        [sys.executable, "-m", "alphakite", "simulate", *settings, *options],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("READY ")
            lines = (folder / "sim.env").read_text().splitlines()
            yield Schwab(folder, dict(line.split("=", 1) for line in lines))
        finally:
            process.terminate()


@pytest.fixture
def schwab(tmp_path: Path) -> Iterator[Schwab]:
    with playing(tmp_path / "schwab") as found:
        yield found


def test_pasting_the_address_bar(schwab: Schwab) -> None:
    """Over SSH: the address on stdout, the answer on stdin; a wrong paste is explained and the next one taken."""
    before = schwab.token()
    process = schwab.start("--no-browser")
    url = schwab.address(process)
    back = consent(url)
    code, out, err = schwab.end(process, f"{url}\nhello\n{back}\n")
    assert code == 0, err
    assert "signed in until 2013-10-15T14:" in out
    assert "the address to open" in err and "no code in this address" in err and "picks it up by itself" in err
    after = schwab.token()
    assert after["refresh_token"] != before["refresh_token"]
    assert stat.S_IMODE(schwab.token_file.stat().st_mode) == 0o600
    code, out, _ = schwab.run("status", "--json", CLOCK="system")
    found = json.loads(out)
    assert (code, found["schema"], found["state"], found["login_needed"]) == (1, 1, "auth_required", True)
    assert found["login_at"].startswith("2013-10-08T14:") and found["refresh"]["state"] == "expired"
    code, out, _ = schwab.run("status", "--json")
    found = json.loads(out)
    assert (code, found["state"], found["now"], found["access"]["seconds_left"]) == (0, "ok", None, None)
    assert "\x1b" not in "".join(schwab.said), "colours or a QR code where no terminal is"
    nothing_leaks(schwab, parse_qs(urlsplit(back).query)["code"])


def test_the_browser_on_this_machine(schwab: Schwab) -> None:
    """It opens the listener's own address: what `ps` shows holds neither key nor code. Then all goes by itself."""
    opened = schwab.folder / "opened"
    script = schwab.folder / "browser"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{opened}.part" && mv "{opened}.part" "{opened}"\n')
    script.chmod(0o700)
    process = schwab.start(BROWSER=f"{script} %s", DISPLAY=":none", SSH_CONNECTION="", SSH_TTY="")
    url = schwab.address(process)
    deadline = time.monotonic() + WITHIN_S
    while not opened.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    start = opened.read_text().strip()
    assert start.startswith(schwab.env["SCHWAB_CALLBACK_URL"]) and schwab.env["SCHWAB_APP_KEY"] not in start
    assert arrive(start).headers["location"] == url
    assert arrive(schwab.env["SCHWAB_CALLBACK_URL"] + "/favicon.ico").status_code == 404
    back = consent(url)
    arguments = Path(f"/proc/{process.pid}/cmdline").read_text().replace("\0", " ")
    assert not any(secret in arguments for secret in schwab.secrets() | {schwab.env["SCHWAB_APP_KEY"]})
    page = arrive(back)
    assert page.status_code == 200 and "close this page" in page.text
    code, out, err = schwab.end(process)
    assert code == 0, err
    assert "signed in until" in out
    nothing_leaks(schwab, parse_qs(urlsplit(back).query)["code"])


def nothing_leaks(schwab: Schwab, codes: list[str]) -> None:
    """No code, token or app secret in what was said, nor in any file but the token file, its copy and the settings."""
    secrets = schwab.secrets() | set(codes)
    assert len(secrets) >= 4
    texts = {"what was said": "\n".join(schwab.said + schwab.urls)}
    for path in schwab.folder.rglob("*"):
        if path.is_file() and not path.name.startswith(("sim.env", "sim.token")):
            texts[str(path)] = path.read_text(errors="replace")
    for place, text in texts.items():
        assert not [secret for secret in secrets if secret in text], place
    for path in schwab.folder.glob("*token*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert not [code for code in codes if code in path.read_text(errors="replace")], path


def test_a_code_that_was_used_and_one_for_another_callback(tmp_path: Path) -> None:
    """Each says what is most likely wrong; the token file stays as it was."""
    other = "https://127.0.0.1:9"
    with playing(tmp_path / "schwab", "--callback", other, "--switch", "code-error=invalid_request") as schwab:
        before = schwab.token_file.read_bytes()
        process = schwab.start("--no-browser", "--no-listen")
        back = consent(schwab.address(process))
        code = parse_qs(urlsplit(back).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": schwab.env["SCHWAB_CALLBACK_URL"]}
        auth = (schwab.env["SCHWAB_APP_KEY"], schwab.env["SCHWAB_APP_SECRET"])
        assert httpx.post(schwab.env["SCHWAB_API_URL"] + "/v1/oauth/token", data=form, auth=auth).status_code == 200
        status, out, err = schwab.end(process, back)
        assert (status, out) == (4, "")
        assert "did not take the code" in err and "30 seconds, and once" in err
        process = schwab.start("--no-browser", "--no-listen")
        back = consent(schwab.address(process), redirect_uri=other)
        status, _, err = schwab.end(process, back)
        assert status == 4 and "not the registered one" in err and "letter for letter" in err
        assert schwab.token_file.read_bytes() == before
        nothing_leaks(schwab, [code])


def test_what_else_goes_wrong(schwab: Schwab) -> None:
    """A refusal at the consent page, a wrong app secret, no answer, no app: exit codes and next steps."""
    process = schwab.start("--no-browser")
    denied = consent(schwab.address(process), "cancel")
    status, _, err = schwab.end(process, denied)
    assert status == 4 and "access was denied" in err and "accept on the consent page" not in err.split("next:")[0]
    process = schwab.start("--no-browser", SCHWAB_APP_SECRET="anothers-secret")
    status, _, err = schwab.end(process, consent(schwab.address(process)))
    assert status == 4 and "app key or the app secret is wrong" in err
    status, _, err = schwab.run("--no-browser")
    assert status == 4 and "ended without an address" in err
    status, _, err = schwab.run("--timeout", "0.05", "--no-listen", SCHWAB_CALLBACK_URL="https://example.com/cb")
    assert status == 4
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        callback = f"https://127.0.0.1:{taken.getsockname()[1]}"
        status, _, err = schwab.run("--no-browser", SCHWAB_CALLBACK_URL=callback)
        assert status == 4 and "cannot be had" in err and "paste" in err


def test_without_an_app_it_is_a_setting(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.env"
    nothing.touch()
    done = subprocess.run(
        [sys.executable, "-m", "alphakite", "auth", "--data", str(tmp_path / "data"), "--env-file", str(nothing)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 3 and "SCHWAB_APP_KEY" in done.stderr and "alphakite init" in done.stderr


def test_import(tmp_path: Path) -> None:
    """From Schwabdev's database; an older login is refused without --force; the source stays as it was."""
    source = tmp_path / "tokens.db"
    connection = sqlite3.connect(source)
    connection.execute(
        "create table schwabdev (access_token_issued text, refresh_token_issued text, access_token text,"
        " refresh_token text, id_token text, expires_in integer, token_type text, scope text)"
    )
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - 3600))
    row = (stamp, stamp, "SECRET-A", "SECRET-R", "SECRET-I", 1800, "Bearer", "api")
    connection.execute("insert into schwabdev values (?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    content = source.read_bytes()

    nothing = tmp_path / "nothing.env"
    nothing.touch()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        settings = ["--data", str(tmp_path / "data"), "--env-file", str(nothing)]
        return subprocess.run(
            [sys.executable, "-m", "alphakite", "auth", *arguments, *settings],
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )

    assert run("status").returncode == 1
    done = run("import", str(source))
    assert done.returncode == 0 and "Schwabdev sign-in of" in done.stdout, done.stderr
    done = run("status", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["state"], found["access"]["state"]) == (0, "ok", "expired")
    assert abs(found["refresh"]["seconds_left"] - (7 * 86_400 - 3600)) < 120
    older = tmp_path / "older.json"
    token = {"access_token": "SECRET-A2", "refresh_token": "SECRET-R2"}
    older.write_text(json.dumps({"creation_timestamp": int(now - 7200), "token": token}))
    done = run("import", str(older))
    assert done.returncode == 2 and "is newer than" in done.stderr and "--force" in done.stderr
    assert run("import", str(older), "--force").returncode == 0
    written = json.loads((tmp_path / "data" / "token.json").read_text())
    assert written["token"]["refresh_token"] == "SECRET-R2"
    older.write_text(json.dumps({"creation_timestamp": int(now - 700_000), "token": token}))
    done = run("import", "--force", str(older))
    assert done.returncode == 0 and run("status").returncode == 1
    done = run("import", str(tmp_path / "absent"))
    assert done.returncode == 4 and "SECRET" not in done.stdout + done.stderr
    assert source.read_bytes() == content


def test_status_asks_the_recorder_not_schwab(tmp_path: Path) -> None:
    """What a live recorder met, of this very login; under the feed's clock the time that it knows."""
    data = tmp_path / "data"
    token = {"access_token": "SECRET-A", "refresh_token": "SECRET-R", "expires_at": 1_381_241_700}
    TokenFile(data / "token.json").replace({"creation_timestamp": 1_381_240_000, "token": token})
    settings = load(overrides={"DATA_DIR": str(data), "CLOCK": "feed"}, environ={})
    told = SignInStatus(state="auth_required", reason="dead: 400", login_at_us=1_381_240_000_000_000)
    write_status(data, Status(now_us=1_381_241_000_000_000, sign_in=told))
    found = collect(settings)
    assert (found["state"], found["login_needed"]) == ("ok", False), "no recorder lives"
    assert (found["access"]["seconds_left"], found["refresh"]["seconds_left"]) == (700, 603_800)
    (data / "journal").mkdir()
    with (data / "journal" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = collect(settings)
        assert (found["state"], found["reason"], found["refresh"]["state"]) == ("auth_required", "dead: 400", "refused")
        assert found["login_needed"] and "alphakite auth" in found["next_step"]
        told.login_at_us += 60_000_000
        write_status(data, Status(now_us=1_381_241_000_000_000, sign_in=told))
        assert collect(settings)["state"] == "ok", "the recorder has not seen the new login yet"
    assert "SECRET" not in json.dumps(found)


async def watch(rest: SchwabRest, clock: Clock) -> None:
    """One streamer connection: the tape runs while there is one, and each frame tells the feed clock the time."""
    streamer = await rest.streamer()
    ids = {"SchwabClientCustomerId": streamer.customer_id, "SchwabClientCorrelId": streamer.correl_id}

    def request(number: int, service: str, command: str, **parameters: str) -> dict[str, Any]:
        head = {"service": service, "requestid": str(number), "command": command}
        return {"requests": [head | ids | {"parameters": parameters}]}

    async with aiohttp.ClientSession() as http, http.ws_connect(streamer.url) as socket:
        login = {"SchwabClientChannel": streamer.channel, "SchwabClientFunctionId": streamer.function_id}
        await socket.send_json(request(1, "ADMIN", "LOGIN", Authorization=await rest.access_token(), **login))
        await socket.receive(WITHIN_S)
        await socket.send_json(request(2, "LEVELONE_EQUITIES", "SUBS", keys="QQQ", fields="0,1,2,3"))
        async for message in socket:
            for stamp in re.findall(r'"(?:timestamp|heartbeat)":"?(\d+)', str(message.data)):
                clock.observe_ms(int(stamp))


async def test_a_sign_in_ages_ends_and_is_renewed(tmp_path: Path) -> None:
    """Under the feed's clock: refreshed in time, dead at the end, and alive again seconds after a new login."""
    with playing(tmp_path / "schwab", "--speed", "600", "--access-life", "600", "--refresh-life", "3600") as schwab:
        clock = make_clock("feed")
        tokens = TokenFile(schwab.token_file, lambda: clock.now_ns() / 1e9)
        names = ("SCHWAB_API_URL", "SCHWAB_APP_KEY", "SCHWAB_APP_SECRET")
        rest = SchwabRest(*(schwab.env[name] for name in names), tokens, clock.observe_ms, pace=Pace(100, 100))
        told: list[SignIn] = []
        used = {tokens.token()["access_token"]}
        tasks = [asyncio.create_task(rest.keep_fresh(told.append)), asyncio.create_task(watch(rest, clock))]
        try:
            async with asyncio.timeout(WITHIN_S):
                while rest.sign_in().state != "auth_required":
                    used.add(tokens.token()["access_token"])
                    await asyncio.sleep(0.05)
            assert len(used) > 3, "it was refreshed by the timer alone: no request was made"
            assert not tasks[1].done(), "the socket lives on"
            with pytest.raises(SignInError, match="invalid_grant") as dead:
                await rest.access_token(force=True)
            assert "alphakite auth" in dead.value.next_step
            waiting = asyncio.create_task(rest.wait_for_sign_in())
            process = schwab.start("--no-browser")
            url = await asyncio.to_thread(schwab.address, process)
            back = await asyncio.to_thread(consent, url)
            status, _, err = await asyncio.to_thread(schwab.end, process, back)
            assert status == 0, err
            signed_in = time.monotonic()
            await asyncio.wait_for(waiting, 10)
            assert (await rest.streamer()).customer_id
            assert time.monotonic() - signed_in < 10
            assert "auth_required" in [found.state for found in told]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await rest.close()
        nothing_leaks(schwab, parse_qs(urlsplit(back).query)["code"])
