// Checkpoint name -> place on the device: the one list of every tensor that a model has.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights.h"

namespace vl2 {

/// One tensor of the checkpoint.
struct TensorPart {
  std::string name;
  std::vector<uint64_t> shape;  ///< as published
};

/// What a slot may be stored as.
enum class SlotKind {
  Vector,       ///< f32, unpadded
  Matrix,       ///< any weight format, rows padded; so are the other two
  PlainMatrix,  ///< any but blocks: its kernels read none
  F32Matrix,    ///< f32: the router
};

/// One tensor on the device: its parts, one below the other.
struct TensorSlot {
  TensorView* target;  ///< the member of Weights that it becomes
  SlotKind kind;
  std::vector<uint32_t> dims;  ///< [rows, columns], [batch, rows, columns], or [count]
  std::vector<TensorPart> parts;

  uint32_t columns() const { return dims.back(); }
  uint64_t rows() const;
  /// Elements from one row to the next on the device: rows of a matrix are padded to a multiple of 8.
  uint32_t padded_columns() const;
  /// What it is on the device when its parts are stored as `part_types`: F32 or a block type that all of them have and it may
  /// have; other matrices F16, whatever bf16 or mixture they are made of.
  DType device_dtype(std::span<const DType> part_types) const;
  /// Bytes of its buffer.
  uint64_t device_bytes(DType dtype) const;
  /// Whether it is one of the weights that norms multiply by.
  bool is_norm_weight() const;
  /// The slot in `buffer`, from its start.
  TensorView view(const Buffer& buffer, DType dtype) const;
  /// The same in no buffer.
  TensorView shape_view(DType dtype) const;
};

/// Sizes `weights` (blocks, layers) for `config` and lists every slot in it.
std::vector<TensorSlot> tensor_table(const Config& config, Weights& weights);

/// Whether a checkpoint may hold this tensor although nothing uses it.
bool is_expected_and_unused(const std::string& name);

}  // namespace vl2
