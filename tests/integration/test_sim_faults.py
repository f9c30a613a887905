"""Every fault of the stream, as a minimal client sees it, in lock-step and at a numeric speed.

After each the simulator is healthy again for the next connection, and the send log holds what was really sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import time as wall_time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sim_client import PING, Client, ms, playing

from alphakite.simulator import Simulator
from alphakite.simulator.faults import GARBAGE

EQUITIES = "LEVELONE_EQUITIES"
FIELDS = "0,3,8,35"
AT = "@10:15:10"
SPEEDS = pytest.mark.parametrize("speed", [None, 150.0])


@asynccontextmanager
async def faulty(
    speed: float | None, *faults: str, **options: Any
) -> AsyncIterator[tuple[Simulator, Client, Callable[[], Client]]]:
    """A client that has subscribed to SPY, a print a second, and more clients."""
    async with playing(seconds=120, speed=speed, faults=faults, **options) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(fields=FIELDS)
        yield simulator, client, client_of


async def is_healthy(client_of: Callable[[], Client]) -> Client:
    """A new connection has its image, its deltas and the end."""
    client = client_of()
    await client.log_in()
    await client.subscribe(fields=FIELDS)
    await client.gone()
    assert len(client.data()) > 3 and client.close_code == 1000
    assert client.heartbeats()[-1] == ms("10:17")
    return client


def stamps(client: Client) -> list[int]:
    """When each data frame was stamped."""
    return [json.loads(frame)["data"][0]["timestamp"] for frame in client.data()]


def logged(log: Path, conn: int = 1) -> list[str]:
    return [line["frame"] for line in map(json.loads, log.read_text().splitlines()) if line["conn"] == conn]


@SPEEDS
@pytest.mark.parametrize(
    ("fault", "code", "was_reset"),
    [
        ("drop", None, True),
        ("close", 1000, False),
        ("close=1011", 1011, False),
        ("close-silent", None, False),
    ],
)
async def test_ends_with_and_without_close_frame(
    speed: float | None, fault: str, code: int | None, was_reset: bool, tmp_path: Path
) -> None:
    """At its time the connection ends in its way; what was sent before it is in the log; under hold nothing is lost."""
    log = tmp_path / "send.jsonl"
    async with faulty(speed, fault + AT, send_log=log) as (_, client, client_of):
        await client.gone()
        assert (client.close_code, client.was_reset) == (code, was_reset)
        assert ms("10:15:09") <= stamps(client)[-1] < ms("10:15:12") or was_reset
        again = await is_healthy(client_of)
        assert (logged(log) == client.frames) or was_reset
        assert logged(log, 2) == again.frames
        volume: dict[str, int] = {}
        for item in client.items() + again.items():
            volume[item["key"]] = item.get("8", 0) or volume.get(item["key"], 0)
        assert volume == {"SPY": sum(range(100, 220))}


@SPEEDS
async def test_half_open(speed: float | None) -> None:
    """The socket stays, commands and pings have no answer; the next login finds the stream free."""
    async with faulty(speed, "half-open" + AT) as (simulator, client, client_of):
        (connection,) = simulator._streamer.connections
        async with asyncio.timeout(20):
            while not connection.dead:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.005)
        client.write(PING, b"?")
        one = client.request(EQUITIES, "VIEW", fields="0,3")
        client.say(json.dumps(one))
        other = client_of()
        await other.connect()
        assert not client.ended and client.pongs_got == []
        assert f'"requestid":"{one["requestid"]}"' not in "".join(client.frames)
        assert stamps(client)[-1] < ms("10:15:12")
        await is_healthy(client_of)
        await client.gone()


@SPEEDS
async def test_drip(speed: float | None) -> None:
    """A frame comes in many pieces, and is whole and right in the end; the tape is all there."""
    async with faulty(speed, "dripx5") as (_, client, _of):
        await client.until(lambda: len(client.data()) > 3)
        assert len([size for size in client.pieces if size < 60]) > 30
        await client.gone()
        assert client.items()[-1]["8"] == sum(range(100, 220))


@SPEEDS
async def test_silence(speed: float | None) -> None:
    """For so many real seconds nothing comes, no heartbeat and no response; then all that was held back."""
    async with faulty(speed, "silence=0.6" + AT) as (_, client, _of):
        await client.until(lambda: bool(client.data()) and stamps(client)[-1] >= ms("10:15:08"))
        await client.gone()
        pauses = [later - earlier for earlier, later in pairwise(client.times)]
        assert max(pauses) > 0.5
        before = client.times[pauses.index(max(pauses))]
        assert sum(before < at < before + 0.5 for at in client.times) == 0
        assert stamps(client) == sorted(stamps(client))
        assert client.items()[-1]["8"] == sum(range(100, 220))
        assert client.close_code == 1000


@SPEEDS
async def test_silence_ends_when_the_client_gives_up(speed: float | None) -> None:
    """A client that reconnects in a silence is served at once."""
    async with faulty(speed, "silence=3600") as (simulator, client, client_of):
        (connection,) = simulator._streamer.connections
        async with asyncio.timeout(20):
            while not connection.silent:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.005)
        await client.kill()
        await is_healthy(client_of)


@SPEEDS
async def test_duplicate(speed: float | None, tmp_path: Path) -> None:
    """Two data frames are sent twice, and logged twice."""
    log = tmp_path / "send.jsonl"
    async with faulty(speed, f"duplicate{AT}x2", send_log=log) as (_, client, _of):
        await client.gone()
    data = client.data()
    assert sum(one == other for one, other in pairwise(data)) == 2
    assert len(data) == len(set(data)) + 2
    assert logged(log) == client.frames


@SPEEDS
async def test_reorder(speed: float | None, tmp_path: Path) -> None:
    """Two data frames change places; none is lost, and the log has them as they were sent."""
    log = tmp_path / "send.jsonl"
    async with faulty(speed, "reorder" + AT, send_log=log) as (_, client, _of):
        await client.gone()
    told = stamps(client)
    assert [later - earlier for earlier, later in pairwise(told) if later < earlier] == [-1000]
    assert sorted(told)[1:] == [ms("10:15") + 1000 * n + 999 for n in range(len(told) - 1)]
    assert logged(log) == client.frames


async def test_reorder_of_the_last_frame() -> None:
    """A frame whose successor never comes is sent before the end."""
    async with faulty(None, "reorder@10:17") as (_, client, _of):
        await client.gone()
        assert client.items()[-1]["8"] == sum(range(100, 220))


@SPEEDS
@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage(speed: float | None, kind: str, tmp_path: Path) -> None:
    """One frame that is no sound data, in a text message; before and after it the stream is in order."""
    log = tmp_path / "send.jsonl"
    async with faulty(speed, f"garbage={kind}{AT}", send_log=log) as (_, client, _of):
        await client.gone()
    sound = [frame for frame in client.data() if _is_sound(frame)]
    (bad,) = [frame for frame in client.frames if frame not in sound and frame.startswith('{"data"')]
    spoiled = {
        "json": "\\P",
        "utf8": "\udcc9",
        "service": "MARTIANS",
        "field": '"900":',
        "type": '"8":[]',
        "keys": '{"3":1}',
        "nan": '"NaN"',
        "nul": "\\u0000",
    }
    assert spoiled[kind] in bad
    whole = [json.loads(frame)["data"][0]["content"][0] for frame in sound]
    assert len(whole) == 121 and whole[-1]["8"] == sum(range(100, 220))
    assert logged(log) == client.frames


def _is_sound(frame: str) -> bool:
    try:
        (item,) = json.loads(frame)["data"][0]["content"]
    except ValueError:
        return False
    return item["key"] == "SPY" and (set(item) <= {"key", "3", "8", "35"} or "cusip" in item) and item.get("8") != []


@SPEEDS
async def test_huge(speed: float | None) -> None:
    """A frame of at least so many megabytes, sound, of nobody's symbols."""
    async with faulty(speed, "huge=3" + AT) as (_, client, _of):
        await client.gone()
    (huge,) = [frame for frame in client.frames if len(frame) > 3 << 20]
    assert {item["key"] for item in json.loads(huge)["data"][0]["content"]} == {"ZZZZ"}
    assert client.close_code == 1000


@SPEEDS
@pytest.mark.parametrize("reason", ["empty", "slow"])
@pytest.mark.parametrize("frame", ["yes", "no"])
async def test_stop(speed: float | None, reason: str, frame: str) -> None:
    """Code 30 in a notify, then the end with or without a close frame."""
    async with faulty(speed, f"stop={reason}{AT}", switches=(f"close-frame={frame}",)) as (_, client, client_of):
        await client.gone()
        (notice,) = client.notices()
        assert notice["code"] == 30 and notice["msg"].startswith("Stop streaming due to ") and reason in notice["msg"]
        assert client.close_code == (1000 if frame == "yes" else None)
        await is_healthy(client_of)


@SPEEDS
@pytest.mark.parametrize("frame", ["yes", "no"])
async def test_evict(speed: float | None, frame: str) -> None:
    """Code 12 in a response, then the end; twice, as two programs do to each other."""
    async with faulty(speed, f"evict{AT}x2", switches=(f"close-frame={frame}",)) as (_, client, client_of):
        for _number in range(2):
            await client.gone()
            answer = json.loads(client.frames[-1])["response"][0]
            assert (answer["service"], answer["content"]["code"]) == ("ADMIN", 12)
            assert client.close_code == (1000 if frame == "yes" else None)
            client = client_of()
            await client.log_in()
            await client.subscribe(fields=FIELDS)
        await client.gone()
        assert client.heartbeats()[-1] == ms("10:17")


@SPEEDS
async def test_skew(speed: float | None) -> None:
    """Three frames are stamped an hour late; the tape itself is not moved."""
    async with faulty(speed, f"skew=3600000{AT}x3") as (_, client, _of):
        await client.gone()
    late = [frame for frame in client.frames if ms("11:15") < _stamp(frame) < ms("11:16")]
    assert len(late) == 3
    assert client.heartbeats()[-1] == ms("10:17")


def _stamp(frame: str) -> int:
    ((element,),) = json.loads(frame).values()
    return int(element.get("timestamp") or element["heartbeat"])


CODES = {
    9: "Unknown failure",
    11: "Service LEVELONE_EQUITIES is not available",
    19: "You've reached the maximum number of symbols allowed.  (LEVELONE_EQUITIES=0, DISCARDED=1)",
    20: "Stream connection not found.",
    21: "Bad command formatting",
    22: "SUBS command failed",
    23: "UNSUBS command failed",
    24: "ADD command failed",
    25: "VIEW command failed",
}


@SPEEDS
@pytest.mark.parametrize("code", CODES)
async def test_code(speed: float | None, code: int) -> None:
    """The next command is answered with the code, and not obeyed; then all is well."""
    switches = ("early-command=stays",)
    async with playing(seconds=120, speed=speed, faults=(f"code={code}",), switches=switches) as (_, client_of):
        client = client_of()
        assert (await client.log_in())["content"]["code"] == 0
        refused = await client.command(EQUITIES, "SUBS", keys="SPY", fields=FIELDS)
        assert refused["content"] == {"code": code, "msg": CODES[code]}
        if code == 19:
            (_first, second) = await client.answers(refused["requestid"], 2)
            assert second["content"]["code"] == 22
        assert client.data() == []
        await client.subscribe(fields=FIELDS)
        await client.gone()
        assert len(client.data()) > 100


@SPEEDS
@pytest.mark.parametrize("code", [26, 27, 28, 29])
async def test_code_of_success(speed: float | None, code: int) -> None:
    """26 to 29 say success, and are one."""
    name = {26: "SUBS", 27: "UNSUBS", 28: "ADD", 29: "VIEW"}[code]
    async with playing(stands=True, speed=speed, faults=(f"code={code}:{name}",)) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        (connection,) = simulator._streamer.connections
        for command in ("SUBS", "VIEW", "ADD", "UNSUBS"):
            answer = await client.command(EQUITIES, command, keys="SPY", fields="0,3")
            assert answer["content"]["code"] == (code if command == name else 0)
            assert answer["content"]["msg"] == f"{command} command succeeded"
            assert bool(connection.keys[EQUITIES]) == (command != "UNSUBS")


@SPEEDS
@pytest.mark.parametrize(("code", "close_code"), [("3", 1000), ("12:SUBS", 1000), ("20:SUBS", 1000), ("9:LOGIN", None)])
async def test_code_that_closes(speed: float | None, code: str, close_code: int | None) -> None:
    """3 answers a LOGIN and ends; 12 ends; 20 ends by switch; with a name the code is for that command."""
    async with playing(seconds=120, speed=speed, faults=(f"code={code}",)) as (_, client_of):
        client = client_of()
        answer = await client.log_in()
        if code == "12:SUBS" or code == "20:SUBS":
            answer = await client.command(EQUITIES, "SUBS", keys="SPY", fields=FIELDS)
        assert answer["content"]["code"] == int(code.partition(":")[0])
        if close_code is not None:
            await client.gone()
            assert client.close_code == close_code
        await is_healthy(client_of)


async def test_a_fault_of_the_second_day() -> None:
    """`@2:04:05` is the second session's, and not the first's."""
    span: dict[str, Any] = {"days": 2, "start": wall_time(19, 55), "end": wall_time(4, 20)}
    async with playing(faults=("close=1011@2:04:05",), **span) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe()
        await client.gone()
        assert client.close_code == 1011
        assert simulator.position_ms > ms("20:00") and simulator.position_ms % 86_400_000 == ms("04:05") % 86_400_000


@SPEEDS
async def test_a_time_before_the_start_is_due_at_once_and_counts_are_kept(speed: float | None) -> None:
    """Two of three: the third connection lives."""
    async with faulty(speed, "close@04:00x2") as (_, client, client_of):
        await client.gone()
        client = client_of()
        await client.log_in()
        await client.subscribe(fields=FIELDS)
        await client.gone()
        assert ms("10:17") not in client.heartbeats()
        await is_healthy(client_of)
