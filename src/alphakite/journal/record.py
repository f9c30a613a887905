"""The journal's format, version 1.

A journal is a folder: `journal.id` (a UUID in text), `lock` (held exclusively by its one writer) and segments named
`<first seq, 20 digits>.akj`. All integers are little-endian.

    segment   = header record*
    header    = magic "AKJRNL" u16 version, 16 bytes journal id, u64 first seq, u32 CRC-32 of the 32 bytes before
    record    = u32 length, u32 crc, u64 seq, i64 ts_recv, u32 conn, u8 kind, payload
                length   bytes of the payload
                crc      CRC-32 (zlib) of everything in the record after this field, the length's bytes first
                seq      1, 2, 3 … without a hole over all segments
                ts_recv  nanoseconds since 1970-01-01 UTC by the service clock; never falls; 0 = not yet known
                conn     number of the connection, counted up within the journal; 0 = none
                kind     see Kind

Payloads: `FRAME` the text of one WebSocket message; `REST` a line of JSON that says what was asked and how it was
answered, a newline, the body; all other kinds a JSON object with the key `event`.

A record is whole or it is not there: a reader stops at the first record that is cut short or whose checksum is wrong
at the end of the last segment (a torn tail), and reports one in the middle as a fault and resumes at the next whole
record. The version goes up when a reader of the old one could misread the new.
"""

from __future__ import annotations

import enum
import struct
import uuid
import zlib

import msgspec

VERSION = 1
MAGIC = b"AKJRNL"
SUFFIX = ".akj"
HEADER = struct.Struct("<6sH16sQ")
HEADER_BYTES = HEADER.size + 4
RECORD = struct.Struct("<IIQqIB")
RECORD_BYTES = RECORD.size
BODY = struct.Struct("<QqIB")
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
"""A longer length is not a record but garbage; Schwab's largest image is a few MB."""


class Kind(enum.IntEnum):
    """What a record holds."""

    FRAME = 1
    REST = 2
    CONNECTION = 3
    CONFIG = 4
    PROCESS = 5
    CLOCK = 6


class Record(msgspec.Struct, frozen=True, gc=False):
    """One journal record. `ts_ns`: service time, ns since 1970 UTC."""

    seq: int
    ts_ns: int
    conn: int
    kind: int
    payload: bytes


def pack_header(journal_id: uuid.UUID, first_seq: int) -> bytes:
    """The first bytes of a segment."""
    head = HEADER.pack(MAGIC, VERSION, journal_id.bytes, first_seq)
    return head + struct.pack("<I", zlib.crc32(head))


def unpack_header(data: bytes) -> tuple[uuid.UUID, int] | None:
    """Journal id and first seq, or None if these bytes do not begin a segment of this version."""
    if len(data) < HEADER_BYTES:
        return None
    magic, version, journal_id, first_seq = HEADER.unpack_from(data)
    (crc,) = struct.unpack_from("<I", data, HEADER.size)
    if magic != MAGIC or version != VERSION or crc != zlib.crc32(data[: HEADER.size]):
        return None
    return uuid.UUID(bytes=journal_id), first_seq


def pack_into(buffer: bytearray, seq: int, ts_ns: int, conn: int, kind: int, payload: bytes | memoryview) -> None:
    """Append one record to a buffer."""
    length = len(payload)
    body = BODY.pack(seq, ts_ns, conn, kind)
    crc = zlib.crc32(payload, zlib.crc32(body, zlib.crc32(length.to_bytes(4, "little"))))
    buffer += length.to_bytes(4, "little")
    buffer += crc.to_bytes(4, "little")
    buffer += body
    buffer += payload


def unpack_from(data: bytes | bytearray | memoryview, offset: int) -> tuple[Record, int] | None:
    """The record that begins at `offset` and the offset after it; None if none whole and sound begins there."""
    if len(data) - offset < RECORD_BYTES:
        return None
    length, crc, seq, ts_ns, conn, kind = RECORD.unpack_from(data, offset)
    end = offset + RECORD_BYTES + length
    if length > MAX_PAYLOAD_BYTES or end > len(data):
        return None
    payload = bytes(data[offset + RECORD_BYTES : end])
    head = zlib.crc32(data[offset + 8 : offset + RECORD_BYTES], zlib.crc32(data[offset : offset + 4]))
    if zlib.crc32(payload, head) != crc:
        return None
    return Record(seq, ts_ns, conn, kind, payload), end
