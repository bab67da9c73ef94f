"""The network channel: how signed messages travel between sites. One room a transport; all move the same messages."""
