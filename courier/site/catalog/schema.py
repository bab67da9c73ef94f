"""The tables of the catalogue. A change here is a new migration in ``migrations/versions``.

Times are nanoseconds since 1970 (UTC), sizes are bytes, documents are whole signed envelopes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0006"
"""The newest migration; a catalogue at another revision is migrated when it is opened."""
VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""The table in which alembic, which migrates, keeps the revision that a catalogue is at."""

metadata = MetaData()

site = Table(
    "site",
    metadata,
    Column("code", String(3), primary_key=True),
    Column("name", Text, nullable=False),
    Column("card", LargeBinary, nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("revoked", Text, nullable=False, comment="why it is not trusted any more; empty while it is"),
    Column("pinned_ns", BigInteger, nullable=False),
)

address = Table(
    "address",
    metadata,
    Column("site", String(3), primary_key=True),
    Column("priority", Integer, primary_key=True, comment="1 is tried first"),
    Column("address", Text, nullable=False),
    Column("limits", Text, nullable=False, comment="schedule, caps, pulse and retries; empty for the defaults"),
    Column("ca", Text, nullable=False, comment="file of the certificate authority trusted for it, or empty"),
    Column("failures", Integer, nullable=False, comment="in a row"),
    Column("tried_ns", BigInteger, nullable=True, comment="when it last failed"),
    Column("measured", Text, nullable=False, comment="what `channel address test` measured, or empty"),
    UniqueConstraint("site", "address"),
)

package = Table(
    "package",
    metadata,
    Column("package", String(8), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("listing", String(64), nullable=False, index=True),
    Column("entries", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("holes", BigInteger, nullable=False, comment="how many of the bytes are zeros that take no room"),
    Column("created_ns", BigInteger, nullable=False, comment="when the version was made at its source site"),
    Column("added_ns", BigInteger, nullable=False, comment="when it entered this store"),
    Column("origin", Text, nullable=False, comment="'added', or the parcel it came with"),
)

definition = Table(
    "definition",
    metadata,
    Column("package", String(8), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("site", String(3), primary_key=True, comment="the site that signed it"),
    Column("listing", String(64), primary_key=True, comment="the content it names"),
    Column("envelope", LargeBinary, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
)

offer = Table(
    "offer",
    metadata,
    Column("site", String(3), primary_key=True, comment="the site that is told of the package"),
    Column("package", String(8), primary_key=True),
    Column("version", BigInteger, primary_key=True, comment="0: every version"),
    Column("offered_ns", BigInteger, nullable=False),
)

notice = Table(
    "notice",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("packing_list", String(64), primary_key=True),
    Column("build", String(64), nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
)

sent = Table(
    "sent",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("priority", String(10), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("build", String(64), nullable=False),
    Column("packing_list", String(64), nullable=False, comment="of the newest edition"),
    Column("edition", Integer, nullable=False),
    Column("spares", Integer, nullable=False, comment="spare volumes asked for"),
    Column("redundancy", String(10), nullable=False, comment="parity on each medium, as asked for"),
    Column("supersedes", String(10), nullable=False, comment="the parcel it replaces, or empty"),
)

sent_to = Table(
    "sent_to",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("site", String(3), primary_key=True),
    Column("receipt", LargeBinary, nullable=True),
    Column("confirmed_ns", BigInteger, nullable=True),
    Column("copy", Integer, nullable=False, comment="number of the set of media that goes there; 0: none yet"),
    Column("carrier", Text, nullable=False),
    Column("tracking", Text, nullable=False),
    Column("shipped_ns", BigInteger, nullable=True, comment="when it was last shipped there"),
)

sent_seal = Table(
    "sent_seal",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("site", String(3), primary_key=True, comment="the destination"),
    Column("edition", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, comment="of the volume"),
    Column("serial", Text, nullable=False),
)

sent_notice = Table(
    "sent_notice",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("site", String(3), primary_key=True, comment="the destination"),
    Column("notice", String(64), primary_key=True, comment="SHA-256 of the envelope that was queued"),
    Column("edition", Integer, nullable=False),
    Column("issued_ns", BigInteger, nullable=False),
)

sent_package = Table(
    "sent_package",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("package", String(8), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("listing", String(64), nullable=False),
    Column("definition", LargeBinary, nullable=False, comment="payload, signed when the parcel is shipped"),
)

sent_volume = Table(
    "sent_volume",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("edition", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String(20), nullable=False),
    Column("layout", String(10), nullable=False),
    Column("path", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False, comment="on the medium, file system included"),
    Column("written_ns", BigInteger, nullable=True),
)

sent_medium = Table(
    "sent_medium",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("edition", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, comment="of the volume"),
    Column("path", Text, primary_key=True, comment="where it was written; a tape drive gets many"),
    Column("written_ns", BigInteger, primary_key=True),
    Column("layout", String(10), nullable=False),
)

received = Table(
    "received",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("build", String(64), primary_key=True),
    Column("source", String(3), nullable=False),
    Column("state", String(20), nullable=False),
    Column("packing_list", String(64), nullable=False),
    Column("hold", Integer, nullable=False, comment="1: not imported until the operator says so"),
    Column("first_ns", BigInteger, nullable=False),
    Column("imported_ns", BigInteger, nullable=True),
    Column("receipt", LargeBinary, nullable=True),
)

received_volume = Table(
    "received_volume",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("build", String(64), primary_key=True),
    Column("edition", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String(20), nullable=False),
    Column("damaged_blocks", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False),
)

message = Table(
    "message",
    metadata,
    Column("direction", String(3), primary_key=True, comment="'out' or 'in'"),
    Column("sha256", String(64), primary_key=True, comment="of the envelope's bytes"),
    Column("site", String(3), primary_key=True, comment="out: for whom; in: from whom ('' if unknown)"),
    Column("type", Text, nullable=False),
    Column("state", String(20), nullable=False, comment="a state of courier.site.catalog.messages.Message"),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("settled_ns", BigInteger, nullable=True),
    Column("attempts", Integer, nullable=False),
    Column("priority", String(10), nullable=False),
    Column("size", BigInteger, nullable=False, comment="of the message, also when its body is not kept any more"),
    Column("due_ns", BigInteger, nullable=True, comment="out: not before; in: an acknowledgement is owed since"),
    Column("begun_ns", BigInteger, nullable=True, comment="out: a ship notice may have left since"),
    Column("name", String(64), nullable=False, comment="SHA-256 of the bytes that travel"),
    Column("recipient", Text, nullable=False, comment="out: whom it is encrypted to; empty: not encrypted"),
    Column("seed", LargeBinary, nullable=False, comment="out: what the keys of its encryption are made from; secret"),
    Index("ix_message_state", "direction", "state"),
    Index("ix_message_name", "direction", "name"),
)

letter = Table(
    "letter",
    metadata,
    Column("kind", String(10), primary_key=True, comment="recall, arrival, lost or release"),
    Column("parcel", String(10), primary_key=True),
    Column("site", String(3), primary_key=True, comment="the other site"),
    Column("envelope", LargeBinary, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
)

log = Table(
    "log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("parcel", String(10), nullable=False, index=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("operator", Text, nullable=False),
    Column("event", String(30), nullable=False),
    Column("text", Text, nullable=False),
)

custody = Table(
    "custody",
    metadata,
    Column("parcel", String(10), primary_key=True),
    Column("entry", String(64), primary_key=True, comment="SHA-256 of its payload"),
    Column("envelope", LargeBinary, nullable=False),
    Column("received_ns", BigInteger, nullable=False, comment="when it was written or came here"),
    Column("due", Integer, nullable=False, index=True, comment="1: it may have to be passed on"),
    Column("shared", Text, nullable=False, comment="sites that have it, as far as known"),
    Column("source", String(3), nullable=False, comment="the site that passed it on; empty: written or merged here"),
    Index("ix_custody_source", "parcel", "source"),
)

guest = Table(
    "guest",
    metadata,
    Column("site", String(3), primary_key=True),
    Column("bytes", BigInteger, nullable=False, comment="of documents by that site that are kept here"),
)

report = Table(
    "report",
    metadata,
    Column("site", String(3), primary_key=True),
    Column("issued_ns", BigInteger, nullable=False),
    Column("envelope", LargeBinary, nullable=False, comment="that site's newest report to us"),
)

reported = Table(
    "reported",
    metadata,
    Column("site", String(3), primary_key=True),
    Column("issued_ns", BigInteger, nullable=False, comment="when we last reported to that site"),
    Column("facts", String(64), nullable=False, comment="SHA-256 of what was reported, but for the space"),
    Column("free", BigInteger, nullable=False, comment="bytes free then"),
)

retired = Table(
    "retired",
    metadata,
    Column("package", String(8), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("retired_ns", BigInteger, nullable=False),
    Column("envelope", LargeBinary, nullable=False, comment="the retirement, signed by the source site"),
)

point = Table(
    "point",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("url", Text, nullable=False, comment="where clients reach it, or empty"),
    Column("branch", Integer, nullable=False, comment="1: on a computer of the client class"),
    Column("reserve", Text, nullable=False, comment="left free on each of its disks: 10% or a number of bytes"),
    Column("max_connections", Integer, nullable=False),
    Column("group_name", Text, nullable=False, comment="the group of clients that it serves, or empty"),
    Column("peers", Text, nullable=False, comment="URLs of other computers of the branch, one a line"),
    Column("serial", BigInteger, nullable=False, comment="of the newest statement; 0 before the first"),
    Column("statement", LargeBinary, nullable=False, comment="envelope of the newest statement, or empty"),
    Column("added_ns", BigInteger, nullable=False),
    Column("validated_ns", BigInteger, nullable=True, comment="when all of it was last read back"),
    Column("damaged", BigInteger, nullable=False, comment="files found damaged then"),
)

point_folder = Table(
    "point_folder",
    metadata,
    Column("point", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, comment="0: the folder with the statement"),
    Column("path", Text, nullable=False),
)

point_rule = Table(
    "point_rule",
    metadata,
    Column("prefix", String(8), primary_key=True, comment="the beginning of package IDs"),
    Column("point", String(64), primary_key=True),
)

point_due = Table(
    "point_due",
    metadata,
    Column("point", String(64), primary_key=True),
    Column("package", String(8), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("at_ns", BigInteger, nullable=False, comment="when it was imported; it is to go to the point"),
)

cache_class = Table(
    "cache_class",
    metadata,
    Column("client_class", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("minimum_age", Integer, nullable=False, comment="minutes"),
    Column("retry", Integer, nullable=False, comment="minutes"),
    Column("retries", Integer, nullable=False),
)

computer = Table(
    "computer",
    metadata,
    Column("name", String(63), primary_key=True, comment="as first written; compared without regard to case"),
    Column("guid", String(36), nullable=False, index=True, comment="SMBIOS GUID, or empty"),
    Column("client_class", Text, nullable=False, comment="class of its cache, or empty"),
    Column("group_name", Text, nullable=False, comment="the group of points that serve it, or empty"),
    Column("protected", Integer, nullable=False, comment="1: never the target of a sequence that erases a disk"),
    Column("identity", Text, nullable=False, comment="its secret key for state, or empty before it needs one"),
    Column("added_ns", BigInteger, nullable=False),
)

computer_mac = Table(
    "computer_mac",
    metadata,
    Column("mac", String(17), primary_key=True),
    Column("computer", String(63), primary_key=True, index=True),
)

computer_variable = Table(
    "computer_variable",
    metadata,
    Column("computer", String(63), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

shared_mac = Table(
    "shared_mac",
    metadata,
    Column("mac", String(17), primary_key=True, comment="of a dock or dongle: identifies no computer"),
    Column("note", Text, nullable=False),
)

association = Table(
    "association",
    metadata,
    Column("source", String(63), primary_key=True, comment="the computer whose state is captured"),
    Column("destination", String(63), nullable=False, index=True, comment="the computer that gets it"),
    Column("made_ns", BigInteger, nullable=False),
)

deployment = Table(
    "deployment",
    metadata,
    Column("deployment", String(12), primary_key=True, comment="such as HQ1-D00001"),
    Column("package", String(8), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sequence", Text, nullable=False, comment="the text of the task sequence"),
    Column("pinned", Text, nullable=False, comment="package versions that it uses, one a line: ID:VERSION LISTING"),
    Column("option", String(16), nullable=False),
    Column("available_ns", BigInteger, nullable=True),
    Column("deadline_ns", BigInteger, nullable=True),
    Column("expires_ns", BigInteger, nullable=True),
    Column("created_ns", BigInteger, nullable=False),
    Column("removed_ns", BigInteger, nullable=True),
)

deployment_target = Table(
    "deployment_target",
    metadata,
    Column("deployment", String(12), primary_key=True),
    Column("computer", String(63), primary_key=True, index=True),
    Column("status_key", LargeBinary, nullable=False, comment="by which its status messages are known"),
)

deployment_status = Table(
    "deployment_status",
    metadata,
    Column("deployment", String(12), primary_key=True),
    Column("computer", String(63), primary_key=True),
    Column("run", String(32), primary_key=True, comment="of the client; another run starts anew"),
    Column("number", Integer, primary_key=True, comment="of the message, from 1"),
    Column("at_ns", BigInteger, nullable=False, comment="by the client's clock"),
    Column("step", Integer, nullable=False, comment="0 for the sequence as a whole"),
    Column("outcome", String(16), nullable=False, comment="started, done, skipped or failed"),
    Column("message", Text, nullable=False),
)

state_point = Table(
    "state_point",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("path", Text, nullable=False),
    Column("max_clients", Integer, nullable=False),
    Column("min_free", Text, nullable=False, comment="10% or a number of bytes"),
    Column("restore_only", Integer, nullable=False),
    Column("delete_after", BigInteger, nullable=False, comment="seconds after release; 0: at once"),
    Column("added_ns", BigInteger, nullable=False),
)

state_migration = Table(
    "state_migration",
    metadata,
    Column("migration", String(32), primary_key=True),
    Column("point", String(64), nullable=False, index=True),
    Column("source", String(63), nullable=False, index=True),
    Column("destination", String(63), nullable=False, index=True),
    Column("state", String(16), nullable=False, comment="begun, partial, complete, restored, released or deleted"),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False, comment="files that could not be read"),
    Column("begun_ns", BigInteger, nullable=False),
    Column("captured_ns", BigInteger, nullable=True),
    Column("restored_ns", BigInteger, nullable=True),
    Column("released_ns", BigInteger, nullable=True),
    Column("deleted_ns", BigInteger, nullable=True),
)

counter = Table(
    "counter",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("value", BigInteger, nullable=False),
)


def values_of(record: object) -> dict[str, object]:
    """The values of a row, by column: a record has the fields that its table has."""
    return {name: getattr(record, name) for name in record.__slots__}  # type: ignore[attr-defined]
