"""Models that see: how a tower and a language model stand in one configuration, and what joins them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from simulator.errors import nearest
from simulator.importers.config import Config
from simulator.importers.decoders import DECODERS
from simulator.importers.ignored import words
from simulator.importers.towers import TOWERS, Fields, Tower

Joiner = Callable[[Config, Tower, Fields], None]
"""Puts what is between tower and decoder into the tower's fields."""


@dataclass(frozen=True)
class JoinedFamily:
    """How a configuration with a tower and a language model is read."""

    join: Joiner
    text: str | None = None
    """The family of the language model; None where its part of the configuration says it."""
    vision: str | None = None
    """The family of the tower; None where its part of the configuration says it."""
    text_key: str = "text_config"
    """Where the language model stands. Older files have it at the top, beside the rest."""
    ignored: frozenset[str] = frozenset()
    """Keys at the top that cost nothing."""


def _merged_already(_config: Config, _tower: Tower, _text: Fields) -> None:
    """The merger stands in the tower's own configuration."""


def _two_matrices(config: Config, tower: Tower, text: Fields) -> None:
    """Every patch through two matrices of the decoder's width; the last layers may be left out."""
    chosen = config.text("vision_feature_select_strategy", default="default")
    if chosen != "default" and tower.fields.get("extra_tokens"):
        hint = "a workload cannot hand on the class token yet"
        config.complain("vision_feature_select_strategy", "must be default", chosen, hint)
    layer = config.value("vision_feature_layer")
    layer = -2 if layer is None else layer
    layers = tower.fields["layers"]
    if isinstance(layer, bool) or not isinstance(layer, int) or not -layers <= layer < 0:
        config.complain("vision_feature_layer", f"must be from -{layers} to -1", layer)
        layer = -1
    tower.fields.update({
        "layers": layers + layer + 1,
        "merge": 1,
        "merger_norm": "none",
        "merger_width": text["hidden"],
        "output_width": text["hidden"],
        "has_merger_bias": config.flag("multimodal_projector_bias", default=True),
    })  # fmt: skip


def _pixel_shuffle(config: Config, tower: Tower, text: Fields) -> None:
    """Neighbouring patches become one token, a norm over it, and two matrices of the decoder's width."""
    ratio = config.value("downsample_ratio")
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        config.complain("downsample_ratio", "must be a share above 0 and at most 1", ratio)
        ratio = 1
    merge = 1 / Fraction(ratio) ** 2
    if merge.denominator != 1:
        config.complain("downsample_ratio", "must be one over a whole number", ratio)
    for key in ("select_layer", "vision_feature_layer"):
        if config.has(key) and config.value(key) != -1:
            config.complain(key, "must be -1, the last layer", config.value(key))
    tower.fields.update({
        "merge": int(merge),
        "merger_norm": "token",
        "merger_width": text["hidden"],
        "output_width": text["hidden"],
    })  # fmt: skip


_TOKENS: Final = words(
    """
    image_token_id image_token_index video_token_id video_token_index vision_start_token_id vision_end_token_id
    vision_token_id image_seq_length ignore_index projector_hidden_act
    """
)
_TILES: Final = words(
    """
    dynamic_image_size force_image_size max_dynamic_patch min_dynamic_patch pad2square ps_version template
    use_backbone_lora use_llm_lora use_thumbnail system_message image_fold hidden_size
    """
)

JOINED: Final[Mapping[str, JoinedFamily]] = {
    "qwen2_vl": JoinedFamily(_merged_already, "qwen2", "qwen2_vl_vision", ignored=_TOKENS),
    "qwen2_5_vl": JoinedFamily(_merged_already, "qwen2", "qwen2_5_vl_vision", ignored=_TOKENS),
    "qwen3_vl": JoinedFamily(_merged_already, "qwen3", "qwen3_vl_vision", ignored=_TOKENS),
    "qwen3_5": JoinedFamily(
        _merged_already, "qwen3_5_text", "qwen3_5_vision", ignored=_TOKENS | words("language_model_only")
    ),
    "llava": JoinedFamily(_two_matrices, ignored=_TOKENS | words("vocab_size")),
    "internvl": JoinedFamily(_pixel_shuffle, ignored=_TOKENS | words("vision_feature_select_strategy")),
    "internvl_chat": JoinedFamily(_pixel_shuffle, text_key="llm_config", ignored=_TILES),
}
"""Models that see, by `model_type`."""


def text_part(config: Config, family: JoinedFamily) -> tuple[Config, str]:
    """The language model's part of a configuration, and its family."""
    is_at_the_top = family.text is not None and not config.has(family.text_key)
    part = config if is_at_the_top else config.part(family.text_key)
    return part, family.text or _known(part, DECODERS)


def vision_part(config: Config, family: JoinedFamily) -> tuple[Config, str]:
    """The tower's part of a configuration, and its family."""
    part = config.part("vision_config")
    part.mark("model_type")
    return part, family.vision or _known(part, TOWERS)


def _known(part: Config, rows: Mapping[str, Any]) -> str:
    """The model type of a part."""
    name = part.text("model_type")
    if name and name not in rows:
        part.complain("model_type", f"must be one of {', '.join(rows)}", name, hint=nearest(name, rows))
    return name
