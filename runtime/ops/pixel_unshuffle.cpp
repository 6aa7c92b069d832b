#include "runtime/ops/pixel_unshuffle.h"

#include "runtime/ops/flat_groups.h"
#include "runtime/ops/row_matrix.h"
#include "shaders/interface/pixel_unshuffle.h"

namespace vl2 {

Status pixel_unshuffle(Recorder& rec, const TensorView& x, const TensorView& y, uint32_t grid, uint32_t factor) {
  if (grid == 0 || factor == 0 || grid > 16384 || factor > grid)
    return fail(Code::BadArgument, "pixel_unshuffle: cannot join ", factor, " x ", factor, " cells of a grid of ", grid, " x ",
                grid);
  if ((x.dtype != DType::F32 && x.dtype != DType::F16) || y.dtype != x.dtype)
    return fail(Code::BadDType, "pixel_unshuffle: x must be f32 or f16 and y the same, got ", x, ", ", y);
  if (x.rank() != 3 || x.dim(1) != grid * grid || !x.contiguous() || x.element_count() >= (uint64_t{1} << 31))
    return fail(Code::BadShape, "pixel_unshuffle: x ", x, " must be [views, ", grid * grid,
                ", channels], contiguous, below 2^31 elements");
  const uint64_t side = (grid + factor - 1) / factor;
  const uint64_t rows = x.dim(0) * side * side, width = uint64_t{x.dim(2)} * factor * factor;
  if (!is_row_matrix(y) || y.dim(0) != rows || y.dim(1) != width)
    return fail(Code::BadShape, "pixel_unshuffle: y ", y, " must be [", rows, ", ", width, "], rows adjacent inside");
  const uint64_t count = y.element_count();
  if (count == 0)
    return {};

  const AlignedView x_bound = rec.aligned(x), y_bound = rec.aligned(y);
  const PixelUnshuffleParams params{.count = static_cast<uint32_t>(count),
                                    .channels = x.dim(2),
                                    .grid = grid,
                                    .side = static_cast<uint32_t>(side),
                                    .factor = factor,
                                    .x_offset = x_bound.remainder,
                                    .y_row_stride = y.stride(0),
                                    .y_offset = y_bound.remainder};
  const Cost cost{.bytes = (x.element_count() + count) * dtype_bytes(y.dtype)};
  return rec.dispatch(act_variant(ShaderId::pixel_unshuffle_f32, y.dtype), {x_bound.view, y_bound.view}, params,
                      flat_groups((count + PIXEL_UNSHUFFLE_THREADS - 1) / PIXEL_UNSHUFFLE_THREADS), cost);
}

}  // namespace vl2
