// f32, f16 and bf16: an element at a time.
#include <cstring>

#include "runtime/half.h"
#include "runtime/weight_formats/packers.h"

namespace vl2 {

namespace {

template <typename Convert>
void pack_16(const float* values, uint64_t count, std::byte* target, Convert convert) {
  for (uint64_t i = 0; i < count; ++i) {
    const uint16_t bits = convert(values[i]);
    std::memcpy(target + 2 * i, &bits, sizeof(bits));
  }
}

template <typename Convert>
void unpack_16(const std::byte* source, uint64_t count, float* values, Convert convert) {
  for (uint64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, source + 2 * i, sizeof(bits));
    values[i] = convert(bits);
  }
}

}  // namespace

void pack_f32(const float* values, uint64_t count, std::byte* target) {
  std::memcpy(target, values, count * sizeof(float));
}
void unpack_f32(const std::byte* source, uint64_t count, float* values) {
  std::memcpy(values, source, count * sizeof(float));
}
void pack_f16(const float* values, uint64_t count, std::byte* target) {
  pack_16(values, count, target, float_to_half);
}
void unpack_f16(const std::byte* source, uint64_t count, float* values) {
  unpack_16(source, count, values, half_to_float);
}
void pack_bf16(const float* values, uint64_t count, std::byte* target) {
  pack_16(values, count, target, float_to_bfloat16);
}
void unpack_bf16(const std::byte* source, uint64_t count, float* values) {
  unpack_16(source, count, values, bfloat16_to_float);
}

}  // namespace vl2
