// Which format each tensor of a file gets: what `vl2 quantize --type` names. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "model/gguf_layout.h"
#include "runtime/tensor.h"

namespace vl2 {

struct QuantizeMix {
  const char* name;     ///< "Q4_K_M"
  uint32_t file_type;   ///< general.file_type: llama.cpp's number for such a file
  DType experts;        ///< the routed experts and the embedding: most of the bytes
  DType projections;    ///< attention, shared experts, dense layers: used for every token
  DType latent;         ///< MLA's narrow matrices, which everything passes through
  DType output;         ///< logits
  DType vision;         ///< encoder and projector
  const char* summary;  ///< for --help
};

std::span<const QuantizeMix> quantize_mixes();
const QuantizeMix* find_quantize_mix(std::string_view name);

/// The format of a tensor. Vectors, norms, router and positions are F32; a row that is no multiple of its block takes the 32-wide
/// type of the same or more bits (as llama.cpp does), and where that does not fit, F16.
DType type_in_mix(const QuantizeMix& mix, const GgufEntry& entry);

/// The same by published names, for all tensors that a model of `config` has.
std::map<std::string, DType> published_types(const QuantizeMix& mix, const Config& config);

}  // namespace vl2
