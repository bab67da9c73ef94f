"""Kinds of documents: what each is called, how it is parsed, when it says it was made, and who may sign it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Document = TypeVar("Document")


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentKind(Generic[Document]):
    """One kind of signed document; each module of `formats.documents` names its own.

    ``type`` is the DSSE payload type, ``title`` what people call it. ``parse`` turns payload bytes into the document
    and raises `FormatError`. ``made_ns`` is the time the document says it was made (UTC, nanoseconds since 1970), at
    which the signing key must have been valid. ``signer`` is the code of the only site that may sign it.
    """

    type: str
    title: str
    parse: Callable[[bytes], Document]
    made_ns: Callable[[Document], int]
    signer: Callable[[Document], str]
