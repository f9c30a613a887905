"""A stream against the local Schwab: tickers come and go on one connection, an eviction, a cap, a dead token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alphakite.errors import TransientError
from alphakite.feed.schwab.decode import decode
from alphakite.feed.schwab.rest import Streamer
from alphakite.feed.schwab.stream import Evicted, Refused, SchwabStream
from alphakite.simulator import SimulatorOptions, start

DEADLINE_S = 30.0
EQUITIES, CHART = "LEVELONE_EQUITIES", "CHART_EQUITY"


class Reader:
    """A stream, its token, and the symbols of every update that came."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.keys: list[str] = []
        self.news = asyncio.Event()
        self.stream: SchwabStream

    def text(self, payload: bytes, _last: bool) -> None:
        self.keys += [update.key for update in decode(payload).updates]
        self.news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def local_schwab(**options: Any) -> AsyncIterator[Callable[..., Any]]:
    """A simulator at twenty times real time; what is yielded connects a Reader to it."""
    given = {"speed": 20.0, "symbols": ("QQQ", "SPY", "IWM"), **options}
    simulator = await start(SimulatorOptions(**given))
    made: list[Reader] = []

    async def connect(caps: dict[str, int] | None = None) -> Reader:
        env = simulator.env()
        reader = Reader(json.loads(Path(env["SCHWAB_TOKEN_FILE"]).read_text())["token"]["access_token"])
        url = env["SCHWAB_API_URL"] + "/trader/v1/userPreference"
        async with (
            aiohttp.ClientSession() as http,
            http.get(url, headers={"Authorization": f"Bearer {reader.token}"}) as answer,
        ):
            told = (await answer.json())["streamerInfo"][0]
        streamer = Streamer(
            told["streamerSocketUrl"],
            told["schwabClientCustomerId"],
            told["schwabClientCorrelId"],
            told["schwabClientChannel"],
            told["schwabClientFunctionId"],
        )
        reader.stream = await SchwabStream.connect(streamer, reader.text, lambda: None, caps=caps)
        made.append(reader)
        return reader

    try:
        yield connect
    finally:
        for reader in made:
            reader.stream.close()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait([reader.stream.ended])
        await simulator.stop()


async def test_a_ticker_is_added_and_one_removed_in_mid_session() -> None:
    """No reconnect; what is added ticks, what is removed is silent, the others go on."""
    async with local_schwab() as connect:
        reader = await connect()
        await reader.stream.login(reader.token)
        assert await reader.stream.reconcile({EQUITIES: ("QQQ", "SPY"), CHART: ("QQQ", "SPY")}) == []
        await reader.until(lambda: {"QQQ", "SPY"} <= set(reader.keys))
        assert await reader.stream.reconcile({EQUITIES: ("QQQ", "IWM"), CHART: ("QQQ", "IWM")}) == []
        reader.keys.clear()
        await reader.until(lambda: reader.keys.count("IWM") > 2 and reader.keys.count("QQQ") > 2)
        assert "SPY" not in reader.keys
        assert not reader.stream.ended.done()
        assert await reader.stream.readd(EQUITIES, "QQQ")
        await reader.stream.logout()
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.stream.run(DEADLINE_S) == "socket_down"


async def test_the_second_login_evicts_the_first() -> None:
    async with local_schwab() as connect:
        first = await connect()
        await first.stream.login(first.token)
        await first.stream.reconcile({EQUITIES: ("QQQ",)})
        second = await connect()
        await second.stream.login(second.token)
        async with asyncio.timeout(DEADLINE_S):
            assert await first.stream.run(DEADLINE_S) == "evicted"
        with pytest.raises(Evicted, match="another program took this stream"):
            await first.stream.reconcile({EQUITIES: ("SPY",)})
        assert await second.stream.reconcile({EQUITIES: ("QQQ",)}) == []


async def test_a_token_that_is_not_schwabs_is_refused() -> None:
    async with local_schwab() as connect:
        reader = await connect()
        with pytest.raises(Refused) as refused:
            await reader.stream.login("I0.bm90LWEtdG9rZW4@")
        assert refused.value.code == 3
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.stream.run(DEADLINE_S) == "socket_down"
        with pytest.raises(TransientError):
            await reader.stream.reconcile({EQUITIES: ("QQQ",)})


async def test_a_cap_of_schwab_costs_the_tail_only() -> None:
    """301 bars are asked for where 300 are allowed: 19, then 22; the first 300 are held, quotes are not touched."""
    async with local_schwab() as connect:
        caps = {CHART: 400}
        reader = await connect(caps)
        await reader.stream.login(reader.token)
        symbols = ("QQQ", *(f"X{number}" for number in range(300)))
        (refusal,) = await reader.stream.reconcile({CHART: symbols, EQUITIES: symbols})
        assert (refusal.service, refusal.keys, refusal.code) == (CHART, symbols[300:], 19)
        assert reader.stream.subscriptions.held(CHART) == symbols[:300]
        assert reader.stream.subscriptions.held(EQUITIES) == symbols
        assert caps == {CHART: 300}
        await reader.until(lambda: "QQQ" in reader.keys)
