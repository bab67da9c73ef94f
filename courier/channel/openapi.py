"""The OpenAPI 3.1 description of the channel's server, made from its operations.

``docs/channel-openapi.json`` is `description` written out; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from courier.site.outbox import PART


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One operation of the server, described.

    ``path`` has ``{message}`` where a message's name stands. ``act`` is the method that does it. ``answers``: what each
    status of a response means. ``public`` operations ask for no signature; those with a ``body`` take one. ``headers``
    and ``query``: header fields, and the parameter of the query, that it needs.
    """

    name: str
    method: str
    path: str
    act: Callable[..., Any]
    summary: str
    answers: dict[int, str]
    public: bool = False
    body: bool = False
    headers: tuple[str, ...] = ()
    query: str = ""


_ALWAYS = {
    400: "Not a request of this channel.",
    401: "Not signed by a site that is known here.",
    429: "Too fast; or `paused`, by the limits of this address.",
}
_SIGNED = ("Courier-From", "Courier-To", "Content-Digest", "Signature-Input", "Signature")


def description(operations: Iterable[Operation]) -> dict[str, Any]:
    """The OpenAPI description of ``operations``."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
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


def _described(operation: Operation) -> dict[str, Any]:
    answers = operation.answers if operation.public else operation.answers | _ALWAYS
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {str(code): {"description": text} for code, text in sorted(answers.items())},
        "parameters": _parameters(operation),
    }
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    if operation.public:
        described["security"] = []
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{message}" in operation.path:
        schema: dict[str, object] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
        text = "SHA-256 of the message."
        found.append({"name": "message", "in": "path", "required": True, "schema": schema, "description": text})
    names = [*([] if operation.public else _SIGNED), *operation.headers]
    found += [{"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in names]
    if operation.query:
        schema = {"type": "integer", "minimum": 0, "maximum": PART}
        found.append({"name": operation.query, "in": "query", "required": True, "schema": schema})
    return found
