"""What a user is told about a wrong file: file, line, field, rule, value and the nearest valid name."""

from typing import Any

import pytest

from simulator.catalog.files import built_in_folder


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "value: 6400 MT/s",
            "value: 6400",
            (
                "chips/tiny.yaml:27  dram.rate: must be a quantity in T/s, got 6400 (no unit)\n"
                '  Hint: write a number and a unit, such as "6400 MT/s"'
            ),
        ),
        (
            "value: 6400 MT/s",
            "value: 51.2 GB/s",
            (
                'chips/tiny.yaml:27  dram.rate: must be a quantity in T/s, got "51.2 GB/s", which is in B/s\n'
                '  Hint: write a number and a unit, such as "6400 MT/s"'
            ),
        ),
        ("value: 6400 MT/s", "value: 0 MT/s", 'chips/tiny.yaml:27  dram.rate: must be above zero, got "0 MT/s"'),
        (
            "{value: 6400 MT/s, source: me, status: datasheet}",
            "6400 MT/s",
            (
                'chips/tiny.yaml:27  dram.rate: must be {value: "6400 MT/s", source: ..., status: ...}, got '
                '"6400 MT/s" without its source'
            ),
        ),
        (
            "{value: 6400 MT/s, source: me, status: datasheet}",
            "{value: 6400 MT/s, status: datasheet}",
            (
                "chips/tiny.yaml:27  dram.rate.source: must be given, got nothing\n"
                "  Hint: Where it was read: an id of docs/sources.md, or words for a guess."
            ),
        ),
        (
            "{value: 6400 MT/s, source: me, status: datasheet}",
            "{value: 6400 MT/s, source: me, status: guess}",
            (
                "chips/tiny.yaml:27  dram.rate.status: must be one of datasheet, measured, press, derived, "
                'inferred, recalled, assumed, got "guess"'
            ),
        ),
        (
            "    value: 0.75\n",
            "    value: 1.5\n",
            "chips/tiny.yaml:30  dram.sustained_fraction: must be a fraction above 0 and at most 1, got 1.5",
        ),
        (
            "    value: 0.75\n",
            "    value: nan\n",
            ('chips/tiny.yaml:30  dram.sustained_fraction: must be a fraction above 0 and at most 1, got "nan"'),
        ),
        (
            "    value: 0.75\n",
            "    value: .nan\n",
            "chips/tiny.yaml:30  dram.sustained_fraction.value: must be a finite number, got .nan",
        ),
        (
            "  rate: {value: 6400",
            "  rat: {value: 6400",
            (
                "2 things are wrong:\n"
                "chips/tiny.yaml:24  dram.rate: must be given, got nothing\n"
                "  Hint: Transfers per second and pin.\n"
                'chips/tiny.yaml:27  dram.rat: must be a known field, got "rat"\n'
                '  Hint: did you mean "rate"?'
            ),
        ),
        ("title: Tiny chip", "title: 5", "chips/tiny.yaml:3  title: must be text, got 5\n  Hint: put it in quotes"),
        (
            "title: Tiny chip",
            "tittle: Tiny chip",
            (
                "2 things are wrong:\n"
                "chips/tiny.yaml:2  title: must be given, got nothing\n"
                "  Hint: The name for people.\n"
                'chips/tiny.yaml:3  tittle: must be a known field, got "tittle"\n'
                '  Hint: did you mean "title"?'
            ),
        ),
        ("weight: 0.5", "weight: 0", "chips/tiny.yaml:35  masters.cpu.weight: must be above 0, got 0"),
        ("weight: 0.5", "weight: true", "chips/tiny.yaml:35  masters.cpu.weight: must be a number, got true"),
        ("weight: 0.5", "minimum_share: 2", "chips/tiny.yaml:35  masters.cpu.minimum_share: must be at most 1, got 2"),
        ("cpu: {weight: 0.5}", "cpu:", "chips/tiny.yaml:35  masters.cpu: must be a mapping of fields, got nothing"),
        (
            "accelerator: npu",
            "accelerator: gpu",
            'chips/tiny.yaml:6  accelerator: must name one of the clusters (npu), got "gpu"',
        ),
        (
            "          fp16: {",
            "          fp61: {",
            (
                "chips/tiny.yaml:14  clusters.npu.matrix.native.macs_per_cycle.fp61: must be one of fp32, fp16, "
                'bf16, fp8, int8, int4, nvfp4, tf32, got "fp61"\n'
                '  Hint: did you mean "fp16"?'
            ),
        ),
        (
            "usual_runtime: plain",
            "usual_runtime: plane",
            (
                "chips/tiny.yaml:5  usual_runtime: must be a name of the catalogue or a path to a .yaml file, "
                'got "plane" (searched runtimes, BUILT_IN/runtimes)\n'
                '  Hint: did you mean "plain"?'
            ),
        ),
        (
            "name: tiny",
            "name: small",
            (
                'chips/tiny.yaml:2  name: must be the name of the file, "tiny", got "small"\n'
                "  Hint: rename the file to small.yaml or the object"
            ),
        ),
    ],
)
def test_a_wrong_chip_is_told_with_file_line_field_rule_and_value(
    tiny_catalogue: Any, old: str, new: str, message: str
) -> None:
    tiny_catalogue.edit("chips/tiny.yaml", old, new)
    assert tiny_catalogue.message("chip", "tiny") == message.replace("BUILT_IN", str(built_in_folder()))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate: 10 Hz", "rate: 0 Hz", 'workloads/words.yaml:20  rate: must be above zero, got "0 Hz"'),
        (
            "rate: 10 Hz",
            "rate: 10.0",
            (
                "workloads/words.yaml:20  rate: must be a quantity in Hz, got 10.0 (no unit)\n"
                '  Hint: write a number and a unit, such as "10 Hz"'
            ),
        ),
        ("deadline: 100 ms", "deadline: 0 ms", 'workloads/words.yaml:21  deadline: must be above zero, got "0 ms"'),
        (
            "deadline: 100 ms",
            "deadline: 100",
            (
                "workloads/words.yaml:21  deadline: must be a quantity in s, got 100 (no unit)\n"
                '  Hint: write a number and a unit, such as "100 ms"'
            ),
        ),
        (
            "phase: decode",
            "phase: decod",
            (
                "workloads/words.yaml:17  pipeline.1.phase: must be one of vision, prefill, decode, action, network, "
                'got "decod"\n'
                '  Hint: did you mean "decode"?'
            ),
        ),
        (
            "{phase: decode, ",
            "{",
            (
                "workloads/words.yaml:17  pipeline.1.phase: must be given, got nothing\n"
                "  Hint: one of vision, prefill, decode, action, network"
            ),
        ),
        (
            "phase: decode, tokens: 8",
            "phase: decode, tokens: 0",
            "workloads/words.yaml:17  pipeline.1.tokens: must be above 0, got 0",
        ),
        (
            "phase: decode, tokens: 8",
            "phase: decode",
            (
                "workloads/words.yaml:17  pipeline.1.tokens: must be given, got nothing\n"
                "  Hint: Decoded tokens; in a single run also where streams draw their number."
            ),
        ),
        (
            "phase: decode, tokens: 8",
            "phase: decode, steps: 8",
            (
                "2 things are wrong:\n"
                "workloads/words.yaml:17  pipeline.1.tokens: must be given, got nothing\n"
                "  Hint: Decoded tokens; in a single run also where streams draw their number.\n"
                'workloads/words.yaml:17  pipeline.1.steps: must be a known field, got "steps"\n'
                "  Hint: known: counts, phase, precision, speculation, tokens, tokens_per_pass"
            ),
        ),
        (
            "tokens: 8, precision: fp16",
            "tokens: 8, precision: fp17",
            (
                "workloads/words.yaml:17  pipeline.1.precision: must be one of fp32, fp16, bf16, fp8, w8a8, "
                'w8a8-static, w8a16, w4a16, w4a8, nvfp4, mxfp4, mxfp8, int8, int4, q8_0, q4_0, got "fp17"'
            ),
        ),
        ("kv_heads: 2", "kv_heads: 3", "workloads/words.yaml:9  decoder.kv_heads: must divide heads (4), got 3"),
        (
            "tied_head: true",
            "tied_head: yes",
            'workloads/words.yaml:14  decoder.tied_head: must be true or false, got "yes"',
        ),
        ("layers: 2", "layers: 2.5", "workloads/words.yaml:6  decoder.layers: must be a whole number, got 2.5"),
        ("layers: 2", 'layers: "2"', 'workloads/words.yaml:6  decoder.layers: must be a whole number, got "2"'),
        ("phase: prefill", "phase: vision", None),
    ],
)
def test_a_wrong_workload_is_told_with_file_line_field_rule_and_value(
    tiny_catalogue: Any, old: str, new: str, message: str | None
) -> None:
    tiny_catalogue.edit("workloads/words.yaml", old, new)
    found = tiny_catalogue.message("workload", "words")
    assert found.startswith("3 things are wrong:") if message is None else found == message


def test_an_empty_pipeline_is_told_once_and_a_wrong_entry_does_not_make_it_empty(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("workloads/words.yaml", "  - {phase: decode, tokens: 8, precision: fp16}\n", "")
    tiny_catalogue.edit("workloads/words.yaml", "\n  - {phase: prefill, tokens: 32, precision: fp16}", " []")
    assert tiny_catalogue.message("workload", "words") == (
        "workloads/words.yaml:15  pipeline: must have at least 1 entry, got an empty list"
    )
    tiny_catalogue.edit("workloads/words.yaml", "[]", "[3]")
    assert tiny_catalogue.message("workload", "words") == (
        "workloads/words.yaml:15  pipeline.0: must be a mapping of fields, got 3"
    )


def test_a_scenario_tells_all_that_is_wrong_in_the_order_of_its_lines(tiny_catalogue: Any) -> None:
    tiny_catalogue.edit("scenarios/drive.yaml", "chip: tiny", "chip: tine")
    tiny_catalogue.edit("scenarios/drive.yaml", "workload: words, rate: 10 Hz", "workload: ./words.yaml, rate: 0 Hz")
    tiny_catalogue.edit("scenarios/drive.yaml", "duration: 1 s", "duration: 1")
    assert tiny_catalogue.message("scenario", "drive") == (
        "4 things are wrong:\n"
        "scenarios/drive.yaml:3  chip: must be a name of the catalogue or a path to a .yaml file, "
        f'got "tine" (searched chips, {built_in_folder()}/chips)\n'
        '  Hint: did you mean "tiny"?\n'
        f"scenarios/drive.yaml:6  streams.front.workload: must be a file that exists, got scenarios/words.yaml\n"
        'scenarios/drive.yaml:6  streams.front.rate: must be above zero, got "0 Hz"\n'
        "scenarios/drive.yaml:9  duration: must be a quantity in s, got 1 (no unit)\n"
        '  Hint: write a number and a unit, such as "100 ms"'
    )
