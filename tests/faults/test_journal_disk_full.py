"""The disk is full: the journal stops loudly, keeps what it had, and goes on when there is room again.

As root on a real small tmpfs; elsewhere under a file-size limit in a child process, which fails a write alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphakite.errors import FatalError
from alphakite.journal.reader import JournalReader, segments
from alphakite.journal.record import Kind
from alphakite.journal.writer import JournalWriter

DISK_BYTES = 256 * 1024
PAYLOAD = b"\xa5" * 3000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small tmpfs; the file-size limit below tests the same path")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(writer: JournalWriter) -> int:
    """Append and flush until the disk refuses; the last seq that was written."""
    written = writer.written_seq
    with pytest.raises(FatalError) as refused:
        for _ in range(10_000):
            writer.append(Kind.FRAME, 1, writer.appended_seq + 1, PAYLOAD)
            writer.flush()
            written = writer.appended_seq
            writer.sync()
    assert "No space left" in str(refused.value)
    assert "free disk space" in refused.value.next_step
    assert writer.written_seq == written
    return written


@pytest.mark.parametrize("segment_bytes", [20_000, 10_000_000], ids=["at a roll or a write", "at a write"])
def test_full_disk_stops_loudly_and_keeps_what_it_had(small_disk: Path, segment_bytes: int) -> None:
    folder = small_disk / "journal"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 16_384)
    writer = JournalWriter(folder, segment_bytes=segment_bytes)
    written = fill(writer)
    assert written > 20
    reader = JournalReader(folder)
    assert [record.seq for record in reader] == list(range(1, written + 1))
    assert reader.faults == [], "no half record is left by the failed write"
    with pytest.raises(FatalError):
        writer.close()
    writer.close()
    ballast.unlink()
    again = JournalWriter(folder, segment_bytes=segment_bytes)
    assert again.append(Kind.FRAME, 2, written + 1, PAYLOAD) == written + 1
    again.close()
    records = list(JournalReader(folder))
    assert [record.seq for record in records] == list(range(1, written + 2))
    assert all(record.payload == PAYLOAD for record in records)


def test_a_roll_that_fails_can_be_tried_again_by_the_same_writer(small_disk: Path) -> None:
    """No room for the new segment's header: the old one stays open, and nothing of the group is lost."""
    folder = small_disk / "journal"
    writer = JournalWriter(folder, segment_bytes=100)
    writer.append(Kind.FRAME, 1, 1, PAYLOAD)
    writer.flush()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    writer.append(Kind.FRAME, 1, 2, PAYLOAD)
    with pytest.raises(FatalError, match="no new journal segment"):
        writer.flush()
    ballast.unlink()
    writer.flush()
    writer.close()
    assert [record.seq for record in JournalReader(folder)] == [1, 2]
    assert len(segments(folder)) == 2


def test_a_start_on_a_full_disk_says_what_to_do(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    for _ in range(2):
        with pytest.raises(FatalError) as refused:
            JournalWriter(small_disk / "journal", segment_bytes=100)
        assert "free space" in refused.value.next_step
    ballast.unlink()
    JournalWriter(small_disk / "journal", segment_bytes=100).close()


def test_a_file_size_limit_stops_loudly_too(tmp_path: Path) -> None:
    """The same without root: a child under RLIMIT_FSIZE, whose journal this process then goes on with."""
    child = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from alphakite.errors import FatalError
        from alphakite.journal.writer import JournalWriter

        writer = JournalWriter(Path(sys.argv[1]), segment_bytes=1_000_000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            while True:
                writer.append(1, 1, writer.appended_seq + 1, b"x" * 3000)
                writer.flush()
        except FatalError as error:
            print(writer.written_seq, error.next_step)
            sys.exit(error.exit_code)
        """
    )
    source = Path(sys.modules["alphakite"].__path__[0]).parent
    done = subprocess.run(
        [sys.executable, "-c", child, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert done.returncode == 1, done.stderr
    written, step = done.stdout.split(" ", 1)
    assert int(written) == 6
    assert "free disk space" in step
    writer = JournalWriter(tmp_path, segment_bytes=1_000_000)
    assert writer.torn_bytes == 0
    assert writer.append(Kind.FRAME, 1, 7, b"y") == 7
    writer.close()
    assert [record.seq for record in JournalReader(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_folder_that_cannot_be_made_is_fatal_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FatalError) as refused:
        JournalWriter(tmp_path / "file" / "journal", segment_bytes=100)
    assert refused.value.next_step
