"""Keys of configurations that cost nothing. A key that is neither here nor read is reported to the user."""

from __future__ import annotations

from typing import Final


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


NAMES: Final = words(
    """
    _name_or_path _commit_hash architectures auto_map model_type transformers_version torch_dtype dtype tokenizer_class
    _attn_implementation _attn_implementation_autoset attn_implementation use_flash_attn unsloth_version unsloth_fixed
    """
)
"""Names, versions, and what another program runs the model with."""

NUMBERS: Final = words(
    """
    rms_norm_eps layer_norm_eps rope_theta rope_local_base_freq rope_scaling rope_parameters rope_interleave
    max_position_embeddings original_max_position_embeddings initializer_range initializer_factor norm_topk_prob
    attn_logit_softcapping final_logit_softcapping query_pre_attn_scalar
    """
)
"""Numbers that change results, and costs by less than is counted."""

TRAINING: Final = words(
    """
    attention_dropout hidden_dropout embd_pdrop resid_pdrop pretraining_tp router_aux_loss_coef aux_loss_alpha seq_aux
    output_router_logits router_jitter_noise gradient_checkpointing
    """
)

GENERATION: Final = words(
    """
    bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id use_cache bad_words_ids
    begin_suppress_tokens suppress_tokens forced_bos_token_id forced_eos_token_id do_sample early_stopping
    diversity_penalty encoder_no_repeat_ngram_size exponential_decay_length_penalty length_penalty max_length
    min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores prefix
    remove_invalid_values repetition_penalty return_dict_in_generate temperature top_k top_p typical_p
    generation_config
    """
)

RELICS: Final = words(
    """
    add_cross_attention chunk_size_feed_forward cross_attention_hidden_size finetuning_task id2label label2id
    is_decoder is_encoder_decoder output_attentions output_hidden_states problem_type pruned_heads return_dict
    task_specific_params tf_legacy_loss tie_encoder_decoder torchscript use_bfloat16
    """
)
"""Of the common base class of all configurations."""

ANY: Final = NAMES | NUMBERS | TRAINING | GENERATION | RELICS
"""Keys of any configuration."""

TOWER: Final = ANY | words(
    """
    hidden_act hidden_dropout_prob dropout attention_probs_dropout_prob drop_path_rate projection_dropout
    encoder_stride norm_eps projection_dim vocab_size temporal_patch_size tokens_per_second spatial_patch_size
    pooler_act pooler_output_size use_mask_token layer_scale_init_value use_mean_pooling num_labels
    """
)
"""Keys of any tower."""
