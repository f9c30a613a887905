"""Writing the journal: one writer, appended in groups, fsynced in groups.

In:   payloads of one service, in the order they arrived.      Out:  segment files (format: record.py).
`append` gives the record its seq and costs no system call; `flush` writes the group to the file (survives the death
of the process); `sync` makes it survive a power cut. A file that cannot be written raises FatalError: capture then
stops loudly rather than lose in silence.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from alphakite.errors import FatalError, UnavailableError
from alphakite.journal.reader import JournalReader, check_header, find_record, first_seq, segments
from alphakite.journal.record import HEADER_BYTES, SUFFIX, pack_header, pack_into, unpack_from, unpack_header

Step = Callable[[str], None]
LOCK_PATIENCE_S = 0.25


class Pending:
    """One fsync under way: `seq` and `size` of the segment hold once `fsync` has returned."""

    def __init__(self, fd: int, path: Path, size: int, seq: int) -> None:
        self.path, self.size, self.seq = path, size, seq
        self._fd = fd

    def fsync(self) -> None:
        """Do it, once. Raises FatalError when the disk refuses."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise FatalError(
                f"the journal cannot be made durable: {error.strerror} ({self.path})",
                next_step="check the disk, then start again; rows past the last fsync were not committed",
            ) from error
        finally:
            os.close(fd)


class JournalWriter:
    """The one writer of a journal folder. Opening cuts a torn tail and reports it in `torn_bytes`.

    Args:
        folder: created if absent, mode 0700.
        segment_bytes: a new segment begins when the current one is longer.
        on_step: called with the name of each step that a crash test may interrupt.

    Raises:
        UnavailableError: another process has the folder.
        FatalError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, segment_bytes: int, on_step: Step = lambda _step: None) -> None:
        self.folder = folder
        self.torn_bytes = 0
        self.last_ts_ns = 0
        self.last_conn = 0
        self.written_seq = 0
        self.fsynced_seq = 0
        self.appended_seq = 0
        self.on_written: Callable[[], None] = lambda: None
        self._segment_bytes = segment_bytes
        self.on_step = on_step
        self._buffer = bytearray()
        self._file = -1
        self._size = 0
        self._fsynced_bytes = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(folder, error) from error
        try:
            _lock_soon(self._lock)
        except OSError as error:
            os.close(self._lock)
            raise UnavailableError(
                f"the data folder is in use: another recorder writes {folder}",
                next_step="stop the other recorder (its pid is in run/recorder.pid), or give this one its own folder "
                "with --data",
            ) from error
        try:
            self.journal_id = self._identity()
            self._open_last()
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, OSError):
                raise _unwritable(folder, error) from error
            raise

    @property
    def segment_path(self) -> Path:
        """The segment that is being written."""
        return self._path

    @property
    def fsynced_bytes(self) -> int:
        """How many bytes of the current segment are known to survive a power cut."""
        return self._fsynced_bytes

    def append(self, kind: int, conn: int, ts_ns: int, payload: bytes | memoryview) -> int:
        """Add a record to the group; its seq."""
        self.appended_seq += 1
        self.last_ts_ns = ts_ns
        if conn > self.last_conn:
            self.last_conn = conn
        pack_into(self._buffer, self.appended_seq, ts_ns, conn, kind, payload)
        return self.appended_seq

    def flush(self) -> None:
        """Write the group to the file. Raises FatalError when the disk refuses."""
        if not self._buffer:
            return
        self.on_step("before_write")
        if self._size >= self._segment_bytes:
            self._roll()
        view = memoryview(self._buffer)
        done = 0
        try:
            while done < len(view):
                done += os.write(self._file, view[done:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise FatalError(
                f"the journal cannot be written: {error.strerror} ({self._path})",
                next_step="free disk space or mend the disk, then start again: what was written before is kept",
            ) from error
        finally:
            view.release()
        self._size += done
        self._buffer.clear()
        self.written_seq = self.appended_seq
        self.on_step("after_write")
        self.on_written()

    def sync(self) -> int:
        """Make all that is written survive a power cut; the seq up to which that now holds."""
        if self.written_seq > self.fsynced_seq:
            self.finish_sync(self.begin_sync())
        return self.fsynced_seq

    def begin_sync(self) -> Pending:
        """What one fsync would cover. `Pending.fsync()` may run in a thread, for it has a descriptor of its own."""
        self.on_step("before_fsync")
        return Pending(os.dup(self._file), self._path, self._size, self.written_seq)

    def finish_sync(self, pending: Pending) -> int:
        """Fsync if that was not done yet, and note what is durable now."""
        pending.fsync()
        if pending.path == self._path:
            self._fsynced_bytes = max(self._fsynced_bytes, pending.size)
        self.fsynced_seq = max(self.fsynced_seq, pending.seq)
        self.on_step("after_fsync")
        return self.fsynced_seq

    def close(self) -> None:
        """Write, sync, release the folder. May be called twice."""
        if self._file < 0:
            return
        try:
            self.flush()
            self.sync()
        finally:
            os.close(self._file)
            os.close(self._lock)
            self._file = -1

    def _identity(self) -> uuid.UUID:
        path = self.folder / "journal.id"
        with contextlib.suppress(OSError, ValueError):
            return uuid.UUID(path.read_text().strip())
        if files := segments(self.folder):
            header = next((found for path in files if (found := check_header(path)) is not None), None)
            if header is None:
                raise FatalError(
                    f"{self.folder} holds segments but no readable identity",
                    next_step="move the folder away to keep it, and start again with an empty one",
                )
            identity = header[0]
        else:
            identity = uuid.uuid4()
        write_durably(path, f"{identity}\n".encode())
        return identity

    def _open_last(self) -> None:
        """Open the newest segment for appending, cutting what a crash left half-written.

        Damage with sound records after it is no torn tail: it stays for the reader to report, so that no seq that
        may have been committed is given again.
        """
        files = segments(self.folder)
        start = 1
        while files:
            path = files[-1]
            data = path.read_bytes()
            header = unpack_header(data)
            if header[0] == self.journal_id if header else find_record(data, HEADER_BYTES) is not None:
                break
            self._set_aside(path, data, 0)
            path.unlink()
            start = first_seq(path)
            files.pop()
        else:
            self._create(start)
            self.appended_seq = self.written_seq = self.fsynced_seq = start - 1
            return
        offset, seq, at = HEADER_BYTES, first_seq(path) - 1, HEADER_BYTES
        while True:
            while (found := unpack_from(data, at)) is not None:
                record, offset = found
                at = offset
                seq, self.last_ts_ns, self.last_conn = record.seq, record.ts_ns, max(self.last_conn, record.conn)
            if (damage := find_record(data, at)) is None:
                break
            at = damage
        if offset < len(data):
            self._set_aside(path, data, offset)
            self.torn_bytes = len(data) - offset
        if seq == first_seq(path) - 1 and len(files) > 1:
            self._carry_over(files[-2])
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        if self.torn_bytes:
            os.ftruncate(self._file, offset)
        os.fdatasync(self._file)
        self._size = self._fsynced_bytes = offset
        self.appended_seq = self.written_seq = self.fsynced_seq = seq

    def _carry_over(self, previous: Path) -> None:
        """The newest segment is empty: time and connection go on from the one before."""
        reader = JournalReader(self.folder, first_seq(previous) - 1)
        for record in reader:
            self.last_ts_ns, self.last_conn = record.ts_ns, max(self.last_conn, record.conn)

    def _set_aside(self, path: Path, data: bytes, offset: int) -> None:
        """Bytes that are cut from a segment are kept beside it: they may hold something a person can read."""
        if data[offset:]:
            write_durably(self.folder / f"{path.stem}.torn-{offset}", data[offset:])

    def _roll(self) -> None:
        """Begin a new segment: the old one is made durable first, the new one becomes visible whole."""
        self.on_step("before_roll")
        self.sync()
        full = self._file
        self._create(self.written_seq + 1)
        os.close(full)
        self.on_step("after_roll")

    def _create(self, seq: int) -> None:
        path = self.folder / f"{seq:020d}{SUFFIX}"
        try:
            write_durably(path, pack_header(self.journal_id, seq), step=self.on_step)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise FatalError(
                f"no new journal segment can be made: {error.strerror} ({path})",
                next_step="free disk space, then start again",
            ) from error
        self._path, self._size, self._fsynced_bytes = path, HEADER_BYTES, HEADER_BYTES


def _lock_soon(lock: int) -> None:
    """Lock a descriptor for this process alone. Whoever only looks whether it is held holds it for a moment."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _unwritable(folder: Path, error: OSError) -> FatalError:
    return FatalError(
        f"the journal's folder cannot be written: {error.strerror} ({error.filename or folder})",
        next_step="give the recorder a folder it may write, on a disk with free space, then start again",
    )


def write_durably(path: Path, data: bytes, *, mode: int = 0o600, step: Step = lambda _step: None) -> None:
    """Make a file appear whole: temporary name, fsync, rename, fsync the folder."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    step("before_rename")
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def free_mb(folder: Path) -> float:
    """Megabytes that the folder's disk still has."""
    return shutil.disk_usage(folder).free / 1e6
