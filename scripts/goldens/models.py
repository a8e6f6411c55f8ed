# Writes tiny random checkpoints with the transformers library, and what that library answers with them.
# SPDX-License-Identifier: Apache-2.0
"""Usage: models.py --out DIR [--only NAME]. Needs torch and transformers (5.x); no network, no GPU.

Every folder of DIR holds config.json and model.safetensors as save_pretrained leaves them, expected.json, and
expected/model.safetensors with the library's logits:
  logits.N       last rows for the first N of expected.json's `ids`, computed in fp32 from the stored weights
  logits.N.bf16  the same of a bf16 checkpoint, computed in bf16: what a plain bf16 implementation is off by
expected.json also has `greedy`, the continuation of the first 128 ids, chosen so that it does not hang on a near tie.

The library has no MiniCPM4. Its Granite computes the same function under other names (embedding, residual and logit
multipliers around a Llama), so that folder is saved as Granite and gets a MiniCPM4 config afterwards.
"""
import argparse
import json
import math
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GraniteConfig, LlamaConfig, Qwen3Config

LENGTHS = {1: 1, 17: 2, 128: 2, 1000: 3}  # prompt length -> rows kept
VOCAB = 256
PROMPT, NEW_TOKENS = 128, 16
BOS, EOS = 1, 2

SMALL = dict(hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=16)
# Heads of 64 are the smallest that the CUDA kernels take.
LARGER = dict(hidden_size=64, intermediate_size=64, num_attention_heads=2, num_key_value_heads=1, head_dim=64)
COMMON = dict(num_hidden_layers=2, vocab_size=VOCAB, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=None)

# Trained for 128 tokens, so that 1000 reach all of the scaling's bands.
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=128)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=256)
LONG_FACTORS = [round(1 + 15 * (i / 31) ** 2, 4) for i in range(32)]
LONGROPE = dict(rope_type="longrope", long_factor=LONG_FACTORS, short_factor=LONG_FACTORS,
                original_max_position_embeddings=128)
MUP = dict(scale_emb=3, scale_depth=1.4, dim_model_base=16)


def llama(sizes, tied):
    return LlamaConfig(**sizes, **COMMON, rms_norm_eps=1e-5, max_position_embeddings=1024, tie_word_embeddings=tied,
                       rope_parameters=dict(LLAMA3))


def qwen3(sizes, tied, rope):
    return Qwen3Config(**sizes, **COMMON, rms_norm_eps=1e-6, max_position_embeddings=1024, tie_word_embeddings=tied,
                       rope_parameters=dict(rope))


def granite():
    sizes = {name: value for name, value in LARGER.items() if name != "head_dim"}
    config = GraniteConfig(**sizes, **COMMON, rms_norm_eps=1e-6, max_position_embeddings=1024, attention_bias=False,
                           tie_word_embeddings=True, embedding_multiplier=float(MUP["scale_emb"]),
                           residual_multiplier=MUP["scale_depth"] / math.sqrt(COMMON["num_hidden_layers"]),
                           logits_scaling=sizes["hidden_size"] / MUP["dim_model_base"],
                           attention_multiplier=LARGER["head_dim"] ** -0.5,
                           rope_parameters=dict(LONGROPE, rope_theta=10000.0, factor=8.0))
    config.head_dim = LARGER["head_dim"]
    return config


def use_exact_angles(model):
    """Angles in double. Granite rounds LongRoPE's frequencies and angles in an order of its own, which moves the logits
    at 1000 tokens by 1.4e-4: more than the tolerance, and no property of MiniCPM4."""
    rotary = model.model.rotary_emb
    exponents = torch.arange(0, LARGER["head_dim"], 2, dtype=torch.float64) / LARGER["head_dim"]
    frequencies = 1 / (torch.tensor(LONG_FACTORS, dtype=torch.float64) * 10000.0**exponents)

    def forward(x, position_ids, **_):
        angles = (position_ids[..., None].double() * frequencies).repeat(1, 1, 2)
        return tuple((f(angles) * rotary.attention_scaling).to(x.dtype) for f in (torch.cos, torch.sin))

    rotary.forward = forward


def minicpm4_json():
    """What openbmb's config.json says of the model that granite() describes."""
    return {"architectures": ["MiniCPMForCausalLM"], "model_type": "minicpm", **LARGER, **COMMON, **MUP,
            "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": LONGROPE,
            "max_position_embeddings": 1024, "tie_word_embeddings": True, "torch_dtype": "bfloat16"}


CASES = {  # name -> (config, dtype)
    "llama-f32": (lambda: llama(SMALL, tied=True), torch.float32),
    "llama-bf16": (lambda: llama(LARGER, tied=False), torch.bfloat16),
    "qwen3-f32": (lambda: qwen3(SMALL, False, dict(rope_type="default", rope_theta=1e6)), torch.float32),
    "qwen3-bf16": (lambda: qwen3(LARGER, True, YARN), torch.bfloat16),
    "minicpm4-bf16": (granite, torch.bfloat16),
}


@torch.no_grad()
def randomize(model, generator):
    """Matrices of deviation 1/sqrt(inputs), norms about 1: logits then spread by about 1. Queries and keys are larger,
    so that attention chooses."""
    for name, weight in sorted(model.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        gain = 2 if "q_proj" in name or "k_proj" in name else 1
        weight.copy_(1 + 0.2 * noise if weight.dim() == 1 else gain * noise / math.sqrt(weight.shape[1]))


@torch.no_grad()
def logits(model, ids, rows):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -rows:].float()


def greedy(model, ids):
    """The continuation, and the smallest lead that one of its tokens had over the second."""
    ids, lead = list(ids), math.inf
    for _ in range(NEW_TOKENS):
        best = logits(model, ids, 1)[0].topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return ids[-NEW_TOKENS:], lead


def choose_prompt(model, others):
    """Of 200 prompts the one whose varied continuation leads by most, agreed on by the other models."""
    best_lead, best = 0.0, None
    for seed in range(200):
        generator = torch.Generator().manual_seed(1000 + seed)
        ids = torch.randint(3, VOCAB, (max(LENGTHS),), generator=generator).tolist()
        tokens, lead = greedy(model, ids[:PROMPT])
        if lead <= best_lead or EOS in tokens or len(set(tokens)) < 6:
            continue
        if all(greedy(other, ids[:PROMPT])[0] == tokens for other in others):
            best_lead, best = lead, (ids, tokens)
    if best is None:
        raise SystemExit("no prompt has the same continuation in fp32 and bf16")
    return *best, best_lead


def write_case(folder, config, dtype):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "expected").mkdir(parents=True)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    randomize(model, torch.Generator().manual_seed(7))
    model.to(dtype).save_pretrained(folder)

    def load(as_dtype):  # as its users load it: only then are the rotary tables computed in fp32
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=as_dtype, attn_implementation="eager").eval()
        if config.model_type == "granite":
            use_exact_angles(model)
        return model

    models = {"": load(torch.float32)}
    if dtype == torch.bfloat16:
        models[".bf16"] = load(dtype)
    ids, continuation, lead = choose_prompt(models[""], list(models.values())[1:])
    rows = {f"logits.{n}{suffix}": logits(model, ids[:n], keep).clone()
            for suffix, model in models.items() for n, keep in LENGTHS.items()}
    save_file(rows, folder / "expected" / "model.safetensors")
    (folder / "expected.json").write_text(json.dumps({
        "transformers": transformers.__version__, "ids": ids, "prompt": PROMPT, "greedy": continuation,
        "smallest_lead": round(lead, 4)}, separators=(",", ":")) + "\n")
    if config.model_type == "granite":
        (folder / "config.json").write_text(json.dumps(minicpm4_json(), indent=2) + "\n")
    worst = [(rows[f"logits.{n}.bf16"] - rows[f"logits.{n}"]).abs().max().item()
             for n in LENGTHS if ".bf16" in models]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder.name}: {size} bytes, lead {lead:.4f}, largest logit {rows['logits.1000'].abs().max():.3f}, "
          f"off in bf16 {[round(w, 4) for w in worst]}, continuation {continuation[:8]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=CASES)
    args = parser.parse_args()
    for name, (config, dtype) in CASES.items():
        if args.only in (None, name):
            write_case(args.out / name, config(), dtype)


if __name__ == "__main__":
    main()
