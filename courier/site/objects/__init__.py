"""The content store of a site in a bucket of an S3-compatible object store (decision 0036)."""
