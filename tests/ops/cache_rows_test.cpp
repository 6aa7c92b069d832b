#include "runtime/ops/cache_rows.h"

#include "tests/reference/cache_rows.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

struct Shape {
  uint32_t segments, width;
};

// Part of a block, a block, odd and even numbers of them; heads of the golden models and of Tiny, rows of pico and of Small.
constexpr Shape kShapes[] = {{1, 8}, {3, 16}, {4, 32}, {2, 40}, {2, 96}, {10, 128}, {1, 160}, {1, 576}};

reference::CacheLayout layout_of(uint32_t capacity, const Shape& shape) {
  return {capacity, shape.segments, shape.width};
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "cache_quantize: every element is within half a step of its block, and other rows stay") {
  constexpr uint32_t kCapacity = 11, kFirst = 3, kRows = 5;
  for (const DType act : act_types())
    for (const Shape& shape : kShapes) {
      CAPTURE(shape.width);
      const uint32_t row = shape.segments * shape.width, stride = row + 24;
      const reference::CacheLayout layout = layout_of(kCapacity, shape);
      REQUIRE(quantized_cache_bytes(kCapacity, shape.segments, shape.width) == layout.bytes());
      const std::vector<uint8_t> before(layout.bytes(), 0xa5);
      const TensorView bytes = upload_u8({static_cast<uint32_t>(layout.bytes())}, before);
      const TensorView cache = quantized_cache_view(*bytes.buffer, kCapacity, shape.segments, shape.width);
      auto values = rounded(reference::uneven(random_floats(kRows * stride, 1, 3)), act);
      for (uint32_t i = 0; i < row; ++i)
        values[2 * stride + 8 + i] = 0;                     // a row of zeros
      TensorView x = upload({kRows, stride}, values, act);  // rows of it: wider, from element 8 on
      x.offset += 8;
      x.dims[1] = row;
      const Status status = cache_quantize(rec, x, cache, shape.segments, kFirst);
      REQUIRE_MESSAGE(status.ok(), status.message());
      const std::vector<uint8_t> after = download_u8(bytes);
      const std::vector<float> got = reference::cache_values(after, layout);
      double worst = 0;  // in steps
      for (uint32_t r = 0; r < kCapacity; ++r)
        for (uint32_t c = 0; c < row; ++c) {
          const size_t scale_at = layout.scale_at(r, c);
          if (r < kFirst || r >= kFirst + kRows) {
            CHECK(after[layout.code_at(r, c)] == 0xa5);
            CHECK(after[scale_at] == 0xa5);
            continue;
          }
          const double wanted = double{values[(r - kFirst) * stride + 8 + c]},
                       scale = double{reference::cache_scale_at(after, scale_at)};
          const double distance = std::abs(double{got[r * row + c]} - wanted);
          worst = std::max(worst, distance == 0 ? 0 : distance / scale);
        }
      // Half a step, and what rounding the scale takes of 127 codes: 0.562. Planted fault: the scale of the block before, 399 at the
      // least of the shapes with two blocks.
      CHECK(worst < 0.6);
      // The largest of a block has code 127 or so: a scale that is too large would pass above.
      const std::vector<float> wanted_values =
          reference::cache_values(reference::cache_bytes(
                                      [&] {
                                        std::vector<float> rows(size_t{kCapacity} * row);
                                        for (uint32_t r = 0; r < kRows; ++r)
                                          std::copy_n(values.begin() + r * stride + 8, row, rows.begin() + (kFirst + r) * row);
                                        return rows;
                                      }(),
                                      layout),
                                  layout);
      for (uint32_t r = kFirst; r < kFirst + kRows; ++r)
        for (uint32_t c = 0; c < row; ++c) {
          const float scale = reference::cache_scale_at(after, layout.scale_at(r, c));
          CHECK(std::abs(got[r * row + c] - wanted_values[r * row + c]) <= 1.01f * scale);
        }
    }
}

TEST_CASE_FIXTURE(GpuTest, "cache_quantize: what f16 does not hold saturates as f16 does") {
  const TensorView bytes = upload_u8({512}, std::vector<uint8_t>(512));
  const TensorView cache = quantized_cache_view(*bytes.buffer, 2, 1, 64);
  std::vector<float> values(64, 1e6f);
  values[40] = -3e38f;
  REQUIRE(cache_quantize(rec, upload({1, 64}, values), cache, 1, 1).ok());
  const auto got = reference::cache_values(download_u8(bytes), {2, 1, 64});
  CHECK(got[64] == 127 * 515.5f);
  CHECK(got[64 + 40] == -127 * 515.5f);
  CHECK(got[0] == 0);
}

TEST_CASE_FIXTURE(GpuTest, "cache_dequantize: gives code times scale, rounded once") {
  constexpr uint32_t kCapacity = 70, kRows = 67;
  for (const DType act : act_types())
    for (const Shape& shape : kShapes) {
      CAPTURE(shape.width);
      const uint32_t row = shape.segments * shape.width;
      const reference::CacheLayout layout = layout_of(kCapacity, shape);
      const std::vector<uint8_t> made = reference::cache_bytes(reference::uneven(random_floats(kCapacity * row, 5, 2)), layout);
      const TensorView bytes = upload_u8({static_cast<uint32_t>(layout.bytes())}, made);
      const TensorView y = tensor({kRows, row}, act);
      const Status status =
          cache_dequantize(rec, quantized_cache_view(*bytes.buffer, kCapacity, shape.segments, shape.width), y, shape.segments);
      REQUIRE_MESSAGE(status.ok(), status.message());
      auto wanted = rounded(reference::cache_values(made, layout), act);
      wanted.resize(size_t{kRows} * row);
      // Seen: 0. A driver that rounds toward zero may be a unit in the last place off, 2e-3 of numbers below 4. Planted fault: the
      // scale of the block before, 3.4.
      CHECK(max_abs_diff(download(y), wanted) < (act == DType::F32 ? 1e-7 : 4e-3));
    }
}

TEST_CASE_FIXTURE(GpuTest, "cache rows: refuse what does not fit together") {
  const TensorView bytes = upload_u8({2048}, std::vector<uint8_t>(2048));
  const TensorView cache = quantized_cache_view(*bytes.buffer, 9, 2, 48);
  CHECK(cache_quantize(rec, tensor({2, 96}), cache, 2, 7).ok());
  CHECK(cache_quantize(rec, tensor({2, 96}), cache, 2, 8).message() ==
        "cache_quantize: [2, 96] f32 at row 8 must be rows of cache [9, 96] u8");
  CHECK(cache_quantize(rec, tensor({2, 88}), cache, 2, 0).code() == Code::BadShape);
  CHECK(cache_quantize(rec, tensor({2, 96}, DType::U32), cache, 2, 0).code() == Code::BadDType);
  CHECK(cache_quantize(rec, tensor({2, 96}), tensor({9, 96}), 2, 0).code() == Code::BadShape);
  CHECK(cache_quantize(rec, tensor({2, 96}), cache, 5, 0).code() == Code::BadShape);  // no five segments
  TensorView x = tensor({2, 100});
  x.dims[1] = 96;
  CHECK(cache_quantize(rec, x, cache, 2, 0).message() ==
        "cache_quantize: [2, 96] f32 must begin and go on at multiples of 8 elements");
  CHECK(cache_dequantize(rec, cache, tensor({10, 96}), 2).code() == Code::BadShape);
  CHECK(cache_dequantize(rec, cache, x, 2).code() == Code::BadShape);
  TensorView torn = cache;
  torn.scales = bytes.buffer->bytes() - 8;
  CHECK(cache_dequantize(rec, torn, tensor({2, 96}), 2).code() == Code::BadShape);
  CHECK(rec.dispatch_count() == 1);
}
