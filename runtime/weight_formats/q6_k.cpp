// Q6_K: 256 elements in 16 parts of 16, each with a signed 8-bit scale; the f16 at the end scales those.
//
// Each half of 128 elements has 64 bytes of low nibbles and 32 bytes of high bits. Element 32 k + i of a half, k of 0..3, has its
// low bits in byte 32 (k % 2) + i, in the nibble k / 2, and its high ones in byte i, at bit 2 k.
#include "runtime/weight_formats/block_math.h"
#include "runtime/weight_formats/packers.h"

namespace vl2 {

namespace {

constexpr int kBlock = 256, kPart = 16, kParts = kBlock / kPart;
constexpr int kHigh = kBlock / 2, kScales = kHigh + kBlock / 4, kD = kScales + kParts, kBytes = kD + 2;

void pack_block(const float* x, std::byte* target) {
  std::array<float, kParts> scales;
  float extreme = 0;
  for (size_t part = 0; part < kParts; ++part) {
    scales[part] = fit_symmetric<kPart>(x + part * kPart, 32);
    extreme = std::fabs(scales[part]) > std::fabs(extreme) ? scales[part] : extreme;
  }
  const uint16_t bits = scale_bits(extreme / -128);
  const float d = half_to_float(bits);
  unsigned codes[kBlock];
  for (size_t part = 0; part < kParts; ++part) {
    const float s = clamped(nearest(scales[part] * inverse(d)), -128, 127), factor = inverse(d * s);
    target[kScales + part] = static_cast<std::byte>(static_cast<int8_t>(s));
    for (size_t i = part * kPart; i < (part + 1) * kPart; ++i)
      codes[i] = static_cast<unsigned>(clamped(nearest(clamped(factor * x[i], -33, 32)), -32, 31) + 32);
  }
  store_half(target + kD, bits);
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 32; ++i) {
      const unsigned* const q = codes + 128 * half + i;  // q[0], q[32], q[64], q[96]: k of 0..3
      target[64 * half + i] = static_cast<std::byte>((q[0] & 15u) | (q[64] & 15u) << 4);
      target[64 * half + 32 + i] = static_cast<std::byte>((q[32] & 15u) | (q[96] & 15u) << 4);
      target[kHigh + 32 * half + i] =
          static_cast<std::byte>(q[0] >> 4 | (q[32] >> 4) << 2 | (q[64] >> 4) << 4 | (q[96] >> 4) << 6);
    }
}

// 0..63: element i of the block at `source`.
unsigned code_of(const std::byte* source, unsigned i) {
  const unsigned half = i / 128, k = i % 128 / 32, column = i % 32;
  return (std::to_integer<unsigned>(source[64 * half + 32 * (k % 2) + column]) >> (4 * (k / 2)) & 15u) |
         (std::to_integer<unsigned>(source[static_cast<unsigned>(kHigh) + 32 * half + column]) >> (2 * k) & 3u) << 4;
}

}  // namespace

void pack_q6_k(const float* values, uint64_t count, std::byte* target) {
  for (uint64_t first = 0; first < count; first += kBlock, target += kBytes)
    pack_block(values + first, target);
}

void unpack_q6_k(const std::byte* source, uint64_t count, float* values) {
  for (uint64_t first = 0; first < count; first += kBlock, source += kBytes) {
    const float d = load_half(source + kD);
    for (unsigned part = 0; part < kParts; ++part) {
      const float scale = d * static_cast<float>(static_cast<int8_t>(source[kScales + part]));
      for (unsigned i = part * kPart; i < (part + 1) * kPart; ++i)
        values[first + i] = scale * static_cast<float>(static_cast<int>(code_of(source, i)) - 32);
    }
  }
}

void repack_q6_k(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales) {
  constexpr int kScaleBytes = 96;
  for (uint64_t block = 0; block < count / kBlock; ++block, source += kBytes, scales += kScaleBytes) {
    uint8_t low[kBlock], high[kBlock];
    for (unsigned i = 0; i < kBlock; ++i) {
      const unsigned code = code_of(source, i);
      low[i] = static_cast<uint8_t>(code & 15u);
      high[i] = static_cast<uint8_t>(code >> 4);
    }
    for (int first = 0; first < kBlock; first += 8, codes += 4)
      store_nibbles(low + first, codes);
    std::memset(scales, 0, kScaleBytes);
    for (size_t word = 0; word < kBlock / 16; ++word)
      for (size_t byte = 0; byte < 4; ++byte) {
        const uint8_t* const first = high + 16 * word;
        const size_t even = kDeviceOrder[byte], odd = kDeviceOrder[4 + byte];
        scales[4 * word + byte] =
            static_cast<std::byte>(first[even] | first[odd] << 2 | first[8 + even] << 4 | first[8 + odd] << 6);
      }
    std::memcpy(scales + kBlock / 4, source + kScales, kParts + 2);
  }
}

}  // namespace vl2
