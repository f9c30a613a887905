"""The streamer's protocol, line by line: test_3_5_... is of section 3.5 of the project's Schwab reference.

Long, because it follows that reference from 3.1 to 3.7 and 3.13 in one place; market contents (3.8 to 3.12) and faults
have files of their own.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import time as wall_time
from itertools import pairwise
from typing import Any

import pytest
from tests.integration.sim_client import ALL_FIELDS, DAY, PING, Client, ms, playing

from alphakite.simulator import Simulator, oauth, streamer
from alphakite.simulator import connection as connection_module

EQUITIES, OPTIONS, CHART = "LEVELONE_EQUITIES", "LEVELONE_OPTIONS", "CHART_EQUITY"
SILENT = ("LEVELONE_FUTURES", "LEVELONE_FUTURES_OPTIONS", "LEVELONE_FOREX", "CHART_FUTURES", "NEWS_HEADLINE")
STANDS: dict[str, Any] = {"stands": True}
"""With SPY alone subscribed, the tape of two symbols stands: commands can be tried at leisure."""


def contracts(simulator: Simulator, count: int) -> list[str]:
    """Option symbols that are played."""
    chain = simulator._player.market.chain("SPY")
    middle = len([contract for contract in chain if contract.expiry == chain[0].expiry]) // 2
    return [contract.symbol for contract in chain[max(0, middle - count // 2) :][:count]]


def content_of(frame: str) -> list[dict[str, Any]]:
    return [item for element in json.loads(frame)["data"] for item in element["content"]]


# 3.1 Connection.


async def test_3_1_the_url_is_userpreference_s_and_no_compression_is_agreed() -> None:
    """The socket is where userPreference says; permessage-deflate, though offered, is not taken; no login by HTTP."""
    async with playing() as (simulator, client_of):
        client = client_of()
        await client.connect()
        assert client.ids["streamerSocketUrl"] == simulator.api_url.replace("http", "ws") + "/ws"
        assert "sec-websocket-extensions" not in client.headers.lower()
        assert "sec-websocket-protocol" not in client.headers.lower()


async def test_3_1_one_connection_a_second_login_evicts_the_first() -> None:
    """The older connection gets code 12 and a close frame; the newer one goes on."""
    async with playing(**STANDS) as (_, client_of):
        first, second = client_of(), client_of()
        await first.log_in()
        await first.subscribe()
        assert (await second.log_in())["content"]["code"] == 0
        await first.gone()
        answer = json.loads(first.frames[-1])["response"][0]
        assert (answer["content"]["code"], answer["SchwabClientCorrelId"]) == (12, first.ids["schwabClientCorrelId"])
        assert first.close_code == 1000
        await second.subscribe()


async def test_3_1_one_connection_the_newer_one_is_refused_by_switch() -> None:
    """With evicts=newer the second login gets 12 and its end, and the first one never knows."""
    async with playing(**STANDS, switches=("evicts=newer", "close-frame=no")) as (_, client_of):
        first, second = client_of(), client_of()
        await first.log_in()
        assert (await second.log_in())["content"]["code"] == 12
        await second.gone()
        assert second.close_code is None
        await first.subscribe()
        await first.kill()
        while (await client_of().log_in())["content"]["code"] != 0:  # until its end is noticed
            pass


@pytest.mark.parametrize("speed", [None, 1.0])
@pytest.mark.parametrize("frame", ["yes", "no"])
async def test_3_1_idle_rule(monkeypatch: pytest.MonkeyPatch, speed: float | None, frame: str) -> None:
    """Without a subscription a notify 30 comes after 30 s (here 0.2 s), then the end, with or without close frame."""
    assert streamer.IDLE_S == 30
    monkeypatch.setattr(streamer, "IDLE_S", 0.2)
    async with playing(**STANDS, speed=speed, switches=(f"close-frame={frame}",)) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe()
        began = asyncio.get_running_loop().time()
        await client.command(EQUITIES, "UNSUBS", keys="SPY")
        await client.gone()
        assert asyncio.get_running_loop().time() - began > 0.15
        assert client.notices() == [{"code": 30, "msg": "Stop streaming due to empty subscription"}]
        text = client.frames[-1] if "content" in client.frames[-1] else client.frames[-2]
        assert re.fullmatch(
            r'\{"notify":\[\{"service":"ADMIN","timestamp":\d+,"content":\{"code":30,"msg":"[^"]+"\}\}\]\}', text
        )
        assert client.close_code == (1000 if frame == "yes" else None)


async def test_3_1_idle_rule_spares_who_subscribes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription of a silent service is one; the clock begins anew when the last key goes."""
    monkeypatch.setattr(streamer, "IDLE_S", 0.3)
    async with playing(**STANDS) as (_, client_of):
        client, other = client_of(), client_of()
        await client.log_in()
        await client.subscribe("EUR/USD", service="LEVELONE_FOREX")
        await other.connect()  # a socket without a login has no subscription to lose
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 0.5:
            await client.command(EQUITIES, "VIEW", fields="0,1")
        assert client.notices() == []


async def test_3_1_the_server_answers_pings() -> None:
    """A client's ping gets its pong."""
    async with playing() as (_, client_of):
        client = client_of()
        await client.connect()
        client.write(PING, b"are you there")
        await client.until(lambda: client.pongs_got == [b"are you there"])


@pytest.mark.parametrize(("start", "end"), [("04:00", "04:05"), ("08:59", "09:01"), ("19:58", "20:00")])
async def test_3_1_market_hours_any_time(start: str, end: str) -> None:
    """The socket opens before, in and after the regular session, and brings images."""
    span = {"start": wall_time.fromisoformat(start), "end": wall_time.fromisoformat(end)}
    async with playing(**span) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        assert simulator.position_ms == ms(start)
        await client.subscribe()
        await client.gone()
        assert client.items()[0]["key"] == "SPY" and client.heartbeats()[-1] == ms(end)


async def test_3_1_requests_above_65535_bytes_drop_the_connection() -> None:
    """65,535 bytes are obeyed; one more, and TCP is gone without a word."""
    async with playing(**STANDS) as (_, client_of):
        for size, ends in ((65_535, False), (65_536, True)):
            client = client_of()
            await client.log_in()
            one = client.request(EQUITIES, "SUBS", keys="SPY", fields="0,3")
            text = json.dumps(one)
            one["parameters"]["filling"] = "x" * (size - len(text) - len(', "filling": ""'))
            text = json.dumps(one)
            assert len(text) == size
            count = len(client.frames)
            client.say(text)
            if ends:
                await client.gone()
                assert client.close_code is None and client.frames[count:] == []
            else:
                assert (await client.answers(one["requestid"]))[0]["content"]["code"] == 0


# 3.2 Request envelope.


@pytest.mark.parametrize("form", ["bare", "list", "many"])
@pytest.mark.parametrize("kind", [int, str])
async def test_3_2_envelopes(form: str, kind: type) -> None:
    """Bare requests and lists are obeyed; the requestid comes back as a string; the two ids are echoed or checked."""
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        requests = [
            client.request(EQUITIES, "SUBS", kind(7), keys="SPY", fields="0,3"),
            client.request(CHART, "ADD", kind(8), keys="SPY", fields="0,7"),
        ]
        if form == "bare":
            client.say(json.dumps(requests[0]))
            client.say(json.dumps(requests[1]))
        elif form == "list":
            client.say(json.dumps({"requests": requests[:1]}))
            client.say(json.dumps({"requests": requests[1:]}))
        else:
            client.say(json.dumps({"requests": requests}))
        for number, text in ((7, "SUBS command succeeded"), (8, "ADD command succeeded")):
            answer = (await client.answers(number))[0]
            assert answer["requestid"] == str(number) and answer["content"] == {"code": 0, "msg": text}
            assert answer["SchwabClientCorrelId"] == client.ids["schwabClientCorrelId"]


async def test_3_2_subs_replaces_the_set_of_its_service_only() -> None:
    """SUBS replaces, ADD adds, UNSUBS removes, VIEW changes the fields of all keys; other services are untouched."""
    async with playing(**STANDS) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        held = next(iter(simulator._streamer.connections)).keys
        await client.subscribe("SPY", "0,3")
        await client.subscribe("SPY", "0,7", service=CHART)
        await client.subscribe("QQQ", "0,3")
        assert held[EQUITIES] == {"QQQ": {0, 3}} and held[CHART].keys() == {"SPY"}
        await client.subscribe("XYZ", "0,3", command="ADD")
        assert list(held[EQUITIES]) == ["QQQ", "XYZ"]
        view = await client.command(EQUITIES, "VIEW", fields="0,8")
        assert view["content"] == {"code": 0, "msg": "VIEW command succeeded"}
        assert held[EQUITIES] == {"QQQ": {0, 8}, "XYZ": {0, 8}}
        gone = await client.command(EQUITIES, "UNSUBS", keys="QQQ")
        assert gone["content"] == {"code": 0, "msg": "UNSUBS command succeeded"}
        assert held[EQUITIES] == {"XYZ": {0, 8}}


async def test_3_2_commands_before_login_get_20() -> None:
    """A command before LOGIN: 20, and by switch the end or another try."""
    for switch, ends in (("closes", True), ("stays", False)):
        async with playing(**STANDS, switches=(f"early-command={switch}",)) as (_, client_of):
            client = client_of()
            await client.connect()
            early = await client.command(EQUITIES, "SUBS", keys="SPY", fields="0,3")
            assert early["content"] == {"code": 20, "msg": "Stream connection not found."}
            if ends:
                await client.gone()
            else:
                login = await client.command("ADMIN", "LOGIN", Authorization=client.token)
                assert login["content"]["code"] == 0


async def test_3_2_ids_must_not_change_within_the_connection() -> None:
    """Another customer or another correlation id, though one of ours: 20, and the connection stays."""
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        other = (await client.get("/trader/v1/userPreference"))["streamerInfo"][0]["schwabClientCorrelId"]
        for name, value in (("SchwabClientCorrelId", other), ("SchwabClientCustomerId", "f3" * 32)):
            one = client.request(EQUITIES, "SUBS", keys="SPY", fields="0,3")
            client.say(json.dumps(one | {name: value}))
            answer = (await client.answers(one["requestid"]))[0]
            if name == "SchwabClientCorrelId" and other == client.ids[f"s{name[1:]}"]:
                continue
            assert answer["content"]["code"] == 20
        await client.subscribe()


async def test_3_2_parallel_commands_can_fail_with_22_to_25() -> None:
    """By switch the second command on a service in the same message fails; another service's does not."""
    async with playing(**STANDS, switches=("parallel=fails",)) as (_, client_of):
        client = client_of()
        await client.log_in()
        requests = [client.request(EQUITIES, "SUBS", keys="SPY", fields="0,3")]
        requests += [client.request(CHART, "SUBS", keys="SPY", fields="0,7")]
        requests += [
            client.request(EQUITIES, name, keys="SPY", fields="0,3") for name in ("SUBS", "UNSUBS", "ADD", "VIEW")
        ]
        client.say(json.dumps({"requests": requests}))
        await client.answers(requests[-1]["requestid"])
        told = [(await client.answers(request["requestid"]))[0]["content"] for request in requests]
        assert [content["code"] for content in told] == [0, 0, 22, 23, 24, 25]
        assert [content["msg"] for content in told[2:4]] == ["SUBS command failed", "UNSUBS command failed"]


async def test_3_2_unknown_symbols_get_0_and_never_tick() -> None:
    """Equities, options, bars and books of unknown symbols: accepted, silent."""
    strange = "SPY   991231C00001000"
    async with playing() as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(strange, service=OPTIONS)
        await client.subscribe("NEVER", service=CHART)
        await client.subscribe("NEVER", service="NASDAQ_BOOK")
        await client.subscribe("NEVER,SPY")
        await client.gone()
        assert {item["key"] for item in client.items()} == {"SPY"}
        assert client.items(OPTIONS) == client.items(CHART) == client.items("NASDAQ_BOOK") == []


async def test_3_2_field_numbers_beyond_the_table_are_ignored() -> None:
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(fields="0,3,52,54,999")
        await client.until(lambda: bool(client.data()))
        assert {name for name in client.items()[0] if name.isdigit()} <= {"3"}


# 3.3 Server envelopes.


async def test_3_3_a_blank_before_timestamp() -> None:
    """Data elements have exactly one blank outside of texts, before "timestamp"; other frames have none."""
    async with playing(switches=("services=together",)) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        for service in ("NASDAQ_BOOK", "SCREENER_EQUITY", "ACCT_ACTIVITY"):
            await client.subscribe("EQUITY_ALL_VOLUME_0" if "SCREENER" in service else "SPY", service=service)
        await client.subscribe(",".join(contracts(simulator, 4)), service=OPTIONS)
        await client.subscribe(service=CHART)
        await client.subscribe()
        await client.gone()
        for frame in client.frames:
            bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', frame)
            blanks = bare.count(" ")
            if frame.startswith('{"data"'):
                assert (
                    blanks == len(re.findall(r'\{"":"", "":\d{13},"":"","":\[', bare)) == len(json.loads(frame)["data"])
                )
                assert '", "timestamp":' in frame
            else:
                assert blanks == 0


async def test_3_3_numbers_are_spelled_without_trailing_zeros() -> None:
    """235 and not 235.0 (a chart volume may print 26.0), ints unquoted, heartbeats quoted."""
    async with playing() as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(",".join(contracts(simulator, 20)), service=OPTIONS)
        await client.subscribe()
        await client.gone()
        text = "".join(client.data() + client.data(OPTIONS))
        numbers = re.findall(r'"\d+":(-?[\d.eE+-]+)', text)
        assert len(numbers) > 1000
        assert all(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?", number) for number in numbers)
        assert not re.search(r'"(8|34|35)":"', "".join(client.data()))
        for frame in client.frames:
            if "heartbeat" in frame:
                assert re.fullmatch(r'\{"notify":\[\{"heartbeat":"\d{13}"\}\]\}', frame)


@pytest.mark.parametrize("order", ["first", "last"])
async def test_3_3_both_key_orders(order: str) -> None:
    """`key` and the meta keys stand before the numbered fields, or behind all of them; nothing else differs."""
    async with playing(switches=(f"key-order={order}",)) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(",".join(contracts(simulator, 4)), service=OPTIONS)
        await client.subscribe(service=CHART)
        await client.subscribe()
        await client.gone()
        items = client.items() + client.items(OPTIONS) + client.items(CHART)
        assert len(items) > 100
        for item in items:
            numbered = [name.isdigit() for name in item]
            assert numbered == sorted(numbered, reverse=order == "last")
        first = list(client.items()[0])
        meta = ["key", "delayed", "assetMainType", "assetSubType", "cusip"]
        assert (first[:5] if order == "first" else first[-5:]) == meta


async def test_3_3_data_says_subs_even_after_add() -> None:
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(command="ADD")
        await client.until(lambda: bool(client.data()))
        assert json.loads(client.data()[0])["data"][0]["command"] == "SUBS"


async def test_3_3_several_services_may_share_a_frame() -> None:
    """By switch one frame holds an element for each service, all with its stamp."""
    async with playing(switches=("services=together",)) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(contracts(simulator, 1)[0], service=OPTIONS)
        await client.subscribe(service=CHART)
        await client.subscribe()
        await client.gone()
        shared = [json.loads(f)["data"] for f in client.frames if f.startswith('{"data"') and f.count('"service"') > 1]
        assert shared and all(len({element["timestamp"] for element in frame}) == 1 for frame in shared)
        assert {element["service"] for frame in shared for element in frame} >= {EQUITIES, CHART}


async def test_3_3_the_first_heartbeat_comes_25_ms_after_login() -> None:
    """At a numeric speed by the wall; in lock-step at once, for the tape stands."""
    async with playing(speed=1.0) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.until(lambda: len(client.frames) >= 2)
        assert client.heartbeats() == [ms("10:15")]
        assert 0.015 < client.times[1] - client.times[0] < 1
    async with playing() as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.until(lambda: len(client.frames) >= 2)
        assert client.heartbeats() == [ms("10:15")]


@pytest.mark.parametrize("mode", ["always", "idle", "never"])
async def test_3_3_heartbeat_modes(mode: str) -> None:
    """Every ten tape seconds; only when nothing else was sent for so long; or none but the first and the last."""
    async with playing(switches=(f"heartbeat={mode}",)) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe()
        await client.gone()
        between = client.heartbeats()[1:-1]
        if mode == "always":
            assert between == [ms("10:15") + 10_000 * number for number in range(1, 12)]
        elif mode == "never":
            assert between == []
        else:
            stamps = [json.loads(frame)["data"][0]["timestamp"] for frame in client.data()]
            for beat in between:
                assert not [stamp for stamp in stamps if beat - 9_000 < stamp < beat]


async def test_3_3_heartbeats_of_an_idle_stream() -> None:
    """Where the tape has nothing, idle mode beats every ten seconds."""
    span = {"start": wall_time(4), "end": wall_time(4, 2), "switches": ("heartbeat=idle", "first-tick=07:00")}
    async with playing(**span) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe()
        await client.gone()
        assert len(client.heartbeats()) == 13


# 3.4 Services.


async def test_3_4_index_streams_on_levelone_equities() -> None:
    """$SPX has an image and deltas, without volume, sizes or ask."""
    async with playing(symbols=("$SPX",)) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe("$SPX")
        await client.gone()
        image, *deltas = client.items()
        assert image["assetMainType"] == "INDEX" and {"2", "4", "5", "8"}.isdisjoint(image)
        assert any("3" in delta for delta in deltas)


@pytest.mark.parametrize("service", SILENT)
async def test_3_4_services_that_are_there_and_silent(service: str) -> None:
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe("/ESZ26", service=service)
        await client.subscribe("/ES", service=service, command="ADD")
        assert client.data(service) == []


@pytest.mark.parametrize("service", ["TIMESALE_EQUITY", "TIMESALE_OPTIONS", "ACTIVES_NYSE", "ACTIVES_OPTIONS", "X"])
async def test_3_4_services_that_are_not_there(service: str) -> None:
    """11, with a text about the service; the connection stays."""
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        answer = await client.command(service, "SUBS", keys="SPY", fields="0,1")
        assert answer["content"] == {"code": 11, "msg": f"Service {service} is not available"}
        await client.subscribe()


async def test_3_4_options_image_then_only_what_changed() -> None:
    """The image has all 55 fields and two meta keys; a delta has what differs from what was told, never nothing."""
    async with playing() as (simulator, client_of):
        client = client_of()
        await client.log_in()
        wanted = contracts(simulator, 10)
        await client.subscribe(",".join(wanted), service=OPTIONS)
        await client.subscribe()
        await client.gone()
        told: dict[str, dict[str, Any]] = {}
        for item in client.items(OPTIONS):
            key = item.pop("key")
            if key not in told:
                assert list(item) == ["delayed", "assetMainType", *map(str, range(1, 56))]
                told[key] = item
            else:
                assert item and all(told[key][name] != value for name, value in item.items())
                told[key].update(item)
        assert list(told) == wanted
        assert sum("38" in item for item in client.items(OPTIONS)) > 20
        stamps = [json.loads(frame)["data"][0]["timestamp"] // 1000 for frame in client.data(OPTIONS)]
        assert len(stamps[1:]) == len(set(stamps[1:]))


async def test_3_4_options_only_the_subscribed_fields() -> None:
    async with playing() as (simulator, client_of):
        client = client_of()
        await client.log_in()
        key = contracts(simulator, 1)[0]
        await client.subscribe(key, "0,2,3,38", service=OPTIONS)
        await client.subscribe()
        await client.gone()
        image, *deltas = client.items(OPTIONS)
        assert set(image) == {"key", "delayed", "assetMainType", "2", "3", "38"}
        assert deltas and all(set(item) <= {"key", "2", "3", "38"} for item in deltas)


async def test_3_4_books_are_whole_and_best_first() -> None:
    """F13: levels of price, size, number of makers and makers; their times are ms since midnight in New York."""
    async with playing() as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(contracts(simulator, 1)[0], service=OPTIONS)
        await client.subscribe(contracts(simulator, 1)[0], service="OPTIONS_BOOK")
        await client.subscribe("SPY", service="NASDAQ_BOOK")
        await client.subscribe("SPY", service="NYSE_BOOK")
        await client.subscribe()
        await client.gone()
    for service in ("NASDAQ_BOOK", "NYSE_BOOK", "OPTIONS_BOOK"):
        books = client.items(service)
        assert len(books) > (5 if service != "OPTIONS_BOOK" else 0)
        for book in books:
            assert list(book) == ["key", "1", "2", "3"] and ms("10:14") < book["1"] < ms("10:18")
            for side, way in ((book["2"], -1), (book["3"], 1)):
                prices = [level["0"] for level in side]
                assert prices == sorted(prices, reverse=way < 0)
                for level in side:
                    assert list(level) == ["0", "1", "2", "3"] and level["2"] == len(level["3"]) > 0
                    assert level["1"] == sum(maker["1"] for maker in level["3"]) > 0
                    for maker in level["3"]:
                        assert list(maker) == ["0", "1", "2"]
                        assert (0 if service == "OPTIONS_BOOK" else 36_800_000) < maker["2"] < 37_200_000
    makers = {m["0"] for b in client.items("NASDAQ_BOOK") for level in b["2"] + b["3"] for m in level["3"]}
    assert "NSDQ" in makers and makers & {"arcx", "edgx"}


async def test_3_4_screeners_every_ten_seconds() -> None:
    """F14, whole each time; AVERAGE_PERCENT_VOLUME and keys that are none deliver nothing."""
    async with playing(symbols=("SPY", "QQQ")) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        keys = "EQUITY_ALL_VOLUME_0,NYSE_AVERAGE_PERCENT_VOLUME_5,NASDAQ_PERCENT_CHANGE_UP_60,nonsense"
        await client.subscribe(keys, service="SCREENER_EQUITY")
        await client.subscribe(",".join(contracts(simulator, 5)), service=OPTIONS)
        await client.subscribe("OPTION_ALL_VOLUME_5", service="SCREENER_OPTION")
        await client.subscribe("SPY,QQQ")
        await client.gone()
    items = client.items("SCREENER_EQUITY")
    assert {item["key"] for item in items} == {"EQUITY_ALL_VOLUME_0", "NASDAQ_PERCENT_CHANGE_UP_60"}
    volume = [item for item in items if item["key"] == "EQUITY_ALL_VOLUME_0"]
    assert 10 <= len(volume) <= 14
    assert (volume[0]["2"], volume[0]["3"], len(volume[0]["4"])) == ("VOLUME", 0, 2)
    line = ["symbol", "description", "lastPrice", "netChange", "netPercentChange", "marketShare", "totalVolume"]
    assert list(volume[0]["4"][0]) == [*line, "volume", "trades"]
    assert client.items("SCREENER_OPTION")[-1]["4"][0]["symbol"].startswith("SPY   ")


async def test_3_4_account_activity_begins_with_subscribed() -> None:
    """Any key; the first item is of type SUBSCRIBED; only SUBS and UNSUBS."""
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe('any "thing"', "0,1,2,3", service="ACCT_ACTIVITY")
        await client.until(lambda: bool(client.data("ACCT_ACTIVITY")))
        (item,) = client.items("ACCT_ACTIVITY")
        assert list(item) == ["seq", "key", "1", "2", "3"]
        assert (item["key"], item["2"], item["3"]) == ('any "thing"', "SUBSCRIBED", "")
        for command in ("ADD", "VIEW"):
            answer = await client.command("ACCT_ACTIVITY", command, keys="x", fields="0,1,2,3")
            assert answer["content"]["code"] == 21
        assert (await client.command("ACCT_ACTIVITY", "UNSUBS", keys="x"))["content"]["code"] == 0


# 3.5 Response codes.


async def test_3_5_0_success_of_each_command() -> None:
    """LOGIN tells server and status; the others say what succeeded; LOGOUT says SUCCESS and closes with 1000."""
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        login = await client.log_in()
        assert re.fullmatch(r"server=\S+-\d+;status=(NP|PN|PP)", login["content"]["msg"])
        for command in ("SUBS", "ADD", "VIEW", "UNSUBS"):
            answer = await client.command(EQUITIES, command, keys="SPY", fields="0,3")
            assert answer["content"] == {"code": 0, "msg": f"{command} command succeeded"}
        assert (await client.command("ADMIN", "LOGOUT"))["content"] == {"code": 0, "msg": "SUCCESS"}
        await client.gone()
        assert client.close_code == 1000


async def test_3_5_3_login_denied_closes() -> None:
    """A token that is not ours, or one with "Bearer " before it."""
    async with playing(**STANDS) as (_, client_of):
        for spoil in ("I0.other@", "Bearer {}"):
            client = client_of()
            await client.connect()
            answer = await client.command("ADMIN", "LOGIN", Authorization=spoil.format(client.token))
            assert answer["content"] == {"code": 3, "msg": "Login Denied.: token is invalid or has expired."}
            await client.gone()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "7",
        '{"requests":[]}',
        '{"requests":7}',
        '{"service":"ADMIN","command":"LOGIN"}',
        '{"requests":[{"service":"ADMIN","command":"LOGIN","requestid":""}]}',
        '{"service":"ADMIN","command":"LOGIN","requestid":"77","parameters":[]}',
    ],
)
async def test_3_5_21_bad_format_of_a_message(text: str) -> None:
    """Not JSON, or service, command or requestid missing: 21, what is known is echoed, and the connection stays."""
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.connect()
        client.say(text)
        await client.until(lambda: bool(client.frames))
        answer = json.loads(client.frames[0])["response"][0]
        assert answer["content"] == {"code": 21, "msg": "Bad command formatting"}
        assert answer["service"] == ("ADMIN" if "ADMIN" in text else "")
        assert (await client.command("ADMIN", "LOGIN", Authorization=client.token))["content"]["code"] == 0


@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        ("SUBS", {"keys": "SPY"}),
        ("SUBS", {"fields": "0,1"}),
        ("SUBS", {"keys": "SPY", "fields": "0,one"}),
        ("ADD", {"keys": "SPY"}),
        ("VIEW", {"keys": "SPY"}),
        ("UNSUBS", {}),
        ("GET", {"keys": "SPY", "fields": "0,1"}),
    ],
)
async def test_3_5_21_bad_format_of_a_subscription(command: str, parameters: dict[str, str]) -> None:
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        assert (await client.command(EQUITIES, command, **parameters))["content"]["code"] == 21
        await client.subscribe()


# 3.6 Symbol limits.


@pytest.mark.parametrize(("command", "failed"), [("ADD", 24), ("SUBS", 22)])
async def test_3_6_two_responses_when_the_cap_is_exceeded(command: str, failed: int) -> None:
    """19 with both counters and two blanks, then 24 or 22; keys up to the cap stay, and tick."""
    async with playing(caps=((OPTIONS, 3),)) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        keys = contracts(simulator, 5)
        one = client.request(OPTIONS, command, keys=",".join(keys), fields=ALL_FIELDS)
        client.say(json.dumps({"requests": [one]}))
        first, second = await client.answers(one["requestid"], 2)
        text = "You've reached the maximum number of symbols allowed.  (LEVELONE_OPTIONS=3, DISCARDED=2)"
        assert first["content"] == {"code": 19, "msg": text}
        assert second["content"] == {"code": failed, "msg": f"{command} command failed"}
        await client.subscribe()
        await client.gone()
        assert {item["key"] for item in client.items(OPTIONS)} == set(keys[:3])


async def test_3_6_the_defaults_and_the_caps_by_service() -> None:
    """3000 options, 3000 equities, 300 charts; each service counts for itself; a key that is held is no new one."""
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.log_in()
        for service, cap in ((EQUITIES, 3000), (OPTIONS, 3000), (CHART, 300)):
            keys = [f"S{number}" for number in range(cap)]
            await client.subscribe(",".join(keys), "0,3", service=service)
            await client.subscribe(",".join(keys[:5]), "0,3", service=service, command="ADD")
            one = client.request(service, "ADD", keys="ONE,MORE", fields="0,3")
            client.say(json.dumps(one))
            answers = await client.answers(one["requestid"], 2)
            assert answers[0]["content"]["msg"].endswith(f"  ({service}={cap}, DISCARDED=2)")


async def test_3_6_a_cap_never_holds_the_tape() -> None:
    """Lock-step starts when all symbols were named, though the cap discards one of them."""
    async with playing(stands=True, caps=((EQUITIES, 1),)) as (_, client_of):
        client = client_of()
        await client.log_in()
        assert (await client.command(EQUITIES, "SUBS", keys="SPY,QQQ,IWM", fields="0,3"))["content"]["code"] == 19
        await client.gone()
        assert {item["key"] for item in client.items()} == {"SPY"}


# 3.7 Session life.


@pytest.mark.parametrize("mode", ["ignored", "closes"])
async def test_3_7_token_expiry(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is examined at LOGIN only; by switch its end ends the stream."""
    async with playing(end=wall_time(10, 25), switches=(f"token-expiry={mode}",)) as (simulator, client_of):
        client, again = client_of(), client_of()
        await again.connect()
        await client.log_in()
        monkeypatch.setattr(oauth.TokenStore, "admits", lambda _, __: simulator.position_ms < ms("10:20"))
        await client.subscribe()
        await client.gone()
        reached = json.loads(client.data()[-1])["data"][0]["timestamp"]
        if mode == "closes":
            assert ms("10:19:30") < reached < ms("10:20:01") and client.close_code == 1000
        else:
            assert reached > ms("10:24:30")
            refused = await again.command("ADMIN", "LOGIN", Authorization=again.token)
            assert refused["content"]["code"] == 3


async def test_3_7_the_server_keeps_nothing() -> None:
    """After a reconnect nothing comes until everything is subscribed again; then new full images."""
    async with playing() as (simulator, client_of):
        client = client_of()
        client.pongs = False
        await client.log_in()
        await client.subscribe(service=CHART)
        await client.subscribe()
        await client.until(lambda: bool(client.pings))
        await client.kill()
        again = client_of()
        await again.log_in()
        assert not any(next(iter(simulator._streamer.connections)).keys.values())
        await again.subscribe()
        await again.gone()
        assert again.items()[0]["delayed"] is False and again.data(CHART) == []


@pytest.mark.parametrize("mode", ["image", "nothing"])
@pytest.mark.parametrize("service", [EQUITIES, OPTIONS, CHART])
async def test_3_7_re_add_of_a_subscribed_key(mode: str, service: str) -> None:
    """A fresh image, or nothing, by switch; a key that is new has its image in both."""
    async with playing(stands=True, seconds=90, start=wall_time(10, 16), switches=(f"re-add={mode}",)) as (
        simulator,
        client_of,
    ):
        client = client_of()
        await client.log_in()
        old, new = contracts(simulator, 2) if service == OPTIONS else ("SPY", "QQQ")
        await client.subscribe(old, service=service)
        await client.subscribe(f"{old},{new}", service=service, command="ADD")
        await client.until(lambda: len(client.data(service)) == 2)
        keys = [item["key"] for item in content_of(client.data(service)[1])]
        assert keys == ([old, new] if mode == "image" else [new])


async def test_3_7_the_volume_reset_of_0728() -> None:
    """At 07:28 field 8 goes to 0, as an update; what is traded then counts anew."""
    span = {"start": wall_time(7, 27), "end": wall_time(7, 29)}
    async with playing(**span) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(fields="0,8")
        await client.gone()
        volumes = [
            (element["timestamp"], item["8"])
            for frame in client.data()
            for element in json.loads(frame)["data"]
            for item in element["content"]
        ]
        before = [volume for stamp, volume in volumes if stamp < ms("07:28")]
        after = [volume for stamp, volume in volumes if stamp >= ms("07:28")]
        assert before[-1] > after[0] and after == sorted(after)


# Lock-step.


async def test_adds_and_unsubs_neither_restart_nor_stall_the_tape() -> None:
    """A connection that was complete stays so: one symbol goes and comes, and no second of the other is lost."""
    async with playing(stands=True, seconds=90) as (_, client_of):
        whole = client_of()
        await whole.log_in()
        await whole.subscribe("SPY,QQQ,IWM", "0,3,8")
        await whole.gone()
    async with playing(stands=True, seconds=90) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe("SPY,QQQ,IWM", "0,3,8")
        await client.until(lambda: len(client.data()) > 10)
        await client.command(EQUITIES, "UNSUBS", keys="QQQ")
        await client.until(lambda: len(client.data()) > 20)
        await client.subscribe("QQQ", "0,3,8", command="ADD")
        await client.gone()

    def of_spy(frames: list[str]) -> list[dict[str, Any]]:
        return [item for frame in frames for item in content_of(frame) if item["key"] == "SPY"]

    assert of_spy(client.data()) == of_spy(whole.data())
    assert client.close_code == 1000


async def test_lockstep_is_deterministic() -> None:
    """Two plays with every service subscribed are the same frame by frame, ids aside."""
    plays = []
    for _ in range(2):
        async with playing(symbols=("SPY",)) as (simulator, client_of):
            client = client_of()
            await client.log_in()
            await client.subscribe(",".join(contracts(simulator, 20)), service=OPTIONS)
            for service in (CHART, "NASDAQ_BOOK"):
                await client.subscribe(service=service)
            await client.subscribe("EQUITY_ALL_VOLUME_0", service="SCREENER_EQUITY")
            await client.subscribe()
            await client.gone()
            plays.append([frame for frame in client.frames if '"response"' not in frame])
    assert plays[0] == plays[1] and len(plays[0]) > 200


async def test_several_days_pass_quickly() -> None:
    """Two sessions, a weekend between: heartbeats through the nights, bars numbered on, the end of the last day."""
    friday = DAY.replace(day=11)
    options: dict[str, Any] = {"session": friday, "days": 2, "start": wall_time(19, 50), "end": wall_time(4, 20)}
    async with playing(**options) as (_, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe(service=CHART)
        await client.subscribe()
        await client.gone()
    monday = DAY.replace(day=14)
    beats = client.heartbeats()
    steps = [later - earlier for earlier, later in pairwise(beats)]
    assert beats[-1] == ms("04:20", monday) and beats == sorted(beats)
    assert max(steps) <= 300_000 and 500 < steps.count(300_000) < 800
    stamps = [json.loads(frame)["data"][0]["timestamp"] for frame in client.data()]
    assert [s for s in stamps if s < ms("20:01", friday)] and [s for s in stamps if s > ms("04:00", monday)]
    assert not [s for s in stamps if ms("20:01", friday) < s < ms("04:00", monday)]
    sequence = [item["seq"] for item in client.items(CHART)]
    assert sequence == list(range(len(sequence)))
    assert client.close_code == 1000


async def test_a_slow_consumer_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leaves too much unread for too long gets code 30 with a text about it; the next connection is served."""
    monkeypatch.setattr(connection_module, "SLOW_BYTES", 1 << 16)
    monkeypatch.setattr(connection_module, "SLOW_S", 0.1)
    async with playing(speed=20.0, end=wall_time(10, 40), faults=("huge=24",)) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        await client.subscribe()
        client.reading.clear()
        connection = next(iter(simulator._streamer.connections))
        async with asyncio.timeout(15):
            while not connection.closed:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
        client.reading.set()
        await client.until(lambda: bool(client.notices()))
        (notice,) = client.notices()
        assert notice["code"] == 30 and "slow" in notice["msg"]
        await client.gone()
        again = client_of()
        await again.log_in()
        await again.subscribe()
        await again.until(lambda: len(again.data()) > 3)


# 3.13 Frames.

HEAD = r'\{"data":\[\{"service":"%s", "timestamp":\d{13},"command":"SUBS","content":\[\{'
CORREL = '"SchwabClientCorrelId":"[0-9a-f-]{36}"'
RESPONSE = r'\{"response":\[\{"service":"%s","command":"%s","requestid":"\d+",%s,"timestamp":\d{13},"content":%s\}\]\}'


def response(service: str, command: str, content: str) -> str:
    return RESPONSE % (service, command, CORREL, re.escape(content))


@pytest.fixture
async def session_frames() -> Client:
    """All that a client sees of a few minutes, every service subscribed."""
    async with playing(caps=((OPTIONS, 3),)) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        keys = contracts(simulator, 5)
        await client.command(OPTIONS, "ADD", keys=",".join(keys), fields=ALL_FIELDS)
        await client.subscribe(service=CHART)
        await client.subscribe("SPY", service="NASDAQ_BOOK")
        await client.subscribe("OPTION_ALL_VOLUME_5", service="SCREENER_OPTION")
        await client.subscribe()
        await client.gone()
    return client


async def test_3_13_frames_f2_to_f15(session_frames: Client) -> None:
    """F2 LOGIN and heartbeat, F5 responses, F6 the cap, F7 to F11 data, F13, F14, F15: text by text."""
    frames = session_frames.frames
    patterns = {
        "F2": response("ADMIN", "LOGIN", '{"code":0,"msg":"server=s0sim-1;status=NP"}'),
        "F5": response(EQUITIES, "SUBS", '{"code":0,"msg":"SUBS command succeeded"}'),
        "F6.1": response(
            OPTIONS,
            "ADD",
            '{"code":19,"msg":"You\'ve reached the maximum number of symbols allowed.'
            '  (LEVELONE_OPTIONS=3, DISCARDED=2)"}',
        ),
        "F6.2": response(OPTIONS, "ADD", '{"code":24,"msg":"ADD command failed"}'),
        "F7": HEAD % "LEVELONE_EQUITIES" + r'"key":"SPY",'
        r'"delayed":false,"assetMainType":"EQUITY","assetSubType":"ETF","cusip":"\w{9}","1":[^{}]*\}\]\}\]\}',
        "F8": HEAD % "LEVELONE_EQUITIES" + r""
        r'"key":"SPY",("\d+":[^,{}]+,?)+\}\]\}\]\}',
        "F9": HEAD % "LEVELONE_OPTIONS" + r'"key":"SPY   '
        r'\d{6}[CP]\d{8}","delayed":false,"assetMainType":"OPTION","1":"SPY \d\d/\d\d/\d{4} [\d.]+ [CP]","2":.*',
        "F10": HEAD % "LEVELONE_OPTIONS" + r'"key":"SPY   '
        r'\d{6}[CP]\d{8}"(,"\d+":[^,{}]+)+\}.*',
        "F11": HEAD % "CHART_EQUITY" + r'"seq":\d+,'
        r'"key":"SPY","1":\d+,"2":[\d.]+,"3":[\d.]+,"4":[\d.]+,"5":[\d.]+,"6":\d+\.0,"7":\d{13},"8":\d{5}\}\]\}\]\}',
        "F13": HEAD % "NASDAQ_BOOK" + r'"key":"SPY",'
        r'"1":\d{13},"2":\[\{"0":[\d.]+,"1":\d+,"2":\d+,"3":\[\{"0":"NSDQ","1":\d+,"2":\d+\}.*\],"3":\[\{.*\}\]\}\]\}\]\}',
        "F14": HEAD % "SCREENER_OPTION" + r'"key":'
        r'"OPTION_ALL_VOLUME_5","1":\d{13},"2":"VOLUME","3":5,"4":\[.*\]\}\]\}\]\}',
        "F15": r'\{"notify":\[\{"heartbeat":"\d{13}"\}\]\}',
    }
    missing = [name for name, pattern in patterns.items() if not any(re.fullmatch(pattern, f) for f in frames)]
    assert missing == []
    assert re.fullmatch(patterns["F2"], frames[0]) and re.fullmatch(patterns["F15"], frames[1])
    image = session_frames.items()[0]
    assert [int(name) for name in image if name.isdigit()] == sorted(int(name) for name in image if name.isdigit())


async def test_3_13_frames_f3_f17() -> None:
    """F3 a denied LOGIN, F17 LOGOUT with `{}` or without parameters; F16 stands in the idle rule's test."""
    async with playing(**STANDS) as (_, client_of):
        client = client_of()
        await client.connect()
        await client.command("ADMIN", "LOGIN", Authorization="no")
        content = '{"code":3,"msg":"Login Denied.: token is invalid or has expired."}'
        assert re.fullmatch(response("ADMIN", "LOGIN", content), client.frames[0])
        for absent in (False, True):
            client = client_of()
            await client.log_in()
            one = client.request("ADMIN", "LOGOUT")
            if absent:
                del one["parameters"]
            client.say(json.dumps({"requests": [one]}))
            await client.gone()
            assert re.fullmatch(response("ADMIN", "LOGOUT", '{"code":0,"msg":"SUCCESS"}'), client.frames[-1])


async def test_3_13_frame_f4_two_subscriptions_in_one_request() -> None:
    """Each command has its own response frame, in order; the image of the first comes before the second's response."""
    async with playing(**STANDS) as (simulator, client_of):
        client = client_of()
        await client.log_in()
        requests = [
            client.request(EQUITIES, "SUBS", keys="SPY", fields="0,1,2,3"),
            client.request(OPTIONS, "SUBS", keys=",".join(contracts(simulator, 2)), fields=ALL_FIELDS),
        ]
        client.say(json.dumps({"requests": requests}))
        await client.until(lambda: bool(client.data(OPTIONS)))
        kinds = [re.match(r'\{"(\w+)":\[\{"service":"(\w+)"', frame) for frame in client.frames[2:]]
        assert [match.groups() for match in kinds if match] == [
            ("response", EQUITIES),
            ("data", EQUITIES),
            ("response", OPTIONS),
            ("data", OPTIONS),
        ]
