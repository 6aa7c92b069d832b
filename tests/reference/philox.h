// Philox4x32-10, on the host.
#pragma once

#include <array>
#include <cstdint>

namespace vl2::reference {

/// Source: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
inline std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int turn = 0; turn < 10; ++turn) {
    const uint64_t a = uint64_t{0xd2511f53u} * counter[0], b = uint64_t{0xcd9e8d57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9e3779b9u, key[1] + 0xbb67ae85u};
  }
  return counter;
}

/// The random number in [0, 1) that `sample` draws with.
inline double sample_random(uint64_t seed, uint32_t step) {
  const auto words = philox4x32({step, 0, 0, 0}, {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return (words[0] * 0x1p-32 + words[1]) * 0x1p-32;
}

}  // namespace vl2::reference
