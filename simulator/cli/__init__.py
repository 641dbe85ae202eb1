"""The command `roadline`: parses, calls and prints; decides nothing.

Only what `--help` needs is imported at the top of these modules; a command imports its own work.
Reads from: the command line. Gives to: the terminal.
"""

from simulator.cli.entry import main

__all__ = ["main"]
