"""The bytes of a parcel: documents, containers and protection.

Everything here takes bytes and open binary files, never paths; there is no clock, no network and no site.
Anyone can use this package alone to read our media.
"""
