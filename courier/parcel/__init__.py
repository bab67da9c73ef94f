"""What the sending and the receiving side share of a parcel."""
