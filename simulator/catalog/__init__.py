"""The catalogue: finds YAML objects by kind and name, reads them strictly, and validates them into specs.

Reads from: YAML files; `units`, `errors`, `sourced` and the specs. Gives to: `scenario`, `exploration`, `sweep`, `cli`.
What a spec means is said where the spec is defined (`chip`, `runtime`, `technology`, `workload`, `scenario`,
`study`).
"""

from simulator.catalog.catalog import (
    Catalog,
    load_chip,
    load_memory,
    load_runtime,
    load_scenario,
    load_study,
    load_technology,
    load_workload,
    schema,
)
from simulator.catalog.files import ENVIRONMENT_VARIABLE, FOLDER, Kind
from simulator.document.override import parse_assignments

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "FOLDER",
    "Catalog",
    "Kind",
    "load_chip",
    "load_memory",
    "load_runtime",
    "load_scenario",
    "load_study",
    "load_technology",
    "load_workload",
    "parse_assignments",
    "schema",
]
