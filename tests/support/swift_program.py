"""A whole OpenStack Swift in one process, with its S3 interface: run by Debian's Python, which alone has it.

    /usr/bin/python3 swift_program.py FOLDER

Account, container, object and proxy server listen on loopback, at ports of their own; one device below FOLDER keeps
everything. A line on standard output gives the port of the proxy; when standard input ends, so does the program.
It is Swift's own code, started as its own functional tests start it; nothing of it is replaced but syslog.
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from eventlet import wsgi  # noqa: E402
from swift.common import utils  # noqa: E402

REGION, AHEAD = "eu-central-1", "ahead"
_SERVERS = ("account", "container", "object")
_PROXY = """\
[DEFAULT]
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats bulk s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_courier_hq = secret .admin
user_courier_reader = secret
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:slo]
use = egg:swift#slo
[filter:bulk]
use = egg:swift#bulk
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
"""
_STORAGE = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_level = ERROR
[pipeline:main]
pipeline = server
[app:server]
use = egg:swift#{kind}
"""


def _ring(folder: Path, kind: str, port: int) -> None:
    from swift.common.ring import RingBuilder

    builder = RingBuilder(2, 1, 0)
    place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port, "device": "d1"}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "meta": "", **place})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


App = Callable[[dict[str, Any], Callable[..., Any]], Any]
"""A WSGI application."""


def _uncached(app: App, cache: object) -> App:
    """Swift asks memcached, and goes on where that does not answer; here there is none."""

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ["swift.cache"] = cache
        return app(environ, start_response)

    return call


def _clock(ahead: Path) -> None:
    """Let the clock of this computer be ahead by the seconds in a file, as long as that is there."""
    true_time = time.time
    time.time = lambda: true_time() + (int(ahead.read_text()) if ahead.exists() else 0)


def main(folder: Path) -> None:
    """Serve from ``folder`` until standard input ends."""
    _clock(folder / AHEAD)
    (folder / "devices" / "d1").mkdir(parents=True)
    conf = folder / "swift.conf"
    conf.write_text("[swift-hash]\nswift_hash_path_suffix = courier\n[storage-policy:0]\nname = one\ndefault = yes\n")
    utils.SWIFT_CONF_FILE = str(conf)
    utils.validate_hash_conf()
    from swift.common.memcached import MemcacheRing
    from swift.common.storage_policy import reload_storage_policies
    from swift.common.utils import get_logger
    from swift.common.wsgi import SwiftHttpProtocol, loadapp

    reload_storage_policies()
    logger = get_logger({"log_level": "ERROR"}, "swift")
    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in (*_SERVERS, "proxy")}
    for listening in sockets.values():
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # otherwise each answer waits 40 ms
    for kind in _SERVERS:
        _ring(folder, kind, sockets[kind].getsockname()[1])
    for kind, listening in sockets.items():
        path = folder / f"{kind}.conf"
        path.write_text((_PROXY if kind == "proxy" else _STORAGE).format(folder=folder, kind=kind, region=REGION))
        app = _uncached(loadapp(str(path), {}), MemcacheRing([], logger=logger))
        how = {"protocol": SwiftHttpProtocol, "capitalize_response_headers": False}
        eventlet.spawn(wsgi.server, listening, app, logger, **how)
    print(sockets["proxy"].getsockname()[1], flush=True)
    while eventlet.tpool.execute(os.read, 0, 100):
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
