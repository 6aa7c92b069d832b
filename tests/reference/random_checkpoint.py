"""Writes a random checkpoint with the exact shapes and names of Tiny, Small or Base: config.json with the official key sets, bf16 shards, index file.

  python3 random_checkpoint.py --variant tiny|small|base --out DIR [--layers N] [--shard-gb 8.59]

Values come from torch on the GPU when there is one; every tensor goes straight from there to its place in the shard's file.
"""
import argparse
import json
import os
import time

import torch

CANDIDATES = [[384 * a, 384 * b] for a, b in
              ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (4, 1), (2, 2), (1, 5), (5, 1), (1, 6), (6, 1), (2, 3), (3, 2), (1, 7), (7, 1), (1, 8),
               (8, 1), (2, 4), (4, 2), (1, 9), (9, 1), (3, 3))]
COMMON = {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "torch_dtype": "bfloat16", "n_shared_experts": 2,
          "num_experts_per_tok": 6, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "q_lora_rank": None, "max_position_embeddings": 4096,
          "rm_head": False}
# What each official file holds; keys that it leaves out (Base: layers and heads, Small: vocabulary and ids) are left out here too.
LANGUAGE = {
    "tiny": {"hidden_size": 1280, "intermediate_size": 6848, "moe_intermediate_size": 896, "num_hidden_layers": 12, "num_attention_heads": 10,
             "num_key_value_heads": 10, "n_routed_experts": 64, "topk_method": "greedy", "use_mla": False, "kv_lora_rank": None,
             "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "v_head_dim": 0, "vocab_size": 129280, "bos_token_id": 0, "eos_token_id": 1,
             "lm_head": True},
    "small": {"hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408, "num_hidden_layers": 27, "num_attention_heads": 16,
              "num_key_value_heads": 16, "n_routed_experts": 64, "topk_method": "greedy", "lm_head": True},
    "base": {"hidden_size": 2560, "intermediate_size": 12288, "moe_intermediate_size": 1536, "n_routed_experts": 72, "topk_method": "noaux_tc",
             "scoring_func": "sigmoid", "norm_topk_prob": True, "routed_scaling_factor": 2.0, "vocab_size": 129280, "bos_token_id": 0,
             "eos_token_id": 1, "lm_head": False},
}
DEFAULTS = {"num_hidden_layers": 30, "num_attention_heads": 32, "use_mla": True, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
            "v_head_dim": 128, "vocab_size": 102400, "scoring_func": "softmax"}
WIDTH, INNER, VISION_LAYERS = 1152, 4304, 27


def config(variant, layers):
    language = dict(COMMON, **LANGUAGE[variant])
    if layers:
        language["num_hidden_layers"] = layers
    projector = {"model_type": "mlp_projector"}
    if variant != "small":
        projector["n_embed"] = language["hidden_size"]
    return {
        "model_type": "deepseek_vl_v2", "torch_dtype": "bfloat16", "transformers_version": "4.38.2", "tile_tag": "2D", "global_view_pos": "head",
        "candidate_resolutions": CANDIDATES, "language_config": language, "projector_config": projector,
        "vision_config": {"model_type": "vision", "model_name": "siglip_so400m_patch14_384", "layers": 27, "width": 1152, "patch_size": 14,
                          "mlp_ratio": 3.7362},
    }


def vision_tensors():
    def pair(name, *shape):
        return [(name + ".weight", shape), (name + ".bias", shape[:1])]

    out = [("vision.pos_embed", (1, 729, WIDTH))] + pair("vision.patch_embed.proj", WIDTH, 3, 14, 14)
    for i in range(VISION_LAYERS):
        at = f"vision.blocks.{i}."
        out += pair(at + "norm1", WIDTH) + pair(at + "attn.qkv", 3 * WIDTH, WIDTH) + pair(at + "attn.proj", WIDTH, WIDTH)
        out += pair(at + "norm2", WIDTH) + pair(at + "mlp.fc1", INNER, WIDTH) + pair(at + "mlp.fc2", WIDTH, INNER)
    pool = "vision.attn_pool."
    out += pair("vision.norm", WIDTH) + [(pool + "latent", (1, 1, WIDTH))] + pair(pool + "q", WIDTH, WIDTH) + pair(pool + "kv", 2 * WIDTH, WIDTH)
    return out + pair(pool + "proj", WIDTH, WIDTH) + pair(pool + "norm", WIDTH) + pair(pool + "mlp.fc1", INNER, WIDTH) + pair(pool + "mlp.fc2", WIDTH, INNER)


def mlp(at, hidden, inner):
    return [(at + "gate_proj.weight", (inner, hidden)), (at + "up_proj.weight", (inner, hidden)), (at + "down_proj.weight", (hidden, inner))]


def attention(at, c):
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    if not c["use_mla"]:
        return [(f"{at}{name}_proj.weight", (hidden, hidden)) for name in "qkvo"]
    rank, nope, rope, value = c["kv_lora_rank"], c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    return [(at + "q_proj.weight", (heads * (nope + rope), hidden)), (at + "kv_a_proj_with_mqa.weight", (rank + rope, hidden)),
            (at + "kv_a_layernorm.weight", (rank,)), (at + "kv_b_proj.weight", (heads * (nope + value), rank)),
            (at + "o_proj.weight", (hidden, heads * value))]


def tensors(given):
    """[(name, shape)] in file order."""
    c = dict(DEFAULTS, **given)
    hidden = c["hidden_size"]
    out = vision_tensors()
    out += [("projector.layers.0.weight", (hidden, 4 * WIDTH)), ("projector.layers.0.bias", (hidden,)), ("projector.layers.2.weight", (hidden, hidden)),
            ("projector.layers.2.bias", (hidden,)), ("image_newline", (hidden,)), ("view_seperator", (hidden,))]
    out.append(("language.model.embed_tokens.weight", (c["vocab_size"], hidden)))
    for i in range(c["num_hidden_layers"]):
        at = f"language.model.layers.{i}."
        out += [(at + "input_layernorm.weight", (hidden,)), (at + "post_attention_layernorm.weight", (hidden,))] + attention(at + "self_attn.", c)
        if i < c["first_k_dense_replace"]:
            out += mlp(at + "mlp.", hidden, c["intermediate_size"])
            continue
        out.append((at + "mlp.gate.weight", (c["n_routed_experts"], hidden)))
        if c["topk_method"] == "noaux_tc":
            out.append((at + "mlp.gate.e_score_correction_bias", (c["n_routed_experts"],)))
        for e in range(c["n_routed_experts"]):
            out += mlp(f"{at}mlp.experts.{e}.", hidden, c["moe_intermediate_size"])
        out += mlp(at + "mlp.shared_experts.", hidden, c["n_shared_experts"] * c["moe_intermediate_size"])
    return out + [("language.model.norm.weight", (hidden,)), ("language.lm_head.weight", (c["vocab_size"], hidden))]


def count(shape):
    total = 1
    for size in shape:
        total *= size
    return total


def values(name, shape, device):
    out = torch.empty(shape, dtype=torch.bfloat16, device=device)
    if name.endswith("norm.weight") or ".norm1.weight" in name or ".norm2.weight" in name:
        return out.fill_(1.0)
    if len(shape) == 1:
        return out.normal_(0, 0.02)
    return out.normal_(0, 0.02 if name.startswith("language.model.embed") else count(shape[1:]) ** -0.5)


def shards(table, limit):
    out, filled = [[]], 0
    for name, shape in table:
        size = 2 * count(shape)
        if out[-1] and filled + size > limit:
            out.append([])
            filled = 0
        out[-1].append((name, shape))
        filled += size
    return out


def write_shard(path, table, device):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in table:
        size = 2 * count(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in table:
            file.write(values(name, shape, device).cpu().view(torch.int16).numpy().data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=tuple(LANGUAGE), required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--layers", type=int, default=0, help="fewer language layers, for small disks")
    parser.add_argument("--shard-gb", type=float, default=8.59)
    parser.add_argument("--list", action="store_true", help="only print counts and bytes")
    args = parser.parse_args()
    data = config(args.variant, args.layers)
    table = tensors(data["language_config"])
    total = sum(2 * count(shape) for _, shape in table)
    print(len(table), "tensors,", total // 2, "parameters,", total, "bytes")
    if args.list:
        return
    os.makedirs(args.out, exist_ok=True)
    torch.manual_seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts, index, begin = shards(table, args.shard_gb * 1e9), {}, time.time()
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05d}-of-{len(parts):06d}.safetensors"
        write_shard(os.path.join(args.out, name), part, device)
        index.update({tensor: name for tensor, _ in part})
    with open(os.path.join(args.out, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": index}, file, indent=2)
    with open(os.path.join(args.out, "config.json"), "w") as file:
        json.dump(data, file, indent=2, sort_keys=True)
    span = time.time() - begin
    print(f"{span:.1f} s, {total / span / 1e9:.2f} GB/s")


if __name__ == "__main__":
    main()
