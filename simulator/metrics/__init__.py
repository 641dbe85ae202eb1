"""What a finished run says: latency, causes, use of resources, streams. Pure functions of a Timeline.

Reads from: `timeline`, `program`. Gives to: `report`, `scenario`, `exploration`.
"""
