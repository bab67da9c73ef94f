"""The deployment policy: all that one computer needs to know to run its task sequence, signed by its site.

A client has no site's home. It gets this document as a file, and the site's card (docs/decisions/0030-deployment.md).
It holds secrets of the one computer: whoever has it may read what is captured for that computer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from formats.documents.fields import Issued, PackageRef, Sender
from formats.documents.kind import DocumentKind
from formats.documents.point import ClassName, PointName
from formats.errors import MalformedError
from formats.records import OPTIONAL, Document, Key, Record, Time, base64_text, items, matching, one_each, text

MAX_SEQUENCE = 1 << 18
"""Characters of the longest text of a task sequence."""
MAX_PACKAGES = 1000
MAX_POINTS = 1000
MAX_VARIABLES = 1000
MAX_MACS = 64

Option = Literal["download-all", "as-needed", "run-from-point"]
"""How content reaches the client: all of it into the cache first, each package when a step needs it, or never as a
whole: read from the point while it is used."""
DeploymentId = Annotated[str, matching("[A-Z0-9]{3}-D[0-9]{5,7}")]
"""Such as HQ1-D00001: the site that made the deployment, and a number that only grows."""
ComputerName = Annotated[str, matching("[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")]
"""A host name of one label (RFC 1123, 2.1), compared without regard to case."""
Guid = Annotated[str, matching("([0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12})?")]
"""An SMBIOS GUID in capitals as the firmware shows it to people, or empty."""
Mac = Annotated[str, matching("[0-9A-F]{2}(:[0-9A-F]{2}){5}")]
MigrationId = Annotated[str, matching("[0-9a-f]{32}")]
"""One capture of one computer's state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Variable(Record):
    name: Annotated[str, text(255)]
    value: Annotated[str, text(4096)]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployedComputer(Record):
    """The computer that the document is for. ``client_class``: of its cache; empty for none."""

    name: ComputerName
    guid: Guid
    macs: Annotated[tuple[Mac, ...], items(0, MAX_MACS)]
    client_class: Annotated[ClassName | None, Key("class"), OPTIONAL] = None
    variables: Annotated[Mapping[str, str], one_each(_Variable, "name", "value", most=MAX_VARIABLES)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReachablePoint(Record):
    """A distribution point: ``address`` is the URL or the folder at which clients reach it."""

    point: PointName
    address: Annotated[str, text(1000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class StatePlace(Record):
    """Where the computer's state goes to, or comes from: a folder of the state migration point called ``point``.

    ``migration`` names what was or will be captured from the computer ``source`` for ``destination``; None where
    nothing was captured yet and this document's computer only restores. ``recipients``: age recipients that a capture
    is encrypted to. ``identity``: the age identity that opens what is restored; None where this computer only captures.
    """

    point: PointName
    path: Annotated[str, text(4096)]
    restore_only: bool
    min_free: Annotated[str, text(40)]
    source: ComputerName
    destination: ComputerName
    migration: Annotated[MigrationId | None, OPTIONAL] = None
    recipients: Annotated[tuple[Annotated[str, text(200)], ...], items(0, 16)]
    identity: Annotated[str | None, text(200), OPTIONAL] = None

    def __repr__(self) -> str:
        return f"StatePlace({self.point}, {self.source} to {self.destination})"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentPolicy(Document):
    """What the computer ``computer`` is to do for the deployment ``deployment`` of ``site``.

    ``computer``: None on stand-alone media, which serve any computer. ``sequence``: the text of the task sequence, in
    TOML. ``packages``: all that it uses, with the versions that were checked. ``points``: the nearest first. A run
    begins neither before ``available_ns`` nor at or after ``expires_ns``; at ``deadline_ns`` it begins without being
    asked for (UTC; None for none). ``status_key``: authenticates the status messages of this computer; empty where
    none are sent.
    """

    NAME = "deployment"

    site: Sender
    deployment: DeploymentId
    issued_ns: Issued
    computer: Annotated[DeployedComputer | None, OPTIONAL] = None
    sequence: Annotated[str, text(MAX_SEQUENCE)]
    option: Option
    packages: Annotated[tuple[PackageRef, ...], items(0, MAX_PACKAGES)]
    points: Annotated[tuple[ReachablePoint, ...], items(0, MAX_POINTS)]
    state: Annotated[StatePlace | None, OPTIONAL] = None
    status_key: Annotated[bytes, base64_text(100)]
    available_ns: Annotated[Time | None, Key("available"), OPTIONAL] = None
    deadline_ns: Annotated[Time | None, Key("deadline"), OPTIONAL] = None
    expires_ns: Annotated[Time | None, Key("expires"), OPTIONAL] = None

    def check(self) -> None:
        """Raise `MalformedError` for a deployment of another site, or packages that contradict each other."""
        if not self.deployment.startswith(f"{self.site}-"):
            raise MalformedError("is of another site", place="deployment")
        held = [(item.package, item.version) for item in self.packages]
        if held != sorted(set(held)):
            raise MalformedError("each once, in order", place="packages")

    def __repr__(self) -> str:
        return f"DeploymentPolicy({self.deployment}, {self.computer.name if self.computer else 'any computer'})"


KIND = DocumentKind(
    document=DeploymentPolicy,
    title="deployment policy",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The policy, as the trust rules know it."""
TYPE = KIND.type
