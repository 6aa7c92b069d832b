// Q4_0: 32 elements, an f16 scale and 32 nibbles; byte j holds element j below and element j + 16 above.
#include "runtime/weight_formats/block_math.h"
#include "runtime/weight_formats/packers.h"

namespace vl2 {

namespace {
constexpr int kBlock = 32, kBytes = 2 + kBlock / 2;
}

void pack_q4_0(const float* values, uint64_t count, std::byte* target) {
  for (uint64_t first = 0; first < count; first += kBlock, target += kBytes) {
    const float* x = values + first;
    const uint16_t bits = scale_bits(fit_symmetric<kBlock>(x, 8));
    const float factor = inverse(half_to_float(bits));
    store_half(target, bits);
    const auto code = [&](int i) { return static_cast<unsigned>(clamped(nearest(factor * x[i]), -8, 7) + 8); };
    for (int j = 0; j < kBlock / 2; ++j)
      target[2 + j] = static_cast<std::byte>(code(j) | code(j + kBlock / 2) << 4);
  }
}

void unpack_q4_0(const std::byte* source, uint64_t count, float* values) {
  for (uint64_t first = 0; first < count; first += kBlock, source += kBytes) {
    const float scale = load_half(source);
    float* const y = values + first;
    for (int j = 0; j < kBlock / 2; ++j) {
      const auto pair = std::to_integer<int>(source[2 + j]);
      y[j] = scale * static_cast<float>((pair & 15) - 8);
      y[j + kBlock / 2] = scale * static_cast<float>((pair >> 4) - 8);
    }
  }
}

void repack_q4_0(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales) {
  for (uint64_t block = 0; block < count / kBlock; ++block, source += kBytes) {
    std::memcpy(scales + 2 * block, source, 2);
    uint8_t code[kBlock];
    for (int j = 0; j < kBlock / 2; ++j) {
      const auto pair = std::to_integer<uint8_t>(source[2 + j]);
      code[j] = pair & 15u;
      code[j + kBlock / 2] = pair >> 4;
    }
    for (int first = 0; first < kBlock; first += 8, codes += 4)
      store_nibbles(code + first, codes);
  }
}

}  // namespace vl2
