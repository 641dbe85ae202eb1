"""Pictures and traces of finished runs: files for people and for viewers, made from a Timeline or a chip.

Reads from: `timeline`, `metrics`, `chip`. Gives to: `cli`. The only package that imports matplotlib.
"""
