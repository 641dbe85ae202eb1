"""Running a scenario: names become values, values a Program, the Program a Timeline, the Timeline a result.

Reads from: `catalog`, `scenario`, and everything below them. Gives to: `cli`, `validation`; `report` draws its results.
"""
