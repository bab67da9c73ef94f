"""Computers, deployments to them, and the state of their users."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "computer",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("guid", sa.String(36), nullable=False),
        sa.Column("client_class", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("protected", sa.Integer(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_computer_guid", "computer", ["guid"])
    op.create_table(
        "computer_mac",
        sa.Column("mac", sa.String(17), primary_key=True),
        sa.Column("computer", sa.String(63), primary_key=True),
    )
    op.create_index("ix_computer_mac_computer", "computer_mac", ["computer"])
    op.create_table(
        "computer_variable",
        sa.Column("computer", sa.String(63), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "shared_mac",
        sa.Column("mac", sa.String(17), primary_key=True),
        sa.Column("note", sa.Text(), nullable=False),
    )
    op.create_table(
        "association",
        sa.Column("source", sa.String(63), primary_key=True),
        sa.Column("destination", sa.String(63), nullable=False),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_association_destination", "association", ["destination"])
    op.create_table(
        "deployment",
        sa.Column("deployment", sa.String(12), primary_key=True),
        sa.Column("package", sa.String(8), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Text(), nullable=False),
        sa.Column("pinned", sa.Text(), nullable=False),
        sa.Column("option", sa.String(16), nullable=False),
        sa.Column("available_ns", sa.BigInteger(), nullable=True),
        sa.Column("deadline_ns", sa.BigInteger(), nullable=True),
        sa.Column("expires_ns", sa.BigInteger(), nullable=True),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("removed_ns", sa.BigInteger(), nullable=True),
    )
    op.create_table(
        "deployment_target",
        sa.Column("deployment", sa.String(12), primary_key=True),
        sa.Column("computer", sa.String(63), primary_key=True),
        sa.Column("status_key", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_deployment_target_computer", "deployment_target", ["computer"])
    op.create_table(
        "deployment_status",
        sa.Column("deployment", sa.String(12), primary_key=True),
        sa.Column("computer", sa.String(63), primary_key=True),
        sa.Column("run", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
    )
    op.create_table(
        "state_point",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("max_clients", sa.Integer(), nullable=False),
        sa.Column("min_free", sa.Text(), nullable=False),
        sa.Column("restore_only", sa.Integer(), nullable=False),
        sa.Column("delete_after", sa.BigInteger(), nullable=False),
        sa.Column("added_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "state_migration",
        sa.Column("migration", sa.String(32), primary_key=True),
        sa.Column("point", sa.String(64), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("destination", sa.String(63), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.BigInteger(), nullable=False),
        sa.Column("begun_ns", sa.BigInteger(), nullable=False),
        sa.Column("captured_ns", sa.BigInteger(), nullable=True),
        sa.Column("restored_ns", sa.BigInteger(), nullable=True),
        sa.Column("released_ns", sa.BigInteger(), nullable=True),
        sa.Column("deleted_ns", sa.BigInteger(), nullable=True),
    )
    op.create_index("ix_state_migration_point", "state_migration", ["point"])
    op.create_index("ix_state_migration_source", "state_migration", ["source"])
    op.create_index("ix_state_migration_destination", "state_migration", ["destination"])
