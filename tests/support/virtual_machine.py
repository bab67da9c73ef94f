"""A computer in qemu, without KVM: its serial line is read and typed on, and discs are changed in its drive."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any

from stock import stock_file, stock_tool

MARKER = b"COURIER-DISK-STARTED"
"""What the bootable image writes on the serial line."""


class VirtualMachine:
    """A running computer with a drive for discs and a disk; a context manager. ``lines`` is all that it has said."""

    def __init__(
        self, folder: Path, *, disk: Path, disc: Path | None, efi: bool, memory: int = 768, second: Path | None = None
    ) -> None:
        """``disk``: it starts from it where there is no ``disc``; ``second``: another disk."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command: list[object] = [
            *(stock_tool("qemu-system-x86_64"), "-accel", "tcg", "-m", memory, "-display", "none", "-monitor", "none"),
            *("-nodefaults", "-no-reboot", "-serial", "stdio", "-vga", "std"),
            *("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"),
            *("-drive", f"file={disk},if=none,id=disk,format=raw,cache=unsafe"),
            *("-device", "ide-hd,drive=disk,bus=ide.0,bootindex=2"),
        ]
        medium = f",file={disc},format=raw" if disc else ""
        command += ["-drive", f"if=none,id=medium,media=cdrom,readonly=on{medium}"]
        command += ["-device", "ide-cd,drive=medium,id=cd0,bus=ide.1,bootindex=1"]
        if second:
            command += ["-drive", f"file={second},if=none,id=second,format=raw,cache=unsafe"]
            command += ["-device", "virtio-blk-pci,drive=second"]
        if efi:
            code = stock_file("/usr/share/OVMF/OVMF_CODE_4M.fd")
            variables = stock_file("/usr/share/OVMF/OVMF_VARS_4M.fd")
            shutil.copy(variables, folder / "vars.fd")
            command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"]
            command += ["-drive", f"if=pflash,format=raw,unit=1,file={folder / 'vars.fd'}"]
        self._process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._said = bytearray()
        self._more = threading.Condition()
        self._read = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> VirtualMachine:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        output: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        while data := output.read1(4096):  # type: ignore[attr-defined]
            with self._more:
                self._said += data
                self._more.notify_all()
        with self._more:
            self._process.wait()
            self._more.notify_all()

    @property
    def said(self) -> str:
        """All that it has said."""
        return self._said.decode("utf-8", "replace")

    def expect(self, text: bytes | str, seconds: float) -> None:
        """Wait until it says ``text`` after what was waited for before; fails after so many seconds."""
        wanted = text.encode() if isinstance(text, str) else text
        end = time.monotonic() + seconds
        with self._more:
            while (at := self._said.find(wanted, self._read)) < 0:
                left = end - time.monotonic()
                if left <= 0 or self._process.poll() is not None:
                    why = "ended" if self._process.poll() is not None else f"{seconds} s"
                    raise AssertionError(f"no {wanted!r} ({why}); it said:\n{self.said[-6000:]}")
                self._more.wait(min(left, 1))
            self._read = at + len(wanted)

    def type(self, text: str) -> None:
        """Type a line."""
        keyboard: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        keyboard.write(text.encode() + b"\n")
        keyboard.flush()

    def change_disc(self, disc: Path) -> None:
        """Take the disc out of the drive and put another one in."""
        self._ask("blockdev-change-medium", id="cd0", filename=str(disc), format="raw", force=True)

    def _ask(self, command: str, **arguments: Any) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self._folder / "qmp"))
            reader = line.makefile("rb")
            reader.readline()
            for message in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                line.sendall(json.dumps(message).encode() + b"\n")
                while "return" not in (answer := json.loads(reader.readline())):
                    assert "error" not in answer, answer

    def wait_for_end(self, seconds: float) -> None:
        """Wait until it is off; a restart turns it off."""
        self._process.wait(seconds)


def bootable_disk(loader: bytes, *, size: int = 0) -> bytes:
    """A raw disk image that says `MARKER` on the serial line, started by BIOS or by UEFI.

    ``loader``: GRUB for EFI. A BIOS starts the program in the MBR. ``size``: bytes of it at least.
    """
    from formats.disk.gpt import EFI_SYSTEM, SECTOR, TABLE_SECTORS, Partition, protective_mbr, tables, uuid_of
    from formats.fat import FatFile, FatLayout, write_fat

    config = b"serial --unit=0 --speed=115200\nterminal_output serial\necho " + MARKER + b"\nsleep 2\nhalt\n"
    content = {"EFI/BOOT/BOOTX64.EFI": loader, "EFI/BOOT/grub.cfg": config, "EFI/debian/grub.cfg": config}
    first = 2048
    layout = FatLayout([(path, len(data)) for path, data in content.items()], kind=16, least=size)
    sectors = first + layout.sectors + TABLE_SECTORS
    out = io.BytesIO(bytes(sectors * SECTOR))
    files = [FatFile(path=path, size=len(data), open=_opening(data)) for path, data in content.items()]
    write_fat(out, layout, files, label="DISK", serial=1, created_ns=10**18, start=first)
    last = first + layout.sectors - 1
    part = Partition(kind=EFI_SYSTEM, unique=uuid_of("part"), first=first, last=last, name="EFI")
    primary, backup = tables([part], sectors=sectors, disk=uuid_of("disk"))
    out.seek(0)
    out.write(protective_mbr(sectors, _program()) + primary)
    out.seek((sectors - TABLE_SECTORS) * SECTOR)
    out.write(backup)
    return out.getvalue()


def _opening(data: bytes) -> Any:
    return lambda: io.BytesIO(data)


def _program() -> bytes:
    """16-bit code at 0x7C00 that writes the marker by the BIOS's serial service (interrupt 14h), then halts."""
    text = b"\r\n" + MARKER + b"\r\n\0"
    code = (
        b"\x31\xc0\x8e\xd8"  # xor ax, ax; mov ds, ax
        b"\xbe\x1c\x7c"  # mov si, the text
        b"\xb8\xe3\x00\x31\xd2\xcd\x14"  # mov ax, 0x00E3; xor dx, dx; int 14h: 9,600 baud
        b"\xac\x84\xc0\x74\x06"  # next: lodsb; test al, al; jz halt
        b"\xb4\x01\xcd\x14\xeb\xf5"  # mov ah, 1; int 14h; jmp next
        b"\xf4\xeb\xfd"  # halt: hlt; jmp halt
    )
    return code + text


def started(folder: Path, disk: Path, *, efi: bool, seconds: float) -> None:
    """Start a computer from its disk alone; it must say the marker."""
    with VirtualMachine(folder, disk=disk, disc=None, efi=efi, memory=256) as machine:
        machine.expect(MARKER, seconds)
