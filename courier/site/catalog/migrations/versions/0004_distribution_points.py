"""Distribution points: their folders, rules, what is to go to them, and the settings of clients' caches."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "point",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("branch", sa.Integer(), nullable=False),
        sa.Column("reserve", sa.Text(), nullable=False),
        sa.Column("max_connections", sa.Integer(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("peers", sa.Text(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
        sa.Column("validated_ns", sa.BigInteger(), nullable=True),
        sa.Column("damaged", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "point_folder",
        sa.Column("point", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("path", sa.Text(), nullable=False),
    )
    op.create_table(
        "point_rule",
        sa.Column("prefix", sa.String(8), primary_key=True),
        sa.Column("point", sa.String(64), primary_key=True),
    )
    op.create_table(
        "point_due",
        sa.Column("point", sa.String(64), primary_key=True),
        sa.Column("package", sa.String(8), primary_key=True),
        sa.Column("version", sa.BigInteger(), primary_key=True),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "cache_class",
        sa.Column("client_class", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("minimum_age", sa.Integer(), nullable=False),
        sa.Column("retry", sa.Integer(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
    )
