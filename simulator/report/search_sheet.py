"""The sheet of a search: its front, the best points for each application and beside the reference, and its grounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulator.exploration.comparison import Comparison
from simulator.exploration.exact import Indices
from simulator.exploration.reference import Reference
from simulator.exploration.result import SearchResult
from simulator.report.sheet_parts import DIGITS, WIDTH, heading_line, new_table, rendered
from simulator.units import format_quantity

MOST_ROWS: Final = 20
"""Rows of a front; a longer one is shown by so many of its points, evenly chosen."""

_TRAITS: Final[tuple[tuple[str, str, Callable[[Any], Any]], ...]] = (
    ("mixture of experts", "experts", lambda experts: experts > 1),
    ("one expert per token (top-1)", "top_k", lambda top_k: top_k == 1),
    ("FFN ratio at most 1", "ffn_ratio", lambda ratio: ratio <= 1),
    ("at most 20 layers", "layers", lambda layers: layers <= 20),
)
"""What is asked of a front: the words, the dimension that must vary for it, and the condition."""


def search_sheet(result: SearchResult, width: int = WIDTH, *, share_of_exact: float | None = None) -> str:
    """The answer to a study as text, in at most `width` columns.

    Args:
        result: the answer.
        width: columns.
        share_of_exact: share of the volume of the exact front, where a sampler found this one and it is known.
    """
    parts: list[RenderableType] = [
        heading_line(result.study.name, result.study.title),
        Text("\n".join(_headline(result, share_of_exact))),
        *_front(result),
    ]
    if result.study.applications:
        parts.append(Group(*_applications(result)))
    if result.reference is not None and any(objective.is_latency for objective in result.objectives):
        parts.append(Group(*_comparisons(result, result.reference)))
    makeup = _makeup_table(result)
    if makeup.row_count:
        parts.append(makeup)
    parts.append(Text("\n".join(_excluded(result))))
    parts.append(Group(*(Text(f"Caution: {warning}") for warning in result.warnings)))
    return rendered(parts, width)


def gain_sentence(comparison: Comparison, reference: Reference) -> str:
    """What the best point no slower than the reference wins, in one sentence."""
    objective = comparison.objective
    limit = objective.shown(reference.values[objective.key])
    difference, change = comparison.loss_difference, 100 * (comparison.perplexity_ratio - 1)
    return (
        f"at its {objective.title} ({limit}) the lowest loss is {abs(difference):.3f} nats "
        f"{'lower' if difference < 0 else 'higher'}: perplexity {change:+.1f} % by the law"
    )


# parts -----------------------------------------------------------------------------------------------------------


def _headline(result: SearchResult, share_of_exact: float | None) -> Iterator[str]:
    study, points = result.study, len(result.space)
    yield (
        f"{points:,} points on {study.chip}, runtime {study.runtime}, "
        f"{study.prompt_tokens:,} prompt and {study.decode_tokens:,} decoded tokens"
    )
    if result.sampler == "exact":
        parts = [
            f"simulated {_of(result.num_simulated, points)}{_reused(result)}",
            f"discarded by their lower bounds {_of(result.num_discarded, points)}",
        ]
    else:
        parts = [
            f"sampler {result.sampler}: simulated {_of(result.num_simulated, points)}{_reused(result)}",
            "the rest is unknown",
        ]
    parts += [
        f"{what} {_of(count, points)}"
        for what, count in (
            ("over a limit by their bound", result.num_over_limit),
            ("infeasible", result.num_infeasible),
            ("failed, so unknown", result.num_failed),
        )
        if count
    ]
    yield "; ".join(parts)
    yield "time: " + ", ".join(f"{part} {format_quantity(time_s, 's')}" for part, time_s in result.timings_s.items())
    titles = [objective.title for objective in result.objectives]
    yield f"Front in {', '.join(titles[:-1])} and {titles[-1]}: {len(result.front):,} points, {_exactness(result)}"
    if share_of_exact is not None:
        yield f"It dominates {100 * share_of_exact:.2f} % of the volume that the exact front dominates"


def _exactness(result: SearchResult) -> str:
    if result.sampler != "exact":
        return "of the points simulated"
    failed = result.num_failed
    return f"exact but for {failed:,} {'points' if failed > 1 else 'point'} that failed" if failed else "exact"


def _reused(result: SearchResult) -> str:
    return f", {result.num_reused:,} of them before" if result.num_reused else ""


def _of(count: int, points: int) -> str:
    return f"{count:,} ({_percent(count, points)})"


def _percent(count: int | np.intp, whole: int) -> str:
    return f"{100 * count / whole:.1f} %"


def _front(result: SearchResult) -> Iterator[RenderableType]:
    """What all points of the front share in one line, then the table of what differs."""
    front = result.front
    values = {name: result.space.columns[name][front].tolist() for name in result.space.dimensions}
    constant = {name: column[0] for name, column in values.items() if len(set(column)) == 1}
    if constant and len(front) > 1:
        shared = ", ".join(f"{name} {_size(value)}" for name, value in constant.items())
        yield Text(f"All points of the front have {shared}.")
    else:
        constant = {}
    names = [name for name in result.space.dimensions if name not in constant]
    table = new_table("Front", "point >", *(f"{name} >" for name in names), *_objective_columns(result))
    shown = _evenly(front, MOST_ROWS)
    for index in shown.tolist():
        table.add_row(str(index), *_sizes(result, index, names), *_amounts(result, result.values(index)))
    if result.reference is not None:
        table.add_section()
        table.add_row(
            "reference", *_reference_sizes(result.reference, names), *_amounts(result, result.reference.values)
        )
    yield table
    if len(shown) < len(front):
        yield Text(f"{len(front) - len(shown):,} more points; --csv FILE writes all")


def _applications(result: SearchResult) -> Iterator[RenderableType]:
    """For each application its limit with the best point, or why there is none."""
    yield Text("Lowest loss for each application")
    for choice in result.choices():
        limit = f"{choice.name}, {choice.objective.title} at most {choice.objective.shown(choice.limit)}"
        if choice.index is None:
            yield _indented(f"{limit}: none; {choice.reason}")
        else:
            yield _indented(f"{limit}: {_in_words(result, choice.index)}")
            yield _indented(_point(result, choice.index), 4)


def _comparisons(result: SearchResult, reference: Reference) -> Iterator[RenderableType]:
    """The best points no slower than the reference, and what others found."""
    comparisons = {comparison.objective: comparison for comparison in result.comparisons()}
    yield Text(f"Beside {reference.name}, with the tokens of the study and in {_precision(reference)}")
    for objective in result.objectives:
        if objective in comparisons:
            comparison = comparisons[objective]
            yield _indented(gain_sentence(comparison, reference))
            yield _indented(_point(result, comparison.index), 4)
        elif objective.is_latency:
            limit = objective.shown(reference.values[objective.key])
            yield _indented(f"no point with a known loss has at most its {objective.title}, {limit}")
    published = result.study.published
    if published is not None and published.reference == reference.name:
        change = 100 * (published.perplexity_ratio - 1)
        note = f"; {published.note}" if published.note else ""
        yield _indented(f"published: perplexity {change:+.2f} % ({published.status}, {published.source}{note})")


def _makeup_table(result: SearchResult) -> Table:
    """Traits of the front, beside those of all points: what a grid is full of says nothing about its front."""
    table = new_table("How the front is made up", "points with", "on the front >", "", "of all points >")
    front, columns = result.front, result.space.columns
    asked: dict[str, Any] = {}
    for words, name, has_trait in _TRAITS:
        if name in result.space.dimensions:
            asked[words] = has_trait(columns[name])
    for number in np.unique(columns["experts"]).tolist():
        asked[f"{number} experts" if number > 1 else "1 expert (dense)"] = columns["experts"] == number
    for words, holds in asked.items():
        if not holds.all() and holds.any():
            count = int(np.count_nonzero(holds[front]))
            table.add_row(
                words, f"{count:,}", _percent(count, len(front)), _percent(np.count_nonzero(holds), len(holds))
            )
    return table


def _excluded(result: SearchResult) -> Iterator[str]:
    space = result.space
    yield f"Of {space.num_combinations:,} combinations {len(space):,} keep the rules; a combination may break several:"
    for text, count in space.excluded.items():
        yield f'  {count:,} break "{text}"'


# cells -----------------------------------------------------------------------------------------------------------


def _evenly(front: Indices, most: int) -> Indices:
    """So many points of a front, from its first to its last."""
    if len(front) <= most:
        return front
    return front[np.linspace(0, len(front) - 1, most).round().astype(np.int64)]


def _objective_columns(result: SearchResult) -> list[str]:
    return [f"{objective.name} >" for objective in result.objectives]


def _sizes(result: SearchResult, index: int, names: Sequence[str]) -> list[str]:
    point = result.space.coordinates(index)
    return [_size(point[name]) for name in names]


def _amounts(result: SearchResult, values: Mapping[str, float]) -> list[str]:
    """Values of the objectives; the loss without its unit, to keep a column narrow."""
    return [objective.shown(values[objective.key]).removesuffix(" nats") for objective in result.objectives]


def _in_words(result: SearchResult, index: int) -> str:
    values = result.values(index)
    return ", ".join(f"{objective.name} {objective.shown(values[objective.key])}" for objective in result.objectives)


def _point(result: SearchResult, index: int) -> str:
    return f"point {index}: {result.space.described(index)}"


def _indented(text: str, columns: int = 2) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, columns))


def _reference_sizes(reference: Reference, names: Sequence[str]) -> list[str]:
    decoder = reference.workload.decoder
    assert decoder is not None  # a reference has one
    derived = {
        "ffn_ratio": decoder.top_k * decoder.ffn_width / decoder.hidden,
        "precision": _precision(reference),
    }
    return [_size(derived[name] if name in derived else getattr(decoder, name)) for name in names]


def _precision(reference: Reference) -> str:
    return reference.workload.pipeline[0].precision


def _size(value: object) -> str:
    if value is None or value == np.inf:
        return "all"
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)
