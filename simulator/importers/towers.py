"""Which keys of a vision tower's configuration mean what: one function per family, by its `model_type`.

How towers and language models are joined to models that see is in `joined`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from simulator.importers.config import Config

Fields = dict[str, Any]
"""Fields of a `VisionTower`, as a workload file has them."""


@dataclass(frozen=True)
class Tower:
    """What a configuration says of a vision tower, without the way to a decoder."""

    fields: Fields
    patch_sides: tuple[int, int]
    """Height and width of a patch in pixels."""
    image_sides: tuple[int, int] | None
    """Height and width of the image that the tower was made for; None for images of any size."""


def _layers(config: Config) -> Fields:
    """What most configurations call the same."""
    return {
        "layers": config.whole("num_hidden_layers"),
        "width": config.whole("hidden_size"),
        "heads": config.whole("num_attention_heads"),
        "ffn_width": config.whole("intermediate_size"),
    }


def _of_fixed_size(config: Config, fields: Fields, *, extra_tokens: int) -> Tower:
    """A tower whose positions are learned for one size of image."""
    image, patch = config.pair("image_size"), config.pair("patch_size")
    if image[0] < patch[0] or image[1] < patch[1]:
        config.complain("patch_size", f"must be at most image_size ({image[0]} x {image[1]})", list(patch))
    patches = (image[0] // patch[0]) * (image[1] // patch[1])
    fields |= {
        "patch_elements": config.whole("num_channels", default=3) * patch[0] * patch[1],
        "position_embeddings": patches + extra_tokens,
        **({"extra_tokens": extra_tokens} if extra_tokens else {}),
    }
    return Tower(_checked(config, fields), patch, image)


def _checked(config: Config, fields: Fields) -> Fields:
    if fields["width"] % fields["heads"]:
        key = "embed_dim" if config.has("embed_dim") else "hidden_size"
        config.complain(key, f"must be a multiple of the heads ({fields['heads']})", fields["width"])
    return fields


def _vit(config: Config) -> Tower:
    fields = _layers(config)
    if not config.flag("qkv_bias", default=True):
        config.complain("qkv_bias", "must be true", False, hint="a workload has biases in all matrices or in none")
    return _of_fixed_size(config, fields, extra_tokens=1)


def _siglip(config: Config) -> Tower:
    """Without a class token; with attention pooling at the end, where it is used by itself."""
    fields = _layers(config)
    if config.flag("vision_use_head", default=True):
        fields["resampler"] = {"queries": 1, "heads": fields["heads"], "ffn_width": fields["ffn_width"]}
    return _of_fixed_size(config, fields, extra_tokens=0)


def _clip(config: Config) -> Tower:
    """With a class token, and a norm before the layers."""
    fields = {**_layers(config), "has_patch_bias": False}
    fields["note"] = "the norm before the layers stands for that after them, which pools the class token"
    return _of_fixed_size(config, fields, extra_tokens=1)


def _intern(config: Config) -> Tower:
    """InternViT, as its makers write it and as `transformers` does."""
    fields = {**_layers(config), "has_layer_scale": True, "has_final_norm": not config.flag("use_mean_pooling", True)}
    for key in ("qk_normalization", "use_qk_norm"):
        if config.flag(key, default=False):
            config.complain(key, "must be false", True, hint="a workload cannot say head norms of a tower yet")
    norm = config.text("norm_type", default="layer_norm")
    if norm not in {"layer_norm", "rms_norm"}:
        config.complain("norm_type", "must be layer_norm or rms_norm", norm)
    fields["norm"] = "rms" if norm == "rms_norm" else "layer"
    key = "attention_bias" if config.has("attention_bias") else "qkv_bias"
    if not config.flag(key, default=True):
        config.complain(key, "must be true", False, hint="a workload has biases in all matrices or in none")
    config.flag("use_absolute_position_embeddings", default=True)
    return _of_fixed_size(config, fields, extra_tokens=1)


def _qwen(config: Config, width_key: str, fields: Fields) -> Tower:
    """What the three towers of Qwen have in common: images of any size, rotated, two frames to a patch."""
    side, width = config.whole("patch_size"), config.whole(width_key)
    channels = config.whole("in_chans" if config.has("in_chans") else "in_channels")
    fields = {
        "layers": config.whole("depth"),
        "width": width,
        "heads": config.whole("num_heads"),
        "patch_elements": channels * config.whole("temporal_patch_size", default=2) * side**2,
        "position_embeddings": 0,
        "has_rope": True,
        "merge": config.whole("spatial_merge_size", default=2) ** 2,
        **fields,
    }
    fields["merger_width"] = fields["merge"] * width
    return Tower(_checked(config, fields), (side, side), None)


def _qwen2(config: Config) -> Tower:
    ratio = config.whole("mlp_ratio", default=4)
    width = config.whole("embed_dim")
    return _qwen(config, "embed_dim", {"ffn_width": ratio * width, "has_patch_bias": False,
                                       "output_width": config.whole("hidden_size")})  # fmt: skip


def _qwen2_5(config: Config) -> Tower:
    side = config.whole("window_size", default=112) // config.whole("patch_size")
    return _qwen(config, "hidden_size", {
        "ffn_width": config.whole("intermediate_size"), "ffn": "swiglu", "norm": "rms", "has_patch_bias": False,
        "attention_window": side**2, "full_attention_layers": config.wholes("fullatt_block_indexes"),
        "output_width": config.whole("out_hidden_size"),
    })  # fmt: skip


def _qwen3(config: Config) -> Tower:
    fields: Fields = {
        "ffn_width": config.whole("intermediate_size"),
        "output_width": config.whole("out_hidden_size"),
        "position_embeddings": config.whole("num_position_embeddings"),
    }
    taps = config.wholes("deepstack_visual_indexes")
    if taps:
        fields |= {"extra_mergers": len(taps), "extra_merger_norm": "token"}
    return _qwen(config, "hidden_size", fields)


_VIT: Final = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
               "image_size": 224, "patch_size": 16, "num_channels": 3}  # fmt: skip
_QWEN_VIT: Final = {"depth": 32, "num_heads": 16, "in_channels": 3, "patch_size": 14, "spatial_merge_size": 2,
                    "temporal_patch_size": 2, "hidden_size": 3584}  # fmt: skip

TOWERS: Final[Mapping[str, tuple[Callable[[Config], Tower], Mapping[str, Any]]]] = {
    "vit": (_vit, _VIT),
    "siglip_vision_model": (_siglip, _VIT),
    "clip_vision_model": (_clip, {**_VIT, "patch_size": 32}),
    "intern_vit_6b": (_intern, {"num_channels": 3, "norm_type": "rms_norm", "use_mean_pooling": True}),
    "internvl_vision": (
        _intern,
        {**_VIT, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
         "image_size": [448, 448], "patch_size": [14, 14], "attention_bias": False},
    ),
    "qwen2_vl_vision": (_qwen2, {**_QWEN_VIT, "embed_dim": 1280, "mlp_ratio": 4}),
    "qwen2_5_vl_vision": (
        _qwen2_5,
        {**_QWEN_VIT, "intermediate_size": 3420, "window_size": 112, "out_hidden_size": 3584,
         "fullatt_block_indexes": [7, 15, 23, 31]},
    ),
    "qwen3_vl_vision": (
        _qwen3,
        {**_QWEN_VIT, "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "patch_size": 16,
         "out_hidden_size": 3584, "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24]},
    ),
    "qwen3_5_vision": (
        _qwen3,
        {**_QWEN_VIT, "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "patch_size": 16,
         "out_hidden_size": 3584, "num_position_embeddings": 2304},
    ),
}  # fmt: skip
"""Towers by `model_type`: how each is read, and what its configuration may leave out inside a larger model."""
