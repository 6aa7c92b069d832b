#include "model/weight_convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/half.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

constexpr uint64_t kBlock = 32;

bool finite_bfloat16(uint16_t bits) {
  return (bits & 0x7f80u) != 0x7f80u;
}
bool finite_half(uint16_t bits) {
  return (bits & 0x7c00u) != 0x7c00u;
}

// Exponents 2^-14..2^15 of bf16 become f16 by moving bits, which the compiler does 16 at a time; other values are rare.
bool bfloat16_to_half(const uint16_t* source, uint64_t count, uint16_t* target) {
  bool finite = true;
  for (uint64_t first = 0; first < count; first += kBlock) {
    const uint64_t end = first + kBlock < count ? first + kBlock : count;
    uint16_t out_of_range = 0;
    for (uint64_t i = first; i < end; ++i) {
      const uint16_t bits = source[i];
      const auto exponent = static_cast<uint16_t>((bits >> 7) & 0xffu);
      out_of_range |= static_cast<uint16_t>(static_cast<uint16_t>(exponent - 113u) > 29u);
      target[i] = static_cast<uint16_t>((bits & 0x8000u) | static_cast<uint16_t>((exponent - 112u) << 10) |
                                        static_cast<uint16_t>((bits & 0x7fu) << 3));
    }
    if (out_of_range != 0)
      for (uint64_t i = first; i < end; ++i) {
        target[i] = float_to_half(bfloat16_to_float(source[i]));
        finite &= finite_half(target[i]);
      }
  }
  return finite;
}

template <typename T>
T load(const std::byte* bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

// Everything that is not a copy: by way of f32, a block of the widest type at a time.
bool convert_blocks(const WeightFormat& source_format, const std::byte* source, uint64_t count, DType target_type,
                    std::byte* target) {
  constexpr uint64_t kValues = 256;
  float values[kValues];
  bool finite = true;
  for (uint64_t first = 0; first < count; first += kValues) {
    const uint64_t some = std::min(kValues, count - first);
    source_format.dequantize(source + dtype_bytes_of(source_format.dtype, first), some, values);
    for (uint64_t i = 0; i < some; ++i) {
      const uint64_t at = first + i;
      if (target_type == DType::F32) {
        finite &= std::isfinite(values[i]);
        std::memcpy(target + at * 4, &values[i], 4);
      } else {
        const uint16_t half = float_to_half(values[i]);
        finite &= finite_half(half);
        std::memcpy(target + at * 2, &half, 2);
      }
    }
  }
  return finite;
}

}  // namespace

bool convert_row(DType source_type, const std::byte* source, uint64_t count, DType target_type, std::byte* target) {
  if (target_type == DType::F16 && source_type == DType::BF16)
    return bfloat16_to_half(reinterpret_cast<const uint16_t*>(source), count, reinterpret_cast<uint16_t*>(target));
  if (target_type != source_type || target_type == DType::F32)
    return convert_blocks(*find_weight_format(source_type), source, count, target_type, target);
  bool finite = true;
  std::memcpy(target, source, count * 2);
  for (uint64_t i = 0; i < count; ++i)
    finite &= target_type == DType::F16 ? finite_half(load<uint16_t>(source, i)) : finite_bfloat16(load<uint16_t>(source, i));
  return finite;
}

}  // namespace vl2
