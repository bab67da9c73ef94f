"""Messages are encrypted: the name they travel by, their recipient, and the seed of their keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; messages that were queued before travel unencrypted."""
    op.add_column("message", sa.Column("name", sa.String(64), nullable=False, server_default=""))
    op.add_column("message", sa.Column("recipient", sa.Text(), nullable=False, server_default=""))
    op.add_column("message", sa.Column("seed", sa.LargeBinary(), nullable=False, server_default=sa.text("''")))
    op.get_bind().execute(sa.text("UPDATE message SET name = sha256, seed = :none"), {"none": b""})
    op.create_index("ix_message_name", "message", ["direction", "name"])
