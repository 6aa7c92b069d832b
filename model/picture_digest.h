// What tells pictures apart without keeping their pixels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vl2 {

/// SipHash-2-4 of 128 bits: whoever does not know the key finds no two messages with one hash.
///
/// key     two words, as its bytes stand in memory, lowest first
/// Source  Aumasson, Bernstein: SipHash, a fast short-input PRF (2012), and its reference code for the longer output
std::array<uint64_t, 2> sip_hash_128(const std::array<uint64_t, 2>& key, std::span<const uint8_t> bytes);

/// A picture's sides and pixels in 128 bits. Equal pictures have equal digests in one process; others have other ones, as the key
/// is drawn when the process first needs it, and never leaves it.
struct PictureDigest {
  std::array<uint64_t, 2> words{};
  bool operator==(const PictureDigest&) const = default;
};

/// Cost  1 to 2 GB/s; any thread
PictureDigest digest_picture(uint32_t width, uint32_t height, std::span<const uint8_t> rgb);

}  // namespace vl2
