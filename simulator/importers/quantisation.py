"""How weights are stored: from a configuration's words to a precision of Roadline."""

from __future__ import annotations

from typing import Any, Final

from simulator.importers.config import Config
from simulator.precision import PRECISIONS

STORED: Final = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16"}
"""Precisions of weights that are not quantised."""

_FP8: Final = {"fp8", "fbgemm_fp8", "float8"}
_MODELOPT: Final = {"FP8": "fp8", "NVFP4": "nvfp4", "W4A16_AWQ": "w4a16", "W8A8_SQ_PER_CHANNEL": "w8a8",
                    "MXFP8": "mxfp8", "MXFP4": "mxfp4"}  # fmt: skip

_COMPRESSED: Final = {"float-quantized": "fp8", "int-quantized": "w8a8", "nvfp4-pack-quantized": "nvfp4",
                      "mxfp4-pack-quantized": "mxfp4"}  # fmt: skip
_INTEGERS: Final = {4: "w4a16", 8: "w8a16"}


def plain_precision(config: Config) -> tuple[str, str | None]:
    """The precision of weights that are not quantised, and a remark where the configuration does not decide it."""
    inside = [config.part(key) for key in ("text_config", "llm_config") if config.has(key)]
    named = (part.text(key) for part in (config, *inside) for key in ("dtype", "torch_dtype") if part.has(key))
    word = next(named, None)
    if word is None:
        return "bf16", "precision: the configuration names none, bf16 is taken"
    word = word.removeprefix("torch.")
    if word in STORED:
        return STORED[word], None
    return "bf16", f"precision: the weights are kept in {word}, bf16 is taken; --precision chooses another"


def matrix_precision(config: Config, plain: str) -> tuple[str, str | None]:
    """The precision of the language model's matrices, and a remark where it is quantised."""
    if not config.has("quantization_config"):
        return plain, None
    part = config.part("quantization_config")
    method = part.text("quant_method", default=part.text("quant_algo", default="unknown")).lower()
    chosen = _named(part, method)
    words = f"quantization_config: {method}{_details(part)}"
    if chosen is None:
        return plain, f"{words} has no precision here, {plain} is taken; --precision chooses another"
    group = PRECISIONS[chosen].group
    own = part.value("group_size")
    differs = isinstance(own, int) and group and own != group
    kept = [key for key in ("modules_to_not_convert", "ignore", "exclude_modules") if part.has(key)]
    remark = words if words.endswith(f" {chosen}") else f"{words} is {chosen}"
    remark += f", with groups of {group} instead of {own}" if differs else ""
    remark += f"; {kept[0]}: not followed, a phase has one precision" if kept else ""
    return chosen, remark


def _named(part: Config, method: str) -> str | None:
    """The precision that a quantisation means, None if there is none."""
    if method in {"awq", "gptq"}:
        return _INTEGERS.get(_bits(part))
    if method in _FP8:
        return "fp8"
    if method == "modelopt":
        return _MODELOPT.get(part.text("quant_algo", default=""))
    if method == "compressed-tensors":
        stored = part.text("format", default="")
        return _INTEGERS.get(_bits(part)) if stored == "pack-quantized" else _COMPRESSED.get(stored)
    return "mxfp4" if method == "mxfp4" else None


def packed_bits(config: Config) -> int:
    """Bits of a packed weight; 4 where the configuration does not say."""
    return (_bits(config.part("quantization_config")) if config.has("quantization_config") else 0) or 4


def _bits(part: Config) -> int:
    """Bits of a weight, 0 if the quantisation does not say."""
    bits: Any = part.value("bits") if part.has("bits") else part.value("w_bit")
    groups = part.value("config_groups")  # of compressed-tensors: all have the same bits where weights are packed
    if isinstance(groups, dict) and groups:
        weights = part.part("config_groups").part(next(iter(groups))).part("weights")
        bits = weights.value("num_bits")
    return bits if type(bits) is int and bits > 0 else 0


def _details(part: Config) -> str:
    words = [str(part.value(key)) for key in ("quant_algo", "format") if part.has(key)]
    words += [f"{part.value(key)} bits" for key in ("bits", "w_bit") if part.has(key)]
    return f" ({', '.join(words)})" if words else ""
