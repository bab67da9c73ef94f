"""A point served by us and by nginx: `python benchmarks/bench_point.py [--size MB] [--files N] [--rounds N]`.

A site is made, and a point with a package of one large and many small files (0 to 8 KiB). ``courier point serve`` and
nginx, by the configuration that ``courier point config --nginx`` prints, serve the same folder on loopback sockets.
curl fetches the large file whole; then parts of 1 MiB of it, and then every small file, each over one connection that
is kept; then four curls at once fetch every small file. The servers take turns; seconds are the best of the rounds,
memory is the peak of the server and its children in MiB (Linux: /proc/PID/status).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PART = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that runs: its base URL, and its process."""

    url: str
    pid: int


def courier(home: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "courier", *map(str, arguments), "--home", str(home)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def do(home: Path, *arguments: object) -> str:
    done = subprocess.run(
        courier(home, *arguments),
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    return done.stdout


def make_point(work: Path, size: int, files: int) -> None:
    tree = work / "tree"
    tree.mkdir()
    chance = random.Random(5)
    with (tree / "image.wim").open("wb") as out:
        for _ in range(size >> 20):
            out.write(chance.randbytes(1 << 20))
    for number in range(files):
        folder = tree / f"{number // 1000:03}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:06}").write_bytes(chance.randbytes(chance.randrange(1, 8192)))
    home = work / "home"
    do(home, "init", "--site", "HQ1", "--name", "Benchmark")
    do(home, "package", "add", tree, "--name", "Benchmark")
    shutil.rmtree(tree)
    do(home, "point", "add", "P1", work / "point", "--reserve", "0%", "--max-connections", "100")
    do(home, "point", "distribute", "HQ100001", "--point", "P1")


@contextlib.contextmanager
def ours(work: Path) -> Iterator[Server]:
    process = subprocess.Popen(
        courier(work / "home", "point", "serve", "P1", "--bind", "127.0.0.1:0"),
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        yield Server(url=re.findall(r"http://\S+:\d+", process.stdout.readline())[0], pid=process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextlib.contextmanager
def nginx(work: Path, program: str) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = work / "nginx"
    folder.mkdir()
    printed = do(work / "home", "point", "config", "P1", "--nginx", "--bind", f"127.0.0.1:{port}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    spools = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    conf = folder / "point.conf"
    # Without its limit of requests over one connection, so that each server keeps the one there is.
    conf.write_text(printed.replace("http {", f"http {{ {spools} keepalive_requests 1000000;", 1))
    user = "user root; " if os.geteuid() == 0 else ""
    more = f"{user}daemon off; pid {folder}/pid; error_log {folder}/log;"
    process = subprocess.Popen([program, "-p", folder, "-e", folder / "log", "-c", conf, "-g", more])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield Server(url=f"http://127.0.0.1:{port}", pid=process.pid)
    finally:
        process.terminate()
        process.wait(20)


def fetch(config: str, *, times: int = 1) -> float:
    """Seconds that so many curls at once take for the same list of transfers."""
    command = ["curl", "--silent", "--show-error", "--fail", "--config", "-"]
    started = time.perf_counter()
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(times)]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(config.encode())
        process.stdin.close()
    if any(process.wait() for process in running):
        raise SystemExit("curl failed")
    return time.perf_counter() - started


def transfers(url: str, paths: Sequence[str]) -> str:
    return "".join(f'url = "{url}/{path}"\noutput = "/dev/null"\n' for path in paths)


def parts(url: str, path: str, size: int) -> str:
    return "next\n".join(
        f'silent\nfail\nrange = "{at}-{at + PART - 1}"\nurl = "{url}/{path}"\noutput = "/dev/null"\n'
        for at in range(0, size, PART)
    )


def peak_of(pid: int) -> float:
    """The peak memory of a process and its children, in MiB; 0 where the system does not tell."""
    total = 0
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (str(pid), *children):
            total += int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{one}/status").read_text())[0])
    return total / 1024


def compare(work: Path, rounds: int, program: str) -> None:
    contents = sorted((work / "point" / "content").rglob("*"), key=lambda path: path.stat().st_size)
    paths = [path.relative_to(work / "point").as_posix() for path in contents if path.is_file()]
    large = max((path for path in contents if path.is_file()), key=lambda path: path.stat().st_size)
    large_path, size = large.relative_to(work / "point").as_posix(), large.stat().st_size
    small = [path for path in paths if path != large_path]
    with ours(work) as one, nginx(work, program) as other:
        names = {"courier": one, "nginx": other}
        found: dict[tuple[str, str], list[float]] = {}
        for _ in range(rounds):
            for name, server in names.items():
                tasks = {
                    "large file": (transfers(server.url, [large_path]), 1),
                    "parts of 1 MiB": (parts(server.url, large_path, size), 1),
                    f"{len(small)} small files": (transfers(server.url, small), 1),
                    "the same, four at once": (transfers(server.url, small), 4),
                }
                for task, (config, times) in tasks.items():
                    found.setdefault((task, name), []).append(fetch(config, times=times))
        for task in tasks:
            mine, theirs = min(found[task, "courier"]), min(found[task, "nginx"])
            print(f"{task:24} courier {mine:7.3f} s  nginx {theirs:7.3f} s  {theirs / mine:5.2f} of nginx's rate")
        for name, server in names.items():
            print(f"{name:24} peak {peak_of(server.pid):.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, metavar="MB", help="the large file, in MiB")
    parser.add_argument("--files", type=int, default=3000, metavar="N", help="small files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    options = parser.parse_args()
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")
    if program is None:
        raise SystemExit("nginx is not installed")
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        make_point(Path(work), options.size << 20, options.files)
        compare(Path(work), options.rounds, program)


if __name__ == "__main__":
    main()
