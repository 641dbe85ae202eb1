"""Which keys of a language model's configuration mean what: one row per family, by its `model_type`.

A row names the keys that hold sizes, the values that models of the family may leave out, what all of them have without
saying so, and functions that read what several keys say together. Keys without a cost are in `ignored`; a key that is
in none of these is reported. Rows follow the configuration classes of `transformers`, and a test holds them against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.importers.config import Config
from simulator.importers.ignored import words
from simulator.importers.readers import (
    Fields,
    Reader,
    biases,
    biases_of_internlm,
    dense_layers_of_qwen,
    experts,
    experts_of_deepseek,
    latent_attention,
    linear_attention,
    partial_rope,
    shared_expert_of_qwen,
    window_everywhere,
    window_of_qwen,
    windows_in_turn,
)


@dataclass(frozen=True)
class Family:
    """How the configuration of one kind of language model is read."""

    defaults: Mapping[str, Any]
    """What the configuration class of the family fills in. Sizes among these hold only inside a larger model."""
    readers: tuple[Reader, ...]
    """Called in order, once the plain sizes are there."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields that all models of the family have."""
    ignored: frozenset[str] = frozenset()
    """Keys of this family that cost nothing."""


SIZES: Final = {
    "num_hidden_layers": "layers",
    "hidden_size": "hidden",
    "num_attention_heads": "heads",
    "intermediate_size": "ffn_width",
    "vocab_size": "vocabulary",
}
"""Keys that every language model has, with the fields that they fill."""

MOST_LAYERS: Final = 10_000
"""Far above any model, and few enough to list."""

_ACTIVATIONS: Final = {"silu": "swiglu", "swish": "swiglu", "gelu": "geglu", "gelu_new": "geglu",
                       "gelu_pytorch_tanh": "geglu", "gelu_fast": "geglu"}  # fmt: skip


_LLAMA: Final = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "hidden_act": "silu", "tie_word_embeddings": False,
}  # fmt: skip
_MIXTRAL: Final = {**_LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8}
_QWEN2: Final = {**_LLAMA, "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32}
_QWEN_MOE: Final = {**_QWEN2, "hidden_size": 2048, "num_hidden_layers": 24}
_QWEN_NEXT: Final = {
    **_QWEN_MOE, "intermediate_size": 5632, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
    "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
    "partial_rotary_factor": 0.25, "num_hidden_layers": 48, "num_attention_heads": 16,
    "num_key_value_heads": 2, "head_dim": 256,
}  # fmt: skip
_GEMMA: Final = {
    "vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
}  # fmt: skip
_GEMMA2: Final = {
    **_GEMMA, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
    "num_key_value_heads": 4, "sliding_window": 4096, "sliding_window_pattern": 2,
}  # fmt: skip
_DEEPSEEK: Final = {**_LLAMA, "vocab_size": 102400, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
                    "qk_rope_head_dim": 64, "v_head_dim": 128}  # fmt: skip
_BIDIRECTIONAL: Final = words("use_bidirectional_attention")
_DEEPSEEK_IGNORED: Final = words(
    """
    ep_size head_dim n_group num_key_value_heads num_nextn_predict_layers routed_scaling_factor scoring_func topk_group
    topk_method
    """
)

DECODERS: Final[Mapping[str, Family]] = {
    "llama": Family(_LLAMA, (biases,)),
    "internlm2": Family(_LLAMA, (biases_of_internlm,)),
    "minicpm": Family(
        {**_LLAMA, "tie_word_embeddings": True}, (biases,),
        ignored=words("scale_emb scale_depth dim_model_base"),
    ),
    "mistral": Family({**_MIXTRAL, "sliding_window": 4096}, (window_everywhere,)),
    "mixtral": Family(_MIXTRAL, (window_everywhere, experts("num_local_experts", width=None))),
    "phi3": Family(
        {**_LLAMA, "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192},
        (biases, partial_rope, window_everywhere),
    ),
    "qwen2": Family(_QWEN2, (window_of_qwen,), {"qkv_bias": True}, words("use_mrope")),
    "qwen3": Family({**_QWEN2, "head_dim": 128}, (biases, window_of_qwen), {"head_norm": True}),
    "qwen2_moe": Family(
        {**_QWEN_MOE, "intermediate_size": 5632, "num_attention_heads": 16, "num_key_value_heads": 16},
        (window_of_qwen, experts("num_experts"), dense_layers_of_qwen, shared_expert_of_qwen),
        {"qkv_bias": True}, words("qkv_bias"),
    ),
    "qwen3_moe": Family(
        {**_QWEN_MOE, "intermediate_size": 6144, "num_key_value_heads": 4, "head_dim": 128},
        (biases, window_of_qwen, experts("num_experts", "num_local_experts"), dense_layers_of_qwen),
        {"head_norm": True},
    ),
    "qwen3_next": Family(
        _QWEN_NEXT,
        (biases, partial_rope, linear_attention, experts("num_experts"), dense_layers_of_qwen,
         shared_expert_of_qwen),
        {"output_gate": True, "head_norm": True}, words("use_sliding_window"),
    ),
    "qwen3_5_text": Family(
        {**_QWEN_NEXT, "vocab_size": 248320, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 32,
         "num_key_value_heads": 4},
        (biases, partial_rope, linear_attention), {"output_gate": True, "head_norm": True},
        words("mtp_num_hidden_layers mtp_use_dedicated_embeddings"),
    ),
    "olmoe": Family(
        {**_LLAMA, "vocab_size": 50304, "hidden_size": 2048, "intermediate_size": 2048, "num_hidden_layers": 16,
         "num_attention_heads": 16, "num_key_value_heads": 16},
        (biases, experts("num_experts", width=None)),
        {"head_norm": True, "head_norm_width": "all heads"}, words("clip_qkv"),
    ),
    "gemma": Family(_GEMMA, (biases,), ignored=_BIDIRECTIONAL),
    "gemma2": Family(_GEMMA2, (biases, windows_in_turn), {"output_norms": True},
                     _BIDIRECTIONAL | words("cache_implementation")),
    "gemma3_text": Family(
        {**_GEMMA2, "vocab_size": 262208, "sliding_window_pattern": 6}, (biases, windows_in_turn),
        {"output_norms": True, "head_norm": True}, _BIDIRECTIONAL | words("cache_implementation"),
    ),
    "deepseek_v2": Family(
        {**_DEEPSEEK, "moe_intermediate_size": 1407},
        (biases, latent_attention, experts("n_routed_experts"), experts_of_deepseek), ignored=_DEEPSEEK_IGNORED,
    ),
    "deepseek_v3": Family(
        {**_DEEPSEEK, "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61,
         "num_attention_heads": 128, "moe_intermediate_size": 2048},
        (biases, latent_attention, experts("n_routed_experts"), experts_of_deepseek), ignored=_DEEPSEEK_IGNORED,
    ),
    "gpt_oss": Family(
        {**_LLAMA, "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 36,
         "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "attention_bias": True,
         "sliding_window": 128, "sliding_window_pattern": 2},
        (biases, windows_in_turn, experts("num_local_experts", width=None)),
        {"attention_sinks": True, "ffn_bias": True},
        words("swiglu_limit swiglu_alpha experts_per_token initial_context_length"),
    ),
}  # fmt: skip
"""Language models by `model_type`."""


def decoder_fields(config: Config, family: Family) -> Fields:
    """Fields of the decoder that a configuration describes; what is wrong with it is noted in `config`."""
    fields: Fields = {name: config.whole(key) for key, name in SIZES.items() if name != "layers"}
    fields = {"layers": config.whole("num_hidden_layers", most=MOST_LAYERS), **fields}
    heads = fields["heads"]
    fields["kv_heads"] = config.whole("num_key_value_heads", default=heads)
    if heads % fields["kv_heads"]:
        config.complain("num_key_value_heads", f"must divide num_attention_heads ({heads})", fields["kv_heads"])
    if config.value("head_dim") is None and fields["hidden"] % heads:
        rule = f"must be a multiple of num_attention_heads ({heads}) where there is no head_dim"
        config.complain("hidden_size", rule, fields["hidden"])
    fields["head_dim"] = config.whole("head_dim", default=max(1, fields["hidden"] // heads))
    config.mark("hidden_act")  # Gemma has both
    key = "hidden_activation" if config.has("hidden_activation") else "hidden_act"
    activation = config.text(key)
    if activation not in _ACTIVATIONS:
        config.complain(key, f"must be one of {', '.join(_ACTIVATIONS)}", activation)
    fields["ffn"] = _ACTIVATIONS.get(activation, "swiglu")
    fields["tied_head"] = config.flag("tie_word_embeddings")
    for read in family.readers:
        read(config, fields)
    return _with_experts(config, {**fields, **family.fixed})


def _with_experts(config: Config, fields: Fields) -> Fields:
    """Fields in which the width of the FFN is that of an expert, and dense layers have their own."""
    if "expert_width" not in fields:
        return fields
    dense_width, layers = fields["ffn_width"], fields["layers"]
    fields["ffn_width"] = fields.pop("expert_width")
    dense = fields.get("dense_layers", 0)
    if dense >= layers:
        config.complain("num_hidden_layers", f"must be more than the dense layers ({dense})", layers)
    if dense:
        fields["dense_width"] = dense_width
    return fields
