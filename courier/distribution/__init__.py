"""Content where clients fetch it: distribution points (plain folders), their server, and the cache of a client."""
