"""What every sink promises: rows and position together, once, whatever breaks."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from tests.contract.conftest import Maker, postgres_sink

from alphakite.errors import ConfigError, FatalError, TransientError
from alphakite.model import (
    Batch,
    EquityRow,
    GapRow,
    IndicatorDefinition,
    IndicatorRow,
    IndicatorValueRow,
    Metrics,
    QualityEvent,
)
from alphakite.recorder.drain import Sink
from alphakite.store.compare import Comparison
from alphakite.store.database import transaction_pooled

JOURNAL = str(uuid.UUID(int=7))
START_US = 1_700_000_000_000_000


def batch(after: int, last: int, *, journal: str = JOURNAL, offset: int = 0) -> Batch:
    """One equity and one indicator row per record."""
    seconds = [START_US + 1_000_000 * (seq + offset) for seq in range(after + 1, last + 1)]
    return Batch(
        journal,
        after,
        last,
        seconds[-1] + 999_000,
        [EquityRow("QQQ", at, 16_742_000_000 + at % 7, 100, 0) for at in seconds],
        [IndicatorRow("QQQ", at, 167_420_000, None, 8) for at in seconds],
    )


@pytest_asyncio.fixture
async def reader(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def sink(database_url: str, sink_of: Maker) -> AsyncIterator[Sink]:
    made = sink_of(database_url)
    assert await made.open(JOURNAL) == 0
    yield made
    await made.close()


async def test_rows_and_position_together(sink: Sink, reader: Any, database_url: str, sink_of: Maker) -> None:
    """What is written is there, and a new sink of the same journal begins behind it."""
    assert await sink.write(batch(0, 3)) == 0
    assert await sink.write(batch(3, 5)) == 0
    assert await reader.fetchval("select count(*) from public.equity_data") == 5
    assert await reader.fetchval("select count(*) from public.indicators") == 5
    again = sink_of(database_url)
    assert await again.open(JOURNAL) == 5
    assert again.journal_no == sink.journal_no
    other = sink_of(database_url)
    assert await other.open(str(uuid.uuid4())) == 0
    assert other.journal_no != sink.journal_no
    await again.close()
    await other.close()


async def test_values_read_as_they_were(sink: Sink, reader: Any) -> None:
    """Exact decimals, as many as there are; NULL is not zero; times to the microsecond; flags in words."""
    prices = [0, 1, 16_742_000_000, 100_000_000, 10_000, 999_999_999_999_999_999, -3_763_000_000, 123_456_789, None]
    equity = [
        EquityRow("BRK/B", START_US + at, price, None if price is None else at, 65 if price is None else 0)
        for at, price in enumerate(prices)
    ]
    values = [0, 1, 167_420_000, 10**17, -5_000_000, None]
    indicators = [IndicatorRow("$SPX", START_US + at, one, one, 0, 1, 2**40, at) for at, one in enumerate(values)]
    await sink.write(Batch(JOURNAL, 0, 1, START_US, equity, indicators))
    rows = await reader.fetch("select *, price::text shown from public.equity_data order by timestamp")
    for at, (row, price) in enumerate(zip(rows, prices, strict=True)):
        assert row["timestamp"] == datetime.fromtimestamp(START_US // 10**6, UTC).replace(microsecond=at)
        assert row["price"] == (None if price is None else Decimal(price).scaleb(-8))
        assert row["flags"] == ("gap,no_volume_base" if price is None else None)
        assert row["volume"] == (None if price is None else at)
    assert [row["shown"] for row in rows][:5] == ["0", "0.00000001", "167.42", "1", "0.0001"]
    assert rows[6]["shown"] == "-37.63"
    rows = await reader.fetch("select *, sma9::text shown from public.indicators order by timestamp")
    assert [row["shown"] for row in rows] == [
        None if one is None else format(Decimal(one).scaleb(-6), ".6f") for one in values
    ]
    assert {(row["journal_no"], row["seq"]) for row in rows} == {(1, 2**40)}


def definition(name: str, output: str = "value", digest: str = "") -> IndicatorDefinition:
    digest = digest or f"{name} {output}"
    return IndicatorDefinition(name, output, '{"length": 21}', "bars", "regular", "candles", "1", digest)


EMA, LINE, SIGNAL = definition("ema21"), definition("macd", "line"), definition("macd", "signal")


def with_values(after: int, last: int, *, journal: str = JOURNAL) -> Batch:
    """Three outputs beside each row; the signal is not known."""
    made = batch(after, last, journal=journal)
    for row in made.indicators:
        for one, value in ((EMA, 167_123_456), (LINE, -1), (SIGNAL, None)):
            made.values.append(IndicatorValueRow("QQQ", row.timestamp_us, one, value, 256))
    return made


async def test_custom_values_beside_the_built_in_ones(
    sink: Sink, reader: Any, database_url: str, sink_of: Maker
) -> None:
    """One row an output, by definition; `all_indicators` has them in one row. A later sink keeps the ids."""
    assert await sink.write(with_values(0, 2)) == 0
    assert await sink.write(batch(2, 3)) == 0
    rows = await reader.fetch("select * from public.indicator_values order by timestamp, definition_id")
    assert [(row["name"], row["output"], row["value"], row["definition_id"], row["flags"]) for row in rows[:3]] == [
        ("ema21", "value", Decimal("167.123456"), 100, "gap:custom"),
        ("macd", "line", Decimal("-0.000001"), 101, "gap:custom"),
        ("macd", "signal", None, 102, "gap:custom"),
    ]
    assert len(rows) == 6
    rows = await reader.fetch("select * from public.all_indicators order by timestamp")
    assert [row["custom"] for row in rows[1:]] == [
        '{"ema21": 167.123456, "macd.line": -0.000001, "macd.signal": null}',
        None,
    ]
    assert [(row["sma9"], row["flags"]) for row in rows[1:]] == [
        (Decimal("167.420000"), "seeded:sma9,gap:custom"),
        (Decimal("167.420000"), "seeded:sma9"),
    ]
    again = sink_of(database_url)
    await again.open(JOURNAL)
    await again.write(with_values(3, 4))
    changed = batch(4, 5)
    changed.values = [IndicatorValueRow("QQQ", START_US, definition("ema21", digest="of another file"), 1, 0)]
    await again.write(changed)
    found = await reader.fetch("select id, name, parameters from store.indicator_definitions where id > 99 order by id")
    assert [(row["id"], row["name"]) for row in found] == [(100, "ema21"), (101, "macd"), (102, "macd"), (103, "ema21")]
    assert found[0]["parameters"] == '{"length": 21}'
    await again.close()


async def test_custom_values_where_journals_overlap(sink: Sink, reader: Any, database_url: str, sink_of: Maker) -> None:
    """The first row stays, as with every other table."""
    await sink.write(with_values(0, 2))
    other_id = str(uuid.uuid4())
    other = sink_of(database_url)
    await other.open(other_id)
    second = with_values(0, 3, journal=other_id)
    assert await other.write(second) == 2 * (1 + 1 + 3)
    assert await reader.fetchval("select count(*) from public.indicator_values") == 9
    await other.close()


async def test_custom_values_are_compared(sink: Sink, reader: Any) -> None:
    """Derived again: equal, or told; what an older definition made is not judged."""
    older = with_values(0, 2)
    older.values = [IndicatorValueRow("QQQ", START_US + 1_000_000, definition("ema21", digest="older"), 1, 0)]
    await sink.write(older)
    await sink.write(with_values(2, 6))
    for changed, differences in ((0, 0), (1, 1)):
        comparison = Comparison(reader, sink.journal_no)
        await comparison.prepare()
        derived = with_values(0, 6)
        unchanged = [row for row in derived.values if row.timestamp_us > START_US + 2_000_000]
        if changed:
            unchanged[0] = IndicatorValueRow("QQQ", unchanged[0].timestamp_us, EMA, 7, 256)
        derived.values = unchanged
        await comparison.add(derived)
        found = {one.name: (one.rows, one.differences) for one in await comparison.differences(None, None)}
        assert found["indicator_values"] == (12, differences)
        assert found["equity_data"] == (6, 0)
        for name in found:
            await reader.execute(f"drop table again_{name}")


async def test_two_sinks_meet_a_new_definition(database_url: str, reader: Any, sink_of: Maker) -> None:
    """At the same time: one id."""
    sinks = [sink_of(database_url) for _ in range(4)]
    journals = [str(uuid.uuid4()) for _ in sinks]
    for one, journal in zip(sinks, journals, strict=True):
        await one.open(journal)
    batches = []
    for at, journal in enumerate(journals):
        made = Batch(journal, 0, 1, START_US)
        made.values = [IndicatorValueRow(f"T{at}", START_US, EMA, at, 0)]
        batches.append(made)
    await asyncio.gather(*(one.write(made) for one, made in zip(sinks, batches, strict=True)))
    assert await reader.fetchval("select array_agg(id) from store.indicator_definitions where name = 'ema21'") == [100]
    assert await reader.fetchval("select count(*) from public.indicator_values where name = 'ema21'") == 4
    for one in sinks:
        await one.close()


async def test_gaps_and_events(sink: Sink, reader: Any) -> None:
    """A gap is opened, then closed by a later row of the same key, also within one batch; an event is kept once."""
    gap = GapRow("QQQ", START_US, None, "socket_down", None)
    closed = GapRow("QQQ", START_US, START_US + 5, "socket_down", 77)
    event = QualityEvent("QQQ", START_US, "volume_fell", "9 < 10\0", 1, 0)
    await sink.write(Batch(JOURNAL, 0, 1, START_US, gaps=[gap], events=[event]))
    assert await reader.fetchval("select count(*) from public.stream_gaps where end_at is null") == 1
    await sink.write(Batch(JOURNAL, 1, 2, START_US, gaps=[gap, closed], events=[event]))
    row = await reader.fetchrow("select * from public.stream_gaps")
    assert (row["volume"], row["reason"], row["journal_no"]) == (77, "socket_down", sink.journal_no)
    assert row["end_at"] - row["start_at"] == (datetime(2000, 1, 1, microsecond=5) - datetime(2000, 1, 1))
    assert await reader.fetchval("select count(*) from public.quality_events") == 1


async def test_an_empty_batch_moves_the_position(sink: Sink, reader: Any) -> None:
    """Records that cause no rows are committed too."""
    await sink.write(Batch(JOURNAL, 0, 40, START_US))
    row = await reader.fetchrow("select * from store.journals")
    assert (row["committed_seq"], row["committed_ts"]) == (40, datetime.fromtimestamp(START_US / 1e6, UTC))


async def test_the_same_batch_twice(sink: Sink, reader: Any) -> None:
    """A batch whose answer was lost is given again: it is stored once, and is no duplicate."""
    assert await sink.write(batch(0, 3)) == 0
    assert await sink.write(batch(0, 3)) == 0
    assert await reader.fetchval("select count(*) from public.equity_data") == 3
    assert await reader.fetchval("select sum(duplicates) from store.journals") == 0


async def test_overlapping_journals(sink: Sink, reader: Any, database_url: str, sink_of: Maker) -> None:
    """Where two journals overlap the first row stays as it is, and the others are counted."""
    await sink.write(batch(0, 4))
    other_id = str(uuid.uuid4())
    other = sink_of(database_url)
    await other.open(other_id)
    second = batch(0, 6, journal=other_id)
    second.equity = [EquityRow(row.ticker, row.timestamp_us, 1, 1, 0) for row in second.equity]
    assert await other.write(second) == 8
    assert await reader.fetchval("select count(*) from public.equity_data") == 6
    assert await reader.fetchval("select count(*) from public.equity_data where volume = 100") == 4
    assert await reader.fetchval("select duplicates from store.journals where journal_id = $1", other_id) == 8
    assert await other.write(batch(6, 7, journal=other_id)) == 0
    await other.close()


async def test_a_second_recorder_is_found_out(sink: Sink, reader: Any, database_url: str, sink_of: Maker) -> None:
    """Two recorders of copies of one journal: the one that comes late stops, and nothing of its is stored."""
    twin = sink_of(database_url)
    await twin.open(JOURNAL)
    await sink.write(batch(0, 3))
    with pytest.raises(FatalError, match="another recorder"):
        await twin.write(batch(0, 2, offset=50))
    assert await reader.fetchval("select count(*) from public.equity_data") == 3
    await twin.close()


@dataclass
class Severing:
    """A TCP proxy that cuts a connection when it sees a word: before the server hears it, or after it acted on it."""

    target: tuple[str, int]
    word: bytes
    let_through: bool
    cuts: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self.tasks.append(serving)
        up_reader, up_writer = await asyncio.open_connection(*self.target)
        answers = asyncio.create_task(self._answer(up_reader, writer))
        try:
            while data := await reader.read(65536):
                if self.word in data and self.cuts == 0:
                    self.cuts += 1
                    if self.let_through:
                        up_writer.write(data)
                        if self.word == COMMIT:
                            await self.answered.wait()
                    return
                up_writer.write(data)
        except OSError:
            return
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            for one in (writer, up_writer):
                one.transport.abort()
                with contextlib.suppress(OSError):
                    await one.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.cuts == 0 or self.answered.is_set():
                writer.write(data)
            elif b"COMMIT" in data:
                self.answered.set()  # nobody gets it
                return
        writer.close()


COMMIT = b"commit\0"


@pytest.mark.parametrize("let_through", [True, False])
@pytest.mark.parametrize("word", [COMMIT, b"begin isolation", b"PGCOPY"])
async def test_a_severed_connection(database_url: str, reader: Any, word: bytes, let_through: bool) -> None:
    """The connection breaks at BEGIN, COPY or COMMIT, before or after the server has heard it: each row once."""
    parts = urlsplit(database_url)
    proxy = Severing(("127.0.0.1", parts.port or 0), word, let_through)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sink = postgres_sink(database_url.replace(f":{parts.port}/", f":{port}/"))
    await sink.open(JOURNAL)
    with pytest.raises(TransientError):
        await sink.write(batch(0, 3))
    assert proxy.cuts == 1
    proxy.answered.set()
    assert await sink.write(batch(0, 3)) == 0
    assert await sink.write(batch(3, 4)) == 0
    assert await reader.fetchval("select count(*) from public.equity_data") == 4
    assert await reader.fetchval("select committed_seq from store.journals") == 4
    assert await reader.fetchval("select duplicates from store.journals") == 0
    await sink.close()
    await asyncio.gather(*proxy.tasks, return_exceptions=True)
    server.close()
    await server.wait_closed()


async def test_steps_surround_the_commit(database_url: str, reader: Any, sink_of: Maker) -> None:
    """The crash tests' hook: nothing is in before before_commit, all is in at after_commit."""
    seen: list[str] = []
    sink = sink_of(database_url, seen.append)
    await sink.open(JOURNAL)
    await sink.write(batch(0, 1))
    assert (seen[0], seen[-1]) == ("before_commit", "after_commit")
    await sink.close()


async def test_killed_backend_is_transient(sink: Sink, reader: Any) -> None:
    """The server ends our connections (restart, fail-over): the next write goes through."""
    await sink.write(batch(0, 1))
    await reader.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where pid <> pg_backend_pid() and datname = current_database()"
    )
    with contextlib.suppress(TransientError):
        await sink.write(batch(1, 2))
    assert await sink.write(batch(1, 2)) == 0
    assert await reader.fetchval("select count(*) from public.equity_data") == 2


async def test_a_table_that_is_gone(database_url: str, reader: Any, sink_of: Maker) -> None:
    """A schema that does not fit needs a person, who mends it; then the same batch is stored."""
    sink = sink_of(database_url)
    await sink.open(JOURNAL)
    await reader.execute("alter table store.equity_data rename to away")
    with pytest.raises(ConfigError, match="schema"):
        await sink.write(batch(0, 1))
    await reader.execute("alter table store.away rename to equity_data")
    assert await sink.write(batch(0, 1)) == 0
    await sink.close()


async def test_nobody_listens(database_url: str) -> None:
    """A database that is away is transient from the first moment."""
    with contextlib.closing(await _unused()) as closed:
        port = closed.getsockname()[1]
    sink = postgres_sink(f"postgresql://postgres:x@127.0.0.1:{port}/postgres")
    with pytest.raises(TransientError):
        await sink.open(JOURNAL)
    parts = urlsplit(database_url)
    wrong = postgres_sink(database_url.replace(parts.password or "", "wrong"))
    with pytest.raises(ConfigError, match="sign-in"):
        await wrong.open(JOURNAL)


async def _unused() -> Any:
    import socket

    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    return probe


async def test_feed_clock(database_url: str, reader: Any, sink_of: Maker) -> None:
    """Under CLOCK=feed stream_now() is the last committed record's time; metrics are stamped with it."""
    sink = sink_of(database_url, mode="feed")
    await sink.open(JOURNAL)
    await sink.write(batch(0, 2))
    last = datetime.fromtimestamp(START_US / 1e6, UTC).replace(second=22, microsecond=999000)
    assert await reader.fetchval("select public.stream_now()") == last
    await sink.write_metrics(Metrics(None, 10, 1, "streaming", {"waiting": 3}))
    await sink.write_metrics(Metrics(START_US, 5, 0, "streaming"))
    rows = await reader.fetch("select *, details->>'waiting' waiting from public.streaming_metrics order by id")
    assert [(row["timestamp"], row["records_processed"], row["waiting"]) for row in rows] == [
        (last, 10, "3"),
        (datetime.fromtimestamp(START_US / 1e6, UTC), 5, None),
    ]
    health = await reader.fetchrow("select * from public.get_streaming_health('QQQ')")
    assert health["records_last_hour"] == 2
    assert float(health["data_age_seconds"]) == pytest.approx(0.999)
    await sink.close()
    plain = sink_of(database_url)
    await plain.open(JOURNAL)
    assert (await reader.fetchval("select public.stream_now()")).year > 2024
    await plain.close()


async def test_statistics_and_cleaning(sink: Sink, reader: Any) -> None:
    """Daily statistics follow a refresh; cleaning removes what is older and says how much."""
    await sink.write(batch(0, 3))
    await sink.refresh_stats()
    row = await reader.fetchrow("select * from public.equity_data_stats")
    first = (START_US + 1_000_000) % 7
    assert (row["rows"], row["volume"], row["open"]) == (3, 300, Decimal(16_742_000_000 + first).scaleb(-8))
    assert await reader.fetchval("select public.cleanup_old_equity_data(100000)") == 0
    assert await reader.fetchval("select public.cleanup_old_equity_data()") == 3
    assert await reader.fetchval("select public.cleanup_old_indicators()") == 3
    assert await reader.fetchval("select public.cleanup_old_option_prices()") == 0
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await reader.fetchval("select public.cleanup_old_equity_data(-1)")


async def test_metrics_do_not_wait_for_rows(sink: Sink) -> None:
    """All methods may be called at the same time."""
    metrics = Metrics(None, 1, 0, "streaming")
    await asyncio.gather(
        sink.write(batch(0, 500)), *(sink.write_metrics(metrics) for _ in range(5)), sink.refresh_stats()
    )


@pytest.mark.parametrize(
    ("dsn", "pooled"),
    [
        ("postgresql://u:p@host:6543/postgres", True),
        ("postgresql://u:p@host:5432/postgres", False),
        ("postgresql://u:p@/postgres?host=/run/16543&port=6543", True),
        ("postgresql://u:p@/postgres?host=/run/:6543&port=5432", False),
    ],
)
def test_transaction_poolers_are_known(dsn: str, pooled: bool) -> None:
    """They take no prepared statements."""
    assert transaction_pooled(dsn) is pooled
