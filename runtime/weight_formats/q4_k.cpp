// Q4_K: 256 elements in 8 parts of 32, each with a 6-bit scale and a 6-bit minimum; the two f16 in front scale those.
//
// The 12 bytes of 6-bit numbers: byte j of 0..3 holds s[j] and, above, the two high bits of s[j + 4]; byte 4 + j the same of m;
// byte 8 + j the low nibbles of s[j + 4] and, above, of m[j + 4]. Of the 128 bytes of codes, 32 at a time hold one part in their
// low nibbles and the next in their high ones.
#include "runtime/weight_formats/block_math.h"
#include "runtime/weight_formats/packers.h"

namespace vl2 {

namespace {

constexpr int kBlock = 256, kPart = 32, kParts = kBlock / kPart, kScales = 4, kCodes = 4 + 12;
constexpr int kBytes = kCodes + kBlock / 2;
constexpr float kMost = 15, kMostScale = 63;

// x = scale * q - minimum, both at least 0.
struct Line {
  float scale = 0, minimum = 0;
};

// The line through the codes that a candidate gives to x, and its weighted error.
Line fit_codes(const float* x, const float* weight, float sum_w, float sum_wx, float lowest, float factor, float& error) {
  Lanes q[kPart / kLanes], wq{}, wqq{}, wxq{};
  for (int i = 0; i < kPart / kLanes; ++i) {
    const Lanes values = load_lanes(x + i * kLanes);
    q[i] = clamped(nearest(factor * (values - lowest)), 0, kMost);
    const Lanes weighted = load_lanes(weight + i * kLanes) * q[i];
    wq += weighted;
    wqq += weighted * q[i];
    wxq += weighted * values;
  }
  const float sum_q = sum_of(wq), sum_qq = sum_of(wqq), sum_xq = sum_of(wxq);
  // All codes alike leave the line open: then one through 0, or a constant below it.
  const float determinant = sum_w * sum_qq - sum_q * sum_q;
  Line line;
  if (determinant > 1e-5f * sum_w * sum_qq) {
    line.scale = (sum_w * sum_xq - sum_wx * sum_q) / determinant;
    line.minimum = -(sum_qq * sum_wx - sum_q * sum_xq) / determinant;
  } else if (sum_q == 0) {
    line.minimum = std::max(-sum_wx / sum_w, 0.0f);
  } else {
    line.minimum = -1;
  }
  if (line.minimum < 0)
    line = {sum_xq / sum_qq, 0};
  if (!(line.scale >= 0))
    line = {};
  Lanes errors{};
  for (int i = 0; i < kPart / kLanes; ++i) {
    const Lanes distance = line.scale * q[i] - line.minimum - load_lanes(x + i * kLanes);
    errors += load_lanes(weight + i * kLanes) * distance * distance;
  }
  error = sum_of(errors);
  return line;
}

Line fit_part(const float* x) {
  float lowest = 0, highest = 0;  // the minimum is never above 0
  for (int i = 0; i < kPart; ++i) {
    lowest = std::min(lowest, x[i]);
    highest = std::max(highest, x[i]);
  }
  if (highest - lowest < kLeastHalf / 2)
    return {};
  float weight[kPart], sum_w = 0, sum_wx = 0;
  fill_weights<kPart>(x, weight);
  for (int i = 0; i < kPart; ++i) {
    sum_w += weight[i];
    sum_wx += weight[i] * x[i];
  }
  Line best;
  float best_error = std::numeric_limits<float>::infinity();
  for (int index = 0; index < kCandidates; ++index) {
    float error = 0;
    const Line line = fit_codes(x, weight, sum_w, sum_wx, lowest, (kMost + candidate(index)) / (highest - lowest), error);
    if (kBetter * error < best_error) {
      best_error = error;
      best = line;
    }
  }
  return best;
}

void pack_six_bits(const std::array<unsigned, kParts>& s, const std::array<unsigned, kParts>& m, std::byte* target) {
  for (size_t j = 0; j < 4; ++j) {
    target[j] = static_cast<std::byte>(s[j] | (s[j + 4] >> 4) << 6);
    target[j + 4] = static_cast<std::byte>(m[j] | (m[j + 4] >> 4) << 6);
    target[j + 8] = static_cast<std::byte>((s[j + 4] & 15u) | (m[j + 4] & 15u) << 4);
  }
}

void unpack_six_bits(const std::byte* source, std::array<unsigned, kParts>& s, std::array<unsigned, kParts>& m) {
  const auto byte = [&](size_t i) { return std::to_integer<unsigned>(source[i]); };
  for (size_t j = 0; j < 4; ++j) {
    s[j] = byte(j) & 63u;
    m[j] = byte(j + 4) & 63u;
    s[j + 4] = (byte(j + 8) & 15u) | (byte(j) >> 6) << 4;
    m[j + 4] = byte(j + 8) >> 4 | (byte(j + 4) >> 6) << 4;
  }
}

void pack_block(const float* x, std::byte* target) {
  std::array<Line, kParts> lines;
  float most_scale = 0, most_minimum = 0;
  for (size_t part = 0; part < kParts; ++part) {
    lines[part] = fit_part(x + part * kPart);
    most_scale = std::max(most_scale, lines[part].scale);
    most_minimum = std::max(most_minimum, lines[part].minimum);
  }
  const uint16_t d_bits = scale_bits(most_scale / kMostScale), dmin_bits = scale_bits(most_minimum / kMostScale);
  const float d = half_to_float(d_bits), dmin = half_to_float(dmin_bits);
  std::array<unsigned, kParts> s, m;
  float q[kBlock];
  for (size_t part = 0; part < kParts; ++part) {
    s[part] = static_cast<unsigned>(clamped(nearest(lines[part].scale * inverse(d)), 0, kMostScale));
    m[part] = static_cast<unsigned>(clamped(nearest(lines[part].minimum * inverse(dmin)), 0, kMostScale));
    const float factor = inverse(d * static_cast<float>(s[part])), minimum = dmin * static_cast<float>(m[part]);
    for (size_t i = part * kPart; i < (part + 1) * kPart; ++i)
      q[i] = clamped(nearest(clamped(factor * (x[i] + minimum), -1, kMost + 1)), 0, kMost);
  }
  store_half(target, d_bits);
  store_half(target + 2, dmin_bits);
  pack_six_bits(s, m, target + kScales);
  for (int pair = 0; pair < kParts / 2; ++pair)
    for (int i = 0; i < kPart; ++i) {
      const float* const low = q + pair * 2 * kPart + i;
      target[kCodes + pair * kPart + i] =
          static_cast<std::byte>(static_cast<unsigned>(low[0]) | static_cast<unsigned>(low[kPart]) << 4);
    }
}

}  // namespace

void pack_q4_k(const float* values, uint64_t count, std::byte* target) {
  for (uint64_t first = 0; first < count; first += kBlock, target += kBytes)
    pack_block(values + first, target);
}

void unpack_q4_k(const std::byte* source, uint64_t count, float* values) {
  for (uint64_t first = 0; first < count; first += kBlock, source += kBytes) {
    const float d = load_half(source), dmin = load_half(source + 2);
    std::array<unsigned, kParts> s, m;
    unpack_six_bits(source + kScales, s, m);
    for (size_t part = 0; part < kParts; ++part) {
      const float scale = d * static_cast<float>(s[part]), minimum = dmin * static_cast<float>(m[part]);
      const std::byte* codes = source + kCodes + part / 2 * kPart;
      for (size_t i = 0; i < kPart; ++i) {
        const auto pair = std::to_integer<unsigned>(codes[i]);
        values[first + part * kPart + i] = scale * static_cast<float>(part % 2 == 0 ? pair & 15u : pair >> 4) - minimum;
      }
    }
  }
}

void repack_q4_k(const std::byte* source, uint64_t count, std::byte* codes, std::byte* scales) {
  for (uint64_t block = 0; block < count / kBlock; ++block, source += kBytes, scales += kCodes) {
    std::memcpy(scales, source, kCodes);
    uint8_t code[kBlock];
    for (int pair = 0; pair < kParts / 2; ++pair)
      for (int i = 0; i < kPart; ++i) {
        const auto both = std::to_integer<uint8_t>(source[kCodes + pair * kPart + i]);
        code[2 * pair * kPart + i] = both & 15u;
        code[(2 * pair + 1) * kPart + i] = both >> 4;
      }
    for (int first = 0; first < kBlock; first += 8, codes += 4)
      store_nibbles(code + first, codes);
  }
}

}  // namespace vl2
