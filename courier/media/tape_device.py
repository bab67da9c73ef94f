"""A tape drive of Linux, through its no-rewind device (/dev/nst0): block writes, tape marks, the ends of a tape.

Written after st(4) and the source of the kernel's st driver; never run on hardware (``docs/tape.md``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from pathlib import Path
from typing import Protocol

from courier.error_codes import Code
from courier.errors import UsageError
from formats.errors import UnreadableError
from formats.tape import EndOfMediumError, EndOfTapeError


def is_tape_device(path: Path) -> bool:
    """Whether ``path`` is a tape device of Linux (/dev/nst0): a character device of the st driver, major number 9."""
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISCHR(status.st_mode) and hasattr(os, "major") and os.major(status.st_rdev) == 9


class TapeCalls(Protocol):
    """The system calls on an open tape device. Each raises `OSError`."""

    def read(self, limit: int) -> bytes:
        """read(2): return one block of at most ``limit`` bytes, or no bytes at a tape mark."""

    def write(self, data: bytes | memoryview) -> int:
        """write(2): write one block; return the bytes written."""

    def operate(self, operation: int, count: int) -> None:
        """MTIOCTOP: carry out an operation (``MTFSF``, ``MTREW``, ...) ``count`` times."""

    def status(self) -> int:
        """MTIOCGET: return the generic status bits (``mt_gstat``)."""

    def position(self) -> int:
        """MTIOCPOS: return the block number; tape marks count as blocks."""

    def close(self) -> None:
        """close(2): close the device."""


# linux/mtio.h; request numbers are those of asm-generic/ioctl.h (x86, Arm, RISC-V, s390).
MTFSF, MTFSR, MTWEOF, MTREW, MTSETBLK, MTWEOFI = 1, 3, 5, 6, 20, 35
GMT_EOD = 0x08000000
_OPERATION, _STATUS, _POSITION = "hi", "5l2i", "l"


def _request(direction: int, number: int, layout: str) -> int:
    return direction << 30 | struct.calcsize(layout) << 16 | ord("m") << 8 | number


MTIOCTOP = _request(1, 1, _OPERATION)
MTIOCGET = _request(2, 2, _STATUS)
MTIOCPOS = _request(2, 3, _POSITION)


class _LinuxTape:
    """`TapeCalls` of a device of the Linux st driver. Raises `UsageError` on a system without such devices."""

    def __init__(self, path: Path, *, writing: bool) -> None:
        try:
            import fcntl
        except ImportError:
            raise UsageError(
                f"{path}: tape devices are driven on Linux only",
                hint="write the tape layout to a folder, and copy that to an LTFS volume",
                code=Code.NO_TAPE_DEVICES,
            ) from None
        self._ioctl = fcntl.ioctl
        self._handle = os.open(path, os.O_RDWR if writing else os.O_RDONLY)

    def read(self, limit: int) -> bytes:
        return os.read(self._handle, limit)

    def write(self, data: bytes | memoryview) -> int:
        return os.write(self._handle, data)

    def operate(self, operation: int, count: int) -> None:
        self._ioctl(self._handle, MTIOCTOP, struct.pack(_OPERATION, operation, count))

    def status(self) -> int:
        answer = self._ioctl(self._handle, MTIOCGET, bytes(struct.calcsize(_STATUS)))
        return int(struct.unpack(_STATUS, answer)[3]) & 0xFFFFFFFF

    def position(self) -> int:
        answer = self._ioctl(self._handle, MTIOCPOS, bytes(struct.calcsize(_POSITION)))
        return int(struct.unpack(_POSITION, answer)[0])

    def close(self) -> None:
        os.close(self._handle)


class DeviceDrive(contextlib.AbstractContextManager["DeviceDrive"]):
    """A tape drive of Linux (/dev/nst0), in variable-block mode. A context manager.

    Tests give ``calls`` in place of the device. Errors of the drive that are neither a bad block nor an end of the tape
    are raised as `OSError`.
    """

    _MOST_FAILURES = 64  # failed reads in a row that count as the end of the tape, as each may take minutes
    _MOST_SKIPPED = 1_000  # blocks that one failed read may skip; if a drive says more, its positions mean nothing

    def __init__(self, path: Path, *, writing: bool = False, calls: TapeCalls | None = None) -> None:
        self._name = str(path)
        self._tape = calls if calls is not None else _LinuxTape(path, writing=writing)
        self._mark = MTWEOFI
        self._wrote = self._warned = False
        self._at: int | None = None  # blocks and marks before this position; None where not known
        self._skipped = self._failures = 0
        with contextlib.ExitStack() as failed:
            failed.callback(self._tape.close)
            self._tape.operate(MTSETBLK, 0)
            failed.pop_all()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the device; the tape is not rewound."""
        self._tape.close()

    def write_block(self, data: bytes | memoryview) -> bool:
        """See `Drive.write_block`.

        Past the early warning the st driver fails every other write with ENOSPC, writing nothing, and accepts the next.
        Two failures in a row are the physical end of the tape (st(4), "end of medium").
        """
        self._wrote = True
        for _ in range(2):
            try:
                written = self._tape.write(data)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                self._warned = True
                continue
            if written != len(data):
                raise OSError(errno.EIO, f"the drive took {written} of {len(data)} bytes of a block", self._name)
            return self._warned
        raise EndOfMediumError("the end of the tape", place=self._name)

    def write_mark(self, count: int = 1) -> None:
        """See `Drive.write_mark`.

        MTWEOFI does not flush the drive's buffer at each mark, which on LTO would stop the tape and pad megabytes;
        `rewind` flushes it once.
        """
        self._wrote = True
        try:
            self._tape.operate(self._mark, count)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise EndOfMediumError("the end of the tape", place=self._name) from None
            if self._mark == MTWEOF:
                raise
            self._mark = MTWEOF  # this drive or kernel does not know MTWEOFI
            self.write_mark(count)

    def read_block(self, limit: int) -> bytes | None:
        """See `Drive.read_block`."""
        if self._skipped:
            self._skipped -= 1
            raise UnreadableError("the drive skipped it along with the block before", place=self._name)
        try:
            data = self._tape.read(limit)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                self._moved()
                raise UnreadableError(f"a block longer than {limit} bytes", place=self._name) from None
            if error.errno == errno.ENOSPC:
                raise EndOfTapeError("the end of the tape", place=self._name) from None
            if error.errno == errno.EIO:
                self._pass_failure()
                raise UnreadableError(error.strerror or "the drive cannot read it", place=self._name) from None
            raise
        self._failures = 0
        if data:
            self._moved()
            return data
        if self._tape.status() & GMT_EOD:
            raise EndOfTapeError("nothing more is recorded", place=self._name)
        self._moved()
        if self._position() != self._at:
            self._at = None  # this drive counts in another way: its positions cannot tell how many blocks were lost
        return None

    def _moved(self) -> None:
        if self._at is not None:
            self._at += 1

    def _position(self) -> int | None:
        try:
            return self._tape.position()
        except OSError:
            return None

    def _pass_failure(self) -> None:
        """Move past a block that cannot be read, and count the blocks the drive skipped; raises `EndOfTapeError`."""
        self._failures += 1
        if self._failures > self._MOST_FAILURES or self._tape.status() & GMT_EOD:
            raise EndOfTapeError("nothing more can be read", place=self._name)
        position = self._position()
        if self._at is None or position is None:
            return
        if position <= self._at:
            try:
                self._tape.operate(MTFSR, 1)
            except OSError:
                raise EndOfTapeError("the drive cannot move past this place", place=self._name) from None
            position = self._at + 1
        skipped = position - self._at - 1
        if skipped > self._MOST_SKIPPED:
            self._at = None
        else:
            self._skipped, self._at = skipped, position

    def skip_run(self) -> None:
        """See `Drive.skip_run`."""
        self._skipped = self._failures = 0
        try:
            self._tape.operate(MTFSF, 1)
        except OSError:
            raise EndOfTapeError("no further tape mark", place=self._name) from None
        if self._at is not None:
            self._at = self._position()

    def rewind(self) -> None:
        """See `Drive.rewind`."""
        if self._wrote:
            self._tape.operate(MTWEOF, 0)
        self._tape.operate(MTREW, 1)
        self._wrote = self._warned = False
        self._at = self._skipped = self._failures = 0
