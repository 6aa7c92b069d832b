#include "runtime/ops/pad_resize.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/flat_groups.h"
#include "shaders/interface/pad_resize.h"

namespace vl2 {

namespace {

constexpr uint64_t kMaxPixels = uint64_t{1} << 28;
constexpr uint64_t kMaxBandBytes = uint64_t{32}
                                   << 20;  // so that one dispatch stays far from a watchdog's patience, on phones too
constexpr uint32_t kBandRows = 4;          // 4 rows of 3-byte pixels are whole words, whatever their width

bool is_rgb(const TensorView& view) {
  return view.dtype == DType::U8 && view.rank() == 3 && view.dim(2) == 3 && view.contiguous() && view.element_count() > 0;
}

// Whole words that an invocation may write: at a word's start, in a view that nothing else shares a word with.
bool starts_at_word(const TensorView& view) {
  return view.offset % 4 == 0;
}

Status check_axis(const ResampleAxis& axis, const char* name, uint32_t in, uint32_t out) {
  if (axis.empty()) {
    if (in != out)
      return fail(Code::BadArgument, "pad_resize: no ", name, " table, but ", in, " pixels are to become ", out);
    return {};
  }
  if (axis.bounds.dtype != DType::I32 && axis.bounds.dtype != DType::U32)
    return fail(Code::BadDType, "pad_resize: ", name, " bounds ", axis.bounds, " must be i32 or u32");
  if (axis.weights.dtype != DType::I32)
    return fail(Code::BadDType, "pad_resize: ", name, " weights ", axis.weights, " must be i32");
  if (axis.bounds.rank() != 2 || axis.bounds.dim(0) != out || axis.bounds.dim(1) != 2 || !axis.bounds.contiguous())
    return fail(Code::BadShape, "pad_resize: ", name, " bounds ", axis.bounds, " must be [", out, ", 2], contiguous");
  if (axis.weights.rank() != 2 || axis.weights.dim(0) != out || axis.weights.dim(1) == 0 || !axis.weights.contiguous())
    return fail(Code::BadShape, "pad_resize: ", name, " weights ", axis.weights, " must be [", out, ", at least 1], contiguous");
  return {};
}

Status check_shapes(const TensorView& picture, const PadResize& resize, const TensorView& canvas) {
  if (!is_rgb(picture))
    return fail(Code::BadShape, "pad_resize: picture ", picture, " must be u8 [height, width, 3], contiguous, not empty");
  if (uint64_t{picture.dim(0)} * picture.dim(1) > kMaxPixels)
    return fail(Code::BadShape, "pad_resize: picture ", picture, " has more than ", kMaxPixels, " pixels");
  if (!is_rgb(canvas) || !starts_at_word(canvas))
    return fail(Code::BadShape, "pad_resize: canvas ", canvas,
                " must be u8 [height, width, 3], contiguous, not empty, at a whole word");
  if (resize.fit_width == 0 || resize.fit_height == 0 || uint64_t{resize.x} + resize.fit_width > canvas.dim(1) ||
      uint64_t{resize.y} + resize.fit_height > canvas.dim(0))
    return fail(Code::BadArgument, "pad_resize: ", resize.fit_width, " x ", resize.fit_height, " pixels at (", resize.x, ", ",
                resize.y, ") do not lie on a canvas of ", canvas.dim(1), " x ", canvas.dim(0));
  VL2_TRY(check_axis(resize.horizontal, "horizontal", picture.dim(1), resize.fit_width));
  VL2_TRY(check_axis(resize.vertical, "vertical", picture.dim(0), resize.fit_height));
  if (resize.horizontal.empty())
    return {};
  const TensorView& scratch = resize.scratch;
  if (!is_rgb(scratch) || scratch.dim(0) != picture.dim(0) || scratch.dim(1) != resize.fit_width || !starts_at_word(scratch))
    return fail(Code::BadShape, "pad_resize: scratch ", scratch, " must be u8 [", picture.dim(0), ", ", resize.fit_width,
                ", 3], contiguous, at a whole word");
  return {};
}

// What a binding holds after its start has been moved down to where a shader can bind it.
uint64_t usable_binding_bytes(Recorder& rec) {
  const uint64_t lost = rec.device().caps().storage_buffer_alignment;
  const uint64_t limit = std::min<uint64_t>(rec.max_binding_bytes(), UINT32_MAX);  // shaders count bytes in 32 bits
  return limit > lost ? limit - lost : 0;
}

Status check_sizes(const TensorView& picture, const PadResize& resize, const TensorView& canvas, uint64_t usable_bytes) {
  const bool has_horizontal = !resize.horizontal.empty();
  if (has_horizontal && uint64_t{picture.dim(1)} * 3 * kBandRows > usable_bytes)
    return fail(Code::Unsupported, "pad_resize: ", kBandRows, " rows of picture ", picture, " are larger than a binding of ",
                usable_bytes, " bytes");
  const auto check = [&](const char* name, const TensorView& view) -> Status {
    if (view.span_bytes() > usable_bytes)
      return fail(Code::Unsupported, "pad_resize: ", name, " ", view, " is larger than a binding of ", usable_bytes, " bytes");
    return {};
  };
  VL2_TRY(check("canvas", canvas));
  if (has_horizontal)
    return check("scratch", resize.scratch);
  return check("picture", picture);  // read by columns, as a whole
}

TensorView byte_range(const TensorView& view, uint64_t first, uint64_t count) {
  return make_view(*view.buffer, DType::U8, {static_cast<uint32_t>(count)}, view.offset + first);
}

Groups groups_for(uint64_t pixel_count) {
  constexpr uint64_t kPixelsPerGroup = uint64_t{PAD_RESIZE_THREADS} * PAD_RESIZE_PIXELS;
  return flat_groups((pixel_count + kPixelsPerGroup - 1) / kPixelsPerGroup);
}

// Rows first .. first + rows - 1 of the picture into the same rows of the scratch.
Status record_horizontal(Recorder& rec, const TensorView& picture, const PadResize& resize, uint32_t first, uint32_t rows) {
  const uint64_t source_pitch = uint64_t{picture.dim(1)} * 3, out_pitch = uint64_t{resize.fit_width} * 3;
  const AlignedView source = rec.aligned(byte_range(picture, first * source_pitch, rows * source_pitch));
  const AlignedView bounds = rec.aligned(resize.horizontal.bounds), weights = rec.aligned(resize.horizontal.weights);
  const AlignedView out = rec.aligned(byte_range(resize.scratch, first * out_pitch, rows * out_pitch));
  const uint64_t pixel_count = uint64_t{rows} * resize.fit_width;
  const uint32_t taps = resize.horizontal.weights.dim(1);
  const PadResizeHorizontalParams params{.source_width = picture.dim(1),
                                         .source_offset = source.remainder,
                                         .out_width = resize.fit_width,
                                         .pixel_count = static_cast<uint32_t>(pixel_count),
                                         .taps = taps,
                                         .bounds_offset = bounds.remainder,
                                         .weights_offset = weights.remainder,
                                         .out_offset = out.remainder / 4};
  const Cost cost{.bytes = rows * (source_pitch + out_pitch), .flops = 6 * pixel_count * taps};
  return rec.dispatch(ShaderId::pad_resize_horizontal, {source.view, bounds.view, weights.view, out.view}, params,
                      groups_for(pixel_count), cost);
}

// `source` has the fitted width already.
Status record_vertical(Recorder& rec, const TensorView& source, const PadResize& resize, const TensorView& canvas) {
  const bool resampled = !resize.vertical.empty();
  const AlignedView source_bound = rec.aligned(source), canvas_bound = rec.aligned(canvas);
  AlignedView bounds{}, weights{};
  if (resampled) {
    bounds = rec.aligned(resize.vertical.bounds);
    weights = rec.aligned(resize.vertical.weights);
  }
  const uint64_t pixel_count = uint64_t{canvas.dim(0)} * canvas.dim(1);
  const uint32_t taps = resampled ? resize.vertical.weights.dim(1) : 0;
  const PadResizeVerticalParams params{.source_height = source.dim(0),
                                       .source_offset = source_bound.remainder,
                                       .fit_width = resize.fit_width,
                                       .fit_height = resize.fit_height,
                                       .x = resize.x,
                                       .y = resize.y,
                                       .canvas_width = canvas.dim(1),
                                       .pixel_count = static_cast<uint32_t>(pixel_count),
                                       .taps = taps,
                                       .bounds_offset = bounds.remainder,
                                       .weights_offset = weights.remainder,
                                       .out_offset = canvas_bound.remainder / 4};
  const Cost cost{.bytes = source.span_bytes() + canvas.span_bytes(),
                  .flops = uint64_t{6} * resize.fit_width * resize.fit_height * taps};
  return rec.dispatch(ShaderId::pad_resize_vertical, {source_bound.view, bounds.view, weights.view, canvas_bound.view}, params,
                      groups_for(pixel_count), cost);
}

}  // namespace

Status pad_resize(Recorder& rec, const TensorView& picture, const PadResize& resize, const TensorView& canvas) {
  VL2_TRY(check_shapes(picture, resize, canvas));
  const uint64_t usable_bytes = usable_binding_bytes(rec);
  VL2_TRY(check_sizes(picture, resize, canvas, usable_bytes));
  if (resize.horizontal.empty())
    return record_vertical(rec, picture, resize, canvas);

  const uint64_t pitch = uint64_t{picture.dim(1)} * 3, height = picture.dim(0);
  const uint64_t band_bytes = std::min(usable_bytes, std::max<uint64_t>(kMaxBandBytes, kBandRows * pitch));
  const uint64_t band_rows = band_bytes / pitch / kBandRows * kBandRows;
  for (uint64_t first = 0; first < height; first += band_rows)
    VL2_TRY(record_horizontal(rec, picture, resize, static_cast<uint32_t>(first),
                              static_cast<uint32_t>(std::min(band_rows, height - first))));
  return record_vertical(rec, resize.scratch, resize, canvas);
}

}  // namespace vl2
