"""Setup: a scenario whose names have become values, ready to be lowered.

Scenario (names) ──resolve──► Setup (specs) ──to_program──► Program
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from simulator.catalog import Catalog
from simulator.chip import Chip
from simulator.errors import SpecError
from simulator.lowering import Place
from simulator.precision import CACHE_PRECISIONS
from simulator.precision import precision as precision_named
from simulator.program import NONE, DropPolicy
from simulator.runtime import Runtime
from simulator.scenario.spec import BackgroundSpec, Scenario, StreamSpec
from simulator.technology import Technology
from simulator.terms import PhaseName
from simulator.units import seconds_to_ticks
from simulator.workload import Workload
from simulator.workload.phases import MOST_STEPS, DecodePhase

PrecisionChoice = str | Mapping[PhaseName, str] | None
"""One precision for the decoder's phases, or one per phase; None keeps those of the workload."""

MOST_TOKENS = {"prefill": 10**9, "decode": MOST_STEPS}
MOST_FRAMES = 1_000_000
"""Frames of one stream: more than a day at 10 Hz."""

NUM_PARTS = 32
"""Parts of a distribution of decoded tokens: the numbers between the second and the last percentile but one."""

_POLICY = {"drop-if-busy": DropPolicy.DROP_IF_BUSY, "latest": DropPolicy.LATEST, "fifo": DropPolicy.FIFO}


@dataclass(frozen=True)
class Stream:
    """Frames of one workload."""

    name: str
    workload: Workload
    """With the precision and token counts of the run; of several variants the one that needs the most memory."""
    release_ticks: tuple[int, ...]
    deadline_ticks: int
    """NONE if there is no deadline."""
    policy: DropPolicy
    queue_depth: int = NONE
    in_flight: int = 1
    priority: int = 0
    partition: str = ""
    """Empty for all clusters."""
    die: int | Mapping[PhaseName, int] = 0
    """The die, or one per phase; phases that are not named run on die 0."""

    variants: tuple[Workload, ...] = ()
    """Workloads of which each frame runs one, the longest first; empty if all run the same."""
    release_variant: tuple[int, ...] = ()
    """Which of them each frame runs."""

    def place(self, phase: PhaseName) -> Place:
        """Where a phase runs."""
        die = self.die if isinstance(self.die, int) else self.die.get(phase, 0)
        return Place(die, self.partition)


@dataclass(frozen=True)
class Setup:
    """Everything that one simulation depends on."""

    name: str
    chip: Chip
    runtime: Runtime
    streams: tuple[Stream, ...]
    background: Mapping[str, BackgroundSpec]
    seed: int = 0
    technology: Technology | None = None
    """That of the chip; None if it names none, or if nobody asks for energy."""
    power_state: str | None = None
    """The power state in which the chip is."""


def resolve(scenario: Scenario, catalog: Catalog, *, overrides: Mapping[str, Any] | None = None) -> Setup:
    """The values behind the names of a scenario.

    Args:
        scenario: the scenario.
        catalog: where names are looked up.
        overrides: changes to the chip, by dotted path.
    Raises:
        SpecError: when a name is unknown or the parts do not go together.
    """
    where = f"scenario {scenario.name}:"
    chip = load_chip(catalog, scenario.chip, scenario.power_state, None)
    if scenario.set:
        chip = catalog.changed(chip, scenario.set, f"{where} set:")
    if overrides:
        chip = catalog.changed(chip, overrides)
    duration_ticks, loaded = seconds_to_ticks(scenario.duration), catalog.load_runtime(scenario.runtime)
    workloads = [catalog.load_workload(spec.workload) for spec in scenario.streams.values()]
    try:
        streams = tuple(
            _stream(name, spec, workload, duration_ticks, (scenario.seed, number))
            for number, ((name, spec), workload) in enumerate(zip(scenario.streams.items(), workloads, strict=True))
        )
        runtime = keeping(loaded, kv_precision=scenario.kv_precision, head_precision=scenario.head_precision)
    except SpecError as error:
        raise SpecError(f"{where} {error.message}", hint=error.hint) from None
    return Setup(
        scenario.name, chip, runtime, streams, scenario.background, scenario.seed,
        catalog.technology_of(chip), scenario.power_state,
    )  # fmt: skip


def load_chip(
    catalog: Catalog, chip: Chip | str | Path, power_state: str | None, overrides: Mapping[str, Any] | None
) -> Chip:
    """A chip in a power state, then with changes by dotted path.

    Raises:
        SpecError: when there is no such chip or state, or a change is not valid.
    """
    known = chip if isinstance(chip, Chip) else catalog.load_chip(chip)
    in_state = known if power_state is None else known.in_power_state(power_state)
    return catalog.changed(in_state, overrides) if overrides else in_state


def single_run(
    chip: Chip, workload: Workload, runtime: Runtime, *, precision: PrecisionChoice = None,
    kv_precision: str | None = None, head_precision: str | None = None, prompt_tokens: int | None = None,
    decode_tokens: int | None = None, seed: int = 0,
    technology: Technology | None = None, power_state: str | None = None,
) -> Setup:  # fmt: skip
    """One frame of one workload, alone on the chip; without its technology there is no energy.

    Raises:
        SpecError: when the workload has no phase for a token count, or the precision does not exist.
    """
    configured = configure(workload, precision=precision, prompt_tokens=prompt_tokens, decode_tokens=decode_tokens)
    deadline = NONE if workload.deadline is None else seconds_to_ticks(workload.deadline)
    stream = Stream(workload.name, configured, (0,), deadline, DropPolicy.FIFO)
    stack = keeping(runtime, kv_precision=kv_precision, head_precision=head_precision)
    name = f"{workload.name} on {chip.name}" + (f" at {power_state}" if power_state else "")
    return Setup(name, chip, stack, (stream,), {}, seed, technology, power_state)


def keeping(runtime: Runtime, *, kv_precision: str | None, head_precision: str | None) -> Runtime:
    """The runtime with other precisions of KV cache and LM head; None keeps its own.

    Raises:
        SpecError: when a precision does not exist, or the runtime has no kernel for that of the head.
    """
    if kv_precision is not None:
        try:
            if precision_named(kv_precision).name not in CACHE_PRECISIONS:
                formats = ", ".join(CACHE_PRECISIONS)
                raise SpecError(f'precision: must be a format of numbers ({formats}), got "{kv_precision}"')
        except SpecError as error:
            raise SpecError(f"kv_{error.message}", hint=error.hint) from None
        runtime = runtime.model_copy(update={"kv_precision": kv_precision})
    if head_precision is not None:
        if head_precision != "body" and head_precision not in runtime.kernels:
            raise SpecError(
                f'head_precision: runtime {runtime.name} must have a kernel for it, got "{head_precision}"',
                hint=f"it has {', '.join(runtime.kernels)}; body is the precision of the other matrices",
            )
        runtime = runtime.model_copy(update={"head_precision": head_precision})
    return runtime


def configure(
    workload: Workload, *, precision: PrecisionChoice, prompt_tokens: int | None, decode_tokens: int | None
) -> Workload:
    """The workload with other precisions or token counts.

    Raises:
        SpecError: when the workload has no such phase, or a precision does not exist.
    """
    precisions = _precisions(workload, precision)
    tokens = {
        name: count for name, count in (("prefill", prompt_tokens), ("decode", decode_tokens)) if count is not None
    }
    names = [phase.name for phase in workload.pipeline]
    for what, name in [("precision", name) for name in precisions] + [("token count", name) for name in tokens]:
        if name not in names:
            raise SpecError(
                f'{what}: workload {workload.name} must have a "{name}" phase, it has {", ".join(names)}',
            )
    for name, count in tokens.items():
        if not 1 <= count <= MOST_TOKENS[name]:
            raise SpecError(f"token count of {name}: must be from 1 to {MOST_TOKENS[name]:,}, got {count:,}")
    pipeline = []
    for phase in workload.pipeline:
        update: dict[str, object] = {"precision": precisions.get(phase.name, phase.precision)}
        if phase.name in tokens:
            update["tokens"] = tokens[phase.name]
            update |= {"counts": None} if isinstance(phase, DecodePhase) else {}
        try:
            pipeline.append(type(phase).model_validate({**phase.model_dump(), **update}))
        except ValidationError as error:  # such as a chunk that no longer divides the tokens
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SpecError(f"token count of {phase.name}: {told}") from None
    return workload.model_copy(update={"pipeline": tuple(pipeline)})


def _precisions(workload: Workload, choice: PrecisionChoice) -> dict[str, str]:
    """Precision by phase. A single precision is that of the decoder, or of every phase if there is no decoder."""
    if choice is None:
        return {}
    if isinstance(choice, str):
        of_decoder = [phase.name for phase in workload.pipeline if phase.component == "decoder"]
        precisions = dict.fromkeys(of_decoder or [phase.name for phase in workload.pipeline], choice)
    else:
        precisions = {str(phase): name for phase, name in choice.items()}
    for name in precisions.values():
        precision_named(name)
    return precisions


def _stream(
    name: str, spec: StreamSpec, workload: Workload, duration_ticks: int, seed: tuple[int, int]
) -> Stream:  # fmt: skip
    num_frames = duration_ticks // seconds_to_ticks(1 / spec.rate)
    if num_frames > MOST_FRAMES:
        raise SpecError(
            f"streams.{name}: must have at most {MOST_FRAMES:,} frames, got {num_frames:,}",
            hint="make the duration shorter or the rate lower",
        )
    workload = _configured(name, spec, workload)
    offset, period = seconds_to_ticks(spec.offset), seconds_to_ticks(1 / spec.rate)
    ticks = tuple(range(offset, duration_ticks, period))
    if not ticks:
        raise SpecError(
            f"streams.{name}: must release a frame before the end of the run, got an offset of {spec.offset:g} s",
            hint="make the duration longer or the offset shorter",
        )
    deadline = NONE if spec.deadline is None else seconds_to_ticks(spec.deadline)
    depth = NONE if spec.queue_depth is None else spec.queue_depth
    variants, of_release = _drawn(workload, len(ticks), seed)
    return Stream(
        name, variants[0] if variants else workload, ticks, deadline, _POLICY[spec.policy], depth, spec.in_flight,
        spec.priority, spec.partition or "", spec.die, variants, of_release,
    )  # fmt: skip


def _drawn(
    workload: Workload, num_frames: int, seed: tuple[int, int]
) -> tuple[tuple[Workload, ...], tuple[int, ...]]:  # fmt: skip
    """The workload with each number of decoded tokens that its frames draw, the longest first, and what each draws.

    Each of `NUM_PARTS` equally likely parts of the distribution is stood for by the number in its middle.
    """
    place, phase = next(
        ((place, phase) for place, phase in enumerate(workload.pipeline) if isinstance(phase, DecodePhase)), (0, None)
    )
    if phase is None or phase.counts is None:
        return (), ()
    per_pass = phase.tokens_per_pass
    of_part = [
        min(-(-phase.counts.quantile((part + 0.5) / NUM_PARTS) // per_pass) * per_pass, MOST_STEPS)
        for part in range(NUM_PARTS)
    ]
    drawn = np.random.default_rng(seed).integers(0, NUM_PARTS, num_frames).tolist()
    numbers = sorted({of_part[part] for part in drawn}, reverse=True)
    variants = []
    for number in numbers:
        pipeline = list(workload.pipeline)
        pipeline[place] = phase.model_copy(update={"tokens": number, "counts": None})
        variants.append(workload.model_copy(update={"pipeline": tuple(pipeline)}))
    return tuple(variants), tuple(numbers.index(of_part[part]) for part in drawn)


def _configured(name: str, spec: StreamSpec, workload: Workload) -> Workload:
    """The workload of a stream with the precisions and token counts of the stream."""
    try:
        return configure(
            workload, precision=spec.precision, prompt_tokens=spec.prompt_tokens, decode_tokens=spec.decode_tokens
        )
    except SpecError as error:
        raise SpecError(f"streams.{name}: {error.message}", hint=error.hint) from None
