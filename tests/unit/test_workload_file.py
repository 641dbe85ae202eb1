"""A workload file reads back to an equal workload, whatever its texts are."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator.catalog import Catalog, load_workload
from simulator.report.workload_file import workload_text
from simulator.workload import Workload

WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30)


def read_back(workload: Workload) -> Workload:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{workload.name}.yaml"
        path.write_text(workload_text(workload), encoding="utf-8")
        return load_workload(path)


@pytest.mark.parametrize("name", Catalog().names("workload"))
def test_every_workload_of_the_catalogue_reads_back(name: str) -> None:
    workload = load_workload(name)
    if workload.decoder is None or workload.decoder.routing is None or workload.decoder.routing.file is None:
        assert read_back(workload) == workload


@given(text=WORDS)
@settings(max_examples=200, deadline=None)
@example("true")
@example("Null")
@example("1e9")
@example("a: b")
@example("a, b (c)")
@example("a #b")
@example("x]")
@example("trailing ")
def test_any_text_reads_back(text: str) -> None:
    plain = load_workload("qwen3-0.6b")
    published = tuple(latency.model_copy(update={"note": text}) for latency in plain.published[:1])
    workload = plain.model_copy(update={"title": text, "pipeline_note": text, "published": published})
    assert read_back(workload) == workload
