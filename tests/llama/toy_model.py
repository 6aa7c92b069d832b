"""Writes a folder with a random model that llama.cpp and vl2 both load, and ids to ask it.

  python3 toy_model.py mla|mha|yarn OUT    OUT/config.json, tokenizer.json (the demo model's), model.safetensors (bf16), ids.npy, ids.i32

Wants NumPy. Rows of a matrix have length 1, those that a layer's results leave by 1 / sqrt(2 layers), as models begin their
training: layers at full strength would turn the last bit of an activation into another choice of experts. Logits spread by about 2.
"""
import json
import os
import shutil
import struct
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
PICO = os.path.join(HERE, "../../app/demo/pico")
COUNT = 192  # ids
# llama.cpp knows a deepseek2 without a q rank by its 26 or 27 layers alone.
LANGUAGE = {
    "mla": {"num_hidden_layers": 27, "use_mla": True, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128},
    "mha": {"num_hidden_layers": 12, "use_mla": False, "kv_lora_rank": None, "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "v_head_dim": 0},
}
LANGUAGE["yarn"] = dict(LANGUAGE["mla"], max_position_embeddings=4096, rope_scaling={
    "type": "yarn", "factor": 40, "original_max_position_embeddings": 64, "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707})


def config(kind):
    out = json.load(open(os.path.join(PICO, "config.json"), encoding="utf-8"))
    out["vision_config"] = {"layers": 1, "width": 32, "heads": 1, "patch_size": 14, "mlp_ratio": 2, "image_size": 384}
    out["projector_config"] = {"input_dim": 32, "n_embed": 512}
    out["language_config"].update(
        {"hidden_size": 512, "intermediate_size": 1024, "moe_intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 4,
         "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 2, **LANGUAGE[kind]})
    return out


def tensors(c):
    lang, vis = c["language_config"], c["vision_config"]
    hidden, heads, width = lang["hidden_size"], lang["num_attention_heads"], vis["width"]
    inner = int(width * vis["mlp_ratio"])

    def pair(name, *shape):
        return [(name + ".weight", shape), (name + ".bias", shape[:1])]

    out = pair("vision.patch_embed.proj", width, 3, 14, 14) + [("vision.pos_embed", (1, 729, width))]
    at = "vision.blocks.0."
    out += pair(at + "norm1", width) + pair(at + "attn.qkv", 3 * width, width) + pair(at + "attn.proj", width, width) + pair(at + "norm2", width)
    out += pair(at + "mlp.fc1", inner, width) + pair(at + "mlp.fc2", width, inner) + pair("vision.norm", width)
    out += pair("projector.layers.0", hidden, 4 * width) + pair("projector.layers.2", hidden, hidden)
    out += [("image_newline", (hidden,)), ("view_seperator", (hidden,))]
    out += [("language.model.embed_tokens.weight", (lang["vocab_size"], hidden)), ("language.lm_head.weight", (lang["vocab_size"], hidden)),
            ("language.model.norm.weight", (hidden,))]

    def mlp(at, middle):
        return [(at + "gate_proj.weight", (middle, hidden)), (at + "up_proj.weight", (middle, hidden)), (at + "down_proj.weight", (hidden, middle))]

    for i in range(lang["num_hidden_layers"]):
        at = f"language.model.layers.{i}."
        out += [(at + "input_layernorm.weight", (hidden,)), (at + "post_attention_layernorm.weight", (hidden,))]
        attn = at + "self_attn."
        if lang["use_mla"]:
            nope, rope, value, rank = (lang[k] for k in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank"))
            out += [(attn + "q_proj.weight", (heads * (nope + rope), hidden)), (attn + "kv_a_proj_with_mqa.weight", (rank + rope, hidden)),
                    (attn + "kv_a_layernorm.weight", (rank,)), (attn + "kv_b_proj.weight", (heads * (nope + value), rank)),
                    (attn + "o_proj.weight", (hidden, heads * value))]
        else:
            out += [(attn + f"{p}_proj.weight", (hidden, hidden)) for p in "qkvo"]
        if i < lang["first_k_dense_replace"]:
            out += mlp(at + "mlp.", lang["intermediate_size"])
            continue
        out.append((at + "mlp.gate.weight", (lang["n_routed_experts"], hidden)))
        for e in range(lang["n_routed_experts"]):
            out += mlp(at + f"mlp.experts.{e}.", lang["moe_intermediate_size"])
        out += mlp(at + "mlp.shared_experts.", lang["n_shared_experts"] * lang["moe_intermediate_size"])
    return out


def values(rng, name, shape, layers):
    x = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        x = (1 if "norm" in name and name.endswith("weight") else 0) + 0.1 * x
    elif name.endswith("lm_head.weight"):
        x *= 2 / np.sqrt(shape[-1])
    elif "embed_tokens" not in name:
        x /= np.sqrt(np.prod(shape[1:]))
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            x /= np.sqrt(2 * layers)
    return (x.view(np.uint32) + 0x8000 >> 16).astype(np.uint16)


def main(kind, folder):
    os.makedirs(folder, exist_ok=True)
    c = config(kind)
    json.dump(c, open(os.path.join(folder, "config.json"), "w", encoding="utf-8"), indent=1)
    shutil.copy(os.path.join(PICO, "tokenizer.json"), folder)
    header, at, names = {}, 0, tensors(c)
    for name, shape in names:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    rng = np.random.default_rng(4)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in names:
            file.write(values(rng, name, shape, c["language_config"]["num_hidden_layers"]).tobytes())
    ids = rng.integers(0, c["language_config"]["vocab_size"], COUNT).astype(np.int32)
    np.save(os.path.join(folder, "ids.npy"), ids)
    ids.tofile(os.path.join(folder, "ids.i32"))


main(*sys.argv[1:])
