"""Distribution: content where clients fetch it: points, branch points, the client's cache and downloads."""
