"""Which requests lead to an expiry's contracts: wider if a side is short, in parts if the answer is too big."""

from __future__ import annotations

import json
from datetime import date
from typing import cast

import pytest

from alphakite.errors import TransientError
from alphakite.feed.schwab.chains import TOO_BIG
from alphakite.feed.schwab.rest import Answer, SchwabRest
from alphakite.model import PRICE_SCALE
from alphakite.recorder.discovery import Found, fetch_chain
from alphakite.symbols import OptionSymbol, format_option

DAY, MONEY = date(2026, 11, 20), 600


class Schwab:
    """Lists strikes; `most`: a bigger answer is too big; `per_side`: what strikeCount counts. Keeps what was asked."""

    def __init__(self, strikes: range, *, most: int = 10_000, per_side: bool = False) -> None:
        self.strikes, self.most, self.per_side = strikes, most, per_side
        self.asked: list[dict[str, str]] = []
        self.kept: list[Answer] = []

    async def get(self, path: str, params: dict[str, str]) -> Answer:
        self.asked.append(params)
        count = int(params.get("strikeCount", 10_000))
        near = sorted(self.strikes, key=lambda strike: abs(strike - MONEY))[: count * (2 if self.per_side else 1)]
        side = params.get("range", "ALL")
        near = [one for one in near if side == "ALL" or (one < MONEY) == (side == "SBK")]
        rights = {"ALL": "CP", "CALL": "C", "PUT": "P"}[params["contractType"]]
        if len(near) * len(rights) > self.most:
            raise TransientError(f"Schwab answered 502 to {path}: {TOO_BIG}")
        maps = {name: {f"{DAY}:0": {}} for name in ("callExpDateMap", "putExpDateMap")}
        for right in rights:
            name = "callExpDateMap" if right == "C" else "putExpDateMap"
            for strike in near:
                symbol = format_option(OptionSymbol("SPY", DAY, "C" if right == "C" else "P", strike * PRICE_SCALE))
                maps[name][f"{DAY}:0"][f"{strike}.0"] = [{"symbol": symbol, "strikePrice": float(strike)}]
        return Answer(path, params, 200, json.dumps({"symbol": "SPY", "underlyingPrice": MONEY + 0.5} | maps).encode())

    async def find(self, each_side: int | None) -> Found:
        return await fetch_chain(cast(SchwabRest, self), "SPY", DAY, each_side, None, self.kept.append)


def sides(found: Found) -> tuple[int, int]:
    strikes = {one.strike // PRICE_SCALE for one in found.contracts}
    return sum(strike <= MONEY for strike in strikes), sum(strike > MONEY for strike in strikes)


async def test_one_request_is_enough() -> None:
    """Kept, with the price that the answer told; there may be more."""
    schwab = Schwab(range(400, 800))
    found = await schwab.find(20)
    assert len(schwab.asked) == len(schwab.kept) == 1 and min(sides(found)) >= 20
    assert found.price == round((MONEY + 0.5) * PRICE_SCALE) and not found.complete


async def test_all_there_are() -> None:
    """Fewer strikes than asked for: there are no more to be had."""
    found = await Schwab(range(590, 611)).find(20)
    assert sides(found) == (11, 10) and found.complete


@pytest.mark.parametrize("per_side", [True, False])
async def test_a_side_that_is_short(per_side: bool) -> None:
    """It is asked for wider, at last for more than there are; then nothing is left to ask."""
    schwab = Schwab(range(595, 1200), per_side=per_side)
    found = await schwab.find(20)
    assert sides(found) == (6, 599) and found.complete and len(schwab.asked) <= 5


async def test_too_big() -> None:
    """In parts without loss, as long as a quarter of it fits; else the near strikes, and that is not all."""
    schwab = Schwab(range(400, 800), most=250)
    found = await schwab.find(None)
    assert sides(found) == (201, 199) and found.complete and len(schwab.kept) == 4
    schwab = Schwab(range(400, 800), most=100)
    found = await schwab.find(None)
    assert not found.complete and min(sides(found)) > 20
    with pytest.raises(TransientError, match=TOO_BIG):
        await Schwab(range(400, 800), most=0).find(None)
