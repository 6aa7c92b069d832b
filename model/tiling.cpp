// Every expression here keeps the order and the width (double) of the reference's, because the last bit decides a tile or a
// pixel. This file is compiled with -ffp-contract=off: a fused multiply-add would round once where the reference rounds twice.
#include "model/tiling.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace vl2 {

namespace {

constexpr double kBicubicSupport = 2.0;
constexpr double kBicubicA = -0.5;
constexpr double kWeightOne = 1 << 22;  // Pillow's PRECISION_BITS for 8-bit pictures

// Python's round() of a value of 0 or more: to the nearest, halves to the even neighbour; whatever the rounding mode of the
// thread.
double round_half_even(double value) {
  const double below = std::floor(value);
  const double rest = value - below;  // exact
  if (rest != 0.5)
    return rest < 0.5 ? below : below + 1;
  return std::fmod(below, 2.0) == 0 ? below : below + 1;
}

double bicubic(double x) {
  x = std::fabs(x);
  if (x < 1.0)
    return ((kBicubicA + 2.0) * x - (kBicubicA + 3.0)) * x * x + 1;
  if (x < 2.0)
    return (((x - 5) * x + 8) * x - 4) * kBicubicA;
  return 0.0;
}

// Half away from zero.
int32_t to_fixed(double weight) {
  return static_cast<int32_t>(weight * kWeightOne + (weight < 0 ? -0.5 : 0.5));
}

}  // namespace

Status check_picture_size(uint32_t width, uint32_t height) {
  if (width == 0 || height == 0)
    return fail(Code::BadArgument, "picture: ", width, " x ", height, ", wanted sides of at least 1");
  if (uint64_t{width} * height > kMaxPicturePixels)
    return fail(Code::BadArgument, "picture: ", width, " x ", height, ", wanted at most ", kMaxPicturePixels, " pixels");
  return {};
}

std::array<uint32_t, 2> select_best_resolution(uint32_t width, uint32_t height,
                                               std::span<const std::array<uint32_t, 2>> candidates) {
  assert(width > 0 && height > 0 && !candidates.empty());
  const double w = width, h = height;
  const int64_t pixels = static_cast<int64_t>(uint64_t{width} * height);
  std::array<uint32_t, 2> best = candidates.front();
  int64_t best_kept = 0, best_waste = std::numeric_limits<int64_t>::max();
  for (const auto& candidate : candidates) {
    const double scale = std::min(candidate[0] / w, candidate[1] / h);
    const int64_t kept = std::min(static_cast<int64_t>(w * scale) * static_cast<int64_t>(h * scale), pixels);
    const int64_t waste = int64_t{candidate[0]} * candidate[1] - kept;
    if (kept > best_kept || (kept == best_kept && waste < best_waste)) {
      best = candidate;
      best_kept = kept;
      best_waste = waste;
    }
  }
  return best;
}

Result<TileGrid> tile_grid(uint32_t width, uint32_t height, std::span<const std::array<uint32_t, 2>> candidates,
                           uint32_t image_size, uint32_t pictures_in_conversation) {
  VL2_TRY(check_picture_size(width, height));
  VL2_TRY(pad_fit(width, height, image_size, image_size).status());
  if (pictures_in_conversation > 2)
    return TileGrid{};
  const auto best = select_best_resolution(width, height, candidates);
  VL2_TRY(pad_fit(width, height, best[0], best[1]).status());
  return TileGrid{best[0] / image_size, best[1] / image_size};
}

uint64_t image_token_count(TileGrid grid, uint32_t side) {
  const uint64_t rows = uint64_t{side} * grid.height, columns = uint64_t{side} * grid.width;
  return uint64_t{side} * (uint64_t{side} + 1) + 1 + rows * (columns + 1);
}

Result<FitRect> pad_fit(uint32_t width, uint32_t height, uint32_t canvas_width, uint32_t canvas_height) {
  if (width == 0 || height == 0 || canvas_width == 0 || canvas_height == 0)
    return fail(Code::BadArgument, "picture: ", width, " x ", height, " on a canvas of ", canvas_width, " x ", canvas_height,
                ", wanted sides of at least 1");
  const double w = width, h = height;
  const double ratio = w / h, canvas_ratio = static_cast<double>(canvas_width) / canvas_height;
  FitRect fit{.width = canvas_width, .height = canvas_height};
  if (ratio > canvas_ratio)
    fit.height = static_cast<uint32_t>(round_half_even(h / w * canvas_width));
  else if (ratio < canvas_ratio)
    fit.width = static_cast<uint32_t>(round_half_even(w / h * canvas_height));
  if (fit.width == 0 || fit.height == 0)
    return fail(Code::BadArgument, "picture: ", width, " x ", height, " is too narrow: on a canvas of ", canvas_width, " x ",
                canvas_height, " a side would be 0 pixels");
  if (fit.width != canvas_width)
    fit.x = static_cast<uint32_t>(round_half_even((canvas_width - fit.width) * 0.5));
  else
    fit.y = static_cast<uint32_t>(round_half_even((canvas_height - fit.height) * 0.5));
  return fit;
}

ResampleTable precompute_bicubic(uint32_t in, uint32_t out) {
  assert(in > 0 && out > 0);
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);  // a wider filter when shrinking: that is the antialiasing
  const double support = kBicubicSupport * filter_scale;
  const double inverse = 1.0 / filter_scale;

  ResampleTable table;
  table.taps = static_cast<uint32_t>(std::ceil(support)) * 2 + 1;
  table.bounds.resize(size_t{out} * 2);
  table.weights.assign(size_t{out} * table.taps, 0);
  std::vector<double> exact(table.taps);
  for (uint32_t pixel = 0; pixel < out; ++pixel) {
    const double center = (pixel + 0.5) * scale;
    const int64_t first = std::max(int64_t{0}, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min(int64_t{in}, static_cast<int64_t>(center + support + 0.5));
    const size_t count = static_cast<size_t>(end - first);
    assert(count <= exact.size());
    double sum = 0;
    for (size_t k = 0; k < count; ++k) {
      exact[k] = bicubic((static_cast<double>(static_cast<int64_t>(k) + first) - center + 0.5) * inverse);
      sum += exact[k];
    }
    for (size_t k = 0; k < count; ++k)
      table.weights[size_t{pixel} * table.taps + k] = to_fixed(sum != 0 ? exact[k] / sum : exact[k]);
    table.bounds[size_t{pixel} * 2] = static_cast<int32_t>(first);
    table.bounds[size_t{pixel} * 2 + 1] = static_cast<int32_t>(count);
  }
  return table;
}

}  // namespace vl2
