"""Evaluator: what a point of a space needs on a chip, by simulation, and a lower bound of it for all points at once.

Both come from the same graphs and the same lowering: the bound with arrays as sizes and without tasks, the simulation
with numbers and with every event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from simulator.catalog import Catalog
from simulator.chip import Chip
from simulator.engine.select import engine_named
from simulator.errors import EngineError, Infeasible
from simulator.exploration.kinds import KEPT_SIZES, SIZES, Columns, LayerSizes, alike, columns_of, distinct_layers
from simulator.graph import Block, OperatorGraph, PhaseGraph, build_graph, cache_elements, decoder_graphs
from simulator.lowering import (
    Demand,
    Family,
    Platform,
    dram_needs,
    lower,
    lower_family,
    one_after_another,
    stored_weight_bytes,
)
from simulator.lowering.block import Bools, lower_block
from simulator.lowering.experts import lacks_landing_room
from simulator.lowering.kept import kept_of
from simulator.lowering.least_time import block_time, least_phase_ticks
from simulator.lowering.modes import by_order
from simulator.metrics.latency import release_latency
from simulator.precision import precision
from simulator.runtime import Runtime
from simulator.study import Study
from simulator.study.spec import FixedSizes
from simulator.terms import PhaseKind
from simulator.timeline import Timeline
from simulator.units import ROUNDING_GUARD_TICKS, TICKS_PER_SECOND, seconds_to_ticks, ticks_to_seconds
from simulator.variants import Floats, Ints
from simulator.workload import Workload
from simulator.workload.decoder import Decoder
from simulator.workload.phases import DecodePhase, PrefillPhase

_PHASES: tuple[PhaseKind, ...] = ("prefill", "decode")

_LAYERS_TOGETHER = 20_000
"""Layers of all steps in one Program, about a hundred tasks each: what bounds the memory that a simulation takes."""

_MOST_ELEMENTS = 1e15
"""Elements of all FFN matrices above which nothing fits any memory."""


@dataclass(frozen=True)
class Evaluator:
    """Everything but the point that its latencies and its memory depend on. Can be pickled."""

    chip: Chip
    runtime: Runtime
    prompt_tokens: int
    decode_tokens: int
    fixed: FixedSizes
    """The kind of decoder; its sizes are in the point."""

    @classmethod
    def of(cls, study: Study, catalog: Catalog) -> Evaluator:
        """The evaluator of a study.

        Raises:
            SpecError: when its chip or runtime is unknown or not valid.
        """
        return cls(
            chip=catalog.load_chip(study.chip),
            runtime=catalog.load_runtime(study.runtime),
            prompt_tokens=study.prompt_tokens,
            decode_tokens=study.decode_tokens,
            fixed=study.fixed,
        )

    def fingerprint(self) -> dict[str, Any]:
        """All that a result depends on besides the point and the code, as plain JSON."""
        return {
            "chip": self.chip.model_dump(mode="json"),
            "runtime": self.runtime.model_dump(mode="json"),
            "prompt_tokens": self.prompt_tokens,
            "decode_tokens": self.decode_tokens,
            "fixed": self.fixed.model_dump(mode="json"),
        }

    # one point, simulated --------------------------------------------------------------------------------------

    def workload(self, point: Mapping[str, Any], name: str = "point", title: str = "A point of a study") -> Workload:
        """The workload of a point: one prompt, and tokens decoded after it."""
        decoder = Decoder(
            source=self.fixed.source, status=self.fixed.status, note=self.fixed.note, layers=point["layers"],
            **{size: point[size] for size in SIZES}, ffn=self.fixed.ffn, tied_head=self.fixed.tied_head,
            qkv_bias=self.fixed.qkv_bias, head_norm=self.fixed.head_norm,
        )  # fmt: skip
        return Workload(
            name=name, title=title, decoder=decoder, pipeline=self._pipeline(point["precision"]),
            pipeline_source=self.fixed.source, pipeline_status="assumed", pipeline_note="lengths of the study",
        )  # fmt: skip

    def like_the_study(self, workload: Workload, precision_name: str) -> Workload:
        """A workload of the catalogue with the tokens of the study."""
        return workload.model_copy(update={"pipeline": self._pipeline(precision_name)})

    def simulate(self, point: Mapping[str, Any]) -> dict[str, float]:
        """Simulates one point: latencies in seconds and memory in bytes, by key of the objective.

        Raises:
            Infeasible: when the model does not fit the chip.
            SpecError: when the chip or the runtime cannot run its precision.
        """
        return self.simulate_workload(self.workload(point))

    def simulate_workload(self, workload: Workload) -> dict[str, float]:
        """The same for a workload that has a prefill and a decode phase and no other."""
        demand = Demand(build_graph(workload))
        program = lower([demand], self._platform, one_after_another(1))
        prefill, decode = release_latency(engine_named("auto").run(program), release=0).phases
        return _values(
            prefill.latency_ticks, decode.latency_ticks,
            sum(need.size_bytes for need in dram_needs([demand], self._platform)),
        )  # fmt: skip

    def simulate_many(self, points: Sequence[Mapping[str, Any]]) -> list[dict[str, float] | Infeasible]:
        """What `simulate` returns or raises for each of many points, to the last digit, in a fraction of the time.

        Points whose layers have the same operators are lowered together and simulated one after the other in one
        Program.
        """
        if self.chip.reconfiguration is not None:  # a family does not tell what each model's switches move
            return [self._alone(point) for point in points]
        columns = columns_of(points)
        results: list[dict[str, float] | Infeasible] = [{} for _ in points]
        for rows in alike(columns):
            group = {name: column[rows] for name, column in columns.items()}
            family = self._family(group)
            memory_bytes = self._memory_bytes(group, family)
            does_not_fit = (memory_bytes > self.chip.dram.usable_bytes) | _lacks_room(family, self._platform)
            for row in rows[does_not_fit].tolist():
                results[row] = self._why_infeasible(points[row])
            fitting, sizes_bytes = rows[~does_not_fit], memory_bytes[~does_not_fit].tolist()
            for row, (prefill_ticks, decode_ticks), size_bytes in zip(
                fitting.tolist(), self._phase_ticks(columns, fitting), sizes_bytes, strict=True
            ):
                results[row] = _values(prefill_ticks, decode_ticks, size_bytes)
        return results

    def _alone(self, point: Mapping[str, Any]) -> dict[str, float] | Infeasible:
        try:
            return self.simulate(point)
        except Infeasible as error:
            return error

    def _why_infeasible(self, point: Mapping[str, Any]) -> Infeasible:
        try:
            self.simulate(point)
        except Infeasible as error:
            return error
        raise EngineError(f"the point {dict(point)} fits the chip alone, but not among others")

    def _phase_ticks(self, columns: Columns, rows: Ints) -> Iterator[list[int]]:
        """The simulated latencies of prefill and decode of some points whose layers have the same operators."""
        instances = np.cumsum(columns["layers"][rows]) * (1 + self.decode_tokens)
        for part in np.split(rows, np.flatnonzero(np.diff(instances // _LAYERS_TOGETHER)) + 1):
            if len(part):
                family = self._family({name: column[part] for name, column in columns.items()})
                yield from _latencies(engine_named("auto").run(lower_family(family, self._platform))).tolist()

    def _pipeline(self, precision_name: str) -> tuple[PrefillPhase, DecodePhase]:
        return (
            PrefillPhase(phase="prefill", tokens=self.prompt_tokens, precision=precision_name),
            DecodePhase(phase="decode", tokens=self.decode_tokens, precision=precision_name),
        )

    # all points, bounded ---------------------------------------------------------------------------------------

    def bounds(self, columns: Columns) -> dict[str, Floats]:
        """Lower bounds of what `simulate` gives, for all points at once; memory is exact.

        Latencies are infinite where a model does not fit the DRAM, or the room for experts that are fetched early.

        Raises:
            SpecError: when the chip or the runtime cannot run a precision.
        """
        num_points = len(columns["layers"])
        bounds = {key: np.empty(num_points) for key in ("prefill_s", "decode_s", "total_s", "memory_bytes")}
        for rows in alike(columns):
            group = {name: column[rows] for name, column in columns.items()}
            for key, values in self._bounds_of_group(group).items():
                bounds[key][rows] = values
        does_not_fit = (bounds["memory_bytes"] > self.chip.dram.usable_bytes) | np.isinf(bounds["total_s"])
        for key in ("prefill_s", "decode_s", "total_s"):
            bounds[key][does_not_fit] = np.inf
        return bounds

    def _bounds_of_group(self, group: Columns) -> dict[str, Floats]:
        """The bounds of points whose layers have the same operators."""
        family = self._family(group)
        prefill, decode = (self._least_ticks(phase, family) for phase in family.phases)
        return {
            "prefill_s": prefill / TICKS_PER_SECOND,
            "decode_s": decode / TICKS_PER_SECOND,
            "total_s": (prefill + decode) / TICKS_PER_SECOND,
            "memory_bytes": self._memory_bytes(group, family).astype(np.float64),
        }

    def _least_ticks(self, phase: PhaseGraph, family: Family) -> Floats:
        """The least time of a phase of every model of a family: in the quickest of the modes that it may have."""
        in_modes = [self._least_ticks_on(platform, phase, family) for platform in self._platforms(phase.kind)]
        least: Floats = np.minimum.reduce(in_modes)
        return least + self._least_switch_ticks(phase.kind)

    def _platforms(self, phase: PhaseKind) -> tuple[Platform, ...]:
        """The chip as a phase may find it: in any of its modes if a rule chooses."""
        reconfiguration = self.chip.reconfiguration
        if reconfiguration is None:
            return (self._platform,)
        rule = reconfiguration.rule
        modes = {self._mode_by_order[phase]} if rule is None else {rule.above, rule.below}
        return tuple(self._platform.in_mode(mode) for mode in sorted(modes))

    @cached_property
    def _mode_by_order(self) -> dict[PhaseKind, str]:
        return dict(zip(_PHASES, by_order(self.chip, _PHASES), strict=True))

    def _least_switch_ticks(self, phase: PhaseKind) -> float:
        """The least time of the switch before a phase: each mode is left and entered once, if there are two."""
        reconfiguration = self.chip.reconfiguration
        if reconfiguration is None or reconfiguration.rule is not None or len(set(self._mode_by_order.values())) == 1:
            return 0.0
        return max(seconds_to_ticks(reconfiguration.latency.value) - ROUNDING_GUARD_TICKS, 0)

    def _least_ticks_on(self, platform: Platform, phase: PhaseGraph, family: Family) -> Floats:
        body, num_kinds = precision(phase.precision), int(family.kind.max()) + 1
        kept = kept_of(family.phases, platform, family.kind)
        blocks = [
            (block_time(lower_block(block.graph, platform, body, kept), platform, num_kinds), block.repeats)
            for block in phase.blocks
        ]
        least = least_phase_ticks(
            blocks, phase.num_steps, platform, replays_graph=phase.kind in self.runtime.graph_phases,
            kind=family.kind,
        )  # fmt: skip
        return np.where(_lacks_room(family, platform), np.inf, least)

    def _memory_bytes(self, group: Columns, family: Family) -> Ints:
        """Bytes of weights and of the KV cache at the end (shape: points)."""
        decode = family.phases[-1]
        stored = [
            stored_weight_bytes(
                ((operator, 1) for operator in block.graph.operators), precision(decode.precision), self._platform
            )
            for block in decode.blocks
        ]
        embedding, layer, output = (np.atleast_2d(size_bytes) for size_bytes in stored)
        per_layer, ends = np.broadcast_arrays(layer, embedding + output)
        sizes = self._sizes({name: group[name] for name in SIZES})
        elements_of_cache = cache_elements(sizes, group["layers"][:, None], self.prompt_tokens + self.decode_tokens)
        cache_bytes = self._platform.cache_bytes(np.asarray(elements_of_cache)[:, 0])
        total: Ints = group["layers"] * per_layer[family.kind, 0] + ends[family.kind, 0] + cache_bytes
        # Sizes of a study may be so large that whole numbers wrap round; as floats they do not.
        elements = group["layers"].astype(np.float64) * group["hidden"] * group["ffn_width"] * group["experts"]
        return np.where(elements > _MOST_ELEMENTS, np.iinfo(np.int64).max, total)

    # points that are lowered together --------------------------------------------------------------------------

    def _family(self, group: Columns) -> Family:
        """The graphs of points whose layers have the same operators."""
        keeps_something = any(platform.keeps_something for phase in _PHASES for platform in self._platforms(phase))
        kinds, kind_of_point = distinct_layers(group, KEPT_SIZES if keeps_something else SIZES)
        sizes = self._sizes({name: group[name][kinds] for name in SIZES})
        contexts = self.prompt_tokens + np.arange(1, self.decode_tokens + 1)
        prefill = decoder_graphs(sizes, rows=self.prompt_tokens, contexts=None)
        decode = decoder_graphs(sizes, rows=1, contexts=contexts)

        def blocks(graphs: tuple[OperatorGraph, OperatorGraph, OperatorGraph]) -> tuple[Block, ...]:
            embedding, layer, output = graphs
            return Block(embedding, 1), Block(layer, group["layers"]), Block(output, 1)

        body = str(group["precision"][0])
        phases = (
            PhaseGraph("prefill", body, self.prompt_tokens, blocks(prefill)),
            PhaseGraph("decode", body, self.decode_tokens, blocks(decode), self.decode_tokens),
        )
        return Family(phases, kind_of_point)

    def _sizes(self, kinds: Columns) -> LayerSizes:
        """Sizes as columns, so that the contexts of decoded tokens go along the rows."""
        column: dict[str, Any] = {name: values[:, None] for name, values in kinds.items()}
        window = kinds["attention_window"]
        column["attention_window"] = None if np.isinf(window[0]) else window[:, None].astype(np.int64)
        return LayerSizes(
            **column, is_sparse=bool(kinds["experts"][0] > 1), tied_head=self.fixed.tied_head,
            qkv_bias=self.fixed.qkv_bias, head_norm=self.fixed.head_norm,
        )  # fmt: skip

    @cached_property
    def _platform(self) -> Platform:
        return Platform(self.chip, self.runtime)


def _lacks_room(family: Family, platform: Platform) -> Bools:
    """Of which models the experts that are fetched early do not fit on the chip (shape: models)."""
    of_kind = np.asarray(lacks_landing_room(family.phases, platform))
    of_model: Bools = np.broadcast_to(of_kind, (int(family.kind.max()) + 1, 1))[family.kind, 0]
    return of_model


def _values(prefill_ticks: int, decode_ticks: int, memory_bytes: int) -> dict[str, float]:
    """By key of the objective, in base units."""
    return {
        "prefill_s": ticks_to_seconds(prefill_ticks),
        "decode_s": ticks_to_seconds(decode_ticks),
        "total_s": ticks_to_seconds(prefill_ticks + decode_ticks),
        "memory_bytes": float(memory_bytes),
    }


def _latencies(timeline: Timeline) -> Ints:
    """The latency of every phase of every job of a family, in ticks (shape: jobs, phases).

    A phase ends with its last task, and the next one begins then.
    """
    tasks, labels = timeline.program.folded_tasks, timeline.program.labels
    instance_end = np.maximum.reduceat(timeline.end_tick, tasks.starts[:-1])
    last_task = tasks.templates.fragment_offsets[1:] - 1
    phase = labels.operation_phase[tasks.templates.operation[last_task]][tasks.instances.fragment]
    first_of_job = np.zeros(len(phase), dtype=np.bool_)
    first_of_job[tasks.instances.job_offsets[:-1]] = True
    begins = np.flatnonzero(first_of_job | (np.diff(phase, prepend=-1) != 0))
    ends = np.maximum.reduceat(instance_end, begins).reshape(-1, len(labels.phases))
    starts = np.concatenate([timeline.release_start_tick[:, None], ends[:, :-1]], axis=1)
    latencies: Ints = ends - starts
    return latencies
