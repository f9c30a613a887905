"""What a 0DTE trader asks in SQL, on a small chain whose answers are worked out by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from alphakite.store import embedded, migrate

D = Decimal
DAY = date(2026, 11, 24)
LATER = date(2026, 11, 25)
OPEN = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So long after the open of 2026-11-24."""
    return OPEN + timedelta(seconds=seconds)


def symbol(side: str, strike: int, expiry: date = DAY, root: str = "QQQ") -> str:
    return f"{root:<6}{expiry:%y%m%d}{side}{strike * 1000:08d}"


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database."""

    async def make(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("alter system set fsync = off")
        await migrate.apply(connection)
        await connection.close()

    with embedded.lease(tmp_path_factory.mktemp("sql")) as endpoint:
        asyncio.run(make(endpoint.dsn))
        yield endpoint.dsn


@pytest_asyncio.fixture
async def database(dsn: str) -> AsyncIterator[Any]:
    """A connection whose rows are gone afterwards."""
    connection = await asyncpg.connect(dsn)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def put(
    database: Any,
    when: datetime,
    side: str,
    strike: int,
    *,
    table: str = "option_prices",
    expiry: date = DAY,
    ticker: str = "QQQ",
    root: str = "QQQ",
    **values: object,
) -> None:
    """One row or image."""
    columns = {
        "ticker": ticker,
        "timestamp": when,
        "option_type": "CALL" if side == "C" else "PUT",
        "strike_price": strike,
        "expiration_date": expiry,
        "option_symbol": symbol(side, strike, expiry, root),
        **values,
    }
    places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    await database.execute(f"insert into store.{table} ({', '.join(columns)}) values ({places})", *columns.values())


async def price(database: Any, when: datetime, value: str, ticker: str = "QQQ") -> None:
    await database.execute(
        "insert into store.equity_data (ticker, timestamp, price) values ($1, $2, $3)", ticker, when, D(value)
    )


async def small_chain(database: Any) -> None:
    """Three strikes; the 601 has images only; the day before, and the next day's expiry, have rows too."""
    for strike, bid, ask in ((599, "2.00", "2.02"), (600, "1.30", "1.32"), (601, "0.70", "0.72")):
        for side in "CP":
            await put(
                database, at(0.4), side, strike, table="option_images", bid=D(bid), ask=D(ask), day_volume=50,
                open_interest=1000, journal_no=1, seq=3, item=strike,
            )  # fmt: skip
    await put(database, at(-86_400), "C", 600, bid=D(9), ask=D(9))
    await put(database, at(10), "C", 600, expiry=LATER, bid=D(3), ask=D(4), volume=1000)
    await put(
        database, at(5), "C", 600, bid=D("1.40"), ask=D("1.44"), volume=7, day_volume=57, open_interest=1000,
        implied_volatility=D("0.20"), gamma=D("0.05"), iv_model=D("0.18"), delta_model=D("0.51"),
        gamma_model=D("0.04"), iv_half_width=D("0.001"), forward=D("600.10"), model_def=1,
    )  # fmt: skip
    await put(
        database, at(7), "C", 600, bid=D("1.41"), ask=D("1.45"), volume=0, day_volume=57, flags=2, gamma=D("0.06")
    )
    await put(
        database, at(8), "P", 600, bid=D("1.20"), ask=D("1.24"), volume=3, day_volume=53, open_interest=2000,
        implied_volatility=D("0.22"), gamma=D("0.05"),
    )  # fmt: skip


async def test_the_chain_at_a_moment(database: Any) -> None:
    """Rows over images, the newest of each; model values keep their own time; each contract that has any data."""
    await small_chain(database)
    rows = await database.fetch("select * from public.get_chain('QQQ', $1)", at(7.5))
    assert [(row["strike_price"], row["option_type"]) for row in rows] == [
        (strike, side) for strike in (599, 600, 601) for side in ("CALL", "PUT")
    ]
    call = rows[2]
    assert (call["bid"], call["ask"], call["volume"], call["day_volume"]) == (D("1.41"), D("1.45"), 0, 57)
    assert (call["timestamp"], call["age"], call["flags"]) == (at(7), timedelta(seconds=0.5), "crossed")
    assert (call["iv_model"], call["delta_model"], call["forward"]) == (D("0.18"), D("0.51"), D("600.10"))
    assert (call["model_at"], call["implied_volatility"], call["model_reason"]) == (at(5), None, None)
    put_row = rows[3]
    assert (put_row["bid"], put_row["volume"], put_row["day_volume"]) == (D("1.30"), None, 50), "of its image"
    assert (put_row["timestamp"], put_row["flags"], put_row["model_at"]) == (at(0.4), None, None)
    later = await database.fetch("select * from public.get_chain('QQQ', $1)", at(8))
    assert (later[3]["bid"], later[3]["volume"]) == (D("1.20"), 3), "stamped no later than the moment"
    early = await database.fetch("select * from public.get_chain('QQQ', $1)", at(0.3))
    assert early == [], "nothing of that day yet: yesterday's quote is none"


async def test_the_expiry_of_a_chain(database: Any) -> None:
    """The nearest that has data on the day; another one by name; the day before had data of it too."""
    await small_chain(database)
    later = await database.fetch("select * from public.get_chain('QQQ', $1, $2)", at(60), LATER)
    assert [(row["expiration_date"], row["bid"]) for row in later] == [(LATER, D(3))]
    yesterday = await database.fetch("select * from public.get_chain('QQQ', $1)", at(-86_400))
    assert [(row["expiration_date"], row["bid"], row["age"]) for row in yesterday] == [(DAY, D(9), timedelta(0))]
    assert await database.fetch("select * from public.get_chain('SPY', $1)", at(60)) == []
    await database.execute("update store.service_clock set mode = 'feed', last_ts = $1", at(7.5))
    assert len(await database.fetch("select * from public.get_chain('QQQ')")) == 6


async def test_two_roots_of_one_ticker(database: Any) -> None:
    """$SPX has SPX and SPXW; other tickers' symbols between them are not its own."""
    for root, ticker in (("SPX", "$SPX"), ("SPXW", "$SPX"), ("SPY", "SPY")):
        for when, side in ((1, "C"), (2, "P")):
            await put(database, at(when), side, 600, root=root, ticker=ticker, bid=D(1), ask=D(2))
    rows = await database.fetch("select option_symbol from public.get_chain('$SPX', $1)", at(60))
    assert [row[0] for row in rows] == [symbol(side, 600, root=root) for side in "CP" for root in ("SPX", "SPXW")]
    assert len(await database.fetch("select * from public.get_chain('SPY', $1)", at(60))) == 2


async def test_an_image_after_a_row(database: Any) -> None:
    """A new connection's image is newer than a row of an earlier second, and older than that of its own second."""
    await put(database, at(5), "C", 600, bid=D(1), ask=D(2))
    await put(database, at(6.2), "C", 600, table="option_images", bid=D(3), ask=D(4), journal_no=1, seq=9)
    chain = "select bid from public.get_chain('QQQ', $1)"
    assert await database.fetchval(chain, at(6.1)) == 1
    assert await database.fetchval(chain, at(6.5)) == 3
    await put(database, at(6), "C", 600, bid=D(5), ask=D(6))
    assert await database.fetchval(chain, at(6.5)) == 5
    for seq, bid in ((11, 8), (10, 7)):
        await put(database, at(7), "C", 600, bid=D(bid), ask=D(9), journal_no=1, seq=seq)
    assert await database.fetchval(chain, at(7)) == 8, "of updates of one moment the last"


async def test_straddle_by_minute(database: Any) -> None:
    """At the forward's strike; without one at the underlying's; what is carried over from the minute before."""
    await small_chain(database)
    await put(database, at(70), "P", 599, bid=D("1.10"), ask=D("1.30"), iv_model=D("0.24"), model_def=1)
    await price(database, at(65), "599.40")
    await put(database, at(125), "P", 601, bid=D(0), ask=D("0.02"))
    await price(database, at(125), "602")
    rows = await database.fetch("select * from public.atm_straddle('QQQ', $1)", DAY)
    assert [row["minute"] for row in rows] == [at(0), at(60), at(120)]
    first, second, third = rows
    # the forward of second 5, 600.10; call 1.41/1.45, put 1.20/1.24; ours of the call and Schwab's of the put
    assert (first["strike_price"], first["forward"], first["underlying"]) == (600, D("600.10"), None)
    assert (first["call_mid"], first["put_mid"], first["straddle"]) == (D("1.43"), D("1.22"), D("2.65"))
    assert first["iv"] == D("0.20")
    # no forward in that minute: 599.40 is nearest to 599; the call as in its image, no volatility of it known
    assert (second["strike_price"], second["forward"], second["underlying"]) == (599, None, D("599.40"))
    assert (second["call_mid"], second["put_mid"], second["straddle"]) == (D("2.01"), D("1.20"), D("3.21"))
    assert second["iv"] == D("0.24")
    # a bid of 0 is a value
    assert (third["strike_price"], third["call_mid"], third["put_mid"], third["iv"]) == (
        601,
        D("0.71"),
        D("0.01"),
        None,
    )


async def test_straddle_without_forward_and_underlying(database: Any) -> None:
    """Where call and put are worth most nearly the same; a strike without an ask, or without a put, is none."""
    for strike, call, put_price in ((598, 3, 1), (599, 2, "1.5"), (600, 1, 2)):
        await put(database, at(1), "C", strike, bid=D(call), ask=D(call))
        await put(database, at(1), "P", strike, bid=D(put_price), ask=D(put_price))
    await put(database, at(1), "C", 601, bid=D(1), ask=D(1))
    for side in "CP":
        await put(database, at(1), side, 602, bid=D(0), ask=D(0))
    await database.execute("update store.service_clock set mode = 'feed', last_ts = $1", at(20_000))
    rows = await database.fetch("select * from public.atm_straddle('QQQ')")
    assert [(row["minute"], row["strike_price"], row["straddle"], row["iv"]) for row in rows] == [
        (at(0), 599, D("3.5"), None)
    ]
    assert await database.fetch("select * from public.atm_straddle('QQQ', '2026-11-23')") == []


async def test_smile(database: Any) -> None:
    """The side that is out of the money: puts below the forward, calls from it on."""
    await small_chain(database)
    await put(database, at(9), "P", 599, iv_model=D("0.21"), iv_half_width=D("0.002"), forward=D("600"), model_def=1)
    await put(database, at(9), "C", 601, model_reason="no_bid", forward=D("600"), model_def=1)
    rows = await database.fetch("select * from public.get_smile('QQQ', $1)", at(20))
    assert [(row["strike_price"], row["option_type"], row["iv"], row["model_reason"]) for row in rows] == [
        (599, "PUT", D("0.21"), None),
        (600, "CALL", D("0.18"), None),
        (601, "CALL", None, "no_bid"),
    ]
    assert [row["moneyness"] for row in rows] == [D("0.998333"), D(1), D("1.001667")]
    assert [row["iv_half_width"] for row in rows] == [D("0.002"), D("0.001"), None]
    assert {row["forward"] for row in rows} == {D(600)}


async def test_smile_by_the_underlying(database: Any) -> None:
    """Without model values Schwab's volatilities around the underlying's price; without a price none."""
    for side in "CP":
        await put(database, at(1), side, 600, implied_volatility=D("0.2") if side == "P" else D("0.1"))
    smile = "select option_type, implied_volatility, iv, forward from public.get_smile('QQQ', $1)"
    assert await database.fetch(smile, at(5)) == []
    await price(database, at(2), "600.5")
    assert [tuple(row) for row in await database.fetch(smile, at(5))] == [("PUT", D("0.2"), None, D("600.5"))]


async def test_put_call_volume(database: Any) -> None:
    """By minute and since the first trade, this expiry's; NULL where no call has traded; a silent minute is 0."""
    await put(database, at(1), "P", 600, volume=4)
    await put(database, at(2), "P", 599, volume=None)
    await put(database, at(61), "C", 600, volume=8)
    await put(database, at(62), "P", 600, volume=2)
    await put(database, at(63), "C", 599, volume=0)
    await put(database, at(64), "C", 600, volume=99, expiry=LATER)
    await put(database, at(65), "C", 600, volume=99, ticker="SPY", root="SPY")
    await put(database, at(185), "C", 600, volume=1)
    rows = await database.fetch("select * from public.put_call_volume('QQQ', $1)", DAY)
    assert [tuple(row)[:7] for row in rows] == [
        (at(0), 0, 4, None, 0, 4, None),
        (at(60), 8, 2, D("0.25"), 8, 6, D("0.75")),
        (at(120), 0, 0, None, 8, 6, D("0.75")),
        (at(180), 1, 0, D(0), 9, 6, D("0.666667")),
    ]


async def test_gamma_exposure(database: Any) -> None:
    """gamma × open interest × multiplier × underlying² × 0.01; ours before Schwab's; calls +, puts −."""
    await small_chain(database)
    await price(database, at(3), "600")
    await database.execute(
        "insert into store.option_contracts (option_symbol, valid_from, ticker, root, option_type, strike_price,"
        " expiration_date, multiplier, mini, adjusted) values ($1, $2, 'QQQ', 'QQQ', 'PUT', 600, $3, 10, true, false),"
        " ($1, $4, 'QQQ', 'QQQ', 'PUT', 600, $3, 77, true, false)",
        symbol("P", 600),
        at(-100),
        DAY,
        at(100),
    )
    await put(database, at(9), "C", 600, open_interest=1000)
    rows = await database.fetch("select * from public.gamma_exposure('QQQ', $1)", at(20))
    assert [row["strike_price"] for row in rows] == [599, 600, 601]
    # call: 0.04 × 1000 × 100 × 600² × 0.01 = 14,400,000; put: 0.05 × 2000 × 10 × 600² × 0.01 = 3,600,000
    money = rows[1]
    assert (money["call_gamma"], money["put_gamma"]) == (D("0.04"), D("0.05"))
    assert (money["call_open_interest"], money["put_open_interest"]) == (1000, 2000)
    assert (money["call_exposure"], money["put_exposure"]) == (14_400_000, -3_600_000)
    assert (money["net_gamma_exposure"], money["underlying"]) == (10_800_000, 600)
    assert (rows[0]["net_gamma_exposure"], rows[0]["call_open_interest"]) == (None, 1000), "no gamma is known"
