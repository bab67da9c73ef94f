"""Kinds of documents: what each is called, how it is parsed, when it says it was made, and who may sign it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from formats.records import Document

Signed = TypeVar("Signed", bound=Document)


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentKind(Generic[Signed]):
    """One kind of signed document; each module of `formats.documents` names its own.

    ``document`` is the class of its records, ``title`` what people call it. ``made_ns`` is the time the document says
    it was made (UTC, nanoseconds since 1970), at which the signing key must have been valid. ``signer`` is the code of
    the only site that may sign it. ``raw``: raw bytes follow the line of JSON.
    """

    document: type[Signed]
    title: str
    made_ns: Callable[[Signed], int]
    signer: Callable[[Signed], str]
    raw: bool = False

    @property
    def name(self) -> str:
        """The name of its format, ``NAME`` in ``courier-NAME/1``."""
        return self.document.NAME

    @property
    def type(self) -> str:
        """Its DSSE payload type."""
        return f"application/vnd.courier.{self.name}{'' if self.raw else '+json'}"

    @property
    def parse(self) -> Callable[[bytes], Signed]:
        """Turns payload bytes into the document; raises `FormatError`."""
        return self.document.parse
