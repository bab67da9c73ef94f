"""Packages in a site's store: added, found, exported, verified, removed and retired."""
