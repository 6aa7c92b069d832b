// Tests of attention with caches of every type.
#pragma once

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <vector>

#include "runtime/ops/cache_rows.h"
#include "tests/reference/cache_rows.h"
#include "tests/support/gpu_test.h"

namespace vl2 {

inline std::vector<float> part(const std::vector<float>& values, size_t first, size_t count) {
  const auto begin = values.begin() + static_cast<std::ptrdiff_t>(first);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

inline std::vector<double> doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// A cache on the device, and what it holds.
struct TestCache {
  TensorView view;
  std::vector<float> values;
};

class DecodeAttentionTest : public GpuTest {
 public:
  // Those that activations have, and the 8-bit one.
  std::vector<DType> cache_types() const {
    std::vector<DType> types = act_types();
    types.push_back(DType::U8);
    return types;
  }
  // `values` as a cache stores them.
  TestCache upload_cache(uint32_t capacity, uint32_t segments, uint32_t width, const std::vector<float>& values, DType type) {
    if (type != DType::U8)
      return {upload({capacity, segments * width}, values, type), rounded(values, type)};
    const reference::CacheLayout layout{capacity, segments, width};
    const std::vector<uint8_t> bytes = reference::cache_bytes(values, layout);
    const TensorView all = upload_u8({static_cast<uint32_t>(bytes.size())}, bytes);
    return {quantized_cache_view(*all.buffer, capacity, segments, width), reference::cache_values(bytes, layout)};
  }
  std::vector<float> download_cache(const TensorView& view, uint32_t segments) {
    if (view.dtype != DType::U8)
      return download(view);
    const reference::CacheLayout layout{view.dim(0), segments, view.dim(1) / segments};
    const auto all = make_view(*view.buffer, DType::U8, {static_cast<uint32_t>(layout.bytes())});
    return reference::cache_values(download_u8(all), layout);
  }
  // Puts what an 8-bit cache holds into `rows`, of which those but the one at `position` must be the same already. How far that one
  // is off, in steps of its blocks: 0.562 at most.
  double take_cached_row(const TensorView& view, uint32_t segments, uint32_t position, std::vector<float>& rows) {
    const uint32_t all = view.dim(1);
    const reference::CacheLayout layout{1, segments, all / segments};
    const auto wanted = part(rows, size_t{position} * all, all);
    const auto bytes = reference::cache_bytes(wanted, layout);
    const auto got = download_cache(view, segments);
    double worst = 0;
    for (uint32_t i = 0; i < all; ++i) {
      const double step = double{reference::cache_scale_at(bytes, layout.scale_at(0, i))};
      worst = std::max(worst, std::abs(double{got[size_t{position} * all + i]} - double{wanted[i]}) / step);
    }
    std::copy_n(got.begin() + size_t{position} * all, all, rows.begin() + size_t{position} * all);
    CHECK(rows == got);
    return worst;
  }
};

}  // namespace vl2
