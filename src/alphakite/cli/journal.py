"""`alphakite journal show|verify|export`: look into the journal of a data folder."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from alphakite.config import load
from alphakite.journal import reader as journal_reader
from alphakite.journal.record import Kind, Record


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("journal", help="show, verify or export what was received")
    parser.add_argument("action", choices=("show", "verify", "export"))
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    parser.add_argument("--env-file", metavar="FILE", help="read settings from FILE")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument("--from-seq", type=int, default=1, metavar="N", help="begin at this record")
    parser.add_argument("--count", type=int, metavar="N", help="at most N records (show: 20)")
    parser.add_argument("--out", default="-", metavar="FILE", help="export: write to FILE instead of stdout")


def run(args: argparse.Namespace) -> int:
    """verify: 1 when bytes are torn or damaged."""
    folder = load(args).data_dir / "journal"
    identity = journal_reader.journal_id(folder)
    reader = journal_reader.JournalReader(folder, args.from_seq - 1)
    if args.action == "verify":
        return verify(str(identity), reader, as_json=args.json)
    limit = args.count if args.count is not None else 20 if args.action == "show" else None
    if args.action == "export":
        if args.out == "-":
            export(reader, sys.stdout, limit)
        else:
            with Path(args.out).open("w", encoding="utf-8") as out:
                export(reader, out, limit)
        return 0
    for number, record in enumerate(reader):
        if limit is not None and number >= limit:
            break
        print(json.dumps(document(record)) if args.json else line(record))
    return 0


def verify(identity: str, reader: journal_reader.JournalReader, *, as_json: bool) -> int:
    """Read every record; say what is there and what is damaged."""
    first = last = records = holes = 0
    by_kind: dict[str, int] = {}
    for record in reader:
        first = first or record.seq
        holes += last > 0 and record.seq != last + 1 and record.seq not in reader.resumed
        last = record.seq
        records += 1
        by_kind[kind_name(record.kind)] = by_kind.get(kind_name(record.kind), 0) + 1
    torn = sum(fault.length for fault in reader.faults if fault.torn)
    faults = [fault for fault in reader.faults if not fault.torn]
    found = {
        "schema": 1,
        "journal_id": identity,
        "segments": len(journal_reader.segments(reader.folder)),
        "records": records,
        "first_seq": first,
        "last_seq": last,
        "by_kind": by_kind,
        "holes": holes,
        "torn_bytes": torn,
        "checksum_faults": len(faults),
        "faults": [{"segment": f.segment, "offset": f.offset, "bytes": f.length} for f in faults],
    }
    if as_json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            if name not in ("schema", "faults"):
                print(f"{name:16} {value}")
        for fault in faults:
            print(
                f"damaged: {fault.length} bytes at {fault.offset} in {fault.segment}; the records around them are sound"
            )
    return 1 if torn or faults or holes else 0


def export(reader: journal_reader.JournalReader, out: TextIO, limit: int | None) -> None:
    """One JSON object a line."""
    for number, record in enumerate(reader):
        if limit is not None and number >= limit:
            break
        out.write(json.dumps(document(record), ensure_ascii=False) + "\n")


def document(record: Record) -> dict[str, object]:
    """A record as JSON; a payload that is not UTF-8 is given in base64."""
    found: dict[str, object] = {
        "seq": record.seq,
        "ts_recv_ns": record.ts_ns,
        "kind": kind_name(record.kind),
        "conn": record.conn,
    }
    try:
        found["payload"] = record.payload.decode()
    except UnicodeDecodeError:
        found["payload_base64"] = base64.b64encode(record.payload).decode()
    return found


def kind_name(kind: int) -> str:
    """A kind in words; one of a later version by its number."""
    try:
        return Kind(kind).name.lower()
    except ValueError:
        return f"kind_{kind}"


def line(record: Record) -> str:
    """A record for people, its payload cut short."""
    at = datetime.fromtimestamp(record.ts_ns / 1e9, UTC).isoformat(timespec="milliseconds") if record.ts_ns else "-"
    text = record.payload[:160].decode("utf-8", "replace").replace("\n", " ")
    return f"{record.seq:>8} {at:29} {kind_name(record.kind):10} conn {record.conn:<3} {text}"
