"""What the site of the docs and the manual pages need beside Sphinx, MyST and Furo (docs/conf.py)."""
