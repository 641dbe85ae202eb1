"""From a document to a specification, with every complaint at once; and a specification with other values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from simulator.document.complaint import Complaint, spec_error
from simulator.document.document import Document
from simulator.document.explain import complaints_about, in_order
from simulator.document.override import PLACE, overridden
from simulator.sourced import WRITTEN, Frozen

SpecT = TypeVar("SpecT", bound=Frozen)


def with_values(spec: SpecT, overrides: Mapping[str, Any]) -> SpecT:
    """A copy of a spec with values replaced and all rules checked again.

    Args:
        spec: a chip, runtime, workload or scenario.
        overrides: values by dotted path, such as `{"dram.rate": "9600 MT/s"}`; a plain value for a sourced number is
            marked as assumed, set by the user.
    Raises:
        SpecError: when a path does not exist or a value breaks a rule.
    """
    document = Document(tree=spec.model_dump(), places={(): PLACE})
    return validated(type(spec), overridden(document, type(spec), overrides), [])


def validated(spec_type: type[SpecT], document: Document, complaints: list[Complaint]) -> SpecT:
    """The specification that a document describes.

    Raises:
        SpecError: when it breaks a rule, or when there are complaints already; all of them, in the order of the lines.
    """
    spec = None
    try:
        spec = spec_type.model_validate(document.tree, context=WRITTEN)
    except ValidationError as error:
        complaints = complaints + complaints_about(error, document, spec_type)
    if spec is None or complaints:
        raise spec_error(in_order(complaints, document))
    return spec
