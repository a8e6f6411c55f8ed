# The reference pair in PyTorch: minicpm_sala (hybrid) and minicpm4 (all softmax), for training and as oracle.
# SPDX-License-Identifier: Apache-2.0
"""Parameters carry the names of the exported checkpoint. Activations of all tokens of a batch are one
(tokens, channels) matrix, so that everything between two attention cores has one static shape whatever
the sequence length is: `Model.compile` compiles those parts once.

Runs on old and new PyTorch, CPU and GPU, in bf16 (fp32 master weights), fp32 or fp64.
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

CHUNK = 64  # tokens of one chunk of lightning attention


def rms_norm(x, weight, eps):
    """RMS norm over the last dimension, in at least fp32; returns that precision."""
    x = x if x.dtype == torch.float64 else x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rope_tables(length, head_dim, theta, device, dtype):
    """cos and sin (length, head_dim / 2); angles are products of fp32 numbers as in the reference."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float64, device=device) / head_dim
    inv_freq = (1.0 / theta**exponent).float()
    angle = torch.arange(length, device=device).float()[:, None] * inv_freq[None, :]
    return angle.to(dtype).cos(), angle.to(dtype).sin()


def rope(x, cos, sin):
    """Rotates x (tokens, heads, head_dim): channel i pairs with channel i + head_dim / 2."""
    a, b = x.chunk(2, -1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


# --- lightning attention -----------------------------------------------------------------------------


def slopes(n_heads):
    """Decay per token and head, natural logarithm; n_heads a power of two."""
    return torch.tensor([2.0 ** (-8.0 * (h + 1) / n_heads) for h in range(n_heads)], dtype=torch.float64)


def lightning_chunks(q, k, v, within, forget):
    """What happens inside the chunks. q, k, v (chunks, heads, CHUNK, d), q already scaled.

    within (heads, CHUNK, CHUNK): decay from key to query, 0 above the diagonal.
    forget (heads, CHUNK): decay from a key to the end of its chunk.
    Returns the output of the chunk's own keys and what the chunk adds to the state (d of k, d of v).
    """
    scores = torch.matmul(q, k.transpose(-1, -2)) * within
    own = torch.matmul(scores.to(v.dtype), v)
    added = torch.matmul((k * forget[:, :, None]).to(v.dtype).transpose(-1, -2), v)
    return own, added.to(within.dtype)


def decay_tables(n_heads, n_chunks, device, dtype):
    """Decays, every exponent <= 0: key to query inside a chunk (heads, CHUNK, CHUNK), key to the end of
    its chunk and start of the chunk to query (heads, CHUNK), chunk to later chunk (heads, n, n)."""
    s = slopes(n_heads).to(device)
    i = torch.arange(CHUNK, device=device, dtype=torch.float64)
    gap = i[:, None] - i[None, :]
    within = torch.exp(-s[:, None, None] * gap.clamp(min=0)) * (gap >= 0)
    forget = torch.exp(-s[:, None] * (CHUNK - 1 - i))
    reach = torch.exp(-s[:, None] * (i + 1))
    c = torch.arange(n_chunks, device=device, dtype=torch.float64)
    steps = c[:, None] - c[None, :] - 1  # whole chunks between the end of one and the start of a later
    across = torch.exp(-s[:, None, None] * CHUNK * steps.clamp(min=0)) * (steps >= 0)
    return tuple(table.to(dtype) for table in (within, forget, reach, across))


def lightning_attention(q, k, v, tables, chunks=lightning_chunks):
    """Linear attention with a fixed decay per head: S = exp(-s) S + k^T v, o = q S.

    q, k, v: (tokens, heads, d), tokens = batch * chunks * CHUNK; q already scaled. tables: see
    decay_tables(); states are kept in their precision. No loop over chunks: the states before them
    are a lower-triangular matrix of decays times what each chunk adds.
    """
    tokens, heads, d = q.shape
    within, forget, reach, across = tables
    n = across.shape[-1]
    batch = tokens // (n * CHUNK)

    def by_chunk(x):
        return x.reshape(batch * n, CHUNK, heads, d).transpose(1, 2)

    q, k, v = by_chunk(q), by_chunk(k), by_chunk(v)
    out, added = chunks(q, k, v, within, forget)
    if n > 1:
        added = added.view(batch, n, heads, d * d).transpose(1, 2)
        state = torch.matmul(across, added).transpose(1, 2).reshape(batch * n, heads, d, d)
        out = out + torch.matmul(q, state.to(q.dtype)) * reach[:, :, None]
    return out.transpose(1, 2).reshape(tokens, heads * d)


# --- softmax attention -------------------------------------------------------------------------------


def softmax_attention(q, k, v, mask=None):
    """Causal attention, or attention over `mask` (True: visible, broadcastable to rows x keys).

    q (B, heads, L, d); k, v (B, KV heads, L, d). Returns (B, heads, L, d).
    """
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, 1) if x.shape[1] > 1 else x.expand(-1, group, -1, -1)
            for x in (k, v))
    if q.is_cuda and hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    if mask is None:
        length = q.shape[2]
        mask = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    return torch.matmul(scores.masked_fill(~mask, float("-inf")).softmax(-1), v)


def window_means(k, kernel, stride):
    """Means of k (B, G, L, d) over every complete window; (B, G, windows, d), 0 windows if L < kernel."""
    if k.shape[2] < kernel:
        return k[:, :, :0]
    return k.unfold(2, kernel, stride).mean(-1)


@torch.no_grad()
def select_blocks(q, k, sparse):
    """InfLLM-V2 block selection: True where a row attends to a block; (B, G, L, blocks).

    sparse: the config's sparse_config. Window means are rounded to the keys' precision; scores are at
    least fp32, rounded to bf16 before the choice; ties go to the lower block.
    """
    high = torch.float64 if q.dtype == torch.float64 else torch.float32
    batch, heads, length, d = q.shape
    groups = k.shape[1]
    block, stride = sparse["block_size"], sparse["kernel_stride"]
    kernel, local = sparse["kernel_size"], sparse["window_size"] // block
    keep = sparse["topk"] + local
    rows = torch.arange(length, device=q.device)
    current = rows // block
    blocks = torch.arange((length + block - 1) // block, device=q.device)
    past = blocks[None, :] <= current[:, None]
    forced = past & ((blocks < sparse["init_blocks"])[None, :]
                     | (blocks[None, :] >= current[:, None] - local))
    if len(blocks) <= keep:
        return past.expand(batch, groups, -1, -1)
    k1 = window_means(k.to(high), kernel, stride).to(k.dtype).to(high)
    k2 = window_means(k.to(high), 4 * kernel, 4 * stride).to(k.dtype).to(high)
    end1 = torch.arange(k1.shape[2], device=q.device) * stride + kernel
    end2 = torch.arange(k2.shape[2], device=q.device) * 4 * stride + 4 * kernel
    seen1, seen2 = end1[None, :] <= rows[:, None] + 1, end2[None, :] <= rows[:, None] + 1
    chosen = torch.empty(batch, groups, length, len(blocks), dtype=torch.bool, device=q.device)
    for b in range(batch):  # one sequence at a time: scores are heads x rows x windows
        qs = q[b].view(groups, heads // groups, length, d).to(high) / math.sqrt(d)
        s2 = torch.einsum("ghtd,gjd->ghtj", qs, k2[b]).masked_fill(~seen2, float("-inf"))
        log_sum = s2.logsumexp(-1, keepdim=True)  # -inf where no window is complete yet
        s1 = torch.einsum("ghtd,gjd->ghtj", qs, k1[b])
        p = torch.exp(s1 - log_sum.clamp(min=-1e30)).sum(1).masked_fill(~seen1, 0.0)
        # Block i covers windows 4i - 1 ... 4i + 3 that exist.
        padded = F.pad(p, (1, 4 * len(blocks) + 4 - p.shape[-1]))
        score = F.max_pool1d(padded.view(groups * length, 1, -1), 5, 4)[..., : len(blocks)]
        score = score.view(groups, length, -1).to(torch.bfloat16).to(high)
        score = score.masked_fill(~past, float("-inf")).masked_fill(forced, float("inf"))
        order = score.sort(dim=-1, descending=True, stable=True).indices[..., :keep]
        chosen[b] = torch.zeros_like(score, dtype=torch.bool).scatter_(-1, order, True) & past
    return chosen


def selection_loss(q, k, rows, sparse):
    """How far block selection is from where dense attention looks; its only gradient.

    q (B, heads, L, d), k (B, groups, L, d), rows (B, R): the rows to look at. Per row and KV head, the
    cross-entropy between the attention mass of the blocks (summed over the group's heads, no gradient)
    and their selection scores as shares of the candidates' sum. Candidates are the blocks behind the
    first that end at least one block before the row's own. Returns the mean over rows and heads.
    """
    batch, heads, length, d = q.shape
    groups, n_rows = k.shape[1], rows.shape[1]
    block, stride, kernel = (sparse[name] for name in ("block_size", "kernel_stride", "kernel_size"))
    n_blocks = -(-length // block)
    q = q.gather(2, rows[:, None, :, None].expand(-1, heads, -1, d)).float() / math.sqrt(d)
    q = q.view(batch, groups, -1, d)  # the heads of a group below each other
    k = k.float()
    t = rows[:, None, None, :, None]

    def scores(keys, ends):
        """(B, groups, heads of a group, R, keys); windows that are not complete get none of the share."""
        s = torch.matmul(q, keys.transpose(-1, -2)).view(batch, groups, -1, n_rows, keys.shape[2])
        return s.masked_fill(ends > t + 1, -1e30)  # finite: -inf has no gradient through logsumexp

    positions = torch.arange(length, device=q.device)
    blocks = torch.arange(n_blocks, device=q.device)
    candidate = (blocks >= 1) & (blocks + 1 < rows[:, None, :, None] // block)
    with torch.no_grad():
        mass = scores(k, positions + 1).softmax(-1).sum(2)
        mass = F.pad(mass, (0, n_blocks * block - length)).unflatten(-1, (n_blocks, block)).sum(-1)
        mass = mass * candidate
    k1, k2 = window_means(k, kernel, stride), window_means(k, 4 * kernel, 4 * stride)
    s2 = scores(k2, 4 * (torch.arange(k2.shape[2], device=q.device) * stride + kernel))
    s1 = scores(k1, torch.arange(k1.shape[2], device=q.device) * stride + kernel)
    share = torch.logsumexp(s1 - s2.logsumexp(-1, keepdim=True), 2)  # log of the summed heads, (B, groups, R, windows)
    share = F.pad(share, (1, 4 * n_blocks + 4 - share.shape[-1]), value=-1e30)
    share = F.max_pool1d(share.flatten(0, 2)[:, None], 5, 4)[:, 0, :n_blocks].view(mass.shape)
    share = share.masked_fill(~candidate, -1e30).log_softmax(-1)
    return -(mass * share.clamp(min=-100)).sum() / (batch * heads * n_rows)


def sparse_attention(q, k, v, sparse):
    """Attention of every row over the keys of its selected blocks; shapes as in softmax_attention."""
    length, block = q.shape[2], sparse["block_size"]
    chosen = select_blocks(q, k, sparse)
    mask = chosen.repeat_interleave(block, -1)[..., :length]
    mask &= torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    if mask.shape[1] > 1:
        mask = mask.repeat_interleave(q.shape[1] // k.shape[1], 1)
    return softmax_attention(q, k, v, mask)


# --- the parts between the attention cores: one static shape ------------------------------------------


def before_softmax(x, norm, wq, wk, wv, gate, cos, sin, eps, head_dim, dtype):
    """q (tokens, heads, d), k, v (tokens, KV heads, d) and the gate's input or None."""
    h = rms_norm(x, norm, eps).to(dtype)
    q = F.linear(h, wq.to(dtype)).view(h.shape[0], -1, head_dim)
    k = F.linear(h, wk.to(dtype)).view(h.shape[0], -1, head_dim)
    v = F.linear(h, wv.to(dtype)).view(h.shape[0], -1, head_dim)
    if cos is not None:
        q = rope(q.to(cos.dtype), cos, sin).to(dtype)
        k = rope(k.to(cos.dtype), cos, sin).to(dtype)
    return q, k, v, None if gate is None else F.linear(h, gate.to(dtype))


def before_lightning(x, norm, wq, wk, wv, wz, q_norm, k_norm, cos, sin, eps, head_dim, dtype):
    """q (scaled), k, v (tokens, heads, d) and the output gate's input."""
    h = rms_norm(x, norm, eps).to(dtype)
    q = F.linear(h, wq.to(dtype)).view(h.shape[0], -1, head_dim)
    k = F.linear(h, wk.to(dtype)).view(h.shape[0], -1, head_dim)
    v = F.linear(h, wv.to(dtype)).view(h.shape[0], -1, head_dim)
    q = rope(rms_norm(q, q_norm, eps), cos, sin) / math.sqrt(head_dim)
    k = rope(rms_norm(k, k_norm, eps), cos, sin)
    return q.to(dtype), k.to(dtype), v, F.linear(h, wz.to(dtype))


def after(x, mixed, gate, out_norm, wo, norm, w_gate, w_up, w_down, residual, eps, dtype):
    """Output norm and gate of the mixer where it has them, its projection, and the MLP."""
    if out_norm is not None:
        mixed = rms_norm(mixed, out_norm, eps)
    if gate is not None:
        mixed = mixed * torch.sigmoid(gate.to(x.dtype))
    x = x + residual * F.linear(mixed.to(dtype), wo.to(dtype)).to(x.dtype)
    h = rms_norm(x, norm, eps).to(dtype)
    h = F.silu(F.linear(h, w_gate.to(dtype))) * F.linear(h, w_up.to(dtype))
    return x + residual * F.linear(h, w_down.to(dtype)).to(x.dtype)


def losses(x, norm, head, divisor, targets, answer, eps, dtype):
    """(language-model loss sum, answer loss sum, correct) over tokens; targets < 0 are left out."""
    y = rms_norm(x, norm, eps) / divisor
    logits = F.linear(y.to(dtype), head.to(dtype)).float()
    loss = F.cross_entropy(logits, targets, ignore_index=-1, reduction="none")
    return loss.sum(), (loss * answer).sum(), logits.argmax(-1) == targets


PARTS = {f.__name__: f for f in
         (before_softmax, before_lightning, lightning_chunks, after, losses)}

# --- modules -----------------------------------------------------------------------------------------


class Weight(nn.Module):
    """A bare matrix or vector under the name `<module>.weight`."""

    def __init__(self, *shape):
        super().__init__()
        if len(shape) == 1:
            self.weight = nn.Parameter(torch.ones(shape))
        else:
            self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(shape[1]))


class Layer(nn.Module):
    def __init__(self, config, kind):
        super().__init__()
        self.kind = kind
        hidden, ffn = config["hidden_size"], config["intermediate_size"]
        self.input_layernorm = Weight(hidden)
        self.post_attention_layernorm = Weight(hidden)
        self.mlp = nn.Module()
        self.mlp.gate_proj, self.mlp.up_proj = Weight(ffn, hidden), Weight(ffn, hidden)
        self.mlp.down_proj = Weight(hidden, ffn)
        attention = self.self_attn = nn.Module()
        if kind == "lightning-attn":
            d = config["lightning_head_dim"]
            width = config["lightning_nh"] * d
            for name in ("q_proj", "k_proj", "v_proj", "z_proj"):
                setattr(attention, name, Weight(width, hidden))
            attention.o_proj = Weight(hidden, width)
            attention.q_norm, attention.k_norm, attention.o_norm = Weight(d), Weight(d), Weight(width)
        else:
            d = config["head_dim"]
            width, kv_width = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
            attention.q_proj, attention.o_proj = Weight(width, hidden), Weight(hidden, width)
            attention.k_proj, attention.v_proj = Weight(kv_width, hidden), Weight(kv_width, hidden)
            if config.get("attn_use_output_gate", False):
                attention.o_gate = Weight(width, hidden)


class Model(nn.Module):
    """config: the content of config.json."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        n_layers = config["num_hidden_layers"]
        kinds = config.get("mixer_types", ["minicpm4"] * n_layers)
        self.model = nn.Module()
        self.model.embed_tokens = Weight(config["vocab_size"], config["hidden_size"])
        with torch.no_grad():
            table = self.model.embed_tokens.weight
            table *= math.sqrt(config["hidden_size"]) / config["scale_emb"]
        self.model.layers = nn.ModuleList(Layer(config, kind) for kind in kinds)
        self.model.norm = Weight(config["hidden_size"])
        self.sparse = False  # softmax layers select blocks
        self.selection = config.get("sparse_config")
        self.selection_rows = None  # (B, R): rows for selection_loss, added up in selection_losses
        self.selection_losses = []
        self.parts = dict(PARTS)
        self.tables = {}

    def compile(self):
        """Compiles the parts with one static shape; attention cores stay as they are."""
        self.parts = {name: torch.compile(f, dynamic=False)
                      for name, f in self.parts.items()}

    def table(self, make, *key):
        """Constant tables, made once."""
        key = (make.__name__, *key)
        if key not in self.tables:
            self.tables[key] = make(*key[1:])
        return self.tables[key]

    def positions(self, batch, length, head_dim, device, dtype):
        """cos and sin of every token of a batch."""
        tables = rope_tables(length, head_dim, self.config["rope_theta"], device, dtype)
        return tuple(t.repeat(batch, 1).contiguous() for t in tables)

    def hidden(self, tokens, dtype):
        """Hidden states (tokens, hidden) before the final norm. tokens (B, L), L a multiple of CHUNK."""
        config, part = self.config, self.parts
        batch, length = tokens.shape
        high = torch.float64 if dtype == torch.float64 else torch.float32
        eps = config["rms_norm_eps"]
        residual = config["scale_depth"] / math.sqrt(config["num_hidden_layers"])
        x = F.embedding(tokens.reshape(-1), self.model.embed_tokens.weight).to(high)
        x = x * config["scale_emb"]
        for layer in self.model.layers:
            a = layer.self_attn
            norm, wq, wk, wv = (layer.input_layernorm.weight, a.q_proj.weight, a.k_proj.weight,
                                a.v_proj.weight)
            out_norm = None
            if layer.kind == "lightning-attn":
                d = config["lightning_head_dim"]
                cos, sin = self.table(self.positions, batch, length, d, x.device, high)
                q, k, v, gate = part["before_lightning"](
                    x, norm, wq, wk, wv, a.z_proj.weight, a.q_norm.weight, a.k_norm.weight, cos, sin,
                    eps, d, dtype)
                decay = self.table(decay_tables, config["lightning_nh"], length // CHUNK, x.device, high)
                mixed = lightning_attention(q, k, v, decay, part["lightning_chunks"])
                out_norm = a.o_norm.weight
            else:
                d = config["head_dim"]
                cos = sin = None
                if config.get("attn_use_rope", True):
                    cos, sin = self.table(self.positions, batch, length, d, x.device, high)
                gate = a.o_gate.weight if hasattr(a, "o_gate") else None
                q, k, v, gate = part["before_softmax"](x, norm, wq, wk, wv, gate, cos, sin, eps, d,
                                                       dtype)
                q, k, v = (y.view(batch, length, -1, d).transpose(1, 2) for y in (q, k, v))
                if self.selection_rows is not None:
                    self.selection_losses.append(
                        selection_loss(q, k, self.selection_rows, self.selection))
                if self.sparse:
                    mixed = sparse_attention(q, k, v, self.selection)
                else:
                    mixed = softmax_attention(q, k, v)
                mixed = mixed.transpose(1, 2).reshape(batch * length, -1)
            x = part["after"](x, mixed, gate, out_norm, a.o_proj.weight,
                              layer.post_attention_layernorm.weight, layer.mlp.gate_proj.weight,
                              layer.mlp.up_proj.weight, layer.mlp.down_proj.weight, residual, eps,
                              dtype)
        return x

    def divisor(self):
        return self.config["hidden_size"] / self.config["dim_model_base"]

    def losses(self, tokens, targets, answer, dtype):
        """See losses(); tokens, targets (B, L), answer (B, L) of 0 and 1."""
        return self.parts["losses"](
            self.hidden(tokens, dtype), self.model.norm.weight, self.model.embed_tokens.weight,
            self.divisor(), targets.reshape(-1), answer.reshape(-1), self.config["rms_norm_eps"],
            dtype)

    def logits(self, tokens, dtype, positions=None):
        """Logits (B, positions, vocabulary) of any number of tokens: padded to whole chunks."""
        batch, length = tokens.shape
        padded = F.pad(tokens, (0, -length % CHUNK))
        x = self.hidden(padded, dtype).view(batch, padded.shape[1], -1)[:, :length]
        if positions is not None:
            x = x[:, positions]
        y = rms_norm(x, self.model.norm.weight, self.config["rms_norm_eps"]) / self.divisor()
        return F.linear(y.to(dtype), self.model.embed_tokens.weight.to(dtype))

    def count(self):
        return sum(p.numel() for p in self.parameters())


def load_config(path):
    return json.loads(Path(path).read_text())
