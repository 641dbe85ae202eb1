"""Parameters of driving networks against published totals and closed forms written here.

Batch norms of c channels have 2 c learned numbers, and c biases once they are folded. torchvision counts 25,557,032
parameters of ResNet-50 and 21,797,672 of ResNet-34; timm counts 63.20 M of ese_vovnet99b, which has fewer gates.
"""

from __future__ import annotations

import pytest

from simulator import load_workload
from simulator.graph import build_graph
from simulator.workload import Network


def parameters(workload: str, network: str, *blocks: str) -> int:
    """Of some blocks of a network, or of all."""
    (phase,) = (phase for phase in build_graph(load_workload(workload)).phases if phase.name == network)
    chosen = [block for block in phase.blocks if not blocks or block.graph.name in blocks]
    assert len(chosen) >= len(blocks)
    return sum(block.repeats * operator.parameters for block in chosen for operator in block.graph.operators)


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def norm(width: int) -> int:
    return 2 * width


def attention(width: int) -> int:
    return 3 * linear(width, width) + linear(width, width)


def heads(classes: int, box: int) -> int:
    """Two matrices with norms, and two without, each with a last one."""
    return 4 * linear(256, 256) + 2 * norm(256) + linear(256, classes) + linear(256, box)


def sampled(memory_width: int) -> int:
    """Offsets and weights of 8 heads with 4 points, values and the way out."""
    return linear(256, 8 * 4 * 3) + linear(memory_width, 256) + linear(256, 256)


def encoder_layer() -> int:
    """Attention to two maps with 4 points each, to cameras with 8 points, and a chain of 256, 512, 256."""
    temporal = linear(512, 2 * 8 * 4 * 3) + 2 * linear(256, 256)
    spatial = linear(256, 8 * 8 * 3) + 2 * linear(256, 256)
    return temporal + spatial + linear(256, 512) + linear(512, 256) + 3 * norm(256)


def decoder_layer(classes: int, box: int) -> int:
    return attention(256) + sampled(256) + linear(256, 512) + linear(512, 256) + 3 * norm(256) + heads(classes, box)


RESNET_50 = 25_557_032 - 53_120 + 26_560 - linear(2048, 1000)
RESNET_34 = 21_797_672 - 17_024 + 8_512 - linear(512, 1000)
NECK = linear(2048, 256) + linear(9 * 256, 256)
MOTION = linear(18, 128) + linear(128, 256) + norm(256)


@pytest.mark.parametrize("name", ["bevformer-tiny", "vad-tiny"])
def test_resnet_50_with_one_level_of_a_pyramid(name: str) -> None:
    assert parameters(name, "backbone") == RESNET_50 + NECK == 24_596_096


def test_bevformer_tiny_has_the_published_33_5_million() -> None:
    cells, objects = 2_500 * 256 + MOTION, 900 * 512 + linear(256, 3)
    head = cells + objects + 3 * encoder_layer() + 6 * decoder_layer(10, 10)
    assert parameters("bevformer-tiny", "head") == head
    left_out = 2 * 50 * 128 + (6 + 1) * 256  # embeddings that become constants
    unfolded = RESNET_50 + 26_560 + NECK + head + left_out
    assert unfolded == pytest.approx(33.5e6, rel=0.002)


def test_vad_tiny_has_two_decoders_and_four_layers_for_motion_and_plan() -> None:
    one = attention(256) + linear(256, 512) + linear(512, 256) + 2 * norm(256)
    cells, queries = 10_000 * 256 + MOTION, 300 * 512 + linear(256, 3) + 2_000 * 256
    decoders = 3 * decoder_layer(10, 10) + 3 * decoder_layer(3, 4)
    ends = 2 * linear(256, 256) + 6 * 256 + 2 * linear(256, 256) + 256  # lines, modes, the car
    ends += 2 * (linear(256, 512) + linear(512, 512)) + linear(512, 12) + linear(512, 36)
    by_hand = cells + queries + 3 * encoder_layer() + decoders + 4 * one + ends
    assert parameters("vad-tiny", "head") == by_hand


def aggregation(read: int, channels: int, made: int) -> int:
    """Five windows of 9 in a row, a matrix over what was read and all five, and a gate."""
    joined = linear(read + 5 * channels, made)
    return linear(9 * read, channels) + 4 * linear(9 * channels, channels) + joined + linear(made, made)


STAGES = ((128, 128, 256, 1), (256, 160, 512, 3), (512, 192, 768, 9), (768, 224, 1024, 3))
VOVNET_99 = (
    linear(9 * 3, 64) + linear(9 * 64, 64) + linear(9 * 64, 128)
    + sum(aggregation(read, channels, made) + (count - 1) * aggregation(made, channels, made)
          for read, channels, made, count in STAGES)
)  # fmt: skip


def test_vovnet_99_is_the_published_one_with_a_gate_in_every_block() -> None:
    gates = 2 * linear(512, 512) + 8 * linear(768, 768) + 2 * linear(1024, 1024)  # timm has those of last blocks only
    batch_norms = 64 + 64 + 128 + sum(count * (5 * channels + made) for _, channels, made, count in STAGES)
    assert VOVNET_99 - gates + batch_norms + linear(1024, 1000) == pytest.approx(63.20e6, rel=0.001)


def test_petr_is_vovnet_two_levels_and_six_layers_without_sampling() -> None:
    levels = linear(768, 256) + linear(1024, 256) + linear(9 * 256, 256)
    assert parameters("petr-vov", "backbone") == VOVNET_99 + levels
    layer = 2 * attention(256) + linear(256, 2048) + linear(2048, 256) + 3 * norm(256) + heads(10, 10)
    constants = 6_000 * 256 + 900 * 384
    queries = 900 * 3 + linear(384, 256) + linear(256, 256)
    assert parameters("petr-vov", "head") == constants + linear(256, 256) + queries + 6 * layer


def test_far3d_is_vovnet_four_levels_and_four_heads_for_boxes_in_images() -> None:
    levels = linear(512, 256) + linear(768, 256) + linear(1024, 256) + 4 * linear(9 * 256, 256)
    boxes = 4 * (4 * linear(9 * 256, 256) + linear(256, 26) + linear(256, 4 + 1 + 2))
    depth = 2 * linear(9 * 256, 256) + linear(256, 50 + 1)
    assert parameters("far3d", "encoder") == VOVNET_99 + levels + boxes + depth
    cross = linear(256, 39) + linear(256, 13 * 4 * 8) + linear(256, 256)
    layer = attention(256) + cross + linear(256, 2048) + linear(2048, 256) + 3 * norm(256) + heads(26, 8)
    assert parameters("far3d", "head") == 644 * 256 + 2 * linear(256, 256) + 6 * layer


def test_diffusiondrive_has_about_the_published_60_million() -> None:
    rgb, lidar = RESNET_34, RESNET_34 - 2 * 49 * 64  # a lidar image has one channel instead of three
    fused = sum(2 * (12 * width**2 + 9 * width + 2 * norm(width)) + 320 * width + 2 * norm(width)
                for width in (64, 128, 256, 512))  # fmt: skip
    names = [
        f"{sense}_{stage}{first}" for sense in ("camera", "lidar") for stage in (2, 3, 4) for first in ("", "_first")
    ]
    backbone = parameters("diffusiondrive", "planner", "camera_stem", "lidar_stem", "camera_1", "lidar_1", *names)
    assert backbone == rgb + lidar
    pieces = [
        f"{piece}_{scale}" for piece in ("tokens", "fuse", "camera_fused", "lidar_fused") for scale in (1, 2, 3, 4)
    ]
    assert parameters("diffusiondrive", "planner", *pieces) == fused
    second_step = parameters("diffusiondrive", "planner", "denoise") // 2
    assert parameters("diffusiondrive", "planner") - second_step == pytest.approx(60e6, rel=0.02)


def test_sparsedrive_is_resnet_50_four_levels_and_layers_of_decoupled_attention() -> None:
    levels = sum(linear(width, 256) for width in (256, 512, 1024, 2048)) + 4 * linear(9 * 256, 256)
    assert parameters("sparsedrive-s", "backbone") == RESNET_50 + levels
    decoupled = attention(512) + 2 * 256 * 512
    chain = norm(512) + linear(512, 1024) + linear(1024, 256) + linear(512, 256) + norm(256)
    sampling = linear(256, 18) + linear(256, 8 * 4 * 13) + linear(256, 256)
    refined = 4 * linear(256, 256) + 2 * norm(256) + linear(256, 11)
    refined += 2 * (2 * linear(256, 256) + 2 * norm(256)) + linear(256, 10) + linear(256, 2)
    first = sampling + chain + refined
    assert parameters("sparsedrive-s", "head", "boxes_first") == first
    assert parameters("sparsedrive-s", "head", "boxes_layer") == 5 * (first + 2 * decoupled + norm(256))


@pytest.mark.parametrize(("name", "millions"), [("tesla-fsd-class", 430.0), ("li-e2e", 45.2)])
def test_proxies_have_the_size_that_their_notes_rest_on(name: str, millions: float) -> None:
    workload = load_workload(name)
    assert all("PROXY" in (network.note or "") for network in workload.networks.values())
    assert build_graph(workload).parameters / 1e6 == pytest.approx(millions, abs=0.05)


def test_every_network_says_where_it_comes_from() -> None:
    for name in ("bevformer-tiny", "vad-tiny", "petr-vov", "far3d", "sparsedrive-s", "diffusiondrive"):
        for network in load_workload(name).networks.values():
            assert isinstance(network, Network)
            assert network.status in {"datasheet", "inferred"}
            assert network.note
