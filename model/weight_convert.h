// One row of a published matrix -> one row on the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/tensor.h"

namespace vl2 {

/// Element types that checkpoints are read from.
enum class FileType { BF16, F16, F32 };

/// Errors: false for a dtype text that is none of the three.
bool file_type_of(const std::string& dtype_text, FileType& type);

constexpr uint64_t file_type_bytes(FileType type) {
  return type == FileType::F32 ? 4 : 2;
}

/// Converts `count` adjacent elements. f16 keeps every bf16 value of 2^-14 up to 65504 exactly; smaller ones round to a multiple
/// of 2^-24.
///
/// target_type  F32, F16 or BF16 (the last from BF16 only)
/// Returns      false when a value is not finite in the target: too large for f16, infinite or NaN
bool convert_row(FileType source_type, const std::byte* source, uint64_t count, DType target_type, std::byte* target);

}  // namespace vl2
