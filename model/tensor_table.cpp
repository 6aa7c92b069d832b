#include "model/tensor_table.h"

#include <algorithm>

#include "runtime/weight_format.h"

namespace vl2 {

namespace {

class TableBuilder {
 public:
  std::vector<TensorSlot> slots;

  void matrix(TensorView& target, const std::string& name, uint32_t rows, uint32_t columns) {
    slots.push_back({&target, SlotKind::Matrix, {rows, columns}, {{name, {rows, columns}}}});
  }
  // Several matrices of `columns` columns, one below the other.
  void stacked(TensorView& target, const std::vector<std::string>& names, uint32_t rows_each, uint32_t columns) {
    TensorSlot slot{&target, SlotKind::Matrix, {static_cast<uint32_t>(names.size()) * rows_each, columns}, {}};
    for (const std::string& name : names)
      slot.parts.push_back({name, {rows_each, columns}});
    slots.push_back(std::move(slot));
  }
  // For each of `batch` experts the matrices experts.{e}.<names>, one below the other.
  void experts(TensorView& target, const std::string& prefix, const std::vector<std::string>& names, uint32_t batch,
               uint32_t rows_each, uint32_t columns) {
    TensorSlot slot{&target, SlotKind::Matrix, {batch, static_cast<uint32_t>(names.size()) * rows_each, columns}, {}};
    for (uint32_t e = 0; e < batch; ++e)
      for (const std::string& name : names)
        slot.parts.push_back({prefix + std::to_string(e) + name, {rows_each, columns}});
    slots.push_back(std::move(slot));
  }
  void vector(TensorView& target, const std::string& name, uint32_t count) {
    slots.push_back({&target, SlotKind::Vector, {count}, {{name, {count}}}});
  }
  void linear(TensorView& weight, TensorView& bias, const std::string& name, uint32_t rows, uint32_t columns) {
    matrix(weight, name + ".weight", rows, columns);
    vector(bias, name + ".bias", rows);
  }
  void layer_norm(LayerNormWeights& norm, const std::string& name, uint32_t width) {
    vector(norm.weight, name + ".weight", width);
    vector(norm.bias, name + ".bias", width);
  }
};

void add_vision(TableBuilder& table, const VisionConfig& config, VisionWeights& vision) {
  const uint32_t width = config.width, patch = config.patch_size, mlp = config.mlp_width();
  const uint32_t patch_elements = 3 * patch * patch;
  table.slots.push_back({&vision.patch_embed,
                         SlotKind::Matrix,
                         {width, patch_elements},
                         {{"vision.patch_embed.proj.weight", {width, 3, patch, patch}}}});
  table.vector(vision.patch_embed_bias, "vision.patch_embed.proj.bias", width);
  table.slots.push_back(
      {&vision.pos_embed, SlotKind::Vector, {config.tokens(), width}, {{"vision.pos_embed", {1, config.tokens(), width}}}});
  vision.blocks.resize(config.layers);
  for (uint32_t i = 0; i < config.layers; ++i) {
    VisionBlockWeights& block = vision.blocks[i];
    const std::string prefix = "vision.blocks." + std::to_string(i) + ".";
    table.layer_norm(block.norm1, prefix + "norm1", width);
    table.linear(block.qkv, block.qkv_bias, prefix + "attn.qkv", 3 * width, width);
    table.linear(block.proj, block.proj_bias, prefix + "attn.proj", width, width);
    table.layer_norm(block.norm2, prefix + "norm2", width);
    table.linear(block.fc1, block.fc1_bias, prefix + "mlp.fc1", mlp, width);
    table.linear(block.fc2, block.fc2_bias, prefix + "mlp.fc2", width, mlp);
  }
  table.layer_norm(vision.norm, "vision.norm", width);
}

void add_projector(TableBuilder& table, const Config& config, ProjectorWeights& projector) {
  const uint32_t n_embed = config.projector.n_embed;
  table.linear(projector.layer0, projector.layer0_bias, "projector.layers.0", n_embed, 4 * config.projector.input_dim);
  table.linear(projector.layer2, projector.layer2_bias, "projector.layers.2", n_embed, n_embed);
  table.vector(projector.image_newline, "image_newline", n_embed);
  table.vector(projector.view_separator, "view_seperator", n_embed);  // the published key is misspelt
}

void add_attention(TableBuilder& table, const LanguageConfig& config, const std::string& prefix, LayerWeights& layer) {
  const uint32_t hidden = config.hidden_size, heads = config.num_attention_heads;
  if (!config.use_mla) {
    table.stacked(layer.qkv, {prefix + "q_proj.weight", prefix + "k_proj.weight", prefix + "v_proj.weight"}, hidden, hidden);
    table.matrix(layer.o, prefix + "o_proj.weight", hidden, hidden);
    return;
  }
  const uint32_t nope = config.qk_nope_head_dim, rope = config.qk_rope_head_dim, v = config.v_head_dim,
                 rank = config.kv_lora_rank;
  table.matrix(layer.q, prefix + "q_proj.weight", heads * (nope + rope), hidden);
  table.matrix(layer.kv_a, prefix + "kv_a_proj_with_mqa.weight", rank + rope, hidden);
  table.vector(layer.kv_a_norm, prefix + "kv_a_layernorm.weight", rank);
  table.matrix(layer.kv_b, prefix + "kv_b_proj.weight", heads * (nope + v), rank);
  table.slots.back().kind = SlotKind::PlainMatrix;  // decode multiplies by its columns, too
  table.matrix(layer.o, prefix + "o_proj.weight", hidden, heads * v);
}

void add_mlp(TableBuilder& table, const std::string& prefix, uint32_t hidden, uint32_t intermediate, MlpWeights& mlp) {
  table.stacked(mlp.gate_up, {prefix + "gate_proj.weight", prefix + "up_proj.weight"}, intermediate, hidden);
  table.matrix(mlp.down, prefix + "down_proj.weight", hidden, intermediate);
}

void add_moe(TableBuilder& table, const LanguageConfig& config, const std::string& prefix, LayerWeights& layer) {
  const uint32_t hidden = config.hidden_size, experts = config.n_routed_experts, width = config.moe_intermediate_size;
  table.matrix(layer.router, prefix + "gate.weight", experts, hidden);
  table.slots.back().kind = SlotKind::F32Matrix;
  if (config.has_correction_bias())
    table.vector(layer.router_bias, prefix + "gate.e_score_correction_bias", experts);
  table.experts(layer.experts.gate_up, prefix + "experts.", {".gate_proj.weight", ".up_proj.weight"}, experts, width, hidden);
  table.experts(layer.experts.down, prefix + "experts.", {".down_proj.weight"}, experts, hidden, width);
  if (config.n_shared_experts > 0)
    add_mlp(table, prefix + "shared_experts.", hidden, config.n_shared_experts * width, layer.shared);
}

void add_language(TableBuilder& table, const LanguageConfig& config, LanguageWeights& language) {
  const uint32_t hidden = config.hidden_size;
  table.matrix(language.embed_tokens, "language.model.embed_tokens.weight", config.vocab_size, hidden);
  language.layers.resize(config.num_hidden_layers);
  for (uint32_t i = 0; i < config.num_hidden_layers; ++i) {
    LayerWeights& layer = language.layers[i];
    const std::string prefix = "language.model.layers." + std::to_string(i) + ".";
    table.vector(layer.input_norm, prefix + "input_layernorm.weight", hidden);
    table.vector(layer.post_attention_norm, prefix + "post_attention_layernorm.weight", hidden);
    add_attention(table, config, prefix + "self_attn.", layer);
    layer.is_moe = config.is_moe_layer(i);
    if (layer.is_moe)
      add_moe(table, config, prefix + "mlp.", layer);
    else
      add_mlp(table, prefix + "mlp.", hidden, config.intermediate_size, layer.mlp);
  }
  table.vector(language.norm, "language.model.norm.weight", hidden);
  table.matrix(language.lm_head, "language.lm_head.weight", config.vocab_size, hidden);
}

}  // namespace

uint64_t TensorSlot::rows() const {
  uint64_t rows = 1;
  for (size_t axis = 0; axis + 1 < dims.size(); ++axis)
    rows *= dims[axis];
  return rows;
}

uint32_t TensorSlot::padded_columns() const {
  constexpr uint32_t kRowAlign = 8;  // elements; shaders read 8 at a time
  return kind != SlotKind::Vector ? (columns() + kRowAlign - 1) / kRowAlign * kRowAlign : columns();
}

DType TensorSlot::device_dtype(std::span<const DType> part_types) const {
  const DType first = part_types.front();
  const bool alike = std::all_of(part_types.begin(), part_types.end(), [&](DType type) { return type == first; });
  if (kind == SlotKind::Vector || kind == SlotKind::F32Matrix || (alike && first == DType::F32))
    return DType::F32;
  return kind == SlotKind::Matrix && alike && dtype_block(first) > 1 ? first : DType::F16;
}

uint64_t TensorSlot::device_bytes(DType dtype) const {
  return vl2::device_bytes(dtype, rows() * padded_columns());
}

bool TensorSlot::is_norm_weight() const {
  const std::string& name = parts.front().name;
  return kind == SlotKind::Vector && name.find("norm") != std::string::npos && name.ends_with(".weight");
}

TensorView TensorSlot::view(const Buffer& buffer, DType dtype) const {
  TensorView view = shape_view(dtype);
  view.buffer = &buffer;
  return view;
}

TensorView TensorSlot::shape_view(DType dtype) const {
  TensorView view;
  view.dtype = dtype;
  view.rank_ = static_cast<uint32_t>(dims.size());
  uint32_t stride = 1;
  for (uint32_t axis = view.rank_; axis-- > 0;) {
    view.dims[axis] = dims[axis];
    view.strides[axis] = stride;
    stride *= axis + 1 == view.rank_ ? padded_columns() : dims[axis];
  }
  view.scales = device_scales_offset(dtype, rows() * padded_columns());
  return view;
}

std::vector<TensorSlot> tensor_table(const Config& config, Weights& weights) {
  TableBuilder table;
  if (config.has_vision) {
    add_vision(table, config.vision, weights.vision);
    add_projector(table, config, weights.projector);
  }
  add_language(table, config.language, weights.language);
  return std::move(table.slots);
}

bool is_expected_and_unused(const std::string& name) {
  return name.rfind("vision.attn_pool.", 0) == 0;
}

}  // namespace vl2
