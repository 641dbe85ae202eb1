"""The sheet of a study: its question, its space, and what each constraint takes away."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table

from simulator.exploration.space import Space
from simulator.report.sheet_parts import DIGITS, WIDTH, heading_line, new_table, pairs, provenance, rendered
from simulator.study import OBJECTIVES, Study
from simulator.study.domain import Value
from simulator.study.spec import FixedSizes
from simulator.units import format_quantity

_PROVENANCE = {"source", "status", "note"}


def study_sheet(study: Study, width: int = WIDTH) -> str:
    """What a study asks: chip, tokens, space, objectives, limits and applications.

    Raises:
        SpecError: when no point of the space is left.
    """
    space = Space.of(study)
    facts = [
        ("chip", study.chip),
        ("runtime", study.runtime),
        ("tokens", f"{study.prompt_tokens:,} prompt, {study.decode_tokens:,} decoded"),
        ("precision", study.precision or "varies"),
        ("loss law", study.law),
        ("compared with", study.reference or "nothing"),
        ("made small", ", ".join(OBJECTIVES[name].title for name in study.objectives)),
        ("points", f"{len(space):,} of {space.num_combinations:,} combinations"),
    ]
    parts: list[RenderableType] = [
        heading_line(study.name, study.title),
        pairs(facts),
        provenance("study", study.source, study.status, study.note),
        _space_table(study),
    ]
    for name in study.dimensions:
        dimension = getattr(study.space, name)
        if dimension.note:
            source, status = dimension.source or study.source, dimension.status or study.status
            parts.append(provenance(name, source, status, dimension.note))
    parts += [
        _constraint_table(study, space),
        _fixed_table(study.fixed),
        provenance("fixed", study.fixed.source, study.fixed.status, study.fixed.note),
    ]
    limits = study.limits.by_objective()
    if limits:
        table = new_table("Limits", "of", "at most >")
        for name, limit in limits.items():
            table.add_row(OBJECTIVES[name].title, format_quantity(limit, OBJECTIVES[name].unit, DIGITS))
        parts.append(table)
    if study.applications:
        parts.append(_application_table(study))
    published = study.published
    if published is not None:
        what = f"published: perplexity {published.perplexity_ratio:g} times that of {published.reference}"
        parts.append(provenance(what, published.source, published.status, published.note))
    return rendered(parts, width)


def _space_table(study: Study) -> Table:
    table = new_table("Space", "dimension", "values", "how many >", "status", "source")
    for name in study.dimensions:
        dimension = getattr(study.space, name)
        values = ", ".join(map(_shown, dimension.values))
        status, source = dimension.status or study.status, dimension.source or study.source
        table.add_row(name, values, str(len(dimension.values)), status, source)
    return table


def _constraint_table(study: Study, space: Space) -> Table:
    """What each constraint excludes; some combinations are excluded by several."""
    table = new_table("Constraints", "constraint", "excludes >", "of all >")
    for text in dict.fromkeys([*space.excluded, *study.rules]):
        count = space.excluded.get(text, 0)
        table.add_row(text, f"{count:,}", f"{100 * count / space.num_combinations:.1f} %")
    if not table.row_count:
        table.add_row("(none)", "0", "0.0 %")
    return table


def _fixed_table(fixed: FixedSizes) -> Table:
    table = new_table("Fixed", "size", "value >")
    for name, value in fixed.model_dump(exclude=_PROVENANCE, exclude_none=True).items():
        table.add_row(name, _shown(value))
    return table


def _application_table(study: Study) -> Table:
    table = new_table("Applications", "name", "limit of", "at most >", "status", "source", "note")
    for name, application in study.applications.items():
        ((limited, limit),) = application.by_objective().items()
        shown = format_quantity(limit, OBJECTIVES[limited].unit, DIGITS)
        row = (name, OBJECTIVES[limited].title, shown, application.status, application.source, application.note or "")
        table.add_row(*row)
    return table


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "all" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
