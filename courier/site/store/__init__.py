"""The package store: the content of packages, each kept once, known by its SHA-256."""
