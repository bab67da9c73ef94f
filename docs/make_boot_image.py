"""Makes a boot image of Linux for stand-alone media: a kernel, and an initrd that runs courier (docs/standalone.md).

    python docs/make_boot_image.py --kernel-package linux-image-6.1.0-40-amd64.deb --card HQ1.card --out boot

It needs ``dpkg-deb``, ``ldd`` and a static busybox (Debian: dpkg, libc-bin, busybox-static); with ``strip`` (binutils)
the initrd gets smaller. It is run by the Python of an environment in which courier is installed: that Python, courier
and the few libraries that it needs then go into the initrd. Nothing is mounted and no right of root is needed.
``--program`` adds programs that task sequences need, with their shared libraries.
"""

from __future__ import annotations

import argparse
import importlib.util
import py_compile
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

MODULES = (
    *("ahci", "ata_piix", "ata_generic", "nvme", "sd_mod", "sr_mod", "usb-storage", "uas"),
    *("xhci-pci", "ehci-pci", "uhci_hcd", "ohci-pci"),
    *("virtio_pci", "virtio_blk", "virtio_scsi", "mptspi", "vmw_pvscsi", "hv_storvsc"),
    *("megaraid_sas", "mpt3sas", "sdhci-pci", "mmc_block", "vmd"),
    *("usbhid", "hid-generic", "hid-hyperv"),
    *("isofs", "vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii", "nls_utf8"),
)
"""Modules of the kernel that are loaded: controllers and drives, keyboards, file systems of discs and sticks."""
LIBRARIES = ("cryptography", "_cffi_backend", "msgspec", "securesystemslib", "filelock", "platformdirs")
"""Packages of Python that the started computer needs besides courier, formats and the standard library."""
MAY_BE_MISSING = ("backports", "typing_extensions")
LEFT_OUT = re.compile(
    r"(test|tests|test_data|idlelib|tkinter|turtledemo|lib2to3|ensurepip|distutils|pydoc_data|site-packages|__pycache__|"
    r"config-.*|_?test.*\.so|turtle\.py|_tkinter.*|_sqlite3.*|sqlite3|pydoc\.py|unittest|venv|wsgiref|xmlrpc|curses|"
    r"_curses.*|_codecs_(jp|kr|cn|hk|tw|iso2022).*|_multibytecodec.*|readline.*|dbm|_dbm.*|_gdbm.*|nis.*|ossaudiodev.*)"
)
"""Names in the standard library that are left out."""
INIT = """#!/bin/busybox sh
# The first program of the started computer: it makes the system's folders, loads modules, and runs courier.
/bin/busybox mkdir -p /proc /sys /dev /run /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t tmpfs -o mode=755,size=80% tmpfs /run
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/run TMPDIR=/run LANG=C.UTF-8
export PYTHONHOME=/usr PYTHONPATH=/usr/lib/courier PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1
echo "courier: loading drivers"
while read module; do insmod "/lib/modules/$module" 2>/dev/null; done </lib/modules/order
echo "courier: starting"
python3 -S -m courier.deployment.standalone.boot
code=$?
sync
if [ $code = 0 ]; then echo "courier: DONE"; else echo "courier: stopped with exit code $code"; fi
echo "courier: press Enter to restart this computer"
read answer
reboot -f
"""
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_ARROW = re.compile(r"(?:=> )?(/\S+) \(0x")


class Tree:
    """The files of an initrd: path -> (mode, bytes), or the target of a link."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes]] = {}

    def put(self, path: str, data: bytes, *, program: bool = False) -> None:
        """Put a file at a path without a slash at its begin."""
        self._entries[path] = (stat.S_IFREG | (0o755 if program else 0o644), data)

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link."""
        self._entries[path] = (stat.S_IFLNK | 0o777, target.encode())

    def add_program(self, source: Path, path: str) -> None:
        """Put a program, and the shared libraries that it is linked with, each where it is found."""
        self.put(path, stripped(source), program=True)
        self.add_libraries(source)

    def add_libraries(self, source: Path) -> None:
        """Put the shared libraries that a program or library is linked with."""
        found = subprocess.run(["ldd", source], check=False, capture_output=True, text=True)
        for line in found.stdout.splitlines():
            if (match := _ARROW.search(line)) is None:
                continue
            library = Path(match[1])
            # The loader looks for them in its usual folders, wherever they were here.
            place = match[1][1:] if "=>" not in line else f"usr/lib/{library.name}"
            if place not in self._entries:
                self.put(place, stripped(library), program=True)

    def archive(self) -> bytes:
        """The archive in the format that the kernel unpacks (cpio, newc), parents before children."""
        folders = {str(above) for path in self._entries for above in Path(path).parents if str(above) != "."}
        entries = dict.fromkeys(folders, (stat.S_IFDIR | 0o755, b"")) | self._entries
        pieces = [_member(n, path, *entries[path]) for n, path in enumerate(sorted(entries), 1)]
        pieces.append(_member(0, "TRAILER!!!", 0, b""))
        return b"".join(pieces)


def stripped(path: Path) -> bytes:
    """A program or library without what is for debugging only, where ``strip`` is at hand."""
    if shutil.which("strip") is None:
        return path.read_bytes()
    with tempfile.NamedTemporaryFile() as out:
        done = subprocess.run(["strip", "--strip-unneeded", "-o", out.name, path], check=False, capture_output=True)
        return path.read_bytes() if done.returncode else Path(out.name).read_bytes()


def _member(number: int, path: str, mode: int, data: bytes) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def add_kernel(tree: Tree, package: Path, folder: Path) -> bytes:
    """Put the modules of a kernel's Debian package into the tree, in the order they are loaded; returns the kernel."""
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    (kernel,) = (folder / "boot").glob("vmlinuz-*")
    found = {_plain(path): path for path in sorted(folder.rglob("*.ko"))}
    if not found:
        raise SystemExit(f"{package} has no modules that this script reads (*.ko)")
    order = list(_with_needed(MODULES, found))
    for name in order:
        tree.put(f"lib/modules/{name}.ko", found[name].read_bytes())
    tree.put("lib/modules/order", "".join(f"{name}.ko\n" for name in order).encode())
    return kernel.read_bytes()


def _plain(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")


def _with_needed(names: Iterable[str], found: dict[str, Path]) -> Iterator[str]:
    """The modules, each after those that it needs; what the kernel does not have is passed over."""
    seen: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        plain = name.replace("-", "_")
        if plain in seen or plain not in found:
            return
        seen.add(plain)
        match = _DEPENDS.search(b"\0" + found[plain].read_bytes())
        for needed in match[1].decode().split(",") if match else ():
            yield from visit(needed)
        yield plain

    for name in names:
        yield from visit(name)


def add_python(tree: Tree) -> None:
    """Put the Python that runs this script into the tree, its standard library, courier, and what courier needs."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    tree.add_program(Path(sys.executable).resolve(), f"usr/bin/{version}")
    tree.link("bin/python3", f"/usr/bin/{version}")
    paths = sysconfig.get_paths()
    for standard in sorted({Path(paths["stdlib"]), Path(paths["platstdlib"])}):
        _add_package(tree, standard, f"usr/lib/{version}")
    extensions = Path(paths["stdlib"]) / "lib-dynload"
    for library in sorted(extensions.glob("*.so")):
        if not LEFT_OUT.fullmatch(library.name):
            tree.add_libraries(library)
    for name in ("courier", "formats", *LIBRARIES, *MAY_BE_MISSING):
        _add_module(tree, name, must=name not in MAY_BE_MISSING)


def _add_module(tree: Tree, name: str, *, must: bool) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None:
        if must:
            raise SystemExit(f"{name} is not in the environment of {sys.executable}: install courier into it")
        return
    if spec.submodule_search_locations:
        for place in spec.submodule_search_locations:
            _add_package(tree, Path(place), f"usr/lib/courier/{name}")
    elif spec.origin:
        _add_file(tree, Path(spec.origin), f"usr/lib/courier/{Path(spec.origin).name}")


def _add_package(tree: Tree, folder: Path, place: str) -> None:
    for path in sorted(folder.iterdir()):
        if LEFT_OUT.fullmatch(path.name):
            continue
        if path.is_dir():
            _add_package(tree, path, f"{place}/{path.name}")
        else:
            _add_file(tree, path, f"{place}/{path.name}")


def _add_file(tree: Tree, path: Path, place: str) -> None:
    """Put a module as byte code, which starts faster; an extension with the libraries that it needs; data as it is."""
    if path.suffix == ".py":
        with tempfile.NamedTemporaryFile(suffix=".pyc") as out:
            py_compile.compile(
                str(path),
                out.name,
                f"/{place}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            tree.put(f"{place}c", Path(out.name).read_bytes())
    elif path.suffix == ".so":
        tree.put(place, stripped(path), program=True)
        if "lib-dynload" not in place:
            tree.add_libraries(path)
    elif path.suffix not in (".pyi", ".a", ".pyc", ".h", ".c"):
        tree.put(place, path.read_bytes())


def compressed(data: bytes) -> bytes:
    """The archive in Zstandard, which every kernel since 5.9 unpacks fast."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.compress(data, level=15)


def make(
    out: Path, *, kernel_package: Path, busybox: Path, card: Path | None = None, programs: Iterable[Path] = ()
) -> None:
    """Write ``vmlinuz`` and ``initrd.img`` into the folder ``out``."""
    tree = Tree()
    with tempfile.TemporaryDirectory() as folder:
        kernel = add_kernel(tree, kernel_package, Path(folder))
    tree.put("bin/busybox", busybox.read_bytes(), program=True)
    for applet in ("sh", "mount", "umount", "insmod", "sync", "reboot", "poweroff", "mkdir", "ls", "cat", "dmesg"):
        tree.link(f"bin/{applet}", "busybox")
    add_python(tree)
    for program in programs:
        tree.add_program(program.resolve(), f"usr/bin/{program.name}")
    if card is not None:
        tree.put("etc/courier/card.json", card.read_bytes())
    tree.put("init", INIT.encode(), program=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "vmlinuz").write_bytes(kernel)
    (out / "initrd.img").write_bytes(compressed(tree.archive()))


def main() -> None:
    """Read the command line and make the image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--kernel-package", type=Path, required=True, help="Debian package of a kernel (linux-image-...)"
    )
    parser.add_argument("--busybox", type=Path, default=Path("/bin/busybox"), help="a static busybox")
    parser.add_argument("--card", type=Path, help="card of the site whose media it starts; others are refused then")
    parser.add_argument("--program", type=Path, action="append", default=[], help="a program that sequences need")
    parser.add_argument("--out", type=Path, required=True, help="folder for vmlinuz and initrd.img")
    told = parser.parse_args()
    make(
        told.out,
        kernel_package=told.kernel_package,
        busybox=told.busybox,
        card=told.card,
        programs=told.program,
    )
    for name in ("vmlinuz", "initrd.img"):
        print(f"{told.out / name}: {(told.out / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
