"""How long pages of the dashboard take: `python benchmarks/bench_dashboard.py [--history N] [--events N] [--rounds N]`.

A home is made as the tests make it, with a history of parcels and of events of one of them, and its dashboard is opened
in Debian's Chromium. A page is loaded when the browser says so (the load event); seconds are in the middle of the
rounds. The floor is the same browser with a page of one line that the standard library's server serves.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / part) for part in ("", "tests/support")]

from browser import chromium  # noqa: E402
from dashboard_client import serving  # noqa: E402
from dashboard_home import make_dashboard_home  # noqa: E402

LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
TARGET_MS = 300
OTHER_PAGES = ("/sites", "/packages", "/channel")


class OneLine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><html lang=en><title>one line</title><p>one line")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def one_line() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneLine)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def add_events(home: Path, parcel: str, count: int) -> None:
    with contextlib.closing(sqlite3.connect(home / "catalogue.sqlite")) as rows, rows:
        rows.executemany(
            "INSERT INTO log (parcel, at_ns, operator, event, text) VALUES (?, ?, 'kim', 'note', ?)",
            ((parcel, n, f"event {n}") for n in range(count)),
        )
        rows.executemany(
            "INSERT INTO message VALUES "
            "('out', ?, 'BR1', 't', ?, 'why', x'00', ?, 1, 1, 'high', 1, 1, 1, 'n', 'r', x'')",
            ((f"{n:064x}", ("delivered", "dead", "settled", "settled")[n % 4], n) for n in range(count)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=int, default=200, help="parcels of the past")
    parser.add_argument("--events", type=int, default=100_000, help="events of one parcel, and as many messages")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = make_dashboard_home(root, history=options.history)
        parcel = made.parcels["arriving"]
        add_events(made.hq.path, parcel, options.events)
        url = stack.enter_context(serving(made.hq.path))
        base = url.partition("/enter")[0]
        page = stack.enter_context(chromium()).new_page()
        page.goto(url)
        page.wait_for_url(f"{base}/")

        def measure(address: str) -> float:
            times = []
            for _ in range(options.rounds):
                page.goto(address)
                times.append(float(page.evaluate(LOADED)))
            return statistics.median(times)

        print(f"one line, from the standard library's server: {measure(stack.enter_context(one_line())):.0f} ms")
        for path in ("/", "/parcels", f"/parcels/{parcel}", f"/parcels/{parcel}?log=2000", *OTHER_PAGES):
            took = measure(base + path)
            print(f"{path}: {took:.0f} ms{'' if took <= TARGET_MS else f' (more than {TARGET_MS})'}")


if __name__ == "__main__":
    main()
