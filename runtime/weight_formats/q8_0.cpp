// Q8_0: 32 elements, an f16 scale and 32 signed bytes.
#include "runtime/weight_formats/block_math.h"
#include "runtime/weight_formats/packers.h"

namespace vl2 {

namespace {
constexpr int kBlock = 32, kBytes = 2 + kBlock;
}

void pack_q8_0(const float* values, uint64_t count, std::byte* target) {
  for (uint64_t first = 0; first < count; first += kBlock, target += kBytes) {
    const float* x = values + first;
    const float extreme = std::fabs(extreme_of<kBlock>(x));
    const uint16_t bits = extreme < kLeastHalf / 2 ? uint16_t{0} : scale_bits(extreme / 127);
    const float factor = inverse(half_to_float(bits));  // of the scale as stored, so that its rounding is made up for
    store_half(target, bits);
    for (int i = 0; i < kBlock; ++i)
      target[2 + i] = static_cast<std::byte>(static_cast<int8_t>(clamped(nearest(factor * x[i]), -127, 127)));
  }
}

void unpack_q8_0(const std::byte* source, uint64_t count, float* values) {
  for (uint64_t first = 0; first < count; first += kBlock, source += kBytes) {
    const float scale = load_half(source);
    for (int i = 0; i < kBlock; ++i)
      values[first + static_cast<uint64_t>(i)] = scale * static_cast<float>(static_cast<int8_t>(source[2 + i]));
  }
}

void repack_q8_0(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales) {
  for (uint64_t block = 0; block < count / kBlock; ++block, source += kBytes) {
    std::memcpy(scales + 2 * block, source, 2);
    for (size_t first = 0; first < kBlock; first += 8)
      for (size_t byte = 0; byte < 8; ++byte)
        *codes++ = source[2 + first + kDeviceOrder[byte]];
  }
}

}  // namespace vl2
