"""Measured silicon beside the simulation.

Reads from: rows of `measured/` and the catalogue, through `scenario`. Gives to: `cli`.
"""
