"""Packages: into the store, checked, out of it, removed, retired."""
