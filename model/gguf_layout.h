// Which tensors a GGUF file of a model has: llama.cpp's names for the language model, v.* for the encoder, mm.* for the projector;
// and what of a published checkpoint each one is made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/tensor_table.h"

namespace vl2 {

/// How the rows of a tensor in a GGUF file follow from the published ones.
enum class RowOrder : uint8_t {
  Published,  ///< the same
  /// Rope of plain attention: llama.cpp turns neighbours, published are halves. Row 2 i + t of a head is the published row
  /// t * head_dim / 2 + i.
  RopePairs,
  KeyUp,    ///< attn_k_b: of each head's rows of kv_b the keys' ones, transposed: [heads * kv_lora_rank, qk_nope_head_dim]
  ValueUp,  ///< attn_v_b: of each head's rows of kv_b the values' ones: [heads * v_head_dim, kv_lora_rank]
};

struct GgufEntry {
  std::string name;               ///< "blk.3.ffn_down_exps.weight"
  std::vector<uint64_t> shape;    ///< row-major
  std::vector<TensorPart> parts;  ///< published tensors, one below the other
  RowOrder order = RowOrder::Published;

  uint64_t columns() const { return shape.back(); }
  uint64_t rows() const;
};

struct GgufLayout {
  bool vision = true;       ///< v.* and mm.*, too
  bool split_kv_b = false;  ///< attn_k_b and attn_v_b instead of attn_kv_b, as llama.cpp's converter writes today
};

/// All tensors, in the order of the file.
/// Source  llama.cpp, gguf-py/gguf/constants.py and conversion/deepseek.py; names of the encoder: tools/mtmd/clip-impl.h
std::vector<GgufEntry> gguf_entries(const Config& config, const GgufLayout& layout);

/// llama.cpp's name for the language model: "deepseek2" with MLA, else "deepseek".
const char* gguf_architecture(const LanguageConfig& config);

}  // namespace vl2
