"""Power, energy, area and cost: what a run and a chip take, from the chip, its technology and a Timeline.

Reads from: `chip`, `technology`, `program`, `timeline`. Gives to: `simulation`, `report`.
"""
