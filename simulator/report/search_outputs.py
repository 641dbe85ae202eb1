"""The files of a search and of a fitted law: tables, pictures, workloads and laws."""

# ruff: noqa: PLC0415 - matplotlib takes seconds to import, and a search without pictures does not need it

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from simulator.exploration.exact import Floats
from simulator.exploration.fit_law import LawFit
from simulator.exploration.result import SearchResult
from simulator.exploration.roofline import roofline_latencies
from simulator.report.files import PICTURE_SUFFIXES, new_file
from simulator.report.law_sheet import write_law
from simulator.report.outputs import check_files, check_folder
from simulator.report.workload_file import write_workload

_YAML_SUFFIXES = (".yaml", ".yml")


def check_search_outputs(*, csv: Path | None, plot: Path | None, export: Path | None) -> None:
    """Refuses before a long search what could not be written after it.

    Raises:
        SpecError: when a suffix is of no known format, or two outputs have one name.
        OutputError: when a file or the folder cannot be written.
    """
    check_files((csv, (".csv",), "a table"), (plot, PICTURE_SUFFIXES, "a picture"))
    check_folder(export)


def write_search_outputs(
    result: SearchResult,
    *,
    csv: Path | None,
    plot: Path | None,
    export: Path | None,
    roofline: bool = False,
    only_chosen: bool = False,
) -> Iterator[str]:
    """Writes the files that were asked for, and says of each where it is as soon as it is there.

    Args:
        result: the answer to a study.
        csv: file for all points.
        plot: file for the picture.
        export: folder for workloads.
        roofline: whether the picture has the front of the roofline of two numbers too.
        only_chosen: whether only the best points for applications and beside the reference become workloads.
    Raises:
        OutputError: when one cannot be written.
    """
    if csv is not None:
        write_points(result, csv)
        yield str(csv)
    if plot is not None:
        from simulator.report.front_plot import draw_front

        draw_front(result, plot, roofline=_roofline(result) if roofline else None)
        yield str(plot)
    if export is not None:
        workloads = export_workloads(result, export, only_chosen=only_chosen)
        yield f"{len(workloads)} workload{'s' if len(workloads) != 1 else ''} to {export}"


def write_points(result: SearchResult, path: Path) -> None:
    """Writes a row per point as CSV, numbers in base units; what is not known is empty.

    Raises:
        OutputError: when the file cannot be written; then there is no file.
    """
    rows = result.rows()
    first = next(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, first, lineterminator="\n")
    writer.writeheader()
    writer.writerow(first)
    writer.writerows(rows)
    with new_file(path) as file:
        file.write(text.getvalue().encode("utf-8"))


def export_workloads(result: SearchResult, folder: Path, *, only_chosen: bool = False) -> list[Path]:
    """Writes a workload for each point of the front, or for each point that a search chooses.

    Raises:
        OutputError: when one cannot be written.
    """
    study = result.study
    paths = []
    for name, index in (_chosen(result) if only_chosen else _on_front(result)).items():
        title = f"Point {index} of {study.name}"
        values = result.values(index)
        found = ", ".join(f"{item.title} {item.shown(values[item.key])}" for item in result.objectives)
        path = folder / f"{name}.yaml"
        remarks = (
            f"{title}: {found} on {study.chip} with the runtime {study.runtime}.",
            f"{result.space.described(index)}.",
        )
        write_workload(result.workload(index, name, title), path, remarks=remarks)
        paths.append(path)
    return paths


def check_law_outputs(*, law: Path | None, plot: Path | None) -> None:
    """Refuses before a fit what could not be written after it; raises as `check_search_outputs`."""
    check_files((law, _YAML_SUFFIXES, "a law"), (plot, PICTURE_SUFFIXES, "a picture"))


def write_law_outputs(fit: LawFit, *, law: Path | None, plot: Path | None) -> Iterator[Path]:
    """Writes the files of a fit that were asked for, and yields the path of each as soon as it is there.

    Raises:
        OutputError: when one cannot be written.
    """
    if law is not None:
        write_law(fit.law, law)
        yield law
    if plot is not None:
        from simulator.report.law_plot import draw_law_fit

        draw_law_fit(fit, plot)
        yield plot


def _on_front(result: SearchResult) -> dict[str, int]:
    return {f"{result.study.name}-{index}": index for index in result.front.tolist()}


def _chosen(result: SearchResult) -> dict[str, int]:
    """The best point of each application, and the best at each latency of the reference, by name of the workload."""
    name = result.study.name
    chosen = {f"{name}-{choice.name}": choice.index for choice in result.choices() if choice.index is not None}
    if result.reference is not None:
        chosen |= {
            f"{name}-{comparison.objective.name}-of-{result.reference.name}": comparison.index
            for comparison in result.comparisons()
        }
    return chosen


def _roofline(result: SearchResult) -> dict[str, Floats]:
    study, evaluator = result.study, result.evaluator
    return roofline_latencies(
        evaluator.chip, evaluator.runtime, result.space.columns,
        prompt_tokens=study.prompt_tokens, decode_tokens=study.decode_tokens,
    )  # fmt: skip
