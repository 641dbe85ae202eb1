"""Workload: components, inputs and the pipeline of phases that one frame (or one request) goes through."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.precision import PRECISIONS
from simulator.sourced import ChosenDuration, ChosenFrequency, Status
from simulator.spec import Spec
from simulator.terms import COMPONENT_OF_KIND, PhaseKind, PhaseName
from simulator.workload.decoder import Decoder
from simulator.workload.network import Network
from simulator.workload.transformer import ActionExpert, VisionTower

MOST_STEPS = 100_000
"""Steps of a phase, each of which is simulated: far above any answer, and far below what fills the memory."""


class _Phase(Spec):
    phase: PhaseKind
    """What it does."""
    precision: str
    """Precision of the matrices of this phase."""

    @property
    def name(self) -> PhaseName:
        """Its name among the phases of the workload."""
        return self.phase

    @property
    def component(self) -> str:
        """The component that it runs."""
        return COMPONENT_OF_KIND[self.phase]

    @model_validator(mode="after")
    def _precision_exists(self) -> _Phase:
        if self.precision not in PRECISIONS:
            raise ValueError(f'precision: must be one of {", ".join(PRECISIONS)}, got "{self.precision}"')
        return self


class VisionPhase(_Phase):
    """Images through the vision tower. Attention stays within one image."""

    phase: Literal["vision"]
    images: int = Field(gt=0)
    """Images of one frame: cameras times frames of history."""
    patches: int = Field(gt=0)
    """Patches of one image."""
    kept_tokens: int | None = Field(default=None, gt=0)
    """Tokens that are handed on after pruning, of all that the tower makes; picking them costs nothing here."""


class PrefillPhase(_Phase):
    """The prompt through the decoder, all tokens at once."""

    phase: Literal["prefill"]
    tokens: int = Field(gt=0)
    """Prompt tokens, visual tokens included."""


class DecodePhase(_Phase):
    """Tokens one by one. Step t (from 1) attends to the prompt and to t tokens."""

    phase: Literal["decode"]
    tokens: int = Field(gt=0, le=MOST_STEPS)
    """Decoded tokens."""


class ActionPhase(_Phase):
    """The action expert, `steps` times over all its tokens, reading the backbone's KV cache."""

    phase: Literal["action"]
    steps: int = Field(gt=0, le=MOST_STEPS)
    """Integration steps, at most."""
    expected_steps: int | None = Field(default=None, gt=0)
    """Steps after which a sampler that may stop early does so on average: those of a run; None for all."""
    tokens: int = Field(gt=0)
    """Action tokens (waypoints)."""
    samples: int = Field(gt=0, default=1)
    """Trajectories computed as one batch."""

    @model_validator(mode="after")
    def _stops_in_time(self) -> ActionPhase:
        if self.expected_steps is not None and self.expected_steps > self.steps:
            raise ValueError(f"expected_steps: must be at most steps ({self.steps}), got {self.expected_steps}")
        return self


class NetworkPhase(_Phase):
    """A network, once."""

    phase: Literal["network"]
    network: str
    """Which of the workload's networks; the phase has its name."""

    @property
    def name(self) -> PhaseName:
        """Its name among the phases of the workload."""
        return self.network

    @property
    def component(self) -> str:
        """The component that it runs."""
        return self.network


Phase = Annotated[VisionPhase | PrefillPhase | DecodePhase | ActionPhase | NetworkPhase, Field(discriminator="phase")]


class PublishedLatency(Spec):
    """A latency that somebody published for this workload, for comparison."""

    chip: str
    """Chip, as published."""
    precision: str
    """Precision, as published."""
    phase: str
    """Phase or `total`."""
    latency: ChosenDuration
    """The figure."""
    source: str
    """Where it was read: an id of docs/sources.md."""
    status: Status
    """How far it can be trusted."""
    note: str | None = None
    """Conditions."""


class Workload(Spec):
    """A model with its inputs."""

    name: str
    """The name by which commands find it; the file has the same name."""
    title: str
    """The name for people."""
    decoder: Decoder | None = None
    """The language backbone."""
    vision: VisionTower | None = None
    """The vision tower."""
    action: ActionExpert | None = None
    """The action expert."""
    networks: dict[str, Network] = Field(default_factory=dict)
    """Everything else, by name."""
    pipeline: tuple[Phase, ...] = Field(min_length=1)
    """Phases of one frame, in order."""
    pipeline_source: str = Field(min_length=1)
    """Where the token and step counts were read."""
    pipeline_status: Status
    """How far they can be trusted."""
    pipeline_note: str | None = None
    """How derived counts come about."""
    rate: ChosenFrequency | None = None
    """Frames per second that the application asks for."""
    deadline: ChosenDuration | None = None
    """Latency that the application allows."""
    published: tuple[PublishedLatency, ...] = ()
    """Latencies that others measured."""
    parameters_published: int | None = Field(default=None, gt=0)
    """Published parameter count of the whole model."""

    @model_validator(mode="after")
    def _phases_have_components(self) -> Workload:
        reserved = {*COMPONENT_OF_KIND, *COMPONENT_OF_KIND.values()}
        for name in self.networks:
            if name in reserved:
                raise ValueError(f'networks: must not have the name of a phase or component, got "{name}"')
        names = [phase.name for phase in self.pipeline]
        for phase in self.pipeline:
            if isinstance(phase, NetworkPhase):
                if phase.network not in self.networks:
                    known = ", ".join(self.networks) or "none"
                    raise ValueError(f'pipeline: must run one of the networks ({known}), got "{phase.network}"')
            elif getattr(self, phase.component) is None:
                raise ValueError(f'pipeline: phase "{phase.name}" needs the component "{phase.component}"')
        if len(set(names)) != len(names):
            raise ValueError(f"pipeline: each phase may appear once, got {', '.join(names)}")
        for later, earlier in (("decode", "prefill"), ("action", "prefill")):
            if later in names and (earlier not in names or names.index(earlier) > names.index(later)):
                raise ValueError(f'pipeline: phase "{later}" needs a "{earlier}" phase before it')
        self._check_pruning()
        if self.action and self.decoder and "action" in names and "joint" in self.action.attention:
            if self.decoder.pattern or self.decoder.latent:
                raise ValueError("action: must read keys and values of layers that are alike: no pattern, no latent")
            shared = ("kv_heads", "head_dim", "layers")
            wrong = [name for name in shared if getattr(self.action, name) != getattr(self.decoder, name)]
            if wrong:
                raise ValueError(
                    f"action: reads the decoder's KV cache, so {', '.join(wrong)} must be those of the decoder"
                )
        return self

    def _check_pruning(self) -> None:
        """Pruned tokens are some of those that the tower makes, and the prompt has room for them."""
        prompts = [phase.tokens for phase in self.pipeline if isinstance(phase, PrefillPhase)]
        for phase in self.pipeline:
            if isinstance(phase, VisionPhase) and phase.kept_tokens is not None:
                assert self.vision is not None  # checked before
                made = self.vision.tokens(phase.images, phase.patches)
                if phase.kept_tokens > made:
                    raise ValueError(f"kept_tokens: must be at most the {made} of the tower, got {phase.kept_tokens}")
                if prompts and prompts[0] < phase.kept_tokens:
                    raise ValueError(f"tokens: prefill must have the {phase.kept_tokens} kept tokens, got {prompts[0]}")
