"""A stand-in for the tape driver of the kernel, and what the tests of drives and reels share."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from memory_drive import MemoryDrive

from courier.media import tape_device as tapedevice
from courier.media.tape_device import DeviceDrive
from formats.tape import (
    BLOCK,
    Drive,
    EndOfMediumError,
    EndOfTapeError,
)


def copy_tape(source: Drive, target: Drive, *, block_size: int = BLOCK) -> None:
    """Block by block and mark by mark, up to the double mark, as one tape is copied to another."""
    source.rewind()
    target.rewind()
    run = blocks = 0
    while True:
        block = source.read_block(block_size)
        if block is None:
            target.write_mark()
            if run % 3 == 0 and not blocks:
                break
            run, blocks = run + 1, 0
        else:
            target.write_block(block)
            blocks += 1
    target.rewind()


NOEOF, FM_HIT, FM, EOM_OK, EOM_ERROR, EOD_1, EOD_2, EOD = range(8)


STAND_INS = {
    "dd": """
import pickle, sys
options = dict(word.split("=") for word in sys.argv[1:])
with open("{tape}", "rb") as file:
    tape, at, fixed = pickle.load(file)
assert fixed == 0, "a drive starts with fixed blocks"
if options["of"] == "/dev/nst0":
    size = int(options["bs"])
    with open(options["if"], "rb") as file:
        blocks = list(iter(lambda: file.read(size), b""))
    if blocks:
        tape[at:] = [*blocks, None]  # st writes the mark when it is closed after a write
        at = len(tape)
else:
    if at == len(tape):
        sys.exit(1)
    end = tape.index(None, at)
    with open(options["of"], "wb") as file:
        file.write(b"".join(tape[at:end]))
    at = end + 1
with open("{tape}", "wb") as file:
    pickle.dump((tape, at, fixed), file)
""",
    "mt": """
import pickle, sys
_, f, device, verb, *count = sys.argv
assert (f, device) == ("-f", "/dev/nst0")
with open("{tape}", "rb") as file:
    tape, at, fixed = pickle.load(file)
if verb == "rewind":
    at = 0
elif verb == "setblk":
    fixed = int(count[0])
else:
    assert verb == "weof"
    tape[at:] = [None] * int(count[0])
    at = len(tape)
with open("{tape}", "wb") as file:
    pickle.dump((tape, at, fixed), file)
""",
}


class FakeSt:
    """The st driver in variable-block mode, as far as its source (drivers/scsi/st.c) tells a caller apart.

    Past the early warning every other write fails; a read at the end of data gives one zero first; spacing past the
    last mark fails and leaves the end-of-data state; a block that cannot be read is passed, or is not.
    """

    def __init__(self, *, capacity: int | None = None, warning: int = 0) -> None:
        self.drive = MemoryDrive(capacity=capacity, warning=warning)
        self.state = NOEOF
        self.sticky: set[int] = set()
        self.skipping: dict[int, int] = {}
        self.log: list[tuple[int, int]] = []
        self.counts = True
        self.knows_immediate = True
        self.closed = False

    @property
    def tape(self) -> list[bytes | None]:
        return self.drive.tape

    @property
    def at(self) -> int:
        return self.drive._at

    @at.setter
    def at(self, value: int) -> None:
        self.drive._at = value

    def write(self, data: bytes | memoryview) -> int:
        if self.state == EOM_OK:
            self.state = EOD_1
            raise OSError(errno.ENOSPC, "No space left on device")
        try:
            near = self.drive.write_block(data)
        except EndOfMediumError:
            self.state = EOM_OK
            raise OSError(errno.ENOSPC, "No space left on device") from None
        self.state = EOM_OK if near or self.state == EOD_1 else NOEOF
        return len(data)

    def read(self, limit: int) -> bytes:
        if self.state >= EOD_1:
            if self.state < EOD:
                self.state += 1
                return b""
            raise OSError(errno.EIO, "Input/output error")
        at = self.at
        if at in self.drive.bad:
            self.at += 0 if at in self.sticky else 1 + self.skipping.get(at, 0)
            raise OSError(errno.EIO, "Input/output error")
        if at >= len(self.tape):
            if self.state == FM:
                self.state = EOD
                return b""
            raise OSError(errno.EIO, "Input/output error")
        self.at += 1
        item = self.tape[at]
        if item is None:
            self.state = FM
            return b""
        self.state = NOEOF
        if len(item) > limit:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return item

    def operate(self, operation: int, count: int) -> None:
        self.log.append((operation, count))
        if operation == tapedevice.MTREW:
            self.at, self.state = 0, NOEOF
        elif operation in (tapedevice.MTWEOF, tapedevice.MTWEOFI):
            if operation == tapedevice.MTWEOFI and not self.knows_immediate:
                raise OSError(errno.EINVAL, "Invalid argument")
            try:
                self.drive.write_mark(count)
            except EndOfMediumError:
                raise OSError(errno.ENOSPC, "No space left on device") from None
            self.state = NOEOF
        elif operation == tapedevice.MTFSF:
            try:
                self.drive.skip_run()
            except EndOfTapeError:
                self.state = EOD
                raise OSError(errno.EIO, "Input/output error") from None
            self.state = FM
        elif operation == tapedevice.MTFSR:
            if self.at >= len(self.tape):
                raise OSError(errno.EIO, "Input/output error")
            self.at += 1
            self.state = NOEOF
        else:
            assert (operation, count) == (tapedevice.MTSETBLK, 0)

    def status(self) -> int:
        return tapedevice.GMT_EOD if self.state >= EOD_1 else 0

    def position(self) -> int:
        if not self.counts:
            raise OSError(errno.EIO, "Input/output error")
        return self.at

    def close(self) -> None:
        self.closed = True


def device(st_driver: FakeSt) -> DeviceDrive:
    return DeviceDrive(Path("/dev/nst0"), writing=True, calls=st_driver)


def commands(name: str) -> str:
    """A block of shell commands of ``docs/tape.md``."""
    page = (Path(__file__).parents[2] / "docs" / "tape.md").read_text("utf-8")
    return page.partition(f"<!-- tested: {name} -->\n```sh\n")[2].partition("```")[0]


def shell(script: str, folder: Path, *, path: str = os.defpath) -> None:
    sh = shutil.which("sh")
    if sh is None:
        pytest.skip("elsewhere: a system without sh")
    subprocess.run([sh, "-eu", "-c", script], cwd=folder, env={"PATH": path}, check=True)


def stand_ins(root: Path) -> Path:
    """Make the stand-ins for dd and mt in ``root/bin``, whose tape is ``root/tape.pickle``; return their folder."""
    (root / "bin").mkdir()
    for name, code in STAND_INS.items():
        tool = root / "bin" / name
        tool.write_text(f"#!{sys.executable}\n{code.replace('{tape}', str(root / 'tape.pickle'))}")
        tool.chmod(0o755)
    return root / "bin"
