"""A site's home: settings, keys, trust, other sites, the outbox, the package store and the catalogue."""
