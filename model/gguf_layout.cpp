#include "model/gguf_layout.h"

namespace vl2 {

namespace {

class Entries {
 public:
  std::vector<GgufEntry> list;

  void add(const std::string& name, std::vector<uint64_t> shape, const std::string& published) {
    list.push_back({name, shape, {{published, shape}}});
  }
  void reordered(const std::string& name, uint64_t rows, uint64_t columns, const std::string& published, RowOrder order) {
    list.push_back({name, {rows, columns}, {{published, {rows, columns}}}, order});
  }
  void linear(const std::string& name, uint64_t rows, uint64_t columns, const std::string& published) {
    add(name + ".weight", {rows, columns}, published + ".weight");
    add(name + ".bias", {rows}, published + ".bias");
  }
  void layer_norm(const std::string& name, uint64_t width, const std::string& published) {
    add(name + ".weight", {width}, published + ".weight");
    add(name + ".bias", {width}, published + ".bias");
  }
  // One tensor for the matrices of all experts.
  void experts(const std::string& name, uint64_t count, uint64_t rows, uint64_t columns, const std::string& prefix,
               const std::string& suffix) {
    GgufEntry entry{name, {count, rows, columns}, {}};
    for (uint64_t e = 0; e < count; ++e)
      entry.parts.push_back({prefix + std::to_string(e) + suffix, {rows, columns}});
    list.push_back(std::move(entry));
  }
};

void add_attention(Entries& entries, const LanguageConfig& config, const GgufLayout& layout, const std::string& block,
                   const std::string& published) {
  const uint64_t hidden = config.hidden_size, heads = config.num_attention_heads;
  if (!config.use_mla) {
    entries.reordered(block + "attn_q.weight", hidden, hidden, published + "q_proj.weight", RowOrder::RopePairs);
    entries.reordered(block + "attn_k.weight", hidden, hidden, published + "k_proj.weight", RowOrder::RopePairs);
    entries.add(block + "attn_v.weight", {hidden, hidden}, published + "v_proj.weight");
    entries.add(block + "attn_output.weight", {hidden, hidden}, published + "o_proj.weight");
    return;
  }
  const uint64_t nope = config.qk_nope_head_dim, rope = config.qk_rope_head_dim, value = config.v_head_dim,
                 rank = config.kv_lora_rank;
  entries.add(block + "attn_q.weight", {heads * (nope + rope), hidden}, published + "q_proj.weight");
  entries.add(block + "attn_kv_a_mqa.weight", {rank + rope, hidden}, published + "kv_a_proj_with_mqa.weight");
  entries.add(block + "attn_kv_a_norm.weight", {rank}, published + "kv_a_layernorm.weight");
  const TensorPart kv_b{published + "kv_b_proj.weight", {heads * (nope + value), rank}};
  if (layout.split_kv_b) {
    entries.list.push_back({block + "attn_k_b.weight", {heads, rank, nope}, {kv_b}, RowOrder::KeyUp});
    entries.list.push_back({block + "attn_v_b.weight", {heads, value, rank}, {kv_b}, RowOrder::ValueUp});
  } else {
    entries.add(block + "attn_kv_b.weight", kv_b.shape, kv_b.name);
  }
  entries.add(block + "attn_output.weight", {hidden, heads * value}, published + "o_proj.weight");
}

void add_mlp(Entries& entries, const std::string& block, const std::string& suffix, uint64_t hidden, uint64_t width,
             const std::string& published) {
  entries.add(block + "ffn_gate" + suffix, {width, hidden}, published + "gate_proj.weight");
  entries.add(block + "ffn_up" + suffix, {width, hidden}, published + "up_proj.weight");
  entries.add(block + "ffn_down" + suffix, {hidden, width}, published + "down_proj.weight");
}

void add_moe(Entries& entries, const LanguageConfig& config, const std::string& block, const std::string& published) {
  const uint64_t hidden = config.hidden_size, width = config.moe_intermediate_size, count = config.n_routed_experts;
  entries.add(block + "ffn_gate_inp.weight", {count, hidden}, published + "gate.weight");
  if (config.has_correction_bias())
    entries.add(block + "exp_probs_b.bias", {count}, published + "gate.e_score_correction_bias");
  const std::string experts = published + "experts.";
  entries.experts(block + "ffn_gate_exps.weight", count, width, hidden, experts, ".gate_proj.weight");
  entries.experts(block + "ffn_up_exps.weight", count, width, hidden, experts, ".up_proj.weight");
  entries.experts(block + "ffn_down_exps.weight", count, hidden, width, experts, ".down_proj.weight");
  if (config.n_shared_experts > 0)
    add_mlp(entries, block, "_shexp.weight", hidden, config.n_shared_experts * width, published + "shared_experts.");
}

void add_language(Entries& entries, const LanguageConfig& config, const GgufLayout& layout) {
  const uint64_t hidden = config.hidden_size;
  entries.add("token_embd.weight", {config.vocab_size, hidden}, "language.model.embed_tokens.weight");
  for (uint32_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".", published = "language.model.layers." + std::to_string(i) + ".";
    entries.add(block + "attn_norm.weight", {hidden}, published + "input_layernorm.weight");
    add_attention(entries, config, layout, block, published + "self_attn.");
    entries.add(block + "ffn_norm.weight", {hidden}, published + "post_attention_layernorm.weight");
    if (config.is_moe_layer(i))
      add_moe(entries, config, block, published + "mlp.");
    else
      add_mlp(entries, block, ".weight", hidden, config.intermediate_size, published + "mlp.");
  }
  entries.add("output_norm.weight", {hidden}, "language.model.norm.weight");
  entries.add("output.weight", {config.vocab_size, hidden}, "language.lm_head.weight");
}

void add_vision(Entries& entries, const VisionConfig& config) {
  const uint64_t width = config.width, patch = config.patch_size, mlp = config.mlp_width();
  entries.add("v.patch_embd.weight", {width, 3, patch, patch}, "vision.patch_embed.proj.weight");
  entries.add("v.patch_embd.bias", {width}, "vision.patch_embed.proj.bias");
  entries.list.push_back(
      {"v.position_embd.weight", {config.tokens(), width}, {{"vision.pos_embed", {1, config.tokens(), width}}}});
  for (uint32_t i = 0; i < config.layers; ++i) {
    const std::string block = "v.blk." + std::to_string(i) + ".", published = "vision.blocks." + std::to_string(i) + ".";
    entries.layer_norm(block + "ln1", width, published + "norm1");
    entries.linear(block + "attn_qkv", 3 * width, width, published + "attn.qkv");
    entries.linear(block + "attn_out", width, width, published + "attn.proj");
    entries.layer_norm(block + "ln2", width, published + "norm2");
    entries.linear(block + "ffn_up", mlp, width, published + "mlp.fc1");
    entries.linear(block + "ffn_down", width, mlp, published + "mlp.fc2");
  }
  entries.layer_norm("v.post_ln", width, "vision.norm");
}

void add_projector(Entries& entries, const ProjectorConfig& config) {
  const uint64_t width = config.n_embed;
  entries.linear("mm.0", width, 4 * uint64_t{config.input_dim}, "projector.layers.0");
  entries.linear("mm.2", width, width, "projector.layers.2");
  entries.add("v.image_newline", {width}, "image_newline");
  entries.add("v.view_seperator", {width}, "view_seperator");  // misspelt there and here
}

}  // namespace

uint64_t GgufEntry::rows() const {
  uint64_t rows = 1;
  for (size_t axis = 0; axis + 1 < shape.size(); ++axis)
    rows *= shape[axis];
  return rows;
}

std::vector<GgufEntry> gguf_entries(const Config& config, const GgufLayout& layout) {
  Entries entries;
  add_language(entries, config.language, layout);
  if (layout.vision) {
    add_vision(entries, config.vision);
    add_projector(entries, config.projector);
  }
  return std::move(entries.list);
}

const char* gguf_architecture(const LanguageConfig& config) {
  return config.use_mla ? "deepseek2" : "deepseek";
}

}  // namespace vl2
