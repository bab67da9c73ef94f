"""The configuration by which nginx serves a point's folder alone, as ``courier point serve`` would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from courier.distribution.ranges import MAX_RANGES
from courier.distribution.slots import RETRY_SECONDS
from courier.errors import UsageError

_HEAD = """\
# Serves the distribution point {name}: nginx -c THIS_FILE, or put the http block's content into your own.
worker_processes auto;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 30;
    default_type application/octet-stream;
    types {{ }}
    limit_conn_zone $server_name zone=point:1m;
    server {{
        listen {listen};
        server_name point;
        root {root};
        disable_symlinks on from=$document_root;
        autoindex off;
        max_ranges {ranges};
        limit_conn point {limit};
        limit_conn_status 503;
        error_page 503 @busy;
        location @busy {{ add_header Retry-After {retry} always; return 503 "503 Service Unavailable\\n"; }}
        location / {{ return 404; }}
        location = /point.json {{
            limit_except GET {{ deny all; }}
            default_type application/json; add_header Cache-Control no-cache;
        }}
        location ~ "^/definitions/[A-Z0-9]{{3}}[0-9A-F]{{5}}-[0-9]+[.]json$" {{
            limit_except GET {{ deny all; }}
            default_type application/json; add_header Cache-Control no-cache;
        }}
        location ~ "^/(listings|blocks)/[0-9a-f]{{64}}$" {{
            limit_except GET {{ deny all; }}
            add_header Cache-Control "{immutable}";
        }}
"""
_CONTENT = """\
        location {match} {{
            limit_except GET {{ deny all; }}
            root {root};
            try_files $uri {otherwise};
            add_header Cache-Control "{immutable}";
        }}
"""
_TAIL = """\
    }
}
"""


def nginx_configuration(name: str, folders: Sequence[Path], *, listen: str, limit: int) -> str:
    """The whole configuration. ``folders``: of the point; contents are looked for in one after the other.

    ``listen``: as nginx has it, such as ``0.0.0.0:8080``. Raises `UsageError` for a path that nginx cannot be told.
    """
    from courier.distribution.application import IMMUTABLE

    roots = [_quoted(folder) for folder in folders]
    text = _HEAD.format(
        name=name,
        connections=max(512, 2 * limit),
        listen=listen,
        root=roots[0],
        ranges=MAX_RANGES,
        limit=limit,
        retry=RETRY_SECONDS,
        immutable=IMMUTABLE,
    )
    for number, root in enumerate(roots):
        match = '~ "^/content/[0-9a-f]{2}/[0-9a-f]{64}$"' if number == 0 else f"@folder{number}"
        otherwise = f"@folder{number + 1}" if number + 1 < len(roots) else "=404"
        text += _CONTENT.format(match=match, root=root, otherwise=otherwise, immutable=IMMUTABLE)
    return text + _TAIL


def _quoted(folder: Path) -> str:
    text = str(folder)
    if any(character in text for character in '"$\\\n'):
        raise UsageError(f"{text!r}: nginx takes no such path", hint='move the folder to a path without ", $ and \\')
    return f'"{text}"'
