"""DeepSeek-VL2 as plain PyTorch: one picture's path from pixels to logits, for every variant, driven by config.json alone.

Module names equal the checkpoint's tensor names, so `model.load_state_dict` takes an official state dict as it is (without the
unused `vision.attn_pool.*`).  Runs in float64, float32 or bfloat16; nothing here is fast, everything is meant to be read.
Shapes in comments: V views, T tokens, D hidden size, H heads, E routed experts.
"""
import json
import math
import os

import torch
import torch.nn as nn
import torch.nn.functional as F

# ---------------------------------------------------------------------------------------------------------------- config

VISION_DEFAULTS = dict(layers=24, width=1024, patch_size=16, mlp_ratio=4.0, image_size=384, heads=16)
PROJECTOR_DEFAULTS = dict(projector_type="downsample_mlp_gelu", input_dim=1152, n_embed=2048, depth=2, mlp_ratio=1, downsample_ratio=2)
LANGUAGE_DEFAULTS = dict(
    vocab_size=102400, hidden_size=4096, intermediate_size=11008, moe_intermediate_size=1407, num_hidden_layers=30,
    num_attention_heads=32, num_key_value_heads=None, n_shared_experts=None, n_routed_experts=None, routed_scaling_factor=1.0, kv_lora_rank=512,
    q_lora_rank=1536, qk_rope_head_dim=64, v_head_dim=128, qk_nope_head_dim=128, topk_method="greedy", n_group=None,
    topk_group=None, num_experts_per_tok=None, moe_layer_freq=1, first_k_dense_replace=0, norm_topk_prob=False,
    scoring_func="softmax", rms_norm_eps=1e-6, rope_theta=10000.0, rope_scaling=None, use_mla=True, bos_token_id=100000,
    eos_token_id=100001, max_position_embeddings=2048)


class Section:
    """One section of config.json: the file's keys over the official class defaults."""

    def __init__(self, defaults, given):
        self.__dict__.update(defaults)
        self.__dict__.update(given)


class Config:
    def __init__(self, data):
        self.vision = Section(VISION_DEFAULTS, data["vision_config"])
        self.projector = Section(PROJECTOR_DEFAULTS, data["projector_config"])
        self.language = Section(LANGUAGE_DEFAULTS, data["language_config"])
        self.tile_tag = data.get("tile_tag", "tile_tag")
        self.global_view_pos = data.get("global_view_pos", "head")
        self.candidate_resolutions = [tuple(pair) for pair in data["candidate_resolutions"]]
        for bad, what in ((self.tile_tag != "2D", "tile_tag other than 2D"),
                          (self.global_view_pos != "head", "global_view_pos other than head"),
                          (self.projector.projector_type != "downsample_mlp_gelu", "another projector_type"),
                          (self.language.use_mla and self.language.q_lora_rank is not None, "q_lora_rank"),
                          (self.language.rope_scaling is not None, "rope_scaling"),
                          ((self.language.n_group or 1) != 1, "expert groups")):
            if bad:
                raise ValueError(f"config.json: {what} is not supported")

    @staticmethod
    def from_folder(folder):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            return Config(json.load(file))


# ---------------------------------------------------------------------------------------------------------------- vision


class VisionAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):  # [V, 729, width], every patch sees every patch
        views, count, width = x.shape
        q, k, v = self.qkv(x).view(views, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(views, count, width))


class VisionMlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionBlock(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = VisionAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = VisionMlp(width, inner)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, pixels):  # [V, 3, 384, 384] -> [V, 729, width]; the last 6 rows and columns are never read
        return self.proj(pixels).flatten(2).transpose(1, 2)


class Vision(nn.Module):
    """SigLIP without its pooling head: [V, 3, 384, 384] in -1..1 -> [V, 729, width] after the final norm."""

    def __init__(self, config):
        super().__init__()
        side = (config.image_size - config.patch_size) // config.patch_size + 1
        self.patch_embed = PatchEmbed(config.width, config.patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, side * side, config.width))
        inner = int(config.width * config.mlp_ratio)
        self.blocks = nn.ModuleList(VisionBlock(config.width, config.heads, inner) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def forward(self, pixels):
        x = self.patch_embed(pixels) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def unfold_patches(features, ratio=2):
    """[V, n*n, C] -> [V, m*m, C*ratio*ratio], channel outermost; odd grids get zero rows below and zero columns at the right."""
    views, count, channels = features.shape
    side = math.isqrt(count)
    grid = features.view(views, side, side, channels)
    pad = -side % ratio
    grid = F.pad(grid, (0, 0, 0, pad, 0, pad))
    half = (side + pad) // ratio
    grid = grid.view(views, half, ratio, half, ratio, channels)
    return grid.permute(0, 1, 3, 5, 2, 4).reshape(views, half * half, channels * ratio * ratio)


class Projector(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ratio = config.downsample_ratio
        inner = config.n_embed * config.mlp_ratio
        layers = [nn.Linear(config.input_dim * self.ratio**2, inner)]
        for _ in range(1, config.depth - 1):
            layers += [nn.GELU(), nn.Linear(inner, inner)]
        layers += [nn.GELU(), nn.Linear(inner, config.n_embed)]  # nn.GELU is the exact erf form
        self.layers = nn.Sequential(*layers)

    def forward(self, features):  # [V, 729, width] -> [V, 196, D]
        return self.layers(unfold_patches(features, self.ratio))


def image_sequence(tokens, tiles_wide, tiles_high, newline, separator):
    """One picture's views [1 + tiles_wide*tiles_high, n*n, D] -> [T, D]: whole picture, separator, all tiles as one grid.

    Works on a batch too: [B, views, n*n, D] -> [B, T, D].
    """
    single = tokens.dim() == 3
    if single:
        tokens = tokens[None]
    batch, _, count, hidden = tokens.shape
    side = math.isqrt(count)

    def with_newlines(grid):  # [B, rows, columns, D] -> [B, rows * (columns + 1), D]
        ends = newline.to(grid.dtype).expand(batch, grid.shape[1], 1, hidden)
        return torch.cat([grid, ends], dim=2).reshape(batch, -1, hidden)

    whole = tokens[:, 0].view(batch, side, side, hidden)
    local = tokens[:, 1:].view(batch, tiles_high, tiles_wide, side, side, hidden).permute(0, 1, 3, 2, 4, 5)
    local = local.reshape(batch, tiles_high * side, tiles_wide * side, hidden)
    gap = separator.to(tokens.dtype).expand(batch, 1, hidden)
    out = torch.cat([with_newlines(whole), gap, with_newlines(local)], dim=1)
    return out[0] if single else out


# -------------------------------------------------------------------------------------------------------------- language


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        wide = x.to(at_least_f32(x.dtype))
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def at_least_f32(dtype):
    return torch.promote_types(dtype, torch.float32)


def rope_tables(positions, size, theta, dtype):
    """cos and sin [T, size/2]: angle position * theta^(-2i/size), computed in f32 or wider, then rounded to dtype."""
    wide = at_least_f32(dtype)
    frequency = theta ** (-torch.arange(0, size, 2, device=positions.device).to(wide) / size)
    angle = positions.to(wide)[:, None] * frequency[None, :]
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rope_half_split(x, cos, sin):
    """Pairs (i, i + size/2), as plain attention has it."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def rope_interleaved(x, cos, sin):
    """Pairs (2i, 2i + 1), as MLA has it; results stay in place (the official code stores evens first: same dot products)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)


def causal_attention(q, k, v, scale):
    """q [B, H, T, d], k [B, H, S, d], v [B, H, S, e] with S >= T: query t sees keys 0 .. S - T + t."""
    count, total = q.shape[2], k.shape[2]
    if q.is_cuda and v.shape[-1] != q.shape[-1]:  # the fused kernels want one head size
        return causal_attention(q, k, F.pad(v, (0, q.shape[-1] - v.shape[-1])), scale)[..., : v.shape[-1]]
    if count == total:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    mask = torch.ones(count, total, dtype=torch.bool, device=q.device).tril(total - count)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


class PlainAttention(nn.Module):
    """Tiny: multi-head attention, head size hidden/heads, half-split RoPE on all of it."""

    def __init__(self, config):
        super().__init__()
        hidden = config.hidden_size
        self.heads, self.theta = config.num_attention_heads, config.rope_theta
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(hidden, hidden, bias=False))

    def forward(self, x, positions, cache=None):
        batch, count, hidden = x.shape
        size = hidden // self.heads
        q, k, v = (p(x).view(batch, count, self.heads, size).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        cos, sin = rope_tables(positions, size, self.theta, q.dtype)
        q, k = rope_half_split(q, cos, sin), rope_half_split(k, cos, sin)
        if cache is not None:
            k, v = cache.append(k, v, dim=2)
        out = causal_attention(q, k, v, size**-0.5)
        return self.o_proj(out.transpose(1, 2).reshape(batch, count, hidden))


class LatentAttention(nn.Module):
    """Small, Base: MLA.  The cache holds the latent c and the one roped key; `absorbed` picks the form (equal in exact arithmetic)."""

    def __init__(self, config):
        super().__init__()
        self.heads, self.theta = config.num_attention_heads, config.rope_theta
        self.nope, self.rope, self.value = config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim
        self.rank = config.kv_lora_rank
        self.absorbed = False
        self.q_proj = nn.Linear(config.hidden_size, self.heads * (self.nope + self.rope), bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(config.hidden_size, self.rank + self.rope, bias=False)
        self.kv_a_layernorm = RMSNorm(self.rank, config.rms_norm_eps)
        self.kv_b_proj = nn.Linear(self.rank, self.heads * (self.nope + self.value), bias=False)
        self.o_proj = nn.Linear(self.heads * self.value, config.hidden_size, bias=False)

    def forward(self, x, positions, cache=None):
        batch, count, _ = x.shape
        q = self.q_proj(x).view(batch, count, self.heads, self.nope + self.rope).transpose(1, 2)
        q_nope, q_rope = q.split([self.nope, self.rope], dim=-1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split([self.rank, self.rope], dim=-1)
        latent = self.kv_a_layernorm(latent)
        cos, sin = rope_tables(positions, self.rope, self.theta, q.dtype)
        q_rope, k_rope = rope_interleaved(q_rope, cos, sin), rope_interleaved(k_rope, cos, sin)
        if cache is not None:
            latent, k_rope = cache.append(latent, k_rope, dim=1)
        scale = (self.nope + self.rope) ** -0.5
        form = self.attend_absorbed if self.absorbed else self.attend
        out = form(q_nope, q_rope, latent, k_rope, scale)
        return self.o_proj(out.transpose(1, 2).reshape(batch, count, self.heads * self.value))

    def attend(self, q_nope, q_rope, latent, k_rope, scale):
        batch, total, _ = latent.shape
        expanded = self.kv_b_proj(latent).view(batch, total, self.heads, self.nope + self.value).transpose(1, 2)
        k_nope, v = expanded.split([self.nope, self.value], dim=-1)
        k = torch.cat([k_nope, k_rope[:, None].expand(-1, self.heads, -1, -1)], dim=-1)
        return causal_attention(torch.cat([q_nope, q_rope], dim=-1), k, v, scale)

    def attend_absorbed(self, q_nope, q_rope, latent, k_rope, scale):
        weight = self.kv_b_proj.weight.view(self.heads, self.nope + self.value, self.rank)
        w_key, w_value = weight.split([self.nope, self.value], dim=1)
        folded = torch.einsum("bhtn,hnr->bhtr", q_nope, w_key)
        scores = torch.einsum("bhtr,bsr->bhts", folded, latent) + torch.einsum("bhtp,bsp->bhts", q_rope, k_rope)
        count, total = scores.shape[-2:]
        mask = torch.ones(count, total, dtype=torch.bool, device=scores.device).tril(total - count)
        scores = (scores * scale).masked_fill(~mask, float("-inf"))
        p = scores.to(at_least_f32(scores.dtype)).softmax(-1).to(scores.dtype)
        mixed = torch.einsum("bhts,bsr->bhtr", p, latent)
        return torch.einsum("bhtr,hvr->bhtv", mixed, w_value)


class Mlp(nn.Module):
    def __init__(self, hidden, inner):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Gate(nn.Module):
    """The router, never narrower than f32."""

    def __init__(self, config):
        super().__init__()
        self.top_k, self.scale = config.num_experts_per_tok, config.routed_scaling_factor
        self.sigmoid, self.renormalise = config.scoring_func == "sigmoid", config.norm_topk_prob
        self.weight = nn.Parameter(torch.zeros(config.n_routed_experts, config.hidden_size))
        if config.topk_method == "noaux_tc":
            self.e_score_correction_bias = nn.Parameter(torch.zeros(config.n_routed_experts))
        else:
            self.e_score_correction_bias = None

    def forward(self, x):
        """x [N, D] -> chosen experts [N, k], their weights [N, k], all scores [N, E], what the choice was made by [N, E]."""
        with torch.autocast(device_type=x.device.type, enabled=False):
            wide = at_least_f32(x.dtype)
            logits = F.linear(x.to(wide), self.weight.to(wide))
            scores = logits.sigmoid() if self.sigmoid else logits.softmax(-1)
            choice = scores if self.e_score_correction_bias is None else scores + self.e_score_correction_bias.to(wide)
            chosen = choice.topk(self.top_k, dim=-1).indices
            weights = scores.gather(-1, chosen)
            if self.renormalise and self.top_k > 1:
                weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
            return chosen, weights * self.scale, scores, choice


class Moe(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate = Gate(config)
        self.experts = nn.ModuleList(Mlp(config.hidden_size, config.moe_intermediate_size) for _ in range(config.n_routed_experts))
        self.shared_experts = Mlp(config.hidden_size, config.moe_intermediate_size * config.n_shared_experts)
        self.dense = False  # training: every expert on every token, masked by the gate; the same function, no gathers
        self.margins = None  # set to a list to record (k-th, next) choice scores of every token

    def forward(self, x):
        """[B, T, D] -> ([B, T, D], balance loss: E * sum of (share of tokens) * (mean score), 1 when even)."""
        flat = x.reshape(-1, x.shape[-1])
        chosen, weights, scores, choice = self.gate(flat)
        if self.margins is not None:
            top = choice.topk(self.gate.top_k + 1, dim=-1).values
            self.margins.append(top[:, -2:].detach().clone())
        balance = x.new_zeros(())
        if self.dense:
            mask = torch.zeros_like(scores).scatter(-1, chosen, weights)
            share = (mask > 0).to(scores.dtype).mean(0) / self.gate.top_k
            normal = scores / scores.sum(-1, keepdim=True)
            balance = scores.shape[-1] * (share.detach() * normal.mean(0)).sum()
            out = self.all_experts(flat, mask)
        else:
            out = torch.zeros(flat.shape, dtype=at_least_f32(x.dtype), device=x.device)
            for index, expert in enumerate(self.experts):
                token, slot = (chosen == index).nonzero(as_tuple=True)
                if len(token):
                    out[token] += expert(flat[token]).to(out.dtype) * weights[token, slot, None]
        return (out.to(x.dtype) + self.shared_experts(flat)).view(x.shape), balance

    def all_experts(self, flat, mask):
        gate = torch.cat([e.gate_proj.weight for e in self.experts])  # [E * inner, D]
        up = torch.cat([e.up_proj.weight for e in self.experts])
        down = torch.cat([e.down_proj.weight for e in self.experts], dim=1)  # [D, E * inner]
        inner = F.silu(F.linear(flat, gate)) * F.linear(flat, up)
        inner = inner.view(flat.shape[0], len(self.experts), -1) * mask.to(inner.dtype)[:, :, None]
        return F.linear(inner.flatten(1), down)


class DecoderLayer(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = (LatentAttention if config.use_mla else PlainAttention)(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        is_moe = config.n_routed_experts is not None and index >= config.first_k_dense_replace and index % config.moe_layer_freq == 0
        self.mlp = Moe(config) if is_moe else Mlp(config.hidden_size, config.intermediate_size)

    def forward(self, x, positions, cache=None):
        x = x + self.self_attn(self.input_layernorm(x), positions, cache)
        out = self.mlp(self.post_attention_layernorm(x))
        out, balance = out if isinstance(out, tuple) else (out, x.new_zeros(()))
        return x + out, balance


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class LanguageModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, embedded, start=0, caches=None):
        """embedded [B, T, D], the first at position `start` -> logits [B, T, vocabulary], f32 or wider."""
        positions = torch.arange(start, start + embedded.shape[1], device=embedded.device)
        x = embedded
        for index, layer in enumerate(self.model.layers):
            x, _ = layer(x, positions, None if caches is None else caches[index])
        logits = self.lm_head(self.model.norm(x))
        return logits.to(at_least_f32(logits.dtype))


class LayerCache:
    """Two tensors that grow along their token dimension: keys and values, or latents and roped keys."""

    def __init__(self):
        self.pair = None

    def append(self, a, b, dim):
        if self.pair is not None:
            a, b = torch.cat([self.pair[0], a], dim), torch.cat([self.pair[1], b], dim)
        self.pair = (a, b)
        return a, b


# ----------------------------------------------------------------------------------------------------------------- model


class DeepSeekVL2(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.vision = Vision(config.vision)
        self.projector = Projector(config.projector)
        self.language = LanguageModel(config.language)
        self.image_newline = nn.Parameter(torch.zeros(config.projector.n_embed))
        self.view_seperator = nn.Parameter(torch.zeros(config.projector.n_embed))

    def encode_picture(self, views, tiles_wide, tiles_high):
        """views u8 [1 + tiles, 384, 384, 3] -> (vision [V, 729, width], projector [V, 196, D], sequence [T, D])."""
        weight = self.image_newline
        pixels = normalise(views).to(weight.device, weight.dtype)
        vision = self.vision(pixels)
        tokens = self.projector(vision)
        return vision, tokens, image_sequence(tokens, tiles_wide, tiles_high, self.image_newline, self.view_seperator)

    def embed(self, ids, sequences, image_id):
        """ids [T]; the rows at image_id are taken from the pictures' sequences in order -> [1, T, D]."""
        device = self.image_newline.device
        ids = torch.as_tensor(ids, dtype=torch.long, device=device)
        out = self.language.model.embed_tokens(ids)
        places = (ids == image_id).nonzero()[:, 0]
        rows = torch.cat(list(sequences)) if sequences else out[:0]
        if len(places) != len(rows):
            raise ValueError(f"ids: {len(places)} image positions, the pictures make {len(rows)}")
        out = out.clone()
        out[places] = rows.to(out.dtype)
        return out[None]

    @torch.no_grad()
    def greedy(self, ids, sequences, image_id, count, stop=None):
        """-> (logits [T, vocabulary] of the prompt, up to `count` greedy ids, top-two gaps of the steps)."""
        caches = [LayerCache() for _ in self.language.model.layers]
        logits = self.language(self.embed(ids, sequences, image_id), 0, caches)[0]
        prompt, out, gaps = logits, [], []
        while len(out) < count:
            top = logits[-1].topk(2)
            out.append(int(top.indices[0]))
            gaps.append(float(top.values[0] - top.values[1]))
            if out[-1] == stop or len(out) == count:
                break
            step = self.language.model.embed_tokens(torch.tensor([[out[-1]]], device=logits.device))
            logits = self.language(step, len(ids) + len(out) - 1, caches)[0]
        return prompt, out, gaps


def load_folder(folder, dtype=torch.float32):
    """A folder with config.json and one or more .safetensors (with or without an index) -> the model, ready to run."""
    from safetensors.torch import load_file
    model = DeepSeekVL2(Config.from_folder(folder))
    state = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            state.update(load_file(os.path.join(folder, name)))
    state = {name: value for name, value in state.items() if not name.startswith("vision.attn_pool.")}
    model.load_state_dict(state)
    return model.to(dtype).eval()


# -------------------------------------------------------------------------------------------------------------- pictures


def best_resolution(width, height, candidates):
    """The smallest canvas that loses no pixels, else the one that keeps most; doubles as the official code has them."""
    best, best_kept, best_waste = None, 0, math.inf
    for canvas_width, canvas_height in candidates:
        scale = min(canvas_width / width, canvas_height / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        waste = canvas_width * canvas_height - kept
        if kept > best_kept or (kept == best_kept and waste < best_waste):
            best, best_kept, best_waste = (canvas_width, canvas_height), kept, waste
    return best


def picture_views(image, config, picture_count=1):
    """PIL picture -> (u8 tensor [1 + tw*th, 384, 384, 3], tw, th); three or more pictures in a conversation are not tiled."""
    import numpy as np
    from PIL import Image, ImageOps
    image = image.convert("RGB")
    side, grey = config.vision.image_size, (127, 127, 127)
    width, height = (side, side)
    if picture_count <= 2:
        width, height = best_resolution(*image.size, config.candidate_resolutions)
    views = [np.asarray(ImageOps.pad(image, (side, side), method=Image.BICUBIC, color=grey))]
    local = np.asarray(ImageOps.pad(image, (width, height), method=Image.BICUBIC, color=grey))
    for y in range(0, height, side):
        views += [local[y:y + side, x:x + side] for x in range(0, width, side)]
    return torch.from_numpy(np.stack(views).copy()), width // side, height // side


def normalise(views):
    """u8 [V, 384, 384, 3] -> f32 [V, 3, 384, 384]: v/255, then (v - 0.5)/0.5."""
    return (views.permute(0, 3, 1, 2).to(torch.float32) / 255 - 0.5) / 0.5


def image_token_count(tiles_wide, tiles_high, rows=14):
    return rows * (rows + 1) + 1 + rows * tiles_high * (rows * tiles_wide + 1)


# ---------------------------------------------------------------------------------------------------------------- prompt


def prompt_ids(turns, encode, bos, eos, image_id, image_counts):
    """turns: (question with <image> tags, answer or None); encode: text -> ids, special tokens recognised.

    image_counts: tokens of each picture in order of appearance.  Pieces between pictures are encoded one by one.
    """
    ids, counts = [bos], iter(image_counts)
    for question, answer in turns:
        pieces = ("<|User|>: " + question.strip() + "\n\n<|Assistant|>:").split("<image>")
        ids += encode(pieces[0])
        for piece in pieces[1:]:
            ids += [image_id] * next(counts) + encode(piece)
        if answer is not None:
            ids += encode(answer.strip()) + [eos]
    return ids
