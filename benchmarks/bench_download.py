"""Downloads from one point: `python benchmarks/bench_download.py` (`--help` shows sizes, rounds and clients).

One image and many small files are fetched by `courier download --priority foreground`, `aria2c` and `curl` from the
same nginx on loopback, and by `rsync` from its daemon over the same folder; a second row is `courier download` from
`courier point serve`. The others get what ours does: their files are flushed, and `openssl dgst -sha256` reads them.
Printed are ratios (how many times as fast as the fastest other) and peak memory. With ``--clients`` that many clients
at one time fetch the small package from `courier point serve`, every one is compared byte for byte, and the memory of
the server is read before and after.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

COURIER = [sys.executable, "-m", "courier"]
SMALL_BYTES = 3000
"""Bytes of a small file, on average."""


def courier(*words: object, home: Path | None = None) -> None:
    """Run a command of ours, silently."""
    more = [] if home is None else ["--home", str(home)]
    subprocess.run([*COURIER, *map(str, words), *more, "-q"], check=True, stdin=subprocess.DEVNULL)


def make_files(folder: Path, *, size: int, files: int) -> None:
    """``image/image.wim`` of ``size`` bytes and ``small/`` with so many files."""
    dice = random.Random(1)
    (folder / "image").mkdir(parents=True)
    with (folder / "image" / "image.wim").open("wb") as out:
        for _ in range(size >> 20):
            out.write(dice.randbytes(1 << 20))
    for n in range(files):
        path = folder / "small" / f"{n // 500:03}" / f"{n:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(dice.randrange(1, 2 * SMALL_BYTES)))


def make_point(root: Path) -> None:
    """A site whose point has the image as HQ100001 and the small files as HQ100002."""
    home = root / "HQ1"
    courier("init", "--site", "HQ1", "--name", "HQ", home=home)
    courier("site", "card", "--out", root / "HQ1.card", home=home)
    courier("point", "add", "P1", root / "point", "--reserve", "1MB", "--max-connections", "1000", home=home)
    for name in ("image", "small"):
        courier("package", "add", root / "files" / name, "--name", name, home=home)
    for package in ("HQ100001", "HQ100002"):
        courier("point", "distribute", package, "--point", "P1", home=home)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running(words: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server, once it listens, while the block runs."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def nginx_words(root: Path, port: int) -> list[str]:
    """How nginx is started on the point's folder."""
    conf = root / "nginx.conf"
    text = subprocess.run(
        [*COURIER, "point", "config", "P1", "--nginx", "--bind", f"127.0.0.1:{port}", "--home", str(root / "HQ1")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    conf.write_text(text)
    user = "user root; " if os.geteuid() == 0 else ""
    return ["nginx", "-e", str(root / "log"), "-c", str(conf), "-g", f"{user}daemon off; pid {root}/pid;"]


def contents(root: Path, name: str) -> list[tuple[str, str]]:
    """(path in the point's folder, path in the package) of the files of one package."""
    found = []
    for path in sorted((root / "files" / name).rglob("*")):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found.append((f"content/{digest[:2]}/{digest}", path.relative_to(root / "files" / name).as_posix()))
    return found


def flushed_and_read(folder: Path) -> None:
    """What the others need beside: a flush, and the digests of all files."""
    os.sync()
    names = "\0".join(str(path) for path in folder.rglob("*") if path.is_file())
    subprocess.run(
        ["xargs", "-0", "openssl", "dgst", "-sha256"],
        input=names.encode(),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def by_courier(root: Path, url: str, package: str, target: Path) -> None:
    """Our download, which verifies and flushes by itself."""
    words = ("download", package, "--from", url, "--card", root / "HQ1.card", "--to", target)
    courier(*words, "--priority", "foreground")


def by_aria2c(files: list[tuple[str, str]], url: str, target: Path) -> None:
    """aria2c, four connections to a file and sixteen files at one time."""
    lines = "".join(f"{url}/{path}\n  out={name}\n" for path, name in files)
    words = ["aria2c", "-q", "-x4", "-s4", "-j16", "--file-allocation=none"]
    subprocess.run([*words, "-d", str(target), "-i", "-"], input=lines.encode(), check=True)
    flushed_and_read(target)


def by_curl(files: list[tuple[str, str]], url: str, target: Path) -> None:
    """curl, with sixteen transfers at one time."""
    lines = "".join(f'url = "{url}/{path}"\noutput = "{target}/{name}"\n' for path, name in files)
    words = ["curl", "-s", "--no-progress-meter", "--fail", "--create-dirs", "-Z", "--parallel-max", "16", "-K", "-"]
    subprocess.run(words, input=lines.encode(), check=True, stdout=subprocess.DEVNULL)
    flushed_and_read(target)


def by_rsync(port: int, name: str, target: Path) -> None:
    """rsync from its daemon."""
    subprocess.run(["rsync", "-rW", f"rsync://127.0.0.1:{port}/files/{name}/", str(target)], check=True)
    flushed_and_read(target)


def measured(work: Callable[[Path], None], folder: Path) -> tuple[float, int]:
    """Seconds of a download into a new folder, and the peak memory of its largest process in KiB."""
    target = folder / "target"
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    child = os.fork()
    if child == 0:
        begun = time.monotonic()
        try:
            work(target)
        except BaseException as error:
            print(f"failed: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        (folder / "measured").write_text(f"{seconds} {peak}")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit("a download failed")
    said = (folder / "measured").read_text().split()
    return float(said[0]), int(said[1])


def compare(root: Path, folder: Path, *, rounds: int, ports: tuple[int, int, int]) -> None:
    """Measure all of them, and print the best round of each."""
    nginx, rsync, own = (f"http://127.0.0.1:{ports[0]}", ports[1], f"http://127.0.0.1:{ports[2]}")
    for name, package in (("image", "HQ100001"), ("small", "HQ100002")):
        files = contents(root, name)
        works: dict[str, Callable[[Path], None]] = {
            "courier": partial(by_courier, root, nginx, package),
            "courier from courier": partial(by_courier, root, own, package),
            "aria2c": partial(by_aria2c, files, nginx),
            "curl": partial(by_curl, files, nginx),
            "rsync": partial(by_rsync, rsync, name),
        }
        best: dict[str, tuple[float, int]] = {}
        for _ in range(rounds):
            for one, work in works.items():
                found = measured(work, folder)
                best[one] = min(found, best.get(one, found))
        fastest = min(best[one][0] for one in ("aria2c", "curl", "rsync"))
        print(f"{name}: {len(files):,} files")
        for one, (seconds, peak) in best.items():
            print(f"  {one:22}{seconds:8.2f} s  {fastest / seconds:5.2f} of the fastest other  {peak >> 10:5} MiB")


def memory_of(process: subprocess.Popen[bytes]) -> int:
    """MiB of memory that a process has now."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) >> 10 for line in text.splitlines() if line.startswith("VmRSS"))


def many_clients(root: Path, folder: Path, server: subprocess.Popen[bytes], url: str, clients: int) -> None:
    """So many clients at one time, in threads of this process; each one's files are compared."""
    import threading

    from courier.distribution.download_pace import Unpaced
    from courier.distribution.download_plan import read_cards
    from courier.distribution.download_run import Wish, download_to_folder
    from courier.distribution.download_shared import Manner
    from courier.distribution.http_source import http_source
    from courier.distribution.source import Patience

    wanted = {path.relative_to(root / "files" / "small"): path.read_bytes() for path in files_of(root / "files/small")}

    @contextlib.contextmanager
    def silent(_title: str, _total: int) -> Iterator[Callable[[int], None]]:
        yield lambda _: None

    def fetch(number: int) -> bool:
        target = folder / f"client{number}"
        source = http_source(url, patience=Patience(answer=300, stall=300, span=600))
        wish = Wish(
            package="HQ100002",
            version=None,
            points=(source,),
            cards=read_cards([root / "HQ1.card"]),
            manner=Manner(pace=Unpaced(), connections=1, retry_for=900),
        )
        download_to_folder(wish, target, stop=threading.Event(), progress=silent)
        good = {path.relative_to(target): path.read_bytes() for path in files_of(target)} == wanted
        shutil.rmtree(target)
        return good

    before = memory_of(server)
    begun = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        good = sum(pool.map(fetch, range(clients)))
    print(f"{clients} clients at one time: {good} got all bytes right, in {time.monotonic() - begun:.0f} s")
    print(f"  memory of the server: {before} MiB before, {memory_of(server)} MiB after")


def files_of(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def main() -> None:
    """Make the point, serve it, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the image (%(default)s)")
    parser.add_argument("--files", type=int, default=20_000, help="small files (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts (%(default)s)")
    parser.add_argument("--clients", type=int, default=0, help="clients at one time at the end (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work; needs four times the bytes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name)
        work = root / "work"
        work.mkdir()
        make_files(root / "files", size=options.size << 20, files=options.files)
        make_point(root)
        ports = (free_port(), free_port(), free_port())
        conf = root / "rsyncd.conf"
        conf.write_text(f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n[files]\npath = {root}/files\n")
        served = [*COURIER, "point", "serve", "P1", "--bind", f"127.0.0.1:{ports[2]}", "--home", str(root / "HQ1")]
        with (
            running(nginx_words(root, ports[0]), ports[0]),
            running(["rsync", "--daemon", "--no-detach", f"--port={ports[1]}", f"--config={conf}"], ports[1]),
            running(served, ports[2]) as server,
        ):
            if options.rounds:
                compare(root, work, rounds=options.rounds, ports=ports)
            if options.clients:
                many_clients(root, work, server, f"http://127.0.0.1:{ports[2]}", options.clients)


if __name__ == "__main__":
    main()
