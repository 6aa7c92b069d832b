"""pico's configuration, first values, export and the optimiser for its matrices."""
import json
import math
import os

import torch

CANDIDATES = [[384, 384], [384, 768], [768, 384], [384, 1152], [1152, 384], [384, 1536], [1536, 384], [768, 768], [384, 1920], [1920, 384],
              [384, 2304], [2304, 384], [768, 1152], [1152, 768], [384, 2688], [2688, 384], [384, 3072], [3072, 384], [768, 1536], [1536, 768],
              [384, 3456], [3456, 384], [1152, 1152]]


def pico_config(vocab_size=640, smoke=False):
    width, heads, layers = (72, 1, 2) if smoke else (216, 3, 6)
    hidden = 64 if smoke else 256
    return {
        "model_type": "deepseek_vl_v2", "torch_dtype": "float16", "tile_tag": "2D", "global_view_pos": "head", "candidate_resolutions": CANDIDATES,
        "vision_config": {"model_type": "vision", "model_name": "pico_vit_patch14_384", "layers": layers, "width": width, "heads": heads,
                          "patch_size": 14, "mlp_ratio": 3.7362, "image_size": 384},
        "projector_config": {"model_type": "mlp_projector", "input_dim": width, "n_embed": hidden},
        "language_config": {
            "model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], "vocab_size": vocab_size, "hidden_size": hidden,
            "intermediate_size": 3 * hidden, "moe_intermediate_size": 5 * hidden // 8, "num_hidden_layers": 2 if smoke else 6,
            "num_attention_heads": 4, "num_key_value_heads": 4, "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 3,
            "first_k_dense_replace": 1, "moe_layer_freq": 1, "n_group": 1, "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax",
            "norm_topk_prob": False, "routed_scaling_factor": 1.0, "use_mla": True, "q_lora_rank": None, "kv_lora_rank": 128,
            "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64, "max_position_embeddings": 4096, "rope_theta": 10000.0,
            "rms_norm_eps": 1e-6, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "torch_dtype": "float16"},
    }


def processor_config():
    return {"add_special_token": False, "candidate_resolutions": CANDIDATES, "downsample_ratio": 2, "ignore_id": -100, "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3, "image_token": "<image>", "mask_prompt": False, "normalize": True, "pad_token": "<｜▁pad▁｜>", "patch_size": 14,
            "processor_class": "DeepseekVLV2Processor", "sft_format": "deepseek"}


def first_values(model, seed=1):
    """Random weights scaled by fan-in; position rows start as two-dimensional waves, so that places are told apart at once."""
    torch.manual_seed(seed)
    vision_depth, depth = len(model.vision.blocks), len(model.language.model.layers)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.data.zero_()
        elif p.dim() == 1:
            if name in ("image_newline", "view_seperator"):
                p.data.normal_(0, 0.3)
        elif "embed_tokens" in name:
            p.data.normal_(0, 0.3)
        elif name != "vision.pos_embed":
            std = p[0].numel() ** -0.5
            if name.endswith(("attn.proj.weight", "fc2.weight", "o_proj.weight", "down_proj.weight")):
                std *= (2 * (vision_depth if name.startswith("vision") else depth)) ** -0.5
            p.data.normal_(0, std)
    count, width = model.vision.pos_embed.shape[1:]
    side, quarter = math.isqrt(count), width // 4
    place = torch.arange(side)[:, None] * (2.0 ** (-torch.arange(quarter) * 7.0 / quarter))[None, :] * 1.5
    wave = torch.cat([place.sin(), place.cos()], 1)
    rows = torch.cat([wave[:, None].expand(side, side, -1), wave[None].expand(side, side, -1)], -1)
    model.vision.pos_embed.data.zero_()
    model.vision.pos_embed.data[0, :, : 4 * quarter] = 0.3 * rows.reshape(count, -1)


class Muon:
    """Momentum with orthogonalised updates for matrices (Newton-Schulz, five steps), scaled so that AdamW's learning rates fit."""

    def __init__(self, entries, weight_decay):
        """entries: [(parameter, parts)], parts > 1 where a matrix stacks several (q, k, v)."""
        self.groups, self.decay = {}, weight_decay
        for p, parts in entries:
            self.groups.setdefault((p.shape[0] // parts, p.shape[1]), []).append((p, parts))
        self.buffers = {shape: torch.zeros(sum(k for _, k in g), *shape, device=g[0][0].device) for shape, g in self.groups.items()}

    @torch.no_grad()
    def step(self, lr):
        for shape, group in self.groups.items():
            grads = torch.cat([p.grad.view(k, *shape) for p, k in group])
            buffer = self.buffers[shape]
            buffer.lerp_(grads, 0.05)
            x = grads.lerp(buffer, 0.95).bfloat16()
            tall = shape[0] > shape[1]
            if tall:
                x = x.mT
            x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
            for _ in range(5):
                a = x @ x.mT
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            if tall:
                x = x.mT
            updates = x.float().split([k for _, k in group])
            params = [p.data for p, _ in group]
            torch._foreach_mul_(params, 1 - lr * self.decay)
            torch._foreach_add_(params, [u.reshape(p.shape) for u, p in zip(updates, params)], alpha=-lr * 0.2 * max(shape) ** 0.5)


def split_parameters(model, extra):
    """-> (matrices for Muon with their parts, everything else for AdamW)."""
    matrices, others = [], list(extra)
    for name, p in model.named_parameters():
        inner = ".blocks." in name or ".layers." in name
        if p.dim() == 2 and inner and not name.endswith("gate.weight"):
            matrices.append((p, 3 if name.endswith("qkv.weight") else 1))
        else:
            others.append(p)
    return matrices, others


def export(state, folder, parts, dtype=torch.float16):
    """Writes the weights as `parts` safetensors files of about equal size (one is called model.safetensors)."""
    from safetensors.torch import save_file
    os.makedirs(folder, exist_ok=True)
    names, total = sorted(state), sum(v.numel() for v in state.values())
    groups, filled = [{} for _ in range(parts)], 0
    for name in names:
        groups[min(parts - 1, filled * parts // total)][name] = state[name].detach().to("cpu", dtype).contiguous()
        filled += state[name].numel()
    for index, group in enumerate(groups):
        file = "model.safetensors" if parts == 1 else f"model-{index + 1:05d}-of-{parts:05d}.safetensors"
        save_file(group, os.path.join(folder, file), metadata={"format": "pt"})


def load_weights(folder):
    """{name: float32 tensor} of every safetensors file in a folder."""
    from safetensors.torch import load_file
    files = sorted(name for name in os.listdir(folder) if name.endswith(".safetensors"))
    if not files:
        raise SystemExit(f"load_weights: {folder} has no .safetensors file, wanted one or its parts")
    state = {}
    for file in files:
        part = load_file(os.path.join(folder, file))
        if state.keys() & part.keys():
            raise SystemExit(f"load_weights: {file} in {folder} repeats {min(state.keys() & part.keys())} of another file, wanted one set of weights")
        state.update((name, tensor.float()) for name, tensor in part.items())
    return state


def write_json(path, data):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=2)
        file.write("\n")
