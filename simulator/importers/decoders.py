"""Which keys of a language model's configuration mean what: one row per family, by its `model_type`.

A row names the keys that hold sizes, the values that models of the family may leave out, what all of them have without
saying so, and functions that read what several keys say together. Keys without a cost are in `ignored`; a key that is
in none of these is reported. Rows follow the configuration classes of `transformers`, and a test holds them against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.importers.config import Config
from simulator.importers.ignored import words

Fields = dict[str, Any]
"""Fields of a `Decoder`, as a workload file has them."""

Reader = Callable[[Config, Fields], None]
"""Reads what some keys say together into the fields."""


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


def cannot(config: Config, key: str, rule: str, feature: str) -> None:
    """Notes that a workload has no words for what a key asks for."""
    config.complain(key, rule, config.value(key), hint=f"a workload cannot say {feature} yet")


def _biases(config: Config, fields: Fields) -> None:
    """Biases of all projections of attention, and of all matrices of the FFN."""
    if config.flag("attention_bias", default=False):
        fields |= {"qkv_bias": True, "o_bias": True}
    if config.flag("mlp_bias", default=False):
        fields["ffn_bias"] = True


def _biases_of_internlm(config: Config, fields: Fields) -> None:
    """Biases of the projections of attention."""
    if config.flag("bias", default=False):
        fields |= {"qkv_bias": True, "o_bias": True}


def _partial_rope(config: Config, fields: Fields) -> None:
    """A share of every head that is rotated."""
    key = "partial_rotary_factor"
    share = (config.part("rope_parameters") if config.has("rope_parameters") else config).value(key)
    share = config.value(key) if share is None else share
    if share is None:
        return
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        config.complain(key, "must be a share above 0 and at most 1", share)
    elif share < 1:
        fields["rope_dim"] = int(fields["head_dim"] * share)


def _window_everywhere(config: Config, fields: Fields) -> None:
    """One sliding window for all layers."""
    if config.value("sliding_window") is not None:
        fields["attention_window"] = config.whole("sliding_window")


def _window_of_qwen(config: Config, fields: Fields) -> None:
    """A window that is given and yet unused, unless a switch says so; then the first layers have none."""
    is_used = config.flag("use_sliding_window", default=False)
    first = config.whole("max_window_layers", default=28, least=0)
    kinds = config.texts("layer_types")
    has_window = config.has("sliding_window")
    if is_used and has_window:
        layers = fields["layers"]
        _set_kinds(config, fields, kinds or ("full_attention",) * min(first, layers)
                   + ("sliding_attention",) * max(0, layers - first))  # fmt: skip


def _windows_in_turn(config: Config, fields: Fields) -> None:
    """Layers with a sliding window, and each n-th without, unless the kinds are listed."""
    kinds = config.texts("layer_types")
    if not kinds:
        newer = "_sliding_window_pattern"
        step = config.whole(newer if config.has(newer) else "sliding_window_pattern")
        turn = ("sliding_attention",) * (step - 1) + ("full_attention",)
        kinds = tuple(turn[layer % step] for layer in range(fields["layers"]))
    config.has("sliding_window_pattern"), config.has("_sliding_window_pattern")
    _set_kinds(config, fields, kinds)


def _set_kinds(config: Config, fields: Fields, names: tuple[str, ...]) -> None:
    """Kinds of layers as the shortest pattern that repeats."""
    layers = fields["layers"]
    if len(names) != layers:
        config.complain("layer_types", f"must have one entry per layer ({layers})", len(names))
        return
    unknown = [name for name in names if name not in _KINDS]
    if unknown:
        config.complain("layer_types", f"must have {' or '.join(_KINDS)}", unknown[0])
        return
    kinds = tuple(_KINDS[name] for name in names)
    if "window" in kinds:
        fields["attention_window"] = config.whole("sliding_window")
    if len(set(kinds)) > 1 or "linear" in kinds:
        lengths = range(1, layers + 1)
        period = next(n for n in lengths if all(kinds[layer] == kinds[layer % n] for layer in range(layers)))
        fields["pattern"] = kinds[:period]


_KINDS: Final = {"full_attention": "full", "sliding_attention": "window", "linear_attention": "linear"}


def _linear_attention(config: Config, fields: Fields) -> None:
    """Gated delta nets, and each n-th layer with attention."""
    kinds = config.texts("layer_types")
    step = config.whole("full_attention_interval", default=4)
    turn = ("linear_attention",) * (step - 1) + ("full_attention",)
    _set_kinds(config, fields, kinds or tuple(turn[layer % step] for layer in range(fields["layers"])))
    fields["linear"] = {
        "key_heads": config.whole("linear_num_key_heads"),
        "value_heads": config.whole("linear_num_value_heads"),
        "key_dim": config.whole("linear_key_head_dim"),
        "value_dim": config.whole("linear_value_head_dim"),
        "convolution": config.whole("linear_conv_kernel_dim"),
        "state_format": "fp32",
        "chunk": 64,
        "source": "fla",
        "status": "assumed",
        "note": "format and chunk are those of public kernels, not of the model (range 32 to 128)",
    }


def _experts(*names: str, width: str | None = "moe_intermediate_size") -> Reader:
    """Experts, whose number is under the first of these names that is there."""

    def read(config: Config, fields: Fields) -> None:
        present = [key for key in names if config.value(key) is not None]
        fields["experts"] = config.whole(present[0] if present else names[0], least=2)
        fields["top_k"] = config.whole("num_experts_per_tok")
        if fields["top_k"] > fields["experts"]:
            rule = f"must be at most the number of experts ({fields['experts']})"
            config.complain("num_experts_per_tok", rule, fields["top_k"])
        fields["expert_width"] = fields["ffn_width"] if width is None else config.whole(width)

    return read


def _dense_layers_of_qwen(config: Config, fields: Fields) -> None:
    """Layers without experts: listed, or all but each n-th."""
    if config.whole("decoder_sparse_step", default=1) != 1:
        cannot(config, "decoder_sparse_step", "must be 1", "that each n-th layer has experts")
    dense = config.wholes("mlp_only_layers")
    if set(dense) != set(range(len(dense))):
        cannot(config, "mlp_only_layers", "must be the first layers", "that other layers than the first are dense")
    if dense:
        fields["dense_layers"] = len(dense)


def _shared_expert_of_qwen(config: Config, fields: Fields) -> None:
    """One shared expert with a gate and a width of its own."""
    fields |= {
        "shared_experts": 1,
        "shared_gate": True,
        "shared_width": config.whole("shared_expert_intermediate_size"),
    }


def _experts_of_deepseek(config: Config, fields: Fields) -> None:
    """Dense layers first, then routed experts and shared ones of the same width."""
    dense = config.whole("first_k_dense_replace", default=0, least=0)
    if dense:
        fields["dense_layers"] = dense
    if config.whole("moe_layer_freq", default=1) != 1:
        cannot(config, "moe_layer_freq", "must be 1", "that each n-th layer has experts")
    if config.has("n_shared_experts"):
        fields["shared_experts"] = config.whole("n_shared_experts", least=0)


def _latent_attention(config: Config, fields: Fields) -> None:
    """Keys and values of all heads from one latent vector."""
    latent = {
        "kv_rank": config.whole("kv_lora_rank"),
        "nope_dim": config.whole("qk_nope_head_dim"),
        "rope_dim": config.whole("qk_rope_head_dim"),
        "value_dim": config.whole("v_head_dim"),
    }
    config.has("qk_head_dim")
    if config.tree.get("q_lora_rank", 0) is not None:
        latent["query_rank"] = config.whole("q_lora_rank")
    config.has("q_lora_rank")
    fields |= {"latent": latent, "head_dim": latent["nope_dim"] + latent["rope_dim"], "kv_heads": fields["heads"]}


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
    "llama": Family(_LLAMA, (_biases,)),
    "internlm2": Family(_LLAMA, (_biases_of_internlm,)),
    "minicpm": Family(
        {**_LLAMA, "tie_word_embeddings": True}, (_biases,),
        ignored=words("scale_emb scale_depth dim_model_base"),
    ),
    "mistral": Family({**_MIXTRAL, "sliding_window": 4096}, (_window_everywhere,)),
    "mixtral": Family(_MIXTRAL, (_window_everywhere, _experts("num_local_experts", width=None))),
    "phi3": Family(
        {**_LLAMA, "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192},
        (_biases, _partial_rope, _window_everywhere),
    ),
    "qwen2": Family(_QWEN2, (_window_of_qwen,), {"qkv_bias": True}, words("use_mrope")),
    "qwen3": Family({**_QWEN2, "head_dim": 128}, (_biases, _window_of_qwen), {"head_norm": True}),
    "qwen2_moe": Family(
        {**_QWEN_MOE, "intermediate_size": 5632, "num_attention_heads": 16, "num_key_value_heads": 16},
        (_window_of_qwen, _experts("num_experts"), _dense_layers_of_qwen, _shared_expert_of_qwen),
        {"qkv_bias": True}, words("qkv_bias"),
    ),
    "qwen3_moe": Family(
        {**_QWEN_MOE, "intermediate_size": 6144, "num_key_value_heads": 4, "head_dim": 128},
        (_biases, _window_of_qwen, _experts("num_experts", "num_local_experts"), _dense_layers_of_qwen),
        {"head_norm": True},
    ),
    "qwen3_next": Family(
        _QWEN_NEXT,
        (_biases, _partial_rope, _linear_attention, _experts("num_experts"), _dense_layers_of_qwen,
         _shared_expert_of_qwen),
        {"output_gate": True, "head_norm": True}, words("use_sliding_window"),
    ),
    "olmoe": Family(
        {**_LLAMA, "vocab_size": 50304, "hidden_size": 2048, "intermediate_size": 2048, "num_hidden_layers": 16,
         "num_attention_heads": 16, "num_key_value_heads": 16},
        (_biases, _experts("num_experts", width=None)),
        {"head_norm": True, "head_norm_width": "all heads"}, words("clip_qkv"),
    ),
    "gemma": Family(_GEMMA, (_biases,), ignored=_BIDIRECTIONAL),
    "gemma2": Family(_GEMMA2, (_biases, _windows_in_turn), {"output_norms": True},
                     _BIDIRECTIONAL | words("cache_implementation")),
    "gemma3_text": Family(
        {**_GEMMA2, "vocab_size": 262208, "sliding_window_pattern": 6}, (_biases, _windows_in_turn),
        {"output_norms": True, "head_norm": True}, _BIDIRECTIONAL | words("cache_implementation"),
    ),
    "deepseek_v2": Family(
        {**_DEEPSEEK, "moe_intermediate_size": 1407},
        (_biases, _latent_attention, _experts("n_routed_experts"), _experts_of_deepseek), ignored=_DEEPSEEK_IGNORED,
    ),
    "deepseek_v3": Family(
        {**_DEEPSEEK, "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61,
         "num_attention_heads": 128, "moe_intermediate_size": 2048},
        (_biases, _latent_attention, _experts("n_routed_experts"), _experts_of_deepseek), ignored=_DEEPSEEK_IGNORED,
    ),
    "gpt_oss": Family(
        {**_LLAMA, "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 36,
         "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "attention_bias": True,
         "sliding_window": 128, "sliding_window_pattern": 2},
        (_biases, _windows_in_turn, _experts("num_local_experts", width=None)),
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
    config.has("hidden_act")  # Gemma has both
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
