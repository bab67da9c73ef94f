"""Distribution points: plain folders of package content that clients fetch from, and the server of such a folder."""
