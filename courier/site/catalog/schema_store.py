"""The tables of the catalogue about a store in a bucket, and about what several computers of a site hold in turn.

They belong to `courier.site.catalog.schema.metadata` as all others do. Sizes are bytes.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table

from courier.site.catalog.schema import metadata

stored_object = Table(
    "stored_object",
    metadata,
    Column("name", String(128), primary_key=True, comment="of an object in the bucket of the store"),
    Column("size", BigInteger, nullable=False),
    Column("gone", Integer, nullable=False, comment="1: nothing needs it, and it is to be deleted"),
)

stored_content = Table(
    "stored_content",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of a content in the bucket"),
    Column("size", BigInteger, nullable=False),
    Column("object", String(128), nullable=False, index=True, comment="the object that it lies in"),
    Column("start", BigInteger, nullable=False, comment="where in the object it begins"),
)

stored_listing = Table(
    "stored_listing",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of a listing in the bucket"),
    Column("size", BigInteger, nullable=False),
    Column("object", String(128), nullable=False),
)

damaged_content = Table(
    "damaged_content",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of what was taken out of use"),
    Column("size", BigInteger, nullable=False),
    Column("object", String(128), nullable=False),
    Column("start", BigInteger, nullable=False),
)

fence = Table(
    "fence",
    metadata,
    Column("name", String(64), primary_key=True, comment="of what is held by one command at a time"),
    Column("number", BigInteger, nullable=False, comment="how often it was taken"),
)
