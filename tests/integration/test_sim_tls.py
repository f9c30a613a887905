"""https, wss, the proxy; and the released schwab-py and Schwabdev, led to the simulator with their code untouched."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alphakite.simulator import Simulator, SimulatorOptions, start
from alphakite.simulator.oauth import Refused

DAY = date(2026, 11, 20)
TODAY = DAY.isoformat()
CLIENT_WITHIN_S = 90
JUDGES = Path(__file__).parent.parent / "judges"


@asynccontextmanager
async def secure(**options: Any) -> AsyncIterator[Simulator]:
    """A simulator with TLS that stands at 10:15."""
    settings: dict[str, Any] = {"tls": True, "speed": None, "symbols": ("QQQ",), "session": DAY, "start": time(10, 15)}
    simulator = await start(SimulatorOptions(**settings | options))
    try:
        yield simulator
    finally:
        await simulator.stop()


def trusting(simulator: Simulator) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(simulator.ready()["ca"])))


async def test_https_and_wss_on_one_port(tmp_path: Path) -> None:
    """The address, the socket and the authority are told; the files are private; an unknown authority is refused."""
    env_file = tmp_path / "sim.env"
    async with secure(env_file=env_file) as simulator:
        ready, env = simulator.ready(), simulator.env()
        assert str(ready["api_url"]).startswith("https://127.0.0.1:")
        assert str(ready["proxy"]).startswith("http://127.0.0.1:")
        assert env["SSL_CERT_FILE"] == ready["ca"]
        assert dict(line.split("=", 1) for line in env_file.read_text().splitlines()) == env
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        token = json.loads(Path(env["SCHWAB_TOKEN_FILE"]).read_text())["token"]["access_token"]
        async with aiohttp.ClientSession(connector=trusting(simulator)) as http:
            url = f"{env['SCHWAB_API_URL']}/trader/v1/userPreference"
            answer = await http.get(url, headers={"Authorization": f"Bearer {token}"})
            address = (await answer.json())["streamerInfo"][0]["streamerSocketUrl"]
            assert address == f"{env['SCHWAB_API_URL'].replace('https', 'wss')}/ws"
            async with http.ws_connect(address) as socket:
                assert not socket.closed
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await http.get(url)


async def proxied(simulator: Simulator, line: str) -> bytes:
    """The proxy's first line of answer."""
    port = int(str(simulator.ready()["proxy"]).rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer.rstrip()


async def test_the_proxy_leads_here_and_nowhere_else() -> None:
    """Schwab's names at 443 and our own address; all else is refused."""
    async with secure() as simulator:
        own = simulator.api_url.removeprefix("https://")
        port = own.rpartition(":")[2]
        for target in ("api.schwabapi.com:443", "streamer-api.schwab.com:443", own):
            assert await proxied(simulator, f"CONNECT {target}") == b"HTTP/1.1 200 Connection Established"
        for line in (
            "CONNECT example.com:443",
            "CONNECT api.schwabapi.com:80",
            f"CONNECT api.schwabapi.com:{port}",
            "CONNECT 127.0.0.1:1",
            "CONNECT nonsense",
            "GET http://api.schwabapi.com/",
        ):
            assert await proxied(simulator, line) == b"HTTP/1.1 403 Forbidden"


async def test_by_schwabs_name_the_socket_is_at_our_address() -> None:
    """A client that comes through the proxy is told where the streamer really is."""
    async with secure() as simulator:
        token = json.loads(simulator.token_file.read_text())["token"]["access_token"]
        async with aiohttp.ClientSession(connector=trusting(simulator)) as http:
            answer = await http.get(
                "https://api.schwabapi.com/trader/v1/userPreference",
                headers={"Authorization": f"Bearer {token}"},
                proxy=str(simulator.ready()["proxy"]),
            )
            address = (await answer.json())["streamerInfo"][0]["streamerSocketUrl"]
        assert address == simulator.api_url.replace("https", "wss") + "/ws"


async def test_the_command_tells_address_proxy_and_authority() -> None:
    """READY names them; a signal ends it with 0 and takes the certificates along."""
    arguments = [
        "--tls",
        "--symbol",
        "QQQ",
        "--session",
        TODAY,
        "--callback",
        "https://127.0.0.1:1",
        "--code-life",
        "5",
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alphakite", "simulate", *arguments),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            word, _, told = (await process.stdout.readline()).partition(b" ")
        ready = json.loads(told)
        assert word == b"READY" and ready["api_url"].startswith("https://") and Path(ready["ca"]).exists()
        assert ready["proxy"].startswith("http://127.0.0.1:")
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        assert not Path(ready["ca"]).exists()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def outside(simulator: Simulator, script: str, token_path: Path) -> dict[str, Any]:
    """What the client of others reports."""
    env, ready = simulator.env(), simulator.ready()
    names = {name: env[name] for name in ("SCHWAB_APP_KEY", "SCHWAB_APP_SECRET", "SCHWAB_CALLBACK_URL")}
    led = {
        "HTTPS_PROXY": str(ready["proxy"]),
        "NO_PROXY": "127.0.0.1",
        "SSL_CERT_FILE": str(ready["ca"]),
        "REQUESTS_CA_BUNDLE": str(ready["ca"]),
        "TOKEN_PATH": str(token_path),
        "SYMBOL": "QQQ",
        "DAY": TODAY,
        "API_URL": simulator.api_url,
        "HOME": str(token_path.parent),
    }
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(JUDGES / script)),
        env=kept | names | led,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CLIENT_WITHIN_S):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-4000:]
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    return report


@pytest.mark.parametrize("script", ["outside_schwab_py.py", "outside_schwabdev.py"])
async def test_outside_client(script: str, tmp_path: Path) -> None:
    """Signs in by the consent page, makes every REST call, refreshes, and its asynchronous side works, too."""
    async with secure(token_clock="wall") as simulator:
        before = json.loads(simulator.token_file.read_text())["token"]["refresh_token"]
        report = await outside(simulator, script, tmp_path / "token")
        assert simulator._tokens.refresh(before) is Refused.UNKNOWN
    answers = report["answers"]
    assert {name: one["status"] for name, one in answers.items()} == dict.fromkeys(answers, 200)
    assert (report["after_refresh"], report["token_changed"], report["asynchronous"]) == (200, True, 200)
    body = {name: one["body"] for name, one in answers.items()}
    assert body["userPreference"]["streamerInfo"][0]["streamerSocketUrl"].startswith("wss://127.0.0.1:")
    assert body["quote"]["QQQ"]["quote"]["lastPrice"] > 0
    assert set(body["quotes"]) == {"QQQ", "$QQQ.IV", "errors"}
    assert body["chain"]["numberOfContracts"] == 16 and body["chain"]["underlying"]["symbol"] == "QQQ"
    assert list(body["chain"]["callExpDateMap"]) == [f"{DAY}:0"]
    assert body["expirationchain"]["expirationList"][0]["expirationDate"] == TODAY
    assert len(body["minutes"]["candles"]) > len(body["fives"]["candles"]) > len(body["days"]["candles"]) > 0
    assert "previousClose" in body["minutes"] and body["weeks"]["candles"]
    assert body["markets"]["equity"]["EQ"]["isOpen"] is True
    assert body["movers"]["screeners"][0]["symbol"] == body["instruments"]["instruments"][0]["symbol"] == "QQQ"
