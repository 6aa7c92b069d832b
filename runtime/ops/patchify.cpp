#include "runtime/ops/patchify.h"

#include "runtime/ops/flat_groups.h"
#include "runtime/ops/row_matrix.h"
#include "shaders/interface/patchify.h"

namespace vl2 {

Status patchify(Recorder& rec, const TensorView& canvas, const TensorView& y, const Patchify& options) {
  const uint32_t view_size = options.view_size, patch_size = options.patch_size;
  if (patch_size == 0 || patch_size > view_size || patch_size > 4096)
    return fail(Code::BadArgument, "patchify: patches of ", patch_size, " pixels do not fit into a view of ", view_size);
  if (canvas.dtype != DType::U8 || (y.dtype != DType::F32 && y.dtype != DType::F16))
    return fail(Code::BadDType, "patchify: canvas must be u8 and y f32 or f16, got ", canvas, ", ", y);
  if (canvas.rank() != 3 || canvas.dim(2) != 3 || !canvas.contiguous() || canvas.dim(0) % view_size != 0 ||
      canvas.dim(1) % view_size != 0 || canvas.element_count() == 0 || canvas.element_count() >= (uint64_t{1} << 31))
    return fail(Code::BadShape, "patchify: canvas ", canvas, " must be [height, width, 3] with sides that are multiples of ",
                view_size, ", contiguous, below 2^31 bytes");
  const uint64_t grid = view_size / patch_size, width = uint64_t{3} * patch_size * patch_size;
  if (!is_row_matrix(y) || y.dim(1) != width || y.dim(0) % (grid * grid) != 0)
    return fail(Code::BadShape, "patchify: y ", y, " must be [tiles * ", grid * grid, ", ", width, "], rows adjacent inside");
  const uint64_t tiles_w = canvas.dim(1) / view_size, tiles_h = canvas.dim(0) / view_size, tile_count = y.dim(0) / (grid * grid);
  if (options.first_tile + tile_count > tiles_w * tiles_h)
    return fail(Code::BadArgument, "patchify: tiles ", options.first_tile, " .. ", options.first_tile + tile_count,
                " of a canvas ", canvas, " with ", tiles_w * tiles_h, " tiles");
  if (tile_count == 0)
    return {};

  const AlignedView canvas_bound = rec.aligned(canvas), y_bound = rec.aligned(y);
  const uint64_t count = y.element_count();
  const PatchifyParams params{.count = static_cast<uint32_t>(count),
                              .canvas_width = canvas.dim(1),
                              .canvas_offset = canvas_bound.remainder,
                              .view_size = view_size,
                              .patch_size = patch_size,
                              .grid = static_cast<uint32_t>(grid),
                              .tiles_w = static_cast<uint32_t>(tiles_w),
                              .first_tile = options.first_tile,
                              .y_row_stride = y.stride(0),
                              .y_offset = y_bound.remainder};
  const Cost cost{.bytes = count * (1 + dtype_bytes(y.dtype)), .flops = 3 * count};
  return rec.dispatch(act_variant(ShaderId::patchify_f32, y.dtype), {canvas_bound.view, y_bound.view}, params,
                      flat_groups((count + PATCHIFY_THREADS - 1) / PATCHIFY_THREADS), cost);
}

}  // namespace vl2
