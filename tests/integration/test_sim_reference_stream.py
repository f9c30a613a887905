"""Lines of the Schwab reference about the stream that no other file has: conflation (3.8), bars (3.11)."""

from __future__ import annotations

import json
from datetime import time as wall_time
from itertools import pairwise

import pytest
from tests.integration.sim_client import DAY, ms, playing

CHART = "CHART_EQUITY"


def stamps(frames: list[str]) -> list[int]:
    return [json.loads(frame)["data"][0]["timestamp"] for frame in frames]


async def test_3_8_one_frame_a_second_and_no_number() -> None:
    """Frames of one symbol are a second apart or more; items have no sequence number and no field 0."""
    async with playing() as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe()
        await client.gone()
    found = stamps(client.data())
    assert len(found) > 60
    assert all(later - earlier >= 1000 for earlier, later in pairwise(found[1:]))
    assert all("0" not in item and "seq" not in item for item in client.items())


async def test_3_11_bars_in_their_true_order() -> None:
    """1 is the minute since 07:00, 7 its start, 8 the day; the bar comes when its minute is over, once."""
    async with playing(start=wall_time(13, 50), end=wall_time(14, 0)) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(fields="0,1,2,3,4,5,6,7,8", service=CHART)
        await client.subscribe()
        await client.gone()
    bars = client.items(CHART)[1:]
    assert [bar["7"] for bar in bars] == [ms("13:50") + 60_000 * number for number in range(len(bars))]
    assert [bar["1"] for bar in bars] == [410 + number for number in range(len(bars))] and len(bars) >= 9
    for bar, stamp in zip(bars, stamps(client.data(CHART))[1:], strict=True):
        assert bar["8"] == bar["7"] // 86_400_000 == (DAY - DAY.replace(year=1970, month=1, day=1)).days
        assert bar["4"] <= min(bar["2"], bar["5"]) <= max(bar["2"], bar["5"]) <= bar["3"] and bar["6"] > 0
        assert stamp >= bar["7"] + 60_000 - 1


@pytest.mark.parametrize("start", ["04:10", "12:00:00"])
async def test_3_11_the_last_bar_at_once_though_hours_old(start: str) -> None:
    """A subscription brings the last published bar; in the morning it is that of the day before."""
    begin = wall_time.fromisoformat(start)
    async with playing(stands=False, start=begin, end=wall_time(begin.hour, begin.minute + 2)) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(fields="0,1,2,3,4,5,6,7,8", service=CHART)
        await client.until(lambda: bool(client.data(CHART)))
        (bar,) = client.items(CHART)
        age_ms = ms(start) - bar["7"]
        assert (bar["1"], bar["8"]) == (bar["7"] // 60_000 % 1440 - 11 * 60, bar["7"] // 86_400_000)
        assert age_ms == 60_000 if begin.hour == 12 else age_ms > 8 * 3_600_000
