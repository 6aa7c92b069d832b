#include "model/picture_digest.h"

#include <bit>
#include <cstring>
#include <random>

namespace vl2 {

namespace {

struct SipState {
  uint64_t v0, v1, v2, v3;

  void rounds(int count) {
    for (int i = 0; i < count; ++i) {
      v0 += v1;
      v1 = std::rotl(v1, 13) ^ v0;
      v0 = std::rotl(v0, 32);
      v2 += v3;
      v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3;
      v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1;
      v1 = std::rotl(v1, 17) ^ v2;
      v2 = std::rotl(v2, 32);
    }
  }
  void absorb(uint64_t word) {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
  uint64_t sum() const { return v0 ^ v1 ^ v2 ^ v3; }
};

// Little-endian, whatever the machine.
uint64_t word_of(const uint8_t* bytes, size_t count) {
  uint64_t word = 0;
  if (std::endian::native == std::endian::little && count == sizeof(word)) {
    std::memcpy(&word, bytes, sizeof(word));
    return word;
  }
  for (size_t i = 0; i < count; ++i)
    word |= uint64_t{bytes[i]} << (8 * i);
  return word;
}

std::array<uint64_t, 2> drawn_key() {
  std::random_device random;
  const auto word = [&] { return uint64_t{random()} << 32 | random(); };
  return {word(), word()};
}

}  // namespace

std::array<uint64_t, 2> sip_hash_128(const std::array<uint64_t, 2>& key, std::span<const uint8_t> bytes) {
  SipState state{0x736f6d6570736575 ^ key[0], 0x646f72616e646f6d ^ key[1], 0x6c7967656e657261 ^ key[0],
                 0x7465646279746573 ^ key[1]};
  state.v1 ^= 0xee;
  const size_t whole = bytes.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8)
    state.absorb(word_of(&bytes[i], 8));
  state.absorb(uint64_t{bytes.size()} << 56 | word_of(bytes.data() + whole, bytes.size() - whole));
  state.v2 ^= 0xee;
  state.rounds(4);
  const uint64_t first = state.sum();
  state.v1 ^= 0xdd;
  state.rounds(4);
  return {first, state.sum()};
}

PictureDigest digest_picture(uint32_t width, uint32_t height, std::span<const uint8_t> rgb) {
  static const std::array<uint64_t, 2> key = drawn_key();
  // The pixels under a key that is the sides' hash: a picture of other sides has another, though its bytes may be the same.
  const std::array<uint8_t, 8> sides = {static_cast<uint8_t>(width),        static_cast<uint8_t>(width >> 8),
                                        static_cast<uint8_t>(width >> 16),  static_cast<uint8_t>(width >> 24),
                                        static_cast<uint8_t>(height),       static_cast<uint8_t>(height >> 8),
                                        static_cast<uint8_t>(height >> 16), static_cast<uint8_t>(height >> 24)};
  return {sip_hash_128(sip_hash_128(key, sides), rgb)};
}

}  // namespace vl2
