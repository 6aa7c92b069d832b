// What the block formats share: f16 scales in memory, rounding that the compiler does several at a time, and the search for scales.
//
// Design: a scale is chosen among candidates around "the largest value takes the largest code". Each candidate fixes the codes;
// for fixed codes the best scale has a closed form; the candidate with the least weighted error wins. An element's weight is
// rms + |x|: errors of large weights cost more in a product. The same idea as in ggml's quantisers, worked out again here.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "runtime/half.h"

namespace vl2 {

inline constexpr float kLeastHalf = 0x1p-24f;  // f16's smallest step; all below half of it is 0 in every format with an f16 scale

/// Nearest integer, ties to even, for |value| < 2^22.
inline float nearest(float value) {
  constexpr float kShift = 0x1.8p23f;
  return (value + kShift) - kShift;
}

inline float clamped(float value, float low, float high) {
  return std::min(std::max(value, low), high);
}

inline uint16_t load_half_bits(const std::byte* source) {
  uint16_t bits;
  std::memcpy(&bits, source, sizeof(bits));
  return bits;
}
inline float load_half(const std::byte* source) {
  return half_to_float(load_half_bits(source));
}
inline void store_half(std::byte* target, uint16_t bits) {
  std::memcpy(target, &bits, sizeof(bits));
}

/// Which of eight elements the device has in each byte of its two words (see weight_format.h).
inline constexpr std::array<size_t, 8> kDeviceOrder = {0, 4, 1, 5, 2, 6, 3, 7};

/// Eight codes of 0..15 as the device's word of nibbles.
inline void store_nibbles(const uint8_t* codes, std::byte* word) {
  for (size_t byte = 0; byte < 4; ++byte)
    word[byte] = static_cast<std::byte>(codes[kDeviceOrder[byte]] | codes[kDeviceOrder[4 + byte]] << 4);
}

/// The f16 to use for a scale: the nearest, but never nearer to 0 where f16 is coarse (below 2^-14), since codes that overflow
/// cost more than codes that are too small.
inline uint16_t scale_bits(float scale) {
  uint16_t bits = float_to_half(scale);
  if (std::fabs(scale) < 0x1p-14f && std::fabs(half_to_float(bits)) < std::fabs(scale))
    ++bits;
  return bits;
}

/// 1 / scale, and 0 for 0: then all codes are those of 0.
inline float inverse(float scale) {
  return scale == 0 ? 0 : 1 / scale;
}

/// The value of largest magnitude, with its sign.
template <int N>
float extreme_of(const float* x) {
  float extreme = 0;
  for (int i = 0; i < N; ++i)
    extreme = std::fabs(x[i]) > std::fabs(extreme) ? x[i] : extreme;
  return extreme;
}

/// The candidates in the order they are tried: 0, -1, 1, -2, 2, ... A later one has to be better by more than rounding, so that
/// values which a scale fits exactly keep it.
inline constexpr int kCandidates = 11;  // 21 in half the steps: 0.1 % less error, twice the time
inline constexpr float kBetter = 1 + 1e-5f;
inline float candidate(int index) {
  return 0.2f * static_cast<float>(index % 2 == 0 ? index / 2 : -(index + 1) / 2);
}

/// Four elements at a time: sums that the compiler may not reorder by itself.
using Lanes = float __attribute__((vector_size(16)));
inline constexpr int kLanes = 4;

inline Lanes load_lanes(const float* source) {
  Lanes lanes;
  std::memcpy(&lanes, source, sizeof(lanes));
  return lanes;
}
inline Lanes nearest(Lanes value) {
  constexpr float kShift = 0x1.8p23f;
  return (value + kShift) - kShift;
}
inline Lanes clamped(Lanes value, float low, float high) {
  const Lanes lows = Lanes{} + low, highs = Lanes{} + high;
  value = value > lows ? value : lows;
  return value < highs ? value : highs;
}
inline float sum_of(Lanes lanes) {
  return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

/// weight[i] = rms(x) + |x[i]|
template <int N>
void fill_weights(const float* x, float* weight) {
  Lanes squares{};
  for (int i = 0; i < N; i += kLanes)
    squares += load_lanes(x + i) * load_lanes(x + i);
  const float rms = std::sqrt(sum_of(squares) / N);
  for (int i = 0; i < N; ++i)
    weight[i] = rms + std::fabs(x[i]);
}

/// The scale s for which s * q, q an integer of -half..half-1, comes nearest to x; negative where the extreme is positive, since
/// there is one more code below 0 than above. 0 for values that f16 scales cannot tell from 0.
template <int N>
float fit_symmetric(const float* x, float half) {
  const float extreme = extreme_of<N>(x);
  if (std::fabs(extreme) < kLeastHalf / 2)
    return 0;
  float weight[N];
  fill_weights<N>(x, weight);
  float best_gain = 0, best_scale = 0;
  for (int index = 0; index < kCandidates; ++index) {
    const float factor = -(half + candidate(index)) / extreme;
    Lanes xq{}, qq{};
    for (int i = 0; i < N; i += kLanes) {
      const Lanes values = load_lanes(x + i), q = clamped(nearest(factor * values), -half, half - 1);
      const Lanes weighted = load_lanes(weight + i) * q;
      xq += weighted * values;
      qq += weighted * q;
    }
    // For these codes the best scale is xq / qq, and it takes xq^2 / qq off the error of all zeros.
    const float sum_xq = sum_of(xq), sum_qq = sum_of(qq);
    if (sum_qq > 0 && sum_xq * sum_xq > kBetter * best_gain * sum_qq) {
      best_gain = sum_xq * sum_xq / sum_qq;
      best_scale = sum_xq / sum_qq;
    }
  }
  return best_scale;
}

}  // namespace vl2
