"""The differential test: one random stream of commands through two servers, and a table of how replies compare.

stream.py makes the stream, lockstep.py drives both servers, rules.py compares, shrink.py shortens a divergence.
"""
