"""Documents: what a parcel, a volume and a message say, each a frozen record with its bytes and its parser.

A signed document's bytes are canonical JSON (`formats.records`); its ``format`` field names it, ``courier-NAME/MAJOR``.
Fields a release does not know are ignored, so that documents may gain fields within one major version.
"""
