# Laws of the training code on the CPU with small sizes: python3 test_training.py
# SPDX-License-Identifier: Apache-2.0
import copy
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import model as m
from configs import CONFIGS
from safetensors_io import read_safetensors

HERE = Path(__file__).resolve().parent


def small(name, **changes):
    config = copy.deepcopy(CONFIGS[name])
    config.update(hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
                  head_dim=16, dim_model_base=32)
    if name == "hybrid":
        config.update(lightning_nh=2, lightning_nkv=2, lightning_head_dim=16,
                      mixer_types=["minicpm4", "lightning-attn", "lightning-attn", "minicpm4"])
        config["sparse_config"].update(window_size=64, topk=2, dense_len=128)
    config.update(changes)
    return config


def lightning_chunk_form_equals_recurrence():
    torch.manual_seed(1)
    batch, length, heads, d = 2, 4 * m.CHUNK, 4, 8
    q, k, v = (torch.randn(batch * length, heads, d, dtype=torch.float64) for _ in range(3))
    tables = m.decay_tables(heads, length // m.CHUNK, "cpu", torch.float64)
    fast = m.lightning_attention(q, k, v, tables).view(batch, length, heads, d)
    gamma = torch.exp(-m.slopes(heads))[:, None, None]
    for b in range(batch):
        state = torch.zeros(heads, d, d, dtype=torch.float64)
        for t in range(length):
            row = b * length + t
            state = gamma * state + k[row][:, :, None] * v[row][:, None, :]
            slow = torch.einsum("hd,hde->he", q[row], state)
            assert (slow - fast[b, t]).abs().max() < 1e-10


def selecting_every_block_equals_dense():
    torch.manual_seed(2)
    q, k, v = (torch.randn(2, h, 700, 16, dtype=torch.float64) for h in (8, 2, 2))
    sparse = {"kernel_size": 32, "kernel_stride": 16, "init_blocks": 1, "block_size": 64,
              "window_size": 128, "topk": 9}
    assert (m.sparse_attention(q, k, v, sparse) - m.softmax_attention(q, k, v)).abs().max() < 1e-12
    fewer = dict(sparse, topk=3)
    difference = (m.sparse_attention(q, k, v, fewer) - m.softmax_attention(q, k, v)).abs().amax((0, 1, 3))
    assert difference[: 64 * 5].max() < 1e-12 and difference[64 * 5 :].max() > 1e-3


def selection_follows_the_definition():
    """One row and one KV head at a time, in plain loops."""
    torch.manual_seed(3)
    heads, groups, length, d = 4, 2, 900, 16
    q, k = (torch.randn(1, h, length, d, dtype=torch.float64) * 2 for h in (heads, groups))
    sparse = {"kernel_size": 32, "kernel_stride": 16, "init_blocks": 1, "block_size": 64,
              "window_size": 128, "topk": 3}
    chosen = m.select_blocks(q, k, sparse)

    def means(g, kernel, stride):
        starts = range(0, length - kernel + 1, stride)
        return [(s + kernel, k[0, g, s : s + kernel].mean(0)) for s in starts]

    for g in range(groups):
        k1, k2 = means(g, 32, 16), means(g, 128, 64)
        for t in [*range(0, length, 13), length - 1]:
            off = t // 64
            forced = {0} | set(range(max(0, off - 2), off + 1))
            if off + 1 <= 5:
                expected = set(range(off + 1))
            else:
                p = [0.0] * len(k1)
                for h in range(heads // groups):
                    query = q[0, g * (heads // groups) + h, t] / math.sqrt(d)
                    l = sum(math.exp(query @ key) for end, key in k2 if end <= t + 1)
                    for j, (end, key) in enumerate(k1):
                        if end <= t + 1:
                            p[j] += math.exp(query @ key) / l
                score = {}
                for b in set(range(off + 1)) - forced:
                    best = max(p[j] for j in range(4 * b - 1, 4 * b + 4) if 0 <= j < len(k1))
                    score[b] = float(torch.tensor(best).to(torch.bfloat16))
                order = sorted(score, key=lambda b: (-score[b], b))
                expected = forced | set(order[: 5 - len(forced)])
            assert set(chosen[0, g, t].nonzero()[:, 0].tolist()) == expected, (g, t)


def selection_loss_follows_the_definition():
    """Plain loops over rows and blocks; and its gradient makes selection find what attention reads."""
    torch.manual_seed(5)
    heads, groups, length, d = 4, 2, 900, 16
    q, k = (torch.randn(1, h, length, d) * 2 for h in (heads, groups))
    sparse = {"kernel_size": 32, "kernel_stride": 16, "block_size": 64}
    rows = torch.tensor([[0, 63, 191, 200, 511, 640, 899]])
    total = 0.0
    for g in range(groups):
        key = k[0, g].double()
        k1 = [(s + 32, key[s : s + 32].mean(0)) for s in range(0, length - 31, 16)]
        k2 = [(s + 128, key[s : s + 128].mean(0)) for s in range(0, length - 127, 64)]
        for t in rows[0].tolist():
            candidates = range(1, t // 64 - 1)
            mass, p = dict.fromkeys(candidates, 0.0), [0.0] * len(k1)
            for h in range(heads // groups):
                query = q[0, g * (heads // groups) + h, t].double() / math.sqrt(d)
                attention = (key[: t + 1] @ query).softmax(0)
                norm = sum(math.exp(query @ mean) for end, mean in k2 if end <= t + 1)
                for b in candidates:
                    mass[b] += float(attention[64 * b : 64 * b + 64].sum())
                for j, (end, mean) in enumerate(k1):
                    if end <= t + 1 and norm:
                        p[j] += math.exp(query @ mean) / norm
            score = {b: max(p[j] for j in range(4 * b - 1, 4 * b + 4) if 0 <= j < len(k1))
                     for b in candidates}
            total -= sum(mass[b] * math.log(score[b] / sum(score.values())) for b in candidates)
    expected = total / (heads * rows.shape[1])
    assert abs(float(m.selection_loss(q, k, rows, sparse)) - expected) < 1e-4 * expected

    k.requires_grad_()
    before = float(m.selection_loss(q, k, rows, sparse))
    optimizer = torch.optim.Adam([k], lr=0.03)
    for _ in range(40):
        optimizer.zero_grad()
        m.selection_loss(q, k, rows, sparse).backward()
        assert torch.isfinite(k.grad).all()
        optimizer.step()
    assert float(m.selection_loss(q, k, rows, sparse)) < 0.8 * before


def logits_do_not_see_the_future():
    torch.manual_seed(4)
    for name in CONFIGS:
        for sparse in (False, True) if name == "hybrid" else (False,):
            net = m.Model(small(name)).double()
            net.sparse = sparse
            tokens = torch.randint(0, 4096, (1, 400))
            with torch.no_grad():
                whole = net.logits(tokens, torch.float64)
                for cut in (1, 63, 64, 65, 333):
                    part = net.logits(tokens[:, :cut], torch.float64)
                    assert (part - whole[:, :cut]).abs().max() < 1e-9, (name, sparse, cut)


def parameter_counts():
    counts = {name: m.Model(config).count() for name, config in CONFIGS.items()}
    assert counts == {"hybrid": 7_503_936, "full": 8_458_944}, counts
    assert 2 * sum(counts.values()) < 30.5 * 2**20


def run(*options):
    done = subprocess.run([sys.executable, str(HERE / "train.py"), *map(str, options)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def resumed_run_equals_uninterrupted_and_loss_falls():
    stages = json.dumps([
        {"name": "a", "fraction": 0.5, "lengths": {"256": 1}, "easy": True},
        {"name": "b", "fraction": 0.5, "lengths": {"256": 1, "512": 1}, "sparse": True},
    ])
    for name in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "config.json").write_text(json.dumps(small(name)))
            (folder / "plan.json").write_text("[20, 12]")
            options = ["--model", name, "--config", folder / "config.json", "--stages", stages,
                       "--plan", folder / "plan.json", "--tokens", 2048, "--workers", 1, "--log-every",
                       4, "--device", "cpu", "--eval-lengths", "512", "--eval-samples", 2,
                       "--warm-up", 4]
            records = run(*options, "--out", folder / "whole")
            losses = [record["loss"] for record in records if "loss" in record]
            assert losses[-1] < losses[0] - 0.2, losses
            assert any("eval" in record for record in records) and records[-1].get("done")
            run(*options, "--out", folder / "parts", "--max-steps", 13)
            run(*options, "--out", folder / "parts", "--resume", "--max-steps", 11)
            run(*options, "--out", folder / "parts", "--resume")
            whole, parts = (read_safetensors(folder / x / "export" / "model.safetensors")
                            for x in ("whole", "parts"))
            assert whole.keys() == parts.keys()
            for key in whole:
                assert torch.equal(whole[key], parts[key]), key
            net = m.Model(m.load_config(folder / "whole" / "export" / "config.json"))
            net.load_state_dict({key: value.float() for key, value in whole.items()})
            assert json.loads((folder / "whole" / "plan.json").read_text()) == [20, 12]


if __name__ == "__main__":
    torch.set_num_threads(2)
    for law in (parameter_counts, lightning_chunk_form_equals_recurrence,
                selecting_every_block_equals_dense, selection_follows_the_definition,
                selection_loss_follows_the_definition, logits_do_not_see_the_future, resumed_run_equals_uninterrupted_and_loss_falls):
        law()
        print("ok", law.__name__, flush=True)
