"""Workload: components, inputs and the pipeline of phases that one frame (or one request) goes through."""

from __future__ import annotations

from pydantic import Field, model_validator

from simulator.sourced import ChosenDuration, ChosenFrequency, Status
from simulator.spec import Spec
from simulator.terms import COMPONENT_OF_KIND
from simulator.workload.decoder import Decoder
from simulator.workload.network import Network
from simulator.workload.phases import DecodePhase, NetworkPhase, Phase, PrefillPhase, VisionPhase
from simulator.workload.transformer import ActionExpert, VisionTower


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
        self._check_passes()
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

    def _check_passes(self) -> None:
        """Several rows beside a context need ordinary attention, and no trace says which experts they pick."""
        for phase in self.pipeline:
            fields = [name for name in ("reused_tokens", "chunk", "speculation") if getattr(phase, name, None)]
            if isinstance(phase, DecodePhase) and phase.tokens_per_pass > 1:
                fields.append("tokens_per_pass")
            if not fields or self.decoder is None:
                continue
            if self.decoder.latent is not None or "linear" in self.decoder.kinds:
                raise ValueError(f"{fields[0]}: must not be set for a decoder with latent or linear attention")
            if self.decoder.routing is not None:
                raise ValueError(f"{fields[0]}: must not be set for a decoder with a router trace (routing)")
            speculation = phase.speculation if isinstance(phase, DecodePhase) else None
            if speculation is not None and (speculation.draft_vocabulary or 0) > self.decoder.vocabulary:
                raise ValueError(
                    f"speculation.draft_vocabulary: must be at most the decoder's {self.decoder.vocabulary:,}, "
                    f"got {speculation.draft_vocabulary:,}"
                )
            if speculation is not None and self.decoder.is_sparse and speculation.draft_ffn_width is None:
                raise ValueError("speculation.draft_ffn_width: must be given for a decoder with experts")

    def _check_pruning(self) -> None:
        """Pruned tokens are some of those that the tower makes, and the prompt has room for all that are handed on."""
        prompts = [phase.tokens for phase in self.pipeline if isinstance(phase, PrefillPhase)]
        for phase in self.pipeline:
            if isinstance(phase, VisionPhase):
                assert self.vision is not None  # checked before
                made = self.vision.tokens(phase.images, phase.patches)
                if phase.kept_tokens is not None and phase.kept_tokens > made:
                    raise ValueError(f"kept_tokens: must be at most the {made} of the tower, got {phase.kept_tokens}")
                handed_on = phase.kept_tokens or made
                if prompts and prompts[0] < handed_on:
                    raise ValueError(f"tokens: prefill must have the {handed_on} visual tokens, got {prompts[0]}")
