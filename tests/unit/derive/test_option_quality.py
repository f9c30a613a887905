"""Each flag of an option's row, by quotes that contradict and by quotes that only seem to; and both events."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from alphakite.derive.contract import Contract
from alphakite.derive.greeks import ExpiryModel, act365_sec, expiry_of, schwab_weekday
from alphakite.derive.moment import SECOND_US, DeriveSettings
from alphakite.derive.quality import open_us_of
from alphakite.derive.valuing import Valued, value_chain_at
from alphakite.model import IV_SCALE, PRICE_SCALE, OptionFlag, QualityEvent

NEW_YORK = ZoneInfo("America/New_York")
DAY = date(2026, 11, 24)
EXPIRY = expiry_of("QQQ", DAY)
SETTINGS = DeriveSettings(greeks_interval_s=5.0, greeks_rate=0.04)
SPOT = 610.0
CENT = PRICE_SCALE // 100


def us(clock: str) -> int:
    return int(datetime.fromisoformat(f"{DAY} {clock}").replace(tzinfo=NEW_YORK).timestamp()) * SECOND_US


TWO = us("14:00:00")


def chain(second_us: int = TWO, volatility: float = 0.18, spot: float = SPOT) -> dict[str, Contract]:
    """Calls and puts at 605 to 615, quoted to the cent around the model; by right and strike."""
    years = act365_sec(second_us + SECOND_US, EXPIRY)
    assert years is not None
    model = ExpiryModel.on_spot(spot, years, 0.04)
    found = {}
    for strike in range(605, 616):
        for right in "CP":
            contract = Contract.named(f"QQQ   261124{right}{strike * 1000:08d}", "QQQ", "P")
            assert contract is not None
            contract.conn, contract.covered_us = 1, second_us
            quote(contract, model.price(right == "C", strike, volatility), second_us)
            found[f"{right}{strike}"] = contract
    return found


def quote(contract: Contract, mid: float, second_us: int, half: int = 1) -> None:
    """A bid and an ask `half` cents around a price, a bid not below 0, of that second."""
    cents = round(mid * 100)
    contract.book.bid, contract.book.ask = max(cents - half, 0) * CENT, max(cents + half, 1) * CENT
    contract.book.quote_time_ms = second_us // 1000


def judged(contracts: dict[str, Contract], second_us: int = TWO, settings: DeriveSettings = SETTINGS) -> Valued:
    return value_chain_at(list(contracts.values()), range(len(contracts)), second_us, settings, None, True, seq=7)


def flagged(contracts: dict[str, Contract], second_us: int = TWO) -> dict[str, OptionFlag]:
    """What has a flag."""
    flags = judged(contracts, second_us).flags
    return {name: OptionFlag(bits) for name, bits in zip(contracts, flags, strict=True) if bits}


def test_a_sound_chain_has_no_flag() -> None:
    assert flagged(chain()) == {}


def test_crossed() -> None:
    """A bid above the ask; not one that meets it, nor where one side is absent or 0."""
    contracts = chain()
    for name, bid, ask in (("C610", 160, 159), ("C609", 225, 225), ("C615", 5, 0), ("C614", 0, 5)):
        contracts[name].book.bid, contracts[name].book.ask = bid * CENT, ask * CENT
    contracts["P605"].book.bid, contracts["P605"].book.ask = 5 * CENT, None
    found = flagged(contracts)
    assert found.pop("C610") is OptionFlag.CROSSED
    assert not any(OptionFlag.CROSSED in flags for flags in found.values())


def test_below_intrinsic() -> None:
    """An ask below what exercise is worth by more than the forward's half-width and its pace of 3 s: 16 cents."""
    contracts = chain()
    for name, ask in (("C605", 484), ("P615", 486)):
        contracts[name].book.bid, contracts[name].book.ask = (ask - 2) * CENT, ask * CENT
    found = flagged(contracts)
    assert OptionFlag.BELOW_INTRINSIC in found["C605"]
    assert "P615" not in found, "within what the forward leaves open"
    contracts["C605"].book.quote_time_ms = (TWO - 20 * SECOND_US) // 1000
    assert OptionFlag.BELOW_INTRINSIC not in flagged(contracts).get("C605", OptionFlag(0)), "an older quote proves less"


def test_above_maximum() -> None:
    """A call bid above its underlying, a put above its strike, whether or not there is a forward."""
    contracts = chain()
    for name, bid in (("C615", 61100), ("P605", 60600)):
        contracts[name].book.bid, contracts[name].book.ask = bid * CENT, (bid + 10) * CENT
    found = flagged(contracts)
    assert OptionFlag.ABOVE_MAXIMUM in found["C615"] and OptionFlag.ABOVE_MAXIMUM in found["P605"]
    alone = {"P605": contracts["P605"]}
    assert flagged(alone) == {"P605": OptionFlag.ABOVE_MAXIMUM}


def test_parity() -> None:
    """Both sides of a strike are flagged when they imply another forward than the chain; the others keep clean."""
    contracts = chain()
    book = contracts["C612"].book
    assert book.bid is not None and book.ask is not None
    book.bid, book.ask = book.bid + 40 * CENT, book.ask + 40 * CENT
    assert flagged(contracts) == {"C612": OptionFlag.PARITY, "P612": OptionFlag.PARITY}
    book.bid -= 41 * CENT  # the spread is then wide enough to hold the true price
    assert flagged(contracts) == {}


def test_parity_leaves_early_exercise_its_premium() -> None:
    """A put deep in the money with a month left quotes its intrinsic value: the interest is no contradiction."""
    day, second_us = date(2026, 12, 24), TWO
    years = act365_sec(second_us + SECOND_US, expiry_of("QQQ", day))
    assert years is not None
    model = ExpiryModel.on_spot(SPOT, years, 0.04)
    contracts = {}
    for strike in (*range(606, 617), 800):
        for right in "CP":
            contract = Contract.named(f"QQQ   261224{right}{strike * 1000:08d}", "QQQ", "P")
            assert contract is not None
            contract.conn, contract.covered_us = 1, second_us
            mid = max(model.price(right == "C", strike, 0.18), strike - SPOT if right == "P" else 0.02)
            quote(contract, mid, second_us)
            contracts[f"{right}{strike}"] = contract
    assert model.price(False, 800, 0.18) < 800 - SPOT - 2
    assert flagged(contracts) == {}


def test_nothing_contradicts_without_a_pair() -> None:
    """Calls alone imply no forward: no bound is judged by an underlying's price, which may be late."""
    calls = {name: one for name, one in chain().items() if name[0] == "C"}
    calls["C605"].book.ask = 300 * CENT
    found = value_chain_at(list(calls.values()), range(len(calls)), TWO, SETTINGS, int(SPOT * PRICE_SCALE), False)
    assert {OptionFlag(bits) for bits in found.flags} <= {OptionFlag(0), OptionFlag.SPOT, OptionFlag.CROSSED}
    assert not found.flags[0] & OptionFlag.BELOW_INTRINSIC


@pytest.mark.parametrize(
    ("clock", "quoted", "frozen"),
    [
        ("14:00:00", "13:59:00", True),
        ("14:00:00", "13:59:01", False),
        ("14:00:00", "", False),
        ("09:30:30", "09:29:00", False),
        ("09:31:00", "09:29:00", True),
        ("09:29:59", "09:15:00", False),
        ("15:59:59", "15:58:00", True),
        ("16:00:00", "15:58:00", False),
    ],
)
def test_frozen(clock: str, quoted: str, *, frozen: bool) -> None:
    """A quote older than a minute of regular hours, counted to the second's end, and from 09:30 at the earliest."""
    contracts = {"C610": chain(us(clock) if clock < "15:59" else TWO)["C610"]}
    contracts["C610"].book.quote_time_ms = us(quoted) // 1000 if quoted else None
    assert (OptionFlag.FROZEN in flagged(contracts, us(clock)).get("C610", OptionFlag(0))) is frozen


def test_regular_hours() -> None:
    """The hours of a second that ends at the moment: none on Thanksgiving, until 13:00 the day after."""
    assert open_us_of(us("09:30:00")) == 0
    assert open_us_of(us("09:30:01")) == open_us_of(us("16:00:00")) == us("09:30:00")
    assert open_us_of(us("16:00:01")) == 0
    for day, clock, is_open in ((26, 12, False), (27, 13, True), (27, 14, False)):
        assert bool(open_us_of(int(datetime(2026, 11, day, clock, tzinfo=NEW_YORK).timestamp()) * SECOND_US)) is is_open


# ── the vendor's greeks ─────────────────────────────────────────────────────────────────────────────────────


def events(
    contracts: dict[str, Contract], start: str, seconds: int, iv: float | None, name: str = "C611", step: int = 5
) -> list[QualityEvent]:
    """Quotes that follow the model, and a vendor's volatility that is always the same, for a while."""
    found = []
    for second_us in range(us(start), us(start) + seconds * SECOND_US, step * SECOND_US):
        for key, fresh in chain(second_us).items():
            contracts[key].book.bid, contracts[key].book.ask = fresh.book.bid, fresh.book.ask
            contracts[key].book.quote_time_ms = fresh.book.quote_time_ms
        book = contracts[name].book
        book.iv = None if iv is None else round(iv * IV_SCALE)
        book.delta = second_us // SECOND_US % 1000 + 50_000_000
        found += judged(contracts, second_us).events
    return found


def test_a_vendor_that_differs_is_told_once() -> None:
    """Ten points beyond every clock, for more than two minutes: one event, with both values; again after it agreed."""
    contracts = chain()
    assert events(contracts, "14:00:00", 121, 0.40) == []
    (event,) = events(contracts, "14:02:05", 300, 0.40)
    assert (event.kind, event.ticker, event.seq, event.item) == ("greeks_divergence", "QQQ   261124C00611000", 7, 0)
    assert event.timestamp_us == us("14:02:06")
    assert event.detail.startswith(
        "iv 40.00 %, ours 18.10 % ± 0.52 (14.41 to 18.10 by known clocks)"
    ) and event.detail.endswith("for 125 s")
    assert events(contracts, "14:08:00", 10, 0.18) == []
    assert len(events(contracts, "14:08:10", 300, 0.40)) == 1


@pytest.mark.parametrize("clock", ["10:00:00", "15:30:00", "15:50:00"])
def test_a_vendor_on_its_own_clock_does_not_differ(clock: str) -> None:
    """Schwab counts to 16:15 by 7/5 days: the same total volatility, half as many points; nor does our own clock."""
    now_us = us(clock)
    ours, theirs = act365_sec(now_us, EXPIRY), schwab_weekday(now_us, EXPIRY)
    assert ours is not None and theirs is not None
    for iv in (0.18, 0.18 * (ours / theirs) ** 0.5):
        assert events(chain(), clock, 300, iv) == []


def test_what_ends_a_divergence_and_what_does_not() -> None:
    """A pause in the vendor's values neither ends nor tells it; agreement for one value does end it."""
    contracts = chain()
    assert events(contracts, "14:00:00", 60, 0.40) == events(contracts, "14:01:00", 30, None) == []
    assert len(events(contracts, "14:01:30", 60, 0.40)) == 1
    contracts = chain()
    assert events(contracts, "14:00:00", 100, 0.40) == events(contracts, "14:01:40", 5, 0.18) == []
    assert events(contracts, "14:01:45", 115, 0.40) == []


def test_where_nothing_is_compared() -> None:
    """Outside regular hours, in the last two minutes, in the money, where vega is small, and where nothing is due."""
    assert events(chain(), "14:00:00", 300, 0.9, "C608") == []
    assert events(chain(), "09:20:00", 600, 0.9) == []
    assert events(chain(), "15:58:00", 120, 5.0) == []
    assert events(chain(), "15:50:00", 300, 5.0, "C615") == []
    contracts = chain()
    settings = DeriveSettings(greeks_interval_s=0)
    for second_us in range(TWO, TWO + 300 * SECOND_US, 5 * SECOND_US):
        contracts["C610"].book.iv = IV_SCALE
        assert judged(contracts, second_us, settings) == Valued([0] * 22, [None] * 22, [])
        for one in contracts.values():
            one.book.quote_time_ms = second_us // 1000


def test_a_vendor_that_stands_still_is_told_once() -> None:
    """Its iv and delta are the same for two minutes while the mid moves by more than a tenth: one event."""
    contracts = chain()
    book = contracts["C610"].book
    book.iv, book.delta = round(0.18 * IV_SCALE), 50_000_000
    found = []
    for second in range(0, 400, 5):
        for key, fresh in chain(TWO + second * SECOND_US, spot=SPOT + 0.002 * second).items():
            contracts[key].book.bid, contracts[key].book.ask = fresh.book.bid, fresh.book.ask
            contracts[key].book.quote_time_ms = fresh.book.quote_time_ms
        found += judged(contracts, TWO + second * SECOND_US).events
    (event,) = found
    assert (event.kind, event.ticker) == ("greeks_frozen", "QQQ   261124C00610000")
    assert event.detail.startswith("iv 18.00 % and delta 0.5000 for ")


@pytest.mark.parametrize("why", ["price stands", "delta moves", "iv moves", "pinned", "no iv", "spread is wide"])
def test_a_vendor_that_may_stand_still(why: str) -> None:
    """No event where the price has not moved either, where one of both moves, or a delta is all but 0 or 1."""
    contracts = chain()
    name, found = "C610", []
    for second in range(0, 400, 5):
        spot = SPOT if why == "price stands" else SPOT + 0.002 * second
        for key, fresh in chain(TWO + second * SECOND_US, spot=spot).items():
            contracts[key].book.bid, contracts[key].book.ask = fresh.book.bid, fresh.book.ask
            contracts[key].book.quote_time_ms = fresh.book.quote_time_ms
        book = contracts[name].book
        if why == "spread is wide":
            book.ask = (book.ask or 0) + 2 * PRICE_SCALE
        book.iv = None if why == "no iv" else round(0.18 * IV_SCALE) + (second // 60 if why == "iv moves" else 0)
        book.delta = 99_000_000 if why == "pinned" else 50_000_000 + (second // 60 if why == "delta moves" else 0)
        found += judged(contracts, TWO + second * SECOND_US).events
    assert found == []
