"""Which model to build: the loss law and its fit, spaces of architectures, and the search for the best of them.

Not called `search`, because that is the function `simulator.search`, and a sub-package takes the place of a function of
its name as soon as it is imported.
Reads from: YAML and CSV files of the user, `simulation`. Gives to: `report`, `cli`.
"""
