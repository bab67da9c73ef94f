"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "site",
        sa.Column("code", sa.String(3), primary_key=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("card", sa.LargeBinary(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.Text(), nullable=False),
        sa.Column("pinned_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "address",
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("priority", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("ca", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("tried_ns", sa.BigInteger(), nullable=True),
        sa.Column("measured", sa.Text(), nullable=False),
        sa.UniqueConstraint("site", "address"),
    )
    op.create_table(
        "package",
        sa.Column("package", sa.String(8), primary_key=True, nullable=False),
        sa.Column("version", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("listing", sa.String(64), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("holes", sa.BigInteger(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
    )
    op.create_index("ix_package_listing", "package", ["listing"])
    op.create_table(
        "definition",
        sa.Column("package", sa.String(8), primary_key=True, nullable=False),
        sa.Column("version", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("listing", sa.String(64), primary_key=True, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "notice",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("packing_list", sa.String(64), primary_key=True, nullable=False),
        sa.Column("build", sa.String(64), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "sent",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("priority", sa.String(10), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("build", sa.String(64), nullable=False),
        sa.Column("packing_list", sa.String(64), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("spares", sa.Integer(), nullable=False),
        sa.Column("redundancy", sa.String(10), nullable=False),
        sa.Column("supersedes", sa.String(10), nullable=False),
    )
    op.create_table(
        "sent_to",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
        sa.Column("confirmed_ns", sa.BigInteger(), nullable=True),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("tracking", sa.Text(), nullable=False),
        sa.Column("shipped_ns", sa.BigInteger(), nullable=True),
    )
    op.create_table(
        "sent_seal",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("edition", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("number", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
    )
    op.create_table(
        "sent_notice",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("notice", sa.String(64), primary_key=True, nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("issued_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "sent_package",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("package", sa.String(8), primary_key=True, nullable=False),
        sa.Column("version", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("listing", sa.String(64), nullable=False),
        sa.Column("definition", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "sent_volume",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("edition", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("number", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("layout", sa.String(10), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("written_ns", sa.BigInteger(), nullable=True),
    )
    op.create_table(
        "sent_medium",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("edition", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("number", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("path", sa.Text(), primary_key=True, nullable=False),
        sa.Column("written_ns", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("layout", sa.String(10), nullable=False),
    )
    op.create_table(
        "received",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("build", sa.String(64), primary_key=True, nullable=False),
        sa.Column("source", sa.String(3), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("packing_list", sa.String(64), nullable=False),
        sa.Column("hold", sa.Integer(), nullable=False),
        sa.Column("first_ns", sa.BigInteger(), nullable=False),
        sa.Column("imported_ns", sa.BigInteger(), nullable=True),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
    )
    op.create_table(
        "received_volume",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("build", sa.String(64), primary_key=True, nullable=False),
        sa.Column("edition", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("number", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("damaged_blocks", sa.BigInteger(), nullable=False),
        sa.Column("seen_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "message",
        sa.Column("direction", sa.String(3), primary_key=True, nullable=False),
        sa.Column("sha256", sa.String(64), primary_key=True, nullable=False),
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("settled_ns", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("priority", sa.String(10), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("due_ns", sa.BigInteger(), nullable=True),
        sa.Column("begun_ns", sa.BigInteger(), nullable=True),
    )
    op.create_index("ix_message_state", "message", ["direction", "state"])
    op.create_table(
        "letter",
        sa.Column("kind", sa.String(10), primary_key=True, nullable=False),
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "log",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True, nullable=False),
        sa.Column("parcel", sa.String(10), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("event", sa.String(30), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_index("ix_log_parcel", "log", ["parcel"])
    op.create_table(
        "custody",
        sa.Column("parcel", sa.String(10), primary_key=True, nullable=False),
        sa.Column("entry", sa.String(64), primary_key=True, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.Integer(), nullable=False),
        sa.Column("shared", sa.Text(), nullable=False),
    )
    op.create_index("ix_custody_due", "custody", ["due"])
    op.create_table(
        "report",
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("issued_ns", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "reported",
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("issued_ns", sa.BigInteger(), nullable=False),
        sa.Column("facts", sa.String(64), nullable=False),
        sa.Column("free", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "offer",
        sa.Column("site", sa.String(3), primary_key=True, nullable=False),
        sa.Column("package", sa.String(8), primary_key=True, nullable=False),
        sa.Column("version", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("offered_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "retired",
        sa.Column("package", sa.String(8), primary_key=True, nullable=False),
        sa.Column("version", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("retired_ns", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.String(20), primary_key=True, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
