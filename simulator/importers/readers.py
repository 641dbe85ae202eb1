"""What several keys of a language model's configuration say together: windows, experts, latent and linear attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.importers.config import Config

Fields = dict[str, Any]
"""Fields of a `Decoder`, as a workload file has them."""

Reader = Callable[[Config, Fields], None]
"""Reads some keys into the fields, of which the plain sizes are there."""


def _cannot(config: Config, key: str, rule: str, feature: str) -> None:
    """Notes that a workload has no words for what a key asks for."""
    config.complain(key, rule, config.value(key), hint=f"a workload cannot say {feature} yet")


def biases(config: Config, fields: Fields) -> None:
    """Biases of all projections of attention, and of all matrices of the FFN."""
    if config.flag("attention_bias", default=False):
        fields |= {"qkv_bias": True, "o_bias": True}
    if config.flag("mlp_bias", default=False):
        fields["ffn_bias"] = True


def biases_of_internlm(config: Config, fields: Fields) -> None:
    """Biases of the projections of attention."""
    if config.flag("bias", default=False):
        fields |= {"qkv_bias": True, "o_bias": True}


def partial_rope(config: Config, fields: Fields) -> None:
    """A share of every head that is rotated."""
    key = "partial_rotary_factor"
    config.mark(key)
    share = (config.part("rope_parameters") if config.has("rope_parameters") else config).value(key)
    share = config.value(key) if share is None else share
    if share is None:
        return
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        config.complain(key, "must be a share above 0 and at most 1", share)
    elif share < 1:
        fields["rope_dim"] = int(fields["head_dim"] * share)


_ATTENTION: Final = {"full_attention": "full", "sliding_attention": "window"}
_DELTA_NET: Final = {"full_attention": "full", "linear_attention": "linear"}


def window_everywhere(config: Config, fields: Fields) -> None:
    """One sliding window for all layers."""
    if config.value("sliding_window") is not None:
        fields["attention_window"] = config.whole("sliding_window")


def window_of_qwen(config: Config, fields: Fields) -> None:
    """A window that is given and yet unused, unless a switch says so; then the first layers have none."""
    is_used = config.flag("use_sliding_window", default=False)
    first = config.whole("max_window_layers", default=28, least=0)
    kinds = config.texts("layer_types")
    has_window = config.has("sliding_window")
    if is_used and has_window:
        words = ("full_attention", "sliding_attention")
        _set_kinds(config, fields, kinds or tuple(words[layer >= first] for layer in range(fields["layers"])))


def windows_in_turn(config: Config, fields: Fields) -> None:
    """Layers with a sliding window, and each n-th without, unless the kinds are listed."""
    kinds = config.texts("layer_types")
    if not kinds:
        newer = "_sliding_window_pattern"
        step = config.whole(newer if config.has(newer) else "sliding_window_pattern")
        kinds = _in_turn("sliding_attention", step, fields["layers"])
    config.mark("sliding_window_pattern", "_sliding_window_pattern")
    _set_kinds(config, fields, kinds)


def _in_turn(kind: str, step: int, layers: int) -> tuple[str, ...]:
    """Layers of a kind, but each n-th with attention to all tokens."""
    return tuple("full_attention" if layer % step == step - 1 else kind for layer in range(layers))


def _set_kinds(config: Config, fields: Fields, names: tuple[str, ...], known: Mapping[str, str] = _ATTENTION) -> None:
    """Kinds of layers as the shortest pattern that repeats."""
    layers = fields["layers"]
    if len(names) != layers:
        config.complain("layer_types", f"must have one entry per layer ({layers})", len(names))
        return
    unknown = [name for name in names if name not in known]
    if unknown:
        config.complain("layer_types", f"must have {' or '.join(known)}", unknown[0])
        return
    kinds = tuple(known[name] for name in names)
    if "window" in kinds:
        fields["attention_window"] = config.whole("sliding_window")
    if len(set(kinds)) > 1 or "linear" in kinds:
        lengths = range(1, layers + 1)
        period = next(n for n in lengths if all(kinds[layer] == kinds[layer % n] for layer in range(layers)))
        fields["pattern"] = kinds[:period]


def linear_attention(config: Config, fields: Fields) -> None:
    """Gated delta nets, and each n-th layer with attention."""
    kinds = config.texts("layer_types")
    step = config.whole("full_attention_interval", default=4)
    _set_kinds(config, fields, kinds or _in_turn("linear_attention", step, fields["layers"]), _DELTA_NET)
    key_heads, value_heads = config.whole("linear_num_key_heads"), config.whole("linear_num_value_heads")
    if value_heads % key_heads:
        config.complain("linear_num_key_heads", f"must divide linear_num_value_heads ({value_heads})", key_heads)
    for key, usual in (("attn_output_gate", True), ("output_gate_type", "swish"), ("mamba_ssm_dtype", "float32")):
        if config.has(key) and config.value(key) != usual:
            config.complain(key, f"must be {str(usual).lower()}", config.value(key))
    fields["linear"] = {
        "key_heads": key_heads,
        "value_heads": value_heads,
        "key_dim": config.whole("linear_key_head_dim"),
        "value_dim": config.whole("linear_value_head_dim"),
        "convolution": config.whole("linear_conv_kernel_dim"),
        "state_format": "fp32",
        "chunk": 64,
        "source": "fla",
        "status": "assumed",
        "note": "format and chunk are those of public kernels, not of the model (range 32 to 128)",
    }


def experts(*names: str, width: str | None = "moe_intermediate_size") -> Reader:
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


def dense_layers_of_qwen(config: Config, fields: Fields) -> None:
    """Layers without experts: listed, or all but each n-th."""
    if config.whole("decoder_sparse_step", default=1) != 1:
        _cannot(config, "decoder_sparse_step", "must be 1", "that each n-th layer has experts")
    dense = config.wholes("mlp_only_layers")
    if set(dense) != set(range(len(dense))):
        _cannot(config, "mlp_only_layers", "must be the first layers", "that other layers than the first are dense")
    if dense:
        fields["dense_layers"] = len(dense)


def shared_expert_of_qwen(config: Config, fields: Fields) -> None:
    """One shared expert with a gate and a width of its own."""
    fields |= {
        "shared_experts": 1,
        "shared_gate": True,
        "shared_width": config.whole("shared_expert_intermediate_size"),
    }


def experts_of_deepseek(config: Config, fields: Fields) -> None:
    """Dense layers first, then routed experts and shared ones of the same width."""
    dense = config.whole("first_k_dense_replace", default=0, least=0)
    if dense:
        fields["dense_layers"] = dense
    if config.whole("moe_layer_freq", default=1) != 1:
        _cannot(config, "moe_layer_freq", "must be 1", "that each n-th layer has experts")
    if config.has("n_shared_experts"):
        fields["shared_experts"] = config.whole("n_shared_experts", least=0)


def latent_attention(config: Config, fields: Fields) -> None:
    """Keys and values of all heads from one latent vector."""
    latent = {
        "kv_rank": config.whole("kv_lora_rank"),
        "nope_dim": config.whole("qk_nope_head_dim"),
        "rope_dim": config.whole("qk_rope_head_dim"),
        "value_dim": config.whole("v_head_dim"),
    }
    config.mark("qk_head_dim", "q_lora_rank")
    if "q_lora_rank" not in config.tree or config.has("q_lora_rank"):  # null: none
        latent["query_rank"] = config.whole("q_lora_rank")
    fields |= {"latent": latent, "head_dim": latent["nope_dim"] + latent["rope_dim"], "kv_heads": fields["heads"]}
