"""The courier sender parcel toolkit: what sites and operators do with parcels (see docs/)."""

__version__ = "0.1.0"
