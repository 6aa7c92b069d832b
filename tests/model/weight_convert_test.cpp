#include "model/weight_convert.h"

#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <limits>
#include <vector>

#include "runtime/half.h"

using namespace vl2;

namespace {

// The nearest f16 by search over all of them, ties to the even code: independent of the bit tricks.
uint16_t nearest_half(double value) {
  uint16_t best = 0;
  double best_distance = std::numeric_limits<double>::infinity();
  for (uint32_t code = 0; code < 0x7c00; ++code) {
    const double candidate =
        code < 0x400 ? code * 0x1p-24 : std::ldexp(1.0 + (code & 0x3ff) / 1024.0, static_cast<int>(code >> 10) - 15);
    const double distance = std::abs(std::abs(value) - candidate);
    if (distance < best_distance || (distance == best_distance && (code & 1) == 0)) {
      best = static_cast<uint16_t>(code);
      best_distance = distance;
    }
  }
  return static_cast<uint16_t>(best | (std::signbit(value) ? 0x8000 : 0));
}

std::vector<uint16_t> to_half(const std::vector<uint16_t>& bf16, bool& finite) {
  std::vector<uint16_t> halves(bf16.size());
  finite = convert_row(DType::BF16, reinterpret_cast<const std::byte*>(bf16.data()), bf16.size(), DType::F16,
                       reinterpret_cast<std::byte*>(halves.data()));
  return halves;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("weight conversion: every finite bf16 becomes the nearest f16") {
    for (uint32_t bits = 0; bits < 0x10000; bits += 37) {  // all signs and exponents, many mantissas
      const auto source = static_cast<uint16_t>(bits);
      const float value = bfloat16_to_float(source);
      if (!std::isfinite(value) || std::abs(value) >= 65520.0f)
        continue;
      bool finite = false;
      const std::vector<uint16_t> alone = to_half({source}, finite);
      CHECK(finite);
      CHECK(alone[0] == nearest_half(static_cast<double>(value)));
    }
  }

  TEST_CASE("weight conversion: neighbours out of the fast range change nothing") {
    std::vector<uint16_t> row;
    for (uint32_t i = 0; i < 100; ++i)
      row.push_back(float_to_bfloat16(static_cast<float>(i) * 0.01f * (i % 7 == 0 ? 1e-6f : 1.0f)));
    bool finite = false;
    const std::vector<uint16_t> together = to_half(row, finite);
    for (size_t i = 0; i < row.size(); ++i)
      CHECK(together[i] == nearest_half(static_cast<double>(bfloat16_to_float(row[i]))));
  }

  TEST_CASE("weight conversion: too large, infinite and NaN are noticed, 65504 is not") {
    for (const float bad : {65536.0f, -1e30f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      bool finite = true;
      to_half({float_to_bfloat16(1.0f), float_to_bfloat16(bad)}, finite);
      CHECK(!finite);
    }
    bool finite = false;
    to_half({float_to_bfloat16(65280.0f)}, finite);  // the largest bf16 below 65504
    CHECK(finite);
  }

  TEST_CASE("half: f32 to f16 rounds to nearest even, subnormals included") {
    for (const float value : {0.0f, -0.0f, 1.0f, 0x1p-24f, 0x1p-25f, 0x1.8p-24f, 0x1p-14f, 0x1.ffcp-15f, 1.00048828125f,
                              1.00146484375f, 65504.0f, 65519.0f, 0.1f, -3.14159f})
      CHECK(float_to_half(value) == nearest_half(static_cast<double>(value)));
    CHECK(float_to_half(65520.0f) == 0x7c00);
    for (uint32_t code = 0; code < 0x7c00; ++code)
      REQUIRE(float_to_half(half_to_float(static_cast<uint16_t>(code))) == code);
  }
}
