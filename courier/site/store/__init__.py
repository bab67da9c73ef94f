"""The package store: single-instance content by SHA-256."""
