"""Planning: network or courier, what a test does to a line, disk space, and how many distribution points.

Judgement stands in pure modules, which take sizes, rates and times as arguments. What it rests on is gathered in
modules of their own: from the catalogue, the planner of parcels, the reports of other sites, or a test of the line.
"""
