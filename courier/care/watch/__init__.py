"""The watch of a site: it takes in media that appear, syncs with other sites, and has people told."""
