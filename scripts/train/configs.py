# config.json of the two models of the reference pair.
# SPDX-License-Identifier: Apache-2.0
"""Values beside sizes follow openbmb/MiniCPM-SALA's config.json (revision 9180fe1d, Apache-2.0)."""

SHARED = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dim_model_base": 192,
    "eos_token_id": 1,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 192,
    "initializer_range": 0.1,
    "intermediate_size": 384,
    "max_position_embeddings": 8192,
    "num_attention_heads": 16,
    "num_hidden_layers": 12,
    "num_key_value_heads": 1,
    "pad_token_id": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "scale_depth": 1.4,
    "scale_emb": 12,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 4096,
}

HYBRID = {
    "architectures": ["MiniCPMSALAForCausalLM"],
    "model_type": "minicpm_sala",
    **SHARED,
    "attn_use_output_gate": True,
    "attn_use_rope": False,
    "lightning_head_dim": 64,
    "lightning_nh": 4,
    "lightning_nkv": 4,
    "lightning_scale": "1/sqrt(d)",
    "lightning_use_rope": True,
    "mixer_types": [
        "minicpm4" if layer in (0, 5, 11) else "lightning-attn" for layer in range(12)
    ],
    "mup_denominator": 32,
    "qk_norm": True,
    "shift_labels": True,
    "sparse_config": {
        "block_size": 64,
        "dense_len": 8192,
        "init_blocks": 1,
        "kernel_size": 32,
        "kernel_stride": 16,
        "topk": 64,
        "use_nope": False,
        "window_size": 2048,
    },
    "use_output_gate": True,
    "use_output_norm": True,
}

FULL = {
    "architectures": ["MiniCPMForCausalLM"],
    "model_type": "minicpm4",
    **SHARED,
}

CONFIGS = {"hybrid": HYBRID, "full": FULL}

GENERATION = {
    "bos_token_id": 0,
    "do_sample": False,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
