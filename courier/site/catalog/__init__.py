"""The catalogue: what a site knows, in SQL (SQLite by default, PostgreSQL by URL), through SQLAlchemy Core.

`open_catalogue` brings the schema up to date. The other modules hold the statements, one subject each; their functions
take a connection, so that the caller decides what is one transaction.
"""

from courier.site.catalog.database import Catalogue, open_catalogue

__all__ = ["Catalogue", "open_catalogue"]
