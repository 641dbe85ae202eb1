"""The compiled core of `simulator.engine.compiled`: numbers and arrays only.

Reads from: `program`. Gives to: `engine.compiled`. `tables` is what a run reads, `state` what it changes; `rounds` the
five steps of the contract, with `jobs` and `flows`; `queues` and `shares` what they are built on; `replay` the jump
over periods that repeat exactly, found with `snapshots`; `results` the end of a run.
"""
