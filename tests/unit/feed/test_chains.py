"""/expirationchain and /chains: real answers whole, bad ones by name; what is asked for, split and widened."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphakite.feed.schwab.chains import (
    MOST_STRIKES,
    TOO_BIG,
    Chain,
    ChainRequest,
    chain_request,
    is_too_big,
    parse_chain,
    parse_expirations,
    split,
    wider,
)
from alphakite.model import PRICE_SCALE, ChainContract, Expiration
from alphakite.symbols import OptionSymbol, format_option, parse_option

DAY = date(2026, 11, 23)
FAULT = b'{"fault":{"faultstring":"Body buffer overflow","detail":{"errorcode":"protocol.http.TooBigBody"}}}'
CALL: dict[str, Any] = {
    "putCall": "CALL",
    "symbol": "QQQ   261123C00605000",
    "openInterest": 7315,
    "delta": 0.412,
    "volatility": 16.842,
    "strikePrice": 605.0,
    "expirationDate": "2026-11-23T21:00:00.000+00:00",
    "expirationType": "W",
    "lastTradingDay": 1795482000000,
    "multiplier": 100.0,
    "settlementType": "P",
    "optionRoot": "QQQ",
    "exerciseType": "A",
    "optionDeliverablesList": [{"symbol": "QQQ", "assetType": "STOCK", "deliverableUnits": 100.0}],
    "nonStandard": False,
    "mini": False,
}


def body(*calls: object, puts: object = None, **root: object) -> bytes:
    whole: dict[str, object] = {"symbol": "QQQ", "status": "SUCCESS", "underlyingPrice": 604.12}
    whole |= {"callExpDateMap": {"2026-11-23:0": {"605.0": list(calls)}}, "putExpDateMap": puts or {}} | root
    return json.dumps(whole).encode()


def one(**changed: object) -> Chain:
    return parse_chain(body(CALL | changed))


def _delta(wire: dict[str, Any]) -> float | None:
    return None if wire["delta"] in ("NaN", -999) else wire["delta"]


# ── real answers ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "number", "price"),
    [
        ("schwab_chain_SPX_0DTE_20241015T151556Z.json.gz", 20, 5843.81),
        ("schwab_chain_SPX_exp20250520_seen20250511.json.gz", 162, 5659.91),
        ("tda_chain_F_20201209.json.gz", 494, 9.425),
    ],
)
def test_a_real_chain_is_read_whole(shared_data: Path, name: str, number: int, price: float) -> None:
    """Every contract of a captured chain is there, as an independent reading of the JSON says."""
    text = gzip.decompress((shared_data / name).read_bytes())
    chain, whole = parse_chain(text), json.loads(text)
    raw = [
        (wire, date.fromisoformat(day[:10]))
        for maps in ("callExpDateMap", "putExpDateMap")
        for day, strikes in whole[maps].items()
        for wires in strikes.values()
        for wire in wires
    ]
    assert (len(chain.contracts), chain.told, chain.rejected, chain.fault) == (number, number, [], "")
    assert chain.complete and chain.underlying_price == round(price * PRICE_SCALE)
    theirs = {
        (wire["putCall"][0], round(wire["strikePrice"] * PRICE_SCALE), day, wire["openInterest"], _delta(wire))
        for wire, day in raw
    }
    ours = {(c.right, c.strike, c.expiry, c.open_interest, c.delta) for c in chain.contracts}
    assert len(theirs) == number and ours == theirs
    assert all(
        parse_option(c.symbol) == OptionSymbol(c.root, c.expiry, "C" if c.right == "C" else "P", c.strike)
        for c in chain.contracts
    )
    assert {c.multiplier for c in chain.contracts} == {100} and not any(c.adjusted or c.mini for c in chain.contracts)


def test_what_a_contract_says(shared_data: Path) -> None:
    """Root, settlement, exercise, open interest and last trading day of $SPX's same-day chain."""
    chain = parse_chain(gzip.decompress((shared_data / "schwab_chain_SPX_0DTE_20241015T151556Z.json.gz").read_bytes()))
    assert chain.contracts[0] == ChainContract(
        symbol="SPXW  241015C05820000",
        underlying="$SPX",
        root="SPXW",
        right="C",
        strike=5820 * PRICE_SCALE,
        expiry=date(2024, 10, 15),
        settlement="P",
        exercise="E",
        kind="W",
        multiplier=100,
        open_interest=445,
        last_trading_day_ms=1729036800000,
        delta=0.832,
    )


def test_td_spelled_its_symbols_otherwise() -> None:
    """`F_121120C.5` is turned into the symbol that a streamer would want."""
    chain = parse_chain(body(CALL | {"symbol": "F_121120C.5", "strikePrice": 0.5, "settlementType": " "}))
    assert [(c.symbol, c.settlement) for c in chain.contracts] == [("F     201211C00000500", "")]
    assert not parse_chain(body(CALL | {"symbol": "F_121120C"})).contracts


# ── what is absent, contradictory or garbage ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("absent", [-999.0, "NaN", None, ""])
def test_sentinels_are_absent(absent: object) -> None:
    """By the same table as the streamer's: no delta, no open interest, and nothing is rejected."""
    chain = one(delta=absent, openInterest=absent)
    assert chain.rejected == [] and [(c.delta, c.open_interest) for c in chain.contracts] == [(None, None)]


def test_bare_nan_is_survived() -> None:
    """A bare NaN, which is no JSON, is absent; the other values count."""
    chain = one(delta=float("nan"))
    assert [(c.delta, c.open_interest) for c in chain.contracts] == [(None, 7315)] and chain.rejected == []


def test_a_bad_value_costs_that_value() -> None:
    """Not the contract; and it is named."""
    chain = one(openInterest="many", multiplier=[100])
    assert [(c.symbol, c.open_interest, c.multiplier) for c in chain.contracts] == [(CALL["symbol"], None, None)]
    assert len(chain.rejected) == 2 and "open_interest is 'many'" in chain.rejected[1]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"symbol": "QQQ"}, "no option's symbol"),
        ({"symbol": 5}, "no option's symbol"),
        ({"strikePrice": 606.0}, "strikePrice"),
        ({"putCall": "PUT"}, "putCall"),
        ({"symbol": "QQQ   261123P00605500"}, "putCall"),
    ],
)
def test_a_contract_that_contradicts_its_symbol_is_rejected(changed: dict[str, object], word: str) -> None:
    """What we would subscribe is not what the rest describes."""
    chain = parse_chain(body(CALL, CALL | {"symbol": "QQQ   261123C00605500", "strikePrice": 605.5} | changed))
    assert [c.symbol for c in chain.contracts] == [CALL["symbol"]] and word in " ".join(chain.rejected)


def test_a_contract_under_another_date_is_kept_and_named() -> None:
    """The symbol's date counts: what is not subscribed is lost for ever."""
    chain = one(symbol="QQQ   261124C00605000")
    assert [c.expiry for c in chain.contracts] == [date(2026, 11, 24)] and "the symbol's date" in chain.rejected[0]


def test_two_roots_share_a_strike_and_a_twin_is_dropped() -> None:
    """SPX at the opening and SPXW at the close are two contracts; one contract twice is one."""
    am = CALL | {"symbol": "SPX   261120C06000000", "optionRoot": "SPX", "settlementType": "A", "strikePrice": 6000}
    pm = am | {"symbol": "SPXW  261120C06000000", "optionRoot": "SPXW", "settlementType": "P"}
    maps = {"2026-11-20:0": {"6000.0": [am, pm, pm]}}
    chain = parse_chain(body(symbol="$SPX", callExpDateMap=maps))
    assert [(c.root, c.settlement) for c in chain.contracts] == [("SPX", "A"), ("SPXW", "P")]
    assert "twice" in chain.rejected[0]


@pytest.mark.parametrize(
    ("changed", "adjusted"),
    [
        ({}, False),
        ({"nonStandard": True}, True),
        ({"symbol": "QQQ1  261123C00605000", "optionRoot": "QQQ1"}, True),
        ({"optionDeliverablesList": [{"deliverableUnits": 33.0}]}, True),
        ({"optionDeliverablesList": [{"deliverableUnits": 100.0}, {"deliverableUnits": 5.0}]}, True),
        ({"optionDeliverablesList": [{"deliverableUnits": 10.0}], "multiplier": 10.0, "mini": True}, False),
        ({"optionDeliverablesList": None}, False),
    ],
)
def test_adjusted_and_mini(changed: dict[str, object], adjusted: bool) -> None:
    """By Schwab's flag, OCC's digit behind the root, or what is delivered."""
    (contract,) = one(**changed).contracts
    assert (contract.adjusted, contract.mini) == (adjusted, "mini" in changed)


def test_prices_and_flags_of_the_root() -> None:
    """The last trade where it is sent; a price of 0 or -999 is none; truncated and short answers are not complete."""
    chain = parse_chain(body(CALL, underlying={"last": 604.5}, isChainTruncated=True, numberOfContracts=1))
    assert (chain.underlying_price, chain.underlying_last) == (60412000000, 60450000000)
    assert chain.truncated and not chain.complete
    for none in (0, -999.0, "NaN", None):
        assert parse_chain(body(CALL, underlyingPrice=none)).underlying_price is None
    assert not parse_chain(body(CALL, numberOfContracts=2)).complete
    empty = parse_chain(body(callExpDateMap={}, status="FAILED"))
    assert (empty.contracts, empty.status, empty.fault, empty.underlying_last) == ([], "FAILED", "", None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[]", "no object"),
        (b"{}", "without a list"),
        (FAULT, TOO_BIG),
        (b'{"errors":[{"id":"x","status":"404","title":"Not Found"}]}', "Not Found"),
        (b'{"message":"no"}', "without a list"),
    ],
)
def test_an_answer_without_contracts_says_why(text: bytes, fault: str) -> None:
    """An error's body is no empty chain."""
    assert fault in parse_chain(text).fault or fault in ("not JSON", "no object")
    assert parse_chain(text).fault and fault in parse_expirations(text).fault
    assert not parse_chain(text).complete


@pytest.mark.parametrize(
    "shape", [[], 5, "x", {"2026-11-23:0": 5}, {"2026-11-23:0": {"605.0": 5}}, {"x": {"y": [None]}}]
)
def test_maps_of_another_shape_are_named(shape: object) -> None:
    """One map of nonsense costs that map."""
    chain = parse_chain(body(CALL, puts=shape or [1]))
    assert len(chain.contracts) == 1 and chain.rejected


def test_json_without_end() -> None:
    """Nested arrays at every depth: refused in words, never an exception."""
    for depth in (10, 400, 900, 980, 990, 995, 1000, 5000):
        deep = b"[" * depth + b"]" * depth
        for text in (deep, b'{"callExpDateMap":' + deep + b"}", b'{"expirationList":[' + deep + b"]}"):
            assert parse_chain(text).contracts == [] and parse_expirations(text).expirations == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(sorted(CALL)), _json),
    st.dictionaries(st.sampled_from(["underlying", "status"]), _json),
)
def test_nothing_raises(changed: dict[str, object], root: dict[str, object]) -> None:
    """Whatever stands in a contract: one contract or a name, and the sound one beside it."""
    other = CALL | {"symbol": "QQQ   261123C00606000", "strikePrice": 606.0}
    chain = parse_chain(body(other, CALL | changed, **root))
    assert "QQQ   261123C00606000" in {c.symbol for c in chain.contracts}
    assert len(chain.contracts) == 2 or chain.rejected


@given(st.binary(max_size=200))
def test_no_bytes_raise(text: bytes) -> None:
    """Any bytes are an answer with a fault, or an empty one."""
    assert parse_chain(text).contracts == [] and parse_expirations(text).expirations == []


# ── expiries ────────────────────────────────────────────────────────────────────────────────────────────────


def test_expiries() -> None:
    """Sorted; AM and PM of one date are two; both spellings of the date; an entry without one is named."""
    entries = [
        {
            "expirationDate": "2026-11-20",
            "daysToExpiration": 3,
            "expirationType": "S",
            "settlementType": "P",
            "optionRoots": "SPXW",
            "standard": True,
        },
        {
            "expiration": "2026-11-20",
            "expirationType": "S",
            "settlementType": "A",
            "optionRoots": "SPX",
            "standard": False,
        },
        {"expirationDate": "2026-11-18", "optionRoots": ["SPXW", "SPX"], "daysToExpiration": "NaN"},
        {"expirationDate": "soon"},
        5,
    ]
    found = parse_expirations(json.dumps({"status": "SUCCESS", "expirationList": entries}).encode())
    assert found.expirations == [
        Expiration(date(2026, 11, 18), roots=("SPXW", "SPX")),
        Expiration(date(2026, 11, 20), None, "S", "A", ("SPX",), standard=False),
        Expiration(date(2026, 11, 20), 3, "S", "P", ("SPXW",)),
    ]
    assert len(found.rejected) == 2 and found.fault == ""


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_for_one_expiry() -> None:
    """`fromDate` = `toDate`; the strikes wanted on both sides and some; no count for all of them."""
    query = chain_request("$SPX", DAY, 25).parameters()
    assert (query["symbol"], query["fromDate"], query["toDate"]) == ("$SPX", "2026-11-23", "2026-11-23")
    assert (query["strikeCount"], query["contractType"], "range" in query) == ("60", "ALL", False)
    assert "strikeCount" not in chain_request("SPY", DAY, None).parameters()
    assert chain_request("SPY", DAY, MOST_STRIKES).strike_count is None


def test_too_big_is_known_by_body_and_by_message() -> None:
    """In the body, and in the words that the error made of it carries; nothing else is."""
    assert is_too_big(FAULT) and is_too_big("Schwab answered 502: Body buffer overflow; protocol.http.TooBigBody")
    assert not is_too_big(b"<html>502 Bad Gateway</html>") and not is_too_big("")


def test_a_split_loses_nothing_until_it_must() -> None:
    """Below and above the money, then calls and puts: four quarters; then near strikes only; then no more."""
    whole = ChainRequest("$SPX", DAY)
    halves = split(whole)
    quarters = [part for half in halves for part in split(half)]
    assert {(part.side, part.right) for part in quarters} == {(s, r) for s in ("SBK", "SAK") for r in ("CALL", "PUT")}
    assert not any(part.lossy for part in quarters)
    assert quarters[0].parameters()["range"] == "SBK" and quarters[0].parameters()["contractType"] == "CALL"
    counts, parts = [], split(quarters[0])
    while parts:
        (part,) = parts
        assert part.lossy
        counts.append(part.strike_count)
        parts = split(part)
    assert counts == [64, 32, 16, 8, 4, 2, 1]


def listed(strikes: list[int]) -> list[ChainContract]:
    return [
        ChainContract(format_option(OptionSymbol("SPY", DAY, "C", k)), "SPY", "SPY", "C", k, DAY)
        for k in (strike * PRICE_SCALE for strike in strikes)
    ]


@given(st.integers(1, 60), st.integers(0, 150), st.integers(0, 150), st.booleans(), st.integers(-8, 8), st.booleans())
def test_widening_ends_with_all_that_is_wanted(
    each_side: int, below: int, above: int, total: bool, skew: int, at: bool
) -> None:
    """Whether the count means each side or both, and around another price than ours: at the end each side has what
    was wanted, or all there is; within a few requests."""
    price = 600
    strikes = [*range(price - below, price), *([price] if at else []), *range(price + 1, price + above + 1)]
    request: ChainRequest | None = chain_request("SPY", DAY, each_side)
    for _ in range(8):
        assert request is not None
        count, middle = request.strike_count, price + skew
        if count is None:
            came = strikes
        elif total:
            came = sorted(sorted(strikes, key=lambda strike: abs(strike - middle))[:count])
        else:
            low, high = [k for k in strikes if k < middle], [k for k in strikes if k >= middle]
            came = low[max(0, len(low) - count) :] + high[:count]
        request = wider(request, listed(came), price * PRICE_SCALE, each_side)
        if request is None:
            break
    assert request is None
    assert sum(k < price for k in came) >= min(each_side, below)
    assert sum(k > price for k in came) >= min(each_side, above)


def test_what_is_whole_or_was_cut_is_not_widened() -> None:
    """All strikes were asked for; or the answer would be too big."""
    assert wider(ChainRequest("SPY", DAY), [], PRICE_SCALE, 25) is None
    assert wider(ChainRequest("SPY", DAY, 1, lossy=True), listed([600]), PRICE_SCALE, 25) is None
