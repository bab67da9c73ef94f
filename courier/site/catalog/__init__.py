"""The catalogue: what a site knows, in SQL (SQLite by default, PostgreSQL by URL), through SQLAlchemy Core.

`open_catalogue` brings the schema up to date; the rooms beside it hold the statements, one subject each. Every
function of those rooms takes a connection, so that a journey decides what is one transaction.
"""

from courier.site.catalog.database import Catalogue, open_catalogue

__all__ = ["Catalogue", "open_catalogue"]
