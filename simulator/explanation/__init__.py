"""Why a latency is what it is: the parts of it, what each number of the hardware changes, and what would buy most.

Reads from: `simulation` and what it reads. Gives to: `report`, `api`.
"""
