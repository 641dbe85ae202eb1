"""What somebody wrote: YAML read strictly, values replaced by path, and every complaint with its file and line.

Reads from: YAML text; `sourced`, `units`, `errors`. Gives to: `spec`, `catalog`. It knows no chip and no model.
"""
