"""The Supabase REST sink: rows and the journal's position by one call of `recorder_write`, in one transaction.

A call whose answer is lost is never guessed about: the position is read before anything else, and it says whether the
batch is in. A batch larger than `part_bytes` goes up in pieces that nobody sees, and is stored whole by its last call.
At most one write is in flight. While Supabase asks for patience (429, 402, 540) nothing is sent: the error is raised
again until the time is over. Why functions, why columns: docs/decisions/0007.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from alphakite import log
from alphakite.errors import ConfigError, FatalError
from alphakite.model import Batch, Metrics
from alphakite.store import migrate, rest_payload
from alphakite.store.partitions import DAY_US, Days, days_of
from alphakite.store.rest_faults import SCHEMA_STEP, Away, TooLarge, by_answer, by_exception
from alphakite.store.size import Removed, Size, read, read_removed
from alphakite.store.tables import definitions, instant, model_definitions

REQUEST_WITHIN_S = 65.0
"""For each step; Supabase ends what takes longer than 60 s by itself."""
CONNECT_WITHIN_S = 10.0
PART_BYTES, LEAST_PART_BYTES = 1_000_000, 8_000
"""Supabase says no limit of its gateway; after a 413 parts are halved."""
ANSWERS: dict[str, set[str] | int] = {
    "recorder_open": {"schema_version"},
    "recorder_define": {"indicators", "models"},
    "recorder_days": 0,
    "recorder_part": set(),
    "recorder_write": {"stored", "stands"},
    "recorder_metrics": set(),
    "refresh_equity_data_stats": set(),
    "recorder_size": {"bytes", "now", "partitions"},
    "recorder_remove": {"rows", "bytes"},
}
"""Function → what its answer says at least; 0: a number. Whoever stands in between may answer 200, too."""
LONGEST_BATCH = 400_000_000
"""PostgreSQL's text ends at 10^9 bytes."""
MARGIN_BYTES = 500
"""What a request says beside the rows."""


class RestSink:
    """Stores batches of one journal through Supabase's REST.

    Args:
        url: the project's, without /rest/v1.
        key: the service role's: a legacy JWT or sb_secret_….
        clock_mode: the setting CLOCK, `system` or `feed`.
        on_step: as in PostgresSink.
        transport: for tests.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        clock_mode: str,
        on_step: Callable[[str], None] = lambda step: None,
        part_bytes: int = PART_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.journal_no = 0
        """The journal's number in the tables, known once opened."""
        self.committed_seq = 0
        self._client = client_for(url, key, transport)
        self._clock_mode = clock_mode
        self._step = on_step
        self._part_bytes = part_bytes
        self._log = log.get("sink")
        self._journal_id = ""
        self._position_known = self._served = False
        self._ids: dict[str, int] = {}
        """Definitions of custom indicators by digest."""
        self._model_ids: dict[str, int] = {}
        """Those of model values."""
        self._rows_days, self._side_days = Days(), Days()
        self._patience: tuple[float, Away] | None = None
        """Until when (time.monotonic) nothing is asked, and why."""
        self._rows_lock, self._side_lock = asyncio.Lock(), asyncio.Lock()

    async def open(self, journal_id: str) -> int:
        """Check the schema, register the journal; its committed seq, 0 if new.

        Raises: TransientError, ConfigError, FatalError.
        """
        async with self._rows_lock:
            self._journal_id = journal_id
            await self._read_position()
            return self.committed_seq

    async def write(self, batch: Batch) -> int:
        """Store a batch, once; the number of duplicates dropped.

        Raises: TransientError (write it again), RejectedError, ConfigError, FatalError.
        """
        if batch.journal_id != self._journal_id:
            raise FatalError(f"a batch of journal {batch.journal_id}, the sink is open for {self._journal_id}")
        async with self._rows_lock:
            if not self._position_known:
                await self._read_position()
            if self.committed_seq == batch.last_seq:
                return 0  # it is in, only the answer was lost
            try:
                await self._make_days(self._rows_days, days_of(batch))
                await self._define(batch)
                return await self._store(batch)
            except BaseException:
                self._position_known = False
                raise

    async def write_metrics(self, metrics: Metrics) -> None:
        """One row of streaming_metrics. Raises: TransientError, …"""
        said = {
            "at_us": metrics.timestamp_us,
            "processed": metrics.records_processed,
            "errors": metrics.error_count,
            "status": metrics.service_status,
            "details": metrics.details,
        }
        us = time.time_ns() // 1000 if metrics.timestamp_us is None else metrics.timestamp_us
        async with self._side_lock:
            await self._make_days(self._side_days, {"streaming_metrics": {us // DAY_US}})
            await self._call("recorder_metrics", msgspec.json.encode(said))

    async def refresh_stats(self) -> None:
        """Bring equity_data_stats up to date. Raises: TransientError, …"""
        async with self._side_lock:
            await self._call("refresh_equity_data_stats", b"{}")

    async def size(self) -> Size:
        """What the project's databases take. Raises: TransientError, …"""
        async with self._side_lock:
            return read(await self._call("recorder_size", b"{}"))

    async def remove(
        self, tables: tuple[str, ...], low_us: int, high_us: int, reason: str, archive: str | None = None
    ) -> Removed:
        """As PostgresSink.remove. If the answer is lost, what is asked again has nothing left to remove."""
        said = {
            "tables": tables,
            "low": instant(low_us),
            "high": instant(high_us),
            "reason": reason,
            "archive": archive,
        }
        async with self._side_lock:
            found = read_removed(await self._call("recorder_remove", msgspec.json.encode(said)))
        self._rows_days.forget()  # rows of it that come late have it made again
        return found

    async def close(self) -> None:
        """Close the connections. May be called twice."""
        await self._client.aclose()

    async def _read_position(self) -> None:
        """Register the journal, and read how far it is committed."""
        needs = migrate.newest()
        said = {"journal": self._journal_id, "clock_mode": self._clock_mode, "needs": needs}
        found = await self._call("recorder_open", msgspec.json.encode(said))
        version = found.get("schema_version")
        if version != needs:
            if str(version) > needs:
                raise ConfigError(
                    f"the schema {version} in Supabase is newer than this alphakite knows ({needs})",
                    next_step="install the newer alphakite that made it",
                )
            raise ConfigError(
                f"the schema in Supabase is at {version}, this alphakite needs {needs}", next_step=SCHEMA_STEP
            )
        self.journal_no, self.committed_seq = found["journal_no"], found["committed_seq"]
        self._ids, self._model_ids = {}, {}
        self._rows_days.forget()
        self._position_known = self._served = True

    async def _make_days(self, days: Days, wanted: dict[str, set[int]]) -> None:
        """Partitions for new days, a call for each table. Without one a row finds its home in the default partition."""
        for call in days.calls(wanted):
            said = {"first": call.first, "last": call.last, "tables": [call.table]}
            days.made(call, await self._call("recorder_days", msgspec.json.encode(said)))

    async def _define(self, batch: Batch) -> None:
        """Definitions not seen before get their ids: an id without values does no harm."""
        new = [one for one in definitions(batch.values) if one.digest not in self._ids]
        models = [one for one in model_definitions(batch.options) if one.digest not in self._model_ids]
        if new or models:
            said = {
                "indicators": new,
                "models": [
                    # as written: 0.04, however the next one would print a double
                    msgspec.structs.asdict(one) | {"rate": repr(one.rate), "dividend": repr(one.dividend)}
                    for one in models
                ],
            }
            found = await self._call("recorder_define", msgspec.json.encode(said))
            self._ids |= found["indicators"]
            self._model_ids |= found["models"]

    async def _store(self, batch: Batch) -> int:
        """In one call if it is small enough, else in pieces; smaller ones as long as the gateway wants them."""
        packed = rest_payload.encode(batch, self._ids, self._model_ids)
        if len(packed) > LONGEST_BATCH:
            raise FatalError(f"a batch of {len(packed)} bytes", next_step="set a smaller BATCH_SIZE")
        place = {
            "journal": self.journal_no,
            "after_seq": batch.after_seq,
            "last_seq": batch.last_seq,
            "last_ts_us": batch.last_ts_us,
            "feed": self._clock_mode == "feed",
        }
        while True:
            try:
                parts = await self._send_pieces(batch, packed) if len(packed) > self._part_bytes else 0
                said = place | ({"parts": parts} if parts else {"packed": msgspec.Raw(packed)})
                return self._judge(batch, await self._commit(msgspec.json.encode(said)))
            except TooLarge as error:
                if self._part_bytes <= LEAST_PART_BYTES:
                    raise
                self._part_bytes = max(LEAST_PART_BYTES, min(self._part_bytes, len(packed)) // 2)
                self._log.warning("parts_halved", bytes=self._part_bytes, error=str(error))

    async def _send_pieces(self, batch: Batch, packed: bytes) -> int:
        """How many there were. Each replaces what an earlier try left."""
        pieces = rest_payload.pieces(packed, self._part_bytes - MARGIN_BYTES)
        for part, piece in enumerate(pieces):
            said = {
                "journal": self.journal_no,
                "after_seq": batch.after_seq,
                "last_seq": batch.last_seq,
                "part": part,
                "piece": piece,
            }
            await self._call("recorder_part", msgspec.json.encode(said))
        return len(pieces)

    async def _commit(self, body: bytes) -> dict[str, Any]:
        """The call that counts, between the crash tests' steps."""
        self._step("before_commit")
        call = asyncio.ensure_future(self._call("recorder_write", body))
        try:
            await asyncio.sleep(0)  # now it is on its way
            self._step("commit_sent")
            answer: dict[str, Any] = await call
        finally:
            if not call.done():
                call.cancel()
        self._step("after_commit")
        return answer

    def _judge(self, batch: Batch, answer: dict[str, Any]) -> int:
        """Duplicates; the position was not where the batch begins: it is in already, or somebody else writes."""
        stands = answer["stands"]
        if not answer["stored"] and stands != batch.last_seq:
            raise FatalError(
                f"another recorder writes to this database: journal {self._journal_id} stands at {stands},"
                f" this batch begins after {batch.after_seq}",
                next_step="stop the other recorder (a copy of the data folder is one), then start again",
            )
        self.committed_seq = batch.last_seq
        duplicates = int(answer.get("duplicates", 0))
        if duplicates:
            self._log.warning("duplicates_dropped", rows=duplicates, last_seq=batch.last_seq)
        return duplicates

    async def _call(self, function: str, body: bytes) -> Any:
        """One request; what the function returned, {} for nothing. Raises: our errors, see rest_faults.py."""
        if self._patience is not None and time.monotonic() < self._patience[0]:
            why = self._patience[1]
            raise Away(why.state, why.message, why.step)
        try:
            response = await self._client.post(f"/rest/v1/rpc/{function}", content=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise by_exception(error, served=self._served) from None
        if (answer := answered(response, ANSWERS[function])) is not None:
            self._patience = None
            return answer
        refusal = by_answer(response.status_code, response.content, response.headers, served=self._served)
        if isinstance(refusal, Away) and refusal.wait_s:
            self._patience = (time.monotonic() + refusal.wait_s, refusal)
        raise refusal


def answered(response: httpx.Response, says: set[str] | int) -> Any:
    """What a function answered, {} for nothing; None if it is not the function that answers."""
    if response.status_code not in (200, 204):
        return None
    try:
        found = msgspec.json.decode(response.content or b"null")
    except msgspec.DecodeError:
        return None
    if isinstance(says, int):
        return found if isinstance(found, int) else None
    if found is None and not says:
        return {}
    return found if isinstance(found, dict) and says <= found.keys() else None


async def ask(url: str, key: str, function: str, arguments: dict[str, object]) -> Any:
    """What one of the schema's functions answers: rows as a list of objects, or its value. Raises: our errors."""
    async with client_for(url, key) as client:
        try:
            response = await client.post(f"/rest/v1/rpc/{function}", content=msgspec.json.encode(arguments))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise by_exception(error, served=False) from None
        with contextlib.suppress(msgspec.DecodeError):
            if response.status_code == 200:
                return msgspec.json.decode(response.content)
        raise by_answer(response.status_code, response.content, response.headers, served=False)


def client_for(url: str, key: str, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client that signs in. A legacy key is a JWT, which says the role; an sb_secret_ key must not pretend to be."""
    headers = {"apikey": key, "Content-Type": "application/json", "Accept": "application/json"}
    if not key.startswith("sb_"):
        headers["Authorization"] = f"Bearer {key}"
    return httpx.AsyncClient(
        base_url=url.rstrip("/"),
        headers=headers | {"User-Agent": "alphakite"},
        timeout=httpx.Timeout(REQUEST_WITHIN_S, connect=CONNECT_WITHIN_S),
        transport=transport,
        limits=httpx.Limits(max_connections=2, max_keepalive_connections=2),
        follow_redirects=False,
    )
