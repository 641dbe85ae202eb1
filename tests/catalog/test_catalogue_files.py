"""The files of the catalogue: they load, their numbers agree with what is published, and guesses say so."""

from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.catalog import (
    FOLDER,
    Catalog,
    load_chip,
    load_memory,
    load_runtime,
    load_scenario,
    load_study,
    load_technology,
    load_workload,
)
from simulator.chip import Chip
from simulator.simulation.setup import configure
from simulator.sourced import sourced_numbers
from simulator.workload import ActionExpert, Decoder, VisionTower, Workload

ROOT = Path(__file__).parents[2]
LOADERS: dict[str, Any] = {
    "chip": load_chip,
    "memory": load_memory,
    "runtime": load_runtime,
    "technology": load_technology,
    "workload": load_workload,
    "scenario": load_scenario,
    "study": load_study,
}
FILES = [
    (kind, path)
    for kind, folder in FOLDER.items()
    for path in sorted((ROOT / folder).glob("*.yaml"))
    if folder != "scenarios" or (kind == "study") == ("\nspace:" in path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("kind", "path"), FILES, ids=lambda value: getattr(value, "stem", None))
def test_every_file_loads_under_its_own_name(kind: str, path: Path) -> None:
    assert LOADERS[kind](path.stem).name == path.stem


def test_no_file_is_out_of_reach_of_the_catalogue() -> None:
    assert {(kind, name) for kind in FOLDER for name in Catalog().names(kind)} == {(kind, p.stem) for kind, p in FILES}
    assert len(FILES) >= 20


# Published peak in GB/s. Orin-X: the manual of the kit rounds 204.8 to 200.
DRAM_PEAKS = [
    ("orin-agx-64gb", 204.8, 0.005),
    ("orin-x", 200, 0.025),
    ("thor-t5000", 273, 0.005),
    ("thor-u", 273, 0.005),
    ("mach-m100", 273, 0.005),
    ("tesla-hw3", 68, 0.005),
]


@pytest.mark.parametrize(("name", "published_gb_per_s", "tolerance"), DRAM_PEAKS)
def test_dram_width_times_rate_is_the_published_peak(name: str, published_gb_per_s: float, tolerance: float) -> None:
    dram = load_chip(name).dram
    assert dram.width_bits.value / 8 * dram.rate.value == pytest.approx(published_gb_per_s * 1e9, rel=tolerance)


# Dense TOPS of all clusters, 2 operations per MAC. Headlines that are sparse are halved.
DENSE_TOPS = [
    ("orin-agx-64gb", "native", "int8", 170.4 / 2),  # [mzph], 170 sparse
    ("orin-agx-64gb", "native", "fp16", 42.6),  # half of INT8
    ("orin-x", "native", "int8", 83.6),  # 85.2 * 1.275 / 1.3 GHz
    ("thor-t5000", "native", "nvfp4", 1035),  # [hfjs1710]
    ("thor-t5000", "native", "fp8", 517),  # [hfjs1710]
    ("thor-t5000", "native", "fp16", 517 / 2),  # [hfjs1710], sparse
    ("thor-u", "native", "int8", 350.9),  # half of the 700 of the press
    ("thor-u", "native", "fp16", 175.5),
    ("thor-u", "legacy", "int8", 87.7),  # a quarter of the native rate
    ("thor-u", "legacy", "fp16", 43.9),
    ("mach-m100", "native", "int8", 48 * 2048 * 2 * 1.6e-3),  # [m100] at the inferred clock: 314.6
    ("tesla-hw3", "native", "int8", 73.7),  # [wiki]
]


@pytest.mark.parametrize(("name", "path", "dtype", "published_tops"), DENSE_TOPS)
def test_macs_times_clock_is_the_published_dense_rate(name: str, path: str, dtype: str, published_tops: float) -> None:
    cluster = load_chip(name).cluster
    macs_per_cycle = cluster.count.value * cluster.matrix[path].macs_per_cycle[dtype].value
    assert 2 * macs_per_cycle * cluster.clock.value == pytest.approx(published_tops * 1e12, rel=0.005)


def test_the_port_of_a_local_sram_is_the_published_bytes_per_cycle() -> None:
    bytes_per_cycle = {"orin-agx-64gb": 125, "orin-x": 125, "thor-t5000": 125, "thor-u": 125}  # [g6000d]
    bytes_per_cycle |= {"mach-m100": 32 * 32, "tesla-hw3": 256 + 128}  # [m100], [wiki]
    for name, expected in bytes_per_cycle.items():
        port = load_chip(name).cluster.sram.port
        assert port is not None
        assert port.value == expected


def test_mach_m100_has_128_mib_of_sram_in_the_48_blocks_of_the_product() -> None:
    chip = load_chip("mach-m100")
    assert chip.cluster_sram_bytes == 48 * 2 * 2**20
    assert sum(level.capacity.value for level in chip.sram.values()) == 32 * 2**20


def test_thor_u_inherits_what_it_does_not_state_and_has_no_power_of_the_jetson_module() -> None:
    thor_u, t5000 = load_chip("thor-u"), load_chip("thor-t5000")
    assert thor_u.power is None
    assert thor_u.cluster.matrix == t5000.cluster.matrix
    assert thor_u.cluster.count.value == 14


def decoder_parameters(sizes: Decoder) -> int:
    """Embedding, layers (q, k, v, o, three matrices per expert, router, two norms), final norm, head if not tied."""
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    layer = sizes.hidden * (2 * queries + 2 * keys + 3 * sizes.ffn_width * sizes.experts) + 2 * sizes.hidden
    layer += sizes.hidden * sizes.experts if sizes.experts > 1 else 0
    layer += (queries + 2 * keys) * sizes.qkv_bias + 2 * sizes.head_dim * sizes.head_norm
    embeddings = sizes.vocabulary * sizes.hidden * (1 if sizes.tied_head else 2)
    return embeddings + sizes.layers * layer + sizes.hidden


def vision_parameters(sizes: VisionTower) -> int:
    """Patch and position embedding, layers with biases and layer norms, final norm, mergers or one projection."""
    width = sizes.width
    layer = 4 * width**2 + 2 * width * sizes.ffn_width + 4 * width + width + sizes.ffn_width + 2 * 2 * width
    body = sizes.patch_elements * width + width + sizes.position_embeddings * width + sizes.layers * layer + 2 * width
    merged = width * sizes.merge
    if sizes.merger_width == 0:
        return body + (merged + 1) * sizes.output_width
    merger = (merged + 1) * sizes.merger_width + (sizes.merger_width + 1) * sizes.output_width
    return body + merger + sizes.extra_mergers * (merger + 2 * merged)


def action_parameters(sizes: ActionExpert) -> int:
    """Layers and final norm as in a decoder, without embedding; input and output projections with biases."""
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    hidden = sizes.hidden
    norm = 3 * hidden * (hidden + 1) if sizes.adaptive_norm else hidden
    layer = hidden * (2 * queries + 2 * keys + 3 * sizes.ffn_width) + 2 * norm + 2 * sizes.head_dim * sizes.head_norm
    if sizes.input_hidden:
        first = (sizes.input_width + 1) * sizes.input_hidden + (sizes.input_hidden + 1) * hidden
    else:
        first = (sizes.input_width + 1) * hidden
    return sizes.layers * layer + norm + first + (hidden + 1) * sizes.action_width


LANGUAGE_MODELS = [
    ("qwen2.5-0.5b", 494_032_768),
    ("qwen2.5-7b", 7_615_616_512),
    ("qwen3-0.6b", 596_049_920),
    ("qwen3-1.7b", 1_720_574_976),
    ("qwen3-4b", 4_022_468_096),
    ("llama2-7b", 6_738_415_616),
    ("llama3.2-3b", 3_212_749_824),
    ("qwen3-30b-a3b", 30_532_122_624),
    ("qwen2.5-1.5b", 1_543_714_304),
    ("qwen2.5-3b", 3_085_938_688),
    ("qwen3-8b", 8_190_735_360),
    ("llama3.2-1b", 1_235_814_400),
    ("minicpm-1b", 1_247_442_432 + 73_440 * 1536),  # published without the embedding
    ("minicpm-2b", 2_442_057_984 + 122_753 * 2304),
    ("mistral-7b", 7_241_732_096),
    ("phi-3-mini", 3_821_079_552),
]


@pytest.mark.parametrize(("name", "published"), LANGUAGE_MODELS)
def test_sizes_of_a_language_model_give_its_published_parameter_count_exactly(name: str, published: int) -> None:
    workload = load_workload(name)
    assert workload.decoder is not None
    assert decoder_parameters(workload.decoder) == published == workload.parameters_published


def test_sizes_of_olmoe_give_its_parameter_count_but_for_norms_over_all_heads() -> None:
    """Published: two norms of 2048 in each of 16 layers. Here: two of 128, so 16 * 2 * (2048 - 128) are missing."""
    workload = load_workload("olmoe-1b-7b")
    assert workload.decoder is not None
    assert decoder_parameters(workload.decoder) + 16 * 2 * (2048 - 128) == 6_919_161_856
    assert workload.parameters_published == 6_919_161_856


# Parameters read for a token, in billions, without the input embedding: attention, router, top-k experts, head.
@pytest.mark.parametrize(("name", "active_billions"), [("qwen3-30b-a3b", 3.04), ("olmoe-1b-7b", 1.18)])
def test_a_decoded_token_of_a_sparse_model_reads_its_published_active_parameters(
    name: str, active_billions: float
) -> None:
    result = simulator.run("a100-80gb", name, runtime="ideal", precision="bf16", prompt_tokens=1, decode_tokens=1)
    decode = result.phase("decode")
    assert decode is not None
    dram = result.program.resources.channel_names.index("dram")
    assert decode.channel_bytes[dram] / 2 / 1e9 == pytest.approx(active_billions, rel=0.01)


def components(workload: Workload) -> tuple[VisionTower, Decoder, ActionExpert]:
    assert workload.vision is not None
    assert workload.decoder is not None
    assert workload.action is not None
    return workload.vision, workload.decoder, workload.action


def test_sizes_of_pi05_give_gemma_exactly_and_the_rounded_total() -> None:
    workload = load_workload("pi0.5")
    vision, decoder, action = components(workload)
    assert decoder_parameters(decoder) == 2_508_531_712 == decoder.parameters_published
    # SigLIP so400m is 0.4 B by name; Gemma 300m is 311 M without the matrices of the adaptive norms.
    assert vision_parameters(vision) == pytest.approx(0.4e9, rel=0.05)
    assert action_parameters(action.model_copy(update={"adaptive_norm": False})) == pytest.approx(311e6, rel=0.002)
    # 3.3 B is published to two digits for pi0; the adaptive norms of pi0.5 come on top.
    total = vision_parameters(vision) + decoder_parameters(decoder) + action_parameters(action)
    assert total == pytest.approx(workload.parameters_published, rel=0.02)


def test_sizes_of_alpamayo_give_the_figures_of_its_card() -> None:
    workload = load_workload("alpamayo-1.5-10b")
    vision, decoder, action = components(workload)
    assert decoder_parameters(decoder) == pytest.approx(decoder.parameters_published, rel=0.006)  # 8.2 B, two digits
    assert action_parameters(action) == pytest.approx(action.parameters_published, rel=0.01)  # 2.3 B, two digits
    # Qwen3-VL-8B has 8.77 B and its text side 8.19 B: the tower is the rest.
    assert vision_parameters(vision) == pytest.approx(8.77e9 - 8.19e9, rel=0.01)
    # The 10.5 B of the card leave the tower out; the download of 22 GB in BF16 has it.
    without_tower = decoder_parameters(decoder) + action_parameters(action)
    assert without_tower == pytest.approx(workload.parameters_published, rel=0.002)
    assert 2 * (without_tower + vision_parameters(vision)) == pytest.approx(22e9, rel=0.01)


def test_visual_tokens_of_a_prompt_are_images_times_merged_patches() -> None:
    alpamayo, robot = load_workload("alpamayo-1.5-10b"), load_workload("pi0.5")
    # 16 images * 720 / 4 = 2,880, 48 history tokens, the rest is text; 2 views * 256 + 10 = 522.
    assert [phase.tokens for phase in alpamayo.pipeline if phase.phase == "prefill"] == [2880 + 48 + 152]
    assert [(phase.images, phase.patches) for phase in alpamayo.pipeline if phase.phase == "vision"] == [(16, 36 * 20)]
    assert [phase.tokens for phase in robot.pipeline if phase.phase == "prefill"] == [2 * 256 + 10]


@pytest.mark.parametrize(("kind", "path"), FILES, ids=lambda value: getattr(value, "stem", None))
def test_guesses_say_what_they_rest_on(kind: str, path: Path) -> None:
    for place, number in sourced_numbers(LOADERS[kind](path.stem)):
        note = number.note or ""
        if number.source == "assumption":
            assert number.status == "assumed", place
        if number.status in {"derived", "inferred", "assumed"}:
            assert note, place
        if number.status == "assumed":
            assert "range" in note or "by definition" in note, place


@pytest.mark.parametrize("name", [path.stem for kind, path in FILES if kind == "workload"])
def test_sizes_and_pipelines_are_never_datasheet_figures_of_nobody(name: str) -> None:
    workload = load_workload(name)
    parts = [part for part in (workload.vision, workload.decoder, workload.action) if part is not None]
    named = [(part.source, part.status) for part in parts] + [(workload.pipeline_source, workload.pipeline_status)]
    assert [status for source, status in named if source == "assumption" and status != "assumed"] == []


@pytest.mark.parametrize("name", [path.stem for kind, path in FILES if kind == "scenario"])
def test_a_scenario_asks_only_for_kernels_of_its_runtime_and_masters_of_its_chip(name: str) -> None:
    scenario = load_scenario(name)
    chip: Chip = load_chip(scenario.chip)
    asked = {
        phase.precision
        for stream in scenario.streams.values()
        for phase in configure(
            load_workload(stream.workload), precision=stream.precision, prompt_tokens=None, decode_tokens=None
        ).pipeline
    }
    assert asked <= set(load_runtime(scenario.runtime).kernels)
    assert {background.master for background in scenario.background.values()} <= set(chip.masters)
