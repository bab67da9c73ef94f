"""Every kind of document that travels by network has one handler, and no other kind has any."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest

import formats.documents
from courier.channel.handlers import Handler, handlers_by_type
from courier.cli.messages import MESSAGE_HANDLERS
from formats.documents import card, custody, deployment, label, packing, point, standalone, token
from formats.documents.kind import DocumentKind

ON_MEDIA = {packing.KIND.type, label.KIND.type, standalone.KIND.type}
"""Documents that lie on media, and come by no message."""
IN_BATCHES = {custody.KIND.type}
"""Documents that travel inside others."""
AT_POINTS = {point.KIND.type}
"""Documents that clients fetch from a distribution point."""
TO_COMPUTERS = {deployment.KIND.type}
"""Documents that a computer gets as a file."""
ON_LABELS = {token.KIND.type}
"""Documents that are printed, and typed or scanned."""


def all_kinds() -> list[DocumentKind[Any]]:
    names = [module.name for module in pkgutil.iter_modules(formats.documents.__path__)]
    modules = [importlib.import_module(f"formats.documents.{name}") for name in names]
    return [value for module in modules for value in vars(module).values() if isinstance(value, DocumentKind)]


def test_every_kind_that_travels_by_network_has_one_handler() -> None:
    types = [kind.type for kind in all_kinds()]
    assert len(types) == len(set(types)) > 15
    assert MESSAGE_HANDLERS.keys() == set(types) - ON_MEDIA - IN_BATCHES - AT_POINTS - TO_COMPUTERS - ON_LABELS
    assert all(handler.kind.type == name for name, handler in MESSAGE_HANDLERS.items())


def test_only_the_site_card_is_verified_by_rules_of_its_own() -> None:
    assert [name for name, one in MESSAGE_HANDLERS.items() if one.verify is not None] == [card.KIND.type]


def test_two_handlers_for_one_kind_are_refused() -> None:
    handler = Handler(kind=card.KIND, act=lambda *_: "")
    with pytest.raises(ValueError, match="two handlers"):
        handlers_by_type(handler, handler)
