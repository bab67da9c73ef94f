"""The formats of a parcel: documents, archives, images, tapes, encryption and parity.

Everything here takes bytes and open binary files, never paths, and knows no clock, network or site. This package alone
is enough to read the media of a parcel.
"""
