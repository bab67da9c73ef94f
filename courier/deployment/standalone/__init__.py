"""Stand-alone media: sets of discs or sticks that start a computer and deploy to it without any network.

`create` makes a set, `verify` reads it back, and `boot` is what the started computer runs. A disc is at the same time
the folder of a distribution point as far as its files are whole, so the client of `courier.deployment.run` reads it as
it reads any point (docs/standalone.md, decision 0031).
"""
