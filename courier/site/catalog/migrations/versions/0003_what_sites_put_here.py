"""How much each other site has put here is counted, and which site passed a custody entry on is known."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_KEPT = (
    ("definition", "site"),
    ("notice", "substr(parcel, 1, 3)"),
    ("retired", "substr(package, 1, 3)"),
    ("letter", "site"),
)


def upgrade() -> None:
    """Add table and column, and count what is here; who passed older custody entries on is not known any more."""
    op.add_column("custody", sa.Column("source", sa.String(3), nullable=False, server_default=""))
    op.create_index("ix_custody_source", "custody", ["parcel", "source"])
    op.create_table(
        "guest", sa.Column("site", sa.String(3), primary_key=True), sa.Column("bytes", sa.BigInteger(), nullable=False)
    )
    parts = " UNION ALL ".join(f"SELECT {site} AS site, length(envelope) + 512 AS size FROM {t}" for t, site in _KEPT)
    op.execute(f"INSERT INTO guest (site, bytes) SELECT site, SUM(size) FROM ({parts}) AS kept GROUP BY site")
