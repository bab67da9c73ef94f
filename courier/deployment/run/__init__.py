"""The reference client: it runs a task sequence on one computer, into a folder or a disk image, without a site."""
