"""Extended attributes of files whose state is captured: those of users, and access control lists.

Others (``security.``, ``trusted.``) belong to the system that they were made on, and are counted as not kept.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence

from formats.documents.state import MAX_ATTRIBUTES, escape, unescape

_KEPT = ("user.", "system.posix_acl_")
_BY_ITSELF = "security.selinux"


def attributes_of(descriptor: int, not_kept: MutableMapping[str, int]) -> tuple[tuple[str, bytes], ...]:
    """The attributes of an open file or folder, by name; what is not kept is counted in ``not_kept``."""
    if not hasattr(os, "listxattr"):
        return ()
    found, size = [], 0
    try:
        for name in sorted(os.listxattr(descriptor)):
            value = os.getxattr(descriptor, name) if name.startswith(_KEPT) else b""
            size += len(name) + len(value)
            if name.startswith(_KEPT) and size <= MAX_ATTRIBUTES:
                found.append((escape(os.fsencode(name)), value))
            elif name != _BY_ITSELF:
                not_kept["attributes"] = not_kept.get("attributes", 0) + 1
    except OSError:
        return ()  # a file system without them
    return tuple(found)


def set_attributes(descriptor: int, attributes: Sequence[tuple[str, bytes]]) -> int:
    """Give an open file or folder its attributes; return how many the system did not take."""
    if not attributes:
        return 0
    if not hasattr(os, "setxattr"):
        return len(attributes)
    lost = 0
    for name, value in attributes:
        try:
            if name.startswith(_KEPT):
                os.setxattr(descriptor, os.fsdecode(unescape(name)), value)
            else:
                lost += 1
        except OSError:
            lost += 1
    return lost
