"""What is run: a chip, a runtime, streams of workloads with rates and deadlines, other traffic; and what came out.

Reads from: `catalog` and everything below it. Gives to: `cli`, `search`, `sweep`; `report` draws its results.
"""
