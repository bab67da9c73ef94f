"""Deltas: contents that are made of pieces of other contents, which the receiver holds, and of new bytes.

`rows` says what a recipe is and judges it; `rebuild` makes a content by one. `cut`, `match` and `encode` find a recipe
for a content and its bases. How a sender finds recipes is no part of the format: a reader needs none of it.
"""
