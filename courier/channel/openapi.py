"""The interface of the channel's server, as an OpenAPI 3.1 description; `ROUTES` is what the server dispatches by.

``docs/channel-openapi.json`` is `description` written out; a test holds them together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from courier.channel.transport import MAX_MESSAGE
from courier.site.outbox import PART


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One operation: ``path`` with ``{message}`` for a message's name; ``public`` ones ask for no signature."""

    name: str
    method: str
    path: str
    summary: str
    answers: dict[int, str]
    public: bool = False
    body: bool = False

    def match(self, path: str) -> str | None:
        """The message's name in a path (empty where the path has none), or None when it is another path."""
        pattern = re.escape(self.path).replace(r"\{message\}", "([0-9a-f]{64})")
        found = re.fullmatch(pattern, path)
        return None if found is None else (found.groups() or ("",))[0]


ROUTES = (
    Route(
        name="health",
        method="GET",
        path="/v1/health",
        summary="Whether the server is up; says nothing else.",
        answers={200: 'Up: {"status":"ok"}.'},
        public=True,
    ),
    Route(
        name="openapi",
        method="GET",
        path="/v1/openapi.json",
        summary="This description.",
        answers={200: "This description."},
        public=True,
    ),
    Route(
        name="list",
        method="GET",
        path="/v1/messages",
        summary="Messages that wait for the asking site, high priority first, 256 at most.",
        answers={200: '{"messages":[{"message":HEX,"size":BYTES}],"more":BOOL}'},
    ),
    Route(
        name="read",
        method="GET",
        path="/v1/messages/{message}",
        summary=f"A part of a message: one byte range, {PART} bytes at most; a shorter part may be given.",
        answers={206: "The part, with Content-Range.", 404: "No such message waits.", 416: "Not one byte range."},
    ),
    Route(
        name="done",
        method="DELETE",
        path="/v1/messages/{message}",
        summary="The asking site has it; until its acknowledgement comes it may be offered again.",
        answers={204: "Noted."},
    ),
    Route(
        name="write",
        method="PUT",
        path="/v1/messages/{message}",
        summary=f"Bring a part of a message ({PART} bytes at most, of {MAX_MESSAGE} at most), with Content-Range.",
        answers={
            201: "The message is whole, has its digest and is on disk.",
            202: 'Kept: {"offset":BYTES} is where the next part begins.',
            409: 'The upload stands elsewhere: {"offset":BYTES}.',
            422: "The whole is not what its name says; it was given up.",
            507: "Too much of this site's waits already.",
        },
        body=True,
    ),
    Route(
        name="offset",
        method="GET",
        path="/v1/uploads/{message}",
        summary="How much of a message the server has.",
        answers={200: '{"offset":BYTES,"complete":BOOL}'},
    ),
    Route(
        name="download",
        method="GET",
        path="/v1/probe",
        summary=f"Measure: the query bytes=N gives N bytes ({PART} at most).",
        answers={200: "N bytes of no meaning."},
    ),
    Route(
        name="upload",
        method="POST",
        path="/v1/probe",
        summary=f"Measure: takes {PART} bytes at most and forgets them.",
        answers={204: "Forgotten."},
        body=True,
    ),
)

_ALWAYS = {400: "Not a request of this channel.", 401: "Not signed by a site that is known here.", 429: "Too fast."}
_SIGNED = ("Courier-From", "Courier-To", "Content-Digest", "Signature-Input", "Signature")


def description() -> dict[str, Any]:
    """The OpenAPI description."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        answers = route.answers if route.public else route.answers | _ALWAYS
        operation: dict[str, Any] = {
            "operationId": route.name,
            "summary": route.summary,
            "responses": {str(code): {"description": text} for code, text in sorted(answers.items())},
            "parameters": _parameters(route),
        }
        if route.body:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        if route.public:
            operation["security"] = []
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Courier channel",
            "version": "1",
            "description": "Store and forward of signed messages between sites. Requests are signed by the asking "
            "site's key as HTTP Message Signatures (RFC 9421); to anyone else every path answers 401 and nothing more.",
        },
        "paths": paths,
        "security": [{"siteKey": []}],
        "components": {
            "securitySchemes": {
                "siteKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Signature",
                    "description": "RFC 9421 by the key of the site card, label courier, tag courier-channel-1.",
                }
            }
        },
    }


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{message}" in route.path:
        schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
        text = "SHA-256 of the message."
        found.append({"name": "message", "in": "path", "required": True, "schema": schema, "description": text})
    names = [] if route.public else list(_SIGNED)
    names += {"read": ["Range"], "write": ["Content-Range"]}.get(route.name, [])
    found += [{"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in names]
    if route.name == "download":
        schema = {"type": "integer", "minimum": 0, "maximum": PART}  # type: ignore[dict-item]
        found.append({"name": "bytes", "in": "query", "required": True, "schema": schema})
    return found
