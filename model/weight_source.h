// One place of a weight with what the checkpoint holds for it, and the reading of its rows in the layout of the device.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/tensor_table.h"
#include "runtime/status.h"
#include "runtime/weight_format.h"

namespace vl2 {

/// One published tensor of a slot.
struct WeightPart {
  const CheckpointTensor* tensor;
  DType stored;  ///< in the file
  DType type;    ///< what it is made before it is converted for the device: `stored`, unless a mix says otherwise
};

/// One slot with what the checkpoint holds for it.
struct WeightSource {
  TensorSlot slot;
  std::vector<WeightPart> parts;
  DType dtype = DType::F16;

  /// Of codes, and of scales, which only blocks have.
  uint64_t row_bytes() const { return device_code_bytes(dtype, slot.padded_columns()); }
  uint64_t row_scale_bytes() const { return device_scale_bytes(dtype, slot.padded_columns()); }
  uint64_t bytes() const { return slot.device_bytes(dtype); }
  bool all_are(DType type) const;
};

/// Pairs every slot of `table` with its tensors.
///
/// types   what tensors are made while they are read, by name; the others stay what they are
/// Errors  BadFile: a tensor is missing, of another shape or type, or has no place
Result<std::vector<WeightSource>> match_weights(const Checkpoint& checkpoint, std::vector<TensorSlot> table,
                                                const std::map<std::string, DType>& types);

/// Where rows go, from first_row on.
struct RowTarget {
  uint64_t first_row;
  std::span<std::byte> codes;  ///< whole rows; device memory as the host sees it, perhaps: written once and in order, never read
  std::byte* scales;           ///< null without blocks
};

/// Reads and converts whole rows of a source. Threads: any.
///
/// overflow  set where a value is not finite in the source's dtype
/// Errors    those of Checkpoint::read(); BadFile: a value that cannot be quantized
Status read_weight_rows(const Checkpoint& checkpoint, const WeightSource& source, const RowTarget& target,
                        std::atomic<bool>& overflow);

}  // namespace vl2
