#include "runtime/ops/image_sequence.h"

#include "runtime/ops/flat_groups.h"
#include "runtime/ops/row_matrix.h"
#include "shaders/interface/image_sequence.h"

namespace vl2 {

Status image_sequence(Recorder& rec, const TensorView& features, const TensorView& newline, const TensorView& separator,
                      const ImageGrid& grid, const TensorView& y) {
  const uint64_t view_count = 1 + uint64_t{grid.tiles_w} * grid.tiles_h;
  if (grid.tiles_w == 0 || grid.tiles_h == 0 || grid.side == 0 || grid.side > 1024 || view_count > 1024)
    return fail(Code::BadArgument, "image_sequence: a grid of ", grid.tiles_w, " x ", grid.tiles_h, " tiles of ", grid.side,
                " x ", grid.side, " tokens; wanted 1 .. 1023 tiles of 1 .. 1024");
  if ((features.dtype != DType::F32 && features.dtype != DType::F16) || newline.dtype != DType::F32 ||
      separator.dtype != DType::F32 || y.dtype != DType::F32)
    return fail(Code::BadDType, "image_sequence: features must be f32 or f16, newline, separator and y f32, got ", features, ", ",
                newline, ", ", separator, ", ", y);
  if (features.rank() != 3 || features.dim(0) != view_count || features.dim(1) != grid.side * grid.side ||
      features.stride(2) != 1 || features.span_elements() >= (uint64_t{1} << 31))
    return fail(Code::BadShape, "image_sequence: features ", features, " must be [", view_count, ", ", grid.side * grid.side,
                ", width], rows adjacent inside");
  const uint32_t width = features.dim(2);
  if (!is_vector(newline, width))
    return fail(Code::BadShape, "image_sequence: newline ", newline, " must be [", width, "], the width of features");
  if (!is_vector(separator, width))
    return fail(Code::BadShape, "image_sequence: separator ", separator, " must be [", width, "], the width of features");
  if (!is_row_matrix(y) || y.dim(0) != grid.row_count() || y.dim(1) != width)
    return fail(Code::BadShape, "image_sequence: y ", y, " must be [", grid.row_count(), ", ", width, "], rows adjacent inside");
  const uint64_t count = y.element_count();
  if (count == 0)
    return {};

  const AlignedView features_bound = rec.aligned(features), newline_bound = rec.aligned(newline),
                    separator_bound = rec.aligned(separator), y_bound = rec.aligned(y);
  const ImageSequenceParams params{.count = static_cast<uint32_t>(count),
                                   .width = width,
                                   .side = grid.side,
                                   .tiles_w = grid.tiles_w,
                                   .view_stride = features.stride(0),
                                   .row_stride = features.stride(1),
                                   .features_offset = features_bound.remainder,
                                   .newline_offset = newline_bound.remainder,
                                   .separator_offset = separator_bound.remainder,
                                   .y_row_stride = y.stride(0),
                                   .y_offset = y_bound.remainder};
  const Cost cost{.bytes = count * (4 + dtype_bytes(features.dtype))};
  return rec.dispatch(act_variant(ShaderId::image_sequence_f32, features.dtype),
                      {features_bound.view, newline_bound.view, separator_bound.view, y_bound.view}, params,
                      flat_groups((count + IMAGE_SEQUENCE_THREADS - 1) / IMAGE_SEQUENCE_THREADS), cost);
}

}  // namespace vl2
