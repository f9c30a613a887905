"""What nobody knows for certain about Schwab (tagged [?] in the project's reference), observed on the first session.

In:   journal records in order: kind, connection, service time, seq, payload.      Out:  `facts()`.
Only looks: it sends nothing, decides nothing, reads no clock. A frame is taken apart only while an open fact needs it;
once all are settled, `feed` returns at once. Times inside are ns of service time. The state is JSON, so that a restart
goes on where it was: records that it has seen before are passed over. A fact is settled once and keeps its evidence.

Two facts need a word from capture, as CONNECTION records: `{"event":"readd","key":K}` right before it sends an ADD of
a key that is subscribed already, and `"access_expires_us"` in the `up` event, when the login's access token ends.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from statistics import median
from typing import Any

import msgspec

from alphakite.errors import ConfigError
from alphakite.journal.record import Kind
from alphakite.sessions import EXCHANGE, Session, exchange_date, exchange_time, session_on

S_NS = 1_000_000_000
SIZES_WANTED = 200
"""Bid and ask sizes other than 0 that are looked at."""
BEATS_WANTED, BEATS_KEPT, BEATS_IN_DATA = 10, 200, 3
BEATLESS_S = 120.0
"""Data that flows so long without a heartbeat has none beside it."""
DATA_NEAR_S = 2.0
"""Data flows while frames are no further apart."""
INDEX_WITHIN_S = 120.0
CROSS_WITHIN_S = 300.0
READD_WITHIN_S = 15.0
IMAGE_FIELDS = 40
"""An item with more fields than this is an image."""
LONG_LIFE_S, PAST_TOKEN_S = 1800.0, 60.0
EQUITIES = b'"LEVELONE_EQUITIES"'
FACTS = ("sizes", "heartbeat", "index", "cross_trade_time", "re_add", "thirty_minutes", "token_expiry", "first_tick")


class Fact(msgspec.Struct):
    """One observation. `value` in words, "" while open; `evidence` what was seen; `seq`, `ts_us` where and when."""

    value: str = ""
    evidence: str = ""
    state: str = "open"
    seq: int = 0
    ts_us: int = 0


class Memory(msgspec.Struct):
    """What has been seen so far, as JSON in the status folder. Times ns of service time, 0 = never."""

    facts: dict[str, Fact] = msgspec.field(default_factory=lambda: {name: Fact() for name in FACTS})
    journal_id: str = ""
    seq: int = 0
    """The newest record that was looked at."""
    conn: int = 0
    up_ns: int = 0
    token_ends_ns: int = 0
    sizes: list[int] = []
    beat_ns: int = 0
    beats: list[float] = []
    """Seconds between heartbeats."""
    beats_in_data: int = 0
    data_ns: int = 0
    run_ns: int = 0
    """Since when data has flowed, the last heartbeat at the earliest."""
    longest_run_s: float = 0.0
    indices: dict[str, bool] = {}
    """`$` ticker → an image of it has come."""
    index_ns: int = 0
    """When the newest of them was asked for."""
    cross_volume: int = 0
    cross_moved: int = 0
    cross_still: int = 0
    cross_from_ns: int = 0
    readd_key: str = ""
    readd_ns: int = 0
    readd_deltas: int = 0
    day: str = ""
    heard_ns: int = 0
    """The first frame of `day`."""
    tick_day: str = ""
    """The newest day whose first tick was seen."""


class SelfTest:
    """Observes until every fact is settled.

    Args:
        saved: the state of an earlier run (`save`); one that cannot be read is begun anew.
        journal_id: whose records will come; of another journal than the saved one, none has been seen.
    """

    def __init__(self, saved: bytes = b"", journal_id: str = "") -> None:
        self._memory = Memory()
        if saved:
            try:
                self._memory = msgspec.json.decode(saved, type=Memory)
            except msgspec.DecodeError:
                self._memory = Memory()
        for name in FACTS:
            self._memory.facts.setdefault(name, Fact())
        if self._memory.journal_id != journal_id:
            self._memory.journal_id, self._memory.seq = journal_id, 0
        self._volumes: dict[str, int] = {}
        self._ts_ns = 0
        self._closing: tuple[int, int] = (0, 0)  # from a minute before the close to the end of the closing cross
        self._day_ends_ns = 0
        self.settled = not self._is_open(*FACTS)
        """Nothing is left to observe."""
        self.changed = False
        """A fact was settled since `save`."""

    def save(self) -> bytes:
        """The state, as JSON."""
        self.changed = False
        return msgspec.json.encode(self._memory)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Fact → value, evidence, state (open, settled), seq, ts_us."""
        found: dict[str, dict[str, Any]] = msgspec.to_builtins(self._memory.facts)
        return found

    def feed(self, kind: int, conn: int, ts_ns: int, seq: int, payload: bytes) -> None:
        """Look at one record. Never raises over its content."""
        if self.settled or seq <= self._memory.seq:
            return
        self._memory.seq, self._ts_ns = seq, ts_ns
        if kind == Kind.FRAME:
            self._frame(payload)
        elif kind == Kind.CONNECTION:
            self._connection(conn, _object(payload))
        elif kind == Kind.CONFIG:
            self._config(_object(payload))

    # ── records that are not frames ─────────────────────────────────────────────────────────────────────────

    def _connection(self, conn: int, event: dict[str, Any]) -> None:
        memory, name = self._memory, event.get("event")
        if name == "up":
            memory.conn, memory.up_ns = conn, self._ts_ns
            memory.token_ends_ns = _whole(event.get("access_expires_us")) * 1000
            memory.beat_ns = memory.heard_ns = memory.data_ns = memory.run_ns = 0
            memory.index_ns = self._ts_ns
            memory.day = memory.readd_key = ""
            self._volumes.clear()
        elif name == "down":
            ends_ns = memory.token_ends_ns
            if ends_ns and abs(self._ts_ns - ends_ns) < PAST_TOKEN_S * S_NS and event.get("reason") == "socket_down":
                off_s = (self._ts_ns - ends_ns) / S_NS
                self._settle("token_expiry", "the socket closes", f"it ended {off_s:+.0f} s from the token's end")
            memory.up_ns = memory.token_ends_ns = 0
            memory.cross_from_ns = memory.cross_moved = memory.cross_still = 0
        elif name == "readd" and self._is_open("re_add"):
            memory.readd_key, memory.readd_ns, memory.readd_deltas = str(event.get("key", "")), self._ts_ns, 0

    def _config(self, event: dict[str, Any]) -> None:
        if event.get("event") != "derive":
            return
        settings = event.get("settings")
        tickers = settings.get("tickers", ()) if isinstance(settings, dict) else ()
        indices = [str(ticker) for ticker in tickers if str(ticker).startswith("$")]
        if self._is_open("index"):
            if any(one not in self._memory.indices for one in indices):
                self._memory.index_ns = self._ts_ns
            self._memory.indices = {one: self._memory.indices.get(one, False) for one in indices}

    # ── frames ──────────────────────────────────────────────────────────────────────────────────────────────

    def _frame(self, payload: bytes) -> None:
        ts_ns = self._ts_ns
        self._lifetime(ts_ns)
        if payload.startswith(b'{"notify"'):
            if b'"heartbeat"' in payload:
                self._heartbeat(ts_ns)
            self._note_day(ts_ns)
            return
        if EQUITIES not in payload or not payload.startswith(b'{"data"'):
            self._note_day(ts_ns)
            return
        self._flowing(ts_ns)
        self._note_day(ts_ns)
        if self._wants(payload, ts_ns):
            for item in _items(payload):
                self._item(item, ts_ns)
        self._deadlines(ts_ns)

    def _wants(self, payload: bytes, ts_ns: int) -> bool:
        """Whether an open fact needs this frame's content."""
        facts, memory = self._memory.facts, self._memory
        if facts["sizes"].state == "open":
            return True
        if facts["first_tick"].state == "open" and memory.tick_day != memory.day:
            return True
        if memory.readd_key and ts_ns - memory.readd_ns <= READD_WITHIN_S * S_NS:
            return True
        if facts["index"].state == "open" and b'"$' in payload:
            return True
        return facts["cross_trade_time"].state == "open" and self._closing[0] <= ts_ns <= self._closing[1]

    def _item(self, item: dict[str, Any], ts_ns: int) -> None:
        memory, key = self._memory, str(item.get("key", ""))
        image = "assetMainType" in item or "delayed" in item or len(item) > IMAGE_FIELDS
        if self._is_open("sizes"):
            memory.sizes += [size for size in (_whole(item.get("4")), _whole(item.get("5"))) if size > 0]
            if len(memory.sizes) >= SIZES_WANTED:
                self._judge_sizes()
        if image and key in memory.indices:
            memory.indices[key] = True
        if not image and not key.startswith("$"):
            self._first_tick(key, ts_ns)
        if memory.readd_key == key and self._is_open("re_add"):
            if image:
                after_s = (ts_ns - memory.readd_ns) / S_NS
                self._settle("re_add", "a fresh image", f"{key}: {len(item)} fields, {after_s:.1f} s after the ADD")
                memory.readd_key = ""
            else:
                memory.readd_deltas += 1
        self._cross(key, item, image, ts_ns)

    def _judge_sizes(self) -> None:
        """In shares, sizes are round lots: 100, or 40 and 10 for dear stocks; in lots they are small numbers."""
        memory = self._memory
        sizes = memory.sizes
        hundreds, tens, small = (
            sum(test(size) for size in sizes) for test in (_hundreds, _tens, lambda size: size < 100)
        )
        seen = f"{len(sizes)} sizes: {hundreds} whole hundreds, {tens} whole tens, {small} below 100"
        count = len(sizes)
        value = "shares" if hundreds >= 0.8 * count or tens >= 0.9 * count else "lots" if small >= 0.5 * count else ""
        self._settle("sizes", value or "neither: look at the journal", seen)
        memory.sizes = []

    def _heartbeat(self, ts_ns: int) -> None:
        memory = self._memory
        if not self._is_open("heartbeat"):
            return
        if memory.beat_ns:
            memory.beats = [*memory.beats[1 - BEATS_KEPT :], (ts_ns - memory.beat_ns) / S_NS]
            memory.beats_in_data += memory.data_ns > 0 and ts_ns - memory.data_ns <= DATA_NEAR_S * S_NS
        memory.beat_ns, memory.run_ns = ts_ns, 0
        self._judge_heartbeat()

    def _judge_heartbeat(self) -> None:
        """Known once data has flowed beside heartbeats, or for long without one."""
        memory = self._memory
        if len(memory.beats) < BEATS_WANTED:
            return
        every_s = median(memory.beats)
        flows = memory.beats_in_data >= BEATS_IN_DATA
        if flows or memory.longest_run_s > max(BEATLESS_S, 3 * every_s):
            seen = (
                f"{len(memory.beats)} heartbeats, {memory.beats_in_data} of them within {DATA_NEAR_S:.0f} s of data;"
                f" data flowed for {memory.longest_run_s:.0f} s without one"
            )
            when = "also while data flows" if flows else "only when idle"
            self._settle("heartbeat", f"every {every_s:.1f} s, {when}", seen)
            memory.beats = []

    def _flowing(self, ts_ns: int) -> None:
        """A data frame: how long data has flowed without a heartbeat."""
        memory = self._memory
        if not memory.run_ns or ts_ns - memory.data_ns > DATA_NEAR_S * S_NS:
            memory.run_ns = ts_ns
        memory.data_ns = ts_ns
        run_s = (ts_ns - memory.run_ns) / S_NS
        if run_s > memory.longest_run_s:
            memory.longest_run_s = run_s
            if run_s > BEATLESS_S and self._is_open("heartbeat"):
                if len(memory.beats) < BEATS_WANTED:
                    self._settle("heartbeat", "none while data flows", f"data flowed for {run_s:.0f} s without one")
                self._judge_heartbeat()

    def _lifetime(self, ts_ns: int) -> None:
        memory = self._memory
        if not memory.up_ns:
            return
        age_s = (ts_ns - memory.up_ns) / S_NS
        if age_s > LONG_LIFE_S and self._is_open("thirty_minutes"):
            self._settle("thirty_minutes", "the connection lives on", f"a frame {age_s / 60:.1f} min after its begin")
        if (
            memory.token_ends_ns
            and ts_ns > memory.token_ends_ns + PAST_TOKEN_S * S_NS
            and self._is_open("token_expiry")
        ):
            past_s = (ts_ns - memory.token_ends_ns) / S_NS
            self._settle("token_expiry", "the connection lives on", f"a frame {past_s:.0f} s after the token's end")

    def _note_day(self, ts_ns: int) -> None:
        """A new exchange day: when the closing cross is due, and from when on this connection listens."""
        if ts_ns < self._day_ends_ns and self._memory.day:
            return
        day = exchange_date(ts_ns // 1000)
        begins = datetime(day.year, day.month, day.day, tzinfo=EXCHANGE)
        self._day_ends_ns = int(begins.timestamp() + 86_400) * S_NS
        if self._memory.day != str(day):
            self._memory.day, self._memory.heard_ns = str(day), ts_ns
        session = _session(day)
        close_ns = session.regular_close_us * 1000 if session is not None else 0
        self._closing = (close_ns - 60 * S_NS, close_ns + int(CROSS_WITHIN_S * S_NS)) if close_ns else (0, 0)

    def _first_tick(self, key: str, ts_ns: int) -> None:
        """The first change of an equity on a day on which the connection listened from before 04:00 on."""
        memory = self._memory
        if not self._is_open("first_tick") or memory.tick_day == memory.day:
            return
        session = _session(exchange_date(ts_ns // 1000))
        if session is None:
            return
        memory.tick_day = memory.day
        at, heard = exchange_time(ts_ns // 1000), exchange_time(memory.heard_ns // 1000)
        seen = f"{at} New York, {key}; frames heard since {heard[11:]}"
        if memory.heard_ns < session.extended_open_us * 1000 <= ts_ns:
            self._settle("first_tick", at[11:], seen)
        else:
            memory.facts["first_tick"].evidence = f"{seen}: too late to say"

    def _cross(self, key: str, item: dict[str, Any], image: bool, ts_ns: int) -> None:
        """After the close: changes of the cumulative volume with and without a step of field 36."""
        memory = self._memory
        if not self._is_open("cross_trade_time") or not self._closing[0] <= ts_ns <= self._closing[1]:
            return
        close_ns = self._closing[0] + 60 * S_NS
        volume = _whole(item.get("8"))
        grown = volume - self._volumes.get(key, volume)
        if volume:
            self._volumes[key] = volume
        if ts_ns < close_ns:
            memory.cross_from_ns = memory.cross_from_ns or ts_ns
        elif grown > 0 and not image and memory.cross_from_ns:
            if _whole(item.get("36")) * 1_000_000 >= close_ns:
                memory.cross_moved += grown
                memory.facts["cross_trade_time"].evidence = f"{key}: volume +{grown} with field 36 after the close"
            else:
                memory.cross_still += grown

    def _deadlines(self, ts_ns: int) -> None:
        """Facts that are settled by time: what has not come by then does not come."""
        memory = self._memory
        if memory.readd_key and ts_ns - memory.readd_ns > READD_WITHIN_S * S_NS:
            if memory.readd_deltas:
                seen = f"{memory.readd_key}: {memory.readd_deltas} changes and no image in {READD_WITHIN_S:.0f} s"
                self._settle("re_add", "no image", seen)
            memory.readd_key = ""
        if memory.indices and ts_ns - memory.index_ns > INDEX_WITHIN_S * S_NS and self._is_open("index"):
            words = ", ".join(f"{key} {'streams' if came else 'is silent'}" for key, came in memory.indices.items())
            self._settle("index", words, f"{INDEX_WITHIN_S:.0f} s after the subscription")
        if memory.cross_from_ns and ts_ns > self._closing[1] and self._closing[1] and self._is_open("cross_trade_time"):
            moved, still = memory.cross_moved, memory.cross_still
            if moved + still:
                seen = f"after the close volume +{moved} with a step of field 36, +{still} without"
                self._settle("cross_trade_time", "moves" if moved else "stands still", seen)
            memory.cross_from_ns = memory.cross_moved = memory.cross_still = 0

    def _is_open(self, *names: str) -> bool:
        return any(self._memory.facts[name].state == "open" for name in names)

    def _settle(self, name: str, value: str, evidence: str) -> None:
        if self._is_open(name):
            self._memory.facts[name] = Fact(value, evidence, "settled", self._memory.seq, self._ts_ns // 1000)
            self.changed = True
            self.settled = not self._is_open(*FACTS)


def _session(day: date) -> Session | None:
    try:
        return session_on(day)
    except ConfigError:
        return None


def _hundreds(size: int) -> bool:
    return size % 100 == 0


def _tens(size: int) -> bool:
    return size % 10 == 0


def _items(payload: bytes) -> list[dict[str, Any]]:
    """The items of a frame's LEVELONE_EQUITIES elements."""
    elements = _object(payload).get("data")
    found: list[dict[str, Any]] = []
    for element in elements if isinstance(elements, list) else []:
        if isinstance(element, dict) and element.get("service") == "LEVELONE_EQUITIES":
            content = element.get("content")
            found += [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []
    return found


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _whole(value: object) -> int:
    """A number as an int, 0 for anything else."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else 0
