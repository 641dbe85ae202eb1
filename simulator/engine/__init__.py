"""When things happen: engines turn a Program into a Timeline.

Reads from: `program`. Gives to: `timeline`. The contract of every engine is `interface`; `sharing` is its mathematics
of shared channels. Importing this package loads no engine: take one from its own module, such as
`simulator.engine.reference`.
"""
