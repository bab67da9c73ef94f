"""The daily care of a site: its status and metrics, its backup, and the health of its home."""
