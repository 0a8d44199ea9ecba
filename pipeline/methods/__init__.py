"""Which parts go: one pruning method, one file (or one folder where a paper needs more).

`base` has the interface, `registry` the table of methods, `bases` what several methods share. Import from the
rooms; this file imports nothing.
"""
