// One row of a published matrix -> one row on the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/tensor.h"

namespace vl2 {

/// Converts `count` adjacent elements, whole blocks of the source's type. f16 keeps every bf16 value of 2^-14 up to 65504 exactly;
/// smaller ones round to a multiple of 2^-24.
///
/// source_type  any of weight_formats()
/// target_type  F32; F16; BF16 from BF16
/// Returns      false when a value is not finite in the target: too large for f16, infinite or NaN
bool convert_row(DType source_type, const std::byte* source, uint64_t count, DType target_type, std::byte* target);

}  // namespace vl2
