"""What lies in the bucket of a store, and how often what one command holds at a time was taken."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "stored_object",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("gone", sa.Integer(), nullable=False),
    )
    op.create_table(
        "stored_content",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.String(128), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_stored_content_object", "stored_content", ["object"])
    op.create_table(
        "stored_listing",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.String(128), nullable=False),
    )
    op.create_table(
        "damaged_content",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.String(128), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "fence",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
