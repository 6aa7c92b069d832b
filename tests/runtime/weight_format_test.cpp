#include "runtime/weight_format.h"

#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <vector>

#include "runtime/half.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"

using namespace vl2;

namespace {

using Bytes = std::vector<uint8_t>;

Bytes repeated(const Bytes& bytes, int times) {
  Bytes result;
  for (int i = 0; i < times; ++i)
    result.insert(result.end(), bytes.begin(), bytes.end());
  return result;
}

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes result;
  for (const Bytes& part : parts)
    result.insert(result.end(), part.begin(), part.end());
  return result;
}

Bytes quantized(DType dtype, const std::vector<float>& values) {
  Bytes bytes(dtype_bytes_of(dtype, values.size()));
  const Status status = quantize_row(dtype, values, std::as_writable_bytes(std::span(bytes)), "row");
  REQUIRE_MESSAGE(status.ok(), status.message());
  return bytes;
}

std::vector<float> dequantized(DType dtype, const Bytes& bytes) {
  std::vector<float> values(bytes.size() / dtype_block_bytes(dtype) * dtype_block(dtype));
  const Status status = dequantize_row(dtype, std::as_bytes(std::span(bytes)), values, "row");
  REQUIRE_MESSAGE(status.ok(), status.message());
  return values;
}

void check_both_ways(DType dtype, const std::vector<float>& values, const Bytes& bytes) {
  REQUIRE(bytes.size() == dtype_bytes_of(dtype, values.size()));
  CHECK(quantized(dtype, values) == bytes);
  CHECK(dequantized(dtype, bytes) == values);
}

// Nearly normal: the sum of four uniform values, variance 1.
std::vector<float> normal_floats(size_t count, uint32_t seed) {
  const std::vector<float> uniform = random_floats(4 * count, seed);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = (uniform[4 * i] + uniform[4 * i + 1] + uniform[4 * i + 2] + uniform[4 * i + 3]) * std::sqrt(0.75f);
  return values;
}

const DType kBlockTypes[] = {DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K};

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("weight_format: the table has every format once, with ggml's numbers and sizes") {
    struct {
      const char* name;
      uint32_t ggml_type, block, bytes;
    } const wanted[] = {{"F32", 0, 1, 4},    {"F16", 1, 1, 2},       {"BF16", 30, 1, 2},    {"Q8_0", 8, 32, 34},
                        {"Q4_0", 2, 32, 18}, {"Q4_K", 12, 256, 144}, {"Q6_K", 14, 256, 210}};
    CHECK(weight_formats().size() == std::size(wanted));
    for (const auto& row : wanted) {
      CAPTURE(row.name);
      const WeightFormat* format = find_weight_format(row.name);
      REQUIRE(format != nullptr);
      CHECK(format == find_weight_format_of_ggml(row.ggml_type));
      CHECK(format == find_weight_format(format->dtype));
      CHECK(dtype_block(format->dtype) == row.block);
      CHECK(dtype_block_bytes(format->dtype) == row.bytes);
    }
    CHECK(find_weight_format("Q9") == nullptr);
    CHECK(find_weight_format_of_ggml(3) == nullptr);
    CHECK(find_weight_format(DType::U32) == nullptr);
  }

  TEST_CASE("weight_format: f16, bf16 and f32 as literal bytes") {
    // 1.5 = 1.1b * 2^0: f16 exponent 15, mantissa 10 0000 0000b; bf16 exponent 127, mantissa 100 0000b.
    check_both_ways(DType::F16, {1.5f, -65504.0f, 0x1p-24f}, {0x00, 0x3e, 0xff, 0xfb, 0x01, 0x00});
    check_both_ways(DType::BF16, {1.5f, -2.0f}, {0xc0, 0x3f, 0x00, 0xc0});
    check_both_ways(DType::F32, {1.5f}, {0x00, 0x00, 0xc0, 0x3f});
  }

  TEST_CASE("weight_format: a Q8_0 block as literal bytes") {
    // d = 63.5 / 127 = 0.5, f16 0x3800; codes are x / 0.5.
    std::vector<float> values(32, 0.0f);
    values[0] = 63.5f;   // 127
    values[1] = -63.5f;  // -127 = 0x81
    values[2] = 0.5f;    // 1
    values[31] = -8.0f;  // -16 = 0xf0
    check_both_ways(DType::Q8_0, values, joined({{0x00, 0x38, 0x7f, 0x81, 0x01}, Bytes(28, 0), {0xf0}}));
    values[2] = 10.25f;  // 20.5, halfway: to even
    CHECK(quantized(DType::Q8_0, values)[4] == 20);
  }

  TEST_CASE("weight_format: a Q4_0 block as literal bytes") {
    // d = 0.25, f16 0x3400; element j has code j, element 16 + j code 15 - j; byte j is j + 16 (15 - j).
    std::vector<float> values(32);
    for (int j = 0; j < 16; ++j) {
      values[static_cast<size_t>(j)] = 0.25f * static_cast<float>(j - 8);
      values[static_cast<size_t>(16 + j)] = 0.25f * static_cast<float>(7 - j);
    }
    check_both_ways(DType::Q4_0, values,
                    {0x00, 0x34, 0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87, 0x78, 0x69, 0x5a, 0x4b, 0x3c, 0x2d, 0x1e, 0x0f});
    // The other sign: +2 has to be code 0, so d = -0.25 (0xb400) and the codes are as before.
    for (float& value : values)
      value = -value;
    CHECK(quantized(DType::Q4_0, values)[1] == 0xb4);
    CHECK(dequantized(DType::Q4_0, quantized(DType::Q4_0, values)) == values);
  }

  TEST_CASE("weight_format: a Q4_K block as literal bytes") {
    // d = 1/16 (0x2c00), dmin = 1/8 (0x3000); part p: x = d s[p] q - dmin m[p]; q runs 0..15, in odd parts 15..0, twice.
    const int s[8] = {63, 1, 2, 4, 8, 16, 32, 48}, m[8] = {63, 1, 5, 9, 17, 33, 0, 40};
    std::vector<float> values;
    for (int part = 0; part < 8; ++part)
      for (int i = 0; i < 32; ++i) {
        const int q = part % 2 == 0 ? i % 16 : 15 - i % 16;
        values.push_back(static_cast<float>(s[part] * q) / 16 - static_cast<float>(m[part]) / 8);
      }
    const Bytes block = joined({
        {0x00, 0x2c, 0x00, 0x30},
        {0x3f, 0x41, 0x82, 0xc4},  // s[0..3], above them s[4..7] >> 4: 63, 1 + 64 * 1, 2 + 64 * 2, 4 + 64 * 3
        {0x7f, 0x81, 0x05, 0x89},  // m[0..3], above them m[4..7] >> 4: 63 + 64 * 1, 1 + 64 * 2, 5, 9 + 64 * 2
        {0x18, 0x10, 0x00, 0x80},  // s[4..7] & 15, above them m[4..7] & 15: 8 + 16 * 1, 0 + 16 * 1, 0, 0 + 16 * 8
        repeated({0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87, 0x78, 0x69, 0x5a, 0x4b, 0x3c, 0x2d, 0x1e, 0x0f}, 8),
    });
    check_both_ways(DType::Q4_K, values, block);
  }

  TEST_CASE("weight_format: a Q6_K block as literal bytes") {
    // d = 2^-6 (0x2400); part p has 16 elements x = d s[p] (q - 32). In each half of 128 the 32 columns c of
    // k = 0 have the codes 5 c mod 64 (c mod 16), k = 1 the code 32 (s = 0), k = 2 those of k = 0 backwards, k = 3 the code 0.
    const int s[16] = {-128, 64, 0, 0, 1, 127, 100, -3, 32, 16, 0, 0, 8, 4, 2, -1};
    std::vector<float> values;
    for (int i = 0; i < 256; ++i) {
      const int k = i % 128 / 32, c = i % 16;
      const int q = k == 0 ? 5 * c % 64 : k == 1 ? 32 : k == 2 ? 5 * (15 - c) % 64 : 0;
      values.push_back(static_cast<float>(s[i / 16] * (q - 32)) / 64);
    }
    const Bytes half_low = joined({
        // low nibbles of k = 0: 0 5 a f 4 9 e 3 8 d 2 7 c 1 6 b, above them those of k = 2, which are the same backwards
        repeated({0xb0, 0x65, 0x1a, 0xcf, 0x74, 0x29, 0xde, 0x83, 0x38, 0xed, 0x92, 0x47, 0xfc, 0xa1, 0x56, 0x0b}, 2),
        Bytes(32, 0x00),  // of 32 and of 0
    });
    // high bits: k = 0 (0 0 0 0 1 1 1 2 2 2 3 3 3 0 0 0) + 4 * 2 + 16 * k = 2 (backwards) + 64 * 0
    const Bytes half_high =
        repeated({0x08, 0x08, 0x08, 0x38, 0x39, 0x39, 0x29, 0x2a, 0x2a, 0x1a, 0x1b, 0x1b, 0x0b, 0x08, 0x08, 0x08}, 2);
    const Bytes scales = {0x80, 0x40, 0x00, 0x00, 0x01, 0x7f, 0x64, 0xfd, 0x20, 0x10, 0x00, 0x00, 0x08, 0x04, 0x02, 0xff};
    check_both_ways(DType::Q6_K, values, joined({half_low, half_low, half_high, half_high, scales, {0x00, 0x24}}));
  }

  TEST_CASE("weight_format: normal values come back as near as the bits allow") {
    struct {
      DType dtype;
      double most;  // relative error
    } const wanted[] = {
        {DType::F16, 2.5e-4},   // seen 2.07e-4; planted fault, truncated: 4.1e-4
        {DType::BF16, 2e-3},    // seen 1.65e-3; truncated: 3.3e-3
        {DType::Q8_0, 6e-3},    // seen 5.07e-3; truncated: 1.0e-2
        {DType::Q4_0, 7.8e-2},  // seen 7.67e-2; without the search for a scale: 7.92e-2
        {DType::Q4_K, 7.1e-2},  // seen 6.92e-2; without the search: 7.30e-2
        {DType::Q6_K, 1.71e-2}  // seen 1.66e-2; without the search: 1.76e-2
    };
    const std::vector<float> values = normal_floats(64 * 256, 3);
    for (const auto& row : wanted) {
      const std::vector<float> back = dequantized(row.dtype, quantized(row.dtype, values));
      CAPTURE(dtype_name(row.dtype));
      CHECK(relative_l2(back, values) < row.most);
    }
  }

  TEST_CASE("weight_format: zeros, constants, one outlier, tiny and huge values") {
    for (const DType dtype : kBlockTypes) {
      CAPTURE(dtype_name(dtype));
      const auto back = [&](const std::vector<float>& values) { return dequantized(dtype, quantized(dtype, values)); };
      std::vector<float> values(512, 0.0f);
      CHECK(back(values) == values);
      values.assign(512, -0x1p-26f);  // below half of the least f16
      CHECK(back(values) == std::vector<float>(512, 0.0f));
      for (const float constant : {3.0f, -3.0f, 65504.0f, -65504.0f, 1e-4f, -1e-4f}) {
        CAPTURE(constant);
        const std::vector<float> got = back(std::vector<float>(512, constant));
        for (const float value : got)
          REQUIRE(std::fabs(value - constant) <= 0.02 * std::fabs(static_cast<double>(constant)));
      }
      for (const float outlier : {100.0f, -100.0f}) {
        CAPTURE(outlier);
        values = random_floats(512, 5, 0.001f);
        values[77] = outlier;
        const std::vector<float> got = back(values);
        CHECK(std::fabs(got[77] - outlier) < 1);
        for (size_t i = 256; i < 512; ++i)  // the other blocks do not know of it
          REQUIRE(std::fabs(got[i] - values[i]) < 1.5e-4f);
      }
      // All magnitudes at which an f16 scale is coarse. Seen: 0.174 at most; with the nearest f16 as scale instead of the next: 1.88.
      for (float scale = 2e-6f; scale < 1e-3f; scale *= 1.7f) {
        CAPTURE(scale);
        values = random_floats(512, 9, scale);
        CHECK(relative_l2(back(values), values) < 0.2);
      }
    }
  }

  TEST_CASE("weight_format: what cannot be stored is refused by name") {
    constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
    for (const WeightFormat& format : weight_formats()) {
      CAPTURE(format.name);
      for (const float bad : {kInfinity, -kInfinity, kNan}) {
        std::vector<float> values(256, 1.0f);
        values[200] = bad;
        Bytes bytes(dtype_bytes_of(format.dtype, 256), 0xab);
        const Status status = quantize_row(format.dtype, values, std::as_writable_bytes(std::span(bytes)), "blk.0");
        CHECK(status.code() == Code::BadArgument);
        CHECK(status.message().starts_with("blk.0: element 200 is "));
        CHECK(status.message().ends_with(", wanted a finite number"));
        CHECK(bytes == Bytes(bytes.size(), 0xab));  // nothing was written
      }
      std::vector<float> large(256, 0.0f);
      large[3] = 1e5f;
      Bytes bytes(dtype_bytes_of(format.dtype, 256));
      const Status status = quantize_row(format.dtype, large, std::as_writable_bytes(std::span(bytes)), "blk.0");
      const bool wide = format.dtype == DType::F32 || format.dtype == DType::BF16;
      CHECK(status.ok() == wide);
      if (!wide)
        CHECK(status.message() == std::string("blk.0: element 3 is 100000, ") + format.name + " holds at most 65504");
    }
    const std::vector<float> most(1, std::numeric_limits<float>::max());
    Bytes two(2);
    CHECK(quantize_row(DType::BF16, most, std::as_writable_bytes(std::span(two)), "x").message().find("BF16 holds at most") !=
          std::string::npos);
  }

  TEST_CASE("weight_format: rows that are no multiple of the block, and wrong sizes, are refused") {
    for (const DType dtype : kBlockTypes)
      for (const size_t count : {size_t{1}, size_t{31}, size_t{257}, size_t{4304}}) {
        CAPTURE(dtype_name(dtype));
        std::vector<float> values(count, 1.0f);
        Bytes bytes(8192);
        const Status to = quantize_row(dtype, values, std::as_writable_bytes(std::span(bytes)), "blk.0.ffn_down");
        CHECK(to.code() == Code::BadArgument);
        CHECK(to.message() == "blk.0.ffn_down: a row of " + std::to_string(count) + " elements, " +
                                  find_weight_format(dtype)->name + " wants a multiple of " + std::to_string(dtype_block(dtype)));
        CHECK(dequantize_row(dtype, std::as_bytes(std::span(bytes)), values, "x").code() == Code::BadArgument);
      }
    std::vector<float> values(256, 1.0f);
    Bytes bytes(143);
    CHECK(quantize_row(DType::Q4_K, values, std::as_writable_bytes(std::span(bytes)), "x").message() ==
          "x: got 143 bytes for 256 elements of Q4_K, wanted 144");
    CHECK(quantize_row(DType::U8, values, std::as_writable_bytes(std::span(bytes)), "x").code() == Code::BadArgument);
  }

  // Reads the planes by their description alone, one element at a time.
  TEST_CASE("weight_format: the planes of the device hold what the blocks stand for, element by element") {
    for (const DType dtype : kBlockTypes) {
      CAPTURE(dtype_name(dtype));
      constexpr size_t kCount = 1024;
      const Bytes blocks = quantized(dtype, normal_floats(kCount, 3));
      const std::vector<float> wanted = dequantized(dtype, blocks);
      std::vector<uint8_t> codes(device_code_bytes(dtype, kCount)), scales(device_scale_bytes(dtype, kCount));
      find_weight_format(dtype)->repack(std::as_bytes(std::span(blocks)).data(), kCount,
                                        std::as_writable_bytes(std::span(codes)).data(),
                                        std::as_writable_bytes(std::span(scales)).data());
      const auto half = [&](size_t byte) { return half_to_float(static_cast<uint16_t>(scales[byte] | scales[byte + 1] << 8)); };
      const auto bits_of = [](const Bytes& bytes, size_t first, size_t count) {  // of words, lowest bit first
        return static_cast<unsigned>(bytes[first / 8] >> first % 8) & ((1u << count) - 1);
      };
      for (size_t i = 0; i < kCount; ++i) {
        CAPTURE(i);
        constexpr size_t kPlaces[] = {0, 2, 4, 6, 1, 3, 5, 7};  // of eight elements among the bytes 0 4 1 5 2 6 3 7
        const size_t place = kPlaces[i % 8], byte = place % 4, second = place / 4;
        const unsigned nibble = dtype == DType::Q8_0 ? 0 : bits_of(codes, i / 8 * 32 + byte * 8 + second * 4, 4);
        float value = 0;
        if (dtype == DType::Q8_0) {
          value = half(i / 32 * 2) * static_cast<float>(static_cast<int8_t>(codes[i / 8 * 8 + second * 4 + byte]));
        } else if (dtype == DType::Q4_0) {
          value = half(i / 32 * 2) * (static_cast<float>(nibble) - 8);
        } else if (dtype == DType::Q4_K) {
          const size_t block = i / 256 * 16, part = i % 256 / 32, j = part % 4;
          const uint8_t* six = &scales[block + 4];
          const unsigned s = part < 4 ? six[j] & 63u : (six[8 + j] & 15u) | (six[j] >> 6) << 4;
          const unsigned m = part < 4 ? six[4 + j] & 63u : six[8 + j] >> 4 | (six[4 + j] >> 6) << 4;
          value = half(block) * static_cast<float>(s) * static_cast<float>(nibble) - half(block + 2) * static_cast<float>(m);
        } else {
          const size_t block = i / 256 * 96, in = i % 256;
          const unsigned high = bits_of(scales, (block + in / 16 * 4 + byte) * 8 + (in % 16 / 8 * 2 + second) * 2, 2);
          const auto s = static_cast<float>(static_cast<int8_t>(scales[block + 64 + in / 16]));
          value = half(block + 80) * s * (static_cast<float>(nibble | high << 4) - 32);
        }
        REQUIRE(value == doctest::Approx(wanted[i]).epsilon(1e-6));
      }
    }
  }
}
