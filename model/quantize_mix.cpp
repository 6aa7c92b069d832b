#include "model/quantize_mix.h"

namespace vl2 {

namespace {

constexpr auto F32 = DType::F32, F16 = DType::F16, BF16 = DType::BF16;
constexpr auto Q8_0 = DType::Q8_0, Q4_0 = DType::Q4_0, Q4_K = DType::Q4_K, Q6_K = DType::Q6_K;

// File types: llama.cpp, include/llama.h, enum llama_ftype.
constexpr QuantizeMix kMixes[] = {
    {"F32", 0, F32, F32, F32, F32, F32, "as it is, twice the size of what is published"},
    {"F16", 1, F16, F16, F16, F16, F16, "16 bits"},
    {"BF16", 32, BF16, BF16, BF16, BF16, BF16, "16 bits, as published"},
    {"Q8_0", 7, Q8_0, Q8_0, Q8_0, Q8_0, Q8_0, "8.5 bits"},
    {"Q6_K", 18, Q6_K, Q6_K, Q8_0, Q6_K, Q8_0, "6.6 bits"},
    {"Q4_K_M", 15, Q4_K, Q6_K, Q8_0, Q6_K, Q8_0, "experts 4.5 bits, what every token uses 6.6"},
    {"Q4_K_S", 14, Q4_K, Q4_K, Q8_0, Q6_K, Q8_0, "4.5 bits nearly everywhere"},
    {"Q4_0", 2, Q4_0, Q4_0, Q8_0, Q6_K, Q8_0, "4.5 bits nearly everywhere, the simplest blocks"},
};

bool has(const std::string& name, const char* part) {
  return name.find(part) != std::string::npos;
}

DType wanted_type(const QuantizeMix& mix, const std::string& name) {
  if (name.starts_with("v.") || name.starts_with("mm."))
    return mix.vision;
  if (name == "output.weight")
    return mix.output;
  if (name == "token_embd.weight" || has(name, "_exps."))
    return mix.experts;
  if (has(name, "attn_kv_a_mqa") || has(name, "attn_kv_b") || has(name, "attn_k_b") || has(name, "attn_v_b"))
    return mix.latent;
  return mix.projections;
}

// What rows take that are no multiple of 256.
DType narrower_block(DType type) {
  return type == Q4_K ? Q4_0 : type == Q6_K ? Q8_0 : type;
}

}  // namespace

std::span<const QuantizeMix> quantize_mixes() {
  return kMixes;
}

const QuantizeMix* find_quantize_mix(std::string_view name) {
  for (const QuantizeMix& mix : kMixes)
    if (mix.name == name)
      return &mix;
  return nullptr;
}

DType type_in_mix(const QuantizeMix& mix, const GgufEntry& entry) {
  const bool vector = entry.shape.size() == 1;
  if (vector || has(entry.name, "ffn_gate_inp") || entry.name == "v.position_embd.weight")
    return F32;
  DType type = wanted_type(mix, entry.name);
  if (entry.columns() % dtype_block(type) != 0)
    type = narrower_block(type);
  return entry.columns() % dtype_block(type) != 0 ? F16 : type;
}

std::map<std::string, DType> published_types(const QuantizeMix& mix, const Config& config) {
  std::map<std::string, DType> types;
  for (const GgufEntry& entry : gguf_entries(config, {.vision = config.has_vision, .split_kv_b = false}))
    for (const TensorPart& part : entry.parts)
      types[part.name] = type_in_mix(mix, entry);
  return types;
}

}  // namespace vl2
